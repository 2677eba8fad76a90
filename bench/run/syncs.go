package run

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tangaroa/bench/contestant"
)

const traceFile = "syncs"

// CanCountSyncs says whether there is a strace that works.
func CanCountSyncs() bool {
	try := exec.Command("strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=fsync", "true")
	return try.Run() == nil
}

// tracer is what the command of a run is put behind. The filter in the kernel lets everything else
// pass at full speed.
func tracer(dir string) []string {
	return []string{
		"strace", "-f", "-qq", "-ttt", "--seccomp-bpf", "-e", "trace=fsync,fdatasync,msync",
		"-e", "signal=none", "-o", filepath.Join(dir, traceFile),
	}
}

// countSyncs adds the flushes of the measured time to an outcome.
func countSyncs(dir string, o *Outcome) error {
	f, err := os.Open(filepath.Join(dir, traceFile))
	if err != nil {
		return fmt.Errorf("read what strace saw: %w", err)
	}
	defer f.Close()
	n := 0
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		at, ok := syncAt(lines.Text())
		if ok && !at.Before(o.Result.Began) && at.Before(o.Result.Ended) {
			n++
		}
	}
	o.Counts[contestant.Syncs] = float64(n)
	return lines.Err()
}

// syncAt returns when a flush began, from a line "thread seconds name(arguments) = result". The
// second half of one that was interrupted in the log says "resumed" and is not another.
func syncAt(line string) (time.Time, bool) {
	words := strings.Fields(line)
	if len(words) < 3 || !strings.Contains(words[2], "sync(") {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseFloat(words[1], 64)
	if err != nil {
		return time.Time{}, false
	}
	return time.UnixMicro(int64(seconds * 1e6)), true
}
