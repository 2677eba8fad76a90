//go:build linux

package processes

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// lockedOut is the exit code of a node whose keys are locked.
const lockedOut = 10

// node runs a command of bftnode on the folder of a node, which must end with the code.
func (c *cluster) node(id crypto.NodeID, code int, args ...string) said {
	c.t.Helper()
	got := run(c.t, "", "bftnode", append(args, "--dir", c.folder(id))...)
	require.Equal(c.t, code, got.code, "%q: %s", args, got.err)
	return got
}

// TestStolenDiskTellsNothing runs a cluster in which two nodes encrypt what they store, log and
// checkpoints. A value and its key are then in the files of the other two, which is the control,
// and in none of theirs, nor
// in a log, even of one that was made to dump its stacks. Node 1 is locked too: it starts when its
// unlock key is brought to it, goes on after all its keys were changed, and without them not.
func TestStolenDiskTellsNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, "--checkpoint-entries", "3")
	for id := crypto.NodeID(1); id <= 2; id++ {
		require.NoError(t, os.RemoveAll(filepath.Join(c.folder(id), "data")))
		c.node(id, ok, "init", "--encrypt")
	}
	safe := t.TempDir()
	key, socket := filepath.Join(safe, "key"), filepath.Join(safe, "socket")
	c.node(1, ok, "lock", "--out", key)
	one := c.start(1, "--unlock-socket", socket)
	for _, id := range c.but(1) {
		c.start(id)
	}
	awaitFile(t, socket)
	c.node(1, ok, "unlock", "--unlock-socket", socket, "--unlock-key-file", key)
	c.awaitReady(c.all()...)
	s := shell{c, t, c.config(1)}
	name, value := "name-"+rand.Text(), "value-"+rand.Text()
	s.do(ok, "put", name, value)
	require.Equal(t, value+"\n", s.do(ok, "get", name))
	c.checkpoints(s)
	s.do(ok, "put", name, value) // in the log again, and in the state
	for id := crypto.NodeID(1); id <= 2; id++ {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", c.nodes[id].cmd.Process.Pid))
		require.NoError(t, err)
		require.Regexp(t, `Max core file size +1 +1 +bytes`, string(limits))
	}

	c.nodes[2].signal(syscall.SIGQUIT)
	require.NotZero(t, c.nodes[2].wait())
	stacks, err := os.ReadFile(c.nodes[2].log)
	require.NoError(t, err)
	require.Contains(t, string(stacks), "goroutine ", "it dumped its stacks")
	one.kill()
	for id := crypto.NodeID(3); id <= 4; id++ {
		c.nodes[id].kill()
	}
	c.tellsNothing(name, value)

	before := contentsOf(t, c.folder(1))
	said := c.node(1, lockedOut, "start")
	require.Equal(t, 1, strings.Count(said.err, "\n"), said.err)
	c.node(1, lockedOut, "inspect")
	require.Equal(t, before, contentsOf(t, c.folder(1)), "a refused start changed something")

	keyed := func(args ...string) []string { return append(args, "--unlock-key-file", key) }
	require.NotContains(t, c.node(1, ok, keyed("inspect")...).out, value)
	require.Contains(t, c.node(1, ok, keyed("inspect", "--values")...).out, value)
	c.node(1, ok, keyed("master-key", "rotate")...)
	c.node(1, ok, keyed("data-key", "rotate", "--rewrite")...)
	next := filepath.Join(safe, "next")
	c.node(1, ok, keyed("unlock-key", "rotate", "--out", next)...)
	c.node(1, lockedOut, keyed("start")...)
	c.start(1, "--unlock-key-file", next)
	for id := crypto.NodeID(2); id <= 3; id++ {
		c.start(id)
	}
	c.awaitReady(1, 2, 3)
	require.Equal(t, value+"\n", s.do(ok, "get", name))
	for id := crypto.NodeID(1); id <= 3; id++ {
		c.nodes[id].kill()
	}
	c.tellsNothing(name, value)
}

// checkpoints writes until all nodes have taken some and let go of the log before them.
func (c *cluster) checkpoints(s shell) {
	for n := range 6 {
		s.do(ok, "put", fmt.Sprint("other", n), "value")
	}
	for _, id := range c.all() {
		await(c.t, "a checkpoint and the log before it to go", func() bool {
			status, ok := c.status(id)
			return ok && status.Checkpoint > 0 && status.Base > 0
		})
	}
}

// tellsNothing requires that the texts are in files of nodes 3 and 4 alone.
func (c *cluster) tellsNothing(texts ...string) {
	c.t.Helper()
	for _, text := range texts {
		in := map[string]bool{}
		for _, path := range c.filesWith(text) {
			below, err := filepath.Rel(c.path(), path)
			require.NoError(c.t, err)
			in[strings.Split(below, "/")[0]] = true
		}
		require.Equal(c.t, map[string]bool{"node3": true, "node4": true}, in)
	}
}

// contentsOf is all that is in the files below a folder.
func contentsOf(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		all[path] = crypto.Hash(crypto.DomainState, raw).String()
		return err
	})
	require.NoError(t, err)
	return all
}

func awaitFile(t *testing.T, path string) {
	t.Helper()
	await(t, path+" to be there", func() bool {
		_, err := os.Stat(path)
		return err == nil
	})
}
