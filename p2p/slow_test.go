package p2p

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A full queue of bulk takes sixteen seconds on this line. Consensus must not wait for more of it
// than one window of the muxer, a quarter of a second.
func TestBulkDoesNotDelayConsensusOnASlowLine(t *testing.T) {
	const bytesPerSecond = 1 << 20
	a, b, _ := proxiedAt(t, bytesPerSecond, asIs)
	sendUntil(t, a, b, Bulk, []byte("settled"))
	for a.Send(2, Bulk, make([]byte, 256<<10)) && a.Stats().Peers[0].Classes[Bulk].Queued < 64 {
	}
	for took := 0; took < 4; { // the line is busy, all buffers on the way are full
		if e := take(t, b.frames); e.class == Bulk && len(e.frame) == 256<<10 {
			took++
		}
	}
	var slowest time.Duration
	for i := range 5 {
		began := time.Now()
		require.True(t, a.Send(2, Consensus, numbered(i, 64)))
		for e := take(t, b.frames); e.class != Consensus; e = take(t, b.frames) {
			require.NotEmpty(t, e.frame)
		}
		slowest = max(slowest, time.Since(began))
	}
	t.Logf("slowest consensus frame beside bulk: %v", slowest)
	require.Less(t, slowest, time.Second)
	require.Positive(t, a.Stats().Peers[0].Classes[Bulk].Queued, "bulk was under way all the time")
	require.Empty(t, a.downs, "and the link held")
}
