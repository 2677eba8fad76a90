package client

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
)

// TestRequestsGoToAllNodesAsTheyAreSent keeps the leader honest: the others can time only what they
// know of, and it hears what they know of.
func TestRequestsGoToAllNodesAsTheyAreSent(t *testing.T) {
	for probe, want := range map[time.Duration]int{
		-1: 0, 100 * time.Millisecond: 50, 0: 50, time.Hour: 0,
	} {
		change := func(c *Config) { c.Probe = probe }
		play(t, 4, change, func(s *scene) {
			s.put("first", "v") // it learns who leads
			s.pass(110 * time.Millisecond)
			before := s.node(2).heard(bftraft.FrameRequest)
			for i := range 50 {
				s.put(fmt.Sprint(i), "v")
				s.pass(10 * time.Millisecond)
				seen := s.node(2).heard(bftraft.FrameRequest) - before
				require.Equal(t, min(i+1, want), seen, "with Probe %v", probe)
			}
		})
	}
	require.Positive(t, DefaultConfig().Probe)
}

// TestProbeShowsAPartOfMany keeps what all nodes do for probes a part of what they do for requests.
// What is known to all costs nothing.
func TestProbeShowsAPartOfMany(t *testing.T) {
	change := func(c *Config) { c.Probe = 100 * time.Millisecond }
	play(t, 4, change, func(s *scene) {
		s.put("first", "v")
		s.pass(300 * time.Millisecond)
		before, began := s.node(2).heard(bftraft.FrameRequest), time.Now()
		for i := range 1000 {
			s.put(fmt.Sprint(i), "v")
			s.pass(time.Millisecond)
		}
		seen := s.node(2).heard(bftraft.FrameRequest) - before
		const probe = 100 * time.Millisecond
		want := int(probeRequests * (probe + time.Since(began)) / probe)
		require.InDelta(t, want, seen, 5, "what was earned and what was saved up")
		require.Less(t, seen, 700, "in two seconds at most: each request waits for a tick or for none")
	})
}

// TestProbeShowsAllThatIsUnderWay keeps a leader honest that takes one request at a time, and one
// that holds up all there is room for: a node can time only what follows without a gap on what has
// been executed, and there may be no new request to show it with.
func TestProbeShowsAllThatIsUnderWay(t *testing.T) {
	change := func(c *Config) {
		c.Probe, c.Window, c.BundleOps = 100*time.Millisecond, 64, 1
		c.Late, c.LateMax = 10*time.Second, 20*time.Second
	}
	play(t, 4, change, func(s *scene) {
		s.put("first", "v") // it learns who leads
		s.pass(200 * time.Millisecond)
		s.holdBack(true)
		before := s.node(2).heard(bftraft.FrameRequest)
		shown := func() int { return s.node(2).heard(bftraft.FrameRequest) - before }
		var last *Future
		begin := func() { last = s.client.Go(put(t, "k", "v")) }
		for k := range 6 {
			begin()
			s.pass(10 * time.Millisecond)
			require.Equal(t, k+1, shown(), "each as it is sent")
		}
		for range probeRequests + 8 {
			begin()
		}
		s.pass(time.Millisecond)
		require.Equal(t, 6+probeRequests+1, shown(), "what was saved up")
		s.pass(3 * time.Millisecond)
		require.Equal(t, 6+probeRequests+8, shown(), "all the others, each once")
		begin()
		s.pass(15 * time.Millisecond)
		require.Equal(t, 6+probeRequests+8, shown(), "that was much")
		s.pass(10 * time.Millisecond)
		require.Equal(t, 6+probeRequests+9, shown(), "without a new request")
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
