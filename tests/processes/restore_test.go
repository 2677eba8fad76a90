//go:build linux

package processes

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// TestClusterIsRestoredFromASavedState saves the state of a cluster, verifies the file without a
// node, and begins a new cluster with it, under new keys. What was altered is refused, and so is a
// node that was not given the state.
func TestClusterIsRestoredFromASavedState(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, "--checkpoint-entries", "3")
	c.startAll()
	c.awaitReady(c.all()...)
	s := shell{c, t, c.config(1)}
	s.do(ok, "put", "kept", "through it all")
	c.checkpoints(s)
	for _, id := range c.all() {
		c.nodes[id].signal(syscall.SIGTERM)
		require.Zero(t, c.nodes[id].wait())
	}
	saved, genesis := filepath.Join(t.TempDir(), "saved"), c.path(genesisName)
	require.Contains(t, c.node(1, ok, "snapshot", "save", saved).out, "keys at revision")
	c.node(1, wrongUsage, "snapshot", "save", saved)
	verify := func(code int, genesis, file string) said {
		got := run(t, "", "bftnode", "snapshot", "verify", "--genesis", genesis, file)
		require.Equal(t, code, got.code, got.err)
		return got
	}
	require.Regexp(t, `certified by nodes \[\d \d \d`, verify(ok, genesis, saved).out)
	raw, err := os.ReadFile(saved)
	require.NoError(t, err)
	altered := filepath.Join(t.TempDir(), "altered")
	for at := 0; at < len(raw); at += 97 {
		raw[at] ^= 1
		require.NoError(t, os.WriteFile(altered, raw, 0o600))
		verify(badProof, genesis, altered)
		raw[at] ^= 1
	}
	require.NoError(t, os.WriteFile(altered, raw[:len(raw)-1], 0o600))
	verify(badProof, genesis, altered)

	n := c.successor(saved)
	verify(badProof, n.path(genesisName), saved)
	for _, id := range n.all() {
		n.node(id, wrongUsage, "init")
	}
	got := n.node(1, ok, "snapshot", "restore", "--state-genesis", genesis, saved)
	require.Contains(t, got.err, "A NEW CLUSTER")
	n.node(1, failed, "snapshot", "restore", "--state-genesis", genesis, saved)
	n.node(2, badProof, "snapshot", "restore", "--state-genesis", genesis, altered)
	n.node(2, ok, "snapshot", "restore", "--encrypt", "--state-genesis", genesis, saved)
	n.node(3, ok, "snapshot", "restore", "--state-genesis", genesis, saved)
	for id := crypto.NodeID(1); id <= 3; id++ {
		n.start(id)
	}
	n.awaitReady(1, 2, 3)
	s = shell{n, t, n.config(1)}
	require.Equal(t, "through it all\n", s.do(ok, "get", "kept"))
	s.do(ok, "put", "new", "too")
	require.Equal(t, "too\n", s.do(ok, "get", "new"))
}

// successor writes the files of a new cluster that begins with a saved state of c.
func (c *cluster) successor(saved string) *cluster {
	c.t.Helper()
	n := &cluster{
		t: c.t, dir: filepath.Join(c.t.TempDir(), "next"), nodes: map[crypto.NodeID]*process{},
		http: map[crypto.NodeID]string{},
	}
	base := freeRange(c.t, 4)
	args := []string{"genesis", "--name", "next", "--out", n.path(genesisName), "--state", saved,
		"--state-genesis", c.path(genesisName)}
	identify := func(folder string, flags ...string) {
		require.NoError(c.t, os.MkdirAll(n.path(folder), 0o700))
		flags = append([]string{"keygen", "--out", n.path(folder, keyName)}, flags...)
		made := run(c.t, "", "bftnode", flags...)
		require.Zero(c.t, made.code, made.err)
		file := n.path(folder, "identity.json")
		require.NoError(c.t, os.WriteFile(file, []byte(made.out), 0o600))
		args = append(args, file)
	}
	for k := 1; k <= 4; k++ {
		folder := fmt.Sprintf("node%d", k)
		identify(folder, "--id", fmt.Sprint(k), "--address", fmt.Sprintf("127.0.0.1:%d", base+k))
		http := fmt.Sprintf("127.0.0.1:%d", base+statusOffset+k)
		n.http[crypto.NodeID(k)] = http
		text := fmt.Sprintf("id: %d\ngenesis: ../%s\nkey: %s\ndata: %s\nhttp: %s\n", k,
			genesisName, keyName, dataName, http)
		require.NoError(c.t, os.WriteFile(n.path(folder, nodeName), []byte(text), 0o600))
	}
	identify("client1", "--name", "alice")
	text := fmt.Sprintf("genesis: ../%s\nkey: %s\nname: alice\n", genesisName, keyName)
	require.NoError(c.t, os.WriteFile(n.config(1), []byte(text), 0o600))
	made := run(c.t, "", "bftnode", args...)
	require.Zero(c.t, made.code, made.err)
	n.file = readGenesis(c.t, n.path(genesisName))
	return n
}
