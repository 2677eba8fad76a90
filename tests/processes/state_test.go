//go:build linux

package processes

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// load writes for a second, with values that make states of several chunks. No write may fail.
func (c *cluster) load() {
	c.t.Helper()
	c.loadWith("--single", "--outstanding", "64", "--keys", "1500", "--size", "4096")
}

// loadWith writes for a second, as the flags of bftclient load say, and returns how many
// operations that were. No write may fail.
func (c *cluster) loadWith(flags ...string) int {
	c.t.Helper()
	return c.loadFor(time.Second, flags...)
}

// loadFor is loadWith for some time.
func (c *cluster) loadFor(lasts time.Duration, flags ...string) int {
	c.t.Helper()
	args := []string{"--config", c.config(1), "load", "-o", "json", "--duration", lasts.String()}
	got := runFor(c.t, lasts+patience, "", "bftclient", append(args, flags...)...)
	require.Zero(c.t, got.code, got.err)
	var report struct {
		Ops    int    `json:"ops"`
		Errors uint64 `json:"errors"`
	}
	require.NoError(c.t, json.Unmarshal([]byte(got.out), &report))
	require.Zero(c.t, report.Errors, got.out)
	require.NotZero(c.t, report.Ops, got.out)
	return report.Ops
}

// stored is how far a node that does not run had come, by its store, which verifies.
func (c *cluster) stored(id crypto.NodeID) uint64 {
	c.t.Helper()
	var report struct {
		Commit struct {
			Index uint64 `json:"index"`
		} `json:"commit"`
	}
	got := c.node(id, ok, "inspect", "--limit", "1", "-o", "json")
	require.NoError(c.t, json.Unmarshal([]byte(got.out), &report))
	return report.Commit.Index
}

// snapshots are the names of the files in which a node keeps states.
func (c *cluster) snapshots(id crypto.NodeID) (names []string) {
	c.t.Helper()
	files, err := os.ReadDir(filepath.Join(c.folder(id), dataName, "snapshots"))
	require.NoError(c.t, err)
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

// TestNodeThatMissedTheLogFetchesAState kills a node, twice, and lets the others go so far that
// none has the log any more that it lacks. It comes back with their state, though one of the two
// that are there to serve it serves poison, and is named. What it stores verifies then.
func TestNodeThatMissedTheLogFetchesAState(t *testing.T) {
	c := newCluster(t, 1, "--checkpoint-entries", "2000", "--history", "2000")
	const liar, late = crypto.NodeID(3), crypto.NodeID(4)
	c.start(liar, "--adversary", "poison")
	for _, id := range c.but(liar) {
		c.start(id)
	}
	c.awaitReady(c.all()...)
	for range 2 {
		c.load()
		c.nodes[late].signal(syscall.SIGKILL)
		c.nodes[late].wait()
		at := c.stored(late)
		for _, id := range c.but(late) {
			await(t, fmt.Sprintf("node %d to let go of the log behind %d", id, at), func() bool {
				c.load()
				s, ok := c.status(id)
				return ok && uint64(s.Base) > at
			})
		}
		looks := 0
		await(t, "both that will serve to have the same state", func() bool {
			if looks++; looks%200 == 0 {
				c.load() // one of them was busy when the last one was due
			}
			a, b := c.snapshots(2), c.snapshots(liar)
			return len(a) == 1 && slices.Equal(a, b)
		})
		c.nodes[1].signal(syscall.SIGTERM)
		require.Zero(t, c.nodes[1].wait())
		c.start(late)
		c.awaitCommit(late, c.commit(2))
		c.start(1)
		c.awaitReady(late, 1)
		s, ok := c.status(late)
		require.True(t, ok)
		require.Greater(t, uint64(s.Base), at)
		poisoned := fmt.Sprintf(`bft_drops_total{peer="%d",reason="poisoned_state"}`, liar)
		drops, _ := c.metric(late, poisoned)
		require.Positive(t, drops, "it was asked too")
	}
	c.user(1).awaitSame(t, c.but(liar)...)
	log, err := os.ReadFile(c.nodes[late].log)
	require.NoError(t, err)
	require.Contains(t, string(log), "state of others is in place")
	require.Contains(t, string(log), "part of a state that is not the certified one")
	for _, id := range c.but(liar) {
		c.nodes[id].signal(syscall.SIGTERM)
		require.Zero(t, c.nodes[id].wait())
		said := c.node(id, ok, "inspect", "--limit", "1").out
		require.Regexp(t, `log +begins behind [1-9]`, said)
		require.Regexp(t, `snapshot +[1-9].* certified by nodes`, said)
	}
}

// boundedOps is how many operations TestDiskStaysBounded writes.
var boundedOps = flag.Int("bounded", 60_000, "operations of the test of bounded disks")

// mostStored is what a node may have on disk at any time of that test: its state is below a MiB,
// its log some MiB, and the rest is what Badger has not collected yet.
const mostStored = 256 << 20

// TestDiskStaysBounded writes without end, with few entries from one checkpoint to the next. What a
// node stores stays within a bound that has nothing to do with how much was written, its log begins
// later and later, and what was overwritten long ago is in no log and in no state any more.
func TestDiskStaysBounded(t *testing.T) {
	c := newCluster(t, 1, "--checkpoint-entries", "200", "--history", "1000")
	c.startAll()
	c.awaitReady(c.all()...)
	s := shell{c, t, c.config(1)}
	s.do(ok, "put", "canary", canaryFirst)
	written, most := 0, int64(0)
	base := map[crypto.NodeID]uint64{}
	for written < *boundedOps {
		for range 5 {
			written += c.loadWith("--outstanding", "256")
		}
		s.do(ok, "put", "canary", fmt.Sprintf("after %d", written))
		for _, id := range c.all() {
			stored := sizeOf(t, filepath.Join(c.folder(id), dataName))
			require.Less(t, stored, int64(mostStored), "node %d after %d operations", id, written)
			most = max(most, stored)
			await(t, "the log to begin later", func() bool {
				s, ok := c.status(id)
				later := ok && uint64(s.Base) > base[id] && s.Tip-s.Base < 2000
				if later {
					base[id] = uint64(s.Base)
				}
				return later
			})
		}
	}
	t.Logf("%d operations, at most %d MiB on a disk", written, most>>20)
	s.forgets()
}

// Values of one key: the first, overwritten at once; the one that states hold; and the newest.
const canaryFirst, canaryKept, canaryLast = "first canary", "kept canary", "last canary"

// forgets requires that the first value of the canary cannot be read any more, from any node or its
// disk, where later ones can. What Badger has not collected yet is no matter: nothing leads there.
func (s shell) forgets() {
	c, t := s.cluster, s.t
	s.do(ok, "put", "canary", canaryKept)
	kept := c.commit(c.all()...)
	for _, id := range c.all() {
		await(t, "a checkpoint beyond it, and the log to begin there", func() bool {
			status, ok := c.status(id)
			if late := ok && uint64(status.Base) > kept; late {
				return true
			}
			c.loadWith("--outstanding", "256")
			return false
		})
	}
	s.do(ok, "put", "canary", canaryLast)
	told := s.try("watch", "canary", "--from", "1", "--count", "1")
	require.Equal(t, failed, told.code, told.out)
	require.Contains(t, told.err, "was compacted")
	c.user(1).awaitSame(t, c.all()...)
	for _, id := range c.all() {
		c.nodes[id].signal(syscall.SIGTERM)
		require.Zero(t, c.nodes[id].wait())
		log := c.node(id, ok, "inspect", "--limit", "0", "--values").out
		require.Contains(t, log, canaryLast, "or it is not shown at all")
		require.NotContains(t, log, canaryFirst, "log of node %d", id)
		held := 0
		for _, name := range c.snapshots(id) { // one of which may not be finished
			state, err := os.ReadFile(filepath.Join(c.folder(id), dataName, "snapshots", name))
			require.NoError(t, err)
			require.NotContains(t, string(state), canaryFirst, "state %s of node %d", name, id)
			held += strings.Count(string(state), canaryKept)
		}
		require.Positive(t, held, "or it is not stored so")
	}
}

// sizeOf is what the files below a folder take. Some may go meanwhile.
func sizeOf(t *testing.T, folder string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			size += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	require.NoError(t, err)
	return size
}
