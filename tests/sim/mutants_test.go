//go:build mutant

package sim

import (
	"flag"
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
				break
			}
		}
		require.True(t, killed, "M%02d survives %d seeds", id, mutantBudget)
	}
	mutant.Set(mutant.None)
	require.Empty(t, sweep(*first, batch, func(*World) {}), "the unbroken code must pass")
}

var only = flag.Uint("mutant", 0, "look at this mutant alone")

// batch is how many seeds run before the verdict is looked at.
const batch = 20
