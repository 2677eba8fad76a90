package replica

import (
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// stuckCore follows a leader in a term that does not end, and commits nothing, though something is
// on its way unless it is idle.
type stuckCore struct {
	Protocol
	starving bool // or slow: what the tests of slack are about
	slow     bool
	idle     bool
	timeout  uint64 // 10 if it is zero
	term     bftraft.Term
}

func (*stuckCore) Tick()                       {}
func (*stuckCore) Verifier() *bftraft.Verifier { return fourNodes() }
func (c *stuckCore) Term() bftraft.Term        { return max(c.term, 1) }
func (*stuckCore) Left() bool                  { return false }
func (*stuckCore) Leader() bftraft.NodeID      { return 2 }
func (*stuckCore) Commit() bftraft.Position    { return bftraft.Position{} }
func (c *stuckCore) SetWaiting(ticks uint64)   { c.starving = ticks >= c.patience() }
func (c *stuckCore) SetSlow(slow bool)         { c.slow, c.starving = slow, c.starving || slow }

// patience is that of the core at first.
func (c *stuckCore) patience() uint64 { return 2 * c.Timeout() }

func (c *stuckCore) Timeout() uint64 {
	if c.timeout == 0 {
		return 10
	}
	return c.timeout
}

func (c *stuckCore) Uncommitted() []*bftraft.Block {
	if c.idle {
		return nil
	}
	return make([]*bftraft.Block, 1)
}

// sentFrames counts the frames that went to each node.
type sentFrames map[bftraft.NodeID]int

func (s sentFrames) Send(to bftraft.NodeID, _ bftraft.Class, _ []byte) { s[to]++ }
func (s sentFrames) Reply(ClientID, []byte)                            {}

// fourNodes is the gate of four nodes whose keys have the seeds 1 to 4; the clients' have many.
var fourNodes = sync.OnceValue(func() *bftraft.Verifier {
	g := &bftraft.Genesis{Name: "four", Nonce: crypto.Digest{1}, Testnet: true}
	for id := byte(1); id <= 4; id++ {
		g.Voters = append(g.Voters, quorumcert.Voter{
			ID: bftraft.NodeID(id), Key: crypto.KeyFromSeed([32]byte{id}).Public(),
		})
	}
	for n := range 1 << 10 {
		key := crypto.KeyFromSeed([32]byte{byte(n), byte(n >> 8)})
		g.Clients = append(g.Clients, bftraft.Enrolled{Name: strconv.Itoa(n), Key: key.Public()})
	}
	gate, err := bftraft.NewVerifier(crypto.ZIP215(), g)
	if err != nil {
		panic(err)
	}
	return gate
})

// follower returns node 1 of four, led by node 2.
func follower(t *testing.T, core *stuckCore, sent Transport) *Replica {
	return &Replica{
		cfg: Config{Transport: sent, Storage: &brittle{}, BlockBytes: DefaultBlockBytes},
		id:  1, core: core, gate: fourNodes(),
		sessions: newSessions(MaxResults), pool: newPool(Limits{}.orDefault()), term: 1, leader: 2,
	}
}

func TestStarvingRequestIsForwardedAgainAndAgain(t *testing.T) {
	core, sent := &stuckCore{}, sentFrames{}
	r := follower(t, core, sent)
	r.cfg.Core.HeartbeatTicks = 10 // so that the wait is no slack before it is starvation
	request := bftraft.SignRequest(crypto.Digest{}, crypto.KeyFromSeed([32]byte{9}), 1, 1,
		[][]byte{{1}})
	r.Request(ClientID{}, 0, request)
	require.Equal(t, sentFrames{2: 1}, sent, "at first the leader alone")
	for range 10 { // the first of them starts the timer
		r.Tick()
	}
	require.Equal(t, sentFrames{2: 1}, sent)
	r.Tick()
	require.Equal(t, sentFrames{2: 2, 3: 1, 4: 1}, sent, "then all, once")
	require.False(t, core.starving)
	for range 10 {
		r.Tick()
	}
	require.True(t, core.starving)
	require.False(t, core.slow)
	// All of that may have been lost, while they were away. So it does not end there.
	for range 100 {
		r.Tick()
	}
	require.Equal(t, sentFrames{2: 14, 3: 12, 4: 12}, sent, "once more to the leader: slack")
	r.pool.executed(request, r.clock)
	r.Tick()
	require.False(t, core.starving)
}

// TestE5SessionIsNotStarvedBehindAnotherOfItsClient is about a leader that serves the lower session
// of a client at once, and the higher never.
func TestE5SessionIsNotStarvedBehindAnotherOfItsClient(t *testing.T) {
	core := &stuckCore{timeout: 100}
	r := follower(t, core, sentFrames{})
	r.cfg.Core.HeartbeatTicks = 1000 // so that nothing is slack
	ask := func(session, sequence uint64) *bftraft.Request {
		q := bftraft.SignRequest(crypto.Digest{}, crypto.KeyFromSeed([32]byte{9}), session, sequence,
			[][]byte{{1}})
		r.Request(ClientID{}, 0, q)
		return q
	}
	ask(7, 1)
	for k := range 2*core.timeout + 2 {
		require.False(t, core.starving, "after %d ticks", k)
		served := ask(5, k+1)
		ask(5, k+2)
		r.Tick()
		r.pool.executed(served, r.clock)
		r.sessions.admit(served)
	}
	r.Tick()
	require.True(t, core.starving)
}

func TestE5OldestOfTheRequestsThatComeNextIsTimed(t *testing.T) {
	r := follower(t, &stuckCore{}, sentFrames{})
	add := func(session, sequence, since uint64) {
		r.pool.add(ask(session, sequence, 1), 0, since)
	}
	foremost := func() [2]uint64 {
		p := r.foremost(r.pool.clients[0])
		return [2]uint64{p.Session, p.Sequence}
	}
	executedUpTo(r, 5, 3)
	add(5, 5, 1)
	require.Nil(t, r.foremost(r.pool.clients[0]), "none comes next")
	add(6, 1, 20)
	require.Equal(t, [2]uint64{6, 1}, foremost())
	add(6, 2, 2)
	require.Equal(t, [2]uint64{6, 1}, foremost())
	add(5, 4, 20)
	require.Equal(t, [2]uint64{5, 4}, foremost(), "of those that came together that of the lowest")
	add(7, 1, 19)
	require.Equal(t, [2]uint64{7, 1}, foremost())
}
