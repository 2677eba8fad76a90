package attack

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Store is a cluster one of whose members may lie.
type Store interface {
	Put(ctx context.Context, key, value []byte) error
	// HonestGet returns what each honest node that is alive holds under a key, nil for nothing.
	HonestGet(ctx context.Context, key []byte) ([][]byte, error)
	// Lie begins or ends the lie, where that can be chosen.
	Lie(on bool)
	// Traces tells what the fault left behind.
	Traces() Traces
}

// Traces is what a fault left behind.
type Traces struct {
	LeaderChanges int `json:"leader_changes"` // terms that passed
	Proofs        int `json:"proofs"`         // against the liar, held by an honest node
	Refused       int `json:"refused"`        // messages of it that honest nodes refused
	Leaked        int `json:"leaked"`         // distinct writes that a third party could read
	Fallen        int `json:"fallen"`         // honest nodes that ended
}

// Load says how to write.
type Load struct {
	Writers int           `json:"writers"`
	Calm    time.Duration `json:"calm_ns"` // before the lie
	Lying   time.Duration `json:"lying_ns"`
	Settle  time.Duration `json:"settle_ns"` // the longest wait for agreement afterwards
	Timeout time.Duration `json:"timeout_ns"`
}

// Result is what the fault cost.
type Result struct {
	CalmRate  float64 `json:"calm_ops_per_second"`
	LyingRate float64 `json:"lying_ops_per_second"`
	PauseMS   float64 `json:"longest_pause_ms"`
	Acked     uint64  `json:"acknowledged"`
	Failed    uint64  `json:"failed"`
	// Lost are writers whose last acknowledged write no honest node holds, SetBack those for whom
	// some honest node holds an older one, and Apart those for whom honest nodes differ.
	Lost    int    `json:"lost"`
	SetBack int    `json:"set_back"`
	Apart   int    `json:"apart"`
	Writers int    `json:"writers"`
	Traces  Traces `json:"traces"`
}

// quiet is how long the lie goes on when nobody writes any more.
const quiet = time.Second

// mark begins every value, so that it is found in what leaks.
var mark = []byte("secret:")

const valueBytes = 128

func value(writer int, number uint64) []byte {
	v := append(make([]byte, 0, valueBytes), mark...)
	v = binary.BigEndian.AppendUint32(v, uint32(writer))
	v = binary.BigEndian.AppendUint64(v, number)
	return v[:valueBytes]
}

// numberOf is what a writer wrote, 0 if it is nothing of its own.
func numberOf(v []byte, writer int) uint64 {
	if len(v) != valueBytes || !bytes.HasPrefix(v, mark) {
		return 0
	}
	v = v[len(mark):]
	if binary.BigEndian.Uint32(v) != uint32(writer) {
		return 0
	}
	return binary.BigEndian.Uint64(v[4:])
}

func key(writer int) []byte { return fmt.Appendf(nil, "attack/%d", writer) }

// driver is the writers of one run.
type driver struct {
	store   Store
	load    Load
	acked   []atomic.Uint64 // by writer: the highest number acknowledged
	ops     atomic.Uint64
	failed  atomic.Uint64
	lastEnd atomic.Int64
	longest atomic.Int64
	began   time.Time
	stop    atomic.Bool
}

// Run writes before and during the lie, then looks what is left.
func Run(ctx context.Context, s Store, l Load) (*Result, error) {
	d := &driver{store: s, load: l, acked: make([]atomic.Uint64, l.Writers), began: time.Now()}
	var writers sync.WaitGroup
	for i := range l.Writers {
		writers.Go(func() { d.write(ctx, i) })
	}
	err := pause(ctx, l.Calm)
	calm, from := d.ops.Load(), time.Now()
	d.lastEnd.Store(int64(time.Since(d.began)))
	d.longest.Store(0)
	s.Lie(true)
	if err == nil {
		err = pause(ctx, l.Lying)
	}
	lying := d.ops.Load() - calm
	took := time.Since(from)
	d.ended()
	r := &Result{
		CalmRate: float64(calm) / l.Calm.Seconds(), LyingRate: float64(lying) / took.Seconds(),
		PauseMS: float64(d.longest.Load()) / 1e6, Writers: l.Writers,
	}
	r.Traces = s.Traces()
	d.stop.Store(true)
	writers.Wait()
	// What a liar does when all is quiet, nobody overwrites.
	err = errors.Join(err, pause(ctx, quiet))
	s.Lie(false)
	if err != nil {
		return nil, err
	}
	r.Acked, r.Failed = d.ops.Load(), d.failed.Load()
	return r, d.look(ctx, r)
}

func (d *driver) write(ctx context.Context, writer int) {
	for number := uint64(1); !d.stop.Load() && ctx.Err() == nil; number++ {
		op, cancel := context.WithTimeout(ctx, d.load.Timeout)
		err := d.store.Put(op, key(writer), value(writer, number))
		cancel()
		if err != nil {
			d.failed.Add(1)
			continue
		}
		d.acked[writer].Store(number)
		d.ops.Add(1)
		d.ended()
	}
}

// ended keeps the longest time in which no write ended.
func (d *driver) ended() {
	at := int64(time.Since(d.began))
	gap := at - d.lastEnd.Swap(at)
	for old := d.longest.Load(); gap > old && !d.longest.CompareAndSwap(old, gap); {
		old = d.longest.Load()
	}
}

// look compares what the honest nodes hold with what was acknowledged. It waits for those that are
// merely late.
func (d *driver) look(ctx context.Context, r *Result) error {
	deadline := time.Now().Add(d.load.Settle)
	for {
		r.Lost, r.SetBack, r.Apart = 0, 0, 0
		for i := range d.acked {
			held, err := d.store.HonestGet(ctx, key(i))
			if err != nil {
				return fmt.Errorf("look at what is left: %w", err)
			}
			d.judge(r, held, i)
		}
		if r.Lost+r.SetBack+r.Apart == 0 || time.Now().After(deadline) {
			return nil
		}
		if err := pause(ctx, d.load.Settle/20); err != nil {
			return err
		}
	}
}

func (d *driver) judge(r *Result, held [][]byte, writer int) {
	acked := d.acked[writer].Load()
	var numbers []uint64
	apart := false
	for _, v := range held {
		numbers = append(numbers, numberOf(v, writer))
		apart = apart || !bytes.Equal(v, held[0])
	}
	if len(numbers) == 0 {
		r.Lost++
		return
	}
	if slices.Max(numbers) < acked {
		r.Lost++
	} else if slices.Min(numbers) < acked {
		r.SetBack++
	}
	if apart {
		r.Apart++
	}
}

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

// Ear is a third party to whom a member leaks. It counts the writes that it can read.
type Ear struct {
	mu    sync.Mutex
	heard map[[12]byte]bool
}

// Write implements io.Writer.
func (e *Ear) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.heard == nil {
		e.heard = map[[12]byte]bool{}
	}
	rest := p
	for {
		_, after, found := bytes.Cut(rest, mark)
		if !found || len(after) < 12 {
			return len(p), nil
		}
		e.heard[[12]byte(after)] = true
		rest = after
	}
}

// Count returns how many different writes were heard.
func (e *Ear) Count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.heard)
}
