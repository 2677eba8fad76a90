//go:build linux

package processes

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What an idle node may use. Processor time is what the process has used, and not how long it
// took. Still, on a machine whose caches and cores are busy with others the same work costs more.
const (
	idleShare    = 0.03 // of one core
	busyShare    = 0.06 // where more than half of the machine is at work for others
	idleResident = 120 << 20
)

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

// machineBusy returns the time that all processors together have been at work since the start.
func machineBusy(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile("/proc/stat")
	require.NoError(t, err)
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	require.Equal(t, "cpu", fields[0])
	busy := 0
	for i, field := range fields[1:9] {
		n, err := strconv.Atoi(field)
		require.NoError(t, err)
		if i != 3 && i != 4 { // idle, and waiting for disks
			busy += n
		}
	}
	return time.Duration(busy) * time.Second / clockTicks
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
	began, busy := time.Now(), machineBusy(t)
	before := map[int]time.Duration{}
	for _, id := range c.all() {
		pid := c.nodes[id].cmd.Process.Pid
		before[pid] = cpuTime(t, pid)
	}
	<-time.After(*idle)
	bound := idleShare
	load := (machineBusy(t) - busy).Seconds() / time.Since(began).Seconds()
	if load > float64(runtime.NumCPU())/2 {
		bound = busyShare
	}
	t.Logf("the machine used %.1f of %d cores", load, runtime.NumCPU())
	for _, id := range c.all() {
		pid := c.nodes[id].cmd.Process.Pid
		used, took := cpuTime(t, pid)-before[pid], time.Since(began)
		share, memory := used.Seconds()/took.Seconds(), resident(t, pid)
		t.Logf("node %d: %.2f %% of one core, %d MiB resident", id, 100*share, memory>>20)
		require.Less(t, share, bound, "node %d", id)
		require.Less(t, memory, idleResident, "node %d", id)
	}
}
