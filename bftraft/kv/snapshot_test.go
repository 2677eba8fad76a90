package kv

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// eventful returns a store with every kind of thing in it: bases, changes after
// the compaction, deleted keys, several keys in a revision.
func eventful(t testing.TB) *Machine {
	m := New()
	put(t, m, "a", "1")
	put(t, m, "b", "2")
	put(t, m, "a", "3")
	put(t, m, "gone", "4")
	apply(t, m, Compact{Revision: 3})
	apply(t, m, Delete{Span: One([]byte("gone"))})
	apply(t, m, Txn{Then: []Op{Put{Key: []byte("c")}, Put{Key: []byte("a")}}})
	return m
}

func TestSnapshotIsCanonical(t *testing.T) {
	b := snapshot(t, eventful(t))
	require.Equal(t, b, snapshot(t, eventful(t)))
	m := New()
	require.NoError(t, m.Restore(bytes.NewReader(b)))
	require.Equal(t, b, snapshot(t, m))
	want := []string{
		hex.EncodeToString([]byte("tangaroa-kv-1")),
		"0000000000000003", "0000000000000006", // compacted, revision
		"0dca4fef93d7ee958ec767dc9b64b08c5bd7c799e36e3fa423360ea77b2a25ab", // anchor
		"0001" + "61", "01", "0000000000000001", "0000000000000003", "0000000000000002",
		"000001" + "33", "0000000000000001", "0000000000000006", "00", "000000",
		"0001" + "62", "01", "0000000000000002", "0000000000000002", "0000000000000001",
		"000001" + "32", "0000000000000000",
		"0001" + "63", "00", "0000000000000001", "0000000000000006", "00", "000000",
		"0004" + "676f6e65", "00", "0000000000000002", "0000000000000004", "00", "000001" + "34",
		"0000000000000005", "01",
		"0000", "cff0b240fed11efbddd5fff6ffb998645d0c0cf04d1ae60fa3e639e7dba8b21a", // end
	}
	require.Equal(t, strings.Join(want, ""), hex.EncodeToString(b))
}

func TestRestoreRefusesEveryDamage(t *testing.T) {
	good := snapshot(t, eventful(t))
	m := New()
	put(t, m, "mine", "own")
	before := m.Digest()
	refuse := func(b []byte, what string, at int) {
		require.ErrorIs(t, m.Restore(bytes.NewReader(b)), ErrDamaged, "%s at %d", what, at)
		require.Equal(t, before, m.Digest())
		require.NotNil(t, get(t, m, "mine", 0))
	}
	for i := range good {
		refuse(good[:i], "cut", i)
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			refuse(bad, "flipped", i)
		}
	}
	refuse(append(bytes.Clone(good), 0), "lengthened", len(good))
	require.NoError(t, m.Restore(bytes.NewReader(good)))
	require.Equal(t, eventful(t).Digest(), m.Digest())
	require.Nil(t, get(t, m, "mine", 0))
}

// forged writes a snapshot of any contents, without a digest that fits.
func forged(compacted, revision uint64, anchor []byte, keys ...func(w writer)) []byte {
	w := newWriter(0)
	w.AddBytes([]byte(snapshotMagic))
	w.AddUint64(compacted)
	w.AddUint64(revision)
	w.AddBytes(anchor)
	for _, key := range keys {
		key(w)
	}
	w.key(nil)
	w.AddBytes(make([]byte, 32))
	return w.BytesOrPanic()
}

// forgedKey writes a key into a forged snapshot.
func forgedKey(name string, base *KV, changes ...KV) func(w writer) {
	return func(w writer) {
		w.key([]byte(name))
		w.flag(base != nil)
		if base != nil {
			w.held(*base)
		}
		w.AddUint64(uint64(len(changes)))
		for _, c := range changes {
			w.AddUint64(uint64(c.Mod))
			w.flag(c.Version == 0)
			if c.Version != 0 {
				w.value(c.Value)
			}
		}
	}
}

// TestRestoreRefusesImpossibleStates gives each state its right digest, so that
// only the rules of the store speak against it.
func TestRestoreRefusesImpossibleStates(t *testing.T) {
	anchor := bytes.Repeat([]byte{1}, 32)
	noAnchor := make([]byte, 32)
	build, key := forged, forgedKey
	base := func(create, mod Revision, version uint64) *KV {
		return &KV{Create: create, Mod: mod, Version: version}
	}
	at := func(mod Revision) KV { return KV{Mod: mod, Version: 1} }
	gone := func(mod Revision) KV { return KV{Mod: mod} }
	good := build(3, 5, anchor, key("a", base(1, 3, 3), at(4)), key("b", nil, at(4), gone(5)))
	require.NoError(t, New().Restore(bytes.NewReader(forgeDigest(t, good))))
	for name, bad := range map[string][]byte{
		"revision without change":  build(3, 5, anchor, key("a", nil, at(5))),
		"last revision is empty":   build(3, 5, anchor, key("a", nil, at(4))),
		"change beyond revision":   build(3, 4, anchor, key("a", nil, at(4), at(5))),
		"change at compacted":      build(3, 4, anchor, key("a", nil, at(3), at(4))),
		"changes too early":        build(3, 5, anchor, key("a", nil, at(3), at(4))),
		"changes too late":         build(3, 5, anchor, key("a", nil, at(5), at(6))),
		"change under base":        build(3, 4, anchor, key("a", base(3, 3, 1), at(2))),
		"base created later":       build(3, 3, anchor, key("a", base(3, 2, 2))),
		"changes out of order":     build(3, 5, anchor, key("a", nil, at(5), at(4))),
		"same change twice":        build(3, 4, anchor, key("a", nil, at(4), at(4))),
		"deleted what is not":      build(3, 4, anchor, key("a", nil, gone(4))),
		"deleted twice":            build(3, 5, anchor, key("a", base(1, 1, 1), gone(4), gone(5))),
		"key without history":      build(3, 4, anchor, key("a", nil), key("b", nil, at(4))),
		"keys out of order":        build(3, 4, anchor, key("b", nil, at(4)), key("a", nil, at(4))),
		"key twice":                build(3, 4, anchor, key("a", nil, at(4)), key("a", nil, at(4))),
		"base above compacted":     build(3, 3, anchor, key("a", base(4, 4, 1))),
		"base is deleted":          build(3, 3, anchor, key("a", base(1, 2, 0))),
		"base never created":       build(3, 3, anchor, key("a", base(0, 2, 2))),
		"base created late":        build(3, 3, anchor, key("a", base(3, 2, 1))),
		"base new but old":         build(3, 3, anchor, key("a", base(1, 2, 1))),
		"base old but new":         build(3, 3, anchor, key("a", base(2, 2, 2))),
		"base written too often":   build(3, 3, anchor, key("a", base(2, 3, 3))),
		"compacted above revision": build(4, 3, anchor),
		"anchor without past":      build(0, 0, anchor),
		"past without anchor":      build(1, 1, noAnchor),
		"revision cannot be":       build(1<<63+1, 1<<63+1, anchor),
		"long key": build(3, 4, anchor,
			key(string(make([]byte, MaxKeyBytes+1)), nil, at(4))),
		"long value": build(3, 4, anchor, key("a", nil,
			KV{Mod: 4, Version: 1, Value: make([]byte, MaxValueBytes+1)})),
		"other format": append([]byte("tangaroa-kv-2"), good[len(snapshotMagic):]...),
	} {
		require.ErrorIs(t, New().Restore(bytes.NewReader(forgeDigest(t, bad))), ErrDamaged, name)
	}
}

func TestSnapshotAndRestorePassOnFailuresOfTheWorld(t *testing.T) {
	broken := errors.New("broken pipe")
	good := snapshot(t, eventful(t))
	for n := range len(good) + 1 {
		failing := &failingReader{left: good[:n], err: broken}
		err := New().Restore(failing)
		require.ErrorIs(t, err, broken, "after %d bytes", n)
		require.NotErrorIs(t, err, ErrDamaged)
	}
	require.NoError(t, New().Restore(iotest.OneByteReader(bytes.NewReader(good))))
	require.NoError(t, New().Restore(iotest.DataErrReader(bytes.NewReader(good))))
	m := New()
	value := string(make([]byte, 1<<17))
	put(t, m, "a", value)
	put(t, m, "a", value)
	size := len(snapshot(t, m))
	for _, n := range []int{0, 1 << 16, 1 << 18, size - 1} {
		require.ErrorIs(t, m.Snapshot(&failingWriter{left: n, err: broken}), broken)
	}
	require.NoError(t, m.Snapshot(&failingWriter{left: size, err: broken}))
}

// failingReader gives some bytes and then an error.
type failingReader struct {
	left []byte
	err  error
}

func (r *failingReader) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		return 0, r.err
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// failingWriter takes some bytes and then fails.
type failingWriter struct {
	left int
	err  error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		return 0, w.err
	}
	w.left -= len(p)
	return len(p), nil
}

// TestLongestKeyAndValueSurviveASnapshot: what Apply takes, Restore must take.
func TestLongestKeyAndValueSurviveASnapshot(t *testing.T) {
	m := New()
	key, value := bytes.Repeat([]byte("k"), MaxKeyBytes), bytes.Repeat([]byte("v"), MaxValueBytes)
	for range 2 { // one of them becomes a base, the other a change after it
		apply(t, m, Put{Key: key, Value: value})
	}
	apply(t, m, Compact{Revision: 1})
	restored := New()
	require.NoError(t, restored.Restore(bytes.NewReader(snapshot(t, m))))
	require.Equal(t, m.Digest(), restored.Digest())
}

// A state that is restored chunk by chunk, of whatever size, is not seen before the end, and is the
// one of the snapshot then.
func TestRestoringChunkByChunkIsSeenAtItsEndOnly(t *testing.T) {
	good := snapshot(t, eventful(t))
	for size := 1; size <= len(good)+1; size++ {
		m := New()
		put(t, m, "mine", "own")
		m.BeginRestore()
		for chunk := range slices.Chunk(good, size) {
			require.NoError(t, m.RestoreChunk(chunk))
			put(t, m, "mine", "own")
			require.NotNil(t, get(t, m, "mine", 0))
		}
		require.NoError(t, m.FinishRestore())
		require.Equal(t, good, snapshot(t, m), "chunks of %d bytes", size)
	}
}

func TestRestoringChunkByChunkRefusesDamage(t *testing.T) {
	good := snapshot(t, eventful(t))
	m := New()
	put(t, m, "mine", "own")
	before := m.Digest()
	for i := range good {
		for _, bad := range [][]byte{good[:i], append(bytes.Clone(good), make([]byte, i+1)...),
			slices.Concat(good[:i], []byte{good[i] ^ 1}, good[i+1:])} {
			m.BeginRestore()
			for chunk := range slices.Chunk(bad, 7) {
				if err := m.RestoreChunk(chunk); err != nil {
					require.ErrorIs(t, err, ErrDamaged)
					require.ErrorIs(t, m.RestoreChunk(good), ErrDamaged, "it stays damaged")
				}
			}
			require.ErrorIs(t, m.FinishRestore(), ErrDamaged, "at %d", i)
			require.Equal(t, before, m.Digest())
		}
	}
	m.BeginRestore()
	require.NoError(t, m.RestoreChunk(good))
	m.AbortRestore()
	m.BeginRestore()
	require.NoError(t, m.RestoreChunk(good))
	require.NoError(t, m.FinishRestore())
	require.Equal(t, good, snapshot(t, m))
}
