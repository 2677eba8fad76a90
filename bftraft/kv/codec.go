package kv

import (
	"math"

	"golang.org/x/crypto/cryptobyte"
)

// Every encoding of this package is a row of fields in a fixed order: integers
// big-endian in their full width, keys behind a two-byte length, values behind a
// three-byte length, lists behind their count, a choice behind a byte that names
// it. No field is optional except behind such a byte, so a value has one encoding.

// writer appends fields. A key or value whose length does not fit its prefix makes
// the encoding fail; the limits of operations, which are lower, are checked apart.
type writer struct {
	*cryptobyte.Builder
}

func newWriter(sizeHint int) writer {
	return writer{cryptobyte.NewBuilder(make([]byte, 0, sizeHint))}
}

// size returns the number of bytes written so far.
func (w writer) size() int { return len(w.BytesOrPanic()) }

func (w writer) flag(v bool) {
	if v {
		w.AddUint8(1)
		return
	}
	w.AddUint8(0)
}

func (w writer) key(key []byte) {
	if len(key) > math.MaxUint16 {
		w.SetError(ErrKeyTooLarge)
	}
	w.AddUint16(uint16(len(key)))
	w.AddBytes(key)
}

func (w writer) value(value []byte) {
	if len(value) >= 1<<24 {
		w.SetError(ErrValueTooLarge)
	}
	w.AddUint24(uint32(len(value)))
	w.AddBytes(value)
}

func (w writer) span(s Span) {
	w.key(s.Key)
	w.key(s.End)
}

func (w writer) kv(kv KV) {
	w.key(kv.Key)
	w.held(kv)
}

// held writes what a key held, without the key.
func (w writer) held(kv KV) {
	w.AddUint64(uint64(kv.Create))
	w.AddUint64(uint64(kv.Mod))
	w.AddUint64(kv.Version)
	w.value(kv.Value)
}

func (w writer) kvs(kvs []KV) {
	w.AddUint32(uint32(len(kvs)))
	for _, kv := range kvs {
		w.kv(kv)
	}
}

// reader takes fields off the front. Its first failure sticks: the rest reads as
// zeros, and done reports it. The slices it gives alias its input.
type reader struct {
	rest cryptobyte.String
	bad  bool
}

func newReader(b []byte) *reader { return &reader{rest: b} }

// must notes whether a field could be read.
func (r *reader) must(ok bool) {
	if !ok {
		r.bad = true
		r.rest = nil
	}
}

// done returns ErrMalformed unless every field was there and nothing is left.
func (r *reader) done() error {
	if r.bad || !r.rest.Empty() {
		return ErrMalformed
	}
	return nil
}

func (r *reader) u8() (v uint8) {
	r.must(r.rest.ReadUint8(&v))
	return v
}

func (r *reader) u32() (v uint32) {
	r.must(r.rest.ReadUint32(&v))
	return v
}

func (r *reader) u64() (v uint64) {
	r.must(r.rest.ReadUint64(&v))
	return v
}

func (r *reader) revision() Revision { return Revision(r.u64()) }

func (r *reader) flag() bool {
	v := r.u8()
	r.must(v <= 1)
	return v == 1
}

func (r *reader) key() []byte {
	var field cryptobyte.String
	r.must(r.rest.ReadUint16LengthPrefixed(&field))
	return nonEmpty(field)
}

func (r *reader) value() []byte {
	var field cryptobyte.String
	r.must(r.rest.ReadUint24LengthPrefixed(&field))
	return nonEmpty(field)
}

// nonEmpty makes nil the one form of no bytes, so that decoded values compare
// equal to those they were encoded from. The capacity is cut to the length: who
// appends to a field must not write over the next.
func nonEmpty(field []byte) []byte {
	if len(field) == 0 {
		return nil
	}
	return field[:len(field):len(field)]
}

func (r *reader) span() Span {
	return Span{Key: r.key(), End: r.key()}
}

func (r *reader) kv() KV {
	kv := KV{Key: r.key()}
	r.held(&kv)
	return kv
}

func (r *reader) held(kv *KV) {
	kv.Create = r.revision()
	kv.Mod = r.revision()
	kv.Version = r.u64()
	kv.Value = r.value()
}

// kvBytes is the length of the shortest encoded KV.
const kvBytes = 2 + 3*8 + 3

// kvs reads a list. It refuses a count that the rest of the input cannot hold, so
// that a short input never makes a long slice.
func (r *reader) kvs() []KV {
	n := r.count(kvBytes)
	if n == 0 {
		return nil
	}
	out := make([]KV, 0, n)
	for range n {
		out = append(out, r.kv())
	}
	return out
}

// count reads the number of elements that follow, each of at least the given
// number of bytes.
func (r *reader) count(elementBytes int) int {
	n := r.u32()
	r.must(uint64(n)*uint64(elementBytes) <= uint64(len(r.rest)))
	if r.bad {
		return 0
	}
	return int(n)
}
