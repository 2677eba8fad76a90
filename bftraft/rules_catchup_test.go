package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A lock that only this node learned of may lie on a chain that was given up. Catch-up then takes
// its entries away, while the next lock lies beyond what has come so far; the node goes on, after
// a restart too, and votes for nothing below its lock.
func TestN6CatchUpMayLeaveALockWithoutEntries(t *testing.T) {
	l, _ := locked(t, "lost")
	a := l.block(l.origin(), "kept")
	b := l.block(a.End(), "later")
	m := &Committed{Blocks: []*Block{a}, Commit: l.commit(2, b.End()), LockQC: l.qc(2, b.End())}
	m.Bridge = headers([]*Block{b})
	before := l.m.core.State().Lock
	require.Equal(t, Accepted, l.say(3, m))
	require.Equal(t, a.End(), l.m.core.Commit())
	require.Equal(t, before, l.m.core.State().Lock)
	l.crash(l.m, 99)
	l.start(l.m)
	require.Equal(t, before, l.m.core.State().Lock)
	require.Equal(t, a.End(), l.m.core.log.tip)
}
