package gate

import (
	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
)

// Counts are what was done. Allocations are of all members and the client together.
type Counts struct {
	Messages, Bytes  uint64 // between nodes, and between nodes and clients
	Signed, Verified uint64 // by nodes and clients, and by nodes
	Flushes, Stored  uint64 // saves that something waited for, and bytes of blocks in all saves
	Allocations      uint64
}

func (c Counts) minus(d Counts) Counts {
	return Counts{
		c.Messages - d.Messages, c.Bytes - d.Bytes, c.Signed - d.Signed, c.Verified - d.Verified,
		c.Flushes - d.Flushes, c.Stored - d.Stored, c.Allocations - d.Allocations,
	}
}

// scheme counts what is verified.
type scheme struct {
	crypto.Scheme
	counts *Counts
}

type verifier struct {
	crypto.Verifier
	counts *Counts
}

// Expand expands a key whose use is counted.
func (s scheme) Expand(pub crypto.PublicKey) (crypto.Verifier, error) {
	return s.counted(s.Scheme.Expand(pub))
}

// ExpandMember is the same for a node's key.
func (s scheme) ExpandMember(pub crypto.PublicKey) (crypto.Verifier, error) {
	return s.counted(s.Scheme.ExpandMember(pub))
}

func (s scheme) counted(key crypto.Verifier, err error) (crypto.Verifier, error) {
	if err != nil {
		return nil, err
	}
	return &verifier{key, s.counts}, nil
}

// VerifyAll takes the wrapping off again: a batch is fast only with keys the scheme knows.
func (s scheme) VerifyAll(checks []crypto.Check) bool {
	bare := make([]crypto.Check, len(checks))
	for i, c := range checks {
		if key, ok := c.Key.(*verifier); ok {
			c.Key = key.Verifier
		}
		bare[i] = c
	}
	s.counts.Verified += uint64(len(checks))
	return s.Scheme.VerifyAll(bare)
}

// Verify verifies and counts.
func (v *verifier) Verify(d crypto.Domain, msg []byte, sig crypto.Signature) bool {
	v.counts.Verified++
	return v.Verifier.Verify(d, msg, sig)
}

// signer counts what a node signs.
type signer struct {
	crypto.Signer
	counts *Counts
}

func (s signer) Sign(d crypto.Domain, msg []byte) crypto.Signature {
	s.counts.Signed++
	return s.Signer.Sign(d, msg)
}

// storage counts what is to be durable.
type storage struct {
	replica.Storage
	counts *Counts
}

func (s storage) Save(r *bftraft.Ready) error {
	if r.MustSync {
		s.counts.Flushes++
	}
	for _, b := range r.Blocks {
		s.counts.Stored += uint64(len(b.Raw()))
	}
	return s.Storage.Save(r)
}
