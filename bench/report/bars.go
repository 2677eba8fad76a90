package report

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"tangaroa/bench/plan"
	"tangaroa/bench/run"
)

// Bar is a figure that we set out to reach, and its value here.
type Bar struct {
	Title string
	// Least says that the value should be at least Bar, better Aim; else at most.
	Least    bool
	Bar, Aim float64
	Value    float64 // NaN if what it needs was not measured
}

// Verdict says what became of it.
func (b Bar) Verdict() string {
	better := func(than float64) bool {
		if b.Least {
			return b.Value >= than
		}
		return b.Value <= than
	}
	switch {
	case math.IsNaN(b.Value):
		return "not measured"
	case better(b.Aim):
		return "reaches the aim"
	case better(b.Bar):
		return "holds"
	}
	return "MISSED"
}

// Bars holds the report against what we set out to reach.
func (r *Report) Bars() []Bar {
	at := func(size, outstanding int) plan.Workload {
		return plan.Workload{Nodes: 4, ValueBytes: size, Outstanding: outstanding}
	}
	busy := at(128, 1024)
	p50 := func(o *run.Outcome) float64 { return o.Result.Latency.P50 }
	of := func(w plan.Workload, a, b string, f Figure) float64 { return r.between(w, a, w, b, f) }
	bars := []Bar{
		{"bundled, 1,024 outstanding: ours / hashicorp+raft-wal", true, 0.8, 1.5,
			of(busy, "ours", "wal", Rate)},
		{"the same / plain Raft in the same shoes", true, 0.6, 0.9, of(busy, "ours", "plain", Rate)},
		{"the same / etcd server", true, 2, 4, of(busy, "ours", "etcd", Rate)},
		{"each operation signed, 1,024 outstanding: ours / hashicorp+raft-wal", true, 0.3, 0.55,
			of(busy, "single", "wal", Rate)},
		{"bundled, 64 outstanding: ours / hashicorp+raft-wal", true, 0.35, 0.6,
			of(at(128, 64), "ours", "wal", Rate)},
		{"1 outstanding, p50: ours / hashicorp+raft-wal", false, 3.5, 2.2,
			of(at(128, 1), "ours", "wal", p50)},
		{"1 KiB, 1,024 outstanding: ours / hashicorp+raft-wal", true, 0.5, 1,
			of(at(1024, 1024), "ours", "wal", Rate)},
	}
	reads := busy
	reads.Reads = 1
	bars = append(bars, Bar{"reads/s / writes/s, 1,024 outstanding", true, 2, 5,
		r.between(reads, "ours", busy, "ours", Rate)})
	bars = append(bars, Bar{"peak MiB per node", false, 300, 150, r.memory()})
	for _, n := range []int{7, 10} {
		w := busy
		w.Nodes = n
		least := 4 / float64(n)
		if n == 10 {
			least *= 0.7
		}
		bars = append(bars, Bar{fmt.Sprintf("%d nodes / 4 nodes", n), true, least, least,
			r.between(w, "ours", busy, "ours", Rate)})
	}
	return bars
}

// between is one row's figure over another's, round by round within one workload.
func (r *Report) between(w plan.Workload, a string, v plan.Workload, b string, f Figure) float64 {
	of, to := r.row(w, a), r.row(v, b)
	switch {
	case of == nil || to == nil:
		return math.NaN()
	case w == v:
		return ratio(of, to, f).Median
	default:
		return of.Of(f).Median / to.Of(f).Median
	}
}

func (r *Report) row(w plan.Workload, name string) *Row {
	for i := range r.Groups {
		if r.Groups[i].Workload == w {
			return r.Groups[i].Row(name)
		}
	}
	return nil
}

// memory is the most that one of our nodes took in any of the plain runs of four.
func (r *Report) memory() float64 {
	most := math.NaN()
	for _, g := range r.plain(4) {
		for _, name := range []string{"ours", "single"} {
			if row := g.Row(name); row != nil && len(row.Valid()) > 0 {
				v := row.Of(MemoryOf(4)).High
				if math.IsNaN(most) || v > most {
					most = v
				}
			}
		}
	}
	return most
}

// WriteBars writes those of the bars that can be judged.
func (r *Report) WriteBars(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	some := false
	for _, b := range r.Bars() {
		if math.IsNaN(b.Value) {
			continue
		}
		if !some {
			fmt.Fprintln(t, "\nwhat we set out to reach\tbar\taim\there\t")
			some = true
		}
		sign := "≤"
		if b.Least {
			sign = "≥"
		}
		fmt.Fprintf(t, "%s\t%s %s\t%s %s\t%s\t%s\n", b.Title, sign, number(b.Bar), sign,
			number(b.Aim), number(b.Value), b.Verdict())
	}
	return t.Flush()
}
