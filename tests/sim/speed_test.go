package sim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkFourNodes plays seeds of the sweep that have four nodes and signatures that are quick to
// make, on one processor, and reports how much faster than the clock their time goes by.
func BenchmarkFourNodes(b *testing.B) {
	virtual := 0
	for seed := uint64(1); b.Loop(); seed++ {
		o := Expand(seed)
		for o.Nodes != 4 || o.RealKeys {
			seed++
			o = Expand(seed)
		}
		w := NewWorld(o)
		require.NoError(b, w.Run())
		virtual += w.now
	}
	b.ReportMetric(float64(virtual)/1000/b.Elapsed().Seconds(), "x-real-time")
}
