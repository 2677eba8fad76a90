package bftraft

import (
	"slices"

	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// Verifier returns the gate behind the newest change that is committed here.
func (c *Core) Verifier() *Verifier { return c.gate }

// configs is the chain of configurations in force up to what is committed here.
func (c *Core) configs() *quorumcert.Configurations { return c.gate.configs }

// changing says whether the log ends with a change that is not committed: nothing is proposed or
// accepted beyond it (J1).
func (c *Core) changing() bool {
	n := len(c.log.tail)
	return n > 0 && c.log.tip.Index > c.commit.Index && c.log.tail[n-1].EndsChange() &&
		!mutant.On(mutant.M138)
}

// provesChange says whether the log ends with a committed change: the next entry is what proves it
// committed (J1).
func (c *Core) provesChange() bool {
	at := c.gate.members.At
	return at.Index > 0 && c.log.tip == at && c.commit.Index == at.Index
}

// proposeProof lets a leader extend a committed change at once, so that all learn of it.
func (c *Core) proposeProof() {
	if c.provesChange() && c.Room() && !mutant.On(mutant.M139) {
		c.Propose(nil)
	}
}

// proposeClosing lets a leader close a joint configuration.
func (c *Core) proposeClosing() {
	if c.closingDue() && c.room() {
		c.Propose([]Entry{{Kind: EntryClosing}})
	}
}

// closingDue says whether a joint configuration is to be closed before anything else is proposed:
// a quorum of the incoming voters keeps up. It has acked in this term what is committed in it,
// beyond the change (J2).
func (c *Core) closingDue() bool {
	cfg := c.configs().Latest()
	if cfg.Incoming() == 0 || c.commitTerm != c.term || c.commit.Index <= cfg.Entry() {
		return false
	}
	var acked Set
	for id := cfg.Incoming().Next(0); id != 0; id = cfg.Incoming().Next(id) {
		acks := c.peers[id].acks
		if n := len(acks); n > 0 && acks[n-1].Index >= c.commit.Index && c.log.contains(
			Position{acks[n-1].Index, acks[n-1].Hash}) {
			acked = acked.With(id)
		}
	}
	return cfg.HasIncomingQuorum(acked)
}

// dropClosing has a new leader give up an entry at its log's end that closes a joint configuration
// and is not certified: the incoming voters may have failed since, and nothing could follow it. If
// they keep up, there will be another.
func (c *Core) dropClosing() {
	n := len(c.log.tail)
	if n == 0 || !c.log.tail[n-1].Closes() || c.mark.Term == c.term ||
		c.log.tip.Index <= max(c.commit.Index, c.lock.Index) || mutant.On(mutant.M160) {
		return
	}
	c.switchSuffix(c.log.tail[n-1].Before(), nil)
}

// Undecided says whether the log ends with an entry that closes a joint configuration and is not
// known here to be committed: others may have gone on by the new one (C3).
func (c *Core) Undecided() bool {
	return c.log.tip.Index > c.commit.Index && c.closing(c.log.tip)
}

// closing says whether a position on the chain is the end of an entry that closes a joint
// configuration: what certifies it takes a quorum of the voters and of the incoming ones (J2).
func (c *Core) closing(at Position) bool {
	if c.configs().For(at.Index).Incoming() == 0 || c.log.below(at.Index) {
		return false
	}
	b, ok := c.log.covering(at.Index)
	return ok && b.Closes() && b.End() == at
}

// full says whether those who signed are as many as it takes at a position on the chain.
func (c *Core) full(at Position, signers Set) bool {
	return !c.closing(at) || c.configs().For(at.Index).Closes(signers)
}

// elected says whether an election whose base is on the chain holds. One that builds on a closing
// entry takes a quorum of both, if it is not of those who take over (J3).
func (c *Core) elected(ec *quorumcert.EC) bool {
	return !c.closing(Position{ec.Base.Index, ec.Base.Hash}) || c.electedOnClosing(ec)
}

// electedOnClosing is elected where the base is known to be a closing entry.
func (c *Core) electedOnClosing(ec *quorumcert.EC) bool {
	next := c.configs().Behind(ec.Base.Index)
	return c.configs().For(ec.Base.Index).Closes(ec.Signers) || mutant.On(mutant.M146) ||
		next.Entry() == ec.Base.Index && (ec.Signers&next.Members()).Len() >= next.Size().Q
}

// reconfigure lets the change at the end of a block that has just been committed come into force.
// What was judged by the configuration before it says nothing about what lies beyond.
func (c *Core) reconfigure(b *Block, cc *quorumcert.Commit) {
	if b.Last() <= c.gate.members.At.Index || mutant.On(mutant.M22) && c.id == 1 {
		return // this node was told of it before it had the log so far
	}
	proof := newChangeProof(b, cc)
	next, err := c.gate.After(proof)
	if err != nil {
		c.halt() // a quorum has committed what no honest node lets stand
		return
	}
	c.goBy(next)
	c.out.Changes = append(c.out.Changes, proof)
	if c.pending != nil && c.pending.Index > b.Last() {
		c.pending = nil
	}
	if c.gather != nil && c.gather.target.Index > b.Last() {
		c.gather = nil
	}
}

// goBy lets this node go by another gate, and forget those who have left: whoever gets the id of
// one of them next has another key, under which nothing of what was said counts (J6).
func (c *Core) goBy(next *Verifier) {
	var gone Set
	for id := c.gate.nodes.Next(0); id != 0; id = c.gate.nodes.Next(id) {
		if next.members.keyOf(id) != c.gate.members.keyOf(id) && !mutant.On(mutant.M153) {
			gone = gone.With(id)
			c.peers[id] = peer{}
			c.faulty = c.faulty.Without(id)
		}
	}
	c.suspicions.Forget(gone)
	if next.members.At != c.gate.members.At {
		c.changedAt = c.now
	}
	c.gate = next
	c.evidence = slices.DeleteFunc(c.evidence, func(e quorumcert.Evidence) bool {
		return gone.Has(e.Culprit())
	})
	c.judgeAgain()
}

// judgeAgain gives up what the gate does not let pass any more: an election by voters that have
// been replaced, certificates that wait for their entries. What is left of the proof of the term
// may say nothing to others.
func (c *Core) judgeAgain() {
	if ec := c.proof.EC; ec != nil && c.gate.verifyElection(ec, c.proof.BaseQC) != Accepted {
		c.proof.EC, c.proof.BaseQC, c.dirty = nil, nil, true
		c.election, c.baseQC = nil, nil
	}
	if c.pending != nil && c.gate.verifyQC(c.pending) != Accepted {
		c.pending = nil
	}
	if g := c.gather; g != nil && g.qc != nil && c.gate.verifyQC(g.qc) != Accepted &&
		!mutant.On(mutant.M155) {
		c.gather = nil
	}
	c.outdated = c.term > 1 && c.proof == (TermProof{}) ||
		c.gate.verifyTermProof(&c.proof) != Accepted
}

// settle takes notice that something is committed beyond the newest change: those whom it took away
// are shown both, so that they know that they are not needed any more, and then let go (J4).
func (c *Core) settle(blocks []*Block, cc *quorumcert.Commit) {
	members := c.gate.members
	if len(members.Leaving) == 0 || c.commit.Index <= members.At.Index {
		return
	}
	var to Set
	for _, n := range members.Leaving {
		to = to.With(n.ID)
	}
	change := c.gate.changes[len(c.gate.changes)-1]
	if b, ok := c.log.covering(change.Header.Last); ok {
		c.send(to, ClassBulk, &Committed{Blocks: []*Block{b}, Commit: &change.Commit})
	}
	for len(blocks) > 0 && blocks[0].Last() <= change.Header.Last {
		blocks = blocks[1:]
	}
	if len(blocks) > 0 && blocks[len(blocks)-1].Last() == cc.Index {
		c.send(to, ClassBulk, &Committed{Blocks: blocks, Commit: cc})
	}
	c.goBy(c.gate.settled())
}

// Farewell shows all changes, and that the cluster has gone on behind them, to a node that has left
// and comes back: it was not there when it was let go (J4). To anybody else it does nothing.
func (c *Core) Farewell(to NodeID) {
	is := func(n Node) bool { return n.ID == to }
	m := c.gate.members
	if c.broken != nil || c.commit.Index <= m.At.Index || !slices.ContainsFunc(m.Former, is) {
		return
	}
	for left := c.gate.changes; len(left) > 0; {
		told := &Changes{}
		told.List, _ = fitting(left)
		if left = left[len(told.List):]; len(left) == 0 {
			told.Beyond = c.commitCert
		}
		c.sendOne(to, ClassBulk, told)
	}
}

// Left says whether this node was a member and is none any more, and the cluster has gone on
// without it: it is of no more use and should stop, and its key be erased (J4).
func (c *Core) Left() bool {
	key := c.cfg.Signer.Public()
	return c.gate.members.Left(key) && !c.gate.members.leaves(key)
}

// votes says whether what this node signs counts for something (J4).
func (c *Core) votes() bool { return c.gate.members.Votes(c.id) }

// inForce says whether an index is judged by the newest configuration: only then does a certificate
// that contradicts what is committed show that more than f are faulty (A5).
func (c *Core) inForce(i Index) bool {
	return i > c.gate.members.At.Index || len(c.gate.changes) == 0
}

// tellChanges shows a peer that has long not committed the newest change all those that it lacks:
// perhaps it listens to nobody any more who could hand it the log (N6).
func (c *Core) tellChanges(to NodeID) {
	const patience = 4 // heartbeat intervals
	p, pause := &c.peers[to], patience*uint64(c.cfg.HeartbeatTicks)
	behind := p.status.Commit.Index
	if behind >= c.gate.members.At.Index || c.now-c.changedAt < pause ||
		c.now-p.toldAt < pause || p.servedBytes >= maxServedBytes {
		return
	}
	p.toldAt = c.now
	known := max(behind, p.toldUpTo)
	list, size := fitting(c.gate.changes[slices.IndexFunc(c.gate.changes,
		func(proof *ChangeProof) bool { return proof.Header.Last > known }):])
	p.toldUpTo = list[len(list)-1].Header.Last
	if p.toldUpTo == c.gate.members.At.Index {
		p.toldUpTo = 0 // all is on its way, and may be lost
	}
	p.servedBytes += size
	c.sendOne(to, ClassBulk, &Changes{List: list})
}

// onChanges takes in changes that prove themselves. The log follows.
func (c *Core) onChanges(m *Changes) Drop {
	known := len(c.gate.changes)
	c.learn(m.List)
	c.commitChanges()
	if c.dismissedBy(m.Beyond) {
		c.keepDismissal(m.Beyond)
		return Accepted
	}
	if len(c.gate.changes) == known {
		return Duplicate
	}
	return Accepted
}

// dismissedBy says whether this node is leaving, and a commit certificate proves that it need not
// stay.
func (c *Core) dismissedBy(cc *quorumcert.Commit) bool {
	return cc != nil && cc.Index > c.gate.members.At.Index &&
		c.gate.members.leaves(c.cfg.Signer.Public()) && c.gate.verifyCommit(cc) == Accepted
}

// keepDismissal has this node leave, and know why when it is started again: what proves its term is
// of no other use any more.
func (c *Core) keepDismissal(cc *quorumcert.Commit) {
	if cc.Term > c.term {
		c.enterTerm(cc.Term, TermProof{Commit: cc})
	}
	c.proof.Commit, c.dirty = cc, true
	c.goBy(c.gate.settled())
}

// commitChanges commits what is on the chain up to changes that this node was told of: they come
// with their certificates.
func (c *Core) commitChanges() {
	if c.commit.Index >= c.gate.members.At.Index {
		return
	}
	for _, p := range c.gate.changes {
		if at := p.At(); at.Index > c.commit.Index && c.log.contains(at) && c.broken == nil {
			c.learnCommit(&p.Commit)
		}
	}
}

// learn takes in changes that were verified, as those that come with a state are (K1).
func (c *Core) learn(changes []*ChangeProof) {
	next, err := c.gate.Following(changes)
	if err != nil {
		panic("bftraft: changes that were verified do not prove themselves: " + err.Error())
	}
	if next != c.gate {
		c.out.Changes = append(c.out.Changes, next.changes[len(c.gate.changes):]...)
		c.goBy(next)
	}
}

// admit judges blocks, the first of which follows a position on the chain: by J1, where a change
// lies before one of them, and by B2. Changes that are proven committed by what follows them come
// into force, with what leads there; the rest is returned, and an error that says why it may not
// follow.
func (c *Core) admit(blocks []*Block) ([]*Block, Drop) {
	if len(blocks) > 0 && blocks[0].First() <= c.commit.Index && !mutant.On(mutant.M24) {
		return nil, Conflict // perhaps an honest leader's, of an earlier term (A5)
	}
	if c.commit.Index < c.gate.members.At.Index && !mutant.On(mutant.M158) {
		return nil, MissingBlocks // what leads to a change that is known to be committed comes first
	}
	for k := 0; k < len(blocks); k++ {
		if blocks[k].entries[0].Kind != EntryCommit {
			continue
		}
		at := blocks[k].Before()
		if at.Index <= c.commit.Index {
			continue // judged below
		}
		ends, closes := c.endsChange(blocks[:k])
		cc := c.gate.changeCommit(at, closes, blocks[k].entries[0].Data)
		if cc == nil || !ends {
			return nil, InvalidEntry
		}
		if drop := c.admitCommitted(blocks[:k], at, cc); drop != Accepted {
			return nil, drop
		}
		blocks, k = blocks[k:], 0
	}
	c.gate.CheckBlocks(blocks)
	for k, b := range blocks {
		if b.checked != entriesValid && !mutant.On(mutant.M83) {
			return nil, InvalidEntry
		}
		if (k > 0 && blocks[k-1].EndsChange() || k == 0 && c.unprovenChange(b.Before())) &&
			!mutant.On(mutant.M138) {
			return nil, InvalidEntry
		}
	}
	return blocks, Accepted
}

// endsChange says whether the last of blocks, or the log if there are none, ends with a change, and
// whether that closes a joint configuration.
func (c *Core) endsChange(blocks []*Block) (ends, closes bool) {
	if len(blocks) == 0 {
		return c.changing(), c.closing(c.log.tip)
	}
	last := blocks[len(blocks)-1]
	return last.EndsChange(), last.Closes()
}

// unprovenChange says whether a position on the chain is that of a change that is not committed.
func (c *Core) unprovenChange(at Position) bool {
	if at.Index <= c.commit.Index {
		return false
	}
	b, ok := c.log.covering(at.Index)
	return ok && b.EndsChange()
}

// admitCommitted takes in blocks up to a change that is proven committed.
func (c *Core) admitCommitted(blocks []*Block, at Position, cc *quorumcert.Commit) Drop {
	if slices.ContainsFunc(blocks[:max(len(blocks)-1, 0)], (*Block).EndsChange) ||
		len(blocks) > 0 && c.unprovenChange(blocks[0].Before()) {
		return InvalidEntry // there is another change before it, without proof
	}
	if len(blocks) > 0 {
		if drop := c.takeCommitted(blocks, cc.Term); drop != Accepted {
			return drop
		}
		c.recount()
	}
	if cc.Term > c.term {
		c.enterTerm(cc.Term, TermProof{Commit: cc})
	}
	c.commitTo(at, cc)
	if c.broken != nil {
		return Conflict
	}
	return Accepted
}
