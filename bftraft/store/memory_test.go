package store_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/bftraft/store/storetest"
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

	// An image stays as it was while others grow from it.
	require.NoError(t, m.Save(&bftraft.Ready{
		Blocks: []*bftraft.Block{block(r.Tip, "b")}, MustSync: true,
	}))
	grown := m.Image()
	m = m.Restore(old, true)
	_, err = m.Load()
	require.NoError(t, err)
	require.NoError(t, m.Save(&bftraft.Ready{
		Blocks: []*bftraft.Block{block(r.Tip, "c")}, MustSync: true,
	}))
	m = m.Restore(grown, true)
	_, err = m.Load()
	require.NoError(t, err)
	found, ok := m.Block(1)
	require.True(t, ok)
	require.Equal(t, []byte("b"), found.Entries()[0].Data)
}
