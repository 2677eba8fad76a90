package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scene is a client and a cluster in a bubble with its own clock.
type scene struct {
	*testing.T
	*cluster
	client *Client

	mu      sync.Mutex
	dissent []Dissent
}

func play(t *testing.T, size int, change func(*Config), plot func(*scene)) {
	t.Helper()
	playOf(t, testGenesis(size), change, plot)
}

func playOf(t *testing.T, g *bftraft.Genesis, change func(*Config), plot func(*scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &scene{T: t, cluster: newClusterOf(t, g)}
		cfg := DefaultConfig()
		cfg.Genesis, cfg.Key, cfg.CheckOp = s.genesis, clientKey(), kv.CheckOp
		cfg.Probe = -1 // each request to the leader alone, unless the test says otherwise
		cfg.OnDissent = func(d Dissent) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.dissent = append(s.dissent, d)
		}
		if change != nil {
			change(&cfg)
		}
		var err error
		s.client, err = NewWithLink(cfg, s.dial)
		require.NoError(t, err)
		defer func() { require.NoError(t, s.client.Close()) }()
		plot(s)
	})
}

func (s *scene) dissents() []Dissent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.dissent)
}

func (s *scene) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), d)
	s.Cleanup(cancel)
	return ctx
}

// pass lets the time of the bubble go by.
func (s *scene) pass(d time.Duration) { <-time.After(d) }

func (s *scene) put(key, value string) Result {
	s.Helper()
	res, err := s.client.Submit(s.within(30*time.Second), put(s.T, key, value))
	require.NoError(s, err)
	return res
}

func (s *scene) read(key string) string {
	s.Helper()
	res, err := s.client.Read(s.within(30*time.Second), get(s.T, key))
	require.NoError(s, err)
	return valueOf(s.T, res.Value)
}

func revisionOf(t *testing.T, value []byte) kv.Revision {
	t.Helper()
	r, err := kv.DecodeResult(value)
	require.NoError(t, err)
	return r.Revision
}

func TestWriteIsAcceptedAndRead(t *testing.T) {
	for _, size := range []int{1, 3, 4, 7} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			play(t, size, nil, func(s *scene) {
				require.Equal(t, kv.Revision(1), revisionOf(t, s.put("k", "v").Value))
				require.Equal(t, "v", s.read("k"))
				require.Empty(t, s.dissents())
			})
		})
	}
}

func TestOnlyTheLeaderGetsARequestThatIsAnsweredInTime(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("a", "1")
		synctest.Wait()
		before, others := s.node(1).heard(bftraft.FrameRequest), s.requestsHeard()
		s.put("b", "2")
		require.Equal(t, before+1, s.node(1).heard(bftraft.FrameRequest))
		require.Equal(t, others, s.requestsHeard())
		require.Zero(t, s.client.Stats().Repeated)
	})
}

func TestFLiarsDoNotConvince(t *testing.T) {
	play(t, 7, nil, func(s *scene) {
		s.node(1).claims("lie")
		s.node(2).claims("lie")
		require.Equal(t, kv.Revision(1), revisionOf(t, s.put("k", "v").Value))
		synctest.Wait()
		for _, d := range s.dissents() {
			require.Contains(t, []bftraft.NodeID{1, 2}, d.Node)
			require.Equal(t, DissentReply, d.Kind)
		}
		s.put("k", "w")
		s.pass(time.Second)
		require.Positive(t, s.client.Stats().Nodes[0].Dissents)
		require.Positive(t, s.client.Stats().Nodes[1].Dissents)
		require.Zero(t, s.client.Stats().Nodes[2].Dissents)
	})
}

// The positive control: the rule that f liars fail against is the one that f+1 satisfy.
func TestFPlusOneLiarsConvince(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.node(1).claims("lie")
		s.node(2).claims("lie")
		s.node(3).bends(func([]byte) [][]byte { return nil })
		s.node(4).bends(func([]byte) [][]byte { return nil })
		require.Equal(t, "lie", string(s.put("k", "v").Value))
	})
}

// relabel makes a node answer every request with the reply to the first.
func (n *node) relabel() {
	var first *bftraft.BlockReply
	n.bendReplies(func(r *bftraft.BlockReply) {
		if first == nil {
			first = r
			return
		}
		sequence := r.Sequence
		*r = *first
		r.Sequence = sequence
	})
}

func TestReplyToAnotherRequestIsNotTakenForOurs(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.node(1).relabel()
		s.put("a", "1")
		require.Equal(t, kv.Revision(2), revisionOf(t, s.put("b", "2").Value))
		s.pass(time.Second)
		list := s.dissents()
		require.NotEmpty(t, list)
		require.Equal(t, bftraft.NodeID(1), list[0].Node)
		require.Equal(t, uint64(2), list[0].ID.Sequence)
	})
}

func TestFPlusOneThatExecutedAnotherRequestUnderTheIDAreBelieved(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		first := s.put("a", "1")
		again := s.another(first.ID)
		_, err := again.Submit(s.within(10*time.Second), put(t, "a", "2"))
		require.ErrorIs(t, err, ErrOtherRequest)
		require.Equal(t, "1", s.read("a"))
	})
}

// another is a second process under the same key that begins with a request id.
func (s *scene) another(id RequestID) *Client {
	cfg := s.client.cfg
	cfg.Session, cfg.FirstSequence = id.Session, id.Sequence
	c, err := NewWithLink(cfg, s.dial)
	require.NoError(s, err)
	s.Cleanup(func() { require.NoError(s, c.Close()) })
	return c
}

// requestsHeard returns how many requests the nodes after the first got.
func (s *scene) requestsHeard() []int {
	var out []int
	for _, n := range s.nodes[1:] {
		out = append(out, n.heard(bftraft.FrameRequest))
	}
	return out
}

func TestLateLeaderMakesTheClientAskAll(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("a", "1")
		s.pass(100 * time.Millisecond)
		s.node(1).stopsHearing()
		before := s.requestsHeard()
		began := time.Now()
		f := s.client.Go(put(t, "b", "2"))
		s.pass(200 * time.Millisecond)
		for id := 2; id <= 4; id++ {
			require.Equal(t, before[id-2], s.node(id).heard(bftraft.FrameRequest), "not late yet")
		}
		s.pass(200 * time.Millisecond)
		for id := 2; id <= 4; id++ {
			require.Greater(t, s.node(id).heard(bftraft.FrameRequest), before[id-2])
		}
		s.cluster.mu.Lock()
		s.leader, s.term = 2, 2
		s.cluster.mu.Unlock()
		res, err := s.client.Wait(s.within(10*time.Second), f)
		require.NoError(t, err)
		require.Equal(t, kv.Revision(2), revisionOf(t, res.Value))
		require.Less(t, time.Since(began), 2*time.Second)
		s.pass(time.Second)
		asked := s.node(3).heard(bftraft.FrameRequest)
		s.put("c", "3")
		require.Equal(t, asked, s.node(3).heard(bftraft.FrameRequest), "the new leader is known")
	})
}

func TestLostLinkToTheLeaderIsReasonToAskAllAtOnce(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("a", "1")
		s.pass(100 * time.Millisecond)
		s.node(1).stopsHearing()
		s.client.Go(put(t, "b", "2"))
		synctest.Wait()
		before := s.requestsHeard()
		began := time.Now()
		s.client.Down(1)
		synctest.Wait()
		s.pass(2 * time.Millisecond)
		for id := 2; id <= 4; id++ {
			require.Greater(t, s.node(id).heard(bftraft.FrameRequest), before[id-2])
		}
		require.Less(t, time.Since(began), 100*time.Millisecond)
	})
}

func TestRepeatedAndReorderedRepliesCountOnce(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		// One liar that says the same lie four times is still one.
		s.node(2).bends(func(frame []byte) [][]byte {
			if r, err := bftraft.DecodeBlockReply(frame); err == nil {
				r.Results[0] = []byte("lie")
				resign(s.node(2), r)
				frame = r.Encode()
			}
			return [][]byte{frame, frame, frame, frame}
		})
		var held [][]byte
		s.node(3).bends(func(frame []byte) [][]byte {
			if held = append(held, frame); len(held) < 6 {
				return nil
			}
			out := held
			held = nil
			slices.Reverse(out)
			return out
		})
		for i := range 20 {
			res := s.put("k", fmt.Sprint(i))
			require.Equal(t, kv.Revision(i+1), revisionOf(t, res.Value))
		}
		s.pass(time.Second)
		for _, d := range s.dissents() {
			require.Equal(t, bftraft.NodeID(2), d.Node)
		}
		require.GreaterOrEqual(t, s.client.Stats().Nodes[1].Dissents, uint64(20))
	})
}

func TestReplyThatDoesNotVerifyIsNotCounted(t *testing.T) {
	bends := map[string]func(n *node, r *bftraft.BlockReply){
		"result":    func(_ *node, r *bftraft.BlockReply) { r.Results[0] = []byte("lie") },
		"branch":    func(_ *node, r *bftraft.BlockReply) { r.Branch = make([]crypto.Digest, 1) },
		"place":     func(_ *node, r *bftraft.BlockReply) { r.Place++ },
		"leaves":    func(_ *node, r *bftraft.BlockReply) { r.Leaves++ },
		"root":      func(_ *node, r *bftraft.BlockReply) { r.Reply.Results[0] ^= 1 },
		"index":     func(_ *node, r *bftraft.BlockReply) { r.Reply.Index++ },
		"cluster":   func(n *node, r *bftraft.BlockReply) { r.Reply.Cluster[0] ^= 1; resign(n, r) },
		"signature": func(_ *node, r *bftraft.BlockReply) { r.Sig[3] ^= 1 },
		"signer":    func(_ *node, r *bftraft.BlockReply) { r.Signer = r.Signer%4 + 1 },
		"stranger":  func(_ *node, r *bftraft.BlockReply) { r.Signer = 9 },
		"too few": func(n *node, r *bftraft.BlockReply) {
			r.Results = nil
			resign(n, r)
		},
	}
	for name, bend := range bends {
		t.Run(name, func(t *testing.T) {
			play(t, 4, nil, func(s *scene) {
				for _, n := range s.nodes {
					n.bendReplies(func(r *bftraft.BlockReply) { bend(n, r) })
				}
				_, err := s.client.Submit(s.within(time.Second), put(t, "k", "v"))
				require.ErrorIs(t, err, ErrUnknownOutcome)
				for _, n := range s.client.Stats().Nodes {
					require.Positive(t, n.Invalid)
				}
				for _, n := range s.nodes[1:] {
					n.bends(nil)
				}
				s.put("k", "w")
				require.Equal(t, "w", s.read("k"))
			})
		})
	}
}

func TestOperationsOfOneMomentShareASignature(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		var futures []*Future
		for i := range 1000 {
			futures = append(futures, s.client.Go(put(t, fmt.Sprint(i), "v")))
		}
		for i, f := range futures {
			res, err := s.client.Wait(s.within(30*time.Second), f)
			require.NoError(t, err)
			require.Equal(t, kv.Revision(i+1), revisionOf(t, res.Value), "in order")
		}
		stats := s.client.Stats()
		require.Equal(t, uint64(1000), stats.Ops)
		require.Less(t, stats.Requests, uint64(20))
		require.Empty(t, s.dissents())
	})
}

func TestWindowBoundsWhatIsOutstanding(t *testing.T) {
	single := func(c *Config) { c.BundleOps, c.Window = 1, 4 }
	play(t, 4, single, func(s *scene) {
		s.put("first", "v")
		s.pass(100 * time.Millisecond)
		s.cluster.mu.Lock()
		s.hold = true
		s.cluster.mu.Unlock()
		var futures []*Future
		for i := range 10 {
			futures = append(futures, s.client.Go(put(t, fmt.Sprint(i), "v")))
		}
		s.pass(100 * time.Millisecond)
		s.cluster.mu.Lock()
		require.Len(t, s.waiting, 4)
		s.hold = false
		s.drain()
		s.cluster.mu.Unlock()
		for _, f := range futures {
			_, err := s.client.Wait(s.within(30*time.Second), f)
			require.NoError(t, err)
		}
		require.Equal(t, uint64(11), s.client.Stats().Requests)
	})
}

func TestAloneOperationsShareNoSignature(t *testing.T) {
	play(t, 4, func(c *Config) { c.Window = 1 }, func(s *scene) {
		ops := []*Future{
			s.client.Go(put(t, "a", "1")), s.client.Go(put(t, "b", "1")),
			s.client.GoAlone(put(t, "c", "1")), s.client.Go(put(t, "d", "1")),
		}
		var ids []uint64
		for _, f := range ops {
			res, err := s.client.Wait(s.within(30*time.Second), f)
			require.NoError(t, err)
			ids = append(ids, res.ID.Sequence)
		}
		require.Greater(t, ids[2], ids[1])
		require.Greater(t, ids[3], ids[2])
	})
}

func TestGivingUpSaysWhetherItWasSent(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("a", "1")
		for _, n := range s.nodes {
			n.bends(func([]byte) [][]byte { return nil })
		}
		_, err := s.client.Submit(s.within(time.Second), put(t, "a", "2"))
		require.ErrorIs(t, err, ErrUnknownOutcome)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var unknown *UnknownOutcomeError
		require.True(t, errors.As(err, &unknown))

		for _, n := range s.nodes {
			n.bends(nil)
		}
		res, err := s.another(unknown.ID).Submit(s.within(10*time.Second), put(t, "a", "2"))
		require.NoError(t, err)
		require.Equal(t, kv.Revision(2), revisionOf(t, res.Value), "executed once")
		require.Equal(t, unknown.ID, res.ID)
		require.Equal(t, kv.Revision(3), revisionOf(t, s.put("a", "3").Value))
	})
	play(t, 4, nil, func(s *scene) {
		s.put("a", "1")
		for id := range s.nodes {
			s.client.Down(bftraft.NodeID(id + 1))
		}
		_, err := s.client.Submit(s.within(time.Second), put(t, "a", "2"))
		require.ErrorIs(t, err, ErrNotSent)
		s.client.Up(2)
		require.Equal(t, kv.Revision(2), revisionOf(t, s.put("a", "2").Value))
	})
}

// A node tells only those it can reach: one that comes up later must be asked to say it again.
func TestNodesThatComeUpAfterARequestWasSentAreAskedToo(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("a", "1")
		s.pass(100 * time.Millisecond)
		for id := 2; id <= 4; id++ {
			s.client.Down(bftraft.NodeID(id))
			s.node(id).bends(func([]byte) [][]byte { return nil })
		}
		f := s.client.Go(put(t, "b", "2"))
		s.pass(100 * time.Millisecond)
		began := time.Now()
		s.node(3).bends(nil)
		s.client.Up(3)
		_, err := s.client.Wait(s.within(time.Second), f)
		require.NoError(t, err)
		require.Less(t, time.Since(began), 50*time.Millisecond)
	})
}

func TestClosingEndsWhatIsOnItsWay(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		for _, n := range s.nodes {
			n.bends(func([]byte) [][]byte { return nil })
		}
		sent := s.client.Go(put(t, "a", "1"))
		synctest.Wait()
		require.NoError(t, s.client.Close())
		_, err := sent.Result()
		require.ErrorIs(t, err, ErrUnknownOutcome)
		_, err = s.client.Submit(s.Context(), put(t, "a", "1"))
		require.ErrorIs(t, err, ErrClosed)
		_, err = s.client.Read(s.Context(), get(t, "a"))
		require.ErrorIs(t, err, ErrClosed)
	})
}

func TestWhatIsTooLargeOrMalformedIsNotSent(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		_, err := s.client.Submit(s.Context(), make([]byte, bftraft.MaxOpBytes+1))
		require.ErrorIs(t, err, ErrTooLarge)
		_, err = s.client.Submit(s.Context(), []byte("no operation"))
		require.ErrorIs(t, err, kv.ErrMalformed)
		require.Zero(t, s.client.Stats().Requests)
	})
	play(t, 4, func(c *Config) { c.QueueOps = 2 }, func(s *scene) {
		for id := range s.nodes {
			s.client.Down(bftraft.NodeID(id + 1))
		}
		var full int
		for range 20 {
			f := s.client.GoAlone(put(t, "k", "v"))
			select {
			case <-f.Done():
				_, err := f.Result()
				require.ErrorIs(t, err, ErrQueueFull)
				full++
			default:
			}
		}
		require.Positive(t, full)
	})
}

func TestUnenrolledKeyIsNotAuthorised(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Genesis, cfg.Key = testGenesis(4), testKey(99)
	_, err := New(cfg)
	require.ErrorIs(t, err, ErrNotAuthorised)
}

func TestConfigNamesTheFieldThatCannotWork(t *testing.T) {
	good := DefaultConfig()
	good.Genesis, good.Key = testGenesis(4), clientKey()
	require.NoError(t, good.Validate())
	for field, spoil := range map[string]func(*Config){
		"Genesis":      func(c *Config) { c.Genesis = nil },
		"Key":          func(c *Config) { c.Key = crypto.PrivateKey{} },
		"Window":       func(c *Config) { c.Window = 129 },
		"BundleOps":    func(c *Config) { c.BundleOps = 5000 },
		"BundleBytes":  func(c *Config) { c.BundleBytes = 3 << 20 },
		"QueueOps":     func(c *Config) { c.QueueOps = 0 },
		"QueueBytes":   func(c *Config) { c.QueueBytes = 0 },
		"Late":         func(c *Config) { c.Late = time.Hour },
		"ReadTries":    func(c *Config) { c.ReadTries = 0 },
		"ReadPatience": func(c *Config) { c.ReadPatience = 0 },
	} {
		cfg := good
		spoil(&cfg)
		require.ErrorIs(t, cfg.Validate(), ErrConfig)
		require.ErrorContains(t, cfg.Validate(), field)
	}
	_, err := New(good)
	require.ErrorContains(t, err, "Peers")
}
