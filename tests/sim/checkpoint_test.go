package sim

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCheckpointsAreCertifiedUnderSteadyLoad is R2 where it takes much longer to write a checkpoint
// than until the next is due: however different the disks and clocks of the nodes are, and whenever
// they restart, under a load that never ends they come to take the same, and their logs stay
// bounded. With one node down all others have to; without, they must not leave the slow one behind.
func TestCheckpointsAreCertifiedUnderSteadyLoad(t *testing.T) {
	for _, slow := range []int{0, 40} { // milliseconds for each chunk
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprint(slow, "/", down), func(t *testing.T) {
				t.Parallel()
				c := course{
					nodes: 4, delay: 3, length: 32_000, seed: uint64(slow + 1),
					adjust: func(o *Options) {
						o.Checkpoints, o.ChunkBytes, o.Keep = 10, 4096, 5
						o.Drift = []int{100, 0, -100, 40}
					},
				}
				w := c.world()
				w.nodes[3].chunkTime = slow
				if down {
					w.crashFor(w.nodes[1], 2*c.length, 0)
				}
				for i, at := range map[int]int{0: 1000, 2: 2100, 3: 3700} {
					w.later(at, func() { w.crashFor(w.nodes[i], 100, 0) })
				}
				c.drive(t, w)
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
}
