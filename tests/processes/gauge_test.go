//go:build linux

package processes

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

const (
	// gaugePace is how often processes are looked at.
	gaugePace = time.Second
	// gaugeWarm is how many samples of a process are of the time in which its buffers grow.
	gaugeWarm = 90
	// gaugeLong is of how many samples a life consists at least of which it can be said whether
	// the memory of the process grew.
	gaugeLong = gaugeWarm + 90
	// gaugeSlack is how many bytes more a process may hold in the second half of its life, beside
	// a fifth: what the collector happens to have left.
	gaugeSlack = 16 << 20
	// mostResident is how much memory a process may hold at any time.
	mostResident = 512 << 20
)

// gauge takes down what the processes of a cluster hold in memory and on their disks.
type gauge struct {
	cluster  *cluster
	lives    map[*process][]int // resident bytes, a sample for each look
	whose    map[*process]crypto.NodeID
	stored   int64 // the most on one disk
	resident int   // the most in one process
}

func newGauge(c *cluster) *gauge {
	return &gauge{cluster: c, lives: map[*process][]int{}, whose: map[*process]crypto.NodeID{}}
}

// until looks again and again, until the time is over.
func (g *gauge) until(over <-chan time.Time) {
	pace := time.NewTicker(gaugePace)
	defer pace.Stop()
	for {
		select {
		case <-over:
			return
		case <-pace.C:
			g.look()
		}
	}
}

// look takes a sample of each process that runs. None may hold more than the bounds.
func (g *gauge) look() {
	t := g.cluster.t
	t.Helper()
	for id, p := range g.cluster.nodes {
		stored := sizeOf(t, filepath.Join(g.cluster.folder(id), dataName))
		require.Less(t, stored, int64(mostStored), "the disk of node %d", id)
		g.stored = max(g.stored, stored)
		if !p.running() {
			continue
		}
		held := resident(t, p.cmd.Process.Pid)
		require.Less(t, held, mostResident, "the memory of node %d", id)
		g.resident = max(g.resident, held)
		g.lives[p] = append(g.lives[p], held)
		g.whose[p] = id
	}
}

// requireFlat fails if the memory of a process grew that lived long enough to tell.
func (g *gauge) requireFlat() {
	t := g.cluster.t
	t.Helper()
	t.Logf("at most %d MiB on a disk, and %d MiB in a process", g.stored>>20, g.resident>>20)
	for _, p := range slices.SortedFunc(maps.Keys(g.lives), func(a, b *process) int {
		return a.cmd.Process.Pid - b.cmd.Process.Pid
	}) {
		life := g.lives[p]
		early, late, told := halves(life)
		t.Logf("node %d, process %d: %d samples, most %d MiB, median of the halves %d and %d MiB",
			g.whose[p], p.cmd.Process.Pid, len(life), slices.Max(life)>>20, early>>20, late>>20)
		require.False(t, told && grew(early, late), "the memory of node %d grew", g.whose[p])
	}
}

// halves returns the medians of both halves of a life without its beginning, if it was long enough.
func halves(life []int) (early, late int, told bool) {
	if len(life) < gaugeLong {
		return 0, 0, false
	}
	life = life[gaugeWarm:]
	middle := func(part []int) int {
		part = slices.Sorted(slices.Values(part))
		return part[len(part)/2]
	}
	return middle(life[:len(life)/2]), middle(life[len(life)/2:]), true
}

// grew says whether a process holds so much more later on that it would not end well.
func grew(early, late int) bool { return late > early+early/5+gaugeSlack }

func TestGaugeTellsGrowthFromNoise(t *testing.T) {
	life := func(samples int, held func(k int) int) []int {
		all := make([]int, samples)
		for k := range all {
			all[k] = held(k)
		}
		return all
	}
	const mib, often = 1 << 20, 30 * 60
	for _, c := range []struct {
		name string
		life []int
		told bool
		grew bool
	}{
		{"too short to tell", life(gaugeLong-1, func(k int) int { return k * mib }), false, false},
		{"flat", life(often, func(int) int { return 150 * mib }), true, false},
		{"a saw", life(often, func(k int) int { return (100 + k%80) * mib }), true, false},
		{"grows in the beginning only", life(often, func(k int) int {
			return min(k*4, 200) * mib
		}), true, false},
		{"one high sample", life(often, func(k int) int {
			return (100 + k/(often-1)*300) * mib
		}), true, false},
		{"grows by 4 MiB in a minute", life(often, func(k int) int {
			return 100*mib + k*4*mib/60
		}), true, true},
		{"grows by a saw", life(often, func(k int) int {
			return (100+k%40)*mib + k*4*mib/60
		}), true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			early, late, told := halves(c.life)
			require.Equal(t, c.told, told)
			require.Equal(t, c.grew, told && grew(early, late))
		})
	}
}
