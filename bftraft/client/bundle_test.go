package client

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
)

// many reads keys k0, k1, … at once and returns what comes of each.
func (s *scene) many(n int) (values []string, errs []error) {
	values, errs = make([]string, n), make([]error, n)
	var readers sync.WaitGroup
	for i := range n {
		query := get(s.T, fmt.Sprint("k", i))
		readers.Go(func() {
			res, err := s.client.Read(s.within(time.Minute), query)
			if errs[i] = err; err == nil {
				values[i] = valueOf(s.T, res.Value)
			}
		})
	}
	readers.Wait()
	return values, errs
}

// hasRoomFor limits the number of results in a node's answers to reads.
func (n *node) hasRoomFor(results int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.room = results
}

// fill puts v0, v1, … under k0, k1, …
func (s *scene) fill(n int) {
	for i := range n {
		s.put(fmt.Sprint("k", i), fmt.Sprint("v", i))
	}
	s.pass(100 * time.Millisecond)
}

func TestReadsThatWaitTogetherShareAQuestion(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		const n = 300
		s.fill(n)
		before := s.node(2).heard(bftraft.FrameRead)
		values, errs := s.many(n)
		for i := range n {
			require.NoError(t, errs[i])
			require.Equal(t, fmt.Sprint("v", i), values[i])
		}
		asked := s.node(2).heard(bftraft.FrameRead) - before
		require.LessOrEqual(t, asked, 2*readWindow, "questions for %d reads", n)
		require.Zero(t, s.readsUnderWay())
	})
}

// No node gives more than one result at a time, as if each were as large as an answer may be.
func TestReadsWithoutRoomBesideOthersAreAskedAlone(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.fill(20)
		for _, n := range s.nodes {
			n.hasRoomFor(1)
		}
		values, errs := s.many(20)
		for i := range values {
			require.NoError(t, errs[i], "being crowded out is no try")
			require.Equal(t, fmt.Sprint("v", i), values[i])
		}
		require.Empty(t, s.dissents())
	})
}

func TestLiarThatAnswersHalfOfAQuestionChangesNothing(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.fill(20)
		s.node(1).hasRoomFor(1)
		s.node(2).stopsHearing()
		values, errs := s.many(20)
		for i := range values {
			require.NoError(t, errs[i])
			require.Equal(t, fmt.Sprint("v", i), values[i])
		}
	})
}

func TestReadThatNeverAgreesHoldsUpNoOther(t *testing.T) {
	play(t, 4, func(c *Config) { c.BundleOps = 8 }, func(s *scene) {
		s.fill(20)
		for i, n := range s.nodes { // each sees something else under one key
			n.mu.Lock()
			n.machine.Apply(1000, put(t, "k3", fmt.Sprint("other", i)))
			n.mu.Unlock()
		}
		values, errs := s.many(20)
		for i := range values {
			if i == 3 {
				require.ErrorIs(t, errs[i], ErrReadUnsettled)
				continue
			}
			require.NoError(t, errs[i])
			require.Equal(t, fmt.Sprint("v", i), values[i])
		}
	})
}

func TestReadThatIsGivenUpHoldsUpNoOther(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.fill(3)
		for _, n := range s.nodes {
			n.stopsHearing()
		}
		began := time.Now()
		for range 3 * readWindow {
			_, err := s.client.Read(s.within(10*time.Millisecond), get(t, "k0"))
			require.ErrorIs(t, err, ErrNoQuorum)
		}
		require.Zero(t, s.readsUnderWay())
		for _, n := range s.nodes {
			n.hearsAgain()
		}
		require.Equal(t, "v1", s.read("k1"))
		require.Less(t, time.Since(began), time.Second)
	})
}

func TestCloseEndsReadsWhereverTheyAre(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.fill(1)
		for i, n := range s.nodes { // some are asked anew after a pause
			n.mu.Lock()
			n.machine.Apply(1000, put(t, "k0", fmt.Sprint("other", i)))
			n.mu.Unlock()
		}
		for i := 2; i < 4; i++ {
			s.nodes[i].lags(true)
		}
		var readers sync.WaitGroup
		for range 50 {
			readers.Go(func() {
				_, err := s.client.Read(context.Background(), get(t, "k0"))
				require.True(t, err == ErrClosed || err == ErrReadUnsettled, "%v", err)
			})
		}
		s.pass(time.Millisecond)
		require.NoError(t, s.client.Close())
		readers.Wait()
		synctest.Wait()
		_, err := s.client.Read(context.Background(), get(t, "k0"))
		require.ErrorIs(t, err, ErrClosed)
		require.Zero(t, s.readsUnderWay())
	})
}
