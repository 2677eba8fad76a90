package replica

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// tape is a state machine that writes down what it is told.
type tape struct {
	lines  []string
	frozen []byte // what is left to be handed out of a snapshot; nil for none
	pause  bool   // it has just handed out nothing

	coming   []byte // what came of a state that is being restored; nil for none
	restored int    // states that came in chunks
}

func (m *tape) Apply(index uint64, op []byte) []byte {
	m.lines = append(m.lines, string(op))
	return fmt.Appendf(nil, "%d:%s", len(m.lines), op)
}
func (m *tape) Query([]byte) []byte      { return fmt.Append(nil, len(m.lines)) }
func (m *tape) Digest() crypto.Digest    { return crypto.Hash(crypto.DomainState) }
func (m *tape) Snapshot(io.Writer) error { return nil }
func (m *tape) Thaw()                    { m.frozen = nil }

func (m *tape) Freeze() { m.frozen = []byte("lines\n" + strings.Join(m.lines, "\n")) }

func (m *tape) NextChunk(size int) ([]byte, bool) {
	if m.pause = !m.pause; m.pause {
		return nil, true
	}
	n := min(size, len(m.frozen))
	chunk := m.frozen[:n]
	m.frozen = m.frozen[n:]
	return chunk, len(m.frozen) > 0
}

func (m *tape) Restore(r io.Reader) error {
	all, err := io.ReadAll(r)
	m.lines = strings.Split(string(all), "\n")[1:]
	return err
}

func (m *tape) BeginRestore() { m.coming = []byte{} }
func (m *tape) AbortRestore() { m.coming = nil }

func (m *tape) RestoreChunk(chunk []byte) error {
	m.coming = append(m.coming, chunk...)
	return nil
}

func (m *tape) FinishRestore() error {
	all := bytes.NewReader(m.coming)
	m.coming = nil
	m.restored++
	return m.Restore(all)
}

// disk keeps everything it is given and forgets nothing, until it is told to fail.
type disk struct {
	hard    bftraft.HardState
	blocks  []*bftraft.Block
	commits []*quorumcert.Commit
	changes []*bftraft.ChangeProof
	fail    error
	// onlySyncs is how a Save fails that has nothing in it.
	onlySyncs error
	saves     int
}

func (d *disk) Load() (bftraft.Restored, error) {
	r := bftraft.Restored{HardState: d.hard, Changes: d.changes}
	if n := len(d.blocks); n > 0 {
		r.Tip = d.blocks[n-1].End()
	}
	if n := len(d.commits); n > 0 {
		r.Commit = d.commits[n-1]
	}
	return r, nil
}

func (d *disk) Save(r *bftraft.Ready) error {
	if d.fail != nil {
		return d.fail
	}
	if d.onlySyncs != nil && r.HardState == nil && len(r.Blocks)+len(r.Commits) == 0 {
		return d.onlySyncs
	}
	d.saves++
	if r.HardState != nil {
		d.hard = *r.HardState
	}
	d.blocks = append(d.blocks, r.Blocks...)
	d.commits = append(d.commits, r.Commits...)
	d.changes = append(d.changes, r.Changes...)
	return nil
}

func (d *disk) Err() error { return nil }

func (d *disk) Block(i bftraft.Index) (*bftraft.Block, bool) {
	for _, b := range d.blocks {
		if b.First() <= i && i <= b.Last() {
			return b, true
		}
	}
	return nil, false
}

func (d *disk) Commit(bftraft.Index) (*quorumcert.Commit, bool) { return nil, false }

// outbox is a transport that keeps what clients are told.
type outbox struct {
	frames [][]byte
	last   ClientID // who was told last
}

func (o *outbox) Send(bftraft.NodeID, bftraft.Class, []byte) {}

func (o *outbox) Reply(to ClientID, frame []byte) {
	o.frames, o.last = append(o.frames, frame), to
}

// alone is a cluster of one: what it proposes is committed at once.
type alone struct {
	t        *testing.T
	r        *Replica
	disk     *disk
	out      *outbox
	tape     *tape
	verifier *bftraft.Verifier
	key      crypto.PrivateKey
	client   crypto.PrivateKey
	points   Checkpoints
	origin   bftraft.Origin
}

func newAlone(t *testing.T) *alone {
	a := &alone{t: t, disk: &disk{}, out: &outbox{},
		key: crypto.KeyFromSeed([32]byte{1}), client: crypto.KeyFromSeed([32]byte{2})}
	g := &bftraft.Genesis{
		Name: "alone", Nonce: crypto.Digest{1},
		Voters:  []quorumcert.Voter{{ID: 1, Key: a.key.Public()}},
		Clients: []bftraft.Enrolled{{Name: "c", Key: a.client.Public()}},
		Admins:  []bftraft.Enrolled{{Name: "a", Key: adminKey().Public()}}, AdminQuorum: 1,
	}
	v, err := bftraft.NewVerifier(crypto.ZIP215(), g)
	require.NoError(t, err)
	a.verifier = v
	a.start()
	return a
}

func (a *alone) core() bftraft.Config {
	core := bftraft.DefaultConfig()
	core.Cluster, core.Signer = a.verifier.Cluster(), crypto.NewSigner(1, a.key)
	core.Verifier = a.verifier
	return core
}

// start starts the replica on its disk, and waits until it leads.
func (a *alone) start() {
	a.tape = &tape{}
	r, err := New(Config{Core: a.core(), Storage: a.disk, Transport: a.out, Machine: a.tape,
		Checkpoints: a.points, Origin: a.origin})
	require.NoError(a.t, err)
	a.r = r
	for range 200 {
		r.Tick()
		require.NoError(a.t, r.Flush())
	}
	require.True(a.t, r.Core().Leading)
}

func (a *alone) request(session, sequence uint64, ops ...string) *bftraft.Request {
	raw := make([][]byte, len(ops))
	for i, op := range ops {
		raw[i] = []byte(op)
	}
	return bftraft.SignRequest(a.verifier.Cluster(), a.client, session, sequence, raw)
}

// submit hands requests in, does all that follows, and returns what the client was told.
func (a *alone) submit(requests ...*bftraft.Request) [][]byte {
	a.out.frames = nil
	for _, req := range requests {
		a.r.Request(ClientID{Key: req.Client, Conn: 7}, 0, req)
	}
	require.NoError(a.t, a.r.Flush())
	return a.out.frames
}

func (a *alone) reply(frame []byte) *bftraft.BlockReply {
	r, err := bftraft.DecodeBlockReply(frame)
	require.NoError(a.t, err)
	require.NoError(a.t, r.Verify(a.verifier.Cluster(), a.verifier.Configurations()))
	return r
}

func (a *alone) refusal(frame []byte) bftraft.RefusalCode {
	r, err := bftraft.DecodeRefusal(frame)
	require.NoError(a.t, err)
	return r.Code
}

func TestC1RequestIsExecutedOnceAndAnsweredAgain(t *testing.T) {
	a := newAlone(t)
	req := a.request(1, 1, "x", "y")
	first := a.submit(req)
	require.Len(t, first, 1)
	require.Equal(t, [][]byte{[]byte("1:x"), []byte("2:y")}, a.reply(first[0]).Results)
	again := a.submit(req)
	require.Equal(t, first, again, "the same answer, signature included")
	require.Equal(t, []string{"x", "y"}, a.tape.lines)
	// Another operation under the same sequence gets the answer of the first one ordered.
	other := a.submit(a.request(1, 1, "z"))
	require.Equal(t, req.Digest(a.verifier.Cluster()), a.reply(other[0]).Request)
	require.Equal(t, []string{"x", "y"}, a.tape.lines)
}

func TestC1SequencesOfASessionAreExecutedInOrder(t *testing.T) {
	a := newAlone(t)
	require.Empty(t, a.submit(a.request(1, 2, "b"), a.request(1, 3, "c")), "the first is missing")
	require.Len(t, a.submit(a.request(1, 1, "a")), 3)
	require.Equal(t, []string{"a", "b", "c"}, a.tape.lines)
}

func TestC1SequenceBeyondTheWindowIsRefused(t *testing.T) {
	a := newAlone(t)
	require.Empty(t, a.submit(a.request(1, Window, "late")))
	frames := a.submit(a.request(1, Window+1, "too far"))
	require.Equal(t, bftraft.RefusedWindow, a.refusal(frames[0]))
	require.Empty(t, a.tape.lines)
}

func TestC1ForgottenSessionsAreNeverAcceptedAgain(t *testing.T) {
	a := newAlone(t)
	for s := uint64(1); s <= MaxSessions+1; s++ {
		require.Len(t, a.submit(a.request(s, 1, fmt.Sprint(s))), 1)
	}
	executed := len(a.tape.lines)
	frames := a.submit(a.request(1, 1, "1"))
	require.Equal(t, bftraft.RefusedExpired, a.refusal(frames[0]))
	frames = a.submit(a.request(1, 2, "more"))
	require.Equal(t, bftraft.RefusedExpired, a.refusal(frames[0]))
	require.Len(t, a.tape.lines, executed)
	frames = a.submit(a.request(2, 2, "still here"))
	require.Equal(t, uint64(2), a.reply(frames[0]).Session)
}

func TestC1ResultsAreRememberedWithinLimits(t *testing.T) {
	a := newAlone(t)
	for s := uint64(1); s <= MaxResults+1; s++ {
		a.submit(a.request(1, s, "op"))
	}
	require.Equal(t, bftraft.RefusedExpired, a.refusal(a.submit(a.request(1, 1, "op"))[0]))
	require.Equal(t, uint64(2), a.reply(a.submit(a.request(1, 2, "op"))[0]).Sequence)
}

func TestC2OneSignatureAnswersAllRequestsOfABlock(t *testing.T) {
	a := newAlone(t)
	a.submit(a.request(1, 2, "b"), a.request(1, 3, "c"))
	frames := a.submit(a.request(1, 1, "a"))
	first := a.reply(frames[0])
	for _, f := range frames[1:] {
		r := a.reply(f)
		require.Equal(t, first.Sig, r.Sig)
		require.Equal(t, first.Reply, r.Reply)
		r.Results = [][]byte{[]byte("forged")}
		require.Error(t, r.Verify(a.verifier.Cluster(), a.verifier.Configurations()))
	}
	require.Equal(t, uint32(3), first.Leaves)
	require.Equal(t, a.client.Public(), first.Client)
	require.Equal(t, a.r.Executed(),
		bftraft.Position{Index: first.Reply.Index, Hash: first.Reply.Hash})
	require.Equal(t, ClientID{Key: a.client.Public()}, a.out.last, "over all its connections")
}

func TestC3ReadWaitsForItsIndexButNotForEver(t *testing.T) {
	a := newAlone(t)
	a.submit(a.request(1, 1, "a"))
	read := &bftraft.ReadRequest{Nonce: crypto.Digest{9}, MinIndex: 2, Queries: [][]byte{[]byte("q")}}
	a.out.frames = nil
	a.r.Read(ClientID{Key: a.client.Public(), Conn: 7}, read)
	a.r.Tick()
	require.Empty(t, a.out.frames)
	a.r.Request(ClientID{Key: a.client.Public()}, 0, a.request(1, 2, "b"))
	require.NoError(t, a.r.Flush())
	a.r.Tick()
	require.Len(t, a.out.frames, 2, "the write's reply and the read's")
	reply, err := bftraft.DecodeReadReply(a.out.frames[1])
	require.NoError(t, err)
	require.NoError(t, reply.Verify(a.verifier.Cluster(), a.verifier.Configurations(), read.Queries))
	require.Equal(t, ClientID{Key: a.client.Public(), Conn: 7}, a.out.last)
	require.Equal(t, read.Nonce, reply.Nonce)
	require.Equal(t, bftraft.Index(2), reply.Executed)
	require.Equal(t, "2", string(reply.Results[0]))
	read.MinIndex = 99
	a.out.frames = nil
	a.r.Read(ClientID{Key: a.client.Public(), Conn: 7}, read)
	for range readPatienceTimeouts * a.r.core.Timeout() {
		a.r.Tick()
	}
	require.Len(t, a.out.frames, 1, "answered with what there is")
}

func TestRestartReplaysTheLogAndRemembersSessions(t *testing.T) {
	a := newAlone(t)
	req := a.request(1, 1, "a")
	first := a.submit(req)
	a.submit(a.request(1, 2, "b"))
	sessions := a.r.SessionsDigest()
	a.start()
	require.Equal(t, []string{"a", "b"}, a.tape.lines)
	require.Equal(t, sessions, a.r.SessionsDigest())
	require.Equal(t, first, a.submit(req), "answered from the replayed session, not executed again")
	require.Equal(t, []string{"a", "b"}, a.tape.lines)
}

func TestNothingIsSaidAfterAStorageFailure(t *testing.T) {
	a := newAlone(t)
	a.disk.fail = errors.New("no space left on device")
	a.out.frames = nil
	a.r.Request(ClientID{Key: a.client.Public()}, 0, a.request(1, 1, "a"))
	err := a.r.Flush()
	require.ErrorIs(t, err, ErrStopped)
	require.ErrorContains(t, err, "no space left")
	a.disk.fail = nil
	a.r.Tick()
	a.r.Request(ClientID{Key: a.client.Public()}, 0, a.request(1, 2, "b"))
	require.ErrorIs(t, a.r.Flush(), ErrStopped, "for ever")
	require.Empty(t, a.out.frames)
	require.Empty(t, a.tape.lines)
}

func TestC1LeaderThatOrdersTwiceOrOutOfOrderChangesNothing(t *testing.T) {
	a := newAlone(t)
	one, two, three := a.request(1, 1, "a"), a.request(1, 2, "b"), a.request(1, 3, "c")
	b := bftraft.NewBlock(a.r.Executed(), []bftraft.Entry{
		one.Entry(), three.Entry(), one.Entry(), two.Entry(), three.Entry(),
	})
	done := a.r.execute(b)
	require.Equal(t, []string{"a", "b", "c"}, a.tape.lines)
	require.Len(t, done, 3)
	for i, place := range []uint32{0, 3, 4} {
		require.Equal(t, place, done[i].result.place)
		reply, err := bftraft.DecodeBlockReply(a.r.blockReply(done[i].request, &done[i].result))
		require.NoError(t, err)
		require.NoError(t, reply.Verify(a.verifier.Cluster(), a.verifier.Configurations()))
	}
}

// The outcome is part of the leaf that all nodes sign: it has to be the same one everywhere.
func TestC1OutcomeOfEachPlaceInASessionIsFixed(t *testing.T) {
	s := newSessions(MaxResults)
	key := crypto.KeyFromSeed([32]byte{2})
	for _, step := range []struct {
		session, sequence uint64
		outcome           bftraft.Outcome
	}{
		{5, 2, bftraft.OutOfOrder}, {5, 1, bftraft.Executed}, {5, 1, bftraft.Repeated},
		{5, 3, bftraft.OutOfOrder}, {5, 2, bftraft.Executed}, {5, 1, bftraft.Repeated},
	} {
		req := bftraft.SignRequest(crypto.Digest{1}, key, step.session, step.sequence,
			[][]byte{{1}})
		require.Equal(t, step.outcome, s.admit(req), "%+v", step)
	}
	for n := uint64(6); n < 6+MaxSessions; n++ {
		s.open(key.Public(), n)
	}
	req := bftraft.SignRequest(crypto.Digest{1}, key, 5, 3, [][]byte{{1}})
	require.Equal(t, bftraft.Expired, s.admit(req), "session 5 is forgotten")
}
