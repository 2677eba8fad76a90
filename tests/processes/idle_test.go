//go:build linux

package processes

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// What an idle node may use. Signatures and flushes are counted. Processor time is what the process
// has used, and not how long it took; still the same work costs more on a machine whose cores and
// caches are busy with others, or are lent to another machine. So the time is held against that of
// a pulse, a piece of work like the node's own, done in the same seconds.
const (
	idleVerified = 45                    // signatures in a second: heartbeats and their acks
	idleSaves    = 10                    // in all, for leaders that the machine itself held up
	idlePulses   = 5.0                   // of the processor time of a pulse; 2 to 3 were seen
	idleResident = 120 << 20             // bytes
	pulseEvery   = 10 * time.Millisecond // a tick of the nodes
)

// pulse does the least that a node could do: it wakes up in each tick and verifies one signature.
// It returns the share of one core that this took.
func pulse(t *testing.T, lasts time.Duration) float64 {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	key, msg := crypto.GenerateKey(), []byte("pulse")
	verifier, err := crypto.ZIP215().Expand(key.Public())
	require.NoError(t, err)
	sig := key.Sign(crypto.DomainReply, msg)
	used := func() time.Duration {
		var u syscall.Rusage
		const ofThread = 1
		require.NoError(t, syscall.Getrusage(ofThread, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	tick := time.NewTicker(pulseEvery)
	defer tick.Stop()
	before, over := used(), time.After(lasts)
	for {
		select {
		case <-over:
			return (used() - before).Seconds() / lasts.Seconds()
		case <-tick.C:
			require.True(t, verifier.Verify(crypto.DomainReply, msg, sig))
		}
	}
}

// clockTicks is how many of the units of /proc/PID/stat make a second, on Linux always.
const clockTicks = 100

// cpuTime returns the processor time a process has used.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	// The second field is the name in brackets; user and system time are the 14th and 15th.
	_, rest, found := strings.Cut(string(text), ") ")
	require.True(t, found)
	fields := strings.Fields(rest)
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		require.NoError(t, err)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / clockTicks
}

// resident returns how much memory of a process is in use.
func resident(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "VmRSS:")
	require.True(t, found)
	kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(t, err)
	return kilobytes << 10
}

func TestIdleClusterUsesLittle(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.startAll()
	w := c.user(1).write(t, "w")
	w.more(20)
	w.check()
	type use struct {
		processor       time.Duration
		verified, saves float64
	}
	look := func(id crypto.NodeID) (u use) {
		var ok bool
		u.verified, ok = c.metric(id, "bft_signatures_verified_total")
		require.True(t, ok)
		u.saves, ok = c.metric(id, "bft_save_seconds_count")
		require.True(t, ok)
		u.processor = cpuTime(t, c.nodes[id].cmd.Process.Pid)
		return u
	}
	before, began := map[crypto.NodeID]use{}, time.Now()
	for _, id := range c.all() {
		before[id] = look(id)
	}
	pulse := pulse(t, *idle)
	t.Logf("a pulse takes %.2f %% of one core", 100*pulse)
	for _, id := range c.all() {
		was, is, took := before[id], look(id), time.Since(began).Seconds()
		share := (is.processor - was.processor).Seconds() / took
		verified, saves := (is.verified-was.verified)/took, is.saves-was.saves
		memory := resident(t, c.nodes[id].cmd.Process.Pid)
		t.Logf("node %d: %.2f %% of one core, %.0f signatures verified in a second, %.0f flushes, "+
			"%d MiB resident", id, 100*share, verified, saves, memory>>20)
		require.Less(t, share, pulse*idlePulses, "node %d", id)
		require.Less(t, verified, float64(idleVerified), "node %d", id)
		require.LessOrEqual(t, saves, float64(idleSaves), "node %d", id)
		require.Less(t, memory, idleResident, "node %d", id)
	}
}
