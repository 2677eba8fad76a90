package report

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"tangaroa/bench/contestant"
	"tangaroa/bench/plan"
	"tangaroa/bench/run"
)

// The lines between which the generated part of a document lies.
const (
	docsBegin = "<!-- What follows is written by \"go run . docs\" in bench/. -->"
	docsEnd   = "<!-- Here it ends. -->"
)

// errNoPlace is returned when a document does not say where the generated part goes.
var errNoPlace = errors.New("the document has no lines between which the results go")

// WriteDocs puts the report, and the attacks unless they are nil, between the two lines of the
// document.
func (r *Report) WriteDocs(path string, attacks *Attacks) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the document: %w", err)
	}
	before, rest, ok := strings.Cut(string(old), docsBegin)
	_, after, ended := strings.Cut(rest, docsEnd)
	if !ok || !ended {
		return fmt.Errorf("%w: %s", errNoPlace, path)
	}
	text := r.Markdown()
	if attacks != nil {
		text += attacks.Markdown()
	}
	whole := before + docsBegin + "\n" + text + "\n" + docsEnd + after
	return os.WriteFile(path, []byte(whole), 0o644)
}

// Markdown returns the report as text for people.
func (r *Report) Markdown() string {
	var b bytes.Buffer
	m := r.Machine
	fmt.Fprintf(&b, "\n## Side by side\n\n")
	fmt.Fprintf(&b, "Commit %s, %s, `%s`: %.0f minutes on %s, %d cores, %.0f GiB, %s, %s, load "+
		"before %.1f.\n\n", r.Commit, r.Began.Format("2006-01-02 15:04 MST"), r.Command, r.Took/60,
		m.Processor, m.Cores, m.MemoryGiB, m.System, m.Go, m.Load)
	b.WriteString(intro)
	for _, c := range contestant.All() {
		fmt.Fprintf(&b, "- `%s`, %s: %s.\n", c.Name, c.Title, c.Does)
	}
	r.markdownBars(&b)
	for i := range r.Groups {
		if r.Groups[i].Workload.Adversary == "" {
			markdownGroup(&b, &r.Groups[i])
		}
	}
	r.markdownLiars(&b)
	r.markdownCost(&b)
	r.markdownMissing(&b)
	return b.String()
}

const intro = `Figures are medians of the rounds, "±" half the distance between the extremes.
"x shoes" is the ratio to plain Raft in the same shoes, "x best" to the fastest of hashicorp/raft
and etcd, taken round by round. All nodes and the client share the machine and one process;
everything is on disk at a quorum before it is acknowledged; runs of one workload alternate.
"pause" is the longest time in which no operation ended. "disk" is what the kernel was handed,
files made beforehand included (raft-wal makes some of 64 MiB), "flush" how often a node waited for
it, "sync" how often the kernel was asked to flush, in a run of its own under strace. Ours and plain
Raft in its shoes run with GOMAXPROCS and GOGC as bftnode sets them (8 at least, 50); the others run
as they come. Repeat it with ` + "`make bench`" + `.

`

func (r *Report) markdownBars(b *bytes.Buffer) {
	b.WriteString("\n### What we set out to reach\n\n")
	b.WriteString("| | bar | aim | here | |\n|---|---|---|---|---|\n")
	for _, bar := range r.Bars() {
		sign := "≤"
		if bar.Least {
			sign = "≥"
		}
		fmt.Fprintf(b, "| %s | %s %s | %s %s | %s | %s |\n", bar.Title, sign, number(bar.Bar), sign,
			number(bar.Aim), number(bar.Value), bar.Verdict())
	}
}

func markdownGroup(b *bytes.Buffer, g *Group) {
	fmt.Fprintf(b, "\n### %s\n\n| |", g.Workload)
	for _, c := range columns() {
		fmt.Fprintf(b, " %s |", c.title)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(columns())) + "\n")
	for i := range g.Rows {
		row := &g.Rows[i]
		fmt.Fprintf(b, "| %s |", row.Contestant)
		for _, c := range columns() {
			cell := ""
			if len(row.Valid()) > 0 {
				cell = c.value(g, row)
			}
			fmt.Fprintf(b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	for i := range g.Rows {
		if why := g.Rows[i].Trouble(); why != "" {
			fmt.Fprintf(b, "\n`%s` %s.\n", g.Rows[i].Contestant, oneLine(why))
		}
	}
}

// markdownLiars says what each lie leaves of the speed without one.
func (r *Report) markdownLiars(b *bytes.Buffer) {
	begun := false
	for i := range r.Groups {
		g := &r.Groups[i]
		if g.Workload.Adversary == "" {
			continue
		}
		if !begun {
			begun = true
			b.WriteString("\n### One of the nodes lies\n\n| contestant | workload | ops/s | of what it " +
				"does without | p99 ms | pause ms |\n|---|---|---|---|---|---|\n")
		}
		calm := g.Workload
		calm.Adversary, calm.AsLeader = "", false
		for k := range g.Rows {
			row := &g.Rows[k]
			if len(row.Valid()) == 0 {
				fmt.Fprintf(b, "| %s | %s | %s |\n", row.Contestant, g.Workload, oneLine(row.Trouble()))
				continue
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", row.Contestant, g.Workload,
				number(row.Of(Rate).Median),
				percent(r.between(g.Workload, row.Contestant, calm, row.Contestant, Rate)),
				number(row.Of(func(o *run.Outcome) float64 { return o.Result.Latency.P99 }).Median),
				number(row.Of(func(o *run.Outcome) float64 { return o.Result.LongestMS }).Median))
		}
	}
}

// oneLine is the beginning of a text, fit for a sentence.
func oneLine(text string) string {
	const most = 200
	text = strings.Join(strings.Fields(text), " ")
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// markdownCost says where processor time goes, as the profiles have it.
func (r *Report) markdownCost(b *bytes.Buffer) {
	begun := false
	for i := range r.Groups {
		g := &r.Groups[i]
		for k := range g.Rows {
			row := &g.Rows[k]
			if row.Cost == nil {
				continue
			}
			if !begun {
				begun = true
				b.WriteString("\n### Where processor time goes, in µs per operation\n\n| |")
				for _, part := range Parts() {
					fmt.Fprintf(b, " %s |", part)
				}
				b.WriteString("\n|---|" + strings.Repeat("---|", len(Parts())) + "\n")
			}
			fmt.Fprintf(b, "| %s, %s |", row.Contestant, g.Workload)
			for _, part := range Parts() {
				fmt.Fprintf(b, " %s |", number(row.Cost[part]))
			}
			b.WriteString("\n")
		}
	}
	if begun {
		b.WriteString("\nFrom one profiled run each. TLS counts as network: what counts is what a " +
			"function is\ncalled for.\n")
	}
}

// markdownMissing says what was not measured.
func (r *Report) markdownMissing(b *bytes.Buffer) {
	b.WriteString("\n### What was not measured\n\n" + never)
	all := make([]string, 0, len(contestant.All()))
	for _, c := range contestant.All() {
		all = append(all, c.Name)
	}
	for _, c := range plan.Full(all, 1) {
		var missing []string
		for _, name := range c.Contestants {
			if row := r.row(c.Workload, name); row == nil || len(row.Valid()) == 0 {
				missing = append(missing, "`"+name+"`")
			}
		}
		if len(missing) > 0 {
			fmt.Fprintf(b, "- %s: %s\n", c.Workload, strings.Join(missing, ", "))
		}
	}
}

const never = `- A network: all is on loopback, so a round trip takes no time but the processor's.
- A machine for each node: here every node's work slows all others.
- Messages and bytes between nodes of etcd; those of hashicorp/raft are writes to its sockets, and
  its client is in the leader's process.
- Signatures that the client verifies: "verify" is of the nodes alone.
- Runs of more than seconds: log compaction, snapshots, a full cache.
- Power loss: that flushes reach the disk is taken from the kernel.
`
