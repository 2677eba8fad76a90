package disk

import (
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/bftraft/store/storetest"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

var (
	seeds = flag.Uint64("seeds", 3, "how many histories are applied to both stores")
	first = flag.Uint64("first", 1, "seed of the first history")
)

const (
	rounds    = 30 // of a history: some Saves, then something that happens to the disk
	slotBytes = 4096
)

// pair is the two stores under one history, and the naive model of what they should hold.
type pair struct {
	t      *testing.T
	rng    *rand.Rand
	next   *storetest.Generator
	dir    string
	master crypto.SecretKey // of the real disk; every other history is encrypted
	badger *store.Badger
	memory *store.Memory
	model  storetest.Model
	// moments are what a crash may lead back to: the last synced state, and each since.
	moments []storetest.Model
	backup  *backup
	seen    map[string]int
}

// backup is the whole disk of some earlier moment, of both.
type backup struct {
	dir   string
	image store.Image
	model storetest.Model
}

func newPair(t *testing.T, seed uint64, seen map[string]int) *pair {
	t.Helper()
	p := &pair{
		t: t, rng: rand.New(rand.NewPCG(seed, 2)), next: storetest.NewGenerator(seed),
		dir: filepath.Join(t.TempDir(), "data"), memory: store.NewMemory(storetest.Identity),
		model: storetest.NewModel(storetest.Identity.Cluster), seen: seen,
	}
	p.next.Large = seed%4 == 0
	if seed%2 == 0 {
		p.master = crypto.NewSecretKey([32]byte{1, byte(seed)})
		seen["encrypted"]++
	}
	require.NoError(t, store.CreateEncrypted(p.dir, storetest.Identity, p.master))
	t.Cleanup(func() {
		if p.badger != nil {
			_ = p.badger.Close()
		}
	})
	p.moments = []storetest.Model{p.model}
	p.reopen()
	return p
}

func (p *pair) options() store.Options {
	return store.Options{
		Identity: storetest.Identity, Master: p.master,
		MemtableBytes: store.MinMemtableBytes, MinFreeBytes: 1 << 20,
	}
}

// load opens the directory as a new process would.
func (p *pair) load() (bftraft.Restored, error) {
	s, err := store.Open(p.dir, p.options())
	if err != nil {
		return bftraft.Restored{}, err
	}
	r, err := s.Load()
	if err != nil {
		return r, errors.Join(err, s.Close())
	}
	p.badger = s
	return r, nil
}

// reopen opens both, which must hold the same, to the last byte of every block.
func (p *pair) reopen() {
	p.t.Helper()
	real, err := p.load()
	require.NoError(p.t, err)
	virtual, err := p.memory.Load()
	require.NoError(p.t, err)
	require.Equal(p.t, real, virtual)
	p.model.Check(p.t, p.badger, real)
	p.model.Check(p.t, p.memory, virtual)
	p.moments = []storetest.Model{p.model}
}

// save gives both the same, and remembers what a crash may take.
func (p *pair) save() {
	p.t.Helper()
	r := p.next.Next(p.model)
	require.NoError(p.t, p.badger.Save(r))
	require.NoError(p.t, p.memory.Save(r))
	p.model = p.model.After(r)
	if r.MustSync {
		p.moments = p.moments[:0]
	}
	p.moments = append(p.moments, p.model)
	require.Len(p.t, p.moments, p.memory.Unsynced()+1, "the virtual disk forgets what is unsynced")
}

// crash leaves of the real disk what a killed process leaves, asks how far back that is, and
// requires that the virtual disk can fall back exactly so far.
func (p *pair) crash() {
	p.t.Helper()
	image := filepath.Join(p.t.TempDir(), "data")
	copyAtOneMoment(p.t, p.dir, image)
	_ = p.badger.Close() // one that has failed says so again
	p.dir, p.badger = image, nil
	found, err := p.load()
	require.NoError(p.t, err)
	kept := len(p.moments) - 1
	for kept >= 0 && !p.moments[kept].Equal(found) {
		kept--
	}
	require.GreaterOrEqual(p.t, kept, 0, "the real disk shows what never was: tip %v", found.Tip)
	lost := len(p.moments) - 1 - kept
	if lost > 0 {
		p.seen["crash that lost unsynced"]++
	} else {
		p.seen["crash that lost nothing"]++
	}
	p.memory = p.memory.Crash(kept)
	p.model = p.moments[kept]
	p.closeReal()
	p.reopen()
}

// copyAtOneMoment copies a directory that is in use. When Badger has begun, listed or removed a
// file meanwhile, what was copied never was, and it begins again.
func copyAtOneMoment(t *testing.T, from, to string) {
	t.Helper()
	for before := layout(t, from); ; {
		require.NoError(t, os.RemoveAll(to))
		err := os.CopyFS(to, os.DirFS(from))
		after := layout(t, from)
		if before == after {
			require.NoError(t, err)
			return
		}
		before = after
	}
}

// layout is what changes when Badger begins, lists or removes a file.
func layout(t *testing.T, dir string) string {
	t.Helper()
	inside := filepath.Join(dir, "store")
	entries, err := os.ReadDir(inside)
	require.NoError(t, err)
	manifest, err := os.ReadFile(filepath.Join(inside, "MANIFEST"))
	require.NoError(t, err)
	all := string(manifest)
	for _, e := range entries {
		all += "\n" + e.Name()
	}
	return all
}

func (p *pair) closeReal() {
	p.t.Helper()
	require.NoError(p.t, p.badger.Close())
	p.badger = nil
}

// stop ends both in order.
func (p *pair) stop() {
	p.t.Helper()
	p.closeReal()
	require.NoError(p.t, p.memory.Close())
	p.memory = p.memory.Crash(0)
	p.moments = []storetest.Model{p.model}
}

// restart stops in order: what was not synced is there, too.
func (p *pair) restart() {
	p.t.Helper()
	p.stop()
	p.seen["stop in order"]++
	p.reopen()
}

// keep takes a backup of both disks, whole.
func (p *pair) keep() {
	p.t.Helper()
	p.stop()
	p.backup = &backup{
		filepath.Join(p.t.TempDir(), "kept"), p.memory.Image(), p.model,
	}
	require.NoError(p.t, os.CopyFS(p.backup.dir, os.DirFS(p.dir)))
	p.reopen()
}

// oneSlot damages one slot of both guards.
func (p *pair) oneSlot() {
	p.t.Helper()
	p.stop()
	slot := p.rng.IntN(2)
	p.flip(p.dir, slot)
	p.memory.DamageGuard(slot)
	p.seen["one slot damaged"]++
	p.reopen()
}

// flip changes a byte in a slot of the guard of a directory.
func (p *pair) flip(dir string, slot int) {
	p.t.Helper()
	path := filepath.Join(dir, "guard")
	raw, err := os.ReadFile(path)
	require.NoError(p.t, err)
	raw[slot*slotBytes+100] ^= 1
	require.NoError(p.t, os.WriteFile(path, raw, 0o600))
}

// wholeBack puts both disks back with their guards: neither can see it.
func (p *pair) wholeBack() {
	p.t.Helper()
	if p.backup == nil {
		return
	}
	p.stop()
	p.dir = filepath.Join(p.t.TempDir(), "data")
	require.NoError(p.t, os.CopyFS(p.dir, os.DirFS(p.backup.dir)))
	p.memory = p.memory.Restore(p.backup.image, true)
	p.model = p.backup.model
	p.seen["disk and guard put back"]++
	p.reopen()
}

// sentinels are the refusals that both must agree on.
var sentinels = []error{
	store.ErrMissing, store.ErrBehindGuard, store.ErrGuardDamaged, store.ErrWrongIdentity,
}

// refused does damage to copies of both disks that must keep the node from signing, and requires
// that both say the same of it. The disks themselves stay as they are.
func (p *pair) refused(what string, real func(dir string), virtual func() *store.Memory) {
	p.t.Helper()
	p.stop()
	whole := p.dir
	p.dir = filepath.Join(p.t.TempDir(), "data")
	require.NoError(p.t, os.CopyFS(p.dir, os.DirFS(whole)))
	real(p.dir)
	_, realErr := p.load()
	_, virtualErr := virtual().Load()
	require.True(p.t, store.MustNotSign(realErr), "%s: %v", what, realErr)
	for _, sentinel := range sentinels {
		require.Equal(p.t, errors.Is(realErr, sentinel), errors.Is(virtualErr, sentinel),
			"%s: the real disk says %v, the virtual one %v", what, realErr, virtualErr)
	}
	p.seen[what]++
	p.dir = whole
}

// twin returns a virtual disk that holds the same, to be spoilt.
func (p *pair) twin() *store.Memory {
	whole := *p.memory
	return whole.Crash(0)
}

func (p *pair) bothSlots() {
	p.refused("both slots damaged", func(dir string) {
		p.flip(dir, 0)
		p.flip(dir, 1)
	}, func() *store.Memory {
		m := p.twin()
		m.DamageGuard(0)
		m.DamageGuard(1)
		return m
	})
	p.reopen()
}

func (p *pair) gone() {
	p.refused("store gone", func(dir string) {
		require.NoError(p.t, os.RemoveAll(filepath.Join(dir, "store")))
	}, func() *store.Memory {
		m := p.twin()
		m.Lose()
		return m
	})
	p.reopen()
}

// storeBack puts the store back and leaves the guard, if something was synced since.
func (p *pair) storeBack() {
	if p.backup == nil || p.backup.model.Tip() == p.model.Tip() {
		return
	}
	p.refused("store put back behind its guard", func(dir string) {
		inside := filepath.Join(dir, "store")
		require.NoError(p.t, os.RemoveAll(inside))
		require.NoError(p.t, os.CopyFS(inside, os.DirFS(filepath.Join(p.backup.dir, "store"))))
	}, func() *store.Memory { return p.twin().Restore(p.backup.image, false) })
	p.reopen()
}

// unlinked gives both what does not follow from what they hold: both refuse, and save no more.
func (p *pair) unlinked() {
	p.t.Helper()
	tip := p.model.Tip()
	tip.Hash[0] ^= 1
	wrong := &bftraft.Ready{MustSync: true,
		Blocks:  []*bftraft.Block{bftraft.NewBlock(tip, make([]bftraft.Entry, 1))},
		Commits: []*quorumcert.Commit{{Term: 1, Index: tip.Index + 1, Hash: tip.Hash}},
	}
	require.ErrorIs(p.t, p.badger.Save(wrong), store.ErrUnlinked)
	require.ErrorIs(p.t, p.memory.Save(wrong), store.ErrUnlinked)
	require.ErrorIs(p.t, p.badger.Save(&bftraft.Ready{}), store.ErrUnlinked)
	require.ErrorIs(p.t, p.memory.Save(&bftraft.Ready{}), store.ErrUnlinked)
	p.seen["unlinked save"]++
	p.crash()
}

// TestVirtualDiskShowsWhatTheRealOneDoes is the conformance test.
func TestVirtualDiskShowsWhatTheRealOneDoes(t *testing.T) {
	seen := map[string]int{}
	for seed := *first; seed < *first+*seeds; seed++ {
		t.Logf("-args -seeds=1 -first=%d", seed)
		p := newPair(t, seed, seen)
		happen := []func(){
			p.crash, p.crash, p.crash, p.restart, p.keep, p.oneSlot, p.bothSlots, p.gone,
			p.storeBack, p.wholeBack, p.unlinked,
		}
		for range rounds {
			for range 1 + p.rng.IntN(5) {
				p.save()
			}
			happen[p.rng.IntN(len(happen))]()
		}
		p.restart()
		p.closeReal()
	}
	for _, what := range []string{
		"crash that lost unsynced", "crash that lost nothing", "stop in order", "encrypted",
		"one slot damaged", "both slots damaged", "store gone", "unlinked save",
		"store put back behind its guard", "disk and guard put back",
	} {
		t.Logf("%-34s %d", what, seen[what])
		require.NotZero(t, seen[what], "no history had this: %s", what)
	}
}
