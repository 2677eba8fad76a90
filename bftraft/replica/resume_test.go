package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
)

// interrupted returns a group whose node 4 has fetched a part of a state when it is killed.
func interrupted(t *testing.T) (*group, Transfer) {
	g := lost(t)
	g.alter = nil
	p := Transfer{}
	g.until(func() bool {
		p, _ = g.mate(4).proc.Transfer()
		return p.Done > 4
	})
	require.Greater(t, p.Chunks, p.Done)
	require.Zero(t, p.Kept)
	four := g.mate(4)
	four.disk = four.disk.Crash(1000) // all that was written is there
	four.storage, four.proc = four.disk, nil
	return g, p
}

// fetches takes down which parts node 4 asks for from now on.
func (g *group) fetches() map[uint32]bool {
	asked := map[uint32]bool{}
	g.alter = func(p parcel, m bftraft.Message) bftraft.Message {
		if f, ok := m.(*bftraft.FetchState); ok && p.from == 4 && f.Part != bftraft.ManifestPart {
			asked[f.Part] = true
		}
		return m
	}
	return asked
}

// TestK1TransferGoesOnAfterARestart: what is on the disk is judged, and not fetched again, though
// the others have a newer state by now.
func TestK1TransferGoesOnAfterARestart(t *testing.T) {
	g, p := interrupted(t)
	g.alter = without(4)
	g.write(1, 30)
	info, _ := g.mate(1).disk.Snapshot()
	require.Greater(t, info.At.Index, p.At)
	g.mate(4).start()
	asked := g.fetches()
	g.until(func() bool {
		q, _ := g.mate(4).proc.Transfer()
		return q.Kept == p.Done
	})
	g.until(func() bool { return g.mate(4).proc.Stats().Installed == 1 })
	require.Equal(t, uint64(p.Done), g.mate(4).proc.Stats().Resumed)
	require.Equal(t, p.At, g.mate(4).proc.stable.Index)
	for k := range p.Chunks {
		require.Equal(t, k >= p.Done, asked[uint32(k)], "chunk %d", k)
	}
	g.requireSame(1, 4)
}

// spoilt is a disk on which a chunk of what was not finished is not what was written.
type spoilt struct {
	*store.Memory
	chunk int
	lost  bool // it cannot be read at all
}

func (s spoilt) BegunChunk(k int) ([]byte, bool) {
	data, ok := s.Memory.BegunChunk(k)
	if ok && k == s.chunk {
		data[0]++
		ok = !s.lost
	}
	return data, ok
}

func TestK1ChunksThatWereSpoiltAreFetchedAnew(t *testing.T) {
	for name, lost := range map[string]bool{"altered": false, "unreadable": true} {
		t.Run(name, func(t *testing.T) {
			const wrong = 2
			g, p := interrupted(t)
			four := g.mate(4)
			four.storage = spoilt{four.disk, wrong, lost}
			four.start()
			asked := g.fetches()
			g.until(func() bool { return len(asked) > 0 })
			q, _ := four.proc.Transfer()
			require.Equal(t, wrong, q.Kept)
			g.until(func() bool { return four.proc.Stats().Installed == 1 })
			for k := range p.Chunks {
				require.Equal(t, k >= wrong, asked[uint32(k)], "chunk %d", k)
			}
			g.requireSame(1, 4)
		})
	}
}

// TestK1TransferBeginsAnewWhereNobodyHasThatStateAnyMore: whoever comes back late finds another.
func TestK1TransferBeginsAnewWhereNobodyHasThatStateAnyMore(t *testing.T) {
	g, p := interrupted(t)
	g.alter = without(4)
	g.write(1, 30)
	g.ticks(holdIdle + 20)
	g.mate(4).start()
	asked := g.fetches()
	g.until(func() bool { return g.mate(4).proc.Stats().Installed == 1 })
	require.Greater(t, g.mate(4).proc.stable.Index, p.At)
	require.True(t, asked[0])
	g.requireSame(1, 4)
	_, left := g.mate(4).disk.Unfinished()
	require.False(t, left)
}

// TestK1PartsThatComeWhileWhatIsThereIsJudgedAreIgnored: they would stand in the wrong place.
func TestK1PartsThatComeWhileWhatIsThereIsJudgedAreIgnored(t *testing.T) {
	g, p := interrupted(t)
	four := g.mate(4)
	four.start()
	g.until(func() bool {
		q, _ := four.proc.Transfer()
		return q.At == p.At
	})
	k := four.proc.transfer.next
	require.Less(t, k, four.proc.transfer.kept)
	data, ok := g.mate(1).disk.HeldChunk(k)
	require.True(t, ok)
	part := &bftraft.StatePart{At: p.At, Part: uint32(k), Data: data}
	require.Equal(t, bftraft.Unasked, four.proc.takePart(1, part))
	g.until(func() bool { return four.proc.Stats().Installed == 1 })
	g.requireSame(1, 4)
}
