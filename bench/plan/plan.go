package plan

import (
	"fmt"
	"slices"
	"time"

	"tangaroa/bench/contestant"
	"tangaroa/bench/load"
	"tangaroa/bench/run"
)

// Workload is what all contestants of a comparison do alike.
type Workload struct {
	Nodes       int     `json:"nodes"`
	ValueBytes  int     `json:"value_bytes"`
	Outstanding int     `json:"outstanding"`
	Reads       float64 `json:"reads"`
	Dead        int     `json:"dead"`
	KillLeader  bool    `json:"kill_leader"`
	Adversary   string  `json:"adversary,omitempty"`
	AsLeader    bool    `json:"as_leader,omitempty"`
}

// String names the workload.
func (w Workload) String() string {
	size := fmt.Sprintf("%d B", w.ValueBytes)
	if w.ValueBytes >= 1024 && w.ValueBytes%1024 == 0 {
		size = fmt.Sprintf("%d KiB", w.ValueBytes/1024)
	}
	s := fmt.Sprintf("%d nodes, %s, %d outstanding, ", w.Nodes, size, w.Outstanding)
	switch w.Reads {
	case 0:
		s += "puts"
	case 1:
		s += "linearizable reads"
	default:
		s += fmt.Sprintf("%.0f %% reads", 100*w.Reads)
	}
	if w.Dead > 0 {
		s += fmt.Sprintf(", %d dead", w.Dead)
	}
	if w.KillLeader {
		s += ", leader killed"
	}
	if w.Adversary != "" {
		role := "a follower is "
		if w.AsLeader {
			role = "the leader is "
		}
		s += ", " + role + w.Adversary
	}
	return s
}

// Times say how long a run is.
type Times struct {
	WarmUp  time.Duration
	Measure time.Duration
	Keys    int
}

// operationTimeout is when an operation counts as failed, a new leader's election included.
const operationTimeout = 20 * time.Second

// leaderChange is long enough for any contestant to find a new leader and go on.
const leaderChange = 6 * time.Second

// Job returns the run of a contestant under the workload.
func (w Workload) Job(name string, t Times) run.Job {
	if w.KillLeader {
		t.Measure = max(t.Measure, leaderChange)
	}
	return run.Job{
		Contestant: name,
		Options: contestant.Options{
			Nodes: w.Nodes, Adversary: w.Adversary, AsLeader: w.AsLeader,
		},
		Workload: load.Workload{
			Outstanding: w.Outstanding, ValueBytes: w.ValueBytes, Reads: w.Reads, Keys: t.Keys,
			WarmUp: t.WarmUp, Measure: t.Measure, Timeout: operationTimeout,
		},
		Dead: w.Dead, KillLeader: w.KillLeader,
	}
}

// Comparison is a workload and who does it.
type Comparison struct {
	Workload    Workload
	Contestants []string
	Rounds      int
	// Cost asks for one more run of each, which is profiled.
	Cost bool
	// Syncs asks for one more run of each, in which flushes are counted.
	Syncs bool
}

// Extra is how many more runs than rounds each contestant has.
func (c *Comparison) Extra() int {
	n := 0
	for _, more := range []bool{c.Cost, c.Syncs} {
		if more {
			n++
		}
	}
	return n
}

// minByzantine is how many nodes bear one liar.
const minByzantine = 4

// takesPart says whether a contestant can do the workload.
func (w Workload) takesPart(name string) bool {
	c, err := contestant.Find(name)
	if err != nil {
		return false
	}
	if c.Byzantine {
		return w.Nodes >= minByzantine
	}
	return w.Adversary == ""
}

// Among returns the comparison of those of the contestants that can do the workload.
func (w Workload) Among(names []string, rounds int) Comparison {
	able := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !w.takesPart(n) })
	return Comparison{Workload: w, Contestants: able, Rounds: rounds}
}

// Axes are what a comparison by hand is made of: every combination.
type Axes struct {
	Nodes, Sizes, Outstanding []int
	Reads                     []float64
	Dead                      int
	KillLeader                bool
	Adversaries               []string
	AsLeader                  bool
}

// Product returns all combinations.
func (a Axes) Product(names []string, rounds int) []Comparison {
	adversaries := a.Adversaries
	if len(adversaries) == 0 {
		adversaries = []string{""}
	}
	var out []Comparison
	for _, adversary := range adversaries {
		for _, n := range a.Nodes {
			for _, size := range a.Sizes {
				for _, reads := range a.Reads {
					for _, k := range a.Outstanding {
						w := Workload{
							n, size, k, reads, a.Dead, a.KillLeader, adversary,
							a.AsLeader && adversary != "",
						}
						if c := w.Among(names, rounds); len(c.Contestants) > 0 {
							out = append(out, c)
						}
					}
				}
			}
		}
	}
	return out
}
