package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"tangaroa/crypto"
)

// countingScheme counts the verdicts of a scheme and changes none.
type countingScheme struct {
	crypto.Scheme
	verified, rejected prometheus.Counter
}

// countedKey is a key of a countingScheme.
type countedKey struct {
	crypto.Verifier
	scheme *countingScheme
}

// Expand expands the key and counts what is verified with it.
func (s *countingScheme) Expand(pub crypto.PublicKey) (crypto.Verifier, error) {
	return s.counted(s.Scheme.Expand(pub))
}

// ExpandMember is the same for a node's key.
func (s *countingScheme) ExpandMember(pub crypto.PublicKey) (crypto.Verifier, error) {
	return s.counted(s.Scheme.ExpandMember(pub))
}

func (s *countingScheme) counted(key crypto.Verifier, err error) (crypto.Verifier, error) {
	if err != nil {
		return nil, err
	}
	return &countedKey{key, s}, nil
}

// VerifyAll takes the wrapping off again: a batch is fast only with keys the scheme knows.
func (s *countingScheme) VerifyAll(checks []crypto.Check) bool {
	bare := make([]crypto.Check, len(checks))
	for i, c := range checks {
		if key, ok := c.Key.(*countedKey); ok {
			c.Key = key.Verifier
		}
		bare[i] = c
	}
	ok := s.Scheme.VerifyAll(bare)
	if ok {
		s.verified.Add(float64(len(checks)))
	} else {
		s.rejected.Inc() // at least one of them
	}
	return ok
}

// Verify verifies and counts.
func (k *countedKey) Verify(d crypto.Domain, msg []byte, sig crypto.Signature) bool {
	ok := k.Verifier.Verify(d, msg, sig)
	if ok {
		k.scheme.verified.Inc()
	} else {
		k.scheme.rejected.Inc()
	}
	return ok
}
