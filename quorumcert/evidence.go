package quorumcert

import (
	"errors"

	"tangaroa/crypto"
	"tangaroa/internal/mutant"
)

// ErrNoProof is returned when the two statements do not contradict each other.
var ErrNoProof = errors.New("evidence proves nothing")

// AckConflict proves that a voter acked two conflicting chains in one term (A4): Headers are the
// blocks of B's chain that end at B, the first of which covers A's index, so that A stands no
// higher. Either that block ends at A's index with another hash, or it covers the index without
// ending there; B's chain then does not contain A's block.
type AckConflict struct {
	A, B    SignedAck
	Headers []Header
}

// Culprit returns the voter the proof accuses.
func (e *AckConflict) Culprit() crypto.NodeID { return e.A.Signer }

// Verify judges the proof by configuration c. Blocks keep their ends for ever (B1),
// so an honest voter, whose acked chain only grows within a term, can never be accused.
func (e *AckConflict) Verify(cluster crypto.Digest, c *Configuration) error {
	a, b := e.A, e.B
	if a.Signer != b.Signer || a.Term != b.Term || a.Term == 0 ||
		a.Cluster != cluster || b.Cluster != cluster {
		return ErrNoProof
	}
	if len(e.Headers) == 0 {
		return ErrNoProof
	}
	first, last := e.Headers[0], e.Headers[len(e.Headers)-1]
	switch {
	case first.First > a.Index || first.Last < a.Index || first.First == 0:
		return ErrNoProof
	case last.Last != b.Index || last.Hash() != b.Hash:
		return ErrChain
	case !linked(first.Last, first.Hash(), e.Headers[1:]):
		return ErrChain
	case first.Last == a.Index && first.Hash() == a.Hash && !mutant.On(mutant.M115):
		return ErrNoProof
	}
	if err := c.VerifyOne(a.Signer, a.Ack, a.Sig); err != nil {
		return err
	}
	return c.VerifyOne(b.Signer, b.Ack, b.Sig)
}

// VoteConflict proves that a voter voted for two candidates in one term (docs/PROTOCOL.md, E4).
type VoteConflict struct {
	A, B SignedVote
}

// Culprit returns the voter the proof accuses.
func (e *VoteConflict) Culprit() crypto.NodeID { return e.A.Signer }

// Verify judges the proof by configuration c.
func (e *VoteConflict) Verify(cluster crypto.Digest, c *Configuration) error {
	a, b := e.A, e.B
	if a.Signer != b.Signer || a.Term != b.Term || a.Term == 0 || a.Candidate == b.Candidate ||
		a.Cluster != cluster || b.Cluster != cluster {
		return ErrNoProof
	}
	if err := c.VerifyOne(a.Signer, a.Vote, a.Sig); err != nil {
		return err
	}
	return c.VerifyOne(b.Signer, b.Vote, b.Sig)
}

// Evidence is one proof that a voter is faulty: exactly one of its fields is set.
type Evidence struct {
	Acks  *AckConflict
	Votes *VoteConflict
}

// Culprit returns the voter the proof accuses, 0 for empty evidence.
func (e *Evidence) Culprit() crypto.NodeID {
	switch {
	case e.Acks != nil:
		return e.Acks.Culprit()
	case e.Votes != nil:
		return e.Votes.Culprit()
	}
	return 0
}

// Verify judges the proof by configuration c.
func (e *Evidence) Verify(cluster crypto.Digest, c *Configuration) error {
	switch {
	case e.Acks != nil && e.Votes == nil:
		return e.Acks.Verify(cluster, c)
	case e.Votes != nil && e.Acks == nil:
		return e.Votes.Verify(cluster, c)
	}
	return ErrNoProof
}
