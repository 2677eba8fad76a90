//go:build mutant

package sim

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/internal/mutant"
)

// mutantBudget is how many seeds a mutant may survive.
const mutantBudget = 5000

// TestMutantDies runs under the mutant that the environment names: it fails, and says by which
// invariant, if a schedule that once killed it or a seed of its budget does. Package tests/mutants
// demands that it fails.
func TestMutantDies(t *testing.T) {
	name := os.Getenv(mutant.Variable)
	path := filepath.Join("testdata", "schedules", "kills-"+name+".json")
	if _, err := os.Stat(path); err == nil && !*keep {
		s, err := ReadSchedule(path)
		require.NoError(t, err)
		if v := s.run(); v != nil {
			require.Equal(t, s.Breaks, v.Invariant)
			t.Fatalf("a schedule kills %s: %v", name, v)
		}
	}
	for s := *first; s < *first+mutantBudget; s += batch {
		for _, f := range sweep(s, batch, func(*World) {}) {
			if *keep {
				keepSchedule(t, name, f.opt)
			}
			t.Fatalf("seed %d kills %s: %v", f.opt.Seed, name, f.err)
		}
	}
}

// TestUnbrokenCodeLives is the control: in a build with mutants, and none of them active, seeds
// pass.
func TestUnbrokenCodeLives(t *testing.T) {
	require.Empty(t, os.Getenv(mutant.Variable))
	require.Empty(t, sweep(*first, 2*batch, func(*World) {}))
}

// keepSchedule shrinks what killed a mutant and keeps it.
func keepSchedule(t *testing.T, name string, o Options) {
	s := Shrink(&Schedule{Kills: name, Options: o, Faults: Plan(o)}, *small)
	s.Why = "found by a sweep"
	require.NoError(t, os.WriteFile("testdata/schedules/kills-"+name+".json", s.Encode(), 0o644))
	t.Logf("%s", s.Encode())
}

// keep is for making schedules.
var keep = flag.Bool("keep", false, "keep a schedule for each mutant that is killed")

// batch is how many seeds run before the verdict is looked at.
const batch = 20
