package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClusterElectsAndCommits(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 7, 10} {
		h := newHarness(t, n, nil)
		require.True(t, h.ticks(200, func() bool { return h.leader() != 0 }), "n=%d", n)
		for k := range 20 {
			require.True(t, h.ticks(60, func() bool { return h.propose(h.leader(), "op") }))
			_ = k
		}
		require.True(t, h.ticks(100, func() bool { return h.allCommitted(20) }), "n=%d", n)
	}
}

// allCommitted says whether every running honest node has committed index i.
func (h *harness) allCommitted(i Index) bool {
	for _, m := range h.members {
		if m.honest && m.core != nil && m.core.Commit().Index < i {
			return false
		}
	}
	return true
}
