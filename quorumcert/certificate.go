package quorumcert

import (
	"errors"

	"tangaroa/crypto"
	"tangaroa/internal/mutant"
)

// Why a certificate is refused.
var (
	// ErrShape is returned when the number of signatures is not the number of signers, or a field
	// that must not be empty is.
	ErrShape = errors.New("certificate is malformed")
	// ErrTooFew is returned when the signers are fewer than needed.
	ErrTooFew = errors.New("certificate has too few signers")
	// ErrNotMember is returned when a signer is no voter of the configuration.
	ErrNotMember = errors.New("certificate has a signer that is no voter")
	// ErrSignature is returned when a signature does not verify.
	ErrSignature = errors.New("certificate has a bad signature")
	// ErrVoidAck is returned when an ack claims a certified index beyond its own.
	ErrVoidAck = errors.New("certificate has a void ack")
	// ErrChain is returned when headers do not link up.
	ErrChain = errors.New("certificate has headers that do not link up")
)

// Signatures are the signatures of a set of voters, one for each bit, in ascending order.
type Signatures struct {
	Signers Set
	Sigs    []crypto.Signature
}

// place returns where the signature of one of the signers stands, false for anybody else.
func (s Signatures) place(id crypto.NodeID) (int, bool) {
	k := (s.Signers & (bit(id) - 1)).Len()
	return k, s.Signers.Has(id) && k < len(s.Sigs)
}

// SignatureOf returns the signature of one of the signers, false for anybody else.
func (s Signatures) SignatureOf(id crypto.NodeID) (sig crypto.Signature, ok bool) {
	k, ok := s.place(id)
	if ok {
		sig = s.Sigs[k]
	}
	return sig, ok
}

// verify is the one place where signatures of several voters are judged: need distinct voters of
// c, all of which signed what statement(k) returns for the k-th of them. In a joint configuration
// incoming voters may have signed as well, who do not count.
func (s Signatures) verify(c *Configuration, need int, statement func(k int) Statement) error {
	n, counted := s.Signers.Len(), s.Signers&c.members
	if mutant.On(mutant.M04) || mutant.On(mutant.M148) {
		counted = s.Signers
	}
	switch {
	case n != len(s.Sigs):
		return ErrShape
	case s.Signers&^c.signers != 0 && !mutant.On(mutant.M04):
		return ErrNotMember
	case counted.Len() < need && !mutant.On(mutant.M70):
		return ErrTooFew
	}
	checks := make([]crypto.Check, 0, n)
	k := 0
	for id := s.Signers.Next(0); id != 0; id = s.Signers.Next(id) {
		key, ok := c.ring.Verifier(id)
		if !ok && mutant.On(mutant.M04) {
			k++
			continue
		}
		st := statement(k)
		checks = append(checks, crypto.Check{
			Key: key, Domain: st.Domain(), Msg: st.AppendTo(nil), Sig: s.Sigs[k],
		})
		k++
	}
	if !c.scheme.VerifyAll(checks) {
		return ErrSignature
	}
	return nil
}

// TC is the timeout certificate of Term: a quorum suspects it, so every node may enter the next.
type TC struct {
	Term Term
	Signatures
}

// Verify judges the certificate by configuration c.
func (tc *TC) Verify(cluster crypto.Digest, c *Configuration) error {
	if tc.Term == 0 {
		return ErrShape
	}
	st := Suspicion{Cluster: cluster, Term: tc.Term}
	return tc.verify(c, c.size.Q, func(int) Statement { return st })
}

// EC is the election certificate of Term: a quorum voted for Leader, whose lock is its base.
type EC struct {
	Term   Term
	Leader crypto.NodeID
	Base   Lock
	Signatures
}

// Verify judges the certificate by configuration c, the one behind the base.
func (ec *EC) Verify(cluster crypto.Digest, c *Configuration) error {
	if ec.Term == 0 || ec.Base.Term >= ec.Term && !mutant.On(mutant.M75) {
		return ErrShape
	}
	if !c.Has(ec.Leader) {
		return ErrNotMember
	}
	st := Vote{Cluster: cluster, Term: ec.Term, Candidate: ec.Leader, Lock: ec.Base}
	return ec.verify(c, c.size.Q, func(int) Statement { return st })
}

// QC is a quorum certificate: acks of one (term, index, hash). Each signer's ack names the index
// that was certified for itself, so these stand beside the signatures.
type QC struct {
	Lock
	Certified []Index
	Signatures
}

// AckOf returns the ack of one of the signers, false for anybody else.
func (qc *QC) AckOf(cluster crypto.Digest, id crypto.NodeID) (SignedAck, bool) {
	k, ok := qc.place(id)
	if !ok || len(qc.Certified) != len(qc.Sigs) {
		return SignedAck{}, false
	}
	return SignedAck{Ack: qc.ack(cluster, k), Signer: id, Sig: qc.Sigs[k]}, true
}

// ack returns what the k-th signer signed.
func (qc *QC) ack(cluster crypto.Digest, k int) Ack {
	return Ack{
		Cluster: cluster, Term: qc.Term, Index: qc.Index, Hash: qc.Hash, Certified: qc.Certified[k],
	}
}

// Verify judges the certificate by configuration c, the one that N5 names for its index.
func (qc *QC) Verify(cluster crypto.Digest, c *Configuration) error {
	if qc.Term == 0 || qc.Index == 0 || len(qc.Certified) != len(qc.Sigs) {
		return ErrShape
	}
	for _, certified := range qc.Certified {
		if certified > qc.Index && !mutant.On(mutant.M72) {
			return ErrVoidAck
		}
	}
	return qc.verify(c, c.size.Q, func(k int) Statement { return qc.ack(cluster, k) })
}

// AckedAt is what one signer of a Commit said beyond what all said: where its ack stands and what
// it had certified there.
type AckedAt struct {
	Index     Index
	Certified Index
}

// Commit proves that (Index, Hash) is committed: a quorum has, in Term, sent acks whose certified
// index is Index or higher, at positions that descend from (Index, Hash) (docs/PROTOCOL.md, N4).
// Headers are the blocks behind Index, in order, up to the farthest of those positions, so that
// the proof needs nothing else.
type Commit struct {
	Term    Term
	Index   Index
	Hash    crypto.Digest
	Headers []Header
	Acks    []AckedAt
	Signatures
}

// Verify judges the certificate by configuration c, the one that N5 names for Index.
func (cc *Commit) Verify(cluster crypto.Digest, c *Configuration) error {
	if cc.Term == 0 || cc.Index == 0 || len(cc.Acks) != len(cc.Sigs) {
		return ErrShape
	}
	if !linked(cc.Index, cc.Hash, cc.Headers) {
		return ErrChain
	}
	farthest := cc.Index
	acks := make([]Ack, 0, len(cc.Acks))
	for _, at := range cc.Acks {
		farthest = max(farthest, at.Index)
		if at.Certified < cc.Index && !mutant.On(mutant.M10) ||
			at.Certified > at.Index && !mutant.On(mutant.M72) {
			return ErrVoidAck
		}
		ack, ok := cc.ack(cluster, at)
		if !ok {
			return ErrChain
		}
		acks = append(acks, ack)
	}
	// Headers that no ack reaches are covered by nobody's signature.
	if n := len(cc.Headers); n > 0 && cc.Headers[n-1].Last != farthest {
		return ErrChain
	}
	return cc.verify(c, c.size.Q, func(k int) Statement { return acks[k] })
}

// AckOf returns the ack of one of the signers, false for anybody else.
func (cc *Commit) AckOf(cluster crypto.Digest, id crypto.NodeID) (SignedAck, bool) {
	k, ok := cc.place(id)
	if !ok || len(cc.Acks) != len(cc.Sigs) {
		return SignedAck{}, false
	}
	ack, ok := cc.ack(cluster, cc.Acks[k])
	return SignedAck{Ack: ack, Signer: id, Sig: cc.Sigs[k]}, ok
}

// ack returns what a signer signed, false if there is no header of where its ack stands.
func (cc *Commit) ack(cluster crypto.Digest, at AckedAt) (Ack, bool) {
	hash, ok := cc.hashAt(at.Index)
	return Ack{
		Cluster: cluster, Term: cc.Term, Index: at.Index, Hash: hash, Certified: at.Certified,
	}, ok
}

// hashAt returns the chain hash of the block that ends at i, among Index and Headers.
func (cc *Commit) hashAt(i Index) (crypto.Digest, bool) {
	if i == cc.Index {
		return cc.Hash, true
	}
	for k := range cc.Headers {
		if cc.Headers[k].Last == i {
			return cc.Headers[k].Hash(), true
		}
	}
	return crypto.Digest{}, false
}

// linked says whether headers, in order, continue the chain behind (i, hash). Indexes only grow:
// nothing follows the highest there is.
func linked(i Index, hash crypto.Digest, headers []Header) bool {
	for _, h := range headers {
		if (h.Prev != hash || h.First != i+1 || h.Last <= i) && !mutant.On(mutant.M74) {
			return false
		}
		i, hash = h.Last, h.Hash()
	}
	return true
}

// Receipt proves the results of one block to anybody who knows the configuration: Need = F+1
// voters signed the same Reply, so an honest one did (docs/PROTOCOL.md, C2).
type Receipt struct {
	Reply
	Signatures
}

// Verify judges the receipt by configuration c.
func (r *Receipt) Verify(cluster crypto.Digest, c *Configuration) error {
	if r.Cluster != cluster || r.Configuration != c.entry || r.Index == 0 {
		return ErrShape
	}
	need := c.size.F + 1
	if mutant.On(mutant.M76) {
		need = 1
	}
	return r.verify(c, need, func(int) Statement { return r.Reply })
}

// Stable proves a checkpoint to anybody who knows the configuration: a quorum of voters signed it,
// so that enough of the honest ones hold the state, and the log before it may go (docs/PROTOCOL.md,
// K1).
type Stable struct {
	Checkpoint
	Signatures
}

// Verify judges the certificate by configuration c, the one that N5 names for its index, if nothing
// changes in its last block.
func (st *Stable) Verify(cluster crypto.Digest, c *Configuration) error {
	return st.VerifyBehind(cluster, c, c.entry)
}

// VerifyBehind is Verify for a certificate behind which the configuration of an entry is in force.
// That is what it must name: so a state comes with all changes, one in its last block included.
func (st *Stable) VerifyBehind(cluster crypto.Digest, c *Configuration, behind Index) error {
	if st.Cluster != cluster || st.Configuration != behind || st.Index == 0 {
		return ErrShape
	}
	return st.verify(c, c.size.Q, func(int) Statement { return st.Checkpoint })
}
