package bftraft

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

const (
	// MaxChunkBytes bounds a chunk of a snapshot.
	MaxChunkBytes = 1 << 20
	// MaxChunks bounds their number: 16 GiB of the largest, so that a manifest stays below a MiB.
	MaxChunks = 1 << 14
	// MaxManifestBytes bounds a manifest with all the changes there can be.
	MaxManifestBytes = MaxFrameBytes - 1<<10
)

// manifestVersion changes whenever the layout of a manifest does.
const manifestVersion = 3

var (
	tagSessionsChunk = []byte("chunk of the sessions")
	tagStateChunk    = []byte("chunk of the state")
)

// Manifest names the chunks of a snapshot, so that each can be judged by itself, and proves them by
// the certificate of the checkpoint (K1). The chunks of the sessions come first. Commit proves that
// what led there is committed, and Changes, by which configuration all of that is to be judged.
type Manifest struct {
	Stable   quorumcert.Stable
	Commit   quorumcert.Commit
	Changes  []*ChangeProof // all since the genesis, oldest first
	Sessions []Digest
	State    []Digest
}

// SessionsChunk returns the digest of a chunk of the sessions' image.
func SessionsChunk(data []byte) Digest {
	return crypto.Hash(crypto.DomainState, tagSessionsChunk, data)
}

// StateChunk returns the digest of a chunk of the state machine's snapshot.
func StateChunk(data []byte) Digest { return crypto.Hash(crypto.DomainState, tagStateChunk, data) }

// Roots returns the roots that a checkpoint certifies.
func (m *Manifest) Roots() (state, sessions Digest) {
	return crypto.MerkleRoot(m.State), crypto.MerkleRoot(m.Sessions)
}

// Chunks returns the number of chunks.
func (m *Manifest) Chunks() int { return len(m.Sessions) + len(m.State) }

// Holds says whether data is chunk k, from zero.
func (m *Manifest) Holds(k int, data []byte) bool {
	switch sessions := len(m.Sessions); {
	case k < 0 || k >= m.Chunks():
		return false
	case mutant.On(mutant.M25):
		return true
	case k < sessions:
		return SessionsChunk(data) == m.Sessions[k]
	default:
		return StateChunk(data) == m.State[k-sessions]
	}
}

// Encode returns the encoding of the manifest.
func (m *Manifest) Encode() []byte {
	b := make([]byte, 0, 512+len(Digest{})*m.Chunks())
	b = append(b, manifestVersion)
	for _, list := range [][]Digest{m.Sessions, m.State} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(list)))
		for _, d := range list {
			b = append(b, d[:]...)
		}
	}
	return AppendChangeProofs(m.Commit.AppendTo(m.Stable.AppendTo(b)), m.Changes)
}

// At returns the end of the last block that the state holds.
func (m *Manifest) At() Position { return Position{m.Stable.Index, m.Stable.Hash} }

// DecodeManifest reads what Encode wrote. The certificates are not judged: see Verify.
func DecodeManifest(raw []byte) (*Manifest, bool) {
	m := &Manifest{}
	s := cryptobyte.String(raw)
	var version uint8
	ok := s.ReadUint8(&version) && version == manifestVersion &&
		readDigests(&s, &m.Sessions) && readDigests(&s, &m.State) &&
		quorumcert.ReadStable(&s, &m.Stable) && quorumcert.ReadCommit(&s, &m.Commit)
	if ok {
		m.Changes, ok = ReadChangeProofs(&s)
	}
	if !ok || !s.Empty() || m.Chunks() > MaxChunks {
		return nil, false
	}
	return m, true
}

func readDigests(s *cryptobyte.String, list *[]Digest) bool {
	var n uint32
	if !s.ReadUint32(&n) || uint64(n) > uint64(len(*s)/len(Digest{})) {
		return false
	}
	if n > 0 {
		*list = make([]Digest, n)
	}
	for i := range *list {
		if !s.CopyBytes((*list)[i][:]) {
			return false
		}
	}
	return true
}

// Verify says whether the certificates prove the chunks and what led to them, judged by what v
// knows and the changes of the manifest make of it.
func (m *Manifest) Verify(v *Verifier) bool {
	v, err := v.Following(m.Changes)
	if err != nil {
		return false
	}
	for _, p := range m.Changes {
		if p.Header.Last > m.Stable.Index {
			return false
		}
	}
	state, sessions := m.Roots()
	by := v.configs.For(m.Stable.Index)
	return state == m.Stable.State && sessions == m.Stable.Sessions &&
		m.At() == Position{m.Commit.Index, m.Commit.Hash} &&
		v.verifyStable(&m.Stable) && m.Commit.Verify(v.cluster, by) == nil &&
		(!v.rewritesByCommit(&m.Commit) || mutant.On(mutant.M154))
}

// Origin returns the manifest of the state with which a new cluster begins: the chunks of the state
// alone, proven by nothing but the genesis that names it.
func (m *Manifest) Origin() *Manifest { return &Manifest{State: m.State} }

// Begins says whether the manifest is that of the state with which a cluster begins.
func (m *Manifest) Begins(o *Origin) bool {
	state, _ := m.Roots()
	return len(m.Sessions) == 0 && len(m.State) > 0 && m.Stable.Index == 0 && state == o.State
}
