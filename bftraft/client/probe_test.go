package client

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
)

// TestRequestsGoToAllNodesNowAndThen keeps the leader honest: the others can time only what they
// know of.
func TestRequestsGoToAllNodesNowAndThen(t *testing.T) {
	for probe, least := range map[time.Duration]int{
		-1: 0, 100 * time.Millisecond: 4, 0: 50, time.Hour: 0,
	} {
		change := func(c *Config) { c.Probe = probe }
		play(t, 4, change, func(s *scene) {
			s.put("first", "v") // it learns who leads
			s.pass(10 * time.Millisecond)
			before := s.node(2).heard(bftraft.FrameRequest)
			for i := range 50 {
				s.put(fmt.Sprint(i), "v")
				s.pass(10 * time.Millisecond)
			}
			seen := s.node(2).heard(bftraft.FrameRequest) - before
			most := least + least/2
			if seen < least || seen > most {
				t.Errorf("with Probe %v a follower was sent %d of 50 requests", probe, seen)
			}
		})
	}
	require.Positive(t, DefaultConfig().Probe)
}
