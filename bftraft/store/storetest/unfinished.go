package storetest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
)

// unfinishedIsGoneOnWith interrupts a snapshot twice, and takes a chunk away that is not wanted.
func unfinishedIsGoneOnWith(t *testing.T, d Disk) {
	g := NewGenerator(2)
	s, _ := open(t, d)
	m := committed(t, s, NewModel(Identity.Cluster), "a", "b", "c")
	snapshot := g.Snapshot(m.end(2))
	snapshot.Chunks = nil
	for _, size := range []int{5, bftraft.MaxChunkBytes, 70000, 1} {
		snapshot.Chunks = append(snapshot.Chunks, g.bytes(size))
	}
	_, ok := s.Unfinished()
	require.False(t, ok)
	require.ErrorIs(t, s.ResumeSnapshot(), store.ErrNoSnapshot)
	require.ErrorIs(t, s.CutSnapshot(0), store.ErrNoSnapshot)
	require.NoError(t, s.BeginSnapshot(snapshot.At))
	require.NoError(t, s.AddChunk(snapshot.Chunks[0]))
	require.NoError(t, s.AddChunk(snapshot.Chunks[1]))
	resume := func(chunks int) {
		s = reopen(t, d, s, m)
		info, ok := s.Unfinished()
		require.True(t, ok)
		require.Equal(t, snapshot.At, info.At)
		require.Equal(t, chunks, info.Chunks)
		_, ok = s.BegunChunk(0)
		require.False(t, ok, "nothing is begun")
		require.ErrorIs(t, s.AddChunk([]byte{1}), store.ErrNoSnapshot)
		require.NoError(t, s.ResumeSnapshot())
		_, ok = s.Unfinished()
		require.False(t, ok)
		for k := range chunks {
			chunk, ok := s.BegunChunk(k)
			require.True(t, ok)
			require.Equal(t, snapshot.Chunks[k], chunk)
		}
		_, ok = s.BegunChunk(chunks)
		require.False(t, ok)
	}
	resume(2)
	require.NoError(t, s.AddChunk(snapshot.Chunks[2]))
	resume(3)
	require.ErrorIs(t, s.CutSnapshot(4), store.ErrNoSnapshot)
	require.NoError(t, s.CutSnapshot(1))
	_, ok = s.BegunChunk(1)
	require.False(t, ok)
	resume(1)
	for _, chunk := range snapshot.Chunks[1:] {
		require.NoError(t, s.AddChunk(chunk))
	}
	require.NoError(t, s.FinishSnapshot(snapshot.Proof))
	m = m.With(snapshot)
	s = reopen(t, d, s, m)
	_, ok = s.Unfinished()
	require.False(t, ok)
	require.NoError(t, s.Close())
}

// unfinishedIsForgotten once another is begun, or it is of no use.
func unfinishedIsForgotten(t *testing.T, d Disk) {
	g := NewGenerator(3)
	s, _ := open(t, d)
	m := committed(t, s, NewModel(Identity.Cluster), "a", "b", "c")
	for _, forget := range []func() error{
		func() error { return s.AbortSnapshot() },
		func() error { return s.BeginSnapshot(m.end(1)) },
		func() error { return errors.Join(s.ResumeSnapshot(), s.CutSnapshot(0)) },
	} {
		require.NoError(t, s.BeginSnapshot(m.end(2)))
		require.NoError(t, s.AddChunk([]byte("unfinished")))
		s = reopen(t, d, s, m)
		_, ok := s.Unfinished()
		require.True(t, ok)
		require.NoError(t, forget())
		_, ok = s.Unfinished()
		require.False(t, ok)
		s = reopen(t, d, s, m)
		_, ok = s.Unfinished()
		require.False(t, ok, "nor does the next process find it")
	}
	require.NoError(t, s.BeginSnapshot(m.end(1)))
	require.NoError(t, s.AddChunk([]byte("of the first")))
	s = reopen(t, d, s, m)
	finished := g.Snapshot(m.end(2))
	take(t, s, finished)
	m = m.With(finished)
	s = reopen(t, d, s, m)
	_, ok := s.Unfinished()
	require.False(t, ok)
	require.NoError(t, s.Close())
}
