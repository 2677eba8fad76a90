package kv

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// chunkSizes are those that the tests cut by.
var chunkSizes = []int{1, 2, 7, 64, 1000, 1 << 16, 1 << 20}

// rest takes the snapshot under way to its end. What was taken before is given.
func rest(t testing.TB, m *Machine, size int, taken ...[]byte) [][]byte {
	for {
		chunk, more := m.NextChunk(size)
		if chunk != nil {
			taken = append(taken, bytes.Clone(chunk))
		}
		if !more {
			chunk, more = m.NextChunk(size)
			require.Nil(t, chunk)
			require.False(t, more)
			return taken
		}
	}
}

// requireChunks checks that the chunks are a snapshot cut by a size.
func requireChunks(t testing.TB, want []byte, chunks [][]byte, size int) {
	for _, chunk := range chunks {
		n := min(size, len(want))
		require.NotEmpty(t, chunk)
		require.True(t, bytes.Equal(want[:n], chunk))
		want = want[n:]
	}
	require.Empty(t, want)
}

// frozen is a snapshot that a test is taking.
type frozen struct {
	want   []byte
	digest crypto.Digest
	size   int
	chunks [][]byte
}

// step takes the next chunk, and checks the whole if it was the last; then it
// returns nil.
func (f *frozen) step(t *testing.T, m *Machine) *frozen {
	chunk, more := m.NextChunk(f.size)
	require.NotNil(t, chunk)
	f.chunks = append(f.chunks, bytes.Clone(chunk))
	if more {
		return f
	}
	requireChunks(t, f.want, f.chunks, f.size)
	restored := New()
	require.NoError(t, restored.Restore(bytes.NewReader(f.want)))
	require.Equal(t, f.digest, restored.Digest())
	return nil
}

// TestChunksAreTheSnapshotOfTheirMoment takes snapshots while random operations go
// on, gives some up in the middle, and checks everything that the store says
// against one that never has a snapshot under way.
func TestChunksAreTheSnapshotOfTheirMoment(t *testing.T) {
	ended := 0
	for run := range uint64(40) {
		t.Run(fmt.Sprint(run), func(t *testing.T) {
			c := newChooser(t, run)
			s := twoStores{New(), New()}
			var f *frozen
			for range 400 {
				s.apply(t, c.op(int(s.prompt.revision), int(s.prompt.compacted)))
				s.ask(t, c.query(int(s.prompt.revision)))
				if run%2 == 0 {
					s.m.release(releaseChanges)
				} else if c.coin() {
					s.m.release(c.IntN(4))
				}
				switch n := c.IntN(100); {
				case n < 3 || f == nil && n < 20:
					f = &frozen{
						want: snapshot(t, s.prompt), digest: s.prompt.Digest(),
						size: chunkSizes[c.IntN(len(chunkSizes))],
					}
					s.m.Freeze()
				case n == 20:
					s.m.Thaw()
					f = nil
				case n == 21:
					require.Equal(t, snapshot(t, s.prompt), snapshot(t, s.m))
				}
				for range c.IntN(1 + 200/(1+c.IntN(100))) {
					if f == nil {
						break
					}
					if f = f.step(t, s.m); f == nil {
						ended++
					}
				}
			}
			s.m.Thaw()
			releaseAll(t, s.m)
			requireReleased(t, s.prompt, s.m)
		})
	}
	require.Greater(t, ended, 100)
}

// TestChunksHoldValuesOfEverySize cuts values that are much longer than a chunk, in
// histories that are longer still, and chunks that are longer than all of it.
func TestChunksHoldValuesOfEverySize(t *testing.T) {
	m := New()
	for i := range 6 {
		for _, key := range []string{"a", "b"} {
			apply(t, m, Put{Key: []byte(key), Value: bytes.Repeat([]byte(key), MaxValueBytes>>i)})
		}
	}
	want := snapshot(t, m)
	for _, size := range []int{1000, 1 << 16, 1 << 20, len(want) - 1, len(want), len(want) + 1} {
		m.Freeze()
		first, more := m.NextChunk(size)
		first = bytes.Clone(first)
		require.Equal(t, size < len(want), more)
		put(t, m, "a", "more")
		if !more {
			requireChunks(t, want, [][]byte{first}, size)
		} else {
			requireChunks(t, want, rest(t, m, size, first), size)
		}
		want = snapshot(t, m)
	}
}

// TestOneHistoryIsTakenInManyChunks takes the long history of one key, and lets it
// be compacted, deleted and begun anew in the middle of it.
func TestOneHistoryIsTakenInManyChunks(t *testing.T) {
	m := New()
	for i := range 1000 {
		put(t, m, "k", fmt.Sprint(i))
	}
	apply(t, m, Compact{Revision: 100})
	want := snapshot(t, m)
	m.Freeze()
	var chunks [][]byte
	for range 50 {
		chunk, _ := m.NextChunk(100)
		chunks = append(chunks, bytes.Clone(chunk))
	}
	apply(t, m, Delete{Span: All()})
	apply(t, m, Compact{Revision: m.Revision()})
	require.Nil(t, get(t, m, "k", 0))
	put(t, m, "k", "again")
	require.Equal(t, kvOf("k", "again", 1002, 1002, 1), *get(t, m, "k", 0))
	requireChunks(t, want, rest(t, m, 100, chunks...), 100)
	releaseAll(t, m)
	h, _ := m.keys.Get(&history{key: []byte("k")})
	require.Len(t, h.versions, 1)
}

// TestChunkDoesNotWaitForManyKeysToBePassedOver freezes between keys that were
// given up before and keys that came after, more than one call may pass over. The
// scan comes to stand at a key that the store has no longer, and then has again.
func TestChunkDoesNotWaitForManyKeysToBePassedOver(t *testing.T) {
	m := New()
	name := func(i int) string { return fmt.Sprintf("key %05d", i) }
	for i := range maxSkipped + 10 {
		put(t, m, name(i), "")
	}
	put(t, m, "z", "1")
	apply(t, m, Delete{Span: Prefix([]byte("key"))})
	require.NoError(t, m.compact(m.revision)) // Nothing of it is released yet.
	want := snapshot(t, m)
	m.Freeze()
	requireNoneYet := func() {
		chunk, more := m.NextChunk(100)
		require.Nil(t, chunk)
		require.True(t, more)
	}
	requireNoneYet()
	require.Equal(t, name(maxSkipped-1), string(m.frozen.last.key))
	releaseAll(t, m)
	require.Equal(t, 1, m.keys.Len())
	for i := range 3 * maxSkipped {
		put(t, m, name(i), "")
	}
	requireNoneYet()
	requireNoneYet()
	requireChunks(t, want, rest(t, m, 100), 100)
}

func TestSnapshotUnderWayEndsWithAnotherOrWithTheState(t *testing.T) {
	m := eventful(t)
	chunk, more := m.NextChunk(1)
	require.Nil(t, chunk)
	require.False(t, more)
	m.Thaw()
	good := snapshot(t, m)

	m.Freeze()
	m.NextChunk(100)
	put(t, m, "a", "later")
	m.Freeze()
	later := snapshot(t, m)
	first, _ := m.NextChunk(100)
	first = bytes.Clone(first)
	require.ErrorIs(t, m.Restore(bytes.NewReader(good[1:])), ErrDamaged)
	requireChunks(t, later, rest(t, m, 100, first), 100)

	m.Freeze()
	require.NoError(t, m.Restore(bytes.NewReader(good)))
	chunk, more = m.NextChunk(1)
	require.Nil(t, chunk)
	require.False(t, more)
	require.Panics(t, func() { m.NextChunk(0) })
}

// TestWritingToAChunkDoesNoHarm overwrites and lengthens each chunk once it is taken.
func TestWritingToAChunkDoesNoHarm(t *testing.T) {
	m := eventful(t)
	want := snapshot(t, m)
	m.Freeze()
	var got []byte
	for more := true; more; {
		var chunk []byte
		chunk, more = m.NextChunk(10)
		got = append(got, chunk...)
		clear(append(chunk, make([]byte, 100)...))
		clear(chunk)
	}
	require.Equal(t, want, got)
	require.Equal(t, want, snapshot(t, m))
}
