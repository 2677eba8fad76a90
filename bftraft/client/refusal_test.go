package client

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
)

func (n *node) refuses(code bftraft.RefusalCode) {
	n.bends(func(frame []byte) [][]byte {
		r, err := bftraft.DecodeBlockReply(frame)
		if err != nil {
			return [][]byte{frame}
		}
		refusal := bftraft.Refusal{Session: r.Session, Sequence: r.Sequence, Code: code}
		return [][]byte{refusal.Encode()}
	})
}

func TestRefusalNeedsFPlusOne(t *testing.T) {
	codes := map[bftraft.RefusalCode]error{
		bftraft.RefusedMalformed: ErrRefused, bftraft.RefusedTooLarge: ErrRefused,
		bftraft.RefusedClient: ErrNotAuthorised, bftraft.RefusedExpired: ErrResultForgotten,
	}
	for code, want := range codes {
		play(t, 4, nil, func(s *scene) {
			s.node(1).refuses(code)
			s.put("k", "one is not believed")
			for id := 1; id <= 3; id++ {
				s.node(id).refuses(code)
			}
			_, err := s.client.Submit(s.within(10*time.Second), put(t, "k", "v"))
			require.ErrorIs(t, err, want)
			for _, n := range s.nodes {
				n.bends(nil)
			}
			s.put("k", "later ones go under a new session")
		})
	}
}

// refusal is what a node says about a request.
func refusalOf(id RequestID, code bftraft.RefusalCode) []byte {
	r := bftraft.Refusal{Session: id.Session, Sequence: id.Sequence, Code: code}
	return r.Encode()
}

func (f *Future) ended() bool {
	select {
	case <-f.Done():
		return true
	default:
		return false
	}
}

// holdBack makes the cluster take requests in without ordering them.
func (s *scene) holdBack(hold bool) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	if s.hold = hold; !hold {
		s.drain()
	}
}

func TestRequestsAfterARefusedOneGoUnderANewSession(t *testing.T) {
	single := func(c *Config) { c.BundleOps, c.Window = 1, 2 }
	play(t, 4, single, func(s *scene) {
		first := s.put("a", "1").ID
		s.holdBack(true)
		refused, after := s.client.Go(put(t, "b", "1")), s.client.Go(put(t, "b", "2"))
		later := s.client.Go(put(t, "b", "3"))
		s.pass(time.Second) // long enough to go to all
		second := RequestID{Session: first.Session, Sequence: 2}
		s.client.Frame(1, refusalOf(second, bftraft.RefusedTooLarge))
		s.client.Frame(1, refusalOf(second, bftraft.RefusedTooLarge))
		require.False(t, refused.ended(), "one voter is not believed")
		s.client.Frame(3, refusalOf(second, bftraft.RefusedMalformed))
		require.False(t, refused.ended(), "nor two that differ")
		s.client.Frame(4, refusalOf(second, bftraft.RefusedTooLarge))
		require.True(t, refused.ended())
		_, err := refused.Result()
		require.ErrorIs(t, err, ErrRefused)
		_, err = after.Result()
		require.ErrorIs(t, err, ErrUnknownOutcome)
		s.holdBack(false)
		res, err := s.client.Wait(s.within(10*time.Second), later)
		require.NoError(t, err)
		require.Greater(t, res.ID.Session, first.Session)
		require.Equal(t, uint64(1), res.ID.Sequence)
	})
}

func TestOperationThatWaitsInTheQueueCanBeTakenBack(t *testing.T) {
	single := func(c *Config) { c.BundleOps, c.Window = 1, 1 }
	play(t, 4, single, func(s *scene) {
		s.put("a", "1")
		s.holdBack(true)
		first := s.client.Go(put(t, "a", "2"))
		_, err := s.client.Submit(s.within(time.Millisecond), put(t, "a", "never"))
		require.ErrorIs(t, err, ErrNotSent)
		last := s.client.Go(put(t, "b", "3"))
		s.holdBack(false)
		for _, f := range []*Future{first, last} {
			_, err := s.client.Wait(s.within(10*time.Second), f)
			require.NoError(t, err)
		}
		require.Equal(t, "2", s.read("a"))
	})
}

func TestNodeThatWasNotAskedCannotRefuse(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		first := s.put("a", "1").ID
		s.pass(100 * time.Millisecond)
		s.holdBack(true)
		f := s.client.Go(put(t, "a", "2"))
		synctest.Wait()
		s.client.Frame(4, refusalOf(RequestID{first.Session, 2}, bftraft.RefusedBusy))
		s.pass(100 * time.Millisecond)
		require.Zero(t, s.client.Stats().Busy)
		s.holdBack(false)
		_, err := s.client.Wait(s.within(10*time.Second), f)
		require.NoError(t, err)
	})
}

// A node that has no room for another request is at work: there is no reason to bother the rest.
func TestBusyLeaderIsAskedAgainSoonAndAlone(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("a", "1")
		s.pass(100 * time.Millisecond)
		s.cluster.mu.Lock()
		s.full = 3
		s.cluster.mu.Unlock()
		before, began := s.requestsHeard(), time.Now()
		s.put("a", "2")
		require.Less(t, time.Since(began), 100*time.Millisecond)
		require.Equal(t, before, s.requestsHeard())
		require.Equal(t, uint64(3), s.client.Stats().Busy)
		require.Zero(t, s.client.Stats().Repeated)
	})
}

func TestBusyNodesAreAskedAgain(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		for _, n := range s.nodes {
			n.refuses(bftraft.RefusedBusy)
		}
		f := s.client.Go(put(t, "k", "v"))
		s.pass(time.Second)
		for _, n := range s.nodes {
			n.bends(nil)
		}
		_, err := s.client.Wait(s.within(10*time.Second), f)
		require.NoError(t, err)
	})
}

// TestRefusalForTheClientDoesNotSayWhatHappened: who was removed, or may only read by now, may have
// had its request executed before.
func TestRefusalForTheClientDoesNotSayWhatHappened(t *testing.T) {
	for code, want := range map[bftraft.RefusalCode]error{
		bftraft.RefusedClient: ErrNotAuthorised, bftraft.RefusedRole: ErrMayOnlyRead,
	} {
		play(t, 4, nil, func(s *scene) {
			first := s.put("a", "1").ID
			s.holdBack(true)
			refused := s.client.Go(put(t, "b", "1"))
			s.pass(time.Second)
			id := RequestID{Session: first.Session, Sequence: 2}
			s.client.Frame(1, refusalOf(id, code))
			s.client.Frame(2, refusalOf(id, code))
			require.True(t, refused.ended())
			_, err := refused.Result()
			require.ErrorIs(t, err, want)
			require.ErrorIs(t, err, ErrUnknownOutcome)
			s.holdBack(false)
		})
	}
}
