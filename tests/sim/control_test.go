package sim

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
)

// breaks runs seeds of a kind until one breaks one of the given invariants, and returns which.
func breaks(t *testing.T, seeds int, options func(seed uint64) Options, ids ...string) string {
	t.Helper()
	seen := make(map[string]int)
	for seed := uint64(1); seed <= uint64(seeds); seed++ {
		w := NewWorld(options(seed))
		w.watch.blind = true
		var v *Violation
		if !errors.As(w.Run(), &v) {
			continue
		}
		seen[v.Invariant]++
		for _, id := range ids {
			if v.Invariant == id {
				t.Logf("seed %d: %v", seed, v)
				return id
			}
		}
	}
	t.Fatalf("%d seeds with more than f faulty nodes, and only %v", seeds, seen)
	return ""
}

// quiet is a world without faults but its liars'.
func quiet(seed uint64, liars ...Liar) Options {
	return Options{
		Seed: seed, Nodes: 4, Clients: 3, Keys: 1, MaxDelay: 20, Chaos: 10_000, Calm: 20_000,
		Liars: liars,
	}
}

// TestTwoLiarsOfFourBreakAgreement is the control of the whole observer: with f+1 liars that work
// together two honest nodes commit different blocks, and it is seen. One liar that does the same
// breaks nothing.
func TestTwoLiarsOfFourBreakAgreement(t *testing.T) {
	breaks(t, 20, func(seed uint64) Options {
		return quiet(seed, Liar{2, []string{plotter}}, Liar{3, []string{plotter}})
	}, "B2")
	latent := alarmsOf(func(seed uint64) Options {
		return quiet(seed, Liar{2, []string{plotter}}, Liar{3, []string{plotter}})
	})
	require.Greater(t, latent["B1"], 15, "seen before it comes to it: %v", latent)
	for seed := uint64(1); seed <= 20; seed++ {
		o := quiet(seed, Liar{2, []string{plotter}})
		o.Calm = 60_000
		require.NoError(t, NewWorld(o).Run(), "seed %d", seed)
	}
}

// alarmsOf counts which invariants twenty seeds of a kind break.
func alarmsOf(options func(seed uint64) Options) map[string]int {
	alarms := make(map[string]int)
	for seed := uint64(1); seed <= 20; seed++ {
		var v *Violation
		if errors.As(NewWorld(options(seed)).Run(), &v) {
			alarms[v.Invariant]++
		}
	}
	return alarms
}

// TestTwoVotersForAllMakeTwoLeadersPossible is the control of S1: where f+1 vote for whoever asks,
// two in a term can have the votes of a quorum.
func TestTwoVotersForAllMakeTwoLeadersPossible(t *testing.T) {
	alarms := alarmsOf(func(seed uint64) Options {
		o := quiet(seed, Liar{2, []string{"voteall"}}, Liar{3, []string{"voteall"}})
		o.Weights = map[Kind]int{KindIsolate: 1000}
		return o
	})
	require.Positive(t, alarms["S1"], "%v", alarms)
}

// TestTwoDisksPutBackLoseWrites is the control of amnesia. Nodes 1, 2 and 3 commit while node 4 is
// cut off; then the disks of 2 and 3 are put back, guards and all, and 1 is cut off: the three that
// know nothing of the commits elect a leader and commit something else. Where one of the two is
// told in time what it signed, it stops, and so does the cluster, which is the lesser evil. With
// one disk put back the other two know, and nothing is lost.
func TestTwoDisksPutBackLoseWrites(t *testing.T) {
	stopped := 0
	run := func(seed uint64, forgetful ...int) error {
		o := quiet(seed)
		o.Calm = 60_000
		w := NewWorld(o)
		for _, i := range forgetful {
			w.nodes[i].liar = true
			w.watch.lying = w.watch.lying.With(w.nodes[i].id)
		}
		w.watch.blind = true
		w.cutOff(w.nodes[3], 5000)
		w.later(5000, func() {
			for _, i := range forgetful {
				m := w.nodes[i]
				w.crash(m, 0)
				m.disk = m.disk.Restore(m.first, true)
				w.restart(m)
			}
			w.cutOff(w.nodes[0], 4900)
		})
		err := w.Run()
		var v *Violation
		if errors.As(err, &v) && v.Invariant == "L1" &&
			slices.ContainsFunc(forgetful, func(i int) bool {
				return errors.Is(w.nodes[i].proc.Flush(), replica.ErrForgot)
			}) {
			stopped++
		}
		return err
	}
	alarms := make(map[string]int)
	for seed := uint64(1); seed <= 20; seed++ {
		var v *Violation
		if errors.As(run(seed, 1, 2), &v) {
			alarms[v.Invariant]++
		}
		require.NoError(t, run(seed, 1), "seed %d", seed)
	}
	t.Logf("%v, of which %d stopped knowingly", alarms, stopped)
	// A5: a node that has the write learns of a certificate against it, and stops.
	lost := alarms["B2"] + alarms["S4"] + alarms["S5"] + alarms["B14"] + alarms["A5"]
	require.Greater(t, lost+stopped, 18)
	require.Greater(t, lost, 10, "else it is no control")
	require.Positive(t, stopped)
}

// TestDisksThatLieLoseWrites is the control of every check of durability: where no disk keeps what
// it calls flushed, a crash of all loses what clients were told.
func TestDisksThatLieLoseWrites(t *testing.T) {
	breaks(t, 50, func(seed uint64) Options {
		var all []Liar
		for i := range 3 {
			all = append(all, Liar{i + 1, []string{lyingDisk}})
		}
		o := quiet(seed, all...)
		o.Weights = map[Kind]int{KindCrashAll: 3000}
		return o
	}, "B2", "B14", "S5")
}

// TestClusterThatDoesNotComeBackIsSeen is the control of L5: when all nodes are restarted and more
// than f of them stay away, the others serve nobody, and it is seen; without f they serve.
func TestClusterThatDoesNotComeBackIsSeen(t *testing.T) {
	run := func(away int) error {
		o := quiet(uint64(away + 1))
		o.Again = true
		w := NewWorld(o)
		w.later(o.Chaos+1, func() {
			for _, m := range w.nodes[:away] {
				m.dead = true // it runs until it is restarted
			}
		})
		err := w.Run()
		require.True(t, w.again)
		return err
	}
	require.NoError(t, run(0))
	require.NoError(t, run(1))
	var v *Violation
	require.ErrorAs(t, run(2), &v)
	require.Equal(t, "L5", v.Invariant, v.Detail)
}

// TestNothingCommitsWithoutAQuorum is L8: with one node less than a quorum nothing is committed,
// however long it takes, and clients are told nothing; with it, all is served.
func TestNothingCommitsWithoutAQuorum(t *testing.T) {
	for _, n := range []int{4, 5, 6, 7, 10} {
		o := quiet(uint64(n))
		o.Nodes, o.Chaos, o.Calm = n, 1_000_000, 60_000
		w := NewWorld(o)
		down := n - quorumOf(n) + 1
		w.later(3000, func() {
			for _, m := range w.nodes[:down] {
				w.crash(m, 1000)
			}
		})
		var at bftraft.Index
		var results int
		// What was on its way when they fell is settled a second later.
		w.later(4000, func() { at, results = w.watch.highest, w.watch.results })
		w.later(300_000, func() {
			require.Equal(t, at, w.watch.highest, "%d of %d nodes commit", n-down, n)
			require.Equal(t, results, w.watch.results)
			require.Positive(t, results)
			w.opt.Chaos = w.now
			w.heal()
		})
		require.NoError(t, w.Run())
		require.Greater(t, w.watch.highest, at)
	}
}
