package report

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// Machine is where it was measured.
type Machine struct {
	Processor string  `json:"processor"`
	Cores     int     `json:"cores"`
	MemoryGiB float64 `json:"memory_gib"`
	System    string  `json:"system"`
	Go        string  `json:"go"`
	// Load is how many threads wanted to run in the minute before, -1 if the system does not say.
	Load float64 `json:"load"`
}

// ThisMachine describes where this program runs.
func ThisMachine() Machine {
	m := Machine{
		Processor: entry("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Load: -1,
	}
	if kb, err := strconv.ParseFloat(
		strings.TrimSuffix(entry("/proc/meminfo", "MemTotal"), " kB"), 64); err == nil {
		m.MemoryGiB = kb / (1 << 20)
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		if words := strings.Fields(string(text)); len(words) > 0 {
			if l, err := strconv.ParseFloat(words[0], 64); err == nil {
				m.Load = l
			}
		}
	}
	return m
}

// entry returns the first value of a name in a file of lines "name : value".
func entry(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

// Commit names the state of the sources, "unknown" outside of a repository.
func Commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
