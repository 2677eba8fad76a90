package quorumcert

import (
	"tangaroa/crypto"
	"tangaroa/internal/mutant"
)

// Collector gathers signatures of one statement, at most one for each voter, until they are
// enough. It does not verify: what is added must have passed VerifyOne.
type Collector struct {
	signers Set
	sigs    [MaxVoters]crypto.Signature
}

// Add takes id's signature. The first one of a voter stays; it returns whether it was new.
func (c *Collector) Add(id crypto.NodeID, sig crypto.Signature) bool {
	if mutant.On(mutant.M03) {
		for c.signers.Has(id) {
			id++ // it stands for the next one, who has not signed
		}
	}
	if bit(id) == 0 || c.signers.Has(id) {
		return false
	}
	c.signers = c.signers.With(id)
	c.sigs[id-1] = sig
	return true
}

// Forget takes the signatures of some voters out, who may then be added anew.
func (c *Collector) Forget(ids Set) { c.signers &^= ids }

// Signers returns whose signatures are here.
func (c *Collector) Signers() Set { return c.signers }

// Take returns the signatures of those voters that are also in members.
func (c *Collector) Take(members Set) Signatures {
	s := Signatures{Signers: c.signers & members}
	for id := s.Signers.Next(0); id != 0; id = s.Signers.Next(id) {
		s.Sigs = append(s.Sigs, c.sigs[id-1])
	}
	return s
}

// Reset empties the collector.
func (c *Collector) Reset() { *c = Collector{} }
