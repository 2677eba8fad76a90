package bftraft

import (
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// heartbeat says where this node is and repeats what may have been lost (N6). Whoever shows less
// is sent what it lacks when its own status comes in.
func (c *Core) heartbeat() {
	for id := range c.peers {
		c.peers[id].served, c.peers[id].servedBytes = 0, 0
		c.peers[id].servedAfter = Position{}
	}
	c.send(c.others(), ClassConsensus, c.makeStatus())
	if c.election == nil && c.vote.Candidate == c.id && c.mark.Term != c.term &&
		c.vote.Lock == c.lock {
		c.requestVotes()
	}
	c.repeatCase()
	c.repeatCheckpoint()
	c.announceNow = true
	c.askAgain()
	c.seekUnknown()
	c.askCommitted()
	c.commitChanges()
	c.KeepsUp() // takes notice of who showed what, and since when
}

// repeatCase repeats, while it matters, what speaks against the leader of the term: its own
// resignation, or the proof that it is faulty.
func (c *Core) repeatCase() {
	switch {
	case c.election == nil:
	case c.leading() && c.resigned:
		c.send(c.others(), ClassConsensus, &Resign{Term: c.term})
	case c.faulty.Has(c.election.Leader):
		for _, e := range c.evidence {
			if e.Culprit() == c.election.Leader {
				c.send(c.others(), ClassConsensus, &Accusation{Evidence: e})
			}
		}
	}
}

func (c *Core) makeStatus() *Status {
	m := &Status{
		Term: c.term, Tip: c.log.tip, Lock: c.lock, Commit: c.commit,
		Behind: c.behind(), Base: c.log.base.Index,
	}
	if c.election != nil {
		m.Leader = c.election.Leader
	}
	if c.lastAck.Term == c.term {
		m.Acked = c.lastAck.Index
	}
	return m
}

// behind says whether this node lacks something that is known to exist, so that others repeat what
// it may have missed (N6).
func (c *Core) behind() bool {
	if c.commit.Index < c.log.tip.Index || c.gather != nil {
		return true
	}
	for _, v := range c.configs().Latest().Voters() {
		s := &c.peers[v.ID].status
		if s.Term == c.term && (s.Lock.Higher(c.lock) || s.Acked > c.log.tip.Index) {
			return true
		}
	}
	return false
}

// sendStatus tells one peer where this node is, at most once in a tick.
func (c *Core) sendStatus(to NodeID) {
	if p := &c.peers[to]; p.statusAt != c.now {
		p.statusAt = c.now
		c.sendOne(to, ClassConsensus, c.makeStatus())
	}
}

func (c *Core) onStatus(from NodeID, m *Status) Drop {
	p := &c.peers[from]
	before := p.status
	p.status, p.heardAt = *m, c.now
	c.tellChanges(from)
	c.remind(from, m)
	switch {
	case m.Term < c.term:
		c.repair(from)
		return Stale
	case m.Term > c.term:
		c.sendStatus(from)
		return FutureTerm
	}
	if c.election != nil && c.election.Leader == from {
		c.leaderSeen = c.now
	}
	c.repair(from)
	if c.leading() && m.Leader == c.id && m.Acked == before.Acked && before.Term == m.Term &&
		!mutant.On(mutant.M81) {
		c.resend(from, m)
	}
	return Accepted
}

// repair sends a peer what its newest status lacks: the certificates that move it to this term,
// the leader's election, the lock, this node's newest ack (N6). Once in a tick is enough.
func (c *Core) repair(to NodeID) {
	p := &c.peers[to]
	if p.repairedAt == c.now && c.now > 0 {
		return
	}
	p.repairedAt = c.now
	s := &p.status
	var proof TermProof
	if s.Term < c.term && c.outdated {
		c.helpAlong(to, s.Term)
	} else if s.Term < c.term {
		proof = c.proof
		if proof.EC != nil {
			proof.TC = nil // the election alone leads there
		}
	} else if s.Leader == 0 {
		proof.EC, proof.BaseQC = c.election, c.baseQC
	}
	if c.lock.Term == c.term && (s.Behind || s.Term < c.term) && c.lock.Higher(s.Lock) {
		proof.QC = c.lockQC
	}
	if proof != (TermProof{}) && !mutant.On(mutant.M91) {
		c.sendOne(to, ClassConsensus, &Proof{TermProof: proof})
	}
	if c.lastAck.Term == c.term && s.Behind {
		c.sendOne(to, ClassConsensus, &AppendEntriesResponse{Ack: c.lastAck})
	}
}

// helpAlong has a voter that is ahead of another, by the word of voters that have been replaced
// since, suspect the term the other is in: that word moves nobody any more, and neither can follow
// the other otherwise (E2).
func (c *Core) helpAlong(to NodeID, t Term) {
	if !c.electionConfig().Has(c.id) || t == 0 || mutant.On(mutant.M151) {
		return
	}
	st := quorumcert.Suspicion{Cluster: c.cluster, Term: t}
	m := &Suspect{Term: t, Signer: c.id, Sig: quorumcert.Sign(c.cfg.Signer, st)}
	c.sendOne(to, ClassConsensus, m)
}

// maxResendBytes bounds the blocks in one retransmission; a follower that lacks more fetches it.
const maxResendBytes = 1 << 20

// resend repeats the leader's newest proposal to a follower that has shown no progress, with the
// blocks it lacks if they are few (A3): once in an interval, however often it shows itself, for the
// blocks are many times what it sends.
func (c *Core) resend(to NodeID, s *Status) {
	p := &c.peers[to]
	has := s.Acked
	if !c.gate.members.Votes(to) {
		has = s.Tip.Index // it acks nothing
	}
	if c.lastAck.Term != c.term || has >= c.lastAck.Index ||
		c.now-p.resentAt < uint64(c.cfg.HeartbeatTicks)/2 {
		return
	}
	p.resentAt = c.now
	if mutant.On(mutant.M126) && s.Tip.Index < c.log.tip.Index && c.log.contains(s.Tip) {
		c.mark, c.lastAck, c.dirty = Lock{}, quorumcert.SignedAck{}, true
		c.switchSuffix(s.Tip, nil)
		return
	}
	m := &AppendEntries{Ack: c.lastAck}
	if s.Tip.Index < c.lastAck.Index && c.log.contains(s.Tip) {
		size := 0
		m.Blocks = c.log.between(s.Tip.Index, c.lastAck.Index)
		for _, b := range m.Blocks {
			size += len(b.raw)
		}
		if size > maxResendBytes || len(m.Blocks) > maxFrameBlocks {
			m.Blocks = nil
		}
	}
	c.sendOne(to, ClassConsensus, m)
}

// onProof takes in certificates.
func (c *Core) onProof(from NodeID, m *Proof) Drop {
	drop := Duplicate
	if m.TC != nil && m.TC.Term >= c.term {
		c.enterTerm(m.TC.Term+1, TermProof{TC: m.TC})
		drop = Accepted
	}
	if m.EC != nil && c.learnElection(m.EC, m.BaseQC) == Accepted {
		drop = Accepted
	}
	if m.Commit != nil && c.learnCommit(m.Commit) == Accepted {
		drop = Accepted
	}
	if m.QC != nil && c.learnQC(from, m.QC) == Accepted {
		drop = Accepted
	}
	if c.broken != nil {
		return Conflict
	}
	return drop
}

// learnQC takes in a verified quorum certificate: it moves a node of a lower term, and becomes the
// lock once its entries are here.
func (c *Core) learnQC(from NodeID, qc *quorumcert.QC) Drop {
	c.recallQC(qc)
	if qc.Term > c.term {
		c.enterTerm(qc.Term, TermProof{QC: qc})
	}
	if !qc.Lock.Higher(c.lock) || c.pending != nil && c.pending.Lock.Higher(qc.Lock) {
		return Duplicate
	}
	if !c.wantsLock(qc) {
		return Stale
	}
	at := Position{qc.Index, qc.Hash}
	if c.log.below(at.Index) && !c.contradictsCommit(at, qc.Term) {
		return Stale // a state has its entries
	}
	if c.contradictsCommit(at, qc.Term) {
		c.halt()
		return Conflict
	}
	if at.Index <= c.commit.Index && !c.log.contains(at) {
		return Stale // of a configuration that has been replaced
	}
	c.pending = qc
	if !c.log.contains(at) {
		c.seekFrom(from, nil, at, qc, nil)
	}
	return Accepted
}

// contradictsCommit says whether a certificate of term t for a position proves that more than f
// are faulty: certificates of a term not below that of a commit extend what is committed (A5). In
// the term of the commit they may lie below the base, and then nobody can say.
func (c *Core) contradictsCommit(at Position, t Term) bool {
	if t == c.commitTerm && c.log.below(at.Index) {
		return false
	}
	return !mutant.On(mutant.M82) && t >= c.commitTerm && at.Index <= c.commit.Index &&
		c.commitTerm > 0 && c.inForce(at.Index) && !c.log.contains(at)
}

// learnCommit takes in a verified commit certificate of something this node has already.
func (c *Core) learnCommit(cc *quorumcert.Commit) Drop {
	c.recallCommit(cc)
	if cc.Term > c.term {
		c.enterTerm(cc.Term, TermProof{Commit: cc})
	}
	at := Position{cc.Index, cc.Hash}
	if at.Index <= c.commit.Index {
		if !c.log.below(at.Index) && !c.log.contains(at) {
			if c.inForce(at.Index) {
				c.halt()
			}
			return Conflict
		}
		return Duplicate
	}
	if !c.log.contains(at) {
		return MissingBlocks
	}
	if c.unprovenChange(at) && !atItsEnd(cc) || !c.full(at, cc.Signers) {
		return BadCertificate // of later acks, which nobody gives before it is committed, or of few
	}
	c.commitTo(at, cc)
	return Accepted
}
