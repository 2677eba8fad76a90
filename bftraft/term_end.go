package bftraft

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/internal/mutant"
)

// TermEnd says what a node knew of why it left a term when it did: for who looks into its store
// later. It is this node's word alone, and nothing depends on it.
type TermEnd struct {
	Term    Term      // that it left
	Leader  NodeID    // of Term, 0 if none was known
	Cause   Cause     // what it had against Term, CauseNone for nothing
	By      ProofKind // what moved it on
	Started bool      // it was started in Term, so it may have missed what happened in it
}

// ProofKind says what moved a node to a term (E2).
type ProofKind uint8

// The kinds of proof. Values are stored and never change.
const (
	ProofNone   ProofKind = 0 // nothing
	ProofTC     ProofKind = 1 // a quorum's suspicions of the term before
	ProofEC     ProofKind = 2 // the election of the term's leader
	ProofQC     ProofKind = 3 // a certificate of the term
	ProofCommit ProofKind = 4 // a commit certificate of the term
)

var proofWords = [...]string{
	ProofNone: "none", ProofTC: "suspicions", ProofEC: "election", ProofQC: "certificate",
	ProofCommit: "commit_certificate",
}

// String returns the word for answers.
func (k ProofKind) String() string {
	if int(k) < len(proofWords) {
		return proofWords[k]
	}
	return "unknown"
}

// kind says by which certificate a node goes that is shown the proof of a higher term.
func (p *TermProof) kind() ProofKind {
	switch {
	case p.TC != nil:
		return ProofTC
	case p.EC != nil:
		return ProofEC
	case p.QC != nil:
		return ProofQC
	case p.Commit != nil:
		return ProofCommit
	}
	return ProofNone
}

// endTerm notes why this node leaves its term, as proof has it do. Of terms that pass within one
// Ready, of which storage sees the last alone, what was known of the first is kept.
func (c *Core) endTerm(proof *TermProof) {
	e := TermEnd{
		Term: c.term, Leader: c.Leader(), Cause: c.grounds, By: proof.kind(), Started: c.started,
	}
	own := e.Cause != CauseNone && e.Cause != CauseOthers
	if !own && proof.TC != nil && proof.TC.Term == c.term {
		if cause := c.caseAgainst(); cause != CauseNone {
			e.Cause = cause // this node was about to say so
		}
	}
	if before := c.out.Ended; before != nil && !mutant.On(mutant.M181) {
		e.Term, e.Leader, e.Cause, e.Started = before.Term, before.Leader, before.Cause, before.Started
	}
	c.out.Ended, c.grounds, c.started = &e, CauseNone, false
}

// AppendTo appends the encoding.
func (e *TermEnd) AppendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(e.Term))
	b = append(b, byte(e.Leader), byte(e.Cause), byte(e.By))
	if e.Started {
		return append(b, 1)
	}
	return append(b, 0)
}

// ReadTermEnd reads what TermEnd.AppendTo wrote. A later program may know more causes.
func ReadTermEnd(s *cryptobyte.String, e *TermEnd) bool {
	var started uint8
	ok := s.ReadUint64((*uint64)(&e.Term)) && s.ReadUint8((*uint8)(&e.Leader)) &&
		s.ReadUint8((*uint8)(&e.Cause)) && s.ReadUint8((*uint8)(&e.By)) && s.ReadUint8(&started)
	e.Started = started == 1
	return ok && started <= 1
}
