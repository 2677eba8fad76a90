package store

import (
	"errors"
	"fmt"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// memorySnapshot is a snapshot of a Memory.
type memorySnapshot struct {
	info    SnapshotInfo
	chunks  [][]byte
	damaged bool
}

// follows is what the store compares with.
func (m *Memory) follows() *follows {
	f := &follows{
		chainView: chainView{tip: m.now.tip, endHash: m.endHash},
		start:     m.now.start(m.id.Cluster), committed: m.now.committed(), hard: &m.now.hard,
	}
	if m.now.snapshot != nil {
		f.finished = m.now.snapshot.info.At
	}
	return f
}

// checkSnapshot says what is wrong with the snapshot, as Load of a Badger would.
func (g *image) checkSnapshot() error {
	s := g.snapshot
	switch {
	case s != nil && s.damaged:
		return fmt.Errorf("%w: the snapshot at %d", ErrDamaged, s.info.At.Index)
	case g.base.Index > 0 && (s == nil || s.info.At.Index < g.base.Index ||
		s.info.At.Index == g.base.Index && s.info.At != g.base):
		return fmt.Errorf("%w: no snapshot holds what was before %d", ErrDamaged, g.base.Index)
	}
	return nil
}

// BeginSnapshot begins a snapshot as Badger.BeginSnapshot does.
func (m *Memory) BeginSnapshot(at bftraft.Position) error {
	if err := m.usable(); err != nil {
		return err
	}
	if err := m.follows().snapshot(at); err != nil {
		return err
	}
	m.begun, m.left = &memorySnapshot{info: SnapshotInfo{At: at}}, nil
	return nil
}

// first returns a copy with the first n chunks alone, nil if these are none.
func (s *memorySnapshot) first(n int) *memorySnapshot {
	if n == 0 {
		return nil
	}
	c := &memorySnapshot{info: SnapshotInfo{At: s.info.At, Chunks: n}, chunks: s.chunks[:n:n]}
	for _, chunk := range c.chunks {
		c.info.Bytes += int64(len(chunk))
	}
	return c
}

// Unwritten is zero: there is no disk to wait for.
func (m *Memory) Unwritten() int { return 0 }

// Unfinished says what the process before did not finish, as Badger.Unfinished does.
func (m *Memory) Unfinished() (SnapshotInfo, bool) {
	if m.left == nil || !m.loaded || errors.Is(m.err, ErrClosed) {
		return SnapshotInfo{}, false
	}
	return m.left.info, true
}

// ResumeSnapshot goes on with that.
func (m *Memory) ResumeSnapshot() error {
	if err := m.usable(); err != nil {
		return err
	}
	if m.left == nil {
		return ErrNoSnapshot
	}
	if err := m.follows().snapshot(m.left.info.At); err != nil {
		return err
	}
	m.begun, m.left = m.left.first(len(m.left.chunks)), nil
	return nil
}

// BegunChunk returns a chunk of the snapshot that was begun.
func (m *Memory) BegunChunk(k int) ([]byte, bool) {
	if s, err := m.beginning(); err == nil && k >= 0 && k < len(s.chunks) {
		return slices.Clone(s.chunks[k]), true
	}
	return nil, false
}

// CutSnapshot takes the chunks from k on away from the snapshot that was begun.
func (m *Memory) CutSnapshot(k int) error {
	s, err := m.beginning()
	if err != nil {
		return err
	}
	if k < 0 || k > len(s.chunks) {
		return ErrNoSnapshot
	}
	if m.begun = s.first(k); m.begun == nil {
		m.begun = &memorySnapshot{info: SnapshotInfo{At: s.info.At}}
	}
	return nil
}

// beginning returns the snapshot that was begun.
func (m *Memory) beginning() (*memorySnapshot, error) {
	err := m.usable()
	if err == nil && m.begun == nil {
		err = ErrNoSnapshot
	}
	return m.begun, err
}

// AddChunk adds to the snapshot that was begun.
func (m *Memory) AddChunk(data []byte) error {
	s, err := m.beginning()
	if err != nil {
		return err
	}
	if err := takesChunk(&s.info, data); err != nil {
		return err
	}
	s.chunks = append(s.chunks, slices.Clone(data))
	s.info.Chunks++
	s.info.Bytes += int64(len(data))
	return nil
}

// FinishSnapshot makes the snapshot that was begun durable, but not what was saved before it.
func (m *Memory) FinishSnapshot(proof []byte) error {
	s, err := m.beginning()
	if err != nil {
		return err
	}
	if err := takesProof(proof); err != nil {
		return err
	}
	if err := m.follows().snapshot(s.info.At); err != nil {
		return err
	}
	s.info.Proof = slices.Clone(proof)
	put := func(g *image) {
		if old := g.snapshot; old == nil || old.info.At.Index <= s.info.At.Index {
			g.snapshot = s
		}
	}
	switch {
	case m.next != nil:
		m.err = m.next.err
		if m.next.persisted {
			put(&m.durable)
		}
		return m.err
	case m.lies:
		m.unsynced = append(m.unsynced, put)
	default:
		put(&m.durable)
	}
	put(&m.now)
	m.begun = nil
	return nil
}

// AbortSnapshot forgets the snapshot that was begun and not finished, if there is one.
func (m *Memory) AbortSnapshot() error {
	if err := m.usable(); err != nil {
		return err
	}
	m.begun, m.left = nil, nil
	return nil
}

// Snapshot says what the finished snapshot is of, false when there is none.
func (m *Memory) Snapshot() (SnapshotInfo, bool) {
	if m.now.snapshot == nil || !m.loaded || errors.Is(m.err, ErrClosed) {
		return SnapshotInfo{}, false
	}
	return m.now.snapshot.info, true
}

// SnapshotChunk returns a chunk of the finished snapshot as it was added.
func (m *Memory) SnapshotChunk(k int) ([]byte, bool) {
	info, ok := m.Snapshot()
	if !ok || k < 0 || k >= info.Chunks {
		return nil, false
	}
	return slices.Clone(m.now.snapshot.chunks[k]), true
}

// HoldSnapshot keeps the finished snapshot as Badger.HoldSnapshot does.
func (m *Memory) HoldSnapshot() error {
	if err := m.usable(); err != nil {
		return err
	}
	if m.held = m.now.snapshot; m.held == nil {
		return ErrNoSnapshot
	}
	return nil
}

// ReleaseSnapshot ends the hold of a snapshot, if there is one.
func (m *Memory) ReleaseSnapshot() error {
	if err := m.usable(); err != nil {
		return err
	}
	m.held = nil
	return nil
}

// HeldSnapshot says what the snapshot is of that is held, false when none is.
func (m *Memory) HeldSnapshot() (SnapshotInfo, bool) {
	if m.held == nil || errors.Is(m.err, ErrClosed) {
		return SnapshotInfo{}, false
	}
	return m.held.info, true
}

// HeldChunk returns a chunk of the snapshot that is held.
func (m *Memory) HeldChunk(k int) ([]byte, bool) {
	info, ok := m.HeldSnapshot()
	if !ok || k < 0 || k >= info.Chunks {
		return nil, false
	}
	return slices.Clone(m.held.chunks[k]), true
}

// DropLog lets the chain begin behind upTo as Badger.DropLog does.
func (m *Memory) DropLog(upTo bftraft.Position) error {
	if err := m.usable(); err != nil {
		return err
	}
	f := m.follows()
	if upTo == f.start {
		return nil
	}
	if err := f.drop(upTo); err != nil {
		return err
	}
	return m.writeSynced(func(g *image) { g.drop(upTo) })
}

// drop lets the chain begin behind upTo. Older images see what was dropped.
func (g *image) drop(upTo bftraft.Position) {
	g.seq++
	g.base = upTo
	k := 0
	for k < len(g.blocks) && g.blocks[k].Last() <= upTo.Index {
		k++
	}
	g.blocks = slices.Clone(g.blocks[k:])
	g.commits = slices.Clone(g.commits[g.commitAt(upTo.Index):])
}

// InstallSnapshot puts the finished snapshot in the place of the chain as Badger.InstallSnapshot
// does.
func (m *Memory) InstallSnapshot(hard bftraft.HardState, commit *quorumcert.Commit) error {
	if err := m.usable(); err != nil {
		return err
	}
	if m.now.snapshot == nil {
		return ErrNoSnapshot
	}
	if err := m.follows().install(&hard, commit); err != nil {
		return err
	}
	at := m.now.snapshot.info.At
	return m.writeSynced(func(g *image) {
		g.seq++
		g.base, g.tip, g.hard = at, at, hard
		g.blocks, g.commits = nil, []*quorumcert.Commit{commit}
	})
}

// writeSynced makes a change durable with all that was saved before.
func (m *Memory) writeSynced(change func(*image)) error {
	err := m.write(change)
	if err == nil {
		m.sync()
	}
	return err
}

// DamageSnapshot makes the finished snapshot unreadable for the next process.
func (m *Memory) DamageSnapshot() {
	for _, g := range []*image{&m.now, &m.durable} {
		if g.snapshot != nil {
			s := *g.snapshot
			s.damaged = true
			g.snapshot = &s
		}
	}
}

// LoseSnapshot takes the finished snapshot away before the next process.
func (m *Memory) LoseSnapshot() { m.now.snapshot, m.durable.snapshot = nil, nil }
