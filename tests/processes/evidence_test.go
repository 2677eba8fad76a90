//go:build linux

package processes

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// TestProofReachesEverybodyAndCanBeCheckedOffline lets a leader lie while one node is away: the
// proof is in the log of all, the one that was away too, and in a file that anybody can check.
func TestProofReachesEverybodyAndCanBeCheckedOffline(t *testing.T) {
	const liar, away = crypto.NodeID(2), crypto.NodeID(4)
	c := newCluster(t, 1)
	s := shell{c, t, c.config(1)}
	c.start(liar, "--adversary", "equivocate")
	for _, id := range []crypto.NodeID{1, 3, away} {
		c.start(id)
	}
	c.awaitReady(1, 3, away)
	require.Contains(t, s.do(ok, "evidence"), "no node is proven faulty")
	c.user(1).write(t, "w").more(20)
	dir := t.TempDir()
	await(t, "the proof in the log", func() bool {
		out := s.json(ok, "evidence", "--out", dir)
		faults := out["faults"].([]any)
		return len(faults) == 1 && faults[0].(map[string]any)["entry"].(float64) > 0
	})
	out := s.json(ok, "evidence")["faults"].([]any)[0].(map[string]any)
	require.EqualValues(t, liar, out["node"])
	require.Equal(t, "two_acks", out["kind"])

	proof := filepath.Join(dir, "node2.pem")
	require.Contains(t, s.do(ok, "verify", proof), "node 2 is faulty")
	text, err := os.ReadFile(proof)
	require.NoError(t, err)
	for _, at := range []int{60, len(text) / 2, len(text) - 60} {
		bad := bytes.Clone(text)
		bad[at] ^= 3
		path := filepath.Join(dir, "bad.pem")
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		s.do(badProof, "verify", path)
	}

	c.nodes[away].kill()
	c.user(1).write(t, "x").more(20)
	c.start(away)
	c.awaitReady(away)
	await(t, "the one that was away to know", func() bool {
		status, ok := c.status(away)
		return ok && len(status.Faulty) == 1 && status.Faulty[0] == int(liar)
	})
}
