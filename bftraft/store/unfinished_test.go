package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/bftraft/store/storetest"
)

// unfinished makes a store whose process has left a snapshot with three chunks, and returns its
// folder and the paths of its files.
func unfinished(t *testing.T) (dir, file, list string, m storetest.Model) {
	t.Helper()
	dir, s, m := held(t)
	require.NoError(t, s.BeginSnapshot(m.Blocks[1].End()))
	for _, text := range []string{"first", "second chunk", "third"} {
		require.NoError(t, s.AddChunk([]byte(text)))
	}
	require.NoError(t, s.Close())
	fresh, err := filepath.Glob(filepath.Join(dir, "snapshots", "*.new"))
	require.NoError(t, err)
	require.Len(t, fresh, 1)
	file = fresh[0]
	return dir, file, file[:len(file)-len(".new")] + ".parts", m
}

// firstOf returns a snapshot with the first n of these chunks.
func firstOf(at bftraft.Position, n int) *storetest.Snapshot {
	s := snapshotAt(at, "first")
	s.Chunks = nil
	for _, text := range []string{"first", "second chunk", "third"}[:n] {
		s.Chunks = append(s.Chunks, []byte(text))
	}
	return s
}

// alter changes a file.
func alter(t *testing.T, path string, with func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, with(data), 0o600))
}

// TestUnfinishedSnapshotIsGoneOnWithAsFarAsItCanBeRead: a crash may have taken any of it, and the
// store holds all that it must, whatever that is.
func TestUnfinishedSnapshotIsGoneOnWithAsFarAsItCanBeRead(t *testing.T) {
	add := func(more byte) func([]byte) []byte {
		return func(b []byte) []byte { return append(b, 0, 0, 0, more) }
	}
	cut := func(n int) func([]byte) []byte {
		return func(b []byte) []byte { return b[:len(b)-n] }
	}
	flip := func(back int) func([]byte) []byte {
		return func(b []byte) []byte { b[len(b)-back] ^= 1; return b }
	}
	for name, c := range map[string]struct {
		inList bool
		with   func([]byte) []byte
		chunks int // that are said to be there,
		reads  int // and that can be read from the first on
	}{
		"whole":                         {false, cut(0), 3, 3},
		"the last chunk is torn":        {false, cut(1), 2, 2},
		"bytes of the last are wrong":   {false, flip(1), 3, 2},
		"the list is behind":            {true, cut(4), 2, 2},
		"the list ends within a word":   {true, cut(1), 2, 2},
		"the list is ahead":             {true, add(9), 3, 3},
		"a length in the list is zero":  {true, add(0), 3, 3},
		"a length in the list is wrong": {true, flip(5), 2, 1},
		"no chunk is listed":            {true, cut(12), 0, 0},
		"the list is cut":               {true, func([]byte) []byte { return nil }, 0, 0},
		"the front is wrong":            {false, func(b []byte) []byte { b[0]++; return b }, 0, 0},
		"the file is cut":               {false, func([]byte) []byte { return nil }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir, file, list, m := unfinished(t)
			if c.inList {
				file = list
			}
			alter(t, file, c.with)
			s, r := open(t, dir)
			m.Check(t, s, r)
			info, ok := s.Unfinished()
			require.Equal(t, c.chunks > 0, ok)
			require.Equal(t, c.chunks, info.Chunks)
			if !ok {
				require.NoFileExists(t, list)
				require.Len(t, entries(t, dir), 1, "nothing of it is left")
				return
			}
			require.Equal(t, m.Blocks[1].End(), info.At)
			require.NoError(t, s.ResumeSnapshot())
			for k := range c.chunks {
				_, ok := s.BegunChunk(k)
				if !ok {
					require.Equal(t, c.reads, k)
					break
				}
			}
			require.NoError(t, s.Err())
			require.NoError(t, s.CutSnapshot(c.reads))
			finished := firstOf(info.At, c.reads)
			more := bytes.Repeat([]byte("more"), 1000)
			require.NoError(t, s.AddChunk(more))
			finished.Chunks = append(finished.Chunks, more)
			require.NoError(t, s.FinishSnapshot(finished.Proof))
			m = m.With(finished)
			require.NoError(t, s.Close())
			s, r = open(t, dir)
			m.Check(t, s, r)
			require.Len(t, entries(t, dir), 1)
		})
	}
}

// entries are the names of a store's snapshots.
func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(dir, "snapshots"))
	require.NoError(t, err)
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// TestUnfinishedSnapshotOfAnotherStoreIsTakenAway: it may be anybody's.
func TestUnfinishedSnapshotOfAnotherStoreIsTakenAway(t *testing.T) {
	dir, file, list, m := unfinished(t)
	_, other, otherList, _ := unfinished(t)
	for from, to := range map[string]string{other: file, otherList: list} {
		data, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to, data, 0o600))
	}
	s, r := open(t, dir)
	m.Check(t, s, r)
	_, ok := s.Unfinished()
	require.False(t, ok)
	require.Len(t, entries(t, dir), 1)
}

// TestNewestUnfinishedSnapshotIsKeptAlone: and none that has no list.
func TestNewestUnfinishedSnapshotIsKeptAlone(t *testing.T) {
	dir, file, list, m := unfinished(t)
	in := filepath.Dir(file)
	for _, name := range []string{"00000000000000000001.snap.new", "99999999999999999999.snap.new",
		"00000000000000000003.snap.parts"} {
		require.NoError(t, os.WriteFile(filepath.Join(in, name), []byte("anything"), 0o600))
	}
	s, r := open(t, dir)
	m.Check(t, s, r)
	info, ok := s.Unfinished()
	require.True(t, ok)
	require.Equal(t, 3, info.Chunks)
	require.FileExists(t, file)
	require.FileExists(t, list)
	require.Len(t, entries(t, dir), 3)
}

// TestUnfinishedSnapshotDoesNotOutliveADataKey: no file is sealed with two.
func TestUnfinishedSnapshotDoesNotOutliveADataKey(t *testing.T) {
	dir, m := encryptedStore(t, master, "text")
	openEncrypted := func() *store.Badger {
		s, err := store.Open(dir, withKey(master))
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() })
		_, err = s.Load()
		require.NoError(t, err)
		return s
	}
	s := openEncrypted()
	require.NoError(t, s.BeginSnapshot(m.Snapshot.At))
	require.NoError(t, s.AddChunk([]byte("secret")))
	require.NoError(t, s.Close())
	s = openEncrypted()
	require.NoError(t, s.ResumeSnapshot())
	data, ok := s.BegunChunk(0)
	require.True(t, ok)
	require.Equal(t, "secret", string(data))
	require.NoError(t, s.Close())
	s = openEncrypted()
	_, ok = s.Unfinished()
	require.True(t, ok)
	require.NoError(t, s.RotateDataKey(false))
	_, ok = s.Unfinished()
	require.False(t, ok)
	require.NoError(t, s.Close())
	require.Len(t, entries(t, dir), 1)
}

// TestEndOfAnEarlierProcessIsGone: it was killed just before the snapshot had its name, and what
// this process proves the state with is shorter.
func TestEndOfAnEarlierProcessIsGone(t *testing.T) {
	dir, s, m := held(t)
	require.NoError(t, s.BeginSnapshot(m.Blocks[1].End()))
	require.NoError(t, s.AddChunk([]byte("first")))
	steps, err := s.FinishSteps(bytes.Repeat([]byte("long proof"), 100))
	require.NoError(t, err)
	require.NoError(t, steps[0]())
	require.NoError(t, s.Close())
	s, _ = open(t, dir)
	require.NoError(t, s.ResumeSnapshot())
	require.NoError(t, s.FinishSnapshot([]byte("short proof")))
	require.NoError(t, s.Close())
	s, r := open(t, dir)
	m.With(&storetest.Snapshot{At: m.Blocks[1].End(), Chunks: [][]byte{[]byte("first")},
		Proof: []byte("short proof")}).Check(t, s, r)
}
