//go:build mutant

package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/internal/mutant"
)

// TestM12IsKilled shows that TestE4LongerLockOfAnOlderTermIsRefused notices M12, which random runs
// hardly ever do: a hidden certificate, a shorter one of a later term, and an election of the one
// who hid must come together.
func TestM12IsKilled(t *testing.T) {
	mutant.Set(mutant.M12)
	defer mutant.Set(mutant.None)
	_, drop := longerOlderLock(t)
	require.Equal(t, Accepted, drop, "the broken voter votes for what loses a commit")
}
