package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	seeds = flag.Int("seeds", 400, "number of seeds to sweep")
	first = flag.Uint64("first", 1, "first seed of the sweep")
	seed  = flag.Uint64("seed", 0, "run this one seed and tell all of it")
	file  = flag.String("schedule", "", "run the schedule in this file and tell all of it")
	into  = flag.String("report", "", "write what the sweep covered into this document")
	small = flag.Int("shrink", 300, "how many runs to spend on shrinking a failure")
)

// TestMain lets the garbage collector rest: the runs are short and many.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

// TestSweep runs a range of seeds; each must keep every invariant, and together they must have
// met every kind of trouble.
func TestSweep(t *testing.T) {
	switch {
	case *seed != 0:
		o := Expand(*seed)
		tell(t, &Schedule{Options: o, Faults: Plan(o)})
		return
	case *file != "":
		s, err := ReadSchedule(*file)
		require.NoError(t, err)
		tell(t, s)
		return
	}
	start := time.Now()
	var mu sync.Mutex
	tally := NewTally()
	failed := sweep(*first, *seeds, func(w *World) {
		mu.Lock()
		defer mu.Unlock()
		tally.Add(w)
	})
	for i, f := range failed {
		t.Errorf("seed %d: %v\noptions: %v\nrepeat with: make sim SEED=%d", f.opt.Seed, f.err,
			f.opt, f.opt.Seed)
		if i == 0 {
			shrink(t, f.opt)
		}
	}
	t.Logf("%.0f times real time\n%v", float64(tally.Millis)/1000/time.Since(start).Seconds(), tally)
	require.Equal(t, *seeds, tally.Seeds)
	if *into != "" && len(failed) == 0 {
		report(t, *into, tally)
	}
	require.Greater(t, tally.Accepted, 10**seeds, "the sweep must do real work")
	if *seeds >= 200 {
		require.Empty(t, tally.Rare(10), "every fault must have had its effect in some runs")
	}
}

// report puts what a sweep covered between the two marks of a document.
func report(t *testing.T, path string, tally *Tally) {
	const from, to = "<!-- sweep -->\n", "<!-- end of sweep -->"
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(old), from)
	require.True(t, ok, "%s has no place for the report", path)
	_, tail, ok := strings.Cut(rest, to)
	require.True(t, ok, "%s has no place for the report", path)
	text := fmt.Sprintf("%s%s\nSeeds %d to %d: %v\n%s%s", head, from, *first,
		*first+uint64(*seeds)-1, tally, to, tail)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

// shrink looks for the shortest schedule that fails like the seed, and tells how it ends.
func shrink(t *testing.T, o Options) {
	s := Shrink(&Schedule{Why: fmt.Sprint("seed ", o.Seed), Options: o, Faults: Plan(o)}, *small)
	path := filepath.Join(os.TempDir(), fmt.Sprintf("sim-seed-%d.json", o.Seed))
	if err := os.WriteFile(path, s.Encode(), 0o644); err != nil {
		t.Logf("the schedule is not kept: %v", err)
	}
	t.Logf("shrunk to this, which is in %s:\n%s\nhow it ends:\n%s\nrepeat with: "+
		"make sim SCHEDULE=%s", path, s.Encode(), strings.Join(s.Tail(30), "\n"), path)
}

// TestSchedulesThatFailedBefore runs what found bugs, or kills a mutant: unbroken code passes.
func TestSchedulesThatFailedBefore(t *testing.T) {
	paths, err := filepath.Glob("testdata/schedules/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			s, err := ReadSchedule(path)
			require.NoError(t, err)
			require.NotEmpty(t, s.Why)
			require.NoError(t, s.World().Run())
		})
	}
}

// TestSeedIsOneRun is the canary of determinism: a seed run twice, once beside other work, is the
// same run event for event.
func TestSeedIsOneRun(t *testing.T) {
	var traces [2][12]uint64
	for round := range traces {
		sweep(*first, len(traces[round]), func(w *World) {
			traces[round][w.opt.Seed-*first] = w.trace
		})
	}
	require.Equal(t, traces[0], traces[1])
	require.NotEqual(t, traces[0][0], traces[0][1], "seeds differ")
}

type failure struct {
	opt Options
	err error
}

// sweep runs n seeds on all processors and returns those that failed, in order.
func sweep(from uint64, n int, each func(*World)) []failure {
	results := make([]error, n)
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				w := NewWorld(Expand(from + uint64(i)))
				results[i] = w.Run()
				each(w)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	var failed []failure
	for i, err := range results {
		if err != nil {
			failed = append(failed, failure{Expand(from + uint64(i)), err})
		}
	}
	return failed
}

// tell runs a schedule and tells all that happens in it.
func tell(t *testing.T, s *Schedule) {
	w := s.World()
	t.Logf("options: %v\nfaults: %+v", w.opt, w.plan)
	w.Log = func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	err := w.Run()
	for _, m := range w.nodes {
		if m.proc != nil {
			s := m.proc.Core()
			t.Logf("node %d attacks=%v term=%d leader=%d lock=%d,%d tip=%d commit=%d faulty=%v "+
				"suspects=%v", m.id, m.attacks, s.Term, s.Leader, s.Lock.Term, s.Lock.Index,
				s.Tip.Index, s.Commit.Index, s.Faulty, s.Suspects)
		}
	}
	tally := NewTally()
	tally.Add(w)
	t.Logf("trace %016x\n%v", w.trace, tally)
	require.NoError(t, err)
}
