package bftraft

import (
	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// A disk that was put back, with all that stood beside it, shows nothing of that. But others hold
// what this node has signed since: certificates, and acks, which they show to who says that it has
// acked less. What it does not know to have signed is reason to sign nothing any more (J7).

// knows says whether this node may have signed an ack by what it knows: mark and lock are durable
// before an ack that rests on them leaves, and neither is lowered within a term.
func (c *Core) knows(a *quorumcert.Ack) bool {
	switch {
	case a.Term != c.mark.Term:
		return a.Term < c.mark.Term
	case a.Index > c.mark.Index:
		return false
	}
	return a.Term != c.term || a.Certified == 0 ||
		c.lock.Term == a.Term && c.lock.Index >= a.Certified
}

// own says whether a statement bears this node's signature. Whose the id was then does not matter:
// the ids go round.
func (c *Core) own(st quorumcert.Statement, sig crypto.Signature) bool {
	if mutant.On(mutant.M175) {
		return true
	}
	key, err := c.gate.scheme.Expand(c.cfg.Signer.Public())
	return err == nil && key.Verify(st.Domain(), st.AppendTo(nil), sig)
}

// recall notes that this node has signed an ack that it does not know of, if it has.
func (c *Core) recall(a *quorumcert.SignedAck) Drop {
	switch {
	case c.knows(&a.Ack):
		return Duplicate
	case !c.own(a.Ack, a.Sig):
		return NoProof
	}
	c.forgets()
	return Accepted
}

func (c *Core) forgets() {
	if mutant.On(mutant.M174) {
		return
	}
	c.forgot, c.dirty = true, true
	c.out.Forgot, c.out.MustSync = true, true
}

// recallQC looks for an ack of this node's in a certificate that was verified.
func (c *Core) recallQC(qc *quorumcert.QC) {
	if qc == nil || !qc.Signers.Has(c.id) {
		return
	}
	if a, ok := qc.AckOf(c.cluster, c.id); ok {
		c.recall(&a)
	}
}

// recallCommit looks for an ack of this node's in a commit certificate that was verified.
func (c *Core) recallCommit(cc *quorumcert.Commit) {
	if cc == nil || !cc.Signers.Has(c.id) {
		return
	}
	if a, ok := cc.AckOf(c.cluster, c.id); ok {
		c.recall(&a)
	}
}

// recallElection looks for a vote of this node's in the election of the current term.
func (c *Core) recallElection(ec *quorumcert.EC) {
	if !ec.Signers.Has(c.id) || c.vote.Candidate == ec.Leader && !ec.Base.Higher(c.vote.Lock) {
		return
	}
	v := quorumcert.Vote{Cluster: c.cluster, Term: ec.Term, Candidate: ec.Leader, Lock: ec.Base}
	if sig, ok := ec.SignatureOf(c.id); ok && c.own(v, sig) {
		c.forgets()
	}
}

// remind shows a peer the newest ack of its own that was seen here if, by its status, it does not
// know of it: either the status is an old one, or its disk was put back. Once in a timeout will do.
func (c *Core) remind(to NodeID, s *Status) {
	p := &c.peers[to]
	a := &p.newest
	aware := false
	switch {
	case s.Term > a.Term: // what it has acked there, it takes to be all
		aware = s.Acked > 0 || s.Tip.Index >= a.Index
	case s.Term == a.Term:
		aware = s.Acked >= a.Index && (a.Certified == 0 ||
			s.Lock.Term == a.Term && s.Lock.Index >= a.Certified)
	}
	if !aware && c.now >= p.remindFrom {
		p.remindFrom = c.now + uint64(c.cfg.ElectionTicks)
		c.Greet(to)
	}
}

// Greet shows a peer whose link has come up its newest ack that was seen here: if its disk was put
// back, it should learn that before it signs anything.
func (c *Core) Greet(to NodeID) {
	p := &c.peers[to]
	a := &p.newest
	if a.Term == 0 || c.broken != nil || mutant.On(mutant.M173) {
		return
	}
	if c.gate.verifySigned(to, a.Ack, a.Sig) != Accepted {
		p.newest = quorumcert.SignedAck{} // it is of who had the id before
		return
	}
	c.sendOne(to, ClassConsensus, &Reminder{Ack: *a})
}

// onReminder is shown an ack under this node's id. Whether it is of its key the gate cannot say,
// which may not know yet whose the id is.
func (c *Core) onReminder(a *quorumcert.SignedAck) Drop {
	if a.Signer != c.id {
		return Unasked
	}
	return c.recall(a)
}

// Quarantined says that the next Ready tells this node to stop for good: until it is done nothing
// should be signed.
func (c *Core) Quarantined() bool { return c.out.Forgot || c.out.Accused }
