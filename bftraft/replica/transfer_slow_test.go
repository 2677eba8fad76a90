package replica

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// later holds parcels back for a while.
type later struct {
	g     *group
	queue []waiting
}

type waiting struct {
	due uint64
	parcel
}

// hold keeps a parcel for so many ticks of its receiver.
func (l *later) hold(p parcel, ticks uint64) {
	l.queue = append(l.queue, waiting{l.g.mate(p.to).proc.now + ticks, p})
}

// deliver hands over what is due.
func (l *later) deliver() {
	kept := l.queue[:0]
	for _, w := range l.queue {
		to := l.g.mate(w.to)
		if w.due > to.proc.now {
			kept = append(kept, w)
			continue
		}
		v, drop := l.g.verifier.Verify(w.from, w.frame)
		require.Equal(l.g.t, bftraft.Accepted, drop)
		to.proc.Step(v)
		to.flush()
	}
	l.queue = kept
}

// installed lets time pass until node 4 has taken a state, and returns how many ticks that took.
func (l *later) installed() (ticks int) {
	for l.g.mate(4).proc.Stats().Installed == 0 {
		ticks++
		require.Less(l.g.t, ticks, 40_000, "it is not installed")
		l.g.ticks(1)
		l.deliver()
	}
	return ticks
}

// isChunk says whether a message brings a part of a state to node 4 that is not the manifest.
func isChunk(p parcel, m bftraft.Message) bool {
	part, ok := m.(*bftraft.StatePart)
	return ok && p.to == 4 && part.Part != bftraft.ManifestPart
}

// A part may take longer than anybody has the patience for, as often as it is asked for.
func TestK1TransferGetsOnOverSlowLinks(t *testing.T) {
	g := lost(t)
	l := &later{g: g}
	g.alter = func(p parcel, m bftraft.Message) bftraft.Message {
		if isChunk(p, m) {
			l.hold(p, 400)
			return nil
		}
		return m
	}
	took := l.installed()
	info, _ := g.mate(4).disk.Snapshot()
	require.Less(t, took, 400*(info.Chunks/fetchWindow+2)+200, "a window after the other")
	g.alter = nil
	g.requireSame(1, 4)
}

// A liar that answers each part at the last moment is overtaken, and then asked last.
func TestK1SlowLiarDoesNotSetThePace(t *testing.T) {
	g := lost(t)
	l := &later{g: g}
	asked := 0
	g.alter = func(p parcel, m bftraft.Message) bftraft.Message {
		if isChunk(p, m) && p.from == 2 {
			asked++
			l.hold(p, 190)
			return nil
		}
		return m
	}
	took := l.installed()
	info, _ := g.mate(4).disk.Snapshot()
	require.Greater(t, info.Chunks, 20)
	require.Less(t, took, 300)
	require.LessOrEqual(t, asked, 2*fetchWindow)
	require.Zero(t, g.mate(4).proc.Stats().Poisoned)
	g.alter = nil
	g.requireSame(1, 4)
}

// A liar alone has the newest state, and serves it so slowly that it is gone elsewhere before it is
// here.
func TestK1StateThatOneServesTooSlowlyIsLeftForAnother(t *testing.T) {
	g := lost(t)
	l := &later{g: g}
	hide := true
	g.alter = func(p parcel, m bftraft.Message) bftraft.Message {
		part, ok := m.(*bftraft.StatePart)
		switch {
		case ok && p.to == 4 && p.from != 2 && hide:
			return nil // the others have none yet
		case ok && isChunk(p, m) && p.from == 2 && part.Part < 2:
			return m
		case isChunk(p, m) && p.from == 2:
			l.hold(p, 500)
			return nil
		}
		return m
	}
	g.until(func() bool {
		p, some := g.mate(4).proc.Transfer()
		return some && p.Done == 2
	})
	first, _ := g.mate(4).proc.Transfer()
	g.write(1, 30)
	hide = false
	took := l.installed()
	require.Less(t, took, drySpan+2000)
	require.NotEqual(t, first.At, g.mate(4).proc.stable.Index)
	g.alter = nil
	g.requireSame(1, 4)
}

// The asker keeps to what peers serve, so nothing is asked for in vain.
func TestK1NothingIsAskedForInVain(t *testing.T) {
	g := lost(t)
	g.alter = without(4)
	g.write(1, 100)
	asked, served := 0, 0
	g.alter = func(p parcel, m bftraft.Message) bftraft.Message {
		if f, ok := m.(*bftraft.FetchState); ok && f.Part != bftraft.ManifestPart {
			asked++
		}
		if isChunk(p, m) {
			served++
		}
		return m
	}
	l := &later{g: g}
	took := l.installed()
	info, _ := g.mate(4).disk.Snapshot()
	require.Greater(t, info.Chunks, 4*3*askedParts, "more than is served at once")
	require.Equal(t, asked, served)
	require.Equal(t, info.Chunks, asked)
	require.Less(t, took, repeatTicks*(info.Chunks/(3*askedParts)+3)+100)
}

// Whoever comes back is asked at once, be it that a state is still looked for, or is on its way.
func TestK1WhoComesBackIsAskedAtOnce(t *testing.T) {
	g := lost(t)
	four := g.mate(4)
	away := quorumcert.SetOf(3)
	g.alter = func(p parcel, m bftraft.Message) bftraft.Message {
		if isChunk(p, m) || p.to == 4 && away.Has(p.from) || p.from == 4 && away.Has(p.to) {
			return nil
		}
		return m
	}
	var at Transfer
	comes := func(id bftraft.NodeID) {
		away = away.Without(id)
		four.proc.Greet(id)
		four.flush()
		g.ticks(1)
		at, _ = four.proc.Transfer()
	}
	g.until(func() bool { return four.proc.transfer != nil })
	began := four.proc.now
	g.ticks(2)
	require.Nil(t, four.proc.transfer.manifest, "it waits for 3")
	comes(3)
	require.NotZero(t, at.At)
	require.Equal(t, quorumcert.SetOf(1).With(2).With(3), at.From)
	require.Less(t, four.proc.now-began, four.proc.core.Timeout())
	four.proc.poisons(2)
	four.proc.transfer.from = quorumcert.SetOf(1)
	comes(2)
	require.Equal(t, quorumcert.SetOf(1), at.From, "not who served poison")
	comes(3)
	require.Equal(t, quorumcert.SetOf(1).With(3), at.From)
}

// The log may come after all, while nobody hands out a manifest: then life goes on as before.
func TestK1TransferEndsWhenTheLogComes(t *testing.T) {
	g := newGroup(t)
	g.write(1, 13)
	four, three := g.mate(4), g.mate(3)
	g.until(func() bool { return four.proc.Executed().Index >= 13 })
	_, ok := three.disk.Snapshot()
	require.True(t, ok)
	require.NoError(t, three.disk.HoldSnapshot())
	fetched := func() { three.proc.holding.asked = three.proc.now } // by another, so its log stays
	g.alter = func(p parcel, m bftraft.Message) bftraft.Message {
		fetched()
		return without(4)(p, m)
	}
	g.write(1, 30)
	g.alter = func(p parcel, m bftraft.Message) bftraft.Message {
		fetched()
		if _, ok := m.(*bftraft.StatePart); ok || p.to == 4 && p.from == 3 {
			return nil
		}
		return m
	}
	g.until(func() bool { _, some := four.proc.Transfer(); return some })
	g.alter = func(_ parcel, m bftraft.Message) bftraft.Message {
		fetched()
		if _, ok := m.(*bftraft.StatePart); ok {
			return nil
		}
		return m
	}
	g.until(func() bool { return g.same(1, 4) })
	g.until(func() bool { _, some := four.proc.Transfer(); return !some })
	require.Zero(t, four.proc.Stats().Installed)
	before := four.proc.Stats().Checkpoints
	g.write(1, 40)
	require.Greater(t, four.proc.Stats().Checkpoints, before, "it takes checkpoints again")
}

// ask asks a member for a part in the name of another, and returns the answer.
func (g *group) ask(from, to bftraft.NodeID, at bftraft.Index, part uint32) *bftraft.StatePart {
	m := &bftraft.FetchState{At: at, Part: part}
	bftraft.SignMessage(g.mate(from).signer(), g.verifier.Cluster(), m)
	v, drop := g.verifier.Verify(from, bftraft.Encode(m))
	require.Equal(g.t, bftraft.Accepted, drop)
	if g.mate(to).proc.Step(v) != bftraft.Accepted {
		return nil
	}
	last := len(g.queue) - 1
	answer, drop := bftraft.DecodeMessage(g.queue[last].frame)
	require.Equal(g.t, bftraft.Accepted, drop)
	g.queue = g.queue[:last]
	return answer.(*bftraft.StatePart)
}

// Whoever comes while a state is held, for a liar perhaps, is shown that one, and served with it
// for as long as it takes; who shows that it has got as far is served nothing.
func TestK1HeldStateIsForAllWhoLackIt(t *testing.T) {
	g := lost(t)
	one := g.mate(1)
	info, _ := one.disk.Snapshot()
	require.NotEmpty(t, g.ask(4, 1, info.At.Index, 0).Data)
	held, ok := one.disk.HeldSnapshot()
	require.True(t, ok)
	require.Equal(t, info.At, held.At)
	g.write(1, 20)
	newer, _ := one.disk.Snapshot()
	require.Greater(t, newer.At.Index, held.At.Index)
	require.Equal(t, held.At.Index, g.ask(4, 1, 0, bftraft.ManifestPart).At)
	require.NotEmpty(t, g.ask(4, 1, held.At.Index, 1).Data)
	require.Equal(t, newer.At.Index, g.ask(4, 1, newer.At.Index, bftraft.ManifestPart).At,
		"unless it has begun with that")
	require.Empty(t, g.ask(2, 1, newer.At.Index, 0).Data)
	require.Empty(t, g.ask(2, 1, 0, bftraft.ManifestPart).Data)
	require.LessOrEqual(t, one.disk.Base().Index, held.At.Index)
}

func TestK1KnownCheckpointDoesNotGoBack(t *testing.T) {
	g := lost(t)
	four := g.mate(4)
	g.alter = nil
	g.until(func() bool { p, some := four.proc.Transfer(); return some && p.Done > 4 })
	g.alter = func(_ parcel, m bftraft.Message) bftraft.Message {
		if _, ok := m.(*bftraft.StatePart); ok {
			return nil
		}
		return m
	}
	g.write(1, 30)
	g.alter = nil
	known := four.proc.stable.Index
	g.until(func() bool { return four.proc.Stats().Installed == 1 })
	require.Greater(t, known, four.disk.Base().Index)
	require.Equal(t, known, four.proc.stable.Index)
	g.requireSame(1, 4)
}

// begunBy lets node 4 fetch some chunks and then cuts it off while the others go on, and returns
// what it has begun to fetch.
func begunBy(g *group) Transfer {
	g.alter = nil
	g.until(func() bool { p, some := g.mate(4).proc.Transfer(); return some && p.Done > 4 })
	p, _ := g.mate(4).proc.Transfer()
	g.alter = without(4)
	g.write(1, 30)
	return p
}

// What has come in part is gone on with as long as one has it, however many have something newer.
func TestK1TransferGoesOnAsLongAsOneHoldsTheState(t *testing.T) {
	g := lost(t)
	p := begunBy(g)
	for id := bftraft.NodeID(2); id <= 3; id++ {
		require.NoError(t, g.mate(id).disk.ReleaseSnapshot())
	}
	g.alter = nil
	g.until(func() bool { return g.mate(4).proc.Stats().Installed == 1 })
	require.Equal(t, p.At, g.mate(4).disk.Base().Index)
	g.requireSame(1, 4)
}

// Who has let go of a state says so, and the next is asked at once: patience is for silence.
func TestK1TransferOfAStateThatAllLetGoBeginsAnew(t *testing.T) {
	g := lost(t)
	p := begunBy(g)
	g.ticks(5000)
	for id := bftraft.NodeID(1); id <= 3; id++ {
		_, held := g.mate(id).disk.HeldSnapshot()
		require.False(t, held, "nobody has asked for long")
	}
	g.alter = nil
	ticks := 0
	g.until(func() bool { ticks++; return g.mate(4).proc.Stats().Installed == 1 })
	require.Greater(t, g.mate(4).disk.Base().Index, p.At)
	require.Less(t, ticks, mostPatience+300)
	g.requireSame(1, 4)
}

// However much log is to be kept, what is before the checkpoint before the newest goes.
func TestK1NoMoreLogStaysThanOfOneInterval(t *testing.T) {
	g := newGroup(t)
	one := g.mate(1)
	one.proc.cfg.Checkpoints.Keep = 1 << 40
	seen := []bftraft.Index{0}
	for range 6 {
		g.write(1, 10)
		g.ticks(50)
		info, ok := one.disk.Snapshot()
		require.True(t, ok)
		if last := seen[len(seen)-1]; info.At.Index > last {
			g.until(func() bool { return one.disk.Base().Index == last })
			seen = append(seen, info.At.Index)
		}
	}
	require.Greater(t, len(seen), 3)
}

// A node asks who has a state as soon as it is there, when it may be linked to one of the others
// alone. The rest serve too, once they are reached.
func TestK1WhoWasNotReachedAtFirstServesToo(t *testing.T) {
	g := lost(t)
	g.ticks(100) // what is being written is finished
	l, begun := &later{g: g}, false
	g.alter = func(p parcel, m bftraft.Message) bftraft.Message {
		f, ok := m.(*bftraft.FetchState)
		begun = begun || isChunk(p, m)
		switch {
		case ok && f.Part == bftraft.ManifestPart && p.to != 1 && !begun:
			return nil
		case isChunk(p, m) && p.from == 1:
			l.hold(p, 25) // parts do not stop coming
			return nil
		}
		return m
	}
	l.installed()
	for id := bftraft.NodeID(2); id <= 3; id++ {
		require.Greater(t, g.mate(id).served, 1, "node %d has a part in it", id)
	}
	g.alter = nil
	g.requireSame(1, 4)
}

// The state machine takes a state in while it comes, and shows nothing of it before all is here.
func TestK1StateIsRestoredWhileItComes(t *testing.T) {
	g := lost(t)
	g.alter = without(4)
	g.write(1, 100)
	four := g.mate(4)
	before := slices.Clone(four.tape.lines)
	most := 0
	g.alter = func(p parcel, m bftraft.Message) bftraft.Message {
		if isChunk(p, m) && len(four.tape.coming) > 0 {
			most = max(most, len(four.tape.coming))
			require.Equal(t, before, four.tape.lines)
		}
		return m
	}
	g.until(func() bool { return four.proc.Stats().Installed == 1 })
	require.Positive(t, most)
	require.Equal(t, 1, four.tape.restored)
	g.requireSame(1, 4)
}
