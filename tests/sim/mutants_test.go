//go:build mutant

package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/internal/mutant"
	"tangaroa/tests/mutants"
)

// TestMutantsAreKilled breaks one rule at a time: the sweep must notice each that the table gives
// seeds to. Tests of single rules kill the others; see package tests/mutants.
func TestMutantsAreKilled(t *testing.T) {
	for _, m := range mutants.Table() {
		if m.Seeds == 0 && *only == "" || *only != "" && mutant.ID(*only) != m.ID {
			continue
		}
		mutant.Set(m.ID)
		killed := false
		for s := *first; s < *first+uint64(max(m.Seeds, batch)) && !killed; s += batch {
			for _, f := range sweep(s, batch, func(*World) {}) {
				t.Logf("%s is killed by seed %d: %v", m.ID, f.opt.Seed, f.err)
				killed = true
				if *keep {
					keepSchedule(t, m.ID, f.opt)
				}
				break
			}
		}
		require.True(t, killed, "%s survives %d seeds", m.ID, m.Seeds)
	}
	mutant.Set(mutant.None)
	require.Empty(t, sweep(*first, batch, func(*World) {}), "the unbroken code must pass")
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
	only = flag.String("mutant", "", "look at this mutant alone")
	keep = flag.Bool("keep", false, "keep a schedule for each mutant that is killed")
)

// batch is how many seeds run before the verdict is looked at.
const batch = 20
