package store_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/bftraft/store/storetest"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// memoryDisk keeps each process's store as the successor of the last one's.
type memoryDisk struct {
	now  *store.Memory
	keep int
}

func newMemoryDisk(*testing.T) storetest.Disk {
	return &memoryDisk{now: store.NewMemory(storetest.Identity)}
}

func (d *memoryDisk) Open(id store.Identity) (storetest.Store, error) {
	d.now = d.now.Crash(0)
	d.now.Rename(id)
	return d.now, nil
}

// Crash keeps another number of unsynced Saves each time.
func (d *memoryDisk) Crash() {
	d.now = d.now.Crash(d.keep % 3)
	d.keep++
}

func (d *memoryDisk) Copy() func() {
	image := d.now.Image()
	return func() { d.now = d.now.Restore(image, false) }
}

func (d *memoryDisk) DamageGuard(slot int) { d.now.DamageGuard(slot) }

func (d *memoryDisk) RemoveStore() { d.now.Lose() }

func (d *memoryDisk) DamageSnapshot() { d.now.DamageSnapshot() }

func (d *memoryDisk) LoseSnapshot() { d.now.LoseSnapshot() }

func TestMemoryPassesSuite(t *testing.T) { storetest.Run(t, newMemoryDisk) }

func block(tip bftraft.Position, data string) *bftraft.Block {
	return bftraft.NewBlock(tip, []bftraft.Entry{{Kind: 1, Data: []byte(data)}})
}

func TestMemoryStaysFailedWhetherOrNotTheWritePersisted(t *testing.T) {
	broken := errors.New("input/output error")
	for _, persisted := range []bool{true, false} {
		m := store.NewMemory(storetest.Identity)
		r, err := m.Load()
		require.NoError(t, err)
		b := block(r.Tip, "a")
		m.FailNext(broken, persisted)
		ready := &bftraft.Ready{Blocks: []*bftraft.Block{b}, MustSync: true}
		require.ErrorIs(t, m.Save(ready), broken)
		require.ErrorIs(t, m.Err(), broken)
		require.ErrorIs(t, m.Save(&bftraft.Ready{}), broken)
		r, err = m.Crash(0).Load()
		require.NoError(t, err)
		require.Equal(t, persisted, r.Tip == b.End())
	}
}

func TestMemoryThatLiesLosesWhatItSaidWasSynced(t *testing.T) {
	m := store.NewMemory(storetest.Identity)
	r, err := m.Load()
	require.NoError(t, err)
	m.Lie(true)
	b := block(r.Tip, "a")
	require.NoError(t, m.Save(&bftraft.Ready{Blocks: []*bftraft.Block{b}, MustSync: true}))
	require.Equal(t, 1, m.Unsynced())
	r, err = m.Crash(0).Load()
	require.NoError(t, err)
	require.Zero(t, r.Tip.Index)
}

func TestMemoryRolledBackWithItsGuardDoesNotNotice(t *testing.T) {
	m := store.NewMemory(storetest.Identity)
	r, err := m.Load()
	require.NoError(t, err)
	old := m.Image()
	b := block(r.Tip, "a")
	require.NoError(t, m.Save(&bftraft.Ready{Blocks: []*bftraft.Block{b}, MustSync: true}))
	m = m.Restore(old, true)
	r, err = m.Load()
	require.NoError(t, err)
	require.Zero(t, r.Tip.Index)
}

// TestMemoryImagesDoNotShareWhatGrows goes on from one image in two ways, and cuts a chain that a
// crash brings back.
func TestMemoryImagesDoNotShareWhatGrows(t *testing.T) {
	m := store.NewMemory(storetest.Identity)
	save := func(sync bool, at bftraft.Position, data string) bftraft.Position {
		b := block(at, data)
		require.NoError(t, m.Save(&bftraft.Ready{
			Truncated: true, Truncate: at.Index, Blocks: []*bftraft.Block{b}, MustSync: sync,
		}))
		return b.End()
	}
	load := func(next *store.Memory) bftraft.Position {
		m = next
		r, err := m.Load()
		require.NoError(t, err)
		return r.Tip
	}
	at := func(i bftraft.Index) string {
		b, ok := m.Block(i)
		require.True(t, ok)
		return string(b.Entries()[0].Data)
	}
	tip := load(m)
	var second bftraft.Position
	for i, data := range []string{"1", "2", "3"} {
		if tip = save(true, tip, data); i == 1 {
			second = tip
		}
	}
	base := m.Image()
	save(true, tip, "left")
	left := m.Image()
	load(m.Restore(base, true))
	save(true, tip, "right")
	load(m.Restore(left, true))
	require.Equal(t, "left", at(4))

	save(false, second, "other")
	require.Equal(t, "other", at(3))
	load(m.Crash(0))
	require.Equal(t, "3", at(3))
}

// TestMemoryClosesOnlyWhatWentWell: neither a disk that lies nor one that has failed becomes honest
// by being closed.
func TestMemoryClosesOnlyWhatWentWell(t *testing.T) {
	for name, spoil := range map[string]func(m *store.Memory){
		"":      func(*store.Memory) {},
		"lies":  func(m *store.Memory) { m.Lie(true) },
		"fails": func(m *store.Memory) { m.FailNext(errors.New("input/output error"), false) },
	} {
		m := store.NewMemory(storetest.Identity)
		r, err := m.Load()
		require.NoError(t, err)
		b := block(r.Tip, "a")
		require.NoError(t, m.Save(&bftraft.Ready{Blocks: []*bftraft.Block{b}}))
		spoil(m)
		_ = m.Save(&bftraft.Ready{MustSync: true})
		require.NoError(t, m.Close())
		r, err = m.Crash(0).Load()
		require.NoError(t, err)
		require.Equal(t, name == "", r.Tip == b.End(), name)
	}
}

// TestMemoryCrashCutsOnlyWhatWasCut keeps Saves that were not synced: of a hard state alone, of a
// truncation alone, and of one with blocks.
func TestMemoryCrashCutsOnlyWhatWasCut(t *testing.T) {
	m := store.NewMemory(storetest.Identity)
	r, err := m.Load()
	require.NoError(t, err)
	a := block(r.Tip, "a")
	b := block(a.End(), "b")
	c := block(a.End(), "c")
	hard := r.HardState
	hard.Term++
	require.NoError(t, m.Save(&bftraft.Ready{Blocks: []*bftraft.Block{a, b}, MustSync: true}))
	require.NoError(t, m.Save(&bftraft.Ready{HardState: &hard}))
	require.NoError(t, m.Save(&bftraft.Ready{Truncated: true, Truncate: 1}))
	require.NoError(t, m.Save(&bftraft.Ready{Blocks: []*bftraft.Block{c}}))
	image := m.Image()
	for kept, want := range []bftraft.Position{b.End(), b.End(), a.End(), c.End()} {
		next := m.Crash(kept)
		require.Equal(t, image, m.Image())
		r, err := next.Load()
		require.NoError(t, err)
		require.Equal(t, want, r.Tip, "%d Saves kept", kept)
		require.Equal(t, kept > 0, r.HardState.Term == hard.Term)
		last, ok := next.Block(want.Index)
		require.True(t, ok)
		require.Equal(t, want, last.End())
	}
}

// snapped makes a store of two blocks that are committed, with a snapshot at the first.
func snapped(t *testing.T) (*store.Memory, []*bftraft.Block) {
	t.Helper()
	m := store.NewMemory(storetest.Identity)
	r, err := m.Load()
	require.NoError(t, err)
	a := block(r.Tip, "a")
	b := block(a.End(), "b")
	hard := r.HardState
	hard.Lock = quorumcert.Lock{Term: 1, Index: 2, Hash: b.Hash()}
	require.NoError(t, m.Save(&bftraft.Ready{
		HardState: &hard, Blocks: []*bftraft.Block{a, b}, MustSync: true,
		Commits: []*quorumcert.Commit{commitAt(b.End())},
	}))
	require.NoError(t, m.BeginSnapshot(a.End()))
	require.NoError(t, m.FinishSnapshot(nil))
	return m, []*bftraft.Block{a, b}
}

// TestMemoryFailsWhereItIsToldToInSnapshots: whether what failed is there is not known before the
// next start.
func TestMemoryFailsWhereItIsToldToInSnapshots(t *testing.T) {
	broken := errors.New("input/output error")
	fetched := bftraft.Position{Index: 9, Hash: crypto.Digest{9}}
	for _, persisted := range []bool{true, false} {
		for name, call := range map[string]func(*store.Memory, []*bftraft.Block) error{
			"finish": func(m *store.Memory, blocks []*bftraft.Block) error {
				require.NoError(t, m.BeginSnapshot(blocks[1].End()))
				m.FailNext(broken, persisted)
				return m.FinishSnapshot(nil)
			},
			"drop": func(m *store.Memory, blocks []*bftraft.Block) error {
				m.FailNext(broken, persisted)
				return m.DropLog(blocks[0].End())
			},
			"install": func(m *store.Memory, _ []*bftraft.Block) error {
				require.NoError(t, m.BeginSnapshot(fetched))
				require.NoError(t, m.FinishSnapshot(nil))
				hard := bftraft.HardState{
					Term: 2, Lock: quorumcert.Lock{Term: 1, Index: 9, Hash: fetched.Hash},
				}
				m.FailNext(broken, persisted)
				return m.InstallSnapshot(hard, commitAt(fetched))
			},
		} {
			m, blocks := snapped(t)
			require.ErrorIs(t, call(m, blocks), broken, name)
			require.ErrorIs(t, m.Err(), broken, name)
			require.ErrorIs(t, m.DropLog(blocks[0].End()), broken, name)
			m = m.Crash(0)
			r, err := m.Load()
			require.NoError(t, err)
			info, ok := m.Snapshot()
			require.True(t, ok)
			there := map[string]bool{
				"finish": info.At == blocks[1].End(), "drop": r.Base == blocks[0].End(),
				"install": r.Base == fetched,
			}
			require.Equal(t, persisted, there[name], name)
		}
	}
}

// TestMemoryThatLiesLosesSnapshotsInOrder: what it said was durable goes like unsynced Saves.
func TestMemoryThatLiesLosesSnapshotsInOrder(t *testing.T) {
	m, blocks := snapped(t)
	end := blocks[1].End()
	m.Lie(true)
	require.NoError(t, m.BeginSnapshot(end))
	require.NoError(t, m.FinishSnapshot([]byte("proof")))
	require.NoError(t, m.DropLog(end))
	require.Equal(t, 2, m.Unsynced())
	before := m.Image()
	for keep := range 3 {
		next := m.Restore(before, false)
		if keep > 0 {
			next = m.Crash(keep)
		}
		r, err := next.Load()
		require.NoError(t, err)
		info, ok := next.Snapshot()
		require.True(t, ok)
		require.Equal(t, keep >= 1, info.At == end)
		require.Equal(t, keep == 2, r.Base == end)
	}
}

// TestMemoryImageHoldsWhatWasDroppedLater: older images see the whole log.
func TestMemoryImageHoldsWhatWasDroppedLater(t *testing.T) {
	m, blocks := snapped(t)
	image := m.Image()
	require.NoError(t, m.DropLog(blocks[0].End()))
	c := block(blocks[1].End(), "c")
	require.NoError(t, m.Save(&bftraft.Ready{Blocks: []*bftraft.Block{c}, MustSync: true}))
	m = m.Restore(image, true)
	r, err := m.Load()
	require.NoError(t, err)
	require.Zero(t, r.Base)
	require.Equal(t, blocks[1].End(), r.Tip)
	for i, want := range blocks {
		got, ok := m.Block(bftraft.Index(i + 1))
		require.True(t, ok)
		require.Equal(t, want.Raw(), got.Raw())
	}
}
