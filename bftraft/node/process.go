package node

import (
	"os"
	"runtime"
	"runtime/debug"
	rtmetrics "runtime/metrics"
	"sync/atomic"
)

const (
	// The least and the multiple of what the machine has that a process takes.
	minProcessors      = 8
	processorsMultiple = 2
	// The heap of a node is small, and Badger's tables are mapped from outside it: collecting
	// earlier than by default keeps a node small at a cost that is not felt.
	gcPercent       = 50
	softMemoryBytes = 512 << 20
)

// TuneProcess makes scheduler and garbage collector of this process fit so many nodes in it: see
// the package's section on processors. What GOMAXPROCS, GOGC and GOMEMLIMIT in the environment say
// is left alone. A program calls it before it makes its nodes, if it does little else.
func TuneProcess(nodes int) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(processors(min(runtime.GOMAXPROCS(0), runtime.NumCPU())))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		leastMemory.Store(int64(nodes) * softMemoryBytes)
		debug.SetMemoryLimit(int64(nodes) * softMemoryBytes)
	}
}

// leastMemory is the limit that TuneProcess has set, 0 for none.
var leastMemory atomic.Int64

// liveHeap is what the last collection found in use.
const liveHeap = "/gc/heap/live:bytes"

// fitMemory raises the limit that TuneProcess has set where the state needs more: a limit below
// what is in use makes the collector work all the time. Twice that leaves it to GOGC.
func fitMemory() {
	least := leastMemory.Load()
	if least == 0 {
		return
	}
	sample := []rtmetrics.Sample{{Name: liveHeap}}
	rtmetrics.Read(sample)
	if sample[0].Value.Kind() != rtmetrics.KindUint64 {
		return
	}
	want := memoryLimit(least, sample[0].Value.Uint64())
	if want != debug.SetMemoryLimit(-1) {
		debug.SetMemoryLimit(want)
	}
}

// memoryLimit is the limit for so much in use, rounded so that it seldom changes.
func memoryLimit(least int64, live uint64) int64 {
	const step = 64 << 20
	return max(least, int64((2*live+step-1)/step*step))
}

func processors(have int) int { return max(minProcessors, processorsMultiple*have) }
