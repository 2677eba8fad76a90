package replica

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// begins returns a cluster of one that begins with the state of another one, and what that held.
func begins(t *testing.T) (*alone, *shelf, []string) {
	old, s := checkpointed(t, 10)
	old.write(10)
	old.settled()
	m, ok := bftraft.DecodeManifest(s.finished.proof)
	require.True(t, ok)
	a := &alone{t: t, disk: &disk{}, out: &outbox{}, key: old.key, client: old.client}
	g := &bftraft.Genesis{
		Name: "new", Nonce: crypto.Digest{2},
		Voters:  []quorumcert.Voter{{ID: 1, Key: a.key.Public()}},
		Clients: []bftraft.Enrolled{{Name: "c", Key: a.client.Public()}},
		Origin: bftraft.Origin{
			Cluster: old.verifier.Cluster(), At: m.At(), State: m.Stable.State,
		},
	}
	var err error
	a.verifier, err = bftraft.NewVerifier(crypto.ZIP215(), g)
	require.NoError(t, err)
	a.origin = g.Origin
	fresh := &shelf{finished: &snapshot{
		at:     bftraft.Position{Hash: a.verifier.Cluster()},
		chunks: s.finished.chunks[len(m.Sessions):], proof: m.Origin().Encode(),
	}}
	a.points = Checkpoints{Every: 10, Store: fresh, ChunkBytes: 64}
	return a, fresh, old.tape.lines
}

func TestClusterMayBeginWithTheStateOfAnother(t *testing.T) {
	a, s, lines := begins(t)
	a.start()
	require.Equal(t, lines, a.tape.lines)
	require.Zero(t, a.r.Executed().Index)
	require.Len(t, a.submit(a.request(1, 1, "more")), 1, "no session is taken over")
	a.start()
	require.Equal(t, append(lines, "more"), a.tape.lines, "it begins there again")
	k := uint64(1)
	for range 9 {
		k++
		require.Len(t, a.submit(a.request(1, k, "op")), 1)
	}
	a.settled()
	require.Equal(t, bftraft.Index(10), s.finished.at.Index, "until there is a checkpoint")
	a.start()
	require.Len(t, a.tape.lines, len(lines)+10)
	require.Zero(t, a.r.Stats().Ops)
}

func TestStateThatIsNotTheOneItBeginsWithIsRefused(t *testing.T) {
	start := func(a *alone) error {
		_, err := New(Config{
			Core: a.core(), Storage: a.disk, Transport: a.out, Machine: &tape{},
			Checkpoints: a.points, Origin: a.origin,
		})
		return err
	}
	a, _, _ := begins(t)
	require.NoError(t, start(a))
	for name, spoil := range map[string]func(a *alone, s *shelf){
		"a bit":          func(_ *alone, s *shelf) { s.finished.chunks[0][2] ^= 1 },
		"a chunk less":   func(_ *alone, s *shelf) { s.finished.chunks = s.finished.chunks[1:] },
		"another origin": func(a *alone, _ *shelf) { a.origin.State[0] ^= 1 },
		"no origin":      func(a *alone, _ *shelf) { a.origin = bftraft.Origin{} },
		"sessions": func(_ *alone, s *shelf) {
			m, _ := bftraft.DecodeManifest(s.finished.proof)
			m.Sessions = []bftraft.Digest{bftraft.SessionsChunk([]byte("x"))}
			s.finished.proof = m.Encode()
			s.finished.chunks = append([][]byte{[]byte("x")}, s.finished.chunks...)
		},
	} {
		a, s, _ := begins(t)
		for i := range s.finished.chunks {
			s.finished.chunks[i] = bytes.Clone(s.finished.chunks[i])
		}
		spoil(a, s)
		require.ErrorIs(t, start(a), ErrSnapshot, name)
	}
	a, s, _ := begins(t)
	s.finished = nil
	require.ErrorIs(t, start(a), ErrOrigin)
	a.points = Checkpoints{}
	require.ErrorIs(t, start(a), ErrOrigin)
}
