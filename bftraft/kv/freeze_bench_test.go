package kv

import (
	"encoding/binary"
	"flag"
	"io"
	"slices"
	"testing"
	"time"
)

// stateMiB is the size of the values in BenchmarkFreeze. What nobody may wait
// longer for than 50 ms is a checkpoint of 1 GiB: -state-mib 1024.
var stateMiB = flag.Int("state-mib", 64, "MiB of values in the state that is frozen")

// stopwatch keeps what the steps took that it has timed.
type stopwatch []time.Duration

func (w *stopwatch) time(step func()) {
	begun := time.Now()
	step()
	*w = append(*w, time.Since(begun))
}

// report gives the longest step, and the one that all but a hundredth fell below.
func (w stopwatch) report(b *testing.B, name string) {
	slices.Sort(w)
	at := func(i int) float64 { return float64(w[i].Microseconds()) / 1000 }
	b.ReportMetric(at(len(w)-1), name+"-max-ms")
	b.ReportMetric(at(len(w)*99/100), name+"-p99-ms")
}

// BenchmarkFreeze takes a snapshot in chunks of 1 MiB with a hundred puts between
// one and the next, and a compaction of everything in the middle. For
// comparison it reports what Snapshot takes as a whole, and puts without a snapshot
// under way.
func BenchmarkFreeze(b *testing.B) {
	keys := *stateMiB << 10
	value := make([]byte, 1<<10)
	key := make([]byte, 8)
	op, err := EncodeOp(Put{Key: key, Value: value})
	if err != nil {
		b.Fatal(err)
	}
	m := New()
	next := 0
	put := func() {
		binary.BigEndian.PutUint64(op[3:], uint64(next%keys)*0x9e3779b97f4a7c15)
		next++
		m.Apply(0, op)
	}
	for range keys {
		put()
		if next%1000 == 0 {
			m.Digest() // as after each block
		}
	}
	var whole, freeze, chunk, during, compact, without stopwatch
	compactAll := func() {
		op, _ := EncodeOp(Compact{Revision: m.Revision()})
		compact.time(func() { m.Apply(0, op) })
	}
	compactAll()
	for range keys / 10 {
		without.time(put)
	}
	whole.time(func() { _ = m.Snapshot(io.Discard) })
	b.ReportAllocs()
	for b.Loop() {
		m.Digest()
		freeze.time(m.Freeze)
		for i, more := 0, true; more; i++ {
			chunk.time(func() { _, more = m.NextChunk(1 << 20) })
			for range 100 {
				during.time(put)
			}
			if i == *stateMiB/2 {
				compactAll()
			}
		}
	}
	whole.report(b, "whole")
	freeze.report(b, "freeze")
	chunk.report(b, "chunk")
	during.report(b, "put-during")
	compact.report(b, "compact")
	without.report(b, "put-without")
}
