package kv

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzDecodeOp(f *testing.F) {
	for _, v := range opVectors {
		b, err := hex.DecodeString(v.hex)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		op, err := DecodeOp(b)
		require.Equal(t, err, CheckOp(b))
		if err != nil {
			return
		}
		again, err := EncodeOp(op)
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}

func FuzzDecodeResult(f *testing.F) {
	for _, v := range resultVectors {
		b, err := hex.DecodeString(v.hex)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		result, err := DecodeResult(b)
		if err != nil {
			return
		}
		again, err := EncodeResult(result)
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}

func FuzzDecodeQuery(f *testing.F) {
	for _, q := range someQueries {
		b, err := EncodeQuery(q)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := DecodeQuery(b)
		if err != nil {
			return
		}
		again, err := EncodeQuery(q)
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}

func FuzzDecodeQueryResult(f *testing.F) {
	for _, r := range someQueryResults {
		b, err := EncodeQueryResult(r)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeQueryResult(b)
		if err != nil {
			return
		}
		again, err := EncodeQueryResult(r)
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}

// FuzzApply does an arbitrary operation and an arbitrary query on a store with a
// history: neither may panic, and only an operation that is one may change it.
func FuzzApply(f *testing.F) {
	for i, v := range opVectors {
		op, err := hex.DecodeString(v.hex)
		require.NoError(f, err)
		q, err := EncodeQuery(someQueries[i%len(someQueries)])
		require.NoError(f, err)
		f.Add(op, q)
	}
	start := snapshot(f, eventful(f))
	f.Fuzz(func(t *testing.T, op, q []byte) {
		m := New()
		require.NoError(t, m.Restore(bytes.NewReader(start)))
		before := m.Digest()
		result, err := DecodeResult(m.Apply(1, op))
		require.NoError(t, err)
		if CheckOp(op) != nil {
			require.NotEqual(t, CodeOK, result.Code)
		}
		if result.Code != CodeOK {
			require.Equal(t, before, m.Digest())
		}
		after := m.Digest()
		_, err = DecodeQueryResult(m.Query(q))
		require.NoError(t, err)
		require.Equal(t, after, m.Digest())
		again := New()
		require.NoError(t, again.Restore(bytes.NewReader(snapshot(t, m))))
		require.Equal(t, after, again.Digest())
	})
}

// FuzzRestore restores arbitrary bytes, with the digest put right so that the rules
// of the format are what is tried. What is taken must be canonical, and a store
// that can go on.
func FuzzRestore(f *testing.F) {
	f.Add(snapshot(f, New()))
	f.Add(snapshot(f, eventful(f)))
	f.Fuzz(func(t *testing.T, b []byte) {
		guess := New().newRestoration()
		// The error is the digest's, or another; the second try shows which.
		_ = guess.read(bytes.NewReader(b))
		d := guess.fresh.Digest()
		b = append(bytes.Clone(b[:max(0, len(b)-len(d))]), d[:]...)
		m := New()
		if err := m.Restore(bytes.NewReader(b)); err != nil {
			require.ErrorIs(t, err, ErrDamaged)
			require.Equal(t, New().Digest(), m.Digest())
			return
		}
		require.Equal(t, b, snapshot(t, m))
		if page, ok := ask(t, m, Events{Span: All(), From: m.Compacted() + 1}).(EventsResult); ok {
			require.Equal(t, m.Revision(), page.Revision)
		}
		put(t, m, "k", "v")
		require.Equal(t, CodeOK, apply(t, m, Delete{Span: All()}).Code)
		require.Equal(t, CodeOK, apply(t, m, Compact{Revision: m.Revision()}).Code)
		releaseAll(t, m)
		require.Zero(t, m.keys.Len())
	})
}
