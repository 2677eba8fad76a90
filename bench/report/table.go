package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"

	"tangaroa/bench/contestant"
	"tangaroa/bench/run"
)

// column is one figure of the tables, on the terminal and in docs.
type column struct {
	title string
	value func(g *Group, r *Row) string
}

func figure(f Figure) func(*Group, *Row) string {
	return func(_ *Group, r *Row) string { return number(r.Of(f).Median) }
}

func columns() []column {
	ms := func(pick func(*run.Outcome) float64) func(*Group, *Row) string {
		return func(_ *Group, r *Row) string { return number(r.Of(pick).Median) }
	}
	return []column{
		{"ops/s", figure(Rate)},
		{"±", func(_ *Group, r *Row) string { return percent(r.Of(Rate).Spread()) }},
		{"x shoes", func(g *Group, r *Row) string { return against(r, g.shoes()) }},
		{"x best", func(g *Group, r *Row) string { return against(r, g.best()) }},
		{"p50 ms", ms(func(o *run.Outcome) float64 { return o.Result.Latency.P50 })},
		{"p99", ms(func(o *run.Outcome) float64 { return o.Result.Latency.P99 })},
		{"p99.9", ms(func(o *run.Outcome) float64 { return o.Result.Latency.P999 })},
		{"pause", ms(func(o *run.Outcome) float64 { return o.Result.LongestMS })},
		{"cpu µs/op", figure(CPU)},
		{"disk B/op", figure(Written)},
		{"flush/op", figure(Count(contestant.Flushes))},
		{"sync/op", func(_ *Group, r *Row) string {
			if r.Syncs == nil {
				return ""
			}
			return number(*r.Syncs)
		}},
		{"msg/op", figure(Count(contestant.Messages))},
		{"sign/op", figure(Count(contestant.Signed))},
		{"verify/op", figure(Count(contestant.Verified))},
		{"op/block", func(_ *Group, r *Row) string {
			return number(1 / r.Of(Count(contestant.Blocks)).Median)
		}},
		{"MiB/node", func(g *Group, r *Row) string {
			return number(r.Of(MemoryOf(g.Workload.Nodes)).Median)
		}},
	}
}

func against(r, to *Row) string {
	if to == nil || to == r {
		return ""
	}
	return number(ratio(r, to, Rate).Median)
}

// number has three digits that count.
func number(v float64) string {
	switch {
	case math.IsNaN(v), math.IsInf(v, 0):
		return "-"
	case v == 0:
		return "0"
	case math.Abs(v) >= 100:
		return strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	case math.Abs(v) >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case math.Abs(v) >= 0.1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'f', 4, 64)
	}
}

func percent(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf("%.0f%%", 100*v)
}

// WriteGroup writes the table of one workload.
func WriteGroup(w io.Writer, g *Group) error {
	fmt.Fprintf(w, "\n%s\n", g.Workload)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "contestant\t")
	for _, c := range columns() {
		fmt.Fprint(t, c.title, "\t")
	}
	fmt.Fprintln(t)
	for i := range g.Rows {
		r := &g.Rows[i]
		fmt.Fprint(t, r.Contestant, "\t")
		for _, c := range columns() {
			cell := ""
			if len(r.Valid()) > 0 {
				cell = c.value(g, r)
			}
			fmt.Fprint(t, cell, "\t")
		}
		fmt.Fprintln(t)
	}
	err := t.Flush()
	for i := range g.Rows {
		if why := g.Rows[i].Trouble(); why != "" {
			fmt.Fprintf(w, "  %s %s\n", g.Rows[i].Contestant, why)
		}
	}
	return err
}
