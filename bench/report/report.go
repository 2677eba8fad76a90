package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"tangaroa/bench/contestant"
	"tangaroa/bench/plan"
	"tangaroa/bench/run"
)

// Report is everything about one comparison.
type Report struct {
	Began   time.Time `json:"began"`
	Took    float64   `json:"took_seconds"`
	Machine Machine   `json:"machine"`
	Commit  string    `json:"commit"`
	// Command is how it was called.
	Command string  `json:"command"`
	Groups  []Group `json:"groups"`
}

// Group is one workload and what became of it.
type Group struct {
	Workload plan.Workload `json:"workload"`
	Rows     []Row         `json:"rows"`
}

// Row is one contestant in it, with its outcomes round by round.
type Row struct {
	Contestant string         `json:"contestant"`
	Outcomes   []*run.Outcome `json:"outcomes"`
	// Cost is processor time in microseconds per operation by part (see Parts), of one run that
	// was profiled and is not among the outcomes; nil if none was.
	Cost map[string]float64 `json:"cost,omitempty"`
	// Syncs is how many flushes the kernel was asked for per operation, in one run made for
	// counting that is not among the outcomes; nil if there was none.
	Syncs *float64 `json:"syncs,omitempty"`
}

// Valid returns the outcomes that count.
func (r *Row) Valid() []*run.Outcome {
	var out []*run.Outcome
	for _, o := range r.Outcomes {
		if o.Valid() {
			out = append(out, o)
		}
	}
	return out
}

// CountSyncs takes over what a run that was made for counting came to. A contestant that flushes
// less than a quorum must, with one operation at a time, is not durable: none of its rounds counts.
func (r *Row) CountSyncs(w plan.Workload, o *run.Outcome) {
	n, ok := o.Counts[contestant.Syncs]
	if !o.Valid() || !ok {
		return
	}
	each := n / float64(o.Result.Ops)
	r.Syncs = &each
	quorum := float64(w.Nodes/2 + 1)
	if w.Outstanding > 1 || w.Reads > 0 || each >= quorum*almost {
		return
	}
	for _, o := range r.Outcomes {
		o.Void = fmt.Sprintf("%.2f flushes per operation, where a quorum has %.0f disks: "+
			"durability is off", each, quorum)
	}
}

// almost leaves room for operations at the edges of the measured time.
const almost = 0.9

// Trouble says why the row has outcomes that do not count, "" if all do.
func (r *Row) Trouble() string {
	for _, o := range r.Outcomes {
		if o.NotStarted != "" {
			return "did not start: " + o.NotStarted
		}
	}
	for _, o := range r.Outcomes {
		if o.Void != "" {
			return "void: " + o.Void
		}
	}
	return ""
}

// Figure is a number of one outcome; NaN says that it was not measured.
type Figure func(*run.Outcome) float64

// Stat is the middle of several rounds and how far they are apart.
type Stat struct{ Median, Low, High float64 }

// Known says that it was measured at all.
func (s Stat) Known() bool { return !math.IsNaN(s.Median) }

// Spread is half the distance between the extremes as a share of the median.
func (s Stat) Spread() float64 {
	if s.Median == 0 {
		return 0
	}
	return (s.High - s.Low) / 2 / s.Median
}

// Of returns the median of a figure over the valid rounds.
func (r *Row) Of(f Figure) Stat {
	var values []float64
	for _, o := range r.Valid() {
		if v := f(o); !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	return median(values)
}

func median(values []float64) Stat {
	if len(values) == 0 {
		return Stat{math.NaN(), math.NaN(), math.NaN()}
	}
	slices.Sort(values)
	middle := values[len(values)/2]
	if len(values)%2 == 0 {
		middle = (middle + values[len(values)/2-1]) / 2
	}
	return Stat{middle, values[0], values[len(values)-1]}
}

// Rate is operations per second.
func Rate(o *run.Outcome) float64 { return o.Result.Rate }

// Count returns a counter per operation.
func Count(name string) Figure {
	return func(o *run.Outcome) float64 {
		n, ok := o.Counts[name]
		if !ok {
			return math.NaN()
		}
		return n / float64(o.Result.Ops)
	}
}

// CPU is microseconds per operation, of all nodes and the client.
func CPU(o *run.Outcome) float64 {
	return float64(o.Result.Usage.CPU.Nanoseconds()) / 1000 / float64(o.Result.Ops)
}

// Written is bytes handed to the disk per operation.
func Written(o *run.Outcome) float64 {
	if o.Result.Usage.Written < 0 {
		return math.NaN()
	}
	return float64(o.Result.Usage.Written) / float64(o.Result.Ops)
}

// MemoryOf is peak MiB per node of a process with so many; the client counts as theirs.
func MemoryOf(nodes int) Figure {
	return func(o *run.Outcome) float64 {
		return float64(o.Result.Usage.PeakRSS) / (1 << 20) / float64(nodes)
	}
}

// ratio is the median over rounds of one row's figure to another's in the same round.
func ratio(of, to *Row, f Figure) Stat {
	var values []float64
	for i, o := range of.Outcomes {
		if i < len(to.Outcomes) && o.Valid() && to.Outcomes[i].Valid() {
			if d := f(to.Outcomes[i]); d > 0 {
				values = append(values, f(o)/d)
			}
		}
	}
	return median(values)
}

// Row returns the row of a contestant, nil if it took no part.
func (g *Group) Row(name string) *Row {
	for i := range g.Rows {
		if g.Rows[i].Contestant == name {
			return &g.Rows[i]
		}
	}
	return nil
}

// shoes returns the row of plain Raft in the same shoes, and best that of the fastest of the
// crash-tolerant others; nil if there is none.
func (g *Group) shoes() *Row {
	for i := range g.Rows {
		if c, err := contestant.Find(g.Rows[i].Contestant); err == nil && c.Shoes {
			return &g.Rows[i]
		}
	}
	return nil
}

func (g *Group) best() *Row {
	var others []*Row
	for i := range g.Rows {
		c, err := contestant.Find(g.Rows[i].Contestant)
		if err == nil && !c.Shoes && !c.Byzantine && len(g.Rows[i].Valid()) > 0 {
			others = append(others, &g.Rows[i])
		}
	}
	if len(others) == 0 {
		return nil
	}
	return slices.MaxFunc(others, func(a, b *Row) int {
		return cmp.Compare(a.Of(Rate).Median, b.Of(Rate).Median)
	})
}
