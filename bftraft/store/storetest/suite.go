package storetest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// Store is what the suite asks of a store.
type Store interface {
	Load() (bftraft.Restored, error)
	Save(*bftraft.Ready) error
	Block(bftraft.Index) (*bftraft.Block, bool)
	Commit(bftraft.Index) (*quorumcert.Commit, bool)
	BeginSnapshot(bftraft.Position) error
	AddChunk([]byte) error
	FinishSnapshot(proof []byte) error
	AbortSnapshot() error
	Unwritten() int
	Unfinished() (store.SnapshotInfo, bool)
	ResumeSnapshot() error
	BegunChunk(int) ([]byte, bool)
	CutSnapshot(int) error
	Snapshot() (store.SnapshotInfo, bool)
	SnapshotChunk(int) ([]byte, bool)
	HoldSnapshot() error
	ReleaseSnapshot() error
	HeldSnapshot() (store.SnapshotInfo, bool)
	HeldChunk(int) ([]byte, bool)
	DropLog(upTo bftraft.Position) error
	InstallSnapshot(bftraft.HardState, *quorumcert.Commit) error
	Err() error
	Close() error
}

// Disk is what a store stands on. It begins with an empty store of Identity on it.
type Disk interface {
	// Open opens the store as a new process of id would. What is wrong may show here or in Load.
	Open(id store.Identity) (Store, error)
	// Crash ends the process that has the store open. What was not synced may be gone.
	Crash()
	// Copy keeps a copy of the store, without its guard, and returns how to put it back while no
	// process has the store open.
	Copy() (putBack func())
	// DamageGuard makes a slot of the guard, 0 or 1, unreadable while the store is not open.
	DamageGuard(slot int)
	// RemoveStore takes the store away and leaves the guard, while the store is not open.
	RemoveStore()
	// DamageSnapshot makes the finished snapshot unreadable, and LoseSnapshot takes it away, while
	// the store is not open.
	DamageSnapshot()
	LoseSnapshot()
}

// Identity is whose store the suite uses.
var Identity = store.Identity{
	Cluster: crypto.Hash(crypto.DomainGenesis, []byte("storetest")),
	Node:    2,
	Key:     crypto.PublicKey{1, 2, 3},
}

type test struct {
	claim string
	run   func(*testing.T, Disk)
}

// Run runs the suite; newDisk makes a disk for one test.
func Run(t *testing.T, newDisk func(*testing.T) Disk) {
	tests := []test{
		{"NewStoreIsGenesis", newStoreIsGenesis},
		{"SavedIsRead", savedIsRead},
		{"LargeBatchIsRead", largeBatchIsRead},
		{"CrashAtEverySaveLosesOnlyUnsynced", crashAtEverySave},
		{"TruncationReplacesBlocks", truncationReplacesBlocks},
		{"UnlinkedReadyIsRefused", unlinkedReadyIsRefused},
		{"CommitsAreFoundInWhateverOrderTheyCame", commitsOfAnyOrder},
		{"LockMayLoseItsEntries", lockMayLoseItsEntries},
		{"StoreBehindGuardMustNotSign", storeBehindGuardMustNotSign},
		{"OneDamagedGuardSlotIsHarmless", oneDamagedGuardSlotIsHarmless},
		{"LoadMendsAGuardSlot", loadMendsAGuardSlot},
		{"TwoDamagedGuardSlotsMustNotSign", twoDamagedGuardSlotsMustNotSign},
		{"MissingStoreMustNotSign", missingStoreMustNotSign},
		{"OtherIdentityMustNotSign", otherIdentityMustNotSign},
		{"ClosedStoreSavesNothing", closedStoreSavesNothing},
	}
	tests = append(tests, snapshotTests...)
	for _, test := range tests {
		t.Run(test.claim, func(t *testing.T) { test.run(t, newDisk(t)) })
	}
}

// Seed returns the seed to use, and prints it.
func Seed(t *testing.T) uint64 {
	seed := rand.Uint64() % 1e9
	if s := os.Getenv("STORE_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("STORE_SEED=%d", seed)
	return seed
}

func open(t *testing.T, d Disk) (Store, bftraft.Restored) {
	t.Helper()
	s, err := d.Open(Identity)
	require.NoError(t, err)
	r, err := s.Load()
	require.NoError(t, err)
	return s, r
}

// refused says why the store does not let its node sign.
func refused(t *testing.T, d Disk, id store.Identity) error {
	t.Helper()
	s, err := d.Open(id)
	if err == nil {
		_, err = s.Load()
		require.NoError(t, s.Close())
	}
	require.Error(t, err)
	require.True(t, store.MustNotSign(err), "%v", err)
	return err
}

func newStoreIsGenesis(t *testing.T, d Disk) {
	s, r := open(t, d)
	NewModel(Identity.Cluster).Check(t, s, r)
	require.NoError(t, s.Close())
}

func savedIsRead(t *testing.T, d Disk) {
	g := NewGenerator(Seed(t))
	g.Large = true
	m := NewModel(Identity.Cluster)
	s, _ := open(t, d)
	for range 8 {
		for range 12 {
			r := g.Next(m)
			require.NoError(t, s.Save(r))
			m = m.After(r)
		}
		m.CheckReads(t, s)
		require.NoError(t, s.Close())
		var r bftraft.Restored
		s, r = open(t, d)
		m.Check(t, s, r)
	}
	require.NoError(t, s.Close())
}

// largeBatchIsRead saves more at once than any transaction of Badger takes: many bytes, then
// many blocks, then the truncation of them all.
func largeBatchIsRead(t *testing.T, d Disk) {
	g := NewGenerator(1)
	m := NewModel(Identity.Cluster)
	s, _ := open(t, d)
	save := func(r *bftraft.Ready) {
		hard := m.Hard
		hard.Term++
		r.HardState, r.MustSync = &hard, true
		require.NoError(t, s.Save(r))
		m = m.After(r)
		m.CheckReads(t, s)
		require.NoError(t, s.Close())
		var restored bftraft.Restored
		s, restored = open(t, d)
		m.Check(t, s, restored)
	}
	r := &bftraft.Ready{}
	tip := m.Tip()
	for _, size := range []int{3 << 20, 700 << 10, 1 << 10, 4<<20 - 100} {
		b := bftraft.NewBlock(tip, []bftraft.Entry{{Kind: 1, Data: g.bytes(size)}})
		r.Blocks, tip = append(r.Blocks, b), b.End()
	}
	save(r)
	r = &bftraft.Ready{}
	for range 15000 {
		b := bftraft.NewBlock(tip, []bftraft.Entry{{Kind: 1}})
		r.Blocks, tip = append(r.Blocks, b), b.End()
	}
	save(r)
	at := m.end(1)
	b := bftraft.NewBlock(at, []bftraft.Entry{{Kind: 1, Data: []byte("other")}})
	save(&bftraft.Ready{Truncated: true, Truncate: at.Index, Blocks: []*bftraft.Block{b}})
	require.NoError(t, s.Close())
}

// crashAtEverySave repeats one history, each time crashing after another Save. What is found must
// be a moment between the last synced Save and the last, and the history can go on from there.
func crashAtEverySave(t *testing.T, d Disk) {
	g := NewGenerator(Seed(t))
	m := NewModel(Identity.Cluster)
	s, _ := open(t, d)
	lost := 0
	for range 40 {
		moments := []Model{m} // those that a crash may lead back to
		for range 1 + g.rng.IntN(3) {
			r := g.Next(m)
			require.NoError(t, s.Save(r))
			m = m.After(r)
			if r.MustSync {
				moments = moments[:0]
			}
			moments = append(moments, m)
		}
		d.Crash()
		var r bftraft.Restored
		s, r = open(t, d)
		k := len(moments) - 1
		for k >= 0 && !moments[k].Equal(r) {
			k--
		}
		require.GreaterOrEqual(t, k, 0, "the crash left what never was: tip %d", r.Tip.Index)
		lost += len(moments) - 1 - k
		m = moments[k]
		m.Check(t, s, r)
	}
	require.NotZero(t, lost, "no crash ever took an unsynced Save: the disk is too kind")
	require.NoError(t, s.Close())
}

func truncationReplacesBlocks(t *testing.T, d Disk) {
	m := NewModel(Identity.Cluster)
	s, _ := open(t, d)
	chain := func(from bftraft.Position, name string, lengths ...int) []*bftraft.Block {
		var blocks []*bftraft.Block
		for _, n := range lengths {
			entries := make([]bftraft.Entry, n)
			for i := range entries {
				entries[i] = bftraft.Entry{Kind: bftraft.EntryRequest, Data: []byte(name)}
			}
			b := bftraft.NewBlock(from, entries)
			blocks, from = append(blocks, b), b.End()
		}
		return blocks
	}
	save := func(r *bftraft.Ready) {
		require.NoError(t, s.Save(r))
		m = m.After(r)
		m.CheckReads(t, s)
	}
	for _, sync := range []bool{true, false} {
		save(&bftraft.Ready{Blocks: chain(m.Tip(), "a", 2, 3, 1, 4), MustSync: sync})
		at := m.end(len(m.Blocks) - 3)
		save(&bftraft.Ready{
			Truncated: true, Truncate: at.Index, Blocks: chain(at, "b", 1, 1, 2), MustSync: sync,
		})
		at = m.end(len(m.Blocks) - 1)
		save(&bftraft.Ready{Truncated: true, Truncate: at.Index, MustSync: sync})
	}
	require.NoError(t, s.Close())
	s, r := open(t, d)
	m.Check(t, s, r)
	require.NoError(t, s.Close())
}

func unlinkedReadyIsRefused(t *testing.T, d Disk) {
	base := &bftraft.Ready{MustSync: true}
	m := NewModel(Identity.Cluster)
	b := bftraft.NewBlock(m.Tip(), make([]bftraft.Entry, 3))
	base.Blocks = []*bftraft.Block{b}
	base.Commits = []*quorumcert.Commit{NewGenerator(1).commit(b.End())}
	after := m.After(base)
	for _, r := range []*bftraft.Ready{
		{Blocks: []*bftraft.Block{b}},
		{Truncated: true, Truncate: 0},
		{Truncated: true, Truncate: 2},
		{HardState: &bftraft.HardState{Term: 1, Lock: quorumcert.Lock{Term: 1, Index: 3}}},
		{Commits: []*quorumcert.Commit{{Index: 3}}},
	} {
		s, restored := open(t, d)
		if restored.Tip.Index == 0 {
			require.NoError(t, s.Save(base))
		}
		require.ErrorIs(t, s.Save(r), store.ErrUnlinked)
		require.ErrorIs(t, s.Err(), store.ErrUnlinked)
		require.ErrorIs(t, s.Save(&bftraft.Ready{MustSync: true}), store.ErrUnlinked)
		require.NoError(t, s.Close())
		s, restored = open(t, d)
		after.Check(t, s, restored)
		require.NoError(t, s.Close())
	}
}

// commitsOfAnyOrder saves certificates of lower indexes after those of higher ones, and a second
// one of an index: the lowest at or above an index is found, whether it waits or is written.
func commitsOfAnyOrder(t *testing.T, d Disk) {
	s, r := open(t, d)
	tip := grow(t, s, r.Tip, "a", "b", "c", "d", "e")
	save := func(sync bool, i bftraft.Index, term bftraft.Term) {
		c := &quorumcert.Commit{Term: term, Index: i, Signatures: NewGenerator(1).signatures()}
		b, ok := s.Block(i)
		require.True(t, ok)
		c.Hash, c.Acks = b.Hash(), make([]quorumcert.AckedAt, len(c.Sigs))
		require.NoError(t, s.Save(&bftraft.Ready{
			Commits: []*quorumcert.Commit{c}, MustSync: sync,
		}))
	}
	finds := func(want ...bftraft.Index) { // at or above 1, 2, 3, 4, 5, 6; 0 for none
		for i, index := range want {
			c, ok := s.Commit(bftraft.Index(i + 1))
			require.Equal(t, index != 0, ok, "at or above %d", i+1)
			if ok {
				require.Equal(t, index, c.Index, "at or above %d", i+1)
			}
		}
	}
	save(true, 4, 1)
	finds(4, 4, 4, 4, 0, 0)
	save(false, 2, 1)
	finds(2, 2, 4, 4, 0, 0)
	save(false, 5, 1)
	save(false, 3, 1)
	finds(2, 2, 3, 4, 5, 0)
	save(false, 5, 2)
	c, ok := s.Commit(5)
	require.True(t, ok)
	require.Equal(t, bftraft.Term(2), c.Term, "the newer one of an index")
	save(true, 1, 1)
	finds(1, 2, 3, 4, 5, 0)
	require.NoError(t, s.Close())
	s, r = open(t, d)
	require.Equal(t, tip, r.Tip)
	require.Equal(t, bftraft.Index(5), r.Commit.Index)
	require.Equal(t, bftraft.Term(2), r.Commit.Term)
	finds(1, 2, 3, 4, 5, 0)
	require.NoError(t, s.Close())
}

// lockMayLoseItsEntries is what catch-up does to a node that alone learned of a certificate: the
// chain that is committed instead takes the entries away, and the lock stays what it was.
func lockMayLoseItsEntries(t *testing.T, d Disk) {
	genesis := bftraft.Position{Hash: Identity.Cluster}
	lost := bftraft.NewBlock(genesis, make([]bftraft.Entry, 3))
	kept := bftraft.NewBlock(genesis, make([]bftraft.Entry, 2))
	hard := bftraft.HardState{
		Term: 1, Lock: quorumcert.Lock{Term: 1, Index: lost.Last(), Hash: lost.Hash()},
	}
	later := hard
	later.Term = 2
	m, readies := NewModel(Identity.Cluster), []*bftraft.Ready{
		{HardState: &hard, Blocks: []*bftraft.Block{lost}, MustSync: true},
		{HardState: &later, Truncated: true, Blocks: []*bftraft.Block{kept}, MustSync: true},
		{Blocks: []*bftraft.Block{bftraft.NewBlock(kept.End(), make([]bftraft.Entry, 1))},
			MustSync: true},
	}
	for _, r := range readies {
		s, restored := open(t, d)
		m.Check(t, s, restored)
		require.NoError(t, s.Save(r))
		require.NoError(t, s.Close())
		m = m.After(r)
	}
	s, restored := open(t, d)
	m.Check(t, s, restored)
	require.NoError(t, s.Close())
}

// grow saves synced blocks, one for each name.
func grow(t *testing.T, s Store, tip bftraft.Position, names ...string) bftraft.Position {
	t.Helper()
	for _, name := range names {
		b := bftraft.NewBlock(tip, []bftraft.Entry{{Kind: 1, Data: []byte(name)}})
		require.NoError(t, s.Save(&bftraft.Ready{Blocks: []*bftraft.Block{b}, MustSync: true}))
		tip = b.End()
	}
	return tip
}

func storeBehindGuardMustNotSign(t *testing.T, d Disk) {
	s, r := open(t, d)
	tip := grow(t, s, r.Tip, "a", "b")
	require.NoError(t, s.Close())
	putBack := d.Copy()
	s, _ = open(t, d)
	grow(t, s, tip, "c")
	require.NoError(t, s.Close())
	putBack()
	require.ErrorIs(t, refused(t, d, Identity), store.ErrBehindGuard)
}

func oneDamagedGuardSlotIsHarmless(t *testing.T, d Disk) {
	s, r := open(t, d)
	tip := r.Tip
	for slot := range 2 {
		tip = grow(t, s, tip, "a", "b", "c")
		require.NoError(t, s.Close())
		d.DamageGuard(slot)
		s, r = open(t, d)
		require.Equal(t, tip, r.Tip)
	}
	require.NoError(t, s.Close())
}

// loadMendsAGuardSlot damages one slot after the other, while the node saves nothing.
func loadMendsAGuardSlot(t *testing.T, d Disk) {
	s, r := open(t, d)
	tip := grow(t, s, r.Tip, "a")
	require.NoError(t, s.Close())
	for _, slot := range []int{0, 1, 0, 1} {
		d.DamageGuard(slot)
		s, r = open(t, d)
		require.Equal(t, tip, r.Tip)
		require.NoError(t, s.Close())
	}
}

func twoDamagedGuardSlotsMustNotSign(t *testing.T, d Disk) {
	s, r := open(t, d)
	grow(t, s, r.Tip, "a", "b")
	require.NoError(t, s.Close())
	d.DamageGuard(0)
	d.DamageGuard(1)
	require.ErrorIs(t, refused(t, d, Identity), store.ErrGuardDamaged)
}

func missingStoreMustNotSign(t *testing.T, d Disk) {
	d.RemoveStore()
	require.ErrorIs(t, refused(t, d, Identity), store.ErrMissing)
}

func otherIdentityMustNotSign(t *testing.T, d Disk) {
	node, cluster, key := Identity, Identity, Identity
	node.Node++
	cluster.Cluster[0]++
	key.Key[0]++
	for _, id := range []store.Identity{node, cluster, key} {
		require.ErrorIs(t, refused(t, d, id), store.ErrWrongIdentity)
	}
	s, _ := open(t, d)
	require.NoError(t, s.Close())
}

func closedStoreSavesNothing(t *testing.T, d Disk) {
	s, r := open(t, d)
	b := bftraft.NewBlock(r.Tip, make([]bftraft.Entry, 1))
	ready := &bftraft.Ready{Blocks: []*bftraft.Block{b}}
	require.NoError(t, s.Save(ready))
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Save(ready), store.ErrClosed)
	_, ok := s.Block(1)
	require.False(t, ok)
	s, r = open(t, d)
	require.Equal(t, b.End(), r.Tip)
	require.NoError(t, s.Close())
}
