package sim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWhoLooksForAStateIsOfferedOneByReplacedVoters is the control of SEEN-34: where logs go soon
// and all voters are replaced again and again, those who look for a state are offered one by voters
// that were replaced, and take none of these.
func TestWhoLooksForAStateIsOfferedOneByReplacedVoters(t *testing.T) {
	const first, most = 1, 100 // one of twenty seeds shows the rarest
	tally := NewTally()
	seen := func() bool {
		return tally.Hits[marks[seenInheritedState].id] > 0 &&
			tally.Hits[marks[seenLongRange].id] > 0 && tally.Hits[marks[seenInheritedReply].id] > 0
	}
	for seed := uint64(first); !seen(); seed++ {
		require.Less(t, seed, uint64(first+most), "what was seen: %v", tally.Hits)
		o := quiet(seed, Liar{2, []string{"voteall"}})
		o.Nodes, o.Spare, o.Moves, o.Heir, o.Calm = 7, 12, 150, 20, 60_000
		o.Checkpoints, o.Keep, o.ChunkBytes = 3, 1, 512
		o.Weights = map[Kind]int{KindIsolate: 700}
		w := NewWorld(o)
		require.NoError(t, w.Run(), "seed %d", seed)
		tally.Add(w)
	}
}

// TestLeadersLieAboutChanges is the control of the liars who have to lead while the voters are
// being changed: they do, and all is kept and served.
func TestLeadersLieAboutChanges(t *testing.T) {
	for _, attack := range []string{hasty, neverCloses} {
		effective := 0
		for seed := uint64(1); seed <= 4; seed++ {
			o := quiet(seed, Liar{2, []string{attack}})
			o.Spare, o.Moves, o.Calm = 6, 200, 60_000
			w := NewWorld(o)
			require.NoError(t, w.Run(), "%s, seed %d", attack, seed)
			effective += w.nodes[1].harm[attack]
		}
		require.Positive(t, effective, attack)
	}
}
