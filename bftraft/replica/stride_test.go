package replica

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
)

// TestK1NodesWithDifferentStridesTakeTheSame is what strides are for: of any that are due, a wider
// one takes some of what a narrower one takes, and one for each multiple that lies between two.
func TestK1NodesWithDifferentStridesTakeTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		strides := make([]stride, 12)
		for i := range strides {
			strides[i].bits = i
		}
		due, multiples, taken := bftraft.Index(0), make([]int, 12), make([]int, 12)
		for range 200 {
			before := due
			due += bftraft.Index(1 + r.IntN(1<<r.IntN(12)))
			narrower := true
			for i := range strides {
				takes := strides[i].takes(due)
				require.True(t, narrower || !takes, "%d is taken with %d bits alone", due, i)
				if narrower = takes; takes {
					taken[i]++
				}
				if (due>>i)<<i > before {
					multiples[i]++
				}
			}
		}
		require.Equal(t, multiples, taken)
	}
}
