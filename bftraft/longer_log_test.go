package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// longerOlderLock asks a voter whose lock is short but of term 2 to elect, in term 3, a candidate
// whose lock is long but of term 1: the case in which Raft's rule by length would lose what was
// committed in term 2.
func longerOlderLock(t *testing.T) (*lab, Drop) {
	l, a := requested(t)
	l.elect(3, 2, lockAt(1, a), l.qc(1, a.End()))
	b := l.block(a.End(), "b")
	require.Equal(t, Accepted, l.say(3, l.proposal(3, 2, b.End(), b)))
	for _, id := range l.others() {
		l.say(id, l.response(id, 2, b.End(), 0))
	}
	require.Equal(t, lockAt(2, b), l.m.core.State().Lock)
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(2)}})
	longer := l.block(a.End(), "x", "y", "z")
	require.Greater(t, longer.Last(), b.Last())
	return l, l.say(4, &RequestVote{
		Term: 3, Lock: lockAt(1, longer), LockQC: l.qc(1, longer.End()), TC: l.tc(2),
	})
}

func TestE4LongerLockOfAnOlderTermIsRefused(t *testing.T) {
	l, drop := longerOlderLock(t)
	require.Equal(t, LowerLock, drop)
	require.Zero(t, l.m.core.State().Vote.Candidate)
}
