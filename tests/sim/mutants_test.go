//go:build mutant

package sim

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/internal/mutant"
	"tangaroa/tests/mutants"
)

// TestMutantsAreKilled breaks one rule at a time: each that the table gives seeds or an attack to
// must break one of the invariants named there. Tests of single rules kill all of them; see package
// tests/mutants. With -quick those that any seed kills have four. With -record it counts how many
// seeds each takes.
func TestMutantsAreKilled(t *testing.T) {
	for _, m := range mutants.Table() {
		if len(m.Invariants) > 0 && (*only == "" || mutant.ID(*only) == m.ID) {
			t.Run(string(m.ID), func(t *testing.T) { requireKilled(t, m) })
		}
	}
	require.Empty(t, sweep(*first, batch, func(*World) {}), "the unbroken code must pass")
}

func requireKilled(t *testing.T, m mutants.Mutant) {
	mutant.Set(m.ID)
	defer mutant.Set(mutant.None)
	if m.Attack != "" {
		requireKilledUnderAttack(t, m)
	}
	if m.Pace != "" {
		require.Contains(t, m.Invariants, paceUnder(t, m), "%s under %s", m.ID, m.Pace)
	}
	switch {
	case m.Seeds == 0 || *quick && m.Seeds > batch:
	case *quick:
		h := &hunt{m: m}
		require.Positive(t, h.in(*first, 4), "it survives four seeds, which break %q", h.other)
	case *record:
		recordMedian(t, m)
	default:
		stillKilled(t, m)
	}
}

// underAttack is how many runs an attack may take: in some it depends on what comes first.
const underAttack = 20

// requireKilledUnderAttack lets one of four attack until an invariant breaks that the table names.
func requireKilledUnderAttack(t *testing.T, m mutants.Mutant) {
	for seed := range uint64(underAttack) {
		w, _ := attackWorldOf(m.Keys, 4, m.Attack, 1, 4+seed)
		var v *Violation
		if errors.As(w.Run(), &v) {
			require.Contains(t, m.Invariants, v.Invariant, "%s under %s: %v", m.ID, m.Attack, v)
			return
		}
	}
	require.Fail(t, "it survives", "%s under %s", m.ID, m.Attack)
}

// paceUnder returns the invariant that breaks when the first leader attacks: L6 if the cluster is
// under half the pace that it has, mutant and all, without the attack.
func paceUnder(t *testing.T, m mutants.Mutant) string {
	c := course{nodes: 4, delay: 10, length: 12_000}
	whole, _ := c.run(t)
	c.attack = m.Pace
	done, w := c.run(t)
	w.watch.paced(done, whole)
	if v := w.watch.err; v != nil {
		return v.Invariant
	}
	return "none"
}

// hunt counts how many seeds run until a mutant is killed.
type hunt struct {
	m     mutants.Mutant
	other []string // what was broken besides, and does not count
	found *failure
}

// in returns how many seeds from one on run until one breaks an invariant that the table names, 0
// if none of them does.
func (h *hunt) in(from uint64, most int) int {
	for done, step := 0, 2; done < most; done, step = done+step, min(2*step, batch) {
		step = min(step, most-done)
		for _, f := range sweep(from+uint64(done), step, func(*World) {}) {
			var v *Violation
			if errors.As(f.err, &v) && slices.Contains(h.m.Invariants, v.Invariant) {
				h.found = &f
				return int(f.opt.Seed-from) + 1
			}
			h.other = append(h.other, f.err.Error())
		}
	}
	return 0
}

// ranges is how many disjoint ranges of seeds a mutant is hunted in, and rangeSeeds how far apart
// they begin.
const (
	ranges     = 5
	rangeSeeds = 1000
)

// recordMedian counts in all ranges and writes the median down.
func recordMedian(t *testing.T, m mutants.Mutant) {
	var counts []int
	for k := range uint64(ranges) {
		h := &hunt{m: m}
		n := h.in(*first+k*rangeSeeds, m.Seeds)
		if n == 0 {
			n = m.Seeds + 1
		}
		counts = append(counts, n)
	}
	slices.Sort(counts)
	median := counts[ranges/2]
	t.Logf("%s: %v", m.ID, counts)
	require.LessOrEqual(t, median, m.Seeds, "it survives most ranges of seeds: %v", counts)
	recorded[m.ID] = median
	require.NoError(t, os.WriteFile("../mutants/medians.txt",
		[]byte(mutants.MediansText(recorded)), 0o644))
}

// recorded is how many seeds each mutant took when they were counted last.
var recorded = mutants.Medians()

// slack is by how much a median may have grown, and leastSeeds how many seeds any mutant is given.
const (
	slack      = 3
	leastSeeds = 20
)

// stillKilled makes sure that the median has not grown by more than the slack: in most of the
// ranges the mutant is killed within so many seeds. It looks at no more ranges than it needs to.
func stillKilled(t *testing.T, m mutants.Mutant) {
	most := max(m.Seeds, leastSeeds)
	median := recorded[m.ID]
	if median > 0 {
		most = max(min(slack*median, m.Seeds), leastSeeds)
	}
	h, killed, survived := &hunt{m: m}, 0, 0
	for k := uint64(0); killed <= ranges/2; k++ {
		n := h.in(*first+k*rangeSeeds, most)
		if n > 0 {
			killed++
			t.Logf("%s is killed by seed %d: %v", m.ID, h.found.opt.Seed, h.found.err)
			if *keep {
				keepSchedule(t, m.ID, h.found.opt)
				return
			}
			continue
		}
		survived++
		require.LessOrEqual(t, survived, ranges/2, "it took %d seeds once and now more than %d, "+
			"which break %q", median, most, h.other)
	}
}

// keepSchedule shrinks what killed a mutant and keeps it.
func keepSchedule(t *testing.T, id mutant.ID, o Options) {
	name := string(id)
	s := Shrink(&Schedule{Kills: name, Options: o, Faults: Plan(o)}, *small)
	s.Why = fmt.Sprintf("found by seed %d", o.Seed)
	require.NoError(t, os.WriteFile("testdata/schedules/kills-"+name+".json", s.Encode(), 0o644))
	t.Logf("%s", s.Encode())
}

// TestSchedulesKillTheirMutants plays what once killed a mutant: it does so again, by the same
// invariant.
func TestSchedulesKillTheirMutants(t *testing.T) {
	paths, err := filepath.Glob("testdata/schedules/kills-*.json")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			s, err := ReadSchedule(path)
			require.NoError(t, err)
			mutant.Set(mutant.ID(s.Kills))
			defer mutant.Set(mutant.None)
			v := s.run()
			require.NotNil(t, v, "%s survives", s.Kills)
			require.Equal(t, s.Breaks, v.Invariant)
			m, ok := mutants.Of(mutant.ID(s.Kills))
			require.True(t, ok)
			require.Contains(t, m.Invariants, v.Invariant, "the table names what kills it")
		})
	}
}

var (
	only   = flag.String("mutant", "", "look at this mutant alone")
	quick  = flag.Bool("quick", false, "look at those only that are killed at once")
	record = flag.Bool("record", false, "count how many seeds kill each mutant and write it down")
	keep   = flag.Bool("keep", false, "keep a schedule for each mutant that is killed")
)

// batch is the most seeds that run before the verdict is looked at.
const batch = 20
