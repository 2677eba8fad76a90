package bftraft

import (
	"cmp"
	"slices"

	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

func (c *Core) onAck(from NodeID, a *quorumcert.SignedAck) Drop {
	switch {
	case a.Term < c.term:
		c.repair(from)
		return Stale
	case a.Term > c.term && mutant.On(mutant.M43):
		c.enterTerm(a.Term, TermProof{})
	case a.Term > c.term:
		return FutureTerm
	}
	if c.election != nil && c.election.Leader == from {
		c.leaderSeen = c.now
	}
	return c.collectAck(a, nil)
}

// collectAck takes in an ack of the current term. Two acks of one signer on conflicting chains are
// proof against it (A4); extra are blocks that may show the conflict, should the own chain not.
func (c *Core) collectAck(a *quorumcert.SignedAck, extra []*Block) Drop {
	if c.settled(a.Index) {
		return Stale
	}
	if proof := c.conflicting(a, extra); proof != nil && !mutant.On(mutant.M116) {
		c.convict(quorumcert.Evidence{Acks: proof})
		return Conflict
	}
	drop := c.storeAck(a)
	if drop == Accepted {
		c.certify(Position{a.Index, a.Hash})
	}
	return drop
}

// settled says whether index i lies so far below the commit index that acks there neither certify
// nor prove anything this node could show. Nothing is read for them: a liar might send any number.
func (c *Core) settled(i Index) bool { return i > 0 && i < c.commit.Index && c.log.old(i) }

// conflicting looks for an ack of the same signer that contradicts a. Without extra blocks the
// neighbours of a are enough: what lies farther off would contradict them too.
func (c *Core) conflicting(a *quorumcert.SignedAck, extra []*Block) *quorumcert.AckConflict {
	acks := c.peers[a.Signer].acks
	lo, hi := 0, len(acks)
	if len(extra) == 0 {
		i, found := findAck(acks, a.Index)
		lo, hi = max(i-1, 0), min(i+1, len(acks))
		if found {
			hi = min(i+2, len(acks))
		}
	}
	for i := lo; i < hi; i++ {
		if proof := c.conflict(&acks[i], a, extra); proof != nil {
			return proof
		}
	}
	return nil
}

// findAck returns the place of index i among acks, which ascend, and whether one is there.
func findAck(acks []quorumcert.SignedAck, i Index) (int, bool) {
	return slices.BinarySearchFunc(acks, i, func(x quorumcert.SignedAck, i Index) int {
		return cmp.Compare(x.Index, i)
	})
}

// storeAck keeps an ack of the current term among its signer's; a second one at the same position
// replaces the first if it claims more. The lowest goes when there are too many.
func (c *Core) storeAck(a *quorumcert.SignedAck) Drop {
	p := &c.peers[a.Signer]
	i, found := findAck(p.acks, a.Index)
	switch {
	case found && p.acks[i].Hash != a.Hash:
		return Conflict
	case found && p.acks[i].Certified >= a.Certified:
		return Duplicate
	case found:
		p.acks[i] = *a
	case len(p.acks) < maxAcks:
		p.acks = slices.Insert(p.acks, i, *a)
	case i == 0:
		return Stale
	default:
		copy(p.acks, p.acks[1:i])
		p.acks[i-1] = *a
	}
	if a.Term > p.newest.Term || a.Index > p.newest.Index ||
		a.Index == p.newest.Index && a.Certified > p.newest.Certified {
		p.newest = *a
	}
	if claimed(a) > claimed(&p.claim) &&
		(c.log.contains(Position{a.Index, a.Hash}) || mutant.On(mutant.M90)) {
		p.claim = *a
	}
	return Accepted
}

// conflict returns proof that x and y, acks of one signer and term, lie on conflicting chains, if
// this node can show it: with its own chain, or with blocks that end at the higher ack.
func (c *Core) conflict(x, y *quorumcert.SignedAck, extra []*Block) *quorumcert.AckConflict {
	if x.Term != y.Term || x.Index == y.Index && x.Hash == y.Hash {
		return nil
	}
	if c.settled(min(x.Index, y.Index)) {
		return nil
	}
	if x.Index > y.Index || x.Index == y.Index && !c.log.contains(Position{y.Index, y.Hash}) {
		x, y = y, x
	}
	if x.Index == 0 {
		return nil
	}
	upper := Position{y.Index, y.Hash}
	if c.log.contains(upper) && c.log.contains(Position{x.Index, x.Hash}) {
		return nil
	}
	var blocks []*Block
	switch {
	case c.log.contains(upper):
		if len(c.log.tail) == 0 || x.Index < c.log.tail[0].First() {
			return nil
		}
		blocks = c.log.between(x.Index-1, y.Index)
	case len(extra) > 0 && extra[len(extra)-1].End() == upper:
		blocks = extra
		for len(blocks) > 0 && blocks[0].Last() < x.Index {
			blocks = blocks[1:]
		}
	}
	if len(blocks) == 0 || blocks[0].First() > x.Index ||
		blocks[0].End() == (Position{x.Index, x.Hash}) {
		return nil
	}
	return &quorumcert.AckConflict{A: *x, B: *y, Headers: headers(blocks)}
}

// certify makes a quorum of acks of one position on the chain the lock, if it is above it (N3).
func (c *Core) certify(at Position) {
	l := Lock{Term: c.term, Index: at.Index, Hash: at.Hash}
	if at.Index == 0 || !l.Higher(c.lock) || !c.log.contains(at) || c.gate.rewrites(c.term, at) {
		return // or those who sign were replaced, and their keys count for nothing (J5)
	}
	cfg := c.configs().For(at.Index)
	qc := &quorumcert.QC{Lock: l}
	signers := c.signersAt(at)
	for id := signers.Next(0); id != 0; id = signers.Next(id) {
		p := &c.peers[id]
		i, found := findAck(p.acks, at.Index)
		if found && p.acks[i].Hash == at.Hash {
			qc.Signers = qc.Signers.With(id)
			qc.Sigs = append(qc.Sigs, p.acks[i].Sig)
			qc.Certified = append(qc.Certified, p.acks[i].Certified)
		}
	}
	if (qc.Signers&cfg.Members()).Len() >= cfg.Size().Q && c.full(at, qc.Signers) {
		c.setLock(l, qc)
	}
}

// signersAt returns whose acks of a position on the chain are wanted for a certificate.
func (c *Core) signersAt(at Position) Set {
	cfg := c.configs().For(at.Index)
	if c.closing(at) {
		return c.gate.holders(cfg, cfg.Members()|cfg.Incoming())
	}
	return c.gate.holders(cfg, cfg.Members())
}

// recount draws the conclusions of acks that came before their blocks, and forgets claims that lie
// on a chain that is no longer this node's.
func (c *Core) recount() {
	for id := range c.peers {
		p := &c.peers[id]
		p.claim = quorumcert.SignedAck{}
		for i := range p.acks {
			a := &p.acks[i]
			at := Position{a.Index, a.Hash}
			if a.Index >= c.commit.Index && a.Index <= c.log.tip.Index && c.log.contains(at) {
				if claimed(a) > claimed(&p.claim) {
					p.claim = *a
				}
				c.certify(at)
			}
		}
	}
}

// tryPending takes a certificate as the lock once its entries are on the chain (N3): one of this
// term always, one of an earlier term only as a candidate (E4).
func (c *Core) tryPending() {
	qc := c.pending
	if qc == nil || c.broken != nil {
		return
	}
	if !qc.Lock.Higher(c.lock) {
		c.pending = nil
		return
	}
	if at := (Position{qc.Index, qc.Hash}); c.wantsLock(qc) && c.log.contains(at) {
		if c.pending = nil; !c.full(at, qc.Signers) {
			return // it is of a closing entry, and of the old voters alone
		}
		c.setLock(qc.Lock, qc)
		c.candidateLockRose()
	}
}

// wantsLock says whether a certificate may become the lock now.
func (c *Core) wantsLock(qc *quorumcert.QC) bool {
	candidate := c.election == nil && c.vote.Candidate == c.id && c.mark.Term != c.term
	candidate = candidate && !mutant.On(mutant.M23)
	return qc.Term == c.term || qc.Term < c.term && (candidate || mutant.On(mutant.M88))
}

// candidateLockRose asks again with the higher lock (E4).
func (c *Core) candidateLockRose() {
	if c.election == nil && c.vote.Candidate == c.id && c.lock.Term < c.term &&
		c.lock.Higher(c.vote.Lock) {
		c.giveVote(c.id, c.lock)
		c.requestVotes()
	}
}

// claimed is what an ack counts for towards a commit: the index it says is certified (N4).
func claimed(a *quorumcert.SignedAck) Index {
	if mutant.On(mutant.M10) {
		return a.Index
	}
	return a.Certified
}

// countCommits finds the highest index that a quorum has, in this term and on this node's chain,
// claimed to be certified (N4). It goes by the configuration of the next index (N5); what lies
// beyond a change of configuration waits until that is committed.
func (c *Core) countCommits() {
	if c.broken != nil {
		return
	}
	cfg := c.configs().For(c.commit.Index + 1)
	at := c.log.floor(c.claimedBy(c.gate.holders(cfg, cfg.Members()), cfg.Size().Q))
	if at.Index <= c.commit.Index {
		return
	}
	if c.closing(at) && !cfg.Closes(c.gate.holders(cfg, c.claimants(at.Index))) {
		b, _ := c.log.covering(at.Index)
		at = b.Before()
	}
	if at.Index <= c.commit.Index || c.configs().For(at.Index) != cfg ||
		c.gate.rewrites(c.term, at) {
		return
	}
	c.commitTo(at, c.commitProof(at))
}

// claimedBy returns the highest index that need of some members claim to be certified, 0 if it is
// not above the commit index.
func (c *Core) claimedBy(members Set, need int) Index {
	var claims [quorumcert.MaxVoters]Index
	n := 0
	for id := members.Next(0); id != 0; id = members.Next(id) {
		if p := &c.peers[id]; claimed(&p.claim) > c.commit.Index {
			claims[n] = claimed(&p.claim)
			n++
		}
	}
	if n < need {
		return 0
	}
	slices.Sort(claims[:n])
	return claims[n-need]
}

// claimants returns who claims that index i is certified.
func (c *Core) claimants(i Index) Set {
	var set Set
	for id := range c.peers {
		if claimed(&c.peers[id].claim) >= i {
			set = set.With(NodeID(id))
		}
	}
	return set
}

// commitProof makes the commit certificate of at from the claims that cover it.
func (c *Core) commitProof(at Position) *quorumcert.Commit {
	cc := &quorumcert.Commit{Term: c.term, Index: at.Index, Hash: at.Hash}
	top := at.Index
	signers := c.signersAt(at) & c.claimants(at.Index)
	for id := signers.Next(0); id != 0; id = signers.Next(id) {
		a := &c.peers[id].claim
		cc.Signers = cc.Signers.With(id)
		cc.Sigs = append(cc.Sigs, a.Sig)
		cc.Acks = append(cc.Acks, quorumcert.AckedAt{Index: a.Index, Certified: a.Certified})
		top = max(top, a.Index)
	}
	cc.Headers = headers(c.log.between(at.Index, top))
	return cc
}

// commitTo moves the commit index up to a position on the chain.
func (c *Core) commitTo(at Position, cc *quorumcert.Commit) {
	if at.Index <= c.commit.Index || !c.log.contains(at) {
		panic("bftraft: commits only go up, along the chain")
	}
	blocks := c.log.between(c.commit.Index, at.Index)
	c.out.Committed = append(c.out.Committed, blocks...)
	c.learnEvidence(blocks)
	c.commit, c.commitTerm, c.decidedAt, c.blamed = at, cc.Term, c.now, 0
	c.recallCommit(cc)
	if cc.Index == at.Index {
		c.commitCert = cc
		c.out.Commits = append(c.out.Commits, cc)
	}
	c.settle(blocks, cc)
	if last := blocks[len(blocks)-1]; last.EndsChange() {
		c.reconfigure(last, cc)
	}
}

// convict keeps a verified proof against a voter and passes it on.
func (c *Core) convict(e quorumcert.Evidence) Drop {
	drop := c.hold(e)
	if drop == Accepted {
		c.send(c.others(), ClassConsensus, &Accusation{Evidence: e})
	}
	return drop
}
