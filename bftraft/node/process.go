package node

import (
	"os"
	"runtime"
	"runtime/debug"
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
		debug.SetMemoryLimit(int64(nodes) * softMemoryBytes)
	}
}

func processors(have int) int { return max(minProcessors, processorsMultiple*have) }
