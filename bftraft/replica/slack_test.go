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

func clientKey(client byte) crypto.PrivateKey { return crypto.KeyFromSeed([32]byte{100 + client}) }

// fill sets what is in the bucket of a client.
func (c *slackCluster) fill(client byte, bucket uint64) {
	c.slack.of(clientKey(client).Public()).bucket = bucket
}

// fullest is what is in the fullest bucket.
func (c *slackCluster) fullest() (most uint64) {
	for _, s := range c.slack.clients {
		most = max(most, s.bucket)
	}
	return most
}

func (c *slackCluster) request(client byte) *bftraft.Request {
	c.next++
	key := clientKey(client)
	r := bftraft.SignRequest(crypto.Digest{}, key, c.next, 1, [][]byte{{1}})
	c.Request(ClientID{}, 0, r)
	return r
}

// execute is what a replica does with a request that is committed.
func (c *slackCluster) execute(r *bftraft.Request) {
	c.sessions.admit(r)
	c.serves(r)
	c.pool.executed(r, c.clock)
}

// pass lets so many parts of a tick pass.
func (c *slackCluster) pass(parts uint64) {
	for end := c.clock + parts; c.clock < end; {
		next := c.ticked + tickParts
		if c.At(min(next, end)); next <= end {
			c.Tick()
		}
	}
}

// serve lets clients ask again and again, each answered after some ticks, and returns after how
// many ticks the leader is suspected; limit if it is not.
func (c *slackCluster) serve(after, limit int) int {
	return c.serveParts(uint64(after*tickParts), limit)
}

// serveParts is the same with a wait in parts of a tick.
func (c *slackCluster) serveParts(after uint64, limit int) int {
	begun := c.now
	for int(c.now-begun) < limit {
		r := c.request(1)
		for end := c.clock + after; c.clock < end && !c.core.starving; {
			c.pass(min(end-c.clock, tickParts-c.clock%tickParts))
		}
		c.execute(r)
		if c.core.starving {
			return int(c.now - begun)
		}
	}
	return limit
}

func TestE5LeaderThatServesEverybodyLateIsSuspected(t *testing.T) {
	for after, bound := range map[int]int{
		195: 800, 180: 800, 120: 500, 70: 400, 40: 400, 20: 300, 10: 200, 6: 200, 3: 200, 1: 200,
	} {
		c := newSlackCluster(t)
		at := c.serve(after, 5000)
		require.Less(t, at, bound, "each request takes %d ticks", after)
		require.True(t, c.core.slow, "and not for starvation")
	}
}

// TestE5LeaderThatTakesTicksWhereRoundsTakeLessIsSuspected is about the loopback: a round takes a
// third of a tick there.
func TestE5LeaderThatTakesTicksWhereRoundsTakeLessIsSuspected(t *testing.T) {
	for after, bound := range map[uint64]int{
		600: 5000, 700: 5000, 900: 500, 1200: 400, 2000: 200, 3000: 200,
	} {
		c := newSlackCluster(t)
		for range 16 {
			c.commitParts(300)
		}
		at := c.serveParts(after, 5000)
		require.LessOrEqual(t, at, bound, "a client alone is served in %d parts", after)
		require.Equal(t, bound == 5000, at == 5000, "a client alone is served in %d parts", after)
	}
}

// TestE5ClientWithManyRequestsMayWaitLonger is about one that has more under way than a block
// serves: each of its requests waits for those before it, but the next one is served soon.
func TestE5ClientWithManyRequestsMayWaitLonger(t *testing.T) {
	for each, suspected := range map[uint64]bool{200: false, 450: true, 700: true} {
		c := newSlackCluster(t)
		for range 16 {
			c.commitParts(300)
		}
		key := crypto.KeyFromSeed([32]byte{101})
		var under []*bftraft.Request
		for seq := uint64(1); seq <= 2000 && !c.core.starving; seq++ {
			r := bftraft.SignRequest(crypto.Digest{}, key, 1, seq, [][]byte{{1}})
			c.Request(ClientID{}, 0, r)
			if under = append(under, r); len(under) == 4 {
				c.pass(each)
				c.execute(under[0])
				under = under[1:]
			}
		}
		require.Equal(t, suspected, c.core.starving, "one request each %d parts", each)
	}
}

// TestE5RequestIsReadyOnceThoseBeforeItAreHere: a client could else have honest leaders deposed, by
// sending a request long before the one that it follows.
func TestE5RequestIsReadyOnceThoseBeforeItAreHere(t *testing.T) {
	key := crypto.KeyFromSeed([32]byte{101})
	ask := func(seq uint64) *bftraft.Request {
		return bftraft.SignRequest(crypto.Digest{}, key, 1, seq, [][]byte{{1}})
	}
	for _, shown := range []bool{false, true} { // whether this node ever sees the second one
		c := newSlackCluster(t)
		c.Request(ClientID{}, 0, ask(3))
		c.Request(ClientID{}, 0, ask(1))
		c.execute(ask(1))
		c.pass(5300)
		if shown {
			c.Request(ClientID{}, 0, ask(2))
		}
		c.pass(200)
		c.execute(ask(2))
		third := c.pool.clients[0].requests[0]
		require.EqualValues(t, 5500, third.turn)
		require.EqualValues(t, map[bool]int{false: 5500, true: 5300}[shown], third.ready)
		require.Zero(t, c.late(third, 500, 1000))
		c.pass(850)
		require.EqualValues(t, 350, c.late(third, 500, 1000))
		require.EqualValues(t, map[bool]int{false: 0, true: 50}[shown], c.late(third, 900, 1000))
		c.slack.office = 6000
		require.Zero(t, c.late(third, 500, 1000), "the leader is new")
	}
}

// TestE5SlackBetweenTicksCounts: a leader could see to it that nothing is late just at ticks.
func TestE5SlackBetweenTicksCounts(t *testing.T) {
	c := newSlackCluster(t)
	for !c.core.starving {
		require.Less(t, c.now, uint64(400))
		r := c.request(1)
		c.pass(990)
		c.execute(r)
		c.pass(10)
	}
}

// TestE5SlackOfLongTimeoutsIsLittleNotMuch: after a change of leader timeouts are long and shrink.
// A bucket that was far from full must not be full when they are short, or an honest leader is
// suspected long after, of nothing.
func TestE5SlackOfLongTimeoutsIsLittleNotMuch(t *testing.T) {
	c := newSlackCluster(t)
	c.core.timeout = 800
	require.Equal(t, 300, c.serve(20, 300), "far from half a timeout")
	filled := c.fullest()
	require.Greater(t, filled, uint64(100*tickParts))
	c.core.timeout = 200
	for range 1000 {
		c.Tick()
		require.False(t, c.core.starving)
	}
	require.LessOrEqual(t, c.fullest(), filled/4)
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
func (c *slackCluster) commit(after int) { c.commitParts(uint64(after * tickParts)) }

func (c *slackCluster) commitParts(after uint64) {
	b := bftraft.NewBlock(c.tip, []bftraft.Entry{{Kind: bftraft.EntryRequest, Data: []byte{1}}})
	c.tip = b.End()
	c.saw(&bftraft.Ready{Blocks: []*bftraft.Block{b}})
	c.pass(after)
	c.saw(&bftraft.Ready{Committed: []*bftraft.Block{b}})
}

func TestE5LeaderIsNotSlowWhereRoundsTakeLong(t *testing.T) {
	for _, round := range []int{1, 10, 20} {
		for _, idle := range []bool{false, true} {
			c := newSlackCluster(t)
			c.core.idle = idle
			for k := range 16 {
				if k%4 == 3 {
					c.commit(50) // which the liar made look long: most count
				} else {
					c.commit(round)
				}
			}
			require.Equal(t, 5000, c.serve(3*round, 5000), "rounds of %d ticks", round)
			require.Less(t, c.serve(4*round, 5000), 5000, "rounds of %d ticks", round)
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
		require.Zero(t, c.fullest())
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
		for range 6 {
			c.catchUp()
			if c.core.starving {
				require.LessOrEqual(t, c.now, 10*c.core.timeout)
				return
			}
		}
		c.execute(r)
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
		require.Zero(t, c.fullest())
	}
	require.Positive(t, c.slack.spared)
}

func TestE5OneRequestThatIsLostDoesNotMakeALeaderSlow(t *testing.T) {
	c := newSlackCluster(t)
	c.request(1)
	for range c.core.patience() {
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
			for range 2 {
				c.Tick()
			}
			for range 24 {
				early := c.request(2)
				size := 1
				if full {
					size = DefaultBlockBytes/2 + 1
				}
				c.next++
				big := bftraft.SignRequest(crypto.Digest{}, crypto.KeyFromSeed([32]byte{103}),
					c.next, 1, [][]byte{make([]byte, size)})
				b := bftraft.NewBlock(c.tip, []bftraft.Entry{early.Entry(), big.Entry()})
				c.tip = b.End()
				c.saw(&bftraft.Ready{Blocks: []*bftraft.Block{b}})
				c.pass(500)
				suspected = suspected || c.core.starving
				c.execute(early)
			}
			c.execute(late)
		}
		require.Equal(t, !full, suspected)
	}
}

// TestE5RequestOwesTheNextLeaderNothing: how late one leader was with it is not held against the
// next, nor for it.
func TestE5RequestOwesTheNextLeaderNothing(t *testing.T) {
	late := func(before uint64) uint64 {
		c := newSlackCluster(t)
		c.request(1)
		c.pass(before)
		c.core.term = 2
		c.pass(60 * tickParts)
		return c.fullest()
	}
	require.Positive(t, late(0))
	require.Equal(t, late(0), late(150*tickParts))
}

// TestE5SessionThatIsLateByFarCountsForAll is about a leader that serves one of a client's sessions
// just in time, and the others at once.
func TestE5SessionThatIsLateByFarCountsForAll(t *testing.T) {
	for _, sessions := range []uint64{2, 12, 24} {
		c := newSlackCluster(t)
		ask := func(session, seq uint64) *bftraft.Request {
			r := bftraft.SignRequest(crypto.Digest{}, clientKey(1), session, seq, [][]byte{{1}})
			c.Request(ClientID{}, 0, r)
			return r
		}
		for seq := uint64(1); !c.core.starving; seq++ {
			require.Less(t, c.now, uint64(3000), "%d sessions", sessions)
			victim := ask(1, seq)
			for k := range uint64(475) {
				for other := range sessions - 1 {
					c.execute(ask(other+2, 475*(seq-1)+k+1))
				}
				c.pass(400)
			}
			c.execute(victim)
		}
	}
}

// bucketCase is what some ticks make of slack, with timeouts of 100 ticks.
type bucketCase struct {
	set    func(c *slackCluster)
	ticks  int
	bucket uint64
	want   slack
	slow   bool
}

// calmTicks is how long it takes without suspicion until the tolerance is halved.
const calmTicks = slackCalmTimeouts * 100

func (k *bucketCase) check(t *testing.T, name string) {
	c := newSlackCluster(t)
	c.now, c.slack.calm = 6500, calmTicks
	k.set(c)
	slow := false
	for range k.ticks {
		c.tickClock()
		slow = c.tickSlack()
	}
	require.Equal(t, k.slow, slow, name)
	require.Equal(t, k.bucket, c.fullest(), name)
	got := c.slack
	got.clients = nil
	if k.want.calm == 0 {
		got.calm = 0
	}
	got.scale = 0
	require.Equal(t, k.want, got, name)
}

func TestE5BucketFillsAndLeaks(t *testing.T) {
	for name, k := range map[string]bucketCase{
		"loses little while nothing waits": {
			func(c *slackCluster) { c.fill(1, 10_000) }, 4 * slackIdleLeak,
			6_160, slack{}, false},
		"loses more while something waits": {
			func(c *slackCluster) {
				c.request(1)
				c.fill(1, 10_000)
				c.slack.doublings = slackDoublings
			}, 4 * slackLeak, 6_000, slack{doublings: slackDoublings}, false},
		"loses nothing while what waits is late": {
			func(c *slackCluster) {
				c.request(1)
				c.pool.clients[0].requests[0].slack = 1000 * tickParts
				c.fill(1, 10_000)
			}, 4 * slackIdleLeak, 10_000, slack{}, false},
		"loses less in a tick of which some was late": {
			func(c *slackCluster) {
				c.fill(1, 10_000)
				c.slack.clients[0].late = 200
			}, 1, 10_000 + 200 - 800/slackLeak, slack{}, false},
		"takes what is late by far for all": {
			func(c *slackCluster) {
				c.fill(1, 10_000)
				c.slack.clients[0].late, c.slack.clients[0].waited = 1200, 3000
				c.slack.clients[0].longest = tickParts
			}, 1, 10_000 + tickParts, slack{}, false},
		"takes the average of sessions": {
			func(c *slackCluster) {
				c.fill(1, 10_000)
				c.slack.clients[0].late, c.slack.clients[0].waited = 1200, 3000
			}, 1, 10_000 + 400 - 600/slackLeak, slack{}, false},
		"of one client is not that of another": {
			func(c *slackCluster) {
				c.fill(1, 30_000)
				c.fill(2, 30_014)
			}, 1, 30_014 - tickParts/slackIdleLeak, slack{}, false},
		"is never less than empty": {
			func(c *slackCluster) { c.fill(1, 1) }, 2 * slackIdleLeak, 0, slack{}, false},
		"is not full yet": {
			func(c *slackCluster) { c.fill(1, 50_014) }, 1, 49_999, slack{}, false},
	} {
		k.check(t, name)
	}
}

func TestE5BucketIsFullAndIsForgotten(t *testing.T) {
	for name, k := range map[string]bucketCase{
		"is full": {
			func(c *slackCluster) { c.fill(1, 50_015) }, 1,
			0, slack{until: 6501 + 100, blames: true, calm: 6501}, true},
		"is full for the second time": {
			func(c *slackCluster) {
				c.fill(1, 50_015)
				c.slack.blamed = true
			}, 1,
			0, slack{
				until: 6501 + 100, blamed: true, blames: true, calm: 6501, doublings: 1, doubled: true,
			}, true},
		"is full again": {
			func(c *slackCluster) {
				c.fill(1, 50_015)
				c.slack.blamed, c.slack.blames = true, true
			}, 1,
			0, slack{until: 6501 + 100, blamed: true, blames: true, calm: 6501}, true},
		"of who leads itself": {
			func(c *slackCluster) {
				c.fill(1, 60_000)
				c.leader, c.slack.until = 1, 9999
			}, 1,
			0, slack{}, false},
		"of who knows no leader": {
			func(c *slackCluster) {
				c.fill(1, 60_000)
				c.leader, c.slack.until = 0, 9999
			}, 1,
			0, slack{}, false},
		"before a calm time has passed": {
			func(c *slackCluster) { c.slack.blamed, c.slack.doublings = true, 3 }, 2*calmTicks - 6500 - 1,
			0, slack{blamed: true, doublings: 3, calm: calmTicks}, false},
		"after a calm time": {
			func(c *slackCluster) { c.slack.blamed, c.slack.doublings = true, 3 }, 2*calmTicks - 6500,
			0, slack{doublings: 2, calm: 2 * calmTicks}, false},
	} {
		k.check(t, name)
	}
}

// TestE5SlackOfWhatIsExecutedIsCountedOnce is the arithmetic of one tick, in which requests of two
// clients have waited for 800 parts, 300 of them too long.
func TestE5SlackOfWhatIsExecutedIsCountedOnce(t *testing.T) {
	both := func(c *slackCluster, first, second *bftraft.Request) {
		c.execute(first)
		c.execute(second)
	}
	for name, k := range map[string]struct {
		set  func(c *slackCluster, first, second *bftraft.Request)
		want uint64 // in the bucket, of 10,000 before
	}{
		"of two clients in a block": {both, 10_300 - 700/slackLeak},
		"of two clients in two blocks": {
			func(c *slackCluster, first, second *bftraft.Request) {
				c.execute(first)
				c.pass(100)
				c.execute(second)
			}, 10_400 - 600/slackLeak},
		"and one waits on": {
			func(c *slackCluster, first, _ *bftraft.Request) { c.execute(first) },
			10_500 - 500/slackLeak},
		"and both wait on, one for longer": {
			func(c *slackCluster, _, second *bftraft.Request) { c.pending(second).turn += 200 },
			10_500 - 500/slackLeak},
		"and both wait on, the other for longer": {
			func(c *slackCluster, first, _ *bftraft.Request) { c.pending(first).turn += 200 },
			10_500 - 500/slackLeak},
		"by a leader that works at capacity": {
			func(c *slackCluster, first, second *bftraft.Request) {
				c.slack.rounds.fullAt = c.clock
				both(c, first, second)
			}, 10_000 - 1000/slackIdleLeak},
		"of one that has added all it may": {
			func(c *slackCluster, first, second *bftraft.Request) {
				c.pending(first).slack = slackPerRequest + 1000
				c.execute(first)
				c.pool.executed(second, c.clock)
			}, 10_000 - 1000/slackIdleLeak},
		"by a node that is behind": {
			func(c *slackCluster, first, _ *bftraft.Request) {
				c.slack.rounds.behind = c.clock
				c.execute(first)
			}, 10_000 - 1000/slackIdleLeak},
		"by a node that is behind, where none waits on": {
			func(c *slackCluster, first, second *bftraft.Request) {
				c.slack.rounds.behind = c.clock
				both(c, first, second)
			}, 10_000 - 1000/slackIdleLeak},
		"under the leader before": {
			func(c *slackCluster, first, second *bftraft.Request) {
				both(c, first, second)
				c.core.term = 2
				c.watchLeader()
				c.fill(1, 10_000)
				c.fill(2, 10_000)
			}, 10_000 - 1000/slackIdleLeak},
	} {
		c := newSlackCluster(t)
		c.pass(1000)
		first, second := c.request(1), c.request(2)
		c.fill(1, 10_000)
		c.fill(2, 10_000)
		c.pass(800)
		k.set(c, first, second)
		c.pass(2000 - c.clock)
		require.Equal(t, k.want, c.fullest(), name)
	}
}

// pending returns what is held of a request.
func (c *slackCluster) pending(r *bftraft.Request) *pending {
	o, _, _ := c.pool.find(r.Client)
	i, _ := o.place(r.Session, r.Sequence)
	return o.requests[i]
}
