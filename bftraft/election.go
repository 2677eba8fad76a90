package bftraft

import (
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// tickCampaign stands for election once this node's rank has come (E3).
func (c *Core) tickCampaign() {
	if c.election != nil || c.mark.Term == c.term || c.faulty.Has(c.id) {
		return
	}
	if c.lock.Term == c.term && !mutant.On(mutant.M104) {
		return // somebody leads this term: no base can be of the term itself (E4)
	}
	if c.vote.Candidate != 0 && c.vote.Candidate != c.id {
		return
	}
	if c.term > 1 && c.proof.TC == nil {
		return // entered by a certificate of this very term: it has or had a leader
	}
	if !c.windowOpen(c.id) || c.lockLacksEntries() {
		return
	}
	if c.vote.Candidate == 0 || c.lock.Higher(c.vote.Lock) {
		c.giveVote(c.id, c.lock)
		c.requestVotes()
	}
}

// windowOpen says whether id's rank has come, as far as this node's own time goes (E3).
func (c *Core) windowOpen(id NodeID) bool {
	rank, ok := c.electionConfig().Rank(c.term, id)
	return ok && (c.now-c.termStart >= uint64(rank)*c.window() || mutant.On(mutant.M99))
}

// lockLacksEntries is true while catch-up has replaced the chain the lock lies on by one that is
// proven committed in a later term. Such a lock still says what this node will not vote below, but
// it is nothing to stand for election with.
func (c *Core) lockLacksEntries() bool {
	return !c.log.contains(Position{c.lock.Index, c.lock.Hash})
}

// requestVotes sends, or sends again, this candidate's request.
func (c *Core) requestVotes() {
	c.send(c.others(), ClassConsensus, &RequestVote{
		Term: c.term, Lock: c.vote.Lock, LockQC: c.lockQC, TC: c.proof.TC,
	})
}

// giveVote records and sends a vote of this node (E4). The record is durable before it is sent.
func (c *Core) giveVote(candidate NodeID, l Lock) {
	c.vote, c.dirty = VoteRecord{candidate, l}, true
	c.out.MustSync = c.out.MustSync || !mutant.On(mutant.M13)
	c.sendVote()
}

// signVote signs the recorded vote.
func (c *Core) signVote() quorumcert.SignedVote {
	v := quorumcert.Vote{
		Cluster: c.cluster, Term: c.term, Candidate: c.vote.Candidate, Lock: c.vote.Lock,
	}
	return quorumcert.SignedVote{Vote: v, Signer: c.id, Sig: quorumcert.Sign(c.cfg.Signer, v)}
}

func (c *Core) sendVote() {
	sv := c.signVote()
	c.send(c.others(), ClassConsensus, &RequestVoteResponse{Vote: sv})
	c.collectVote(&sv)
}

func (c *Core) onRequestVote(from NodeID, m *RequestVote) Drop {
	if m.Term < c.term {
		c.repair(from)
		return Stale
	}
	if c.recallQC(m.LockQC); m.Term > c.term {
		c.enterTerm(m.Term, TermProof{TC: m.TC})
	}
	if m.TC != nil && c.outdated {
		c.proof = TermProof{} // nobody goes by it any more
	}
	if m.TC != nil && c.proof.TC == nil {
		c.proof.TC, c.dirty, c.outdated = m.TC, true, false
	}
	switch {
	case c.election != nil && c.election.Leader != from:
		c.repair(from)
		return AlreadyVoted
	case !c.votes() && !mutant.On(mutant.M150):
		return Unserved
	case m.LockQC != nil && !c.full(Position{m.Lock.Index, m.Lock.Hash}, m.LockQC.Signers):
		return BadBase // a closing entry, and the old voters alone have certified it
	case c.faulty.Has(from) && !mutant.On(mutant.M100):
		return FaultySender
	case c.vote.Candidate != from && c.vote.Candidate != 0 && !mutant.On(mutant.M102),
		c.vote.Candidate == 0 && c.mark.Term == c.term && !mutant.On(mutant.M101):
		return AlreadyVoted
	case !c.windowOpen(from):
		return TooEarly
	case c.refusesLock(m.Lock):
		c.sendOne(from, ClassConsensus, &Proof{TermProof: TermProof{QC: c.lockQC}})
		return LowerLock
	case c.vote.Candidate == from && (c.vote.Lock.Higher(m.Lock) ||
		m.Lock.Higher(c.vote.Lock) && mutant.On(mutant.M46)):
		return Stale
	case c.vote.Candidate == from && c.vote.Lock == m.Lock:
		c.sendVote()
		return Duplicate
	}
	c.giveVote(from, m.Lock)
	return Accepted
}

// refusesLock says whether a candidate's lock is below this node's: only certified positions count,
// by term first.
func (c *Core) refusesLock(l Lock) bool {
	switch {
	case mutant.On(mutant.M05):
		return false
	case mutant.On(mutant.M12):
		return c.lock.Index > l.Index
	}
	return c.lock.Higher(l)
}

func (c *Core) onVote(from NodeID, m *RequestVoteResponse) Drop {
	switch {
	case m.Vote.Term < c.term:
		return Stale
	case m.Vote.Term > c.term:
		return FutureTerm
	}
	return c.collectVote(&m.Vote)
}

// collectVote keeps the newest vote of each voter and looks for a quorum of equal ones for this
// node. Votes that show different locks do not add up (E4).
func (c *Core) collectVote(v *quorumcert.SignedVote) Drop {
	p := &c.peers[v.Signer]
	if p.vote.Term == v.Term {
		switch {
		case p.vote.Candidate != v.Candidate:
			c.convict(quorumcert.Evidence{Votes: &quorumcert.VoteConflict{A: p.vote, B: *v}})
			return Conflict
		case p.vote.Lock == v.Lock:
			return Duplicate
		case p.vote.Lock.Higher(v.Lock):
			return Stale
		}
	}
	p.vote = *v
	if v.Candidate == c.id && c.election == nil && c.vote == (VoteRecord{c.id, v.Lock}) {
		c.countVotes()
	}
	return Accepted
}

// countVotes becomes leader once a quorum has voted for this node with the lock it last showed, if
// that holds what this node knows to be committed: voters that were replaced elect nobody (J5).
func (c *Core) countVotes() {
	if c.gate.rewrites(c.term, Position{c.vote.Lock.Index, c.vote.Lock.Hash}) {
		return
	}
	cfg := c.configs().Behind(c.vote.Lock.Index)
	ec := &quorumcert.EC{Term: c.term, Leader: c.id, Base: c.vote.Lock}
	all := cfg.Members()
	if c.closing(Position{ec.Base.Index, ec.Base.Hash}) && cfg.Entry() != ec.Base.Index {
		all |= cfg.Incoming() // it is not known to be committed: both elect (J3)
	}
	all = c.gate.holders(cfg, all)
	for id := all.Next(0); id != 0; id = all.Next(id) {
		v := &c.peers[id].vote
		same := v.Lock == c.vote.Lock || mutant.On(mutant.M103)
		if v.Term == c.term && v.Candidate == c.id && same {
			ec.Signers = ec.Signers.With(id)
			ec.Sigs = append(ec.Sigs, v.Sig)
		}
	}
	if (ec.Signers&cfg.Members()).Len() >= cfg.Size().Q && c.lock == c.vote.Lock && c.elected(ec) {
		c.takeElection(ec, c.lockQC)
	}
}

// learnElection takes in a verified election certificate, moving to its term if that is higher.
func (c *Core) learnElection(ec *quorumcert.EC, base *quorumcert.QC) Drop {
	if ec.Term < c.term {
		return Stale
	}
	if ec.Term > c.term {
		c.enterTerm(ec.Term, TermProof{EC: ec, BaseQC: base})
	}
	if !c.wantsElection(ec) {
		return Duplicate
	}
	c.takeElection(ec, base)
	return Accepted
}

// wantsElection says whether an election of the current term tells this node anything. A candidate
// may be voted for again with a higher lock (E4), so that its votes may make two elections: the
// higher counts, until this node has acked. The candidate itself leads with the lock it has.
func (c *Core) wantsElection(ec *quorumcert.EC) bool {
	switch acked := c.mark.Term == c.term; {
	case ec.Leader == c.id && !acked && ec.Base != c.lock:
		return false
	case c.election == nil:
		return true
	default:
		return !acked && ec.Leader == c.election.Leader && ec.Base.Higher(c.election.Base)
	}
}

// takeElection makes ec's leader the leader of the current term. A base below what is committed
// in an earlier term is proof that more than f are faulty (A5).
func (c *Core) takeElection(ec *quorumcert.EC, base *quorumcert.QC) {
	below := Lock{Term: c.commitTerm, Index: c.commit.Index}.Higher(ec.Base)
	if c.commitTerm < ec.Term && (below || ec.Base.Index == c.commit.Index &&
		ec.Base.Hash != c.commit.Hash) {
		if ec.Base.Index >= c.gate.members.At.Index {
			c.halt()
		}
		return
	}
	c.election, c.baseQC = ec, base
	c.recallQC(base)
	c.recallElection(ec)
	if c.outdated {
		c.proof, c.outdated = TermProof{}, false
	}
	c.proof.EC, c.proof.BaseQC, c.dirty = ec, base, true
	c.leaderSeen, c.calmSince, c.decidedAt = c.now, c.now, c.now
	if ec.Leader == c.id && c.holdsBase() && !mutant.On(mutant.M85) {
		c.dropClosing()
		// The first act in a term is to propose the log as it is (N1): so everything before is
		// acked again in this term.
		c.ecShown, c.startTip = 0, c.log.tip.Index
		c.propose(c.log.tip, nil)
	}
}

// holdsBase says whether the base of the current election is on the chain (A2). A chain that begins
// at a certified checkpoint beyond it contains it: what is committed extends every base of its own
// term and of those before, and is itself below every base of a later one (K1).
func (c *Core) holdsBase() bool {
	b := c.election.Base
	at := Position{b.Index, b.Hash}
	return c.log.below(b.Index) || c.log.contains(at) && c.elected(c.election) &&
		(c.baseQC == nil || c.full(at, c.baseQC.Signers))
}

// lockBase takes the base of the current election, which the chain contains, as the lock, unless it
// is gone with the log: then a certificate of this term will be the next lock.
func (c *Core) lockBase() {
	if b := c.election.Base; !c.log.below(b.Index) {
		c.setLock(b, c.baseQC)
	}
}
