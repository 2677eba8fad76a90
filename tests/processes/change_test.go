//go:build linux

package processes

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// enrol has the administrator of a test cluster bring a change into force that enrols one client
// and removes another, and returns the settings of the new one.
func (s shell) enrol(name string, flags ...string) string {
	c := s.cluster
	require.NoError(s.t, os.MkdirAll(c.path(name), 0o700))
	made := run(s.t, "", "bftnode", "keygen", "--name", name, "--out", c.path(name, keyName))
	require.Zero(s.t, made.code, made.err)
	require.NoError(s.t, os.WriteFile(c.path(name, "identity.json"), []byte(made.out), 0o600))
	settings := fmt.Sprintf("genesis: ../%s\nkey: %s\nname: %s\n", genesisName, keyName, name)
	require.NoError(s.t, os.WriteFile(c.path(name, clientName), []byte(settings), 0o600))
	file := c.path(name, "change.json")
	s.do(ok, append([]string{"change", "draft", "--out", file, "--add",
		c.path(name, "identity.json")}, flags...)...)
	s.do(ok, "sign-change", "--key", c.path("admin1", keyName), file)
	s.do(ok, "change", "apply", file)
	return c.path(name, clientName)
}

// TestChangesReachWhoWasAway kills a node, changes who may do what, and lets the others go so far
// that it has to fetch a state. It goes by the changes then, since without it there is no quorum;
// all do after they were killed at once; and what they store verifies, as does what is saved of it.
func TestChangesReachWhoWasAway(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, "--checkpoint-entries", "2000", "--history", "2000")
	const late, other = crypto.NodeID(4), crypto.NodeID(3)
	c.startAll()
	c.awaitReady(c.all()...)
	s := shell{c, t, c.config(1)}
	shell{c, t, c.config(2)}.do(ok, "put", "by", "client2", "--receipt", c.path("receipt"))
	c.nodes[late].signal(syscall.SIGKILL)
	c.nodes[late].wait()
	bob := shell{c, t, s.enrol("bob", "--remove", "client2")}
	bob.do(ok, "put", "by", "bob")
	at := c.stored(late)
	for _, id := range c.but(late) {
		await(t, fmt.Sprintf("node %d to let go of the log behind %d", id, at), func() bool {
			c.load()
			s, ok := c.status(id)
			return ok && uint64(s.Base) > at
		})
	}
	c.start(late)
	c.awaitReady(c.all()...)
	c.awaitCommit(late, c.commit(1))
	c.nodes[other].signal(syscall.SIGKILL)
	c.nodes[other].wait()
	bob.do(ok, "put", "by", "bob, and node 4")
	shell{c, t, s.enrol("eve", "--role", "read")}.do(notAuthorised, "put", "by", "eve")
	for _, id := range c.but(other) {
		c.nodes[id].signal(syscall.SIGKILL)
	}
	for _, id := range c.but(other) {
		c.nodes[id].wait()
	}
	c.startAll()
	c.awaitReady(c.all()...)
	require.Equal(t, "bob, and node 4\n", shell{c, t, c.path("eve", clientName)}.do(ok, "get", "by"))
	shell{c, t, c.config(2)}.do(noQuorum, "--timeout", "1s", "get", "by")
	s.do(ok, "verify", c.path("receipt"))
	c.checkpoints(s)
	for _, id := range c.all() {
		c.nodes[id].signal(syscall.SIGTERM)
		require.Zero(t, c.nodes[id].wait())
		require.Contains(t, c.node(id, ok, "inspect").out, "put")
	}
	saved := c.path("saved")
	c.node(late, ok, "snapshot", "save", saved)
	got := run(t, "", "bftnode", "snapshot", "verify", "--genesis", c.path(genesisName), saved)
	require.Zero(t, got.code, got.err)
}
