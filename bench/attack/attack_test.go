package attack

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// liarStore is three maps. While it lies it acknowledges without writing, or writes to one alone.
type liarStore struct {
	mu     sync.Mutex
	nodes  [3]map[string][]byte
	lying  bool
	forget bool // what it is given
	apart  bool // the last node gets something else
}

func newLiarStore() *liarStore {
	s := &liarStore{}
	for i := range s.nodes {
		s.nodes[i] = map[string][]byte{}
	}
	return s
}

func (s *liarStore) Put(_ context.Context, key, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lying && s.forget {
		return nil
	}
	for i := range s.nodes {
		if s.lying && s.apart && i == 2 {
			continue
		}
		s.nodes[i][string(key)] = value
	}
	return nil
}

func (s *liarStore) HonestGet(_ context.Context, key []byte) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out [][]byte
	for i := range s.nodes {
		out = append(out, s.nodes[i][string(key)])
	}
	return out, nil
}

func (s *liarStore) Lie(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lying = on
}

func (s *liarStore) Traces() Traces { return Traces{LeaderChanges: 1} }

func short() Load {
	return Load{
		Writers: 4, Calm: 20 * time.Millisecond, Lying: 20 * time.Millisecond,
		Settle: 10 * time.Millisecond, Timeout: time.Minute,
	}
}

func TestHonestStoreLosesNothing(t *testing.T) {
	r, err := Run(context.Background(), newLiarStore(), short())
	require.NoError(t, err)
	require.Zero(t, r.Lost+r.SetBack+r.Apart)
	require.Positive(t, r.Acked)
	require.Equal(t, 1, r.Traces.LeaderChanges)
}

func TestWhatWasAcknowledgedAndForgottenIsLost(t *testing.T) {
	s := newLiarStore()
	s.forget = true
	r, err := Run(context.Background(), s, short())
	require.NoError(t, err)
	require.Equal(t, 4, r.Lost)
	require.Zero(t, r.SetBack)
}

func TestNodesThatDifferAreToldApart(t *testing.T) {
	s := newLiarStore()
	s.apart = true
	r, err := Run(context.Background(), s, short())
	require.NoError(t, err)
	require.Zero(t, r.Lost)
	require.Equal(t, 4, r.SetBack)
	require.Equal(t, 4, r.Apart)
}

func TestEarCountsEachWriteOnce(t *testing.T) {
	ear := &Ear{}
	frame := append(append([]byte("x"), value(1, 1)...), value(1, 2)...)
	for range 2 {
		_, err := ear.Write(frame)
		require.NoError(t, err)
	}
	_, err := ear.Write(mark)
	require.NoError(t, err)
	require.Equal(t, 2, ear.Count())
	require.EqualValues(t, 2, numberOf(value(1, 2), 1))
	require.Zero(t, numberOf(value(1, 2), 2))
}
