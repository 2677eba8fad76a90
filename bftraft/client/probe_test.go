package client

import (
	"fmt"
	"strings"
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

// TestProbeShowsAllThatIsUnderWay keeps a leader honest that takes one request at a time, and one
// that holds up all there is room for: a node can time only what follows without a gap on what has
// been executed, and there may be no new request to show it with.
func TestProbeShowsAllThatIsUnderWay(t *testing.T) {
	change := func(c *Config) {
		c.Probe, c.Window, c.BundleOps = 100*time.Millisecond, 8, 1
		c.Late, c.LateMax = 10*time.Second, 20*time.Second
	}
	play(t, 4, change, func(s *scene) {
		s.pass(100 * time.Millisecond)
		s.put("first", "v") // it learns who leads
		s.holdBack(true)
		s.pass(10 * time.Millisecond)
		before := s.node(2).heard(bftraft.FrameRequest)
		begin := func() *Future {
			f := s.client.Go(put(t, "k", "v"))
			s.pass(10 * time.Millisecond)
			return f
		}
		shown := func() int { return s.node(2).heard(bftraft.FrameRequest) - before }
		for range 6 {
			begin()
		}
		require.Zero(t, shown(), "too early")
		s.pass(40 * time.Millisecond)
		begin()
		require.Equal(t, 7, shown(), "all, each once, with a new one")
		last := begin()
		require.Equal(t, 7, shown())
		s.pass(160 * time.Millisecond)
		require.Equal(t, 7, shown(), "a new one may come yet")
		s.pass(40 * time.Millisecond)
		require.Equal(t, 8, shown(), "none came; none of the others is shown again")
		s.holdBack(false)
		_, err := s.client.Wait(s.within(10*time.Second), last)
		require.NoError(t, err)
	})
}

// TestProbeShowsAPart keeps what all nodes do for probes a part of what they do for requests: the
// more was shown, the later is the next. What is known to all costs nothing.
func TestProbeShowsAPart(t *testing.T) {
	const many = 3 * probeRequests
	change := func(c *Config) {
		c.Probe, c.Window, c.BundleOps = 100*time.Millisecond, many+2, 1
		c.Late, c.LateMax = 10*time.Second, 20*time.Second
	}
	play(t, 4, change, func(s *scene) {
		s.pass(100 * time.Millisecond)
		s.put("first", "v")
		s.holdBack(true)
		before := s.node(2).heard(bftraft.FrameRequest)
		shown := func() int { return s.node(2).heard(bftraft.FrameRequest) - before }
		for range many {
			s.client.Go(put(t, "k", "v"))
		}
		s.pass(190 * time.Millisecond)
		require.Zero(t, shown(), "too early")
		s.pass(20 * time.Millisecond)
		require.Equal(t, many, shown(), "all that is under way")
		s.client.Go(put(t, "k", "v"))
		s.pass(380 * time.Millisecond)
		require.Equal(t, many, shown(), "not yet, after so many")
		s.pass(20 * time.Millisecond)
		require.Equal(t, many+1, shown())
		last := s.client.Go(put(t, "k", "v"))
		s.pass(160 * time.Millisecond)
		require.Equal(t, many+1, shown())
		s.pass(50 * time.Millisecond)
		require.Equal(t, many+2, shown(), "after a single one")
		s.holdBack(false)
		_, err := s.client.Wait(s.within(10*time.Second), last)
		require.NoError(t, err)
	})
}

// TestProbeFindsTheNewLeader has one that does not know that it leads no more: what is shown to all
// is answered before it is late, so nothing else would make the client ask who leads.
func TestProbeFindsTheNewLeader(t *testing.T) {
	change := func(c *Config) { c.Probe = 100 * time.Millisecond }
	play(t, 4, change, func(s *scene) {
		s.put("first", "v")
		s.pass(time.Second)
		s.node(1).stopsHearing()
		s.cluster.mu.Lock()
		s.leader, s.term = 2, 2
		s.cluster.mu.Unlock()
		began := time.Now()
		for i := range 20 {
			s.put(fmt.Sprint(i), "v")
		}
		require.Less(t, time.Since(began), time.Second)
	})
}

// TestProbeIsBounded keeps large requests from being sent to everybody ten times a second.
func TestProbeIsBounded(t *testing.T) {
	change := func(c *Config) { c.Probe, c.Window, c.BundleOps = 100*time.Millisecond, 8, 1 }
	play(t, 4, change, func(s *scene) {
		s.put("first", "v")
		s.holdBack(true)
		s.pass(100 * time.Millisecond)
		before := s.node(2).heard(bftraft.FrameRequest)
		large := strings.Repeat("x", probeBytes/2)
		for range 4 {
			s.client.Go(put(t, "k", large))
		}
		s.pass(110 * time.Millisecond)
		last := s.client.Go(put(t, "k", large))
		s.pass(10 * time.Millisecond)
		require.Equal(t, 1, s.node(2).heard(bftraft.FrameRequest)-before, "the oldest alone")
		s.holdBack(false)
		_, err := s.client.Wait(s.within(10*time.Second), last)
		require.NoError(t, err)
	})
}
