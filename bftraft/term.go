package bftraft

import (
	"encoding/binary"

	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// Cause says why a node suspects its term (E1).
type Cause uint8

// The causes. Values are part of the wire form, are stored, and never change.
const (
	CauseNone       Cause = 0 // there is none
	CauseResigned   Cause = 1 // the leader resigned (E1e)
	CauseProof      Cause = 2 // the leader is proven faulty (E1c)
	CauseSilence    Cause = 3 // nothing valid came from the leader, or none was elected (E1a)
	CauseStarvation Cause = 4 // the leader talks but does not order a client's request (E1b)
	CauseOthers     Cause = 5 // f+1 others suspect the term (E1d)
	CauseOutside    Cause = 6 // the leader is no voter (E1e)
	CauseSlow       Cause = 7 // the leader serves clients late (E1b, E5b)
	CauseHeldUp     Cause = 8 // what a quorum certified is not committed (E1f)
	numCauses       Cause = 9
)

var causeNames = [numCauses]string{
	CauseNone: "none", CauseResigned: "resigned", CauseProof: "proof", CauseSilence: "silence",
	CauseStarvation: "starvation", CauseOthers: "others", CauseOutside: "outside",
	CauseSlow: "slow", CauseHeldUp: "held-up",
}

// String returns the word for metrics and logs.
func (c Cause) String() string {
	if c < numCauses {
		return causeNames[c]
	}
	return "unknown"
}

// Causes lists all causes of suspicion, for metrics.
func Causes() []Cause {
	return []Cause{CauseResigned, CauseOutside, CauseProof, CauseSilence, CauseStarvation,
		CauseSlow, CauseHeldUp, CauseOthers}
}

// timeout is the election timeout in ticks, without jitter (E6).
func (c *Core) timeout() uint64 { return uint64(c.cfg.ElectionTicks) << c.backoff }

// window is the time each rank has to itself, in ticks (E3, E6).
func (c *Core) window() uint64 { return uint64(c.cfg.WindowTicks) << c.backoff }

// jitter is this node's share of up to half a timeout: a function of seed, term and node.
func (c *Core) jitter() uint64 {
	var b [24]byte
	binary.BigEndian.PutUint64(b[:], c.cfg.Seed)
	binary.BigEndian.PutUint64(b[8:], uint64(c.term))
	binary.BigEndian.PutUint64(b[16:], uint64(c.id))
	d := crypto.Hash(crypto.DomainMessage, b[:])
	return binary.BigEndian.Uint64(d[:]) % (c.timeout()/2 + 1)
}

// tickSuspicion suspects the term while there is a cause, again in each heartbeat interval (E1).
func (c *Core) tickSuspicion() {
	cause := c.suspicionCause()
	if cause == CauseNone {
		c.cause = CauseNone
		if mutant.On(mutant.M180) {
			c.grounds = CauseNone
		}
		return
	}
	if c.cause != CauseNone && c.now-c.suspectedAt < uint64(c.cfg.HeartbeatTicks) {
		return
	}
	c.cause, c.suspectedAt = cause, c.now
	if cause != CauseOthers || c.grounds == CauseNone {
		c.grounds = cause
	}
	st := quorumcert.Suspicion{Cluster: c.cluster, Term: c.term}
	m := &Suspect{Term: c.term, Signer: c.id, Sig: quorumcert.Sign(c.cfg.Signer, st)}
	c.send(c.others(), ClassConsensus, m)
	c.collectSuspicion(m)
}

func (c *Core) suspicionCause() Cause {
	if !c.electionConfig().Has(c.id) {
		return CauseNone
	}
	if cause := c.caseAgainst(); cause != CauseNone {
		return cause
	}
	switch {
	case c.silent() && !mutant.On(mutant.M93):
		return CauseSilence
	case c.starves():
		return CauseStarvation
	case c.slow && c.election != nil && !mutant.On(mutant.M40):
		return CauseSlow
	case c.heldUp():
		return CauseHeldUp
	}
	others := 0
	for _, v := range c.electionConfig().Voters() {
		p := &c.peers[v.ID]
		fresh := c.now-p.suspectedAt <= c.timeout() || mutant.On(mutant.M96)
		if v.ID != c.id && p.suspects && fresh {
			others++
		}
	}
	switch {
	case mutant.On(mutant.M95):
	case others > c.electionConfig().Size().F, others > 0 && mutant.On(mutant.M45):
		return CauseOthers
	}
	return CauseNone
}

// caseAgainst says what speaks against the leader of the term for good, if anything does.
func (c *Core) caseAgainst() Cause {
	switch {
	case c.resigned && !mutant.On(mutant.M97):
		return CauseResigned
	case c.election == nil:
		return CauseNone
	case !c.electionConfig().Has(c.election.Leader) && !mutant.On(mutant.M97):
		return CauseOutside
	case c.faulty.Has(c.election.Leader) && !mutant.On(mutant.M94):
		return CauseProof
	}
	return CauseNone
}

// silent says whether nothing valid came over the leader's own connection, or no leader was
// elected, for the election timeout (E1a).
func (c *Core) silent() bool {
	quiet := c.now - c.leaderSeen
	return !c.leading() && quiet >= c.timeout() && quiet >= c.timeout()+c.jitter()
}

func (c *Core) onSuspect(from NodeID, m *Suspect) Drop {
	switch {
	case m.Term < c.term:
		c.repair(from)
		return Stale
	case m.Term > c.term:
		return FutureTerm
	case !c.electionConfig().Has(from):
		return UnknownSender
	}
	c.collectSuspicion(m)
	return Accepted
}

// collectSuspicion counts a suspicion of the current term. A quorum of them, whenever they were
// made, is the timeout certificate that ends it (E2).
func (c *Core) collectSuspicion(m *Suspect) {
	p := &c.peers[m.Signer]
	p.suspects, p.suspectedAt = true, c.now
	if !c.suspicions.Add(m.Signer, m.Sig) {
		return
	}
	cfg := c.electionConfig()
	sigs := c.suspicions.Take(cfg.Members())
	if sigs.Signers.Len() >= cfg.Size().Q ||
		mutant.On(mutant.M98) && sigs.Signers.Len() > cfg.Size().F {
		tc := &quorumcert.TC{Term: c.term, Signatures: sigs}
		c.enterTerm(c.term+1, TermProof{TC: tc})
	}
}

// enterTerm moves to term t, which proof shows to have begun: terms move by proof only (E2).
func (c *Core) enterTerm(t Term, proof TermProof) {
	if t <= c.term {
		panic("bftraft: terms never go back")
	}
	if c.grounds == CauseHeldUp && !mutant.On(mutant.M185) {
		c.blamed = min(c.blamed+1, c.cfg.MaxBackoff)
	}
	if c.grounds == CauseStarvation && !mutant.On(mutant.M190) {
		c.starved++
	}
	c.endTerm(&proof)
	c.term, c.vote, c.proof, c.dirty = t, VoteRecord{}, proof, true
	c.election, c.baseQC, c.lastAck, c.toAck = nil, nil, quorumcert.SignedAck{}, c.toAck[:0]
	c.ecShown, c.resigned, c.waited, c.slow, c.cause = 0, false, 0, false, CauseNone
	c.suspicions.Reset()
	for id := range c.peers {
		p := &c.peers[id]
		claim := p.claim
		p.acks, p.claim, p.vote = p.acks[:0], quorumcert.SignedAck{}, quorumcert.SignedVote{}
		if mutant.On(mutant.M19) {
			p.claim = claim
		}
		p.suspects, p.fetched = false, Position{}
	}
	c.termStart, c.leaderSeen, c.calmSince = c.now, c.now, c.now
	c.announceNow, c.gather, c.outdated = false, nil, false
	if !mutant.On(mutant.M44) {
		c.backoff = min(c.backoff+1, c.cfg.MaxBackoff)
	}
}

// tickBackoff takes one doubling back after each full timeout in which a leader was in office and
// nothing that was pending was left waiting (E6).
func (c *Core) tickBackoff() {
	if c.election == nil || c.cause != CauseNone || c.starves() || c.slow {
		c.calmSince = c.now
		return
	}
	if c.backoff > 0 && c.now-c.calmSince >= c.timeout() && !mutant.On(mutant.M107) {
		c.backoff--
		c.calmSince = c.now
	}
}

// SetSlow says whether the leader of the term serves a client later than it could (E5b).
func (c *Core) SetSlow(on bool) { c.slow = on }

// Resign makes this node, if it leads, ask to be replaced; it proposes nothing more (E1e).
func (c *Core) Resign() {
	if !c.leading() || c.resigned {
		return
	}
	c.resigned = true
	c.send(c.others(), ClassConsensus, &Resign{Term: c.term})
}

func (c *Core) onResign(from NodeID, m *Resign) Drop {
	switch {
	case m.Term < c.term:
		return Stale
	case m.Term > c.term:
		return FutureTerm
	case c.election == nil:
		return NoElection
	case c.election.Leader != from:
		return NotLeader
	case c.resigned:
		return Duplicate
	}
	c.resigned = true
	return Accepted
}
