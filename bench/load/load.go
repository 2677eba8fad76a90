package load

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Store is what is driven. Its methods are called by many goroutines and return when the cluster
// has acknowledged the operation.
type Store interface {
	Put(ctx context.Context, key, value []byte) error
	// Get is a linearizable read.
	Get(ctx context.Context, key []byte) ([]byte, error)
}

// Workload says what is done.
type Workload struct {
	Outstanding int           `json:"outstanding"`
	ValueBytes  int           `json:"value_bytes"`
	Reads       float64       `json:"reads"` // share of the operations, 0 to 1
	Keys        int           `json:"keys"`
	WarmUp      time.Duration `json:"warm_up_ns"`
	Measure     time.Duration `json:"measure_ns"`
	// Timeout is how long one operation may take until it counts as failed.
	Timeout time.Duration `json:"timeout_ns"`
}

// stampBytes at the beginning of a value name its key; no value is shorter.
const stampBytes = 8

// Validate says what cannot be driven.
func (w *Workload) Validate() error {
	switch {
	case w.Outstanding < 1:
		return fmt.Errorf("outstanding: %d is not positive", w.Outstanding)
	case w.ValueBytes < stampBytes || w.ValueBytes > 1<<19:
		return fmt.Errorf("value bytes: %d is not between %d and %d", w.ValueBytes, stampBytes, 1<<19)
	case w.Reads < 0 || w.Reads > 1:
		return fmt.Errorf("reads: %v is not a share", w.Reads)
	case w.Keys < 1:
		return fmt.Errorf("keys: %d is not positive", w.Keys)
	case w.Measure <= 0 || w.Timeout <= 0 || w.WarmUp < 0:
		return errors.New("times must be positive")
	}
	return nil
}

// Result is what was measured.
type Result struct {
	Ops       uint64  `json:"ops"` // that ended within the measured time
	Writes    uint64  `json:"writes"`
	Errors    uint64  `json:"errors"` // of the whole run, warm-up included
	FirstErr  string  `json:"first_error,omitempty"`
	Seconds   float64 `json:"seconds"`
	Rate      float64 `json:"ops_per_second"`
	Latency   Latency `json:"latency_ms"`
	LongestMS float64 `json:"longest_pause_ms"` // the longest time in which no operation ended
	Usage     Usage   `json:"usage"`
	// Began and Ended are when the measured time did.
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
}

// Latency is in milliseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

const shards = 16

// shard keeps the latencies of some of the workers.
type shard struct {
	mu   sync.Mutex
	hist *hdrhistogram.Histogram
}

// driver is one run.
type driver struct {
	w        Workload
	store    Store
	measured atomic.Bool
	stop     atomic.Bool
	ops      atomic.Uint64
	writes   atomic.Uint64
	errors   atomic.Uint64
	firstErr atomic.Pointer[string]
	shards   [shards]shard
	lastEnd  atomic.Int64 // of an operation, in nanoseconds since began
	longest  atomic.Int64
	began    time.Time
}

// Hooks are called around the measured time.
type Hooks struct {
	Begin, End func()
	// During, if set, runs beside the load within the measured time, which it may prolong.
	During func(context.Context) error
}

// Run drives the store. An error means that nothing was measured.
func Run(ctx context.Context, s Store, w Workload, h Hooks) (Result, error) {
	if err := w.Validate(); err != nil {
		return Result{}, err
	}
	d := &driver{w: w, store: s, began: time.Now()}
	for i := range d.shards {
		d.shards[i].hist = hdrhistogram.New(1, time.Minute.Microseconds(), 3)
	}
	if err := d.fill(ctx); err != nil {
		return Result{}, fmt.Errorf("first writes: %w", err)
	}
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	var workers sync.WaitGroup
	for i := range w.Outstanding {
		workers.Go(func() { d.work(work, uint64(i)) })
	}
	r, err := d.measure(ctx, h)
	d.stop.Store(true)
	workers.Wait()
	r.Errors = d.errors.Load()
	if first := d.firstErr.Load(); first != nil {
		r.FirstErr = *first
	}
	return r, err
}

// fill writes every key once when there are reads; else only one, so that a leader is found.
func (d *driver) fill(ctx context.Context) error {
	keys := 1
	if d.w.Reads > 0 {
		keys = d.w.Keys
	}
	ctx, cancel := context.WithTimeout(ctx, d.w.Timeout)
	defer cancel()
	var next atomic.Int64
	var first atomic.Pointer[error]
	var workers sync.WaitGroup
	for range min(keys, 256) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < keys; i = int(next.Add(1)) - 1 {
				if err := d.store.Put(ctx, key(i), d.value(i)); err != nil {
					first.CompareAndSwap(nil, &err)
					return
				}
			}
		})
	}
	workers.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}

func (d *driver) measure(ctx context.Context, h Hooks) (Result, error) {
	if err := pause(ctx, d.w.WarmUp); err != nil {
		return Result{}, err
	}
	if h.Begin != nil {
		h.Begin()
	}
	before, err := usage()
	if err != nil {
		return Result{}, err
	}
	start := time.Now()
	d.lastEnd.Store(int64(start.Sub(d.began)))
	d.measured.Store(true)
	if h.During != nil {
		err = h.During(ctx)
	}
	if left := d.w.Measure - time.Since(start); err == nil && left > 0 {
		err = pause(ctx, left)
	}
	d.measured.Store(false)
	took := time.Since(start)
	after, usageErr := usage()
	if h.End != nil {
		h.End()
	}
	if err = errors.Join(err, usageErr); err != nil {
		return Result{}, err
	}
	d.note(time.Now())
	r := d.result(took, before, after)
	r.Began, r.Ended = start, start.Add(took)
	return r, nil
}

func (d *driver) result(took time.Duration, before, after Usage) Result {
	all := hdrhistogram.New(1, time.Minute.Microseconds(), 3)
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.Lock()
		all.Merge(s.hist)
		s.mu.Unlock()
	}
	ms := func(q float64) float64 { return float64(all.ValueAtQuantile(q)) / 1000 }
	return Result{
		Ops: d.ops.Load(), Writes: d.writes.Load(), Seconds: took.Seconds(),
		Rate:      float64(d.ops.Load()) / took.Seconds(),
		Latency:   Latency{ms(50), ms(99), ms(99.9), float64(all.Max()) / 1000},
		LongestMS: float64(d.longest.Load()) / 1e6,
		Usage:     after.minus(before),
	}
}

// work does one operation after the other.
func (d *driver) work(ctx context.Context, number uint64) {
	random := rand.New(rand.NewPCG(number, 1))
	value := d.value(0)
	shard := &d.shards[number%shards]
	for !d.stop.Load() && ctx.Err() == nil {
		i := random.IntN(d.w.Keys)
		read := d.w.Reads > 0 && random.Float64() < d.w.Reads
		start := time.Now()
		var err error
		if read {
			err = d.get(ctx, i)
		} else {
			stamp(value, i)
			binary.BigEndian.PutUint32(value[4:], random.Uint32())
			err = d.put(ctx, i, value)
		}
		if err != nil {
			if ctx.Err() == nil {
				d.failed(err)
			}
			continue
		}
		d.ended(shard, start, read)
	}
}

func (d *driver) failed(err error) {
	d.errors.Add(1)
	text := err.Error()
	d.firstErr.CompareAndSwap(nil, &text)
}

func (d *driver) ended(s *shard, start time.Time, read bool) {
	if !d.measured.Load() {
		return
	}
	now := time.Now()
	d.ops.Add(1)
	if !read {
		d.writes.Add(1)
	}
	d.note(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.hist.RecordValue(min(now.Sub(start).Microseconds(), time.Minute.Microseconds()))
}

// note keeps the longest time in which nothing ended.
func (d *driver) note(now time.Time) {
	at := int64(now.Sub(d.began))
	gap := at - d.lastEnd.Swap(at)
	for {
		old := d.longest.Load()
		if gap <= old || d.longest.CompareAndSwap(old, gap) {
			return
		}
	}
}

func (d *driver) put(ctx context.Context, i int, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, d.w.Timeout)
	defer cancel()
	// The store may keep what it is given.
	return d.store.Put(ctx, key(i), bytes.Clone(value))
}

func (d *driver) get(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, d.w.Timeout)
	defer cancel()
	got, err := d.store.Get(ctx, key(i))
	if err != nil {
		return err
	}
	if len(got) != d.w.ValueBytes || binary.BigEndian.Uint32(got) != uint32(i) {
		return fmt.Errorf("key %d reads as %d bytes that nobody wrote there", i, len(got))
	}
	return nil
}

func key(i int) []byte { return fmt.Appendf(nil, "load/%07d", i) }

// value returns random bytes that begin with the number of their key.
func (d *driver) value(i int) []byte {
	v := make([]byte, d.w.ValueBytes)
	random := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(i >> 16)})
	_, _ = random.Read(v)
	stamp(v, i)
	return v
}

func stamp(value []byte, i int) { binary.BigEndian.PutUint32(value, uint32(i)) }

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
