package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
)

// TestE5WhatNoLeaderDoesBetterIsNotTheLeadersFault lets one leader after the other be slow, as on a
// slow network: the terms must get longer and longer, and in the end nobody is suspected.
func TestE5WhatNoLeaderDoesBetterIsNotTheLeadersFault(t *testing.T) {
	c := newSlackCluster(t)
	terms := 0
	for c.serve(20, 3000) < 3000 {
		terms++
		c.core.term = bftraft.Term(terms + 1)
		c.core.starving = false
		require.Less(t, terms, 8)
	}
	require.GreaterOrEqual(t, terms, 2)
	require.Positive(t, c.slack.doublings)
	// After a long calm the tolerance comes down again.
	for range slackCalmTimeouts * 100 * (slackDoublings + 1) {
		c.Tick()
	}
	require.Zero(t, c.slack.doublings)
	require.Less(t, c.serve(20, 3000), 3000)
}

func TestE5SuspicionThatNobodySharesIsGivenUpAndDoubted(t *testing.T) {
	c := newSlackCluster(t)
	require.Less(t, c.serve(20, 3000), 3000)
	require.Equal(t, c.now+100, c.slack.until, "for one timeout")
	for range 99 {
		c.Tick()
		require.True(t, c.core.starving)
	}
	require.Zero(t, c.slack.doublings)
	c.Tick()
	require.False(t, c.core.starving)
	require.Equal(t, 1, c.slack.doublings)
	require.Zero(t, c.fullest())
}

// TestE5SuspicionsOfOneLeaderDoubleTwice: a leader that is late to one follower after the other
// must not make them all patient, so that it can be late to all.
func TestE5SuspicionsOfOneLeaderDoubleTwice(t *testing.T) {
	c := newSlackCluster(t)
	for k := range 5 {
		require.Less(t, c.serve(200, 5000), 5000)
		c.pass(100 * tickParts)
		require.False(t, c.core.starving)
		require.Equal(t, min(k+1, slackAlone), c.slack.doublings)
	}
	c.core.term = 2
	c.pass(tickParts)
	require.Zero(t, c.slack.doublings, "nobody shared them")
	for k := range 3 { // now it is the second leader in a row
		require.Less(t, c.serve(200, 5000), 5000)
		c.pass(100 * tickParts)
		require.Equal(t, k+1, c.slack.doublings)
	}
	c.core.term = 3
	c.pass(tickParts)
	require.Equal(t, 1, c.slack.doublings)
}
