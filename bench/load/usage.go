package load

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what this process took.
type Usage struct {
	CPU time.Duration `json:"cpu_ns"` // user and system
	// Written is what was handed to the disk, in bytes; -1 where the kernel does not tell.
	Written int64 `json:"written_bytes"`
	// PeakRSS is the most that was resident since the start of the process.
	PeakRSS int64 `json:"peak_rss_bytes"`
	// Allocated counts objects on the heap, and AllocatedBytes what they took.
	Allocated      uint64 `json:"allocated"`
	AllocatedBytes uint64 `json:"allocated_bytes"`
}

func usage() (Usage, error) {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return Usage{}, fmt.Errorf("ask for the use of the processor: %w", err)
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	u := Usage{
		CPU:     time.Duration(ru.Utime.Nano() + ru.Stime.Nano()),
		Written: -1, PeakRSS: ru.Maxrss << 10,
		Allocated: mem.Mallocs, AllocatedBytes: mem.TotalAlloc,
	}
	// What the parent had before exec counts in Maxrss, and not here.
	if kb, ok := field("/proc/self/status", "VmHWM:"); ok {
		u.PeakRSS = kb << 10
	}
	if n, ok := field("/proc/self/io", "write_bytes:"); ok {
		u.Written = n
	}
	return u, nil
}

// minus returns what was used since before.
func (u Usage) minus(before Usage) Usage {
	u.CPU -= before.CPU
	u.Allocated -= before.Allocated
	u.AllocatedBytes -= before.AllocatedBytes
	if u.Written >= 0 && before.Written >= 0 {
		u.Written -= before.Written
	}
	return u
}

// field returns a number from a file of lines "name: number unit".
func field(path, name string) (int64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) >= 2 && words[0] == name {
			n, err := strconv.ParseInt(words[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
