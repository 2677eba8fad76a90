package node

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTuningTwiceIsTuningOnce: a program may have several that think they are the first.
func TestTuningTwiceIsTuningOnce(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	t.Cleanup(func() {
		runtime.GOMAXPROCS(before)
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
	for range 2 {
		TuneProcess(3)
		require.Equal(t, processors(runtime.NumCPU()), runtime.GOMAXPROCS(0))
		require.EqualValues(t, 3*softMemoryBytes, debug.SetMemoryLimit(-1))
	}
	for _, name := range []string{"GOMAXPROCS", "GOGC", "GOMEMLIMIT"} {
		t.Setenv(name, "1")
	}
	runtime.GOMAXPROCS(3)
	debug.SetGCPercent(70)
	TuneProcess(9)
	require.Equal(t, 3, runtime.GOMAXPROCS(0))
	require.Equal(t, 70, debug.SetGCPercent(100))
	require.EqualValues(t, 3*softMemoryBytes, debug.SetMemoryLimit(-1))
}

// TestFlushesLeaveProcessors: as many goroutines may wait for the disk as there are processors, and
// as many others run.
func TestFlushesLeaveProcessors(t *testing.T) {
	for have, want := range map[int]int{1: 8, 2: 8, 4: 8, 5: 10, 64: 128} {
		require.Equal(t, want, processors(have))
	}
}

// TestMemoryLimitFollowsTheState: a limit below what is in use would keep the collector at work.
func TestMemoryLimitFollowsTheState(t *testing.T) {
	const mib = 1 << 20
	require.EqualValues(t, 512*mib, memoryLimit(512*mib, 100*mib))
	require.EqualValues(t, 512*mib, memoryLimit(512*mib, 256*mib))
	require.EqualValues(t, 576*mib, memoryLimit(512*mib, 256*mib+1))
	require.EqualValues(t, 2048*mib, memoryLimit(512*mib, 1024*mib))
	limit := debug.SetMemoryLimit(-1)
	t.Cleanup(func() {
		leastMemory.Store(0)
		debug.SetMemoryLimit(limit)
	})
	leastMemory.Store(0)
	debug.SetMemoryLimit(1 << 40)
	fitMemory()
	require.EqualValues(t, 1<<40, debug.SetMemoryLimit(-1), "it was set by somebody else")
	leastMemory.Store(1 * mib)
	runtime.GC()
	fitMemory()
	require.Less(t, debug.SetMemoryLimit(-1), int64(1<<40))
	require.Greater(t, debug.SetMemoryLimit(-1), int64(mib))
}
