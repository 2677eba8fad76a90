package p2p

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"
)

// timedStream is a stream of which only deadlines and what is written are of interest.
type timedStream struct {
	network.Stream
	due     time.Time
	set     int
	written int
}

func (s *timedStream) SetWriteDeadline(due time.Time) error {
	s.due = due
	s.set++
	return nil
}

func (s *timedStream) Write(b []byte) (int, error) {
	s.written += len(b)
	return len(b), nil
}

// TestWritesShareADeadline: none is left with less than the timeout, or much more, and those of a
// quarter of it have one in common.
func TestWritesShareADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 8 * time.Second
		s := &timedStream{}
		w := &pacedWriter{stream: s, timeout: timeout}
		for _, pause := range []time.Duration{0, time.Millisecond, time.Second, time.Hour} {
			s.set = 0
			const writes = 100
			began := time.Now()
			for range writes {
				n, err := w.Write(make([]byte, growBytes+1))
				require.NoError(t, err)
				require.Equal(t, growBytes+1, n)
				require.GreaterOrEqual(t, time.Until(s.due), timeout)
				require.LessOrEqual(t, time.Until(s.due), timeout+timeout/4)
				<-time.After(pause)
			}
			most := 1 + min(writes, int(time.Since(began)/(timeout/4)))
			require.LessOrEqual(t, s.set, most, "writes %v apart", pause)
		}
		require.Equal(t, 400*(growBytes+1), s.written)
	})
}
