package node

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFlushesLeaveProcessors: as many goroutines may wait for the disk as there are processors, and
// as many others run.
func TestFlushesLeaveProcessors(t *testing.T) {
	for have, want := range map[int]int{1: 8, 2: 8, 4: 8, 5: 10, 64: 128} {
		require.Equal(t, want, Processors(have))
	}
}
