//go:build linux

package processes

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
	"tangaroa/internal/notdone"
)

var diskLong = flag.Bool("disk", false, "try every fault of the disk, not a few")

// syncs are the system calls by which a node makes something durable.
const syncs = "msync,fsync,fdatasync"

// tools returns where programs are, or says that the test is not done without them.
func tools(t *testing.T, names ...string) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		notdone.Skip(t, "it takes root")
	}
	var paths []string
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			notdone.Skip(t, "%s is not installed", name)
		}
		paths = append(paths, path)
	}
	return paths
}

// startInjected starts a node whose system calls fail as strace is told. The node does not
// outlive strace.
func (c *cluster) startInjected(id crypto.NodeID, inject string, args ...string) *process {
	c.t.Helper()
	paths := tools(c.t, "strace", "setpriv")
	calls, _, _ := strings.Cut(inject, ":")
	full := append([]string{"-f", "-qq", "-o", "/dev/null", "-e", "trace=" + calls,
		"-e", "inject=" + inject, paths[1], "--pdeathsig", "KILL",
		filepath.Join(bin, "bftnode"), "start", "--dir", c.folder(id)}, args...)
	p := spawn(c.t, c.path(fmt.Sprintf("node%d.log", id)), paths[0], full...)
	c.nodes[id] = p
	return p
}

// killTraced kills a node under strace, and waits until strace has seen it end.
func (p *process) killTraced() {
	p.t.Helper()
	pid := p.cmd.Process.Pid
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	require.NoError(p.t, err)
	for _, child := range strings.Fields(string(text)) {
		n, err := strconv.Atoi(child)
		require.NoError(p.t, err)
		if err := syscall.Kill(n, syscall.SIGKILL); err != syscall.ESRCH {
			require.NoError(p.t, err)
		}
	}
	p.wait()
}

// requireStoresAgree ends all nodes, lets each store verify itself from the first entry to the
// last, and compares them. No store may hold proof against anybody.
func (c *cluster) requireStoresAgree() {
	c.t.Helper()
	tips := map[crypto.NodeID]string{}
	for _, id := range c.all() {
		c.nodes[id].signal(syscall.SIGTERM)
	}
	for _, id := range c.all() {
		c.nodes[id].wait()
	}
	for _, id := range c.all() {
		got := run(c.t, "", "bftnode", "inspect", "--dir", c.folder(id), "-o", "json")
		require.Zero(c.t, got.code, "node %d: %s", id, got.err)
		var found struct {
			Tip struct {
				Index uint64 `json:"index"`
				Hash  string `json:"hash"`
			} `json:"tip"`
			Evidence []json.RawMessage `json:"evidence"`
		}
		require.NoError(c.t, json.Unmarshal([]byte(got.out), &found))
		require.Empty(c.t, found.Evidence, "node %d holds proof against an honest node", id)
		tips[id] = fmt.Sprintf("%d %s", found.Tip.Index, found.Tip.Hash)
	}
	for id, tip := range tips {
		require.Equal(c.t, tips[1], tip, "nodes 1 and %d", id)
	}
}

// requireClearEnd requires that the last a node said is why it ended, in one line, with no trace
// of a stack.
func requireClearEnd(t *testing.T, p *process) string {
	t.Helper()
	text, err := os.ReadFile(p.log)
	require.NoError(t, err)
	require.NotContains(t, string(text), "goroutine ", "it ended with a stack")
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	last := lines[len(lines)-1]
	require.Contains(t, last, "error:")
	return last
}

// fill writes until a process ends what is too large for the journal, so that Badger flushes too.
func (u user) fill(t *testing.T, p *process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for p.running() {
		_, err := u.apply(ctx, kv.Put{Key: []byte("large"), Value: make([]byte, 300<<10)})
		require.NoError(t, err)
	}
}

func TestNodeKilledAtASyncKeepsItsWord(t *testing.T) {
	const victim = crypto.NodeID(3)
	tools(t, "strace", "setpriv")
	when := []int{1, 3, 9, 40}
	if *diskLong {
		when = nil
		for k := 1; k <= 60; k++ {
			when = append(when, k)
		}
	}
	c := newCluster(t, 1)
	c.startAll()
	w := c.user(1).write(t, "w")
	for _, k := range when {
		c.nodes[victim].kill()
		p := c.startInjected(victim, fmt.Sprintf("%s:signal=KILL:when=%d", syncs, k))
		require.Equal(t, -1, p.wait(), "the %d-th sync of a thread does not kill", k)
		c.start(victim)
		c.awaitReady(victim)
		c.awaitCommit(victim, c.commit(c.but(victim)...))
	}
	w.more(20)
	w.check()
	w.user.awaitSame(t, c.all()...)
	c.requireStoresAgree()
}

func TestNodeWhoseDiskFailsStops(t *testing.T) {
	const victim = crypto.NodeID(3)
	tools(t, "strace", "setpriv")
	faults := []string{"msync:error=EIO:when=30+", "fdatasync:error=EIO:when=12+"}
	if *diskLong {
		faults = nil
		for k := 1; k <= 40; k += 3 {
			for _, call := range []string{"msync", "fdatasync", "pwrite64"} {
				faults = append(faults, fmt.Sprintf("%s:error=EIO:when=%d+", call, k))
			}
		}
	}
	c := newCluster(t, 1)
	c.startAll()
	w := c.user(1).write(t, "w")
	for _, fault := range faults {
		c.nodes[victim].kill()
		p := c.startInjected(victim, fault)
		w.user.fill(t, p)
		require.Equal(t, 1, p.wait(), "%s: it ends with an error", fault)
		t.Logf("%s: %s", fault, requireClearEnd(t, p))
		w.more(10)
		c.start(victim)
		c.awaitReady(victim)
		c.awaitCommit(victim, c.commit(c.but(victim)...))
	}
	w.check()
	w.user.awaitSame(t, c.all()...)
	c.requireStoresAgree()
}
