package replica

import (
	"math"
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
		strides := make([]stride, 12) // which are content to leave out many
		for i := range strides {
			strides[i].bits, strides[i].took = i, math.MaxInt32
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

// TestK1StridesGoByHowManyAreLeftOut: entries of now may be a thousand times as large as those by
// which a stride was found, and what kept checkpoints from being certified may be over.
func TestK1StridesGoByHowManyAreLeftOut(t *testing.T) {
	s := stride{}
	due := bftraft.Index(0)
	next := func(apart bftraft.Index) (left int) {
		for due += apart; !s.takes(due); due += apart {
			left++
		}
		return left
	}
	require.Zero(t, next(1000))
	s.widen(5000) // five were due meanwhile
	s.kept(5500, 5)
	require.LessOrEqual(t, next(1000), 8)
	require.LessOrEqual(t, next(1), 3*8*(5+1), "small intervals, as large entries make them")

	for range 10 {
		next(1000)
		s.widen(1 << 20) // nobody is ready, however long it takes
		before := s.since
		require.LessOrEqual(t, next(1000), 3*max(before, 8*(5+1)))
	}
}
