package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
)

// written makes the file of a snapshot with some chunks that are on their way to the disk.
func written(t *testing.T, chunks int) *snapshotFile {
	t.Helper()
	path := filepath.Join(t.TempDir(), snapshotName(7)+freshSuffix)
	f, err := createSnapshot(path, meta{}, &sealer{}, bftraft.Position{Index: 7})
	require.NoError(t, err)
	for k := range chunks {
		require.NoError(t, f.add([]byte{byte(k), 1, 2, 3}))
	}
	return f
}

// TestChunksAreWrittenInTheirOrderWhoeverWaits: there are more than may wait.
func TestChunksAreWrittenInTheirOrderWhoeverWaits(t *testing.T) {
	const chunks = 5 * queuedChunks
	f := written(t, chunks)
	unwritten := func() int {
		n, err := f.chunks.unwritten()
		require.NoError(t, err)
		return n
	}
	require.LessOrEqual(t, unwritten(), queuedChunks)
	require.NoError(t, f.chunks.wait())
	require.Zero(t, unwritten())
	for k := range chunks {
		data, err := f.chunk(k)
		require.NoError(t, err)
		require.Equal(t, []byte{byte(k), 1, 2, 3}, data)
	}
	require.NoError(t, f.add([]byte("once more")))
	require.NoError(t, f.finish([]byte("proof")))
	require.Zero(t, unwritten(), "finish waits for them")
	require.NoError(t, f.close())
}

// TestChunksTakeTheRoomOfThoseBefore: a large state would leave behind as much garbage as it is
// long each time that a checkpoint is taken. Chunks that differ are not mixed up.
func TestChunksTakeTheRoomOfThoseBefore(t *testing.T) {
	const chunks, size = 40, 1 << 20
	for _, seals := range []*sealer{{}, {keys: firstKeys()}} {
		path := filepath.Join(t.TempDir(), snapshotName(7)+freshSuffix)
		f, err := createSnapshot(path, meta{}, seals, bftraft.Position{Index: 7})
		require.NoError(t, err)
		data := bytes.Repeat([]byte{7}, size)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for k := range chunks {
			data[0] = byte(k)
			require.NoError(t, f.add(data[:size-k%3]))
		}
		require.NoError(t, f.chunks.wait())
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2*queuedChunks+4)*size)
		for k := range chunks {
			got, err := f.chunk(k)
			require.NoError(t, err)
			data[0] = byte(k)
			require.True(t, bytes.Equal(data[:size-k%3], got), k)
		}
		require.NoError(t, f.close())
	}
}

// TestChunkThatCannotBeWrittenFailsAllThatFollows: also what only waits.
func TestChunkThatCannotBeWrittenFailsAllThatFollows(t *testing.T) {
	f := written(t, 1)
	require.NoError(t, f.chunks.wait())
	require.NoError(t, f.file.Close()) // as a disk that is gone
	require.NoError(t, f.add([]byte("lost")))
	require.ErrorIs(t, f.chunks.wait(), os.ErrClosed)
	n, err := f.chunks.unwritten()
	require.ErrorIs(t, err, os.ErrClosed)
	require.Equal(t, 1, n, "it is not there")
	require.ErrorIs(t, f.add([]byte("more")), os.ErrClosed)
	require.ErrorIs(t, f.finish(nil), os.ErrClosed)
	require.ErrorIs(t, f.cut(0), os.ErrClosed)
	var r remover
	require.ErrorIs(t, r.discard(f), os.ErrClosed)
}

// TestNobodyGoesOnWithChunksThatCouldNotBeFlushed: they can be read, and may not be on the disk.
func TestNobodyGoesOnWithChunksThatCouldNotBeFlushed(t *testing.T) {
	f := written(t, 1)
	require.NoError(t, f.chunks.wait())
	require.FileExists(t, partsOf(f.path))
	f.chunks.err = errDisk
	require.ErrorIs(t, f.close(), errDisk)
	require.NoFileExists(t, partsOf(f.path))
}

var errDisk = errors.New("the disk does not flush")

// TestFileThatCannotBeRemovedIsAFailure, which is heard of by and by.
func TestFileThatCannotBeRemovedIsAFailure(t *testing.T) {
	var r remover
	f := written(t, 0)
	require.NoError(t, r.failure())
	require.NoError(t, os.Remove(f.path))
	r.remove(f.file, f.path)
	require.ErrorIs(t, r.wait(), os.ErrNotExist)
	require.ErrorIs(t, r.failure(), os.ErrNotExist)
}

// TestLargeFilesAreTakenAwayByAndBy, and at once if somebody waits.
func TestLargeFilesAreTakenAwayByAndBy(t *testing.T) {
	var r remover
	var files []*snapshotFile
	for range 2 {
		f := written(t, 1)
		require.NoError(t, f.chunks.wait())
		require.NoError(t, f.file.Truncate(1000*removedBytes))
		path := f.path
		require.NoError(t, r.discard(f))
		require.NoFileExists(t, path)
		require.NoFileExists(t, partsOf(path))
		files = append(files, f)
	}
	require.NoError(t, r.wait())
	for _, f := range files {
		left, err := os.ReadDir(filepath.Dir(f.path))
		require.NoError(t, err)
		require.Empty(t, left)
	}
}
