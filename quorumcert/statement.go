package quorumcert

import (
	"encoding/binary"

	"tangaroa/crypto"
	"tangaroa/internal/mutant"
)

// Statement is a fixed-layout byte string that names the cluster and is signed in a domain of its
// own, so that it can convince third parties and can be taken for nothing else.
type Statement interface {
	Domain() crypto.Domain
	// AppendTo appends the signed bytes to b.
	AppendTo(b []byte) []byte
}

// Lock is the highest certified position a node knows: the place of a QC. The zero term and index
// with the genesis hash are the genesis lock, which needs no certificate.
type Lock struct {
	Term  Term
	Index Index
	Hash  crypto.Digest
}

// Higher says whether l stands strictly above m: by term, then by index.
func (l Lock) Higher(m Lock) bool {
	return l.Term > m.Term || l.Term == m.Term && l.Index > m.Index
}

// Ack says: in Term my durable log has a block that ends at (Index, Hash), and I durably hold a
// quorum certificate of Term for index Certified of that chain (0: none). docs/PROTOCOL.md, N2.
type Ack struct {
	Cluster   crypto.Digest
	Term      Term
	Index     Index
	Hash      crypto.Digest
	Certified Index
}

// Domain returns the domain of acks.
func (a Ack) Domain() crypto.Domain { return crypto.DomainAck }

// AppendTo appends cluster, term, index, hash, certified: 88 bytes.
func (a Ack) AppendTo(b []byte) []byte {
	switch {
	case mutant.On(mutant.M06a):
		a.Term = 0
	case mutant.On(mutant.M06b):
		a.Index = 0
	case mutant.On(mutant.M06c):
		a.Hash = crypto.Digest{}
	case mutant.On(mutant.M08):
		a.Cluster = crypto.Digest{}
	}
	b = append(b, a.Cluster[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(a.Term))
	b = binary.BigEndian.AppendUint64(b, uint64(a.Index))
	b = append(b, a.Hash[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(a.Certified))
}

// Vote says: in Term I elect Candidate, who has shown me a lock not below mine. E4.
type Vote struct {
	Cluster   crypto.Digest
	Term      Term
	Candidate crypto.NodeID
	Lock      Lock
}

// Domain returns the domain of votes.
func (v Vote) Domain() crypto.Domain { return crypto.DomainVote }

// AppendTo appends cluster, term, candidate, lock term, lock index, lock hash: 89 bytes.
func (v Vote) AppendTo(b []byte) []byte {
	switch {
	case mutant.On(mutant.M07b):
		v.Candidate = 0
	case mutant.On(mutant.M07c):
		v.Lock = Lock{}
	}
	b = append(b, v.Cluster[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(v.Term))
	b = append(b, byte(v.Candidate))
	return v.Lock.AppendTo(b)
}

// AppendTo appends term, index, hash: 48 bytes.
func (l Lock) AppendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(l.Term))
	b = binary.BigEndian.AppendUint64(b, uint64(l.Index))
	return append(b, l.Hash[:]...)
}

// Suspicion says: I want Term to end. docs/PROTOCOL.md, E1.
type Suspicion struct {
	Cluster crypto.Digest
	Term    Term
}

// Domain returns the domain of suspicions.
func (s Suspicion) Domain() crypto.Domain { return crypto.DomainSuspect }

// AppendTo appends cluster, term: 40 bytes.
func (s Suspicion) AppendTo(b []byte) []byte {
	b = append(b, s.Cluster[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(s.Term))
}

// Reply says: the block that ends at (Index, Hash), judged by the configuration of entry
// Configuration, is committed, and its results have the Merkle root Results. docs/PROTOCOL.md, C2.
type Reply struct {
	Cluster       crypto.Digest
	Configuration Index
	Index         Index
	Hash          crypto.Digest
	Results       crypto.Digest
}

// Domain returns the domain of replies.
func (r Reply) Domain() crypto.Domain { return crypto.DomainReply }

// AppendTo appends cluster, configuration, index, hash, results: 112 bytes.
func (r Reply) AppendTo(b []byte) []byte {
	b = append(b, r.Cluster[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Configuration))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Index))
	b = append(b, r.Hash[:]...)
	return append(b, r.Results[:]...)
}

// Checkpoint says: executing the log up to the block that ends at (Index, Hash), behind which the
// configuration of entry Configuration is in force, has led to a state machine and to what is
// remembered of clients with the roots State and Sessions. docs/PROTOCOL.md, K1.
type Checkpoint struct {
	Cluster       crypto.Digest
	Configuration Index
	Index         Index
	Hash          crypto.Digest
	State         crypto.Digest
	Sessions      crypto.Digest
}

// Domain returns the domain of checkpoints.
func (cp Checkpoint) Domain() crypto.Domain { return crypto.DomainCheckpoint }

// AppendTo appends cluster, configuration, index, hash, state, sessions: 144 bytes.
func (cp Checkpoint) AppendTo(b []byte) []byte {
	b = append(b, cp.Cluster[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(cp.Configuration))
	b = binary.BigEndian.AppendUint64(b, uint64(cp.Index))
	b = append(b, cp.Hash[:]...)
	b = append(b, cp.State[:]...)
	return append(b, cp.Sessions[:]...)
}

// Sign signs a statement.
func Sign(s crypto.Signer, st Statement) crypto.Signature {
	return s.Sign(st.Domain(), st.AppendTo(nil))
}

// VerifyOne verifies one voter's signature of a statement under configuration c.
func (c *Configuration) VerifyOne(id crypto.NodeID, st Statement, sig crypto.Signature) error {
	return c.ring.Verify(id, st.Domain(), st.AppendTo(nil), sig)
}

// SignedAck is an ack with its signer and signature.
type SignedAck struct {
	Ack
	Signer crypto.NodeID
	Sig    crypto.Signature
}

// SignedVote is a vote with its signer and signature.
type SignedVote struct {
	Vote
	Signer crypto.NodeID
	Sig    crypto.Signature
}

// SignedCheckpoint is a checkpoint with its signer and signature.
type SignedCheckpoint struct {
	Checkpoint
	Signer crypto.NodeID
	Sig    crypto.Signature
}

// Header is what a block's hash covers: the hash before it, its first and last index and the
// Merkle root of its entries (docs/PROTOCOL.md, section 2).
type Header struct {
	Prev  crypto.Digest
	First Index
	Last  Index
	Root  crypto.Digest
}

// Hash returns the chain hash at the end of the block.
func (h Header) Hash() crypto.Digest {
	return crypto.Hash(crypto.DomainBlock, h.AppendTo(nil))
}

// AppendTo appends prev, first, last, root: 80 bytes.
func (h Header) AppendTo(b []byte) []byte {
	b = append(b, h.Prev[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.First))
	b = binary.BigEndian.AppendUint64(b, uint64(h.Last))
	return append(b, h.Root[:]...)
}
