package store

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// state is the record that decides what is stored: the number of the newest batch, the two ends of
// the chain, and the hard state.
type state struct {
	seq  uint64
	base bftraft.Position // behind what the chain begins; the genesis when zero
	tip  bftraft.Position
	hard bftraft.HardState
}

// genesisState is what a store holds when it is made: the empty log in term 1.
func genesisState(cluster crypto.Digest) state {
	return state{
		seq: 1,
		tip: bftraft.Position{Hash: cluster},
		hard: bftraft.HardState{
			Term: 1,
			Lock: quorumcert.Lock{Hash: cluster},
		},
	}
}

// start returns where the chain begins. The chain hash of the genesis is the cluster's name.
func (s *state) start(cluster crypto.Digest) bftraft.Position {
	if s.base.Index == 0 {
		return bftraft.Position{Hash: cluster}
	}
	return s.base
}

// encode says where the chain begins only when it is not the genesis, as before there were bases.
func (s *state) encode() []byte {
	b := appendPosition(binary.BigEndian.AppendUint64(nil, s.seq), s.tip)
	b = appendHardState(b, &s.hard)
	if s.base.Index > 0 {
		b = appendPosition(b, s.base)
	}
	return b
}

// What a hard state says in one byte.
const (
	hardHasQC  = 1
	hardForgot = 2
)

func appendHardState(b []byte, h *bftraft.HardState) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(h.Term))
	b = h.Vote.Lock.AppendTo(append(b, byte(h.Vote.Candidate)))
	b = h.Lock.AppendTo(b)
	b = h.Mark.AppendTo(b)
	flags := uint8(0)
	if h.LockQC != nil {
		flags |= hardHasQC
	}
	if h.Forgot {
		flags |= hardForgot
	}
	if b = append(b, flags); h.LockQC != nil {
		b = h.LockQC.AppendTo(b)
	}
	return h.Proof.AppendTo(b)
}

func readHardState(s *cryptobyte.String, h *bftraft.HardState) bool {
	var flags uint8
	ok := s.ReadUint64((*uint64)(&h.Term)) && s.ReadUint8((*uint8)(&h.Vote.Candidate)) &&
		quorumcert.ReadLock(s, &h.Vote.Lock) && quorumcert.ReadLock(s, &h.Lock) &&
		quorumcert.ReadLock(s, &h.Mark) && s.ReadUint8(&flags) &&
		flags <= hardHasQC|hardForgot
	h.Forgot = flags&hardForgot != 0
	if ok && flags&hardHasQC != 0 {
		h.LockQC = &quorumcert.QC{}
		ok = quorumcert.ReadQC(s, h.LockQC)
	}
	return ok && bftraft.ReadTermProof(s, &h.Proof)
}

func appendPosition(b []byte, p bftraft.Position) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(p.Index)), p.Hash[:]...)
}

func readPosition(s *cryptobyte.String, p *bftraft.Position) bool {
	return s.ReadUint64((*uint64)(&p.Index)) && s.CopyBytes(p.Hash[:])
}

func decodeState(b []byte) (state, bool) {
	var st state
	s := cryptobyte.String(b)
	ok := s.ReadUint64(&st.seq) && readPosition(&s, &st.tip) && readHardState(&s, &st.hard)
	if ok && !s.Empty() {
		ok = readPosition(&s, &st.base) && st.base.Index > 0
	}
	return st, ok && s.Empty()
}

// meta is the record of who the store belongs to.
type meta struct {
	identity  Identity
	instance  instance
	encrypted bool
}

// formatVersion changes whenever a record's layout does. That of an encrypted store is far from
// it, so that a flipped bit or two do not make one of the other.
const (
	formatVersion    = 1
	formatEncrypted  = 0xE2
	metaBytes        = 1 + 32 + 1 + 32 + 16
	blockHeaderPlain = 8 + 32 + 8
)

func (m *meta) encode() []byte {
	version := byte(formatVersion)
	if m.encrypted {
		version = formatEncrypted
	}
	b := append(make([]byte, 0, metaBytes), version)
	b = append(b, m.identity.Cluster[:]...)
	b = append(b, byte(m.identity.Node))
	b = append(b, m.identity.Key[:]...)
	return append(b, m.instance[:]...)
}

func readMeta(s *cryptobyte.String, m *meta) bool {
	var version uint8
	if !s.ReadUint8(&version) || version != formatVersion && version != formatEncrypted {
		return false
	}
	m.encrypted = version == formatEncrypted
	return s.CopyBytes(m.identity.Cluster[:]) && s.ReadUint8((*uint8)(&m.identity.Node)) &&
		s.CopyBytes(m.identity.Key[:]) && s.CopyBytes(m.instance[:])
}

// The first bytes of the keys. Behind them stand numbers of eight bytes.
const (
	keyMeta     = 'm' // meta
	keyState    = 'h' // state
	keyTrim     = 't' // a truncation that is not finished: index, number of its batch
	keyBlock    = 'b' // last index, batch: header, then the block or nothing
	keyPart     = 'd' // batch, last index, part: a piece of a block that is too large for one value
	keyCommit   = 'c' // index, batch: commit certificate
	keyEvidence = 'e' // batch, number: evidence
	keyChange   = 'g' // batch, last index of its block: proof of a change
	keyTerm     = 'p' // term, batch: proof of the term
	keyRecord   = 'j' // batch, number: a record, which stands in the journal and not in Badger
)

func key(kind byte, numbers ...uint64) []byte {
	b := make([]byte, 1, 1+8*len(numbers))
	b[0] = kind
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// number returns the k-th number of a key, and whether there is one.
func number(key []byte, k int) (uint64, bool) {
	if len(key) < 9+8*k {
		return 0, false
	}
	return binary.BigEndian.Uint64(key[1+8*k:]), true
}

// blockHeader is the sealed front of a block's record.
type blockHeader struct {
	first bftraft.Index
	hash  crypto.Digest
	parts uint64 // zero: the block follows in the same value
}

func (h blockHeader) encode(s *sealer, key []byte) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, blockHeaderPlain), uint64(h.first))
	b = append(b, h.hash[:]...)
	return s.seal(key, binary.BigEndian.AppendUint64(b, h.parts))
}

// decodeBlockHeader returns the header and what follows it.
func decodeBlockHeader(s *sealer, key, value []byte) (blockHeader, []byte, bool) {
	var h blockHeader
	end := blockHeaderPlain + s.overhead()
	if len(value) < end {
		return h, nil, false
	}
	b, ok := s.unseal(key, value[:end])
	if !ok {
		return h, nil, false
	}
	h.first = bftraft.Index(binary.BigEndian.Uint64(b))
	copy(h.hash[:], b[8:])
	h.parts = binary.BigEndian.Uint64(b[40:])
	return h, value[end:], true
}
