package sim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWhoLooksForAStateIsOfferedOneByReplacedVoters is the control of SEEN-34: where logs go soon
// and all voters are replaced again and again, those who look for a state are offered one by voters
// that were replaced, and take none of these.
func TestWhoLooksForAStateIsOfferedOneByReplacedVoters(t *testing.T) {
	tally := NewTally()
	for seed := uint64(1); seed <= 12; seed++ {
		o := quiet(seed, Liar{2, []string{"voteall"}})
		o.Nodes, o.Spare, o.Moves, o.Heir, o.Calm = 7, 12, 150, 20, 60_000
		o.Checkpoints, o.Keep, o.ChunkBytes = 3, 1, 512
		o.Weights = map[Kind]int{KindIsolate: 700}
		w := NewWorld(o)
		require.NoError(t, w.Run(), "seed %d", seed)
		tally.Add(w)
	}
	for _, m := range []mark{seenInheritedState, seenLongRange, seenInheritedReply} {
		require.Positive(t, tally.Hits[marks[m].id], marks[m].text)
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
