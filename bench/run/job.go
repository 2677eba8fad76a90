package run

import (
	"fmt"
	"time"

	"tangaroa/bench/attack"
	"tangaroa/bench/contestant"
	"tangaroa/bench/load"
)

// Job is one run.
type Job struct {
	Contestant string             `json:"contestant"`
	Options    contestant.Options `json:"options"`
	Workload   load.Workload      `json:"workload"`
	// Dead nodes are killed before the warm-up; followers, unless KillLeader is set.
	Dead int `json:"dead"`
	// KillLeader kills the leader when the measured time begins: Result.LongestMS is then how
	// long nobody could write.
	KillLeader bool `json:"kill_leader"`
	// Attack, if set, takes the place of the workload: what is lost is counted.
	Attack *attack.Load `json:"attack,omitempty"`
	// Syncs counts what the process asks the kernel to flush, by strace, which slows it. It is
	// for counting: the times of such a run say nothing.
	Syncs bool `json:"syncs"`
	// CPUProfile, if set, is a file for a profile of the measured time.
	CPUProfile string `json:"cpu_profile,omitempty"`
}

// String names the run as a table does.
func (j *Job) String() string {
	s := fmt.Sprintf("%s n=%d %d B x%d", j.Contestant, j.Options.Nodes, j.Workload.ValueBytes,
		j.Workload.Outstanding)
	if j.Workload.Reads > 0 {
		s += fmt.Sprintf(" reads %.0f%%", 100*j.Workload.Reads)
	}
	if j.Dead > 0 {
		s += fmt.Sprintf(" dead %d", j.Dead)
	}
	if j.KillLeader {
		s += " leader killed"
	}
	if j.Options.Adversary != "" {
		s += " " + j.Options.Adversary
	}
	return s
}

// The time that starting, and agreeing at the end, may take on a busy machine.
const (
	startTimeout = time.Minute
	soundTimeout = 30 * time.Second
)

// limit is when a run is given up: something in it waits for ever.
func (j *Job) limit() time.Duration {
	w := &j.Workload
	d := startTimeout + w.WarmUp + w.Measure + 2*w.Timeout + soundTimeout + closing
	if a := j.Attack; a != nil {
		d += a.Calm + a.Lying + a.Timeout + a.Settle
	}
	return d
}

// Outcome is what a run came to.
type Outcome struct {
	Result load.Result `json:"result"`
	// Counts are those of the measured time.
	Counts contestant.Counts `json:"counts"`
	// Attack is what a fault cost, if that was asked.
	Attack *attack.Result `json:"attack,omitempty"`
	// DiskBytes is what lies on the disk at the end, of all nodes.
	DiskBytes int64 `json:"disk_bytes"`
	// NotStarted says why there was nothing to measure, and Void why it does not count.
	NotStarted string `json:"not_started,omitempty"`
	Void       string `json:"void,omitempty"`
}

// Valid says that the figures may be reported.
func (o *Outcome) Valid() bool { return o.NotStarted == "" && o.Void == "" }
