package bftraft

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/quorumcert"
)

var (
	sessionChunks = [][]byte{[]byte("one"), []byte("two")}
	stateChunks   = [][]byte{[]byte("a"), []byte("b"), []byte("c")}
)

// manifest returns one of the chunks above, certified at b3.
func (c *wireCluster) manifest() *Manifest {
	m := &Manifest{}
	for _, data := range sessionChunks {
		m.Sessions = append(m.Sessions, SessionsChunk(data))
	}
	for _, data := range stateChunks {
		m.State = append(m.State, StateChunk(data))
	}
	m.Commit = *c.commit()
	cp := c.checkpoint(1, Position{m.Commit.Index, m.Commit.Hash}).Checkpoint
	cp.State, cp.Sessions = m.Roots()
	m.Stable = *c.certified(cp, 1, 2, 4)
	return m
}

func TestManifestProvesEachChunkInItsPlace(t *testing.T) {
	c := newWireCluster(t)
	m := c.manifest()
	all := slices.Concat(sessionChunks, stateChunks)
	require.Equal(t, len(all), m.Chunks())
	require.True(t, m.Verify(c.gate))
	for i := range all {
		for k := -1; k <= len(all); k++ {
			require.Equal(t, i == k, m.Holds(k, all[i]), "chunk %d as %d", i, k)
		}
		require.False(t, m.Holds(i, append(slices.Clone(all[i]), 0)))
	}
	m.Sessions = append(m.Sessions, m.State[0])
	require.False(t, m.Holds(2, stateChunks[0]), "what is state is no session")
}

func TestManifestIsReadBack(t *testing.T) {
	c := newWireCluster(t)
	m := c.manifest()
	raw := m.Encode()
	back, ok := DecodeManifest(raw)
	require.True(t, ok)
	require.Equal(t, m, back)
	for n := range raw {
		_, ok := DecodeManifest(raw[:n])
		require.False(t, ok, "cut to %d bytes", n)
	}
	_, ok = DecodeManifest(append(slices.Clone(raw), 0))
	require.False(t, ok)
}

func TestManifestThatIsNotCertifiedProvesNothing(t *testing.T) {
	c := newWireCluster(t)
	raw := c.manifest().Encode()
	for at := range raw {
		bad := slices.Clone(raw)
		bad[at] ^= 1
		m, ok := DecodeManifest(bad)
		require.False(t, ok && m.Verify(c.gate), "byte %d", at)
	}
	for name, spoil := range map[string]func(m *Manifest){
		"chunk gone":        func(m *Manifest) { m.State = m.State[:2] },
		"chunk more":        func(m *Manifest) { m.Sessions = append(m.Sessions, Digest{}) },
		"chunks exchanged":  func(m *Manifest) { slices.Reverse(m.State) },
		"lists exchanged":   func(m *Manifest) { m.State, m.Sessions = m.Sessions, m.State },
		"another's voters":  func(m *Manifest) { m.Stable.Signers = m.Stable.Signers.With(3) },
		"signature is gone": func(m *Manifest) { m.Stable = *c.certified(m.Stable.Checkpoint, 1, 2) },
		"commit of another": func(m *Manifest) { m.Commit.Hash[0]++ },
		"commit elsewhere": func(m *Manifest) {
			at := c.b3.End()
			m.Stable = *c.certified(c.checkpoint(1, at).Checkpoint, 1, 2, 4)
		},
		"commit by two": func(m *Manifest) {
			m.Commit.Signers = quorumcert.SetOf(1, 2)
			m.Commit.Sigs, m.Commit.Acks = m.Commit.Sigs[:2], m.Commit.Acks[:2]
		},
	} {
		m := c.manifest()
		spoil(m)
		require.False(t, m.Verify(c.gate), name)
	}
	other := *c.gate
	other.cluster = Digest{}
	require.False(t, c.manifest().Verify(&other), "another cluster")
}

func TestManifestOfTooManyChunksIsRefused(t *testing.T) {
	c := newWireCluster(t)
	m := c.manifest()
	m.State = make([]Digest, MaxChunks-len(m.Sessions))
	_, ok := DecodeManifest(m.Encode())
	require.True(t, ok)
	m.State = append(m.State, Digest{})
	_, ok = DecodeManifest(m.Encode())
	require.False(t, ok)
	announced := binary.BigEndian.AppendUint32([]byte{manifestVersion}, MaxChunks)
	grew := testing.AllocsPerRun(100, func() {
		_, ok = DecodeManifest(append(announced, make([]byte, 64)...))
	})
	require.False(t, ok)
	require.Less(t, grew, 8.0, "what is announced costs nothing")
}

func FuzzDecodeManifest(f *testing.F) {
	c := newWireCluster(f)
	f.Add(c.manifest().Encode())
	f.Add((&Manifest{}).Encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, ok := DecodeManifest(raw)
		if !ok {
			return
		}
		require.True(t, bytes.Equal(raw, m.Encode()))
		if m.Verify(c.gate) {
			require.Equal(t, c.manifest().Stable.Checkpoint, m.Stable.Checkpoint)
		}
	})
}
