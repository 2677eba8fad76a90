package client

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client/judge"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// wire is a link to nodes that never answer by themselves. It says what happens when it closes.
type wire struct {
	mu      sync.Mutex
	sent    []bftraft.NodeID
	frames  [][]byte
	full    bool             // it takes nothing
	told    [][]bftraft.Node // what it was told of the members
	closing func()
}

func (w *wire) Send(to bftraft.NodeID, frame []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.full {
		w.sent, w.frames = append(w.sent, to), append(w.frames, frame)
	}
	return !w.full
}

func (w *wire) SetNodes(list []bftraft.Node) { w.told = append(w.told, list) }

func (w *wire) Close() error {
	if w.closing != nil {
		w.closing()
	}
	return nil
}

// The link may still call while it closes.
func TestReplyThatComesWhileTheClientClosesChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, w := newCluster(t, 4), &wire{}
		cfg := DefaultConfig()
		cfg.Genesis, cfg.Key = c.genesis, clientKey()
		client, err := NewWithLink(cfg, func(Receiver) (Link, error) { return w, nil })
		require.NoError(t, err)
		client.Up(1)
		f := client.Go(put(t, "a", "1"))
		synctest.Wait()
		request := w.frames[len(w.frames)-1]
		require.Equal(t, byte(bftraft.FrameRequest), request[0])
		w.closing = func() {
			req, err := c.gate.VerifyRequest(request[1:])
			require.NoError(t, err)
			for _, n := range c.nodes {
				client.Frame(n.id, n.apply([]*bftraft.Request{req})[0].Encode())
			}
		}
		require.NoError(t, client.Close())
		_, err = f.Result()
		require.ErrorIs(t, err, ErrUnknownOutcome)
		require.ErrorIs(t, err, ErrClosed)
	})
}

func TestOperationThatIsTakenBackLeavesItsRoomToOthers(t *testing.T) {
	op := put(t, "key", "value")
	one := func(c *Config) {
		c.BundleOps, c.Window, c.QueueBytes = 1, 1, len(op)+opOverhead
	}
	play(t, 4, one, func(s *scene) {
		s.holdBack(true)
		first := s.client.Go(op)
		synctest.Wait()
		for range 5 {
			second := s.client.Go(op)
			_, err := s.client.Go(op).Result()
			require.ErrorIs(t, err, ErrQueueFull)
			_, err = s.client.Wait(s.within(time.Millisecond), second)
			require.ErrorIs(t, err, ErrNotSent)
		}
		s.holdBack(false)
		_, err := s.client.Wait(s.within(10*time.Second), first)
		require.NoError(t, err)
	})
}

func TestEvidenceWaitsForAllWhoCanBeReached(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("a", "v")
		s.node(3).stopsHearing()
		go func() {
			s.pass(time.Second)
			s.node(3).hearsAgain()
		}()
		_, heard := s.client.Evidence(s.within(time.Minute))
		require.Equal(t, quorumcert.SetOf(1, 2, 3, 4), heard)
	})
}

func TestProofThatStandsInTheLogGoesBeforeAnyOther(t *testing.T) {
	of := func(id bftraft.NodeID, index bftraft.Index) bftraft.Conviction {
		return bftraft.Conviction{Index: index, Evidence: twoVotes(crypto.Digest{1}, id)}
	}
	p := &proofs{}
	for _, step := range []struct {
		add   bftraft.Conviction
		found []bftraft.Conviction
	}{
		{of(3, 0), []bftraft.Conviction{of(3, 0)}},
		{of(3, 7), []bftraft.Conviction{of(3, 7)}},
		{of(3, 0), []bftraft.Conviction{of(3, 7)}},
		{of(3, 9), []bftraft.Conviction{of(3, 7)}},
		{of(4, 5), []bftraft.Conviction{of(3, 7), of(4, 5)}},
		{of(1, 0), []bftraft.Conviction{of(1, 0), of(3, 7), of(4, 5)}},
	} {
		p.add(step.add)
		require.Equal(t, step.found, p.found)
	}
}

func TestResultsOfABundleNameTheirPlaces(t *testing.T) {
	play(t, 4, func(c *Config) { c.Window = 1 }, func(s *scene) {
		s.holdBack(true)
		list := []*Future{s.client.Go(put(t, "first", "v"))}
		synctest.Wait()
		for range 3 {
			list = append(list, s.client.Go(put(t, "later", "v")))
		}
		s.holdBack(false)
		s.pass(time.Second)
		for i, f := range list {
			res, err := f.Result()
			require.NoError(t, err)
			require.Equal(t, max(0, i-1), res.Place)
			require.Equal(t, uint64(min(i, 1)+1), res.ID.Sequence)
			require.Equal(t, bftraft.Index(min(i, 1)+1), res.Index)
			require.NotNil(t, res.Receipt)
		}
	})
}

// TestWhoOwesAnAnswer looks at the nodes that are asked once they come up.
func TestWhoOwesAnAnswer(t *testing.T) {
	w := &wire{}
	c := &Client{link: w}
	all := quorumcert.SetOf(1, 2, 3, 4)
	r := &reading{Question: judge.Linearizable(configOf(t, 4), nil), asks: all}
	c.ask(r, quorumcert.SetOf(1, 2))
	require.Equal(t, []bftraft.NodeID{1, 2}, w.sent)
	require.Equal(t, all, r.asks, "all but those that have answered")
	r.take(&bftraft.ReadReply{Signer: 2})
	require.Equal(t, all.Without(2), r.asks)

	stale := &reading{asks: all}
	w.full = true
	c.ask(stale, quorumcert.SetOf(3))
	require.Equal(t, all, stale.asks, "nobody was asked")
	w.full = false
	c.ask(stale, quorumcert.SetOf(3))
	require.Equal(t, quorumcert.SetOf(3), stale.asks)
	first := &bftraft.ReadReply{Signer: 3, Executed: 1}
	stale.take(first)
	stale.take(&bftraft.ReadReply{Signer: 4, Executed: 9})
	require.Same(t, first, stale.first)
	require.Zero(t, stale.asks)
}

// TestReadIsAskedAnewHoweverLateItGetsStuck has a lock come that is then given up, after the read
// has waited for a quorum for longer than its patience.
func TestReadIsAskedAnewHoweverLateItGetsStuck(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		query := get(t, "k")
		s.put("k", "v")
		s.pass(100 * time.Millisecond)
		s.node(2).stopsHearing()
		s.node(3).stopsHearing()
		s.node(4).bendReads(query, func(r *bftraft.ReadReply) {
			r.LockQC = s.certify(1, 9)
			r.Lock = r.LockQC.Lock
		})
		done := make(chan string)
		go func() { done <- s.read("k") }()
		s.pass(4 * time.Second)
		s.node(2).hearsAgain()
		s.pass(2 * time.Second)
		s.node(4).bends(nil)
		require.Equal(t, "v", <-done)
	})
}

func TestReadSaysHowFarThoseHaveExecutedThatVouchForIt(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		for range 3 {
			s.put("k", "v")
		}
		s.pass(100 * time.Millisecond)
		res, err := s.client.Read(s.within(time.Second), get(t, "k"))
		require.NoError(t, err)
		require.Equal(t, bftraft.Index(3), res.Index)
		require.GreaterOrEqual(t, res.Nodes.Len(), 2)
	})
}

// A quorum that does not agree will not: nothing is gained by waiting.
func TestReadThatCannotAgreeIsAskedAnewAtOnce(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		query := get(t, "k")
		for i, node := range s.nodes {
			node.bendReads(query, func(r *bftraft.ReadReply) { r.Results[0] = []byte{byte(i)} })
		}
		began := time.Now()
		_, err := s.client.Read(s.within(time.Minute), query)
		require.ErrorIs(t, err, ErrReadUnsettled)
		require.Less(t, time.Since(began), DefaultConfig().ReadPatience)
	})
}

// TestBeingCrowdedOutIsNoTry has a question of two: nobody agrees on either, and one node had no
// room for the second result.
func TestBeingCrowdedOutIsNoTry(t *testing.T) {
	c := &Client{asking: readWindow, cfg: DefaultConfig()}
	c.known.gate.Store(newCluster(t, 4).gate)
	c.stop, c.cancel = context.WithCancel(context.Background())
	calls := []*call{{done: make(chan struct{})}, {done: make(chan struct{})}}
	r := &reading{Question: judge.Linearizable(configOf(t, 4), nil, nil), calls: calls}
	calls[0].asked, calls[1].asked = r, r
	for id := bftraft.NodeID(1); id <= 3; id++ {
		r.Add(&bftraft.ReadReply{Signer: id, Results: [][]byte{{byte(id)}, {byte(id)}}[:min(2, 4-id)]})
	}
	require.True(t, c.advance(r, false), "nobody waits for this question any more")
	require.Equal(t, []int{1, 0}, []int{calls[0].tries, calls[1].tries})
	require.Equal(t, []bool{false, true}, []bool{calls[0].alone, calls[1].alone})
	require.Nil(t, calls[0].asked)
	require.Nil(t, calls[1].asked)
	require.Equal(t, []*call{calls[1]}, c.calls, "it is asked at once, the other after a while")
	require.True(t, c.advance(r, true), "it is no matter of this question any more")
	require.Equal(t, []int{1, 0}, []int{calls[0].tries, calls[1].tries})
	c.mu.Lock()
	c.question()
	c.mu.Unlock()
	require.Equal(t, []*call{calls[1]}, c.calls, "there is no room for another question")
	c.cancel()
	c.readers.Wait()
	require.ErrorIs(t, calls[0].err, ErrClosed)
}

func TestQuestionLastsAsLongAsSomebodyWaits(t *testing.T) {
	r := &reading{calls: []*call{{}, {}, {}}, news: make(chan struct{}, 1)}
	c := &Client{reads: map[bftraft.Digest]*reading{{}: r}, stop: context.Background()}
	for _, l := range r.calls {
		l.done, l.asked = make(chan struct{}), r
	}
	c.leave(r.calls[1], ErrNoQuorum)
	r.calls[2].asked = nil // it has to be asked anew, and gives up meanwhile
	c.calls = []*call{r.calls[2]}
	c.leave(r.calls[2], ErrNoQuorum)
	c.question()
	require.Empty(t, c.calls)
	require.Zero(t, c.asking, "who has given up is not asked for")
	require.Contains(t, c.reads, r.Nonce)
	require.Empty(t, r.news)
	c.leave(r.calls[0], ErrClosed)
	require.Empty(t, c.reads)
	require.Len(t, r.news, 1, "so that it makes room at once")
	require.ErrorIs(t, r.calls[1].err, ErrNoQuorum)
	c.leave(r.calls[1], ErrClosed)
	require.ErrorIs(t, r.calls[1].err, ErrNoQuorum, "it has ended")
}

func TestReadIsAskedAtOnceAndNotTooLarge(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("k", "v")
		s.pass(time.Second)
		began := time.Now()
		require.Equal(t, "v", s.read("k"))
		require.Less(t, time.Since(began), s.client.pace.first()/2)
		for size, want := range map[int]error{
			bftraft.MaxOpBytes: nil, bftraft.MaxOpBytes + 1: ErrTooLarge,
		} {
			_, err := s.client.Read(s.within(time.Second), make([]byte, size))
			require.ErrorIs(t, err, want)
		}
	})
}

func TestStaleReadGoesRoundUntilSomebodyAnswers(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("k", "v")
		s.pass(100 * time.Millisecond)
		for _, n := range s.nodes {
			n.stopsHearing()
		}
		go func() {
			s.pass(10 * DefaultConfig().Late)
			s.node(1).hearsAgain()
		}()
		res, err := s.client.ReadStale(s.within(10*time.Second), get(t, "k"))
		require.NoError(t, err)
		require.Equal(t, quorumcert.SetOf(1), res.Nodes)
	})
}

func TestNodeCannotChangeItsWordAboutAState(t *testing.T) {
	tally := newReadTally(t, 4)
	require.Equal(t, Counted, tally.Add(readReply(1, 5, 5, "a")))
	require.Equal(t, Repeats, tally.Add(readReply(1, 5, 5, "b")))
	require.Equal(t, Repeats, tally.Add(readReply(1, 5, 4, "b")))
	require.Equal(t, Counted, tally.Add(readReply(2, 5, 5, "b")))
	require.Equal(t, Counted, tally.Add(readReply(3, 5, 5, "c")))
	require.Equal(t, Counted, tally.Add(readReply(1, 6, 6, "d")), "it has executed more")
	require.Equal(t, Settled, tally.Add(readReply(4, 5, 5, "b")))
}

// TestFramesThatNobodyWaitsForAreNoLieAndMalformedOnesAre sends one of each kind.
func TestFramesThatNobodyWaitsForAreNoLieAndMalformedOnesAre(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		id := s.put("a", "1").ID
		s.pass(100 * time.Millisecond)
		for _, n := range s.client.Stats().Nodes {
			require.Equal(t, uint64(1), n.Replies, "node %d", n.ID)
		}
		other := RequestID{id.Session, id.Sequence + 7}
		s.client.Frame(2, refusalOf(other, bftraft.RefusedBusy))
		s.client.Frame(2, refusalOf(id, bftraft.RefusedBusy))
		_, list := replies(t, newCluster(t, 4), put(t, "a", "1"))
		list[0].Sig[0]++
		s.client.Frame(1, list[0].Encode())
		require.Empty(t, s.dissents())
		require.Zero(t, s.client.Stats().Nodes[1].Refusals)
		for k, kind := range []byte{bftraft.FrameReply, bftraft.FrameRefusal,
			bftraft.FrameReadReply, bftraft.FrameStatusReply, bftraft.FrameEvidenceReply} {
			s.client.Frame(3, []byte{kind, 9})
			require.Len(t, s.dissents(), k+1, "kind %d", kind)
			require.Equal(t, uint64(k+1), s.client.Stats().Nodes[2].Invalid)
		}
	})
}

// What the other request asked for is nothing that this client could know.
func TestReplyToAnotherRequestMayHaveAnyNumberOfResults(t *testing.T) {
	c := newCluster(t, 4)
	_, list := replies(t, c, put(t, "a", "1"), put(t, "b", "2"))
	mine := bftraft.SignRequest(c.id, clientKey(), 5, 1, [][]byte{put(t, "c", "3")})
	tally := newTally(c, mine)
	verdict, _ := tally.Add(list[0])
	require.Equal(t, Counted, verdict)
	verdict, answer := tally.Add(list[1])
	require.Equal(t, Settled, verdict)
	require.False(t, answer.Mine)
}
