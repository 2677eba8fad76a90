//go:build linux

package processes

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// Exit codes of bftnode.
const (
	mustNotSign = 8
	inUse       = 9
)

// requireRefused starts a node that must not run: it ends with the code and one line that says
// why, and nobody has heard of it.
func (c *cluster) requireRefused(code int, about string, id crypto.NodeID, args ...string) {
	c.t.Helper()
	got := run(c.t, "", "bftnode", append([]string{"start", "--dir", c.folder(id)}, args...)...)
	require.Equal(c.t, code, got.code, got.err)
	require.Equal(c.t, 1, strings.Count(got.err, "\n"), "one line: %q", got.err)
	require.Contains(c.t, got.err, about)
	require.Empty(c.t, got.out)
}

// requireNobodySees makes sure that no other node has a link to a node.
func (c *cluster) requireNobodySees(id crypto.NodeID) {
	c.t.Helper()
	for _, other := range c.but(id) {
		await(c.t, fmt.Sprintf("node %d to miss node %d", other, id), func() bool {
			links, ok := c.metric(other, fmt.Sprintf(`bft_connected{peer="%d"}`, id))
			return ok && links == 0
		})
	}
}

// swapped runs f while something else, or nothing, is where a file or folder was.
func swapped(t *testing.T, path, instead string, f func()) {
	t.Helper()
	aside := path + ".aside"
	require.NoError(t, os.Rename(path, aside))
	if instead != "" {
		require.NoError(t, os.CopyFS(path, os.DirFS(instead)))
	}
	f()
	require.NoError(t, os.RemoveAll(path))
	require.NoError(t, os.Rename(aside, path))
}

func TestNodeThatMayHaveForgottenDoesNotSign(t *testing.T) {
	t.Parallel()
	const victim = crypto.NodeID(1)
	c := newCluster(t, 1)
	c.startAll()
	w := c.user(1).write(t, "w")
	w.more(10)
	c.requireRefused(inUse, "in use", victim, "--http", "off", "--listen", "127.0.0.1:0")
	data := c.path("node1", dataName)
	c.nodes[victim].kill()
	earlier := c.path("earlier")
	require.NoError(t, os.CopyFS(earlier, os.DirFS(data)))
	c.start(victim)
	w.more(20)
	c.awaitCommit(victim, c.commit(c.but(victim)...))
	c.nodes[victim].kill()
	other := readGenesis(t, c.path(genesisName))
	other.Nonce = strings.Repeat("ab", 32)
	other.write(t, c.path("other.json"))
	c.requireNobodySees(victim)

	swapped(t, c.path("node1", dataName, "store"), c.path("earlier", "store"), func() {
		c.requireRefused(mustNotSign, "behind its guard", victim)
	})
	swapped(t, data, "", func() { c.requireRefused(mustNotSign, "missing", victim) })
	swapped(t, data, t.TempDir(), func() { c.requireRefused(mustNotSign, "missing", victim) })
	swapped(t, c.path("node1", dataName, "guard"), "", func() {
		c.requireRefused(mustNotSign, "missing", victim)
	})
	swapped(t, c.path("node1", dataName, "store"), "", func() {
		c.requireRefused(mustNotSign, "missing", victim)
	})
	c.requireRefused(mustNotSign, "identity", victim, "--genesis", c.path("other.json"))
	c.requireRefused(mustNotSign, "not that of node 1", victim, "--key", c.path("node2", keyName))
	c.requireRefused(mustNotSign, "not that of node 2", victim, "--id", "2")
	c.requireNobodySees(victim)

	w.more(10)
	c.start(victim) // nothing was spoilt by the attempts
	c.awaitReady(victim)
	c.awaitCommit(victim, c.commit(c.but(victim)...))
	w.check()
}

func TestNodeOfAnotherClusterIsNotHeard(t *testing.T) {
	t.Parallel()
	const alien = crypto.NodeID(4)
	c := newCluster(t, 1)
	other := readGenesis(t, c.path(genesisName))
	other.Nonce = strings.Repeat("cd", 32)
	other.write(t, c.path("other.json"))
	place := []string{"--genesis", c.path("other.json"), "--data", c.path("node4", "other")}
	made := run(t, "", "bftnode", append([]string{"init", "--dir", c.folder(alien)}, place...)...)
	require.Zero(t, made.code, made.err)
	for _, id := range c.but(alien) {
		c.start(id)
	}
	c.start(alien, place...)
	c.awaitReady(c.but(alien)...)
	w := c.user(1).write(t, "w")
	w.more(50)
	for _, id := range c.but(alien) {
		series := fmt.Sprintf(`bft_drops_total{peer="%d",reason="bad_signature"}`, alien)
		await(t, fmt.Sprintf("node %d to refuse node %d", id, alien), func() bool {
			n, ok := c.metric(id, series)
			return ok && n > 0
		})
	}
	w.more(50)
	s, ok := c.status(alien)
	require.True(t, ok)
	require.False(t, s.Ready)
	require.Zero(t, s.Commit, "it must not take over another cluster's log")
	w.check()
}
