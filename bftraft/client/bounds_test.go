package client

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
)

func TestConfigTakesItsBoundsAndNothingBeyond(t *testing.T) {
	largest := bftraft.MaxRequestBytes - requestOverhead
	for name, c := range map[string]struct {
		good, bad []int
		set       func(c *Config, n int)
	}{
		"Window": {[]int{1, 128}, []int{-1, 0, 129}, func(c *Config, n int) { c.Window = n }},
		"BundleOps": {[]int{1, bftraft.MaxRequestOps}, []int{0, bftraft.MaxRequestOps + 1},
			func(c *Config, n int) { c.BundleOps = n }},
		"BundleBytes": {[]int{1, largest}, []int{0, largest + 1},
			func(c *Config, n int) { c.BundleBytes = n }},
		"QueueOps":   {[]int{1}, []int{-1, 0}, func(c *Config, n int) { c.QueueOps = n }},
		"QueueBytes": {[]int{1}, []int{-1, 0}, func(c *Config, n int) { c.QueueBytes = n }},
		"Late": {[]int{1, 50}, []int{-1, 0, 51}, func(c *Config, n int) {
			c.Late, c.LateMax = time.Duration(n), 50
		}},
		"ReadTries": {[]int{1}, []int{-1, 0}, func(c *Config, n int) { c.ReadTries = n }},
		"ReadPatience": {[]int{1}, []int{-1, 0}, func(c *Config, n int) {
			c.ReadPatience = time.Duration(n)
		}},
	} {
		cfg := DefaultConfig()
		cfg.Genesis, cfg.Key = testGenesis(4), clientKey()
		for _, n := range c.good {
			c.set(&cfg, n)
			require.NoError(t, cfg.Validate(), "%s %d", name, n)
		}
		for _, n := range c.bad {
			c.set(&cfg, n)
			require.ErrorIs(t, cfg.Validate(), ErrConfig, "%s %d", name, n)
			require.ErrorContains(t, cfg.Validate(), name, "%d", n)
		}
	}
}

func TestLargestOperationIsTaken(t *testing.T) {
	c := &Client{}
	c.known.gate.Store(newCluster(t, 4).gate)
	require.NoError(t, c.check(make([]byte, bftraft.MaxOpBytes)))
	require.ErrorIs(t, c.check(make([]byte, bftraft.MaxOpBytes+1)), ErrTooLarge)
}

// Every bundle is as large as the limits let it be, and no larger; the first operation always
// goes, and one that shall be alone is.
func TestBundleIsTheLongestThatFits(t *testing.T) {
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 2000 {
		cfg := Config{BundleOps: 1 + rng.IntN(5), BundleBytes: 1 + rng.IntN(80), Window: 32}
		c := &Client{cfg: cfg, session: 3, next: 1}
		for range 1 + rng.IntN(8) {
			f := &Future{op: make([]byte, rng.IntN(20)), alone: rng.IntN(6) == 0}
			c.queue, c.queueBytes = append(c.queue, f), c.queueBytes+len(f.op)+4
		}
		want := longestBundle(cfg, c.queue)
		left := c.queueBytes
		for _, f := range c.queue[:want] {
			left -= len(f.op) + 4
		}
		all := append([]*Future(nil), c.queue...)
		flight, ops := c.board()
		require.Len(t, ops, want, "seed %d", seed)
		require.Equal(t, all[:want], flight.futures)
		require.Equal(t, all[want:], append([]*Future{}, c.queue...))
		require.Equal(t, left, c.queueBytes)
		for _, f := range all {
			c.calls = append(c.calls, &call{query: f.op, alone: f.alone})
		}
		require.Equal(t, want, c.together(), "the queries of a question are bounded as operations are")
		require.Equal(t, RequestID{Session: 3, Sequence: 1}, flight.id)
		require.Equal(t, uint64(2), c.next)
		for _, f := range flight.futures {
			require.Same(t, flight, f.flight)
		}
	}
}

func longestBundle(cfg Config, queue []*Future) int {
	bytes := 0
	for n, f := range queue {
		bytes += len(f.op) + 4
		if n > 0 && (n == cfg.BundleOps || bytes > cfg.BundleBytes || f.alone || queue[0].alone) {
			return n
		}
	}
	return len(queue)
}

// Of what is in flight only the later requests of the session wait for one that never comes.
func TestBrokenSessionTakesOnlyItsLaterRequestsAlong(t *testing.T) {
	c := &Client{session: 9, next: 8}
	var lost []*Future
	var kept []RequestID
	for _, id := range []RequestID{{8, 2}, {8, 9}, {9, 1}, {9, 3}, {9, 4}, {9, 7}} {
		f := &flight{id: id, futures: []*Future{{done: make(chan struct{})}}}
		if id.Session == 9 && id.Sequence > 3 {
			lost = append(lost, f.futures[0])
		} else if id != (RequestID{9, 3}) {
			kept = append(kept, id)
		}
		if id != (RequestID{9, 3}) {
			c.flights = append(c.flights, f)
		}
	}
	c.breakSession(&flight{id: RequestID{9, 3}})
	var left []RequestID
	for _, f := range c.flights {
		left = append(left, f.id)
		require.False(t, f.futures[0].ended(), "%v", f.id)
	}
	require.Equal(t, kept, left)
	for _, f := range lost {
		require.True(t, f.ended())
		_, err := f.Result()
		require.ErrorIs(t, err, ErrUnknownOutcome)
	}
	session := c.session
	require.Greater(t, session, uint64(9))
	require.Equal(t, uint64(1), c.next)
	c.next = 5
	c.breakSession(&flight{id: RequestID{9, 3}})
	require.Equal(t, session, c.session, "a session that was given up already")
	require.Equal(t, uint64(5), c.next)
}

func TestRefusalsThatPassByThemselvesNeverCount(t *testing.T) {
	for _, code := range []bftraft.RefusalCode{bftraft.RefusedBusy, bftraft.RefusedWindow} {
		f := &flight{id: RequestID{1, 1}}
		for id := bftraft.NodeID(1); id <= 4; id++ {
			r := &bftraft.Refusal{Session: 1, Sequence: 1, Code: code}
			require.Zero(t, f.refuse(id, r, 1), "%v", code)
		}
	}
}

// The guess must be the naive one: among the pairs of term and leader that more than f nodes name
// the newest; if there is none, the one that most name, of these the newest.
func TestBestLeaderIsTheOneThatCountingGives(t *testing.T) {
	const seed = 11
	rng := rand.New(rand.NewPCG(seed, 1))
	type pair struct {
		term   bftraft.Term
		leader bftraft.NodeID
	}
	for range 5000 {
		var l leaders
		count := map[pair]int{}
		for id := bftraft.NodeID(1); id <= 7; id++ {
			s := &bftraft.NodeStatus{
				Term: bftraft.Term(rng.IntN(3)), Leader: bftraft.NodeID(rng.IntN(4)),
			}
			s.From = id
			l.note(s)
			if s.Leader != 0 {
				count[pair{s.Term, s.Leader}]++
			}
		}
		const f = 2
		allowed := map[bftraft.NodeID]bool{}
		var top [3]int // more than f, votes or 0, term
		for p, votes := range count {
			rank := [3]int{0, votes, int(p.term)}
			if votes > f {
				rank = [3]int{1, 0, int(p.term)}
			}
			switch compareRanks(rank, top) {
			case 1:
				top, allowed = rank, map[bftraft.NodeID]bool{p.leader: true}
			case 0:
				allowed[p.leader] = true
			}
		}
		best := l.best(f)
		require.Equal(t, len(count) > 0, best != 0, "seed %d", seed)
		if best != 0 {
			require.True(t, allowed[best], "seed %d: %v of %v", seed, best, count)
		}
	}
}

func compareRanks(a, b [3]int) int {
	for i := range a {
		if a[i] != b[i] {
			if a[i] > b[i] {
				return 1
			}
			return -1
		}
	}
	return 0
}

func TestQueueIsFullAtItsLastByteOrOperation(t *testing.T) {
	for _, cfg := range []Config{{QueueOps: 3, QueueBytes: 1000}, {QueueOps: 9, QueueBytes: 3 * 24}} {
		c := &Client{cfg: cfg, wake: make(chan struct{}, 1)}
		c.known.gate.Store(newCluster(t, 4).gate)
		for range 3 {
			require.False(t, c.Go(make([]byte, 20)).ended())
		}
		refused := c.Go(nil)
		require.True(t, refused.ended())
		_, err := refused.Result()
		require.ErrorIs(t, err, ErrQueueFull)
		require.Len(t, c.queue, 3)
	}
}

// Only who has forgotten a result says that those after it may go on.
func TestRefusalOfWhatIsMalformedEndsItsSession(t *testing.T) {
	for _, executed := range []bool{true, false} {
		f := &flight{id: RequestID{9, 3}}
		c := &Client{session: 9, next: 4, flights: []*flight{f}}
		c.giveUp(f, refusal{code: bftraft.RefusedMalformed, executed: executed})
		require.Empty(t, c.flights)
		require.NotEqual(t, uint64(9), c.session)
		require.Equal(t, uint64(1), c.next)
	}
}
