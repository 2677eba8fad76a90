package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
)

// fullCore leads and takes any number of blocks, which it keeps.
type fullCore struct {
	stuckCore
	room   int
	blocks [][]bftraft.Entry
}

func (*fullCore) Leader() bftraft.NodeID { return 1 }
func (c *fullCore) Room() bool           { return len(c.blocks) < c.room }
func (c *fullCore) Propose(entries []bftraft.Entry) {
	c.blocks = append(c.blocks, entries)
}

// sessions returns the sessions of all that was proposed, in order.
func (c *fullCore) sessions(t *testing.T) []uint64 {
	var list []uint64
	for _, entries := range c.blocks {
		for _, e := range entries {
			r, err := bftraft.DecodeRequest(e.Data)
			require.NoError(t, err)
			list = append(list, r.Session)
		}
	}
	return list
}

func leadingReplica(room int) (*Replica, *fullCore) {
	core := &fullCore{room: room}
	return &Replica{
		cfg: Config{Transport: sentFrames{}, BlockBytes: DefaultBlockBytes}, id: 1,
		gate: fourNodes(), core: core, sessions: newSessions(MaxResults),
		pool: newPool(Limits{}.orDefault()), term: 1, leader: 1,
	}, core
}

func ask(session, sequence uint64, size int) *bftraft.Request {
	return bftraft.SignRequest(crypto.Digest{}, crypto.KeyFromSeed([32]byte{9}), session, sequence,
		[][]byte{make([]byte, size)})
}

// A client that fills the leader with requests that wait for others, and shows the others one that
// does not, must not have an honest leader deposed (E5).
func TestForwardedRequestHasAPlaceWhateverItsClientSends(t *testing.T) {
	r, core := leadingReplica(1)
	for session := uint64(1); session <= 2*MaxOutstanding; session++ {
		r.Request(ClientID{}, 0, ask(session, 2, 1))
	}
	require.Equal(t, uint64(MaxOutstanding), r.stats.Refused)
	var want []uint64
	for session := uint64(500); session < 500+2*MaxOutstanding; session++ {
		r.Request(ClientID{}, 2, ask(session, 1, 1))
		want = append(want, session)
	}
	r.Request(ClientID{}, 3, ask(400, 1, 1))
	r.proposeNext()
	require.Equal(t, append([]uint64{400}, want[:MaxOutstanding]...), core.sessions(t))
	require.Len(t, r.pool.clients[0].requests, 2*MaxOutstanding+1, "each node has room of its own")
	require.Equal(t, uint64(2*MaxOutstanding), r.stats.Refused)
}

// Nodes forget what cannot be executed at different times. What can be must not wait for that.
func TestRequestThatCanBeExecutedMakesRoomForItself(t *testing.T) {
	r, core := leadingReplica(1)
	for session := uint64(1); session <= MaxOutstanding; session++ {
		r.Request(ClientID{}, 2, ask(session, 2, 1))
	}
	r.Request(ClientID{}, 2, ask(900, 3, 1))
	require.Equal(t, uint64(1), r.stats.Refused, "it waits itself")
	for _, sequence := range []uint64{1, 2, 3} {
		r.Request(ClientID{}, 2, ask(900, sequence, 1))
	}
	r.Request(ClientID{}, 3, ask(901, 1, 1))
	o := r.pool.clients[0]
	bytes := 0
	for _, p := range o.requests {
		bytes += len(p.Raw())
	}
	require.Equal(t, bytes, o.bytes)
	require.Len(t, o.requests, MaxOutstanding+1)
	require.Equal(t, uint64(1), r.stats.Refused)
	r.proposeNext()
	require.Equal(t, []uint64{900, 900, 900, 901}, core.sessions(t))
	for session := uint64(1000); session < 1000+2*MaxOutstanding; session++ {
		r.Request(ClientID{}, 2, ask(session, 1, 1))
	}
	require.Len(t, o.requests, MaxOutstanding+1, "and no more than there are")
	require.Equal(t, uint64(1+MaxOutstanding+3), r.stats.Refused)
}

// Sessions with low numbers that go on and on must not keep one with a high number waiting.
func TestSessionsOfAClientAreServedAsTheyCome(t *testing.T) {
	r, core := leadingReplica(1)
	r.Request(ClientID{}, 0, ask(7, 1, DefaultBlockBytes/2))
	for range 10 {
		r.Tick()
		r.Request(ClientID{}, 0, ask(r.now%6+1, r.now/6+1, DefaultBlockBytes/2))
		r.Request(ClientID{}, 0, ask(8, r.now, 1))
	}
	r.proposeNext()
	require.Equal(t, uint64(7), core.sessions(t)[0])
}

// A client may fill its share with requests that wait for others. They cost the others, when blocks
// are made and timers run, no more than a look at each.
func TestRequestsThatWaitForOthersCostALookEach(t *testing.T) {
	const clients, blocks, most = 10, 20, 30
	requests := make([]*bftraft.Request, MaxOutstanding)
	for i := range requests {
		requests[i] = ask(1, uint64(i+1), 1)
	}
	spent := func(waiting int) time.Duration {
		r, _ := leadingReplica(blocks)
		for k := range waiting {
			key := crypto.KeyFromSeed([32]byte{7, byte(k)})
			for session := range uint64(MaxOutstanding) {
				req := bftraft.SignRequest(crypto.Digest{}, key, session+1, 2, [][]byte{{1}})
				fits, _ := r.pool.add(req, 0, 0)
				require.True(t, fits)
			}
		}
		least := time.Hour
		for range blocks {
			for _, req := range requests {
				_, fresh := r.pool.add(req, 0, 0)
				require.True(t, fresh)
			}
			began := time.Now()
			require.Len(t, r.nextEntries(), MaxOutstanding)
			for range 2 {
				for _, o := range r.pool.clients {
					r.foremost(o)
				}
			}
			least = min(least, time.Since(began))
			r.pool.executed(requests[MaxOutstanding-1], r.clock)
		}
		return least
	}
	alone, crowded := spent(0), spent(clients)
	t.Logf("%v alone, %v beside %d clients", alone, crowded, clients)
	require.Less(t, crowded, most*alone)
}
