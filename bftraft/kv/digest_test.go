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

// TestImageDependsOnlyOnTheKeysThatExist checks the tree, after many keys came and
// went, against one that the same keys entered in another order; and that it keeps
// no trace of keys when all are gone.
func TestImageDependsOnlyOnTheKeysThatExist(t *testing.T) {
	grown := New()
	for i := range 3000 {
		put(t, grown, fmt.Sprintf("key %d", i), "")
	}
	requireShape(t, grown.image.root)
	require.True(t, grown.image.root.divided())
	// Too few stay for the tree to remain as deep as it was, too many for a leaf.
	for i := range 2950 {
		apply(t, grown, Delete{Span: One(fmt.Appendf(nil, "key %d", i))})
		grown.image.root.sum()
		if i%50 == 0 {
			requireShape(t, grown.image.root)
		}
	}
	requireShape(t, grown.image.root)
	fresh := newImage()
	grown.keys.Reverse(func(h *history) bool {
		_, exists := h.at(latest)
		fresh.update(h, false, exists)
		return true
	})
	require.Equal(t, 50, fresh.root.count)
	require.Equal(t, fresh.root.sum(), grown.image.root.sum())
	apply(t, grown, Delete{Span: All()})
	require.True(t, grown.image.root.sum().IsZero())
	require.False(t, grown.image.root.divided())
}

// TestImageCoversEveryKey writes each key of a divided tree in turn: no subtree may
// be left out.
func TestImageCoversEveryKey(t *testing.T) {
	m := New()
	seen := map[crypto.Digest]bool{}
	for range 2 {
		for i := range 10 * leafKeys {
			put(t, m, fmt.Sprintf("key %d", i), "")
			root := m.image.root.sum()
			require.False(t, seen[root], "key %d does not count", i)
			seen[root] = true
		}
	}
}

// requireShape checks the rule that makes the tree a function of its keys.
func requireShape(t *testing.T, n *node) {
	if !n.divided() {
		require.LessOrEqual(t, n.count, leafKeys)
		require.Len(t, n.keys, n.count)
		return
	}
	require.Greater(t, n.count, leafKeys)
	require.Empty(t, n.keys)
	require.Equal(t, n.count, n.halves[0].count+n.halves[1].count)
	for _, half := range n.halves {
		requireShape(t, half)
	}
}

// TestImageEndsWherePathsEnd gives more keys one path than a leaf holds.
func TestImageEndsWherePathsEnd(t *testing.T) {
	tree := newImage()
	var keys []*history
	for i := range 2 * leafKeys {
		h := &history{key: []byte{byte(i)}, path: 0xabcdef, versions: []version{{number: 1}}}
		keys = append(keys, h)
		tree.update(h, false, true)
	}
	full := tree.root.sum()
	require.False(t, full.IsZero())
	for _, h := range keys {
		tree.update(h, true, false)
	}
	require.True(t, tree.root.sum().IsZero())
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
	s := New().newRestoration()
	require.ErrorIs(t, s.read(bytes.NewReader(b)), ErrDamaged)
	d := s.fresh.Digest()
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
	require.Equal(t, "6b2547ebf1de86f81e4acba43a1f491d5c9dd61790d1bfbdee6c1e2f724ae2c8",
		digestOf(t, ops...).String())
}

// A state that was restored goes on like one that came about by operations, also where its image
// is divided and put together again.
func TestRestoredImageGoesOnLikeTheOldOne(t *testing.T) {
	const keys = 2000
	old, restored := New(), New()
	for k := range keys {
		put(t, old, fmt.Sprint("key", k), "v")
	}
	for k := 0; k < keys; k += 3 {
		apply(t, old, Delete{Span: One(fmt.Append(nil, "key", k))})
	}
	require.NoError(t, restored.Restore(bytes.NewReader(snapshot(t, old))))
	for k := range keys {
		for _, m := range []*Machine{old, restored} {
			if k%5 == 0 {
				put(t, m, fmt.Sprint("key", k), "again")
			} else {
				apply(t, m, Delete{Span: One(fmt.Append(nil, "key", k))})
			}
		}
		require.Equal(t, old.Digest(), restored.Digest(), "after key %d", k)
	}
	require.Equal(t, snapshot(t, old), snapshot(t, restored))
}
