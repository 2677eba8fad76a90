package replica

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// executedUpTo enters what was executed of a session of the client of ask.
func executedUpTo(r *Replica, session, sequence uint64) {
	r.sessions.open(ask(session, 1, 1).Client, session).last = sequence
}

// held returns session and sequence of all that the pool holds of the client of ask.
func held(r *Replica) [][2]uint64 {
	var list [][2]uint64
	for _, o := range r.pool.clients {
		for _, p := range o.requests {
			list = append(list, [2]uint64{p.Session, p.Sequence})
		}
	}
	return list
}

// TestPruneForgetsWhatCannotBeExecutedAndNothingElse holds a request of each kind.
func TestPruneForgetsWhatCannotBeExecutedAndNothingElse(t *testing.T) {
	limit := abandonedTimeouts * (&stuckCore{}).Timeout()
	fill := func(age uint64, requests ...[2]uint64) *Replica {
		r := follower(t, &stuckCore{}, sentFrames{})
		executedUpTo(r, 5, 3)
		executedUpTo(r, 6, 3)
		r.sessions.clients[0].floor = 4
		for _, q := range requests {
			r.pool.add(ask(q[0], q[1], 1), 0, 1000*tickParts)
		}
		r.now, r.clock = 1000+age, (1000+age)*tickParts
		r.prune()
		for _, o := range r.pool.clients {
			bytes := 0
			for _, p := range o.requests {
				bytes += len(p.Raw())
			}
			require.Equal(t, bytes, o.bytes)
		}
		return r
	}
	expired, done, gap, next := [2]uint64{4, 1}, [2]uint64{5, 3}, [2]uint64{6, 5}, [2]uint64{6, 4}
	lowest, after := [2]uint64{5, 4}, [2]uint64{5, 6}
	for age, kept := range map[uint64][][2]uint64{
		0:         {lowest, after, gap},
		limit:     {lowest, after, gap},
		limit + 1: {lowest, after},
	} {
		require.Equal(t, kept, held(fill(age, expired, done, lowest, after, gap)), "age %d", age)
	}
	require.Equal(t, [][2]uint64{next}, held(fill(10*limit, done, after, next)))
	require.Empty(t, fill(0, expired).pool.clients)
	require.Empty(t, fill(0, done).pool.clients)
	require.Len(t, fill(limit, gap).pool.clients, 1)
	require.Empty(t, fill(limit+1, gap).pool.clients, "nothing of the client's can be executed")
}

func TestPoolIsPrunedInTicksAndNotAtOthers(t *testing.T) {
	r := follower(t, &stuckCore{}, sentFrames{})
	executedUpTo(r, 5, 3)
	for k := range uint64(3 * pruneTicks) {
		if k%pruneTicks == 50 {
			r.pool.add(ask(5, 3, 1), 0, r.clock)
		}
		r.Tick()
		require.Equal(t, k%pruneTicks >= 50 && k%pruneTicks != pruneTicks-1, len(held(r)) > 0,
			"tick %d", r.now)
	}
}

// The next request to propose is found as anybody would find it.
func TestNextRequestToProposeContinuesItsSession(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, 1))
	var made [6][6]*bftraft.Request
	for s := range made {
		for q := range made[s] {
			made[s][q] = ask(uint64(s), uint64(q), 1)
		}
	}
	found := 0
	for round := range 4000 {
		r, _ := leadingReplica(1)
		for s := range uint64(6) {
			if rng.IntN(3) > 0 {
				executedUpTo(r, s, rng.Uint64N(3))
			}
		}
		if len(r.sessions.clients) > 0 {
			r.sessions.clients[0].floor = rng.Uint64N(3)
		}
		pool := map[[2]uint64]*pending{}
		o := &outstanding{key: made[0][0].Client}
		for s := range made {
			for q := range made[s] {
				if rng.IntN(3) == 0 {
					continue
				}
				p := &pending{Request: made[s][q], since: rng.Uint64N(5),
					proposed: bftraft.Term(rng.IntN(3) / 2)}
				o.requests = append(o.requests, p)
				pool[[2]uint64{uint64(s), uint64(q)}] = p
			}
		}
		r.lineUp(o)
		require.Zero(t, o.taken)
		for k := 0; ; k++ {
			var want *pending
			for s := range uint64(6) {
				last, ok := r.sessions.last(o.key, s)
				at := [2]uint64{s, last + 1}
				for ok && pool[at] != nil && pool[at].proposed == r.term {
					at[1]++
				}
				if p := pool[at]; ok && p != nil && (want == nil || p.since < want.since) {
					want = p
				}
			}
			if want == nil {
				require.Len(t, o.line, k, "seed %d, round %d", seed, round)
				break
			}
			found++
			require.Greater(t, len(o.line), k, "seed %d, round %d", seed, round)
			require.Same(t, want, o.line[k].pending, "seed %d, round %d, place %d", seed, round, k)
			want.proposed = r.term
		}
	}
	require.Greater(t, found, 4000)
}

// TestNewLeaderProposesWhatDoesNotStandInItsLog has a block of an earlier term there.
func TestNewLeaderProposesWhatDoesNotStandInItsLog(t *testing.T) {
	r, _ := leadingReplica(1)
	one, two, three := ask(1, 1, 1), ask(1, 2, 1), ask(2, 1, 1)
	proof := twoVotes(crypto.Digest{1}, 3, 1)
	b := bftraft.NewBlock(r.executed, []bftraft.Entry{
		bftraft.EvidenceEntry(&proof), one.Entry(), ask(7, 1, 1).Entry(),
	})
	core := &leftover{fullCore: fullCore{room: 1}, blocksLeft: []*bftraft.Block{b}}
	r.core, r.leader = core, 0
	for _, q := range []*bftraft.Request{one, two, three} {
		r.Request(ClientID{}, 0, q)
	}
	r.proposeNext()
	require.Equal(t, [][]bftraft.Entry{{two.Entry(), three.Entry()}}, core.blocks)
}

// reigns is a core whose term and leader the test sets.
type reigns struct {
	stuckCore
	leader bftraft.NodeID
}

func (c *reigns) Leader() bftraft.NodeID { return c.leader }

func TestOutstandingRequestsGoToEachNewLeaderAndTimersStartInEachTerm(t *testing.T) {
	sent := sentFrames{}
	r := follower(t, &stuckCore{}, sent)
	core := &reigns{stuckCore: stuckCore{idle: true}, leader: 2}
	core.term = 1
	r.core = core
	for s := range uint64(3) {
		r.Request(ClientID{}, 3, ask(s, 1, 1))
	}
	o := r.pool.clients[0]
	require.Empty(t, sent, "who forwards a request tells the leader itself")
	for _, c := range []struct {
		term   bftraft.Term
		leader bftraft.NodeID
		told   sentFrames
		anew   bool
	}{
		{1, 2, sentFrames{}, false}, {2, 0, sentFrames{}, true}, {2, 3, sentFrames{3: 3}, false},
		{3, 4, sentFrames{4: 3}, true}, {4, 1, sentFrames{}, true}, {5, 4, sentFrames{4: 3}, true},
	} {
		core.term, core.leader = c.term, c.leader
		clear(sent)
		r.now += 10
		o.since = 1
		r.evidence.offered = quorumcert.SetOf(2)
		r.watchLeader()
		require.Equal(t, c.told, sent, "term %d", c.term)
		if c.anew {
			require.Equal(t, r.now, o.since, "term %d", c.term)
			require.Zero(t, r.evidence.offered)
		} else {
			require.Equal(t, uint64(1), o.since, "term %d", c.term)
			require.NotZero(t, r.evidence.offered)
		}
		require.Equal(t, c.term, r.term)
		require.Equal(t, c.leader, r.leader)
	}
}

func TestNewRequestOfAClientGoesToTheLeaderOnce(t *testing.T) {
	sent := sentFrames{}
	r := follower(t, &stuckCore{}, sent)
	r.Request(ClientID{}, 0, ask(1, 1, 1))
	require.Equal(t, sentFrames{2: 1}, sent)
	r.Request(ClientID{}, 0, ask(1, 1, 1))
	r.Request(ClientID{}, 3, ask(2, 1, 1))
	require.Equal(t, sentFrames{2: 1}, sent, "neither what is held already nor what is forwarded")
}

// toNodes counts frames to clients and to each node.
type toNodes struct {
	nodes   sentFrames
	clients int
}

func (o *toNodes) Send(to bftraft.NodeID, _ bftraft.Class, _ []byte) { o.nodes[to]++ }
func (o *toNodes) Reply(ClientID, []byte)                            { o.clients++ }

func TestQuestionsOfEachNodeAreAnsweredWithinLimits(t *testing.T) {
	out := &toNodes{nodes: sentFrames{}}
	r := follower(t, &stuckCore{}, out)
	r.cfg.Core.Signer = crypto.NewSigner(1, crypto.KeyFromSeed([32]byte{1}))
	req := ask(1, 1, 1)
	executedUpTo(r, 1, 1)
	r.sessions.remember(req, result{sequence: 1})
	flood := func() {
		for range maxRepeats + 9 {
			r.Request(ClientID{}, 3, req)
			r.Request(ClientID{}, 0, req)
		}
	}
	flood()
	require.Equal(t, sentFrames{3: maxRepeats}, out.nodes)
	require.Equal(t, maxRepeats+9, out.clients, "clients have a budget of their own")
	r.Request(ClientID{}, 4, req)
	require.Equal(t, 1, out.nodes[4], "and so has every other node")
	for r.now%repeatTicks != repeatTicks-1 {
		r.Tick()
	}
	flood()
	require.Equal(t, maxRepeats, out.nodes[3], "for %d ticks", repeatTicks)
	r.Tick()
	flood()
	require.Equal(t, 2*maxRepeats, out.nodes[3])
	require.Zero(t, r.stats.Refused)
	r.sessions = newSessions(MaxResults)
	executedUpTo(r, 1, 1)
	out.clients = 0
	r.Request(ClientID{}, 0, req)
	r.Request(ClientID{}, 4, req)
	require.Equal(t, 1, out.clients, "what is forgotten is refused, to clients aloud")
	require.Equal(t, 1, out.nodes[4])
	require.Equal(t, uint64(2), r.stats.Refused)
}

func TestRequestsAreOrderedInTurnUntilTheBlockIsFull(t *testing.T) {
	r, core := leadingReplica(100)
	of := func(client byte, sequence uint64) *bftraft.Request {
		return bftraft.SignRequest(crypto.Digest{}, crypto.KeyFromSeed([32]byte{client}), 1, sequence,
			[][]byte{make([]byte, 10)})
	}
	for q := range uint64(4) {
		for c := range byte(5) {
			r.Request(ClientID{}, 0, of(c, q+1))
		}
	}
	cost := len(of(1, 1).Raw()) + 5
	r.cfg.BlockBytes = 3 * cost
	var order []crypto.PublicKey
	for _, o := range r.pool.clients {
		order = append(order, o.key)
	}
	r.proposeNext()
	place := 0
	for _, b := range core.blocks {
		require.LessOrEqual(t, len(b), 3)
		for _, e := range b {
			req, err := bftraft.DecodeRequest(e.Data)
			require.NoError(t, err)
			require.Equal(t, order[place%5], req.Client, "request %d", place)
			require.Equal(t, uint64(place/5+1), req.Sequence)
			place++
		}
	}
	require.Equal(t, 20, place)
	require.Len(t, core.blocks, 7)
}

func TestLargeRequestHasABlockOfItsOwn(t *testing.T) {
	r, core := leadingReplica(9)
	r.cfg.BlockBytes = 100
	for s := range uint64(3) {
		r.Request(ClientID{}, 0, ask(s+1, 1, 1000))
	}
	r.proposeNext()
	require.Equal(t, []uint64{1, 2, 3}, core.sessions(t))
	require.Len(t, core.blocks, 3)
}

func TestPoolForgetsAClientWithTheLastOfItsRequests(t *testing.T) {
	p := newPool(Limits{}.orDefault())
	for q := range uint64(3) {
		p.add(ask(1, q+1, 1), 0, 0)
	}
	p.executed(ask(1, 2, 1), 0)
	require.Len(t, p.clients, 1)
	p.executed(ask(1, 3, 1), 0)
	require.Empty(t, p.clients)
}

// told keeps what clients are told.
type told struct {
	sentFrames
	frames [][]byte
}

func (o *told) Reply(_ ClientID, frame []byte) { o.frames = append(o.frames, frame) }

func TestRefusalNamesItsRequestAndHowFarItsSessionIs(t *testing.T) {
	out := &told{sentFrames: sentFrames{}}
	r := follower(t, &stuckCore{}, out)
	r.cfg.CheckOp = func(op []byte) error {
		if len(op) == 7 {
			return bftraft.ErrConfig
		}
		return nil
	}
	executedUpTo(r, 3, 5)
	for _, c := range []struct {
		sequence uint64
		size     int
		code     bftraft.RefusalCode
	}{
		{6, 6, 0}, {7, 7, bftraft.RefusedMalformed}, {6 + Window, 8, bftraft.RefusedWindow},
		{5, 1, bftraft.RefusedExpired},
	} {
		out.frames = nil
		r.Request(ClientID{}, 0, ask(3, c.sequence, c.size))
		if c.code == 0 {
			require.Empty(t, out.frames)
			continue
		}
		require.Len(t, out.frames, 1)
		refusal, err := bftraft.DecodeRefusal(out.frames[0])
		require.NoError(t, err)
		require.Equal(t, &bftraft.Refusal{Session: 3, Sequence: c.sequence, Code: c.code,
			Executed: 5}, refusal)
	}
	require.Equal(t, [][2]uint64{{3, 6}}, held(r))
	two := bftraft.SignRequest(crypto.Digest{}, crypto.KeyFromSeed([32]byte{9}), 3, 7,
		[][]byte{make([]byte, 6), make([]byte, 7)})
	r.Request(ClientID{}, 0, two)
	require.Len(t, held(r), 1, "one bad operation is enough")
}

func TestReplyAboutWhatIsNotAskedIsUnasked(t *testing.T) {
	r := follower(t, &stuckCore{}, sentFrames{})
	r.Request(ClientID{}, 0, ask(1, 3, 1))
	for _, sequence := range []uint64{1, 2, 4} {
		for from := range bftraft.NodeID(3) {
			require.Equal(t, bftraft.Unasked, r.StepReply(from+2, &bftraft.BlockReply{
				Client: ask(1, 1, 1).Client, Session: 1, Sequence: sequence,
			}))
		}
	}
	require.Equal(t, bftraft.Unasked, r.StepReply(2, &bftraft.BlockReply{Session: 1, Sequence: 3}))
	require.Equal(t, [][2]uint64{{1, 3}}, held(r))
}

func TestPruneLeavesTheNextOfEverySession(t *testing.T) {
	r := follower(t, &stuckCore{}, sentFrames{})
	for s := range uint64(3) {
		r.pool.add(ask(s+1, 1, 1), 0, 0)
	}
	r.now = 100 * abandonedTimeouts * r.core.Timeout()
	r.clock = r.now * tickParts
	r.prune()
	require.Len(t, held(r), 3)
}

func TestNothingIsFoundOfSessionsThatNeverWere(t *testing.T) {
	s := newSessions(MaxResults)
	key := ask(1, 1, 1).Client
	_, ok := s.find(key, 1, 1)
	require.False(t, ok, "no client")
	s.open(key, 2)
	_, ok = s.find(key, 1, 1)
	require.False(t, ok, "no session")
}

func TestBlockHoldsNoMoreEntriesThanItMay(t *testing.T) {
	r, core := leadingReplica(2)
	one := ask(1, 1, 1)
	o := &outstanding{key: one.Client}
	for k := range uint64(bftraft.MaxBlockEntries + 10) {
		req := *one
		req.Sequence = k + 1
		o.requests = append(o.requests, &pending{Request: &req})
	}
	r.pool.clients = append(r.pool.clients, o)
	r.proposeNext()
	require.Len(t, core.blocks, 2)
	require.Len(t, core.blocks[0], bftraft.MaxBlockEntries-1, "the core may put one before it (J1)")
	require.Len(t, core.blocks[1], 11)
}

// One session goes on and on, and each of its requests is executed in good time.
func TestTimerStartsAgainWithEachRequestOfASession(t *testing.T) {
	core := &stuckCore{}
	r := follower(t, core, sentFrames{})
	r.cfg.Core.HeartbeatTicks = 1000 // so that no wait is slack
	for q := range uint64(10) {
		r.Request(ClientID{}, 0, ask(1, q+1, 1))
	}
	for q := range uint64(9) {
		for range core.patience() / 2 {
			r.Tick()
		}
		executedUpTo(r, 1, q+1)
		r.pool.executed(ask(1, q+1, 1), r.clock)
		require.False(t, core.starving, "request %d", q+1)
	}
	for range core.patience() + 1 {
		r.Tick()
	}
	require.True(t, core.starving)
}
