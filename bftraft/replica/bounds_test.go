package replica

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// sized answers every operation and query with as many bytes as the number in it says.
type sized struct{ tape }

func size(n int) []byte { return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)} }

func (*sized) Apply(_ uint64, op []byte) []byte {
	return make([]byte, int(op[0])<<24|int(op[1])<<16|int(op[2])<<8|int(op[3]))
}

func (s *sized) Query(q []byte) []byte { return s.Apply(0, q) }

func TestResultThatDoesNotFitIsLeftOutAndTheNextIsNot(t *testing.T) {
	r := &Replica{cfg: Config{Machine: &sized{}}}
	const most = bftraft.MaxResultBytes
	for _, c := range [][2][]int{
		{{most}, {most}},
		{{most + 1}, {0}},
		{{most - 1, 1}, {most - 1, 1}},
		{{most - 1, 2, 1, 1}, {most - 1, 0, 1, 0}},
		{{most + 1, most, 1}, {0, most, 0}},
	} {
		var ops [][]byte
		for _, n := range c[0] {
			ops = append(ops, size(n))
		}
		before := r.stats
		for i, res := range r.executeOps(1, &bftraft.Request{Ops: ops}, bftraft.EntryRequest) {
			require.Len(t, res, c[1][i], "%v, result %d", c[0], i)
		}
		require.Equal(t, before.Ops+uint64(len(ops)), r.stats.Ops)
		require.Equal(t, before.Requests+1, r.stats.Requests)
	}
}

// What is remembered of a session are its newest results: as many as the limits let it be, and
// always one.
func TestLimitsOfClustersStandWhereNoneAreGiven(t *testing.T) {
	a := newAlone(t)
	require.Equal(t, Limits{MaxResults, MaxOutstanding, Window}, a.r.pool.limits)
	require.Equal(t, MaxResults, a.r.sessions.limit)
	given := Limits{1, 2, 3}
	require.Equal(t, given, given.orDefault())
}

func TestSessionRemembersTheNewestResultsThatFit(t *testing.T) {
	const seed = 3
	rng := rand.New(rand.NewPCG(seed, 1))
	s := newSessions(MaxResults)
	var sizes []int
	for n := range uint64(400) {
		req := &bftraft.Request{Session: 1, Sequence: n + 1}
		require.Equal(t, bftraft.Executed, s.admit(req))
		one, two := rng.IntN(1000), 0
		if rng.IntN(8) == 0 {
			two = rng.IntN(MaxResultBytes)
		}
		switch n {
		case 100, 200:
			one, two = 0, MaxResultBytes
		case 101, 300:
			one, two = 1, MaxResultBytes
		}
		sizes = append(sizes, one+two)
		s.remember(req, result{
			sequence: n + 1, results: [][]byte{make([]byte, one), make([]byte, two)},
		})
		first, total := len(sizes)-1, sizes[n]
		for first > 0 && len(sizes)-first < MaxResults && total+sizes[first-1] <= MaxResultBytes {
			first--
			total += sizes[first]
		}
		for k := range sizes {
			_, ok := s.find(req.Client, 1, uint64(k+1))
			require.Equal(t, k >= first, ok, "seed %d: result %d after %d", seed, k+1, n+1)
		}
	}
}

// Two tables that differ in anything that clients can be told have different digests.
func TestDigestOfSessionsCoversEverything(t *testing.T) {
	table := func(change func(*session, *result)) crypto.Digest {
		s := newSessions(MaxResults)
		live := s.open(crypto.PublicKey{1}, 7)
		res := result{sequence: 3, request: crypto.Digest{2}, results: [][]byte{{3}}}
		live.last = 3
		change(live, &res)
		live.results = append(live.results, res)
		return s.digest()
	}
	seen := map[crypto.Digest]string{}
	for name, change := range map[string]func(*session, *result){
		"nothing":       func(*session, *result) {},
		"number":        func(l *session, _ *result) { l.number++ },
		"last":          func(l *session, _ *result) { l.last++ },
		"sequence":      func(_ *session, r *result) { r.sequence-- },
		"request":       func(_ *session, r *result) { r.request[9]++ },
		"result":        func(_ *session, r *result) { r.results[0] = []byte{4} },
		"one more":      func(_ *session, r *result) { r.results = append(r.results, nil) },
		"index":         func(_ *session, r *result) { r.reply.Index++ },
		"block":         func(_ *session, r *result) { r.reply.Hash[5]++ },
		"root":          func(_ *session, r *result) { r.reply.Results[5]++ },
		"configuration": func(_ *session, r *result) { r.reply.Configuration++ },
	} {
		d := table(change)
		require.Empty(t, seen[d], name)
		seen[d] = name
	}
}

// The pool is held to a list that is searched from end to end.
func TestPoolHoldsWhatAPlainListHolds(t *testing.T) {
	const seed = 5
	rng := rand.New(rand.NewPCG(seed, 1))
	p := newPool(Limits{}.orDefault())
	var list []*bftraft.Request
	var made [3][4][10]*bftraft.Request
	for range 3000 {
		client, session, sequence := rng.IntN(3), rng.IntN(4), rng.IntN(10)
		r := made[client][session][sequence]
		if r == nil {
			r = bftraft.SignRequest(crypto.Digest{}, crypto.KeyFromSeed([32]byte{byte(client)}),
				uint64(session), uint64(sequence), [][]byte{make([]byte, rng.IntN(50))})
			made[client][session][sequence] = r
		}
		if rng.IntN(6) == 0 {
			p.executed(r, 0)
			var kept []*bftraft.Request
			for _, q := range list {
				if q.Client != r.Client || q.Session != r.Session || q.Sequence > r.Sequence {
					kept = append(kept, q)
				}
			}
			list = kept
		} else {
			had := slices.Contains(list, r)
			fits, fresh := p.add(r, 0, 0)
			require.True(t, fits)
			require.Equal(t, !had, fresh)
			if !had {
				list = append(list, r)
			}
		}
		held := 0
		for _, o := range p.clients {
			bytes := 0
			require.NotEmpty(t, o.requests, "seed %d", seed)
			for i, q := range o.requests {
				require.True(t, slices.Contains(list, q.Request))
				bytes += len(q.Raw())
				if i > 0 {
					before := o.requests[i-1]
					require.True(t, before.Session < q.Session ||
						before.Session == q.Session && before.Sequence < q.Sequence)
				}
			}
			require.Equal(t, bytes, o.bytes)
			held += len(o.requests)
		}
		require.Len(t, list, held)
	}
}

func TestLargeRequestsOfAClientAreBoundedByTheirBytes(t *testing.T) {
	p := newPool(Limits{}.orDefault())
	one := ask(1, 1, bftraft.MaxOpBytes)
	n := MaxOutstandingBytes / len(one.Raw())
	for k := range n {
		fits, _ := p.add(ask(1, uint64(k+1), bftraft.MaxOpBytes), 0, 0)
		require.True(t, fits, "request %d", k)
	}
	left := MaxOutstandingBytes - n*len(one.Raw())
	around := len(one.Raw()) - bftraft.MaxOpBytes
	fits, _ := p.add(ask(2, 1, left-around+1), 0, 0)
	require.False(t, fits, "a byte too many")
	fits, _ = p.add(ask(2, 1, left-around), 0, 0)
	require.True(t, fits, "exactly full")
}

// readCore has a lock to show.
type readCore struct {
	stuckCore
	undecided bool
}

func (c *readCore) Undecided() bool { return c.undecided }

func (*readCore) LockWithQC() (bftraft.Lock, *quorumcert.QC) { return bftraft.Lock{}, nil }

func newReader(t *testing.T) (*Replica, *outbox) {
	out := &outbox{}
	r := follower(t, &stuckCore{}, out)
	r.core = &readCore{}
	r.cfg.Machine, r.executed.Index = &sized{}, 5
	r.cfg.Core.Signer = crypto.NewSigner(1, crypto.KeyFromSeed([32]byte{1}))
	return r, out
}

// Who cannot say whether others have gone on by a new configuration does not say how far reads must
// look (C3).
func TestReadWaitsUntilItIsKnownWhoHasASay(t *testing.T) {
	r, out := newReader(t)
	core := r.core.(*readCore)
	core.undecided = true
	ask := &bftraft.ReadRequest{Nonce: crypto.Digest{1}, Queries: [][]byte{size(1)}}
	r.Read(ClientID{Key: crypto.PublicKey{1}}, ask)
	r.tickReads()
	require.Empty(t, out.frames)
	core.undecided = false
	r.tickReads()
	require.Len(t, out.frames, 1)
	core.undecided = true
	r.Read(ClientID{Key: crypto.PublicKey{1}}, ask)
	r.now = readPatienceTimeouts * core.Timeout()
	r.tickReads()
	require.Empty(t, r.reads, "whoever still wants to know asks again")
	require.Len(t, out.frames, 1)
}

func TestReadWaitsForItsIndexAndNoLongerThanItsTime(t *testing.T) {
	r, out := newReader(t)
	r.now = 1000
	for _, c := range []struct {
		least   bftraft.Index
		answers int
	}{{0, 1}, {5, 2}, {6, 2}, {7, 2}} {
		r.Read(ClientID{}, &bftraft.ReadRequest{MinIndex: c.least, Queries: [][]byte{size(1)}})
		require.Len(t, out.frames, c.answers, "least %d", c.least)
	}
	r.executed.Index = 6
	r.tickReads()
	require.Len(t, out.frames, 3)
	r.now += readPatienceTimeouts*10 - 1
	r.tickReads()
	require.Len(t, out.frames, 3)
	r.now++
	r.tickReads()
	require.Len(t, out.frames, 4)
	require.Empty(t, r.reads)
}

func TestReadsThatWaitAreBounded(t *testing.T) {
	r, out := newReader(t)
	later := &bftraft.ReadRequest{MinIndex: 9, Queries: [][]byte{size(1)}}
	for client := range maxWaitingReads/maxWaitingReadsPerClient + 1 {
		before := len(out.frames)
		id := ClientID{Key: crypto.PublicKey{byte(client), byte(client >> 8)}}
		for range maxWaitingReadsPerClient + 3 {
			r.Read(id, later)
		}
		answered := len(out.frames) - before
		if client < maxWaitingReads/maxWaitingReadsPerClient {
			require.Equal(t, 3, answered, "client %d", client)
		} else {
			require.Equal(t, maxWaitingReadsPerClient+3, answered, "no room for anybody")
		}
	}
	require.Len(t, r.reads, maxWaitingReads)
}

func TestAnswerToAReadIsEmptyWhenItIsTooLarge(t *testing.T) {
	r, out := newReader(t)
	for _, n := range []int{0, 1, bftraft.MaxResultBytes, bftraft.MaxResultBytes + 1} {
		r.Read(ClientID{}, &bftraft.ReadRequest{Queries: [][]byte{size(n)}})
		reply, err := bftraft.DecodeReadReply(out.frames[len(out.frames)-1])
		require.NoError(t, err)
		want := n
		if n > bftraft.MaxResultBytes {
			want = 0
		}
		require.Len(t, reply.Results, 1)
		require.Len(t, reply.Results[0], want)
	}
}

// laborious is a state machine to which each operation and query is as much work as it says.
type laborious struct {
	tape
	work uint64
}

func (m *laborious) Work() uint64        { return m.work }
func (m *laborious) TooMuchWork() []byte { return []byte("too much") }

func (m *laborious) Query(q []byte) []byte {
	m.work += binary.BigEndian.Uint64(q)
	return q[:1]
}

func (m *laborious) Apply(index uint64, op []byte) []byte {
	m.work += binary.BigEndian.Uint64(op)
	return m.tape.Apply(index, op)
}

// TestAnswerToReadsEndsWhenItWasMuchWork: a question of thousands of queries, each about all there
// is, would else keep a node from everything for as long as it takes.
func TestAnswerToReadsEndsWhenItWasMuchWork(t *testing.T) {
	r, out := newReader(t)
	r.cfg.Machine = &laborious{work: 1 << 40}
	for _, k := range []struct {
		asked []uint64
		given int
	}{
		{[]uint64{1, 1, 1}, 3},
		{[]uint64{maxReadWork - 1, 5, 1}, 2},
		{[]uint64{maxReadWork, 1}, 1},
		{[]uint64{10 * maxReadWork, 1}, 1},
		{[]uint64{1, 10 * maxReadWork}, 2},
	} {
		var queries [][]byte
		for _, work := range k.asked {
			queries = append(queries, binary.BigEndian.AppendUint64(nil, work))
		}
		r.Read(ClientID{}, &bftraft.ReadRequest{Queries: queries})
		reply, err := bftraft.DecodeReadReply(out.frames[len(out.frames)-1])
		require.NoError(t, err)
		require.Len(t, reply.Results, k.given, "%v", k.asked)
	}
}

func TestAnswerToReadsHoldsWhatFits(t *testing.T) {
	r, out := newReader(t)
	for _, k := range []struct{ asked, given []int }{
		{[]int{0, 1, 2}, []int{0, 1, 2}},
		{[]int{1, bftraft.MaxResultBytes - 1, 0}, []int{1, bftraft.MaxResultBytes - 1, 0}},
		{[]int{1, bftraft.MaxResultBytes, 0}, []int{1}},
		{[]int{bftraft.MaxResultBytes + 1, 5}, []int{0, 5}},
		{[]int{bftraft.MaxResultBytes + 1, bftraft.MaxResultBytes}, []int{0, bftraft.MaxResultBytes}},
	} {
		var queries [][]byte
		for _, n := range k.asked {
			queries = append(queries, size(n))
		}
		r.Read(ClientID{}, &bftraft.ReadRequest{Queries: queries})
		reply, err := bftraft.DecodeReadReply(out.frames[len(out.frames)-1])
		require.NoError(t, err)
		var given []int
		for _, result := range reply.Results {
			given = append(given, len(result))
		}
		require.Equal(t, k.given, given)
	}
}

// What the simulator bounds is what there is.
func TestHeldCountsWhatIsHeld(t *testing.T) {
	a := newAlone(t)
	key, bytes := a.client.Public(), 0
	require.Zero(t, a.r.HeldOf(key))
	for sequence := uint64(1); sequence <= 3; sequence++ {
		a.submit(a.request(1, sequence, strings.Repeat("a", 20*int(sequence))))
	}
	a.submit(a.request(2, 1, "b"), a.request(2, 2, "c"))
	for _, waits := range []*bftraft.Request{
		a.request(1, 8, "far ahead"), a.request(2, 4, "not as far"),
	} {
		require.Empty(t, a.submit(waits))
		bytes += len(waits.Raw())
	}
	for range 3 {
		a.r.Read(ClientID{Key: key}, &bftraft.ReadRequest{MinIndex: 99})
	}
	a.r.Read(ClientID{Key: a.key.Public()}, &bftraft.ReadRequest{MinIndex: 99})
	a.r.slack.rounds.arrived = make([]arrival, 5)
	a.r.evidence.known = make([]quorumcert.Evidence, 6)
	a.r.evidence.convicted = make([]bftraft.Conviction, 7)
	require.Equal(t, Held{
		Clients: 1, Remembered: 1, Reads: 4, Timed: 5, Proofs: 6, Convicted: 7,
	}, a.r.Held())
	require.Equal(t, HeldOf{
		Requests: 2, RequestBytes: bytes, Ahead: 5, Sessions: 2, Results: 3,
		ResultBytes: len("1:") + 20 + len("2:") + 40, Reads: 3,
	}, a.r.HeldOf(key))
	require.Equal(t, HeldOf{Reads: 1}, a.r.HeldOf(a.key.Public()))
	a.r.pool.clients[0].requests[0].Sequence = 3 // executed, as one that another node had ordered
	require.Equal(t, uint64(2), a.r.HeldOf(key).Ahead)
}

func TestLargeFramesKeepOffTheStreamOfVotes(t *testing.T) {
	require.Equal(t, bftraft.ClassConsensus, classOf(make([]byte, smallFrameBytes)))
	require.Equal(t, bftraft.ClassBulk, classOf(make([]byte, smallFrameBytes+1)))
}
