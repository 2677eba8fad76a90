package sim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCheckpointsAreCertifiedUnderSteadyLoad is R2 where it takes much longer to write a checkpoint
// than until the next is due: however different the disks and clocks of the nodes are, and whenever
// they restart, under a load that never ends they come to take the same, and their logs stay
// bounded. With one node down all others have to; without, they must not leave the slow one behind,
// also where it hears only of them, and not of all, what they certify among themselves.
func TestCheckpointsAreCertifiedUnderSteadyLoad(t *testing.T) {
	down := func(w *World) { w.crashFor(w.nodes[1], 2*w.opt.Chaos, 0) }
	deaf := func(w *World) {
		w.net.sever(1, 3, 1)
		w.net.sever(3, 1, 1)
	}
	for name, c := range map[string]struct {
		slow  int // milliseconds for each chunk
		begin func(*World)
	}{
		"alike": {0, func(*World) {}}, "one slow": {40, func(*World) {}},
		"alike, one down": {0, down}, "one slow, one down": {40, down},
		"one slow that does not hear one": {60, deaf},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steady := course{
				nodes: 4, delay: 3, length: 32_000, clients: 1, seed: uint64(c.slow + 1),
				adjust: func(o *Options) {
					o.Checkpoints, o.ChunkBytes, o.Keep = 10, 4096, 5
					o.Drift = []int{100, 0, -100, 40}
				},
			}
			w := steady.world()
			w.nodes[3].chunkTime = c.slow
			c.begin(w)
			for i, at := range map[int]int{0: 1000, 2: 2100, 3: 3700} {
				w.later(at, func() { w.crashFor(w.nodes[i], 100, 0) })
			}
			steady.drive(t, w)
			for _, m := range w.nodes {
				if m.proc == nil {
					continue
				}
				info, _ := m.disk.Snapshot()
				require.Less(t, m.proc.Executed().Index-info.At.Index, m.proc.Executed().Index/2,
					"the newest checkpoint of node %d", m.id)
				require.Greater(t, m.proc.Stats().Checkpoints, uint64(1), "of node %d", m.id)
			}
		})
	}
}
