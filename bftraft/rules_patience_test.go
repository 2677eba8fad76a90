package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// talks lets ticks pass in each of which the leader, 3, says something and a client has waited.
func (l *lab) talks(ticks int, a *Block, waited uint64) {
	c := l.m.core
	for range ticks {
		c.SetWaiting(waited)
		l.wait(1)
		l.say(3, &Status{Term: c.Term(), Leader: 3, Tip: a.End(), Lock: l.genesisLock()})
	}
}

// TestE6PatienceDoublesOnceNotAllCanBeLiars: one of two leaders in a row may be late on purpose,
// not both. That others made this node suspect a leader says nothing.
func TestE6PatienceDoublesOnceNotAllCanBeLiars(t *testing.T) {
	l, a := led(t, "a")
	c := l.m.core
	last := func(cause Cause) {
		u := c.Term()
		if c.starve(cause == CauseStarvation); cause == CauseOthers {
			l.twoSuspect(u)
		}
		l.wait(1)
		c.starve(false)
		l.say(3, &Proof{TermProof: TermProof{TC: l.tc(u)}})
		require.Equal(t, cause, l.ends()[len(l.ends())-1].Cause)
		require.Equal(t, Accepted, l.elect(3, u+1, l.genesisLock(), nil))
		c.backoff = 0
	}
	const first = 2 * 40
	require.Equal(t, uint64(first), c.patience())
	last(CauseOthers)
	last(CauseOthers)
	for _, times := range []uint64{1, 2, 2, 4, 4, 8, 8, 8, 8} {
		last(CauseStarvation)
		require.Equal(t, times*first, c.patience())
	}
	require.Equal(t, Accepted, l.say(3, l.proposal(3, c.Term(), a.End())))

	l.talks(2000, a, 8*first/2)
	require.Equal(t, uint64(8*first), c.patience(), "half of it would not do")
	l.talks(8*first-1, a, 8*first/2-1)
	require.Equal(t, uint64(8*first), c.patience())
	l.talks(2, a, 8*first/2-1)
	require.Equal(t, uint64(4*first), c.patience())
	l.talks(4*first+2*first+2, a, 0)
	require.Equal(t, uint64(first), c.patience(), "nobody waits")
	last(CauseStarvation)
	require.Equal(t, uint64(first), c.patience(), "as if nothing had been")
}

// TestE6PatienceIsKeptWhileNobodyLeads: what is measured is how long leaders take.
func TestE6PatienceIsKeptWhileNobodyLeads(t *testing.T) {
	l, _ := led(t, "a")
	c := l.m.core
	c.starved = 1
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	for c.State().Suspects == CauseNone {
		require.Equal(t, 1, c.starved)
		l.wait(1)
	}
	require.Greater(t, c.now-c.termStart, uint64(80), "it could have been taken back by now")
	require.Equal(t, 1, c.starved)
}

// TestE6PatienceHasTheBoundOfTheBackOffWhateverF: that many leaders of a large cluster starved
// a client counts for no more than that once it is small.
func TestE6PatienceHasTheBoundOfTheBackOffWhateverF(t *testing.T) {
	l, a := led(t, "a")
	c := l.m.core
	c.starved = 16
	require.Equal(t, uint64(80<<3), c.patience())
	for range 80 << 3 {
		l.wait(1)
		l.say(2, &Status{Term: 1, Leader: 2, Tip: a.End(), Lock: l.genesisLock()})
	}
	require.Equal(t, uint64(80<<2), c.patience())
}
