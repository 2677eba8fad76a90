package kv

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// digestOf returns the digest of a store after some operations.
func digestOf(t *testing.T, ops ...Op) crypto.Digest {
	m := New()
	for _, op := range ops {
		require.NoError(t, apply(t, m, op).Code.Err())
	}
	return m.Digest()
}

// TestDigestTellsStatesApart checks states that differ in one respect each, some
// of them only in what is kept of the past.
func TestDigestTellsStatesApart(t *testing.T) {
	set := func(key, value string) Op { return Put{Key: []byte(key), Value: []byte(value)} }
	del := func(key string) Op { return Delete{Span: One([]byte(key))} }
	cases := map[string][]Op{
		"empty":                  {},
		"one key":                {set("a", "1")},
		"other key":              {set("b", "1")},
		"other value":            {set("a", "2")},
		"key and value shifted":  {set("a1", "")},
		"compacted":              {set("a", "1"), Compact{Revision: 1}},
		"written twice":          {set("a", "1"), set("a", "1")},
		"other past":             {set("a", "0"), set("a", "1")},
		"other past, compacted":  {set("a", "0"), set("a", "1"), Compact{Revision: 1}},
		"past given up":          {set("a", "0"), set("a", "1"), Compact{Revision: 2}},
		"other past given up":    {set("a", "9"), set("a", "1"), Compact{Revision: 2}},
		"deleted":                {set("a", "1"), del("a")},
		"deleted and created":    {set("a", "1"), del("a"), set("a", "1")},
		"written three times":    {set("a", "1"), set("a", "1"), set("a", "1")},
		"two keys":               {set("a", "1"), set("b", "1")},
		"two keys, turned round": {set("b", "1"), set("a", "1")},
		"two keys at once":       {Txn{Then: []Op{set("a", "1"), set("b", "1")}}},
	}
	seen := map[crypto.Digest]string{}
	for name, ops := range cases {
		d := digestOf(t, ops...)
		require.Empty(t, seen[d], "%s has the digest of another", name)
		seen[d] = name
	}
}

// TestDigestDoesNotDependOnWhenItWasAsked checks the cache of the image against
// a store that computes all of it once.
func TestDigestDoesNotDependOnWhenItWasAsked(t *testing.T) {
	asked, silent := New(), New()
	c := newChooser(t, 0)
	for i := range 3000 {
		op := Op(Put{Key: fmt.Appendf(nil, "key %d", c.IntN(1000)), Value: c.value()})
		if i%3 == 2 {
			op = Delete{Span: One(fmt.Appendf(nil, "key %d", c.IntN(1000)))}
		}
		apply(t, asked, op)
		apply(t, silent, op)
		asked.Digest()
	}
	require.Equal(t, silent.Digest(), asked.Digest())
}

// TestImageDependsOnlyOnTheKeysThatExist checks that the tree forgets keys
// without a trace.
func TestImageDependsOnlyOnTheKeysThatExist(t *testing.T) {
	m := New()
	for i := range 3000 {
		put(t, m, fmt.Sprintf("key %d", i), "")
	}
	require.False(t, m.image.root().IsZero())
	apply(t, m, Delete{Span: All()})
	require.True(t, m.image.root().IsZero())
}

// TestDigestCoversTheVersionsThatCompactionLeft changes each retained version of a
// snapshot in turn: what only an old read could see must count too.
func TestDigestCoversTheVersionsThatCompactionLeft(t *testing.T) {
	build := func() *Machine {
		m := New()
		for _, value := range []string{"one", "two", "three", "four"} {
			put(t, m, "k", value)
		}
		apply(t, m, Compact{Revision: 2})
		return m
	}
	honest := build()
	for _, value := range []string{"two", "three", "four"} {
		fake := []byte("fake!")[:len(value)]
		forged := bytes.Replace(snapshot(t, build()), []byte(value), fake, 1)
		m := New()
		require.ErrorIs(t, m.Restore(bytes.NewReader(forged)), ErrDamaged)
		// With the digest that fits, it is a snapshot, but of another state.
		withDigest := forgeDigest(t, forged)
		require.NoError(t, m.Restore(bytes.NewReader(withDigest)))
		require.NotEqual(t, honest.Digest(), m.Digest())
	}
}

// forgeDigest replaces the digest at the end of a snapshot by that of its state,
// as a liar would who hopes that nobody compares it with the cluster's.
func forgeDigest(t *testing.T, b []byte) []byte {
	m := New()
	in := &snapshotReader{in: newBuffered(b)}
	require.ErrorIs(t, m.restore(in), ErrDamaged)
	d := m.Digest()
	return append(bytes.Clone(b[:len(b)-len(d)]), d[:]...)
}

// TestDigestIsFixed pins the definition: a cluster whose replicas disagree on it
// cannot agree on a checkpoint, so it changes only together with the format.
func TestDigestIsFixed(t *testing.T) {
	require.Equal(t, "ee54d1187d96e2ea3c6aa7579703eb27780e5cd93f60787a4a1bc45e8768319c",
		New().Digest().String())
	ops := []Op{
		Put{Key: []byte("a"), Value: []byte("1")},
		Txn{Then: []Op{Put{Key: []byte("b")}, Delete{Span: One([]byte("a"))}}},
		Compact{Revision: 1},
	}
	require.Equal(t, "1f53e2b198c90244f7201415f1535840a6f217b48967d0125b6924efcb63f39c",
		digestOf(t, ops...).String())
}
