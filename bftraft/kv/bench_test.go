package kv

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
)

// benchKeys is how many keys the benchmarks write in turn.
const benchKeys = 100_000

// benchPut overwrites a put's key of eight bytes.
func benchPut(b *testing.B) (op []byte, setKey func(i int)) {
	key := make([]byte, 8)
	op, err := EncodeOp(Put{Key: key, Value: make([]byte, 128)})
	if err != nil {
		b.Fatal(err)
	}
	return op, func(i int) {
		binary.BigEndian.PutUint64(op[3:], uint64(i%benchKeys)*0x9e3779b97f4a7c15)
	}
}

// benchFull is a machine that has all keys, and what benchPut returns.
func benchFull(b *testing.B) (m *Machine, op []byte, setKey func(i int)) {
	op, setKey = benchPut(b)
	m = New()
	for i := range benchKeys {
		setKey(i)
		m.Apply(0, op)
	}
	return m, op, setKey
}

func BenchmarkApplyPut128B(b *testing.B) {
	op, setKey := benchPut(b)
	m := New()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		setKey(i)
		m.Apply(0, op)
		if i%benchKeys == benchKeys-1 {
			// Let the history not grow without end.
			b.StopTimer()
			_ = m.compact(m.revision)
			m.release(len(m.events))
			b.StartTimer()
		}
	}
}

// BenchmarkDigestPerBlock is the digest after every hundred puts.
func BenchmarkDigestPerBlock(b *testing.B) {
	m, op, setKey := benchFull(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		for j := range 100 {
			setKey(100*i + j)
			m.Apply(0, op)
		}
		b.StartTimer()
		m.Digest()
	}
}

func BenchmarkQueryOneKey(b *testing.B) {
	m, op, _ := benchFull(b)
	q, err := EncodeQuery(Range{Span: One(op[3:11])})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Query(q)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	m, _, _ := benchFull(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Snapshot(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRestore(b *testing.B) {
	m, _, _ := benchFull(b)
	_ = m.compact(m.revision)
	var saved bytes.Buffer
	if err := m.Snapshot(&saved); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(saved.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Restore(bytes.NewReader(saved.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}
