package load

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mapStore is a store without a cluster.
type mapStore struct {
	mu     sync.Mutex
	values map[string][]byte
	err    error
	stall  chan struct{} // if set, operations wait for it once it is armed
	armed  bool
}

func (s *mapStore) Put(_ context.Context, key, value []byte) error {
	s.wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[string(key)] = value
	return s.err
}

func (s *mapStore) Get(_ context.Context, key []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[string(key)], s.err
}

func (s *mapStore) wait() {
	s.mu.Lock()
	armed := s.armed
	s.mu.Unlock()
	if armed {
		<-s.stall
	}
}

func workload() Workload {
	return Workload{
		Outstanding: 4, ValueBytes: 64, Keys: 50, WarmUp: 5 * time.Millisecond,
		Measure: 50 * time.Millisecond, Timeout: time.Minute,
	}
}

func TestLoadMeasuresReadsAndWrites(t *testing.T) {
	w := workload()
	w.Reads = 0.5
	s := &mapStore{values: map[string][]byte{}}
	r, err := Run(context.Background(), s, w, Hooks{})
	require.NoError(t, err)
	require.Zero(t, r.Errors, r.FirstErr)
	require.Positive(t, r.Writes)
	require.Greater(t, r.Ops, r.Writes)
	require.InDelta(t, float64(r.Ops)/r.Seconds, r.Rate, 1)
	require.LessOrEqual(t, r.Latency.P50, r.Latency.P99)
	require.Len(t, s.values, w.Keys, "all keys were written before anything was read")
	require.WithinDuration(t, r.Ended, r.Began.Add(time.Duration(r.Seconds*1e9)), time.Millisecond)
}

func TestFailuresAreCountedAndNotMeasured(t *testing.T) {
	s := &mapStore{values: map[string][]byte{}}
	w := workload()
	r, err := Run(context.Background(), s, w, Hooks{Begin: func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.err = errors.New("no")
	}})
	require.NoError(t, err)
	require.Greater(t, r.Errors, uint64(10*w.Outstanding))
	require.Equal(t, "no", r.FirstErr)
	require.LessOrEqual(t, r.Ops, uint64(w.Outstanding),
		"only what was under way when the store began to fail, one for each worker, ends well")
}

func TestPauseIsFoundAlsoAtTheEnd(t *testing.T) {
	s := &mapStore{values: map[string][]byte{}, stall: make(chan struct{})}
	r, err := Run(context.Background(), s, workload(), Hooks{
		Begin: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.armed = true
		},
		End: func() { close(s.stall) },
	})
	require.NoError(t, err)
	require.Greater(t, r.LongestMS, 40.0)
}

func TestWorkloadThatMakesNoSenseIsRefused(t *testing.T) {
	for _, spoil := range []func(*Workload){
		func(w *Workload) { w.Outstanding = 0 }, func(w *Workload) { w.ValueBytes = 7 },
		func(w *Workload) { w.Reads = 1.1 }, func(w *Workload) { w.Keys = 0 },
		func(w *Workload) { w.Measure = 0 },
	} {
		w := workload()
		require.NoError(t, w.Validate())
		spoil(&w)
		require.Error(t, w.Validate())
	}
}

func TestValuesNameTheirKey(t *testing.T) {
	d := &driver{w: workload(), store: &mapStore{values: map[string][]byte{
		string(key(3)): (&driver{w: workload()}).value(3),
		string(key(4)): (&driver{w: workload()}).value(3),
	}}}
	require.NoError(t, d.get(context.Background(), 3))
	require.ErrorContains(t, d.get(context.Background(), 4), "nobody wrote there")
}
