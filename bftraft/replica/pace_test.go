package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
)

// TestK1CheckpointWaitsForNoDisk: nothing is added while much waits to be written, and nothing is
// certified before all is.
func TestK1CheckpointWaitsForNoDisk(t *testing.T) {
	a, s := checkpointed(t, 4)
	s.unwritten = mostUnwritten + 1
	a.write(4)
	a.ticks(20)
	require.NotNil(t, s.begun)
	require.Empty(t, s.begun.chunks)
	s.unwritten = mostUnwritten
	a.ticks(200)
	require.NotEmpty(t, s.begun.chunks)
	require.True(t, a.r.taking.ended)
	require.False(t, a.r.taking.written, "some of it is not durable")
	require.Zero(t, a.r.Stats().Checkpoints)
	s.unwritten = 0
	a.settled()
	require.Equal(t, uint64(1), a.r.Stats().Checkpoints)
}

// heavy is a state machine with a state of no end.
type heavy struct{ *tape }

func (heavy) NextChunk(size int) ([]byte, bool) { return make([]byte, size), true }

// TestK1LargeChunksAreWrittenWithPauses: most of the time is the clients'.
func TestK1LargeChunksAreWrittenWithPauses(t *testing.T) {
	a, s := checkpointed(t, 1)
	a.r.cfg.Machine = heavy{a.tape}
	a.r.cfg.Checkpoints.ChunkBytes = bftraft.MaxChunkBytes
	a.write(1)
	const each = bftraft.MaxChunkBytes/pacedBytes + 1 // ticks for a chunk
	a.ticks(2)
	before := len(s.begun.chunks)
	a.ticks(10 * each)
	require.Len(t, s.begun.chunks, before+10)
}
