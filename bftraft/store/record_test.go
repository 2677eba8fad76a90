package store_test

import (
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

// recorded makes a store with n records in its journal, the last of which has two sectors, and
// leaves it open.
func recorded(t *testing.T, n int) (dir string, s *store.Badger, m storetest.Model) {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 6))
	dir = create(t, "a")
	s, r := open(t, dir)
	m = storetest.NewModel(storetest.Identity.Cluster)
	first, ok := s.Block(1)
	require.True(t, ok)
	m = m.After(&bftraft.Ready{Blocks: []*bftraft.Block{first}})
	require.Equal(t, r.Tip, m.Tip())
	for range n {
		m = committed(t, s, m, chainOf(rng, m.Tip(), 2, 80)...)
	}
	return dir, s, m
}

func imageOf(t *testing.T, dir string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "data")
	copyTree(t, dir, image)
	return image
}

// change changes a file of an image.
func change(t *testing.T, dir, name string, how func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, how(raw), 0o600))
}

// TestDamagedJournalMustNotSign: what was in it was promised, and is nowhere else.
func TestDamagedJournalMustNotSign(t *testing.T) {
	const page, records = 4096, 5
	dir, _, m := recorded(t, records)
	other, _, _ := recorded(t, records)
	flipped := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 4; return b }
	}
	cleared := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { clear(b[at : at+page]); return b }
	}
	damages := map[string]func([]byte) []byte{
		"cut": func(b []byte) []byte { return b[:3*page] },
		"of another store": func([]byte) []byte {
			raw, err := os.ReadFile(filepath.Join(other, "journal"))
			require.NoError(t, err)
			return raw
		},
	}
	for k := range records {
		name := string(rune('1' + k))
		damages["flip in record "+name] = flipped(k*page + 100)
		damages["flip in trailer "+name] = flipped(k*page + 480)
		damages["record "+name+" lost"] = cleared(k * page)
	}
	for name, damage := range damages {
		image := imageOf(t, dir)
		change(t, image, "journal", damage)
		_, err := loadOnce(image)
		require.True(t, store.MustNotSign(err), "%s: %v", name, err)
	}
	image := imageOf(t, dir)
	require.NoError(t, os.Remove(filepath.Join(image, "journal")))
	_, err := loadOnce(image)
	require.ErrorIs(t, err, store.ErrMissing)
	_, err = os.Stat(filepath.Join(image, "journal"))
	require.ErrorIs(t, err, os.ErrNotExist, "it was made anew")
	r, err := loadOnce(imageOf(t, dir))
	require.NoError(t, err)
	require.True(t, m.Equal(r))
}

// TestOlderJournalMustNotSign puts back a journal as it was some records ago: no record of it is
// damaged, so it is for the guard to miss the others.
func TestOlderJournalMustNotSign(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	dir, s, m := recorded(t, 2)
	old, err := os.ReadFile(filepath.Join(dir, "journal"))
	require.NoError(t, err)
	guard, err := os.ReadFile(filepath.Join(dir, "guard"))
	require.NoError(t, err)
	more := &bftraft.Ready{Blocks: chainOf(rng, m.Tip(), 1, 80), MustSync: true}
	require.NoError(t, s.Save(more)) // no vote, lock or mark of which more is known would show it
	after := m.After(more)
	image := imageOf(t, dir)
	change(t, image, "journal", func([]byte) []byte { return old })
	_, err = loadOnce(image)
	require.ErrorIs(t, err, store.ErrBehindGuard)

	image = imageOf(t, dir)
	change(t, image, "guard", func([]byte) []byte { return guard })
	r, err := loadOnce(image)
	require.NoError(t, err, "the kernel had not flushed the guard")
	require.True(t, after.Equal(r))
	change(t, image, "journal", func([]byte) []byte { return old })
	r, err = loadOnce(image)
	require.NoError(t, err, "by then all was in Badger")
	require.True(t, after.Equal(r))
}

// TestJournalOfABranchMustNotSign: as many records behind the same batch or more, and others.
func TestJournalOfABranchMustNotSign(t *testing.T) {
	for _, records := range []int{3, 5} {
		branchMustNotSign(t, records)
	}
}

func branchMustNotSign(t *testing.T, records int) {
	dir := create(t, "a")
	other := imageOf(t, dir)
	for seed, branch := range []struct {
		dir     string
		records int
	}{{dir, records}, {other, 3}} {
		s, r := open(t, branch.dir)
		rng := rand.New(rand.NewPCG(7, uint64(seed)))
		for _, b := range chainOf(rng, r.Tip, branch.records, 80) {
			require.NoError(t, s.Save(&bftraft.Ready{Blocks: []*bftraft.Block{b}, MustSync: true}))
		}
	}
	image := imageOf(t, dir)
	require.NoError(t, copyFile(filepath.Join(other, "guard"), filepath.Join(image, "guard")))
	_, err := loadOnce(image)
	require.ErrorIs(t, err, store.ErrBehindGuard)
	_, err = loadOnce(imageOf(t, dir))
	require.NoError(t, err)
}

// TestTornRecordIsAbsentOrRefused: a record of which a sector is missing was never finished, unless
// the guard says so.
func TestTornRecordIsAbsentOrRefused(t *testing.T) {
	const page, sector = 4096, 512
	dir, s, m := recorded(t, 2)
	guard, err := os.ReadFile(filepath.Join(dir, "guard"))
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(9, 10))
	committed(t, s, m, chainOf(rng, m.Tip(), 1, 3000)...)
	for lost := range 3000 / sector {
		torn := imageOf(t, dir)
		change(t, torn, "journal", func(b []byte) []byte {
			clear(b[2*page+lost*sector : 2*page+(lost+1)*sector])
			return b
		})
		_, err := loadOnce(torn)
		require.ErrorIs(t, err, store.ErrBehindGuard)
		change(t, torn, "guard", func([]byte) []byte { return guard })
		r, err := loadOnce(torn)
		require.NoError(t, err)
		require.True(t, m.Equal(r), "sector %d", lost)
	}
}

// TestRecordTornTwiceIsAbsent tears two records that would stand in the same place, so that what is
// left of the one and of the other is a whole: of a record that nobody wrote.
func TestRecordTornTwiceIsAbsent(t *testing.T) {
	const sector = 512
	dir := create(t, "a")
	s, r := open(t, dir)
	blocks := func(seed uint64) *bftraft.Ready {
		return &bftraft.Ready{
			Blocks:   chainOf(rand.New(rand.NewPCG(seed, 1)), r.Tip, 1, 3000),
			MustSync: true,
		}
	}
	once := imageOf(t, dir)
	require.NoError(t, s.Save(blocks(1)))
	first, err := os.ReadFile(filepath.Join(dir, "journal"))
	require.NoError(t, err)
	change(t, once, "journal", func(b []byte) []byte {
		copy(b[sector:], first[sector:7*sector])
		return b
	})
	s, got := open(t, once)
	require.Equal(t, r.Tip, got.Tip)
	twice := imageOf(t, once)
	require.NoError(t, s.Save(blocks(2)))
	second, err := os.ReadFile(filepath.Join(once, "journal"))
	require.NoError(t, err)
	change(t, twice, "journal", func(b []byte) []byte {
		copy(b[:sector], second)
		return b
	})
	got, err = loadOnce(twice)
	require.NoError(t, err)
	require.Equal(t, r.Tip, got.Tip)
	got, err = loadOnce(imageOf(t, once))
	require.NoError(t, err)
	require.Greater(t, got.Tip.Index, r.Tip.Index, "what was not torn is there")
}

// TestSavedThatTookItselfBackIsHandedOver: records with nothing left of what they said.
func TestSavedThatTookItselfBackIsHandedOver(t *testing.T) {
	for name, then := range map[string]func(s *store.Badger, dir string) error{
		"killed":   func(*store.Badger, string) error { return nil },
		"closed":   func(s *store.Badger, _ string) error { return s.Close() },
		"rotation": func(s *store.Badger, _ string) error { return s.RotateDataKey(true) },
	} {
		dir := filepath.Join(t.TempDir(), "data")
		require.NoError(t, store.CreateEncrypted(dir, storetest.Identity, master))
		s, err := store.Open(dir, withKey(master))
		require.NoError(t, err)
		r, err := s.Load()
		require.NoError(t, err)
		b := chainOf(rand.New(rand.NewPCG(1, 1)), r.Tip, 1, 100)
		require.NoError(t, s.Save(&bftraft.Ready{Blocks: b, MustSync: true}))
		require.NoError(t, s.Save(&bftraft.Ready{Truncated: true, MustSync: true}))
		batch := s.Batch()
		require.NoError(t, then(s, dir), name)
		image := imageOf(t, dir)
		require.NoError(t, s.Close())
		for range 2 {
			s, err = store.Open(image, withKey(master))
			require.NoError(t, err, name)
			got, err := s.Load()
			require.NoError(t, err, name)
			require.Equal(t, r.Tip, got.Tip, name)
			require.Equal(t, batch+1, s.Batch(), "%s: handed over once", name)
			require.NoError(t, s.Close())
		}
	}
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, store.Create(dir, storetest.Identity))
	plain := withKey(crypto.SecretKey{})
	s, err := store.Open(dir, plain)
	require.NoError(t, err)
	_, err = s.Load()
	require.NoError(t, err)
	require.NoError(t, s.Save(&bftraft.Ready{MustSync: true}))
	require.NoError(t, s.Close())
	require.NoError(t, store.Encrypt(dir, withKey(master), func() error { return nil }))
	s, err = store.Open(dir, withKey(master))
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

// TestReadOnlyShowsTheJournal: what a killed node left in it is shown, and left there.
func TestReadOnlyShowsTheJournal(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	dir, s, m := recorded(t, 2)
	_, err := s.Load() // Badger takes them
	require.NoError(t, err)
	for range 2 {
		m = committed(t, s, m, chainOf(rng, m.Tip(), 2, 80)...)
	}
	hard := m.Hard
	hard.Term = 4
	hard.Proof.TC = &quorumcert.TC{
		Term: 3, Signatures: quorumcert.Signatures{Sigs: []crypto.Signature{}},
	}
	b := chainOf(rng, m.Tip(), 1, 50)[0]
	r := &bftraft.Ready{
		HardState: &hard, Blocks: []*bftraft.Block{b}, MustSync: true,
		Commits:  []*quorumcert.Commit{commitAt(b.End())},
		Evidence: []quorumcert.Evidence{{Votes: conflict()}},
	}
	require.NoError(t, s.Save(r))
	m = m.After(r)
	image := imageOf(t, dir)
	held := map[string]string{}
	for _, name := range []string{"journal", "guard"} {
		held[name] = contents(t, image)["/"+name]
	}
	o := small(storetest.Identity)
	o.ReadOnly = true
	for range 2 {
		s, err := store.Open(image, o)
		require.NoError(t, err)
		require.NoError(t, s.Verdict())
		got, err := s.Load()
		require.NoError(t, err)
		m.Check(t, s, got)
		terms, err := s.Terms()
		require.NoError(t, err)
		require.Equal(t, bftraft.Term(4), terms[len(terms)-1].Term)
		require.NoError(t, s.Close())
		for name, sum := range held {
			require.Equal(t, sum, contents(t, image)["/"+name], "%s was changed", name)
		}
	}
	change(t, image, "journal", func(b []byte) []byte { b[2*4096] ^= 1; return b })
	s, err = store.Open(image, o)
	require.NoError(t, err)
	require.ErrorIs(t, s.Verdict(), store.ErrDamaged)
	got, err := s.Load()
	require.NoError(t, err)
	require.EqualValues(t, 1+2*2+2*2, got.Tip.Index, "two records before the damage")
	require.NoError(t, s.Close())
	_, err = loadOnce(image)
	require.ErrorIs(t, err, store.ErrDamaged, "looking at it healed it")
}

// TestWhatWaitsIsRecordedWithWhatFollows: a Save that nothing is signed on becomes durable with the
// next that something is, in one record if there is room and in Badger if not.
func TestWhatWaitsIsRecordedWithWhatFollows(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, size := range []int{100, 40 << 10, 100 << 10, 300 << 10} {
		dir, s, m := recorded(t, 1)
		blocks := chainOf(rng, m.Tip(), 3, size)
		for i, b := range blocks {
			r := &bftraft.Ready{Blocks: []*bftraft.Block{b}, MustSync: i == 2}
			require.NoError(t, s.Save(r))
			before := m
			m = m.After(r)
			if r.MustSync {
				before = m
			}
			got, err := loadOnce(imageOf(t, dir))
			require.NoError(t, err)
			if !m.Equal(got) {
				require.False(t, r.MustSync, "%d bytes", size)
				require.LessOrEqual(t, got.Tip.Index, before.Tip().Index)
			}
		}
	}
}

// TestJournalBeginsAnewWhenBadgerHasTaken saves more than the journal holds.
func TestJournalBeginsAnewWhenBadgerHasTaken(t *testing.T) {
	dir, s, m := recorded(t, 0)
	rng := rand.New(rand.NewPCG(3, 5))
	batches := map[uint64]bool{}
	for range 2500 {
		m = committed(t, s, m, chainOf(rng, m.Tip(), 1, 50)...)
		batches[s.Batch()] = true
	}
	require.InDelta(t, 2500*2/store.MaxPendingItems, len(batches), 2, "two items in each Save")
	info, err := os.Stat(filepath.Join(dir, "journal"))
	require.NoError(t, err)
	require.EqualValues(t, 4<<20, info.Size())
	got, err := loadOnce(imageOf(t, dir))
	require.NoError(t, err)
	require.True(t, m.Equal(got))
}
