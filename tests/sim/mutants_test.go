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
// tests/mutants. With -quick those that any seed kills have four.
func TestMutantsAreKilled(t *testing.T) {
	for _, m := range mutants.Table() {
		if len(m.Invariants) == 0 && *only == "" || *only != "" && mutant.ID(*only) != m.ID {
			continue
		}
		mutant.Set(m.ID)
		if m.Attack != "" {
			requireKilledUnderAttack(t, m)
		}
		if m.Pace != "" {
			require.Contains(t, m.Invariants, paceUnder(t, m), "%s under %s", m.ID, m.Pace)
		}
		switch {
		case m.Seeds == 0 || *quick && m.Seeds > batch:
		case *quick:
			bySeeds(t, m, 4, 4)
		default:
			bySeeds(t, m, max(m.Seeds, batch), batch)
		}
	}
	mutant.Set(mutant.None)
	require.Empty(t, sweep(*first, batch, func(*World) {}), "the unbroken code must pass")
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

// bySeeds runs seeds until one breaks an invariant that the table names.
func bySeeds(t *testing.T, m mutants.Mutant, most, step int) {
	var other []string
	for s := *first; s < *first+uint64(most); s += uint64(step) {
		for _, f := range sweep(s, step, func(*World) {}) {
			var v *Violation
			if !errors.As(f.err, &v) || !slices.Contains(m.Invariants, v.Invariant) {
				other = append(other, f.err.Error())
				continue
			}
			t.Logf("%s is killed by seed %d: %v", m.ID, f.opt.Seed, f.err)
			if *keep {
				keepSchedule(t, m.ID, f.opt)
			}
			return
		}
	}
	require.Fail(t, "it survives", "%s: %d seeds, which break %q", m.ID, most, other)
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
	only  = flag.String("mutant", "", "look at this mutant alone")
	quick = flag.Bool("quick", false, "look at those only that are killed at once")
	keep  = flag.Bool("keep", false, "keep a schedule for each mutant that is killed")
)

// batch is how many seeds run before the verdict is looked at.
const batch = 20
