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
)

// mutantBudget is how many seeds a mutant may survive.
const mutantBudget = 5000

// TestMutantsAreKilled breaks one rule at a time: the sweep must notice each. M12 needs more to
// come together than chance brings about; TestM12IsKilled in package bftraft plays the scene.
func TestMutantsAreKilled(t *testing.T) {
	for _, id := range mutant.All() {
		if id == mutant.M12 && *only == 0 || *only != 0 && mutant.ID(*only) != id {
			continue
		}
		mutant.Set(id)
		killed := false
		for s := *first; s < *first+mutantBudget && !killed; s += batch {
			for _, f := range sweep(s, batch, func(*World) {}) {
				t.Logf("M%02d is killed by seed %d: %v", id, f.opt.Seed, f.err)
				killed = true
				if *keep {
					keepSchedule(t, id, f.opt)
				}
				break
			}
		}
		require.True(t, killed, "M%02d survives %d seeds", id, mutantBudget)
	}
	mutant.Set(mutant.None)
	require.Empty(t, sweep(*first, batch, func(*World) {}), "the unbroken code must pass")
}

// keepSchedule shrinks what killed a mutant and keeps it.
func keepSchedule(t *testing.T, id mutant.ID, o Options) {
	name := fmt.Sprintf("M%02d", id)
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
			var n uint
			_, err = fmt.Sscanf(s.Kills, "M%d", &n)
			require.NoError(t, err)
			mutant.Set(mutant.ID(n))
			defer mutant.Set(mutant.None)
			v := s.run()
			require.NotNil(t, v, "%s survives", s.Kills)
			require.Equal(t, s.Breaks, v.Invariant)
		})
	}
}

var (
	only = flag.Uint("mutant", 0, "look at this mutant alone")
	keep = flag.Bool("keep", false, "keep a schedule for each mutant that is killed")
)

// batch is how many seeds run before the verdict is looked at.
const batch = 20
