package bftraft

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

func entriesOf(data ...string) []Entry {
	var out []Entry
	for _, d := range data {
		out = append(out, Entry{EntryRequest, []byte(d)})
	}
	return out
}

func TestBlockNamesItsPlace(t *testing.T) {
	before := Position{Index: 7, Hash: Digest{1}}
	b := NewBlock(before, entriesOf("a", "b", ""))
	require.Equal(t, Index(8), b.First())
	require.Equal(t, Index(10), b.Last())
	require.Equal(t, before, b.Before())
	require.Equal(t, Position{10, b.Hash()}, b.End())
	require.Equal(t, b.Header().Hash(), b.Hash())
	require.Equal(t, entriesOf("a", "b", ""), b.Entries())
	next := NewBlock(b.End(), entriesOf("c"))
	require.Equal(t, b.End(), next.Before())
	require.Panics(t, func() { NewBlock(before, nil) })
}

// Everything a block says changes its hash, and everything after it.
func TestBlockHashCoversTheWholeBlock(t *testing.T) {
	at := Position{Index: 7, Hash: Digest{1}}
	otherKind := append(entriesOf("a", "b"), Entry{EntryCommit, []byte("c")})
	blocks := map[string]*Block{
		"the block":         NewBlock(at, entriesOf("a", "b", "c")),
		"other prev":        NewBlock(Position{7, Digest{2}}, entriesOf("a", "b", "c")),
		"other index":       NewBlock(Position{8, Digest{1}}, entriesOf("a", "b", "c")),
		"other order":       NewBlock(at, entriesOf("b", "a", "c")),
		"one less":          NewBlock(at, entriesOf("a", "b")),
		"one more":          NewBlock(at, entriesOf("a", "b", "c", "")),
		"last one twice":    NewBlock(at, entriesOf("a", "b", "c", "c")),
		"cut elsewhere":     NewBlock(at, entriesOf("ab", "", "c")),
		"other entry":       NewBlock(at, entriesOf("a", "b", "d")),
		"joined into one":   NewBlock(at, entriesOf("abc")),
		"other kind":        NewBlock(at, otherKind),
		"of nothing":        NewBlock(at, entriesOf("")),
		"of nothing, twice": NewBlock(at, entriesOf("", "")),
	}
	seen := make(map[Digest]string)
	for name, b := range blocks {
		require.Empty(t, seen[b.Hash()], "%s hashes like another", name)
		seen[b.Hash()] = name
		next := NewBlock(b.End(), entriesOf("z"))
		require.Empty(t, seen[next.Hash()], "the block after %s hashes like another", name)
		seen[next.Hash()] = "after " + name
	}
}

func TestBlockRootProvesEachEntry(t *testing.T) {
	b := NewBlock(Position{}, entriesOf("a", "b", "c", "d", "e"))
	var leaves []Digest
	for _, e := range b.Entries() {
		leaves = append(leaves, e.Digest())
	}
	for i, leaf := range leaves {
		branch := crypto.NewMerkleTree(leaves).Branch(i)
		require.True(t, crypto.VerifyBranch(b.Header().Root, leaf, i, len(leaves), branch))
	}
}

func TestDecodedBlockIsTheSameBlockUnjudged(t *testing.T) {
	rng := wireRand(t)
	for range 100 {
		var entries []Entry
		for range 1 + rng.IntN(20) {
			data := make([]byte, rng.IntN(50))
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
			entries = append(entries, Entry{EntryKind(rng.IntN(256)), data})
		}
		b := NewBlock(Position{Index(rng.Uint64() >> 1), Digest{byte(rng.Uint32())}}, entries)
		got, drop := DecodeBlock(b.Raw())
		require.Equal(t, Accepted, drop)
		require.Equal(t, b.Header(), got.Header())
		require.Equal(t, b.Hash(), got.Hash())
		require.Equal(t, b.Raw(), got.Raw())
		require.Equal(t, b.Raw(), got.encode())
		require.Len(t, got.Entries(), len(entries))
		require.Equal(t, entriesValid, b.checked, "what this node made it need not judge")
		require.Equal(t, unchecked, got.checked)
		for n := range b.Raw() {
			_, drop := DecodeBlock(b.Raw()[:n])
			require.Equal(t, Malformed, drop, "cut to %d", n)
		}
		_, drop = DecodeBlock(append(slices.Clone(b.Raw()), 0))
		require.Equal(t, Malformed, drop)
	}
}

// rawBlock returns the encoding of a block of n empty entries from index first, announcing count.
func rawBlock(first Index, count uint32, n int) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 32), uint64(first))
	b = binary.BigEndian.AppendUint32(b, count)
	for range n {
		b = append(b, 1, 0, 0, 0, 0)
	}
	return b
}

func TestBlocksOfImpossibleShapeAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		raw  []byte
		want Drop
	}{
		"smallest":             {rawBlock(1, 1, 1), Accepted},
		"largest number":       {rawBlock(1, MaxBlockEntries, MaxBlockEntries), Accepted},
		"one entry too many":   {rawBlock(1, MaxBlockEntries+1, MaxBlockEntries+1), Oversize},
		"no entries":           {rawBlock(1, 0, 0), Malformed},
		"from index 0":         {rawBlock(0, 1, 1), Malformed},
		"fewer than announced": {rawBlock(1, 3, 2), Malformed},
		"more than announced":  {rawBlock(1, 2, 3), Malformed},
		"4 billion":            {rawBlock(1, math.MaxUint32, 2), Oversize},
		"up to the last index": {rawBlock(math.MaxUint64-2, 2, 2), Accepted},
		"index wraps to 0":     {rawBlock(math.MaxUint64-1, 2, 2), Malformed},
		"index wraps to 1":     {rawBlock(math.MaxUint64-1, 3, 3), Malformed},
		"far too large":        {make([]byte, MaxBlockBytes+1), Oversize},
		"empty":                {nil, Malformed},
	} {
		b, drop := DecodeBlock(c.raw)
		require.Equal(t, c.want, drop, name)
		require.Equal(t, c.want == Accepted, b != nil, name)
		if b != nil {
			require.Equal(t, b.First()+Index(len(b.Entries()))-1, b.Last(), name)
			require.LessOrEqual(t, b.First(), b.Last(), name)
		}
	}
}

func TestBlockSizeLimitIsExact(t *testing.T) {
	for _, extra := range []int{0, 1} {
		data := make([]byte, MaxBlockBytes-44-5+extra)
		b := NewBlock(Position{}, []Entry{{EntryRequest, data}})
		require.Len(t, b.Raw(), MaxBlockBytes+extra)
		_, drop := DecodeBlock(b.Raw())
		require.Equal(t, extra == 0, drop == Accepted, "%d bytes: %v", len(b.Raw()), drop)
	}
}

func TestEntriesOfTwoKindsHaveTwoLeaves(t *testing.T) {
	seen := make(map[Digest]string)
	for k := range 256 {
		for _, data := range []string{"", "a", "\x01a", "ab"} {
			name := fmt.Sprintf("%d %q", k, data)
			d := Entry{EntryKind(k), []byte(data)}.Digest()
			require.Empty(t, seen[d], "%s has the leaf of another", name)
			seen[d] = name
		}
	}
}
