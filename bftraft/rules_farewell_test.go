package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestJ4WhoComesBackAfterItWasTakenOutIsTold: its log may be far behind, and nobody hands it any.
func TestJ4WhoComesBackAfterItWasTakenOutIsTold(t *testing.T) {
	l, last := jointWithout(t, 1)
	c := func() *Core { return l.m.core }
	k, _, _ := l.closingOf(last)
	change := newChangeProof(k, l.commitOf(1, k.End(), 2, 3, 4, 5, 6, 7, 8))
	next := NewBlock(k.End(), []Entry{commitEntry(&change.Commit)})
	beyond := l.commitOf(1, next.End(), 2, 3, 4, 5, 6)
	list := []*ChangeProof{change}
	require.Equal(t, BadCertificate,
		l.say(5, &Changes{List: list, Beyond: l.commitOf(1, next.End(), 2, 3, 4)}),
		"a quorum of those who were replaced is none beyond the change")
	require.Equal(t, BadCertificate, l.say(5, &Changes{List: list, Beyond: &change.Commit}))
	require.True(t, c().gate.members.Joint())
	require.Equal(t, Accepted, l.say(5, &Changes{List: list}))
	require.False(t, c().gate.members.Joint())
	require.False(t, c().Left(), "it may be needed until something is committed beyond it")
	l.crash(l.m, 1000)
	l.start(l.m)
	require.False(t, c().Left())
	require.Equal(t, Accepted, l.say(5, &Changes{List: list, Beyond: beyond}))
	require.True(t, c().Left())
	l.crash(l.m, 1000)
	l.start(l.m)
	require.True(t, c().Left(), "and it knows when it is started again")
}

// TestJ4NobodyLeavesByWhatIsBeyondAnotherChange: it is a member, whoever else is not.
func TestJ4NobodyLeavesByWhatIsBeyondAnotherChange(t *testing.T) {
	l, last := joint(t)
	k, _, cc := l.closingOf(last)
	next := NewBlock(k.End(), []Entry{commitEntry(cc)})
	m := &Changes{List: []*ChangeProof{newChangeProof(k, cc)},
		Beyond: l.commitOf(1, next.End(), 5, 6, 7, 8)}
	require.Equal(t, Accepted, l.say(5, m))
	require.False(t, l.m.core.Left())
	require.Len(t, l.m.core.gate.members.Leaving, 3, "it has not told them yet")
}

// TestJ4FarewellIsForThoseWhoHaveLeft, and only once it is certain that they are not needed.
func TestJ4FarewellIsForThoseWhoHaveLeft(t *testing.T) {
	l, k := closed(t)
	c := l.m.core
	farewell := func(to NodeID) []*Changes {
		l.take()
		c.Farewell(to)
		l.work(l.m)
		return messagesOf[*Changes](l, to)
	}
	require.Empty(t, farewell(2))
	cc := &c.gate.changes[len(c.gate.changes)-1].Commit
	next := NewBlock(k.End(), []Entry{commitEntry(cc)})
	require.Equal(t, Accepted, l.say(5, &Committed{Blocks: []*Block{next},
		Commit: l.commitOf(1, next.End(), 5, 6, 7, 8)}))
	for _, id := range []NodeID{2, 3, 4} {
		told := farewell(id)
		require.Len(t, told, 1)
		require.Equal(t, c.gate.changes, told[0].List)
		require.Equal(t, next.Last(), told[0].Beyond.Index)
	}
	for _, id := range []NodeID{1, 5, 8, 9} {
		require.Empty(t, farewell(id), "%d", id)
	}
	large := &ChangeProof{Entry: make([]byte, maxChangesAnswer/3)}
	c.gate.changes = []*ChangeProof{large, large, large, large, large, c.gate.changes[0]}
	told := farewell(2)
	require.Len(t, told, 3, "more than fit into a frame")
	var list []*ChangeProof
	for i, m := range told {
		list = append(list, m.List...)
		require.Equal(t, i == 2, m.Beyond != nil, "only all of them show that it has left")
	}
	require.Equal(t, c.gate.changes, list)
}

// TestFormerNodesAreForgottenWithTheirIds: whoever has the id now is somebody else.
func TestFormerNodesAreForgottenWithTheirIds(t *testing.T) {
	l, _ := closed(t)
	m := l.m.core.gate.members
	require.Equal(t, []Node{{ID: 2, Key: fakePublic(2)}, {ID: 3, Key: fakePublic(3)},
		{ID: 4, Key: fakePublic(4)}}, m.Former)
	settled := *m.settled()
	settled.Newest = 63 // the next ids are 64, and then those that have come round
	ch := &Change{Number: m.Number + 1, Replaces: m.At, Steps: []ChangeStep{joins(64), joins(65)}}
	next, err := settled.After(ch)
	require.NoError(t, err)
	require.Equal(t, NodeID(2), next.Newest)
	require.Equal(t, m.Former[1:], next.Former)
	require.Len(t, m.Former, 3, "what others hold is as it was")
}
