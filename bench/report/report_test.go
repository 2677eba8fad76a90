package report

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bench/attack"
	"tangaroa/bench/contestant"
	"tangaroa/bench/load"
	"tangaroa/bench/plan"
	"tangaroa/bench/run"
)

func outcome(rate float64) *run.Outcome {
	return &run.Outcome{
		Result: load.Result{
			Ops: uint64(rate), Rate: rate, Seconds: 1,
			Usage: load.Usage{CPU: time.Second, PeakRSS: 40 << 20},
		},
		Counts: contestant.Counts{contestant.Messages: 2 * rate},
	}
}

func void() *run.Outcome { return &run.Outcome{Void: "3 operations failed"} }

// sample is a small report in which one round of ours does not count.
func sample() *Report {
	busy := plan.Workload{Nodes: 4, ValueBytes: 128, Outstanding: 1024}
	row := func(name string, outcomes ...*run.Outcome) Row {
		return Row{Contestant: name, Outcomes: outcomes}
	}
	profiled := row("plain", outcome(400), outcome(100), outcome(400))
	profiled.Cost = map[string]float64{partDisk: 3, partRest: 1}
	return &Report{Commit: "abc", Groups: []Group{{Workload: busy, Rows: []Row{
		row("ours", outcome(100), void(), outcome(300)), profiled,
		row("wal", outcome(200), outcome(200), outcome(200)),
		row("etcd", &run.Outcome{NotStarted: "no port is free"}),
	}}}}
}

func TestMedianAndSpreadLeaveOutWhatIsVoid(t *testing.T) {
	g := &sample().Groups[0]
	s := g.Row("ours").Of(Rate)
	require.Equal(t, Stat{200, 100, 300}, s)
	require.InDelta(t, 0.5, s.Spread(), 1e-9)
	require.False(t, g.Row("etcd").Of(Rate).Known())
	require.True(t, math.IsNaN(g.Row("wal").Of(Count(contestant.Signed)).Median))
	require.InDelta(t, 2, g.Row("wal").Of(Count(contestant.Messages)).Median, 1e-9)
}

func TestRatiosAreTakenWithinARound(t *testing.T) {
	g := &sample().Groups[0]
	// Round 1 gives 100/400, round 3 gives 300/400; of the medians it would be 200/400.
	require.Equal(t, Stat{0.5, 0.25, 0.75}, ratio(g.Row("ours"), g.Row("plain"), Rate))
	require.Equal(t, "plain", g.shoes().Contestant)
	require.Equal(t, "wal", g.best().Contestant, "plain Raft in our shoes is not among the others")
}

func TestTablesNameWhatDidNotStartOrDoesNotCount(t *testing.T) {
	var b strings.Builder
	r := sample()
	require.NoError(t, WriteGroup(&b, &r.Groups[0]))
	for _, text := range []string{b.String(), r.Markdown()} {
		require.Contains(t, text, "did not start: no port is free")
		require.Contains(t, text, "void: 3 operations failed")
	}
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(strings.TrimSpace(line), "etcd ") {
			require.NotContains(t, strings.SplitN(line, "did not start", 2)[0], "0",
				"what did not start is not shown as zero")
		}
	}
}

func TestBarsSayWhetherTheyAreReached(t *testing.T) {
	verdicts := map[string]string{}
	for _, b := range sample().Bars() {
		verdicts[b.Title] = b.Verdict()
	}
	require.Equal(t, "reaches the aim",
		Bar{Least: true, Bar: 1, Aim: 2, Value: 2}.Verdict())
	require.Equal(t, "holds", Bar{Least: false, Bar: 3, Aim: 1, Value: 3}.Verdict())
	require.Equal(t, "MISSED", Bar{Least: false, Bar: 3, Aim: 1, Value: 3.1}.Verdict())
	require.Equal(t, "MISSED", verdicts["the same / plain Raft in the same shoes"])
	require.Equal(t, "holds", verdicts["bundled, 1,024 outstanding: ours / hashicorp+raft-wal"])
	require.Equal(t, "not measured", verdicts["the same / etcd server"])
}

func TestResultsAreWrittenAndReadAgain(t *testing.T) {
	dir := t.TempDir()
	r := sample()
	require.NoError(t, r.Write(dir))
	again, err := Read(dir)
	require.NoError(t, err)
	require.Equal(t, r, again)
	table, err := os.ReadFile(filepath.Join(dir, CSVName))
	require.NoError(t, err)
	require.Equal(t, 1+3+3+3+1, strings.Count(string(table), "\n"))
	for _, name := range []string{"throughput.svg", "throughput.png", "latency.svg", "cost.png"} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Positive(t, info.Size())
	}
}

func TestDocumentKeepsWhatIsWrittenByHand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.md")
	require.NoError(t, os.WriteFile(path, []byte("by hand\n"), 0o600))
	require.ErrorIs(t, sample().WriteDocs(path, nil), errNoPlace)
	text := "above\n" + docsBegin + "\nold\n" + docsEnd + "\nbelow\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	for range 2 {
		require.NoError(t, sample().WriteDocs(path, nil))
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(got), "above\n"+docsBegin))
	require.True(t, strings.HasSuffix(string(got), docsEnd+"\nbelow\n"))
	require.NotContains(t, string(got), "\nold\n")
	require.Equal(t, 1, strings.Count(string(got), "## Side by side"))
	require.Contains(t, string(got), "- 7 nodes, 128 B, 1024 outstanding, puts: `ours`")
}

func TestAttacksSayWhatWasLost(t *testing.T) {
	a := &Attacks{Groups: []AttackGroup{{Does: "somebody lies", Rows: []AttackRow{
		{"plain", &run.Outcome{Attack: &attack.Result{Lost: 3, Writers: 64}}},
		{"ours", &run.Outcome{Void: "it fell over"}},
	}}}}
	text := a.Markdown()
	require.Contains(t, text, "| somebody lies | plain |")
	require.Contains(t, text, "3 of 64")
	require.Contains(t, text, "it fell over")
	require.Len(t, a.Groups[0].Rows[0].Cells(), len(AttackColumns()))
	path := filepath.Join(t.TempDir(), "d.md")
	require.NoError(t, os.WriteFile(path, []byte(docsBegin+"\n"+docsEnd), 0o600))
	require.NoError(t, sample().WriteDocs(path, a))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(got), "## What a liar costs")
	none, err := ReadAttacks(t.TempDir())
	require.NoError(t, err)
	require.Nil(t, none)
}

func TestContestantThatDoesNotFlushIsVoid(t *testing.T) {
	lonely := plan.Workload{Nodes: 4, ValueBytes: 128, Outstanding: 1}
	counted := func(each float64) *run.Outcome {
		o := outcome(100)
		o.Counts[contestant.Syncs] = 100 * each
		return o
	}
	sound := &Row{Outcomes: []*run.Outcome{outcome(100)}}
	sound.CountSyncs(lonely, counted(2.9))
	require.InDelta(t, 2.9, *sound.Syncs, 1e-9)
	require.Len(t, sound.Valid(), 1)

	lazy := &Row{Outcomes: []*run.Outcome{outcome(100)}}
	lazy.CountSyncs(lonely, counted(1))
	require.Empty(t, lazy.Valid())
	require.Contains(t, lazy.Trouble(), "durability is off")

	unknown := &Row{Outcomes: []*run.Outcome{outcome(100)}}
	unknown.CountSyncs(lonely, outcome(100))
	require.Nil(t, unknown.Syncs)
	require.Len(t, unknown.Valid(), 1)
}
