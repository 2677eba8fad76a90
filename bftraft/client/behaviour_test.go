package client

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

func (n *node) hearsAgain() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deaf = false
}

func (s *scene) readsUnderWay() int {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	return len(s.client.reads)
}

func TestReadThatHasEndedIsForgotten(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("k", "v")
		require.Equal(t, "v", s.read("k"))
		_, err := s.client.ReadFrom(s.within(time.Second), 2, 0, get(t, "k"))
		require.NoError(t, err)
		_, err = s.client.ReadStale(s.within(time.Second), get(t, "k"))
		require.NoError(t, err)
		for _, n := range s.nodes {
			n.stopsHearing()
		}
		_, err = s.client.Read(s.within(time.Second), get(t, "k"))
		require.ErrorIs(t, err, ErrNoQuorum)
		require.Zero(t, s.readsUnderWay())
	})
}

func TestQuestionThatWasLostIsAskedAgain(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("k", "v")
		for _, n := range s.nodes {
			n.stopsHearing()
		}
		done := make(chan string)
		began := time.Now()
		go func() { done <- s.read("k") }()
		s.pass(50 * time.Millisecond)
		for _, n := range s.nodes {
			n.hearsAgain()
		}
		require.Equal(t, "v", <-done)
		require.Less(t, time.Since(began), time.Second)
	})
}

// A lock that only one node shows, and that is never committed, may hold up a read for a while.
func TestReadGoesOnWhenALockWasGivenUp(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		query := get(t, "k")
		s.put("k", "v")
		s.pass(100 * time.Millisecond)
		s.node(3).stopsHearing()
		s.node(4).bendReads(query, func(r *bftraft.ReadReply) {
			r.LockQC = s.certify(1, 9)
			r.Lock = r.LockQC.Lock
		})
		done := make(chan string)
		go func() { done <- s.read("k") }()
		s.pass(time.Second)
		synctest.Wait()
		s.node(4).bends(nil)
		require.Equal(t, "v", <-done)
	})
}

func TestLiarAmongThoseThatDecideAReadIsReported(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		query := get(t, "k")
		s.put("k", "v")
		s.pass(100 * time.Millisecond)
		s.node(3).stopsHearing()
		s.node(4).bendReads(query, func(r *bftraft.ReadReply) { r.Results[0] = []byte("lie") })
		require.Equal(t, "v", s.read("k"))
		require.Equal(t, []Dissent{{Node: 4, Kind: DissentRead}}, s.dissents())
		require.Equal(t, uint64(1), s.client.Stats().Nodes[3].Dissents)
	})
}

// TestProvenLockVouchesForNoOther: a certificate is judged once for each node, and any other anew.
func TestProvenLockVouchesForNoOther(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("k", "v")
		query, qc, signer := get(t, "k"), s.certify(1, 1), s.node(4).signer
		shows := func(lock bftraft.Lock, qc *quorumcert.QC) bool {
			r := &bftraft.ReadReply{Lock: lock, LockQC: qc}
			r.Sign(signer, s.id, [][]byte{query})
			return s.client.judges.read(4, r, [][]byte{query})
		}
		bent := func(change func(*quorumcert.QC)) *quorumcert.QC {
			c := *qc
			c.Sigs = slices.Clone(c.Sigs)
			change(&c)
			return &c
		}
		for range 2 {
			require.True(t, shows(qc.Lock, qc))
			require.True(t, shows(bftraft.Lock{Hash: s.id}, nil), "nothing is locked yet")
			forged := bent(func(c *quorumcert.QC) { c.Sigs[0][0] ^= 1 })
			require.False(t, shows(qc.Lock, forged))
			higher := bent(func(c *quorumcert.QC) { c.Index++ })
			require.False(t, shows(higher.Lock, higher))
			require.False(t, shows(higher.Lock, qc))
			require.False(t, shows(qc.Lock, nil))
			r := &bftraft.ReadReply{Lock: qc.Lock, LockQC: qc}
			r.Sign(s.node(3).signer, s.id, [][]byte{query})
			r.Signer = 4
			require.False(t, s.client.judges.read(4, r, [][]byte{query}), "another's signature")
		}
		another := s.certify(1, 2)
		require.True(t, shows(another.Lock, another))
		require.True(t, shows(qc.Lock, qc))
	})
}

func TestFramesOfStrangersAreNobodysLie(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		for _, stranger := range []bftraft.NodeID{0, 5, 64, 65, 255} {
			s.client.Frame(stranger, []byte{0xff})
		}
		s.client.Frame(1, nil)
		require.Empty(t, s.dissents())
		s.client.Frame(1, []byte{0xff})
		require.Equal(t, []Dissent{{Node: 1, Kind: DissentInvalid}}, s.dissents())
	})
}

func TestStatsTellWhoAnsweredAndWhoIsThere(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.pass(10 * time.Millisecond)
		s.node(4).stopsHearing()
		s.read("k")
		s.pass(10 * time.Millisecond)
		s.client.Down(2)
		for i, n := range s.client.Stats().Nodes {
			require.Equal(t, bftraft.NodeID(i+1), n.ID)
			require.Equal(t, n.ID != 2, n.Up, "node %d", n.ID)
		}
		answers := uint64(0)
		for _, n := range s.client.Stats().Nodes[:3] {
			require.LessOrEqual(t, n.Replies, uint64(1))
			answers += n.Replies
		}
		require.Equal(t, uint64(3), answers, "a quorum")
		require.Zero(t, s.client.Stats().Nodes[3].Replies)
	})
}

func TestRefusalOfTheLeaderMakesTheClientAskTheOthersAtOnce(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		first := s.put("a", "1").ID
		s.pass(100 * time.Millisecond)
		s.holdBack(true)
		f := s.client.Go(put(t, "b", "2"))
		synctest.Wait()
		before := s.requestsHeard()
		s.client.Frame(1, refusalOf(RequestID{first.Session, 2}, bftraft.RefusedClient))
		s.pass(50 * time.Millisecond)
		for i, n := range s.requestsHeard() {
			require.Greater(t, n, before[i])
		}
		s.holdBack(false)
		_, err := s.client.Wait(s.within(10*time.Second), f)
		require.NoError(t, err)
	})
}

func TestLostLinkToAnotherThanTheLeaderChangesNothing(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("a", "1")
		s.pass(100 * time.Millisecond)
		s.node(1).stopsHearing()
		s.client.Go(put(t, "b", "2"))
		synctest.Wait()
		before := s.requestsHeard()
		s.client.Down(3)
		s.pass(50 * time.Millisecond)
		require.Equal(t, before, s.requestsHeard())
		require.Zero(t, s.client.Stats().Repeated)
	})
}

func TestRepetitionsBecomeRarer(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("a", "1")
		s.pass(100 * time.Millisecond)
		s.holdBack(true)
		f := s.client.Go(put(t, "b", "2"))
		s.pass(20 * time.Second)
		repeated := s.client.Stats().Repeated
		require.GreaterOrEqual(t, repeated, uint64(9), "every two seconds at least")
		require.LessOrEqual(t, repeated, uint64(14))
		s.holdBack(false)
		_, err := s.client.Wait(s.within(10*time.Second), f)
		require.NoError(t, err)
	})
}

// Who has executed a sequence goes on with the next; who has not waits for it for ever.
func TestSessionOutlivesAForgottenResultOnlyIfItWasExecuted(t *testing.T) {
	for _, executed := range []bool{true, false} {
		play(t, 4, nil, func(s *scene) {
			first := s.put("a", "1").ID
			s.pass(100 * time.Millisecond)
			s.holdBack(true)
			f := s.client.Go(put(t, "b", "2"))
			s.pass(time.Second) // long enough to go to all
			refusal := bftraft.Refusal{
				Session: first.Session, Sequence: 2, Code: bftraft.RefusedExpired, Executed: 1,
			}
			if executed {
				refusal.Executed = 2
			}
			s.client.Frame(2, refusal.Encode())
			s.client.Frame(3, refusal.Encode())
			require.True(t, f.ended())
			_, err := f.Result()
			require.ErrorIs(t, err, ErrResultForgotten)
			s.holdBack(false)
			next := s.put("c", "3").ID
			require.Equal(t, executed, next == RequestID{first.Session, 3}, "%v", next)
		})
	}
}

func TestReadThatIsSettledIsNotExhausted(t *testing.T) {
	tally := newReadTally(t, 4)
	for id := bftraft.NodeID(1); id <= 3; id++ {
		tally.Add(readReply(id, 5, 5, "v"))
	}
	_, _, by, ok := tally.Result()
	require.True(t, ok)
	require.Equal(t, quorumcert.SetOf(1, 2, 3), by)
	require.False(t, tally.Exhausted())
}

// TestEchoOfWhatWasAcceptedNeedsNoSignature saves verifying what nothing depends on; what differs
// is still looked at.
func TestEchoOfWhatWasAcceptedNeedsNoSignature(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		var kept []byte
		s.node(4).bends(func(frame []byte) [][]byte {
			if frame[0] == bftraft.FrameReply {
				kept = frame
				return nil
			}
			return [][]byte{frame}
		})
		s.put("a", "1")
		s.pass(100 * time.Millisecond)
		require.NotNil(t, kept)
		r, err := bftraft.DecodeBlockReply(kept)
		require.NoError(t, err)
		r.Sig[0] ^= 1
		s.client.Frame(4, r.Encode())
		require.Empty(t, s.dissents())
		s.client.Frame(3, r.Encode())
		require.Equal(t, []Dissent{{Node: 3, Kind: DissentInvalid}}, s.dissents(), "not its own")
		r.Results[0] = []byte("lie")
		s.client.Frame(4, r.Encode())
		require.Equal(t, Dissent{Node: 4, Kind: DissentInvalid}, s.dissents()[1])
	})
}
