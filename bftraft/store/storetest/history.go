package storetest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
)

// history goes through Saves and calls about snapshots, as a crash may cut it short anywhere.
type history struct {
	t *testing.T
	g *Generator
	s Store
	m Model
	// moments are those that a crash may lead back to.
	moments []Model
	seen    map[string]int
}

func (h *history) did(name string, m Model, synced bool) {
	h.seen[name]++
	h.m = m
	if synced {
		h.moments = h.moments[:0]
	}
	h.moments = append(h.moments, m)
}

func (h *history) step() {
	switch n := h.g.rng.IntN(10); {
	case n < 5:
		h.save()
	case n < 7:
		h.snapshot(h.position())
	case n < 9 && (h.m.Snapshot == nil || h.m.Snapshot.At.Index <= h.m.Tip().Index):
		h.drop()
	case h.g.chance(50):
		h.install()
	}
}

func (h *history) save() {
	r := h.g.Next(h.m)
	require.NoError(h.t, h.s.Save(r))
	h.did("save", h.m.After(r), r.MustSync)
}

// position returns the committed end of a block on the chain, or one that is far ahead.
func (h *history) position() bftraft.Position {
	k := h.m.floor()
	at := h.m.end(k)
	if k > 0 {
		at = h.m.end(1 + h.g.rng.IntN(k))
	}
	if h.g.chance(10) || at.Index == 0 {
		at.Index = h.m.Tip().Index + 1 + bftraft.Index(h.g.rng.IntN(9))
		copy(at.Hash[:], h.g.bytes(32))
	}
	return at
}

// snapshot takes one, or leaves it unfinished.
func (h *history) snapshot(at bftraft.Position) {
	if old := h.m.Snapshot; old != nil && at.Index < old.At.Index {
		refuse(h.t, h.s, h.m, h.s.BeginSnapshot(at), "older than the finished one")
		return
	}
	snapshot := h.g.Snapshot(at)
	if h.g.chance(30) {
		h.seen["unfinished"]++
		require.NoError(h.t, h.s.BeginSnapshot(at))
		for _, chunk := range snapshot.Chunks {
			require.NoError(h.t, h.s.AddChunk(chunk))
		}
		return
	}
	take(h.t, h.s, snapshot)
	for i := range h.moments { // it does not wait for what was saved before
		h.moments[i] = h.moments[i].With(snapshot)
	}
	h.m = h.m.With(snapshot)
	h.seen["finished"]++
}

func (h *history) drop() {
	m := h.m
	most := bftraft.Index(0)
	for _, b := range m.Blocks {
		if m.Snapshot != nil && b.End() == m.Snapshot.At {
			most = min(m.Snapshot.At.Index, m.end(m.floor()).Index, m.Hard.Lock.Index)
		}
	}
	k := h.g.rng.IntN(len(m.Blocks) + 1)
	for k > 1 && m.end(k).Index > most && h.g.chance(80) {
		k--
	}
	at := m.end(k)
	switch {
	case k == 0:
		require.NoError(h.t, h.s.DropLog(at))
	case at.Index > most:
		h.seen["refused"]++
		refuse(h.t, h.s, m, h.s.DropLog(at), fmt.Sprintf("drop up to %d", at.Index))
	default:
		require.NoError(h.t, h.s.DropLog(at))
		h.did("drop", m.Dropped(at), true)
	}
}

func (h *history) install() {
	at := bftraft.Position{Index: h.m.Tip().Index + 1 + bftraft.Index(h.g.rng.IntN(9))}
	copy(at.Hash[:], h.g.bytes(32))
	if old := h.m.Snapshot; old != nil && old.At.Index > h.m.Tip().Index {
		at = old.At
	} else {
		snapshot := h.g.Snapshot(at)
		take(h.t, h.s, snapshot)
		h.m = h.m.With(snapshot)
	}
	hard, commit := fetched(h.g, h.m, at)
	require.NoError(h.t, h.s.InstallSnapshot(hard, commit))
	h.did("install", h.m.Installed(hard, commit), true)
}

// crashAtEveryCall is crashAtEverySave for a store that takes snapshots and drops its log.
func crashAtEveryCall(t *testing.T, d Disk) {
	h := &history{t: t, g: NewGenerator(Seed(t)), seen: map[string]int{}}
	h.m = NewModel(Identity.Cluster)
	h.s, _ = open(t, d)
	for round := 0; round < 25 || h.misses(); round++ {
		require.Less(t, round, 400, "not all is seen: %v", h.seen)
		h.moments = []Model{h.m}
		for range 1 + h.g.rng.IntN(5) {
			h.step()
		}
		d.Crash()
		s, r := open(t, d)
		h.s = s
		k := len(h.moments) - 1
		for k >= 0 && !h.moments[k].Equal(r) {
			k--
		}
		require.GreaterOrEqual(t, k, 0, "the crash left what never was: %d to %d", r.Base.Index,
			r.Tip.Index)
		h.seen["lost"] += len(h.moments) - 1 - k
		h.m = h.moments[k]
		h.m.Check(t, h.s, r)
	}
	require.NoError(t, h.s.Close())
}

// misses says whether there is something that did not happen yet.
func (h *history) misses() bool {
	for _, name := range []string{"unfinished", "finished", "drop", "refused", "install", "lost"} {
		if h.seen[name] == 0 {
			return true
		}
	}
	return false
}
