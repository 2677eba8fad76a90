package client

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// bendReads makes a node change its answers to reads, and sign what it made of them.
func (n *node) bendReads(query []byte, bend func(r *bftraft.ReadReply)) {
	n.bends(func(frame []byte) [][]byte {
		r, err := bftraft.DecodeReadReply(frame)
		if err != nil {
			return [][]byte{frame}
		}
		bend(r)
		r.Sign(n.signer, n.c.id, [][]byte{query})
		return [][]byte{r.Encode()}
	})
}

// stale returns the answer to get before anything was written.
func stale(s *scene, query []byte) []byte {
	res, err := s.client.Read(s.within(time.Second), query)
	require.NoError(s, err)
	return res.Value
}

func TestStaleAnswersOfFLiarsAreNotAccepted(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		query := get(t, "k")
		old := stale(s, query)
		s.put("k", "new")
		// The liar is first to answer, claims to be up to date, and hides its lock.
		s.node(1).bendReads(query, func(r *bftraft.ReadReply) {
			r.Results[0], r.Executed = old, r.Executed+5
			r.Lock, r.LockQC = quorumcert.Lock{Hash: s.id}, nil
		})
		for range 20 {
			require.Equal(t, "new", s.read("k"))
		}
	})
}

func TestStaleAnswersOfFPlusOneLiarsAreAccepted(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		query := get(t, "k")
		old := stale(s, query)
		s.put("k", "new")
		for id := 1; id <= 2; id++ {
			s.node(id).bendReads(query, func(r *bftraft.ReadReply) { r.Results[0] = old })
		}
		s.node(3).bendReads(query, func(r *bftraft.ReadReply) { r.Results[0] = []byte("third") })
		s.node(4).bends(func([]byte) [][]byte { return nil })
		require.Equal(t, "", s.read("k"))
	})
}

// Two of four honest nodes have not executed the write, and agree on what was before it.
func TestAnswersOfNodesThatAreBehindDoNotCount(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("k", "old")
		s.pass(100 * time.Millisecond)
		s.node(3).lags(true)
		s.node(4).lags(true)
		s.put("k", "new")
		require.Equal(t, "new", s.read("k"))
		s.node(1).stopsHearing() // now one that is behind is needed
		done := make(chan string)
		go func() { done <- s.read("k") }()
		s.pass(500 * time.Millisecond)
		synctest.Wait()
		select {
		case <-done:
			require.Fail(t, "a result without f+1 that have executed it")
		default:
		}
		asked := s.node(3).heard(bftraft.FrameRead)
		require.LessOrEqual(t, asked, 4, "it knows what it waits for")
		s.node(3).lags(false)
		began := time.Now()
		require.Equal(t, "new", <-done)
		require.Less(t, time.Since(began), 10*time.Millisecond)
		require.Empty(t, s.dissents())
	})
}

func TestReadThatNeverAgreesIsUnsettled(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		query := get(t, "k")
		var n atomic.Int64
		for _, node := range s.nodes {
			node.bendReads(query, func(r *bftraft.ReadReply) {
				r.Results[0] = fmt.Append(nil, n.Add(1))
				r.Executed += bftraft.Index(n.Load())
			})
		}
		_, err := s.client.Read(s.within(time.Minute), query)
		require.ErrorIs(t, err, ErrReadUnsettled)
	})
}

func TestReadWithoutQuorumEndsWithItsContext(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("k", "v")
		s.node(1).stopsHearing()
		s.node(2).stopsHearing()
		_, err := s.client.Read(s.within(5*time.Second), get(t, "k"))
		require.ErrorIs(t, err, ErrNoQuorum)
	})
}

func TestLyingAboutTheSameStateIsNamed(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		query := get(t, "k")
		s.put("k", "v")
		s.pass(100 * time.Millisecond)
		s.node(4).bendReads(query, func(r *bftraft.ReadReply) { r.Results[0] = []byte("lie") })
		for range 50 {
			require.Equal(t, "v", s.read("k"))
		}
		for _, d := range s.dissents() {
			require.Equal(t, Dissent{Node: 4, Kind: DissentRead}, d)
		}
	})
}

func TestReadAnswersThatDoNotVerifyAreNotCounted(t *testing.T) {
	other := get(t, "other")
	for name, bend := range map[string]func(n *node, r *bftraft.ReadReply){
		"result": func(_ *node, r *bftraft.ReadReply) { r.Results[0] = []byte("lie") },
		"query":  func(n *node, r *bftraft.ReadReply) { r.Sign(n.signer, n.c.id, [][]byte{other}) },
		"lock":   func(_ *node, r *bftraft.ReadReply) { r.Lock.Index-- },
		"signer": func(_ *node, r *bftraft.ReadReply) { r.Signer = r.Signer%4 + 1 },
		"qc":     func(_ *node, r *bftraft.ReadReply) { r.LockQC.Sigs[0][1] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, 4, nil, func(s *scene) {
				s.put("k", "v")
				for _, n := range s.nodes {
					n.bends(func(frame []byte) [][]byte {
						r, err := bftraft.DecodeReadReply(frame)
						if err != nil {
							return [][]byte{frame}
						}
						bend(n, r)
						return [][]byte{r.Encode()}
					})
				}
				_, err := s.client.Read(s.within(2*time.Second), get(t, "k"))
				require.ErrorIs(t, err, ErrNoQuorum)
				require.Positive(t, s.client.Stats().Nodes[0].Invalid)
			})
		})
	}
}

func TestNodeCannotAnswerForAnother(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		query := get(t, "k")
		s.node(2).bends(func(frame []byte) [][]byte {
			r, err := bftraft.DecodeReadReply(frame)
			if err != nil {
				return [][]byte{frame}
			}
			r.Sign(s.node(3).signer, s.id, [][]byte{query})
			return [][]byte{r.Encode()}
		})
		_, err := s.client.ReadFrom(s.within(time.Second), 2, 0, query)
		require.ErrorIs(t, err, ErrNoQuorum)
	})
}

func TestOldAnswerIsNoAnswerToANewQuestion(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		query := get(t, "k")
		var kept []byte
		s.node(1).bends(func(frame []byte) [][]byte {
			if frame[0] == bftraft.FrameReadReply {
				if kept == nil {
					kept = frame
				}
				return [][]byte{kept}
			}
			return [][]byte{frame}
		})
		_, err := s.client.ReadFrom(s.within(time.Second), 1, 0, query)
		require.NoError(t, err)
		_, err = s.client.ReadFrom(s.within(time.Second), 1, 0, query)
		require.ErrorIs(t, err, ErrNoQuorum)
	})
}

func TestNewerConfigurationNeedsFPlusOneWords(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		query := get(t, "k")
		s.put("k", "v")
		newer := func(r *bftraft.ReadReply) { r.Configuration = 7 }
		s.node(1).bendReads(query, newer)
		require.Equal(t, "v", s.read("k"))
		s.node(2).bendReads(query, newer)
		_, err := s.client.Read(s.within(2*time.Second), query)
		require.ErrorIs(t, err, ErrReadUnsettled, "they never show what it consists of")
	})
}

func TestStaleReadTakesOneNodesWord(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("k", "v")
		for _, n := range s.nodes[1:] {
			n.stopsHearing()
		}
		res, err := s.client.ReadStale(s.within(time.Second), get(t, "k"))
		require.NoError(t, err)
		require.Equal(t, "v", valueOf(t, res.Value))
		require.Equal(t, quorumcert.SetOf(1), res.Nodes)
		s.node(1).stopsHearing()
		_, err = s.client.ReadStale(s.within(time.Second), get(t, "k"))
		require.ErrorIs(t, err, ErrNoQuorum)
	})
	play(t, 4, nil, func(s *scene) {
		s.node(1).stopsHearing()
		s.node(2).stopsHearing()
		res, err := s.client.ReadStale(s.within(10*time.Second), get(t, "k"))
		require.NoError(t, err, "others are asked when one does not answer")
		require.Positive(t, res.Nodes)
	})
}

func TestReadFromWaitsForItsIndex(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		first := s.put("k", "1")
		go func() {
			s.pass(3 * time.Second)
			s.client.Go(put(t, "k", "2"))
		}()
		began := time.Now()
		res, err := s.client.ReadFrom(s.within(time.Minute), 3, first.Index+1, get(t, "k"))
		require.NoError(t, err)
		require.Equal(t, "2", valueOf(t, res.Value))
		require.GreaterOrEqual(t, time.Since(began), 3*time.Second)
	})
}

func TestStatusComesFromEveryNodeThatAnswers(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("k", "v")
		s.pass(time.Second)
		s.node(2).stopsHearing()
		// A node cannot speak for another.
		s.node(3).bends(func([]byte) [][]byte {
			return [][]byte{bftraft.SignNodeStatus(s.node(3).signer, s.id,
				&bftraft.NodeStatus{Term: 9}), s.node(4).status()}
		})
		_, reports := s.client.Status(s.within(2 * time.Second))
		require.Len(t, reports, 4)
		require.Equal(t, bftraft.Index(1), reports[0].Status.Executed)
		require.Equal(t, bftraft.NodeID(1), reports[0].Status.Leader)
		require.Nil(t, reports[1].Status)
		require.Equal(t, bftraft.Term(9), reports[2].Status.Term)
		require.Equal(t, bftraft.Term(1), reports[3].Status.Term)
		require.Positive(t, s.client.Stats().Nodes[2].Invalid)
		require.Zero(t, s.client.Stats().Nodes[3].Invalid)
	})
}
