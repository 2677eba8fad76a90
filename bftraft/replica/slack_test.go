package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
)

// slackCluster is a follower whose leader does what a test says.
type slackCluster struct {
	*Replica
	core *stuckCore
	next uint64
	tip  bftraft.Position
}

func newSlackCluster(t *testing.T) *slackCluster {
	core := &stuckCore{idle: true, timeout: 100}
	return &slackCluster{Replica: follower(t, core, sentFrames{}), core: core}
}

func (c *slackCluster) request(client byte) *bftraft.Request {
	c.next++
	key := crypto.KeyFromSeed([32]byte{100 + client})
	r := bftraft.SignRequest(crypto.Digest{}, key, c.next, 1, [][]byte{{1}})
	c.Request(ClientID{}, 0, r)
	return r
}

// serve lets clients ask again and again, each answered after some ticks, and returns after how
// many ticks the leader is suspected; limit if it is not.
func (c *slackCluster) serve(after, limit int) int {
	for at := 0; at < limit; {
		r := c.request(1)
		for k := 0; k < after && !c.core.starving; k++ {
			c.Tick()
			at++
		}
		c.pool.executed(r)
		c.sessions.admit(r)
		if c.core.starving {
			return at
		}
	}
	return limit
}

func TestE5LeaderThatServesEverybodyLateIsSuspected(t *testing.T) {
	for after, bound := range map[int]int{
		195: 800, 180: 800, 120: 500, 70: 400, 40: 400, 20: 300, 10: 200, 6: 300,
	} {
		at := newSlackCluster(t).serve(after, 5000)
		require.Less(t, at, bound, "each request takes %d ticks", after)
	}
	require.Equal(t, 5000, newSlackCluster(t).serve(slackTolerance, 5000), "nobody is perfect")
}

// TestE5SlackOfLongTimeoutsIsLittleNotMuch: after a change of leader timeouts are long and shrink.
// A bucket that was far from full must not be full when they are short, or an honest leader is
// suspected long after, of nothing.
func TestE5SlackOfLongTimeoutsIsLittleNotMuch(t *testing.T) {
	c := newSlackCluster(t)
	c.core.timeout = 800
	require.Equal(t, 300, c.serve(20, 300), "far from half a timeout")
	filled := c.slack.bucket
	require.Greater(t, filled, 100)
	c.core.timeout = 200
	for range 1000 {
		c.Tick()
		require.False(t, c.core.starving)
	}
	require.LessOrEqual(t, c.slack.bucket, filled/4)
	c.core.timeout = 800
	require.Less(t, c.serve(70, 5000), 5000, "it is suspected all the same when it goes on")
}

// TestE5BlockOnItsWayIsNoExcuseForEver is about a leader that sees to it that there always is one.
func TestE5BlockOnItsWayIsNoExcuseForEver(t *testing.T) {
	c := newSlackCluster(t)
	c.core.idle = false
	require.Less(t, c.serve(40, 5000), 400)
}

// commit lets a block arrive that is committed after some ticks.
func (c *slackCluster) commit(after int) {
	b := bftraft.NewBlock(c.tip, []bftraft.Entry{{Kind: bftraft.EntryRequest, Data: []byte{1}}})
	c.tip = b.End()
	c.saw(&bftraft.Ready{Blocks: []*bftraft.Block{b}})
	for range after {
		c.Tick()
	}
	c.saw(&bftraft.Ready{Committed: []*bftraft.Block{b}})
}

func TestE5LeaderIsNotSlowWhereRoundsTakeLong(t *testing.T) {
	for round, fine := range map[int]int{0: 4, 10: 23, 20: 43} {
		for idle, served := range map[bool]int{false: fine, true: min(fine, round+2)} {
			c := newSlackCluster(t)
			c.core.idle = idle
			for k := range 16 {
				if k%4 == 3 {
					c.commit(50) // which the liar made look long: most count
				} else {
					c.commit(round)
				}
			}
			require.Equal(t, 5000, c.serve(served, 5000), "rounds of %d ticks", round)
			require.Less(t, c.serve(served+round+4, 5000), 5000, "rounds of %d ticks", round)
		}
	}
}

func TestE5NodeThatIsBehindBlamesNobody(t *testing.T) {
	c := newSlackCluster(t)
	c.cfg.Core.HeartbeatTicks = 1
	c.core.idle = false
	c.request(1)
	for range c.core.timeout {
		c.catchUp()
		require.Zero(t, c.slack.bucket)
	}
}

// catchUp lets a tick pass and a block come that is committed already.
func (c *slackCluster) catchUp() {
	b := bftraft.NewBlock(c.tip, []bftraft.Entry{{Kind: bftraft.EntryRequest, Data: []byte{1}}})
	c.tip = b.End()
	c.Tick()
	c.saw(&bftraft.Ready{Blocks: []*bftraft.Block{b}, Committed: []*bftraft.Block{b}})
}

// TestE5LeaderThatKeepsNodesBehindIsSuspected is about one that sends each block late to another
// follower, so that each of them has just had to catch up whenever it looks.
func TestE5LeaderThatKeepsNodesBehindIsSuspected(t *testing.T) {
	c := newSlackCluster(t)
	c.core.idle = false
	for range 2 * c.core.timeout {
		r := c.request(1)
		for range 2 * slackTolerance {
			c.catchUp()
			if c.core.starving {
				require.LessOrEqual(t, c.now, 10*c.core.timeout)
				return
			}
		}
		c.pool.executed(r)
		c.sessions.admit(r)
	}
	require.Fail(t, "never")
}

func TestE5NodeThatCaughtUpIsSparedAgainLater(t *testing.T) {
	c := newSlackCluster(t)
	c.cfg.Core.HeartbeatTicks = 1
	c.core.idle = false
	c.slack.spared = int(c.core.timeout)
	for range slackLeak * c.core.timeout {
		require.Positive(t, c.slack.spared)
		c.Tick()
	}
	require.Zero(t, c.slack.spared)
	c.request(1)
	for range 20 {
		c.catchUp()
		require.Zero(t, c.slack.bucket)
	}
	require.Positive(t, c.slack.spared)
}

func TestE5OneRequestThatIsLostDoesNotMakeALeaderSlow(t *testing.T) {
	c := newSlackCluster(t)
	c.request(1)
	for range c.patience() {
		c.Tick()
		require.False(t, c.core.starving)
	}
}

func TestE5BlockThatPassesARequestOverCountsUnlessItIsFull(t *testing.T) {
	for _, full := range []bool{false, true} {
		c := newSlackCluster(t)
		c.core.idle = false
		suspected := false
		for range 20 {
			late := c.request(1)
			for range 2 * slackTolerance {
				c.Tick()
			}
			for range 4 * slackTolerance {
				early := c.request(2)
				size := 1
				if full {
					size = DefaultBlockBytes/2 + 1
				}
				big := bftraft.Entry{Kind: bftraft.EntryRequest, Data: make([]byte, size)}
				b := bftraft.NewBlock(c.tip, []bftraft.Entry{early.Entry(), big})
				c.tip = b.End()
				c.saw(&bftraft.Ready{Blocks: []*bftraft.Block{b}})
				c.Tick()
				suspected = suspected || c.core.starving
				c.pool.executed(early)
			}
			c.pool.executed(late)
			c.sessions.admit(late)
		}
		require.Equal(t, !full, suspected)
	}
}

// TestE5WhatNoLeaderDoesBetterIsNotTheLeadersFault lets one leader after the other be slow, as on a
// slow network: the terms must get longer and longer, and in the end nobody is suspected.
func TestE5WhatNoLeaderDoesBetterIsNotTheLeadersFault(t *testing.T) {
	c := newSlackCluster(t)
	terms := 0
	for c.serve(20, 3000) < 3000 {
		terms++
		c.core.term = bftraft.Term(terms + 1)
		c.core.starving = false
		require.Less(t, terms, 6)
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
	require.Zero(t, c.slack.bucket)
}

// TestE5BucketFillsLeaksAndIsForgotten is the arithmetic of the bucket, with timeouts of 100 ticks.
func TestE5BucketFillsLeaksAndIsForgotten(t *testing.T) {
	const calm = slackCalmTimeouts * 100
	for name, k := range map[string]struct {
		set   func(c *slackCluster)
		ticks int
		want  slack
		slow  bool
	}{
		"loses little while nothing waits": {
			func(c *slackCluster) { c.slack.bucket = 10 }, 4 * slackIdleLeak, slack{bucket: 6}, false},
		"loses more while something waits": {
			func(c *slackCluster) {
				c.request(1)
				c.slack.bucket, c.slack.doublings = 10, slackDoublings
			}, 4 * slackLeak, slack{bucket: 6, doublings: slackDoublings}, false},
		"loses nothing while what waits is late": {
			func(c *slackCluster) {
				c.request(1)
				c.pool.clients[0].requests[0].slack = 1000
				c.slack.bucket = 11 // it loses one before that
			}, slackTolerance + 1 + 4*slackIdleLeak, slack{bucket: 10}, false},
		"is never less than empty": {
			func(*slackCluster) {}, 2 * slackIdleLeak, slack{}, false},
		"is not full yet": {
			func(c *slackCluster) { c.slack.bucket = 49 }, 1, slack{bucket: 49}, false},
		"is full": {
			func(c *slackCluster) { c.slack.bucket = 50 }, 1,
			slack{until: 6501 + 100, blamed: true, calm: 6501}, true},
		"is full for the second time": {
			func(c *slackCluster) { c.slack.bucket, c.slack.blamed = 50, true }, 1,
			slack{until: 6501 + 100, blamed: true, calm: 6501, doublings: 1}, true},
		"of who leads itself": {
			func(c *slackCluster) { c.leader, c.slack.bucket, c.slack.until = 1, 60, 9999 }, 1,
			slack{}, false},
		"of who knows no leader": {
			func(c *slackCluster) { c.leader, c.slack.bucket, c.slack.until = 0, 60, 9999 }, 1,
			slack{}, false},
		"before a calm time has passed": {
			func(c *slackCluster) { c.slack.blamed, c.slack.doublings = true, 3 }, 2*calm - 6500 - 1,
			slack{blamed: true, doublings: 3, calm: calm}, false},
		"after a calm time": {
			func(c *slackCluster) { c.slack.blamed, c.slack.doublings = true, 3 }, 2*calm - 6500,
			slack{doublings: 2, calm: 2 * calm}, false},
	} {
		c := newSlackCluster(t)
		c.now, c.slack.calm = 6500, calm
		k.set(c)
		slow := false
		for range k.ticks {
			c.now++
			slow = c.tickSlack()
		}
		require.Equal(t, k.slow, slow, name)
		got := c.slack
		if k.want.calm == 0 {
			got.calm = 0
		}
		got.scale = 0
		require.Equal(t, k.want, got, name)
	}
}

func TestE5PressingRequestIsShownToTheLeaderOnce(t *testing.T) {
	c := newSlackCluster(t)
	sent := sentFrames{}
	c.cfg.Transport = sent
	c.request(1)
	for c.slack.bucket == 0 {
		require.Equal(t, sentFrames{2: 1}, sent)
		c.Tick()
	}
	for range 10 {
		require.Equal(t, sentFrames{2: 2}, sent, "it may have been lost")
		c.Tick()
	}
}
