package store_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/bftraft/store/storetest"
	"tangaroa/crypto"
	"tangaroa/internal/notdone"
	"tangaroa/quorumcert"
)

// committed saves blocks with a lock and a commit certificate at the end.
func committed(t *testing.T, s *store.Badger, m storetest.Model, blocks ...*bftraft.Block,
) storetest.Model {
	t.Helper()
	hard := m.Hard
	tip := blocks[len(blocks)-1].End()
	hard.Lock = quorumcert.Lock{Term: hard.Term, Index: tip.Index, Hash: tip.Hash}
	hard.Mark = hard.Lock
	r := &bftraft.Ready{
		HardState: &hard, Blocks: blocks, MustSync: true,
		Commits: []*quorumcert.Commit{commitAt(tip)},
	}
	require.NoError(t, s.Save(r))
	return m.After(r)
}

func commitAt(at bftraft.Position) *quorumcert.Commit {
	return &quorumcert.Commit{
		Term: 1, Index: at.Index, Hash: at.Hash, Acks: []quorumcert.AckedAt{},
		Signatures: quorumcert.Signatures{Sigs: []crypto.Signature{}},
	}
}

// take gives a snapshot to a store, all but its end.
func take(t *testing.T, s *store.Badger, snapshot *storetest.Snapshot) {
	t.Helper()
	require.NoError(t, s.BeginSnapshot(snapshot.At))
	for _, chunk := range snapshot.Chunks {
		require.NoError(t, s.AddChunk(chunk))
	}
}

func snapshotAt(at bftraft.Position, text string) *storetest.Snapshot {
	return &storetest.Snapshot{
		At: at, Proof: []byte("proof of " + text),
		Chunks: [][]byte{
			bytes.Repeat([]byte(text), 300), []byte(text), bytes.Repeat([]byte(text), 900),
		},
	}
}

// held makes a store of three blocks, of which two are committed, with a snapshot at the first, and
// leaves it open.
func held(t *testing.T) (string, *store.Badger, storetest.Model) {
	t.Helper()
	dir := create(t)
	s, _ := open(t, dir)
	m := storetest.NewModel(storetest.Identity.Cluster)
	blocks := chainOf(rand.New(rand.NewPCG(1, 1)), m.Tip(), 3, 1000)
	for _, b := range blocks[:2] {
		m = committed(t, s, m, b)
	}
	m = m.With(snapshotAt(blocks[0].End(), "first"))
	take(t, s, m.Snapshot)
	require.NoError(t, s.FinishSnapshot(m.Snapshot.Proof))
	r := &bftraft.Ready{Blocks: blocks[2:], MustSync: true}
	require.NoError(t, s.Save(r))
	return dir, s, m.After(r)
}

// TestCrashAroundSnapshotsLeavesBeforeOrAfter stops between any two steps of what makes something
// durable about snapshots, where that takes one transaction and many.
func TestCrashAroundSnapshotsLeavesBeforeOrAfter(t *testing.T) {
	for name, begin := range map[string]func(*store.Badger, storetest.Model) (
		[]func() error, storetest.Model, error,
	){
		"finish": func(s *store.Badger, m storetest.Model) (
			[]func() error, storetest.Model, error,
		) {
			next := snapshotAt(m.Blocks[1].End(), "second")
			take(t, s, next)
			steps, err := s.FinishSteps(next.Proof)
			return steps, m.With(next), err
		},
		"finish in the same place": func(s *store.Badger, m storetest.Model) (
			[]func() error, storetest.Model, error,
		) {
			next := snapshotAt(m.Snapshot.At, "another")
			take(t, s, next)
			steps, err := s.FinishSteps(next.Proof)
			return steps, m.With(next), err
		},
		"drop": func(s *store.Badger, m storetest.Model) (
			[]func() error, storetest.Model, error,
		) {
			steps, err := s.DropSteps(m.Snapshot.At)
			return steps, m.Dropped(m.Snapshot.At), err
		},
		"install": func(s *store.Badger, m storetest.Model) (
			[]func() error, storetest.Model, error,
		) {
			at := bftraft.Position{Index: m.Tip().Index + 7, Hash: crypto.Digest{7}}
			next := snapshotAt(at, "fetched")
			take(t, s, next)
			require.NoError(t, s.FinishSnapshot(next.Proof))
			m = m.With(next)
			hard := m.Hard
			hard.Term = 9
			hard.Lock = quorumcert.Lock{Term: 8, Index: at.Index, Hash: at.Hash}
			steps, err := s.InstallSteps(hard, commitAt(at))
			return steps, m.Installed(hard, commitAt(at)), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, s, m := held(t)
			steps, after, err := begin(s, m)
			require.NoError(t, err)
			before := m
			if name == "install" {
				before = m.With(after.Snapshot)
			}
			crashAround(t, dir, steps, before, after)
		})
	}
}

func crashAround(t *testing.T, dir string, steps []func() error, before, after storetest.Model) {
	changed := 0
	for i := range len(steps) + 1 {
		restored, image, err := found(t, dir)
		require.NoError(t, err, "before step %d of %d", i, len(steps))
		info, ok := image.Snapshot()
		require.True(t, ok)
		if after.Equal(restored) && string(info.Proof) == string(after.Snapshot.Proof) {
			changed++
			after.Check(t, image, restored)
		} else {
			require.Zero(t, changed, "step %d took back what was there", i)
			before.Check(t, image, restored)
		}
		require.NoError(t, image.Close())
		if i < len(steps) {
			require.NoError(t, steps[i]())
		}
	}
	require.Positive(t, changed)
	require.LessOrEqual(t, changed, len(steps))
}

// TestStoreThatFailsInASnapshotHasOneOfTheTwo closes the store after each step, as a node does
// whose disk has failed: what was renamed already must not go, for what it has replaced is gone.
func TestStoreThatFailsInASnapshotHasOneOfTheTwo(t *testing.T) {
	last, changed := 0, 0
	for stop := 0; stop <= last; stop++ {
		dir, s, m := held(t)
		require.NoError(t, s.DropLog(m.Snapshot.At))
		m = m.Dropped(m.Snapshot.At)
		next := snapshotAt(m.Snapshot.At, "another")
		take(t, s, next)
		steps, err := s.FinishSteps(next.Proof)
		require.NoError(t, err)
		last = len(steps)
		for _, step := range steps[:stop] {
			require.NoError(t, step())
		}
		require.NoError(t, s.Close())
		s, r := open(t, dir)
		if info, ok := s.Snapshot(); ok && string(info.Proof) == string(next.Proof) {
			m = m.With(next)
			changed++
		}
		m.Check(t, s, r)
		require.NoError(t, s.Close())
	}
	require.Positive(t, changed)
	require.Less(t, changed, last)
}

// TestDropOfManyBlocksIsAtomic crashes between the steps of drops and installations over more
// blocks than one slice takes away, some in parts; and in a store that goes on taking them away.
func TestDropOfManyBlocksIsAtomic(t *testing.T) {
	rng := rand.New(rand.NewPCG(storetest.Seed(t), 1))
	dir := create(t)
	s, _ := open(t, dir)
	m := storetest.NewModel(storetest.Identity.Cluster)
	m = committed(t, s, m, chainOf(rng, m.Tip(), 2, 700<<10)...)
	m = committed(t, s, m, chainOf(rng, m.Tip(), 3000, 1)...)
	kept := chainOf(rng, m.Tip(), 3, 1000)
	m = committed(t, s, m, kept...)
	m = m.With(snapshotAt(m.Tip(), "all"))
	take(t, s, m.Snapshot)
	require.NoError(t, s.FinishSnapshot(m.Snapshot.Proof))

	image := filepath.Join(t.TempDir(), "data")
	copyTree(t, dir, image)
	other, _ := open(t, image)
	at := kept[1].End()
	steps, err := other.DropSteps(at)
	require.NoError(t, err)
	crashAround(t, image, steps, m, m.Dropped(at))
	require.NoError(t, other.Close())

	s.HaltSweeping()
	require.NoError(t, s.DropLog(at))
	m = m.Dropped(at)
	for _, data := range []string{"a", "b", "c", "d", "e"} {
		restored, image, err := found(t, dir)
		require.NoError(t, err)
		m.Check(t, image, restored)
		require.NoError(t, s.SweepSlice())
		m = committed(t, s, m, block(m.Tip(), data))
		m.CheckReads(t, s)
	}
	require.NoError(t, s.Close())
	s, restored := open(t, dir)
	m.Check(t, s, restored)
}

// TestDamagedSnapshotIsNamedAndRefused goes over the file of a snapshot, while the log still
// reaches back to the genesis: no change of it passes for anything.
func TestDamagedSnapshotIsNamedAndRefused(t *testing.T) {
	dir, s, m := held(t)
	require.NoError(t, s.Close())
	path := finished(t, dir)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	var damaged [][]byte
	for at := 0; at < len(whole); at++ {
		if at > 200 && at < len(whole)-200 {
			at += 50 // in the chunks
		}
		flipped := bytes.Clone(whole)
		flipped[at] ^= 1 << (at % 8)
		damaged = append(damaged, flipped)
	}
	for n := 0; n < len(whole); n += 1 + n/10 {
		damaged = append(damaged, whole[:n])
	}
	for _, more := range []int{1, 8, 4096} {
		damaged = append(damaged, append(bytes.Clone(whole), make([]byte, more)...))
	}
	damaged = append(damaged, append(bytes.Clone(whole), whole...))
	image := filepath.Join(t.TempDir(), "data")
	copyTree(t, dir, image)
	reader, _ := open(t, image)
	for i, raw := range damaged {
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		err := reader.VerifySnapshots(dir)
		require.ErrorIs(t, err, store.ErrDamaged, "change %d", i)
		require.ErrorContains(t, err, filepath.Base(path))
	}
	_, err = loadOnce(dir)
	require.ErrorIs(t, err, store.ErrDamaged)
	require.ErrorContains(t, err, filepath.Base(path))
	require.NoError(t, os.WriteFile(path, whole, 0o600))
	require.NoError(t, reader.VerifySnapshots(dir))
	s, r := open(t, dir)
	m.Check(t, s, r)
}

// TestChunkThatIsDamagedLaterEndsTheStore: as a block that cannot be read.
func TestChunkThatIsDamagedLaterEndsTheStore(t *testing.T) {
	dir, s, m := held(t)
	raw, err := os.ReadFile(finished(t, dir))
	require.NoError(t, err)
	flip(t, finished(t, dir), int64(len(raw))/2) // in the last of three
	for k, chunk := range m.Snapshot.Chunks[:2] {
		got, ok := s.SnapshotChunk(k)
		require.True(t, ok)
		require.Equal(t, chunk, got)
	}
	require.NoError(t, s.Err())
	_, ok := s.SnapshotChunk(2)
	require.False(t, ok)
	require.ErrorIs(t, s.Err(), store.ErrDamaged)
	require.ErrorIs(t, s.Save(&bftraft.Ready{MustSync: true}), store.ErrDamaged, "goes on signing")
}

// TestFileOfAnotherSnapshotIsRefused puts into the place of a snapshot what is whole, but not it.
func TestFileOfAnotherSnapshotIsRefused(t *testing.T) {
	dir, s, m := held(t)
	first, err := os.ReadFile(finished(t, dir))
	require.NoError(t, err)
	firstName := filepath.Base(finished(t, dir))
	next := snapshotAt(m.Blocks[1].End(), "other") // of as many bytes
	take(t, s, next)
	require.NoError(t, s.FinishSnapshot([]byte("proof of first")))
	require.NoError(t, s.DropLog(next.At))
	m = m.With(&storetest.Snapshot{At: next.At, Chunks: next.Chunks, Proof: []byte("proof of first")})
	m = m.Dropped(next.At)
	require.NoError(t, s.Close())
	path := finished(t, dir)
	second, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Len(t, second, len(first))

	stranger := fileOfAnotherStore(t, next)
	require.Len(t, stranger, len(second))

	s, _ = open(t, dir) // and of other contents at the same place
	take(t, s, snapshotAt(next.At, "OTHER"))
	require.NoError(t, s.FinishSnapshot([]byte("proof of first")))
	ends := s.SnapshotEnds()
	require.NoError(t, s.Close())
	third, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Len(t, third, len(second))

	files := map[string][]byte{
		"an older one": first, "of another store": stranger, "twice": slices.Concat(second, second),
	}
	for _, end := range ends {
		for name, other := range map[string][]byte{
			"an older one": first, "another store": stranger, "the same place": third,
		} {
			files[fmt.Sprintf("begins as of %s up to %d", name, end)] =
				slices.Concat(other[:end], second[end:])
			files[fmt.Sprintf("ends as of %s from %d", name, end)] =
				slices.Concat(second[:end], other[end:])
		}
	}
	for name, raw := range files {
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		_, err := loadOnce(dir)
		require.ErrorIs(t, err, store.ErrDamaged, name)
		require.ErrorContains(t, err, filepath.Base(path), name)
	}
	require.NoError(t, os.Remove(path))
	old := filepath.Join(filepath.Dir(path), firstName)
	require.NoError(t, os.WriteFile(old, first, 0o600))
	_, err = loadOnce(dir)
	require.ErrorIs(t, err, store.ErrDamaged, "the older one alone, and the log does not reach it")
	require.NoError(t, os.WriteFile(path, second, 0o600))
	s, r := open(t, dir) // the older one beside it
	m.Check(t, s, r)
	require.Equal(t, path, finished(t, dir))
	require.NoError(t, s.Close())
	require.NoError(t, os.Remove(path))
	_, err = loadOnce(dir)
	require.ErrorIs(t, err, store.ErrDamaged)
}

// fileOfAnotherStore is that of a store which has taken the same snapshot on the same chain.
func fileOfAnotherStore(t *testing.T, snapshot *storetest.Snapshot) []byte {
	t.Helper()
	dir := create(t)
	s, r := open(t, dir)
	committed(t, s, storetest.NewModel(storetest.Identity.Cluster),
		chainOf(rand.New(rand.NewPCG(1, 1)), r.Tip, 2, 1000)...)
	take(t, s, snapshot)
	require.NoError(t, s.FinishSnapshot([]byte("proof of first")))
	require.NoError(t, s.Close())
	raw, err := os.ReadFile(finished(t, dir))
	require.NoError(t, err)
	return raw
}

// TestSnapshotOfAnotherChainIsNoneOfTheBase: one at the base must be of the same block.
func TestSnapshotOfAnotherChainIsNoneOfTheBase(t *testing.T) {
	dir, s, m := held(t)
	at := bftraft.Position{Index: m.Snapshot.At.Index, Hash: crypto.Digest{9}}
	image := filepath.Join(t.TempDir(), "data")
	require.NoError(t, s.DropLog(m.Snapshot.At))
	copyTree(t, dir, image)
	require.NoError(t, s.PutSnapshot(at))
	require.NoError(t, s.Close())
	_, err := loadOnce(dir)
	require.ErrorIs(t, err, store.ErrDamaged)
	require.ErrorContains(t, err, "snapshot")
	_, err = loadOnce(image)
	require.NoError(t, err)
}

// TestWhatACrashLeftOfSnapshotsIsTakenAway: files that are unfinished or replaced go; those that
// are not ours stay.
func TestWhatACrashLeftOfSnapshotsIsTakenAway(t *testing.T) {
	dir, s, m := held(t)
	require.NoError(t, s.Close())
	path := finished(t, dir)
	in := filepath.Dir(path)
	for _, name := range []string{
		"00000000000000000002.snap.new", "00000000000000000009.snap.new.gone7",
		filepath.Base(path) + ".new",
		"00000000000000000000.snap", // what the cluster began with, which this one has replaced
		"notes", "7.snap", "x0000000000000000001.snap",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(in, name), []byte("anything"), 0o600))
	}
	s, r := open(t, dir)
	m.Check(t, s, r)
	entries, err := os.ReadDir(in)
	require.NoError(t, err)
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	require.Equal(t, []string{
		filepath.Base(path), "7.snap", "notes", "x0000000000000000001.snap",
	}, left)
}

// TestForgottenSnapshotLeavesNoFile: whether another is begun, or none, or the store is closed.
func TestForgottenSnapshotLeavesNoFile(t *testing.T) {
	dir, s, m := held(t)
	fresh := func() int {
		all, err := filepath.Glob(filepath.Join(dir, "snapshots", "*.new"))
		require.NoError(t, err)
		return len(all)
	}
	for _, b := range []*bftraft.Block{m.Blocks[1], m.Blocks[0], m.Blocks[1]} {
		require.NoError(t, s.BeginSnapshot(b.End()))
		require.Equal(t, 1, fresh())
	}
	require.NoError(t, s.AbortSnapshot())
	require.Zero(t, fresh())
	require.NoError(t, s.BeginSnapshot(m.Blocks[1].End()))
	require.NoError(t, s.Close())
	require.Zero(t, fresh())
}

// TestSnapshotOnAFullDiskIsRefusedAndTheStoreGoesOn: nothing of it is needed.
func TestSnapshotOnAFullDiskIsRefusedAndTheStoreGoesOn(t *testing.T) {
	_, s, m := held(t)
	at := m.Blocks[1].End()
	require.NoError(t, s.BeginSnapshot(at))
	require.NoError(t, s.AddChunk([]byte("one")))
	s.SetMinFreeBytes(1 << 62)
	require.ErrorIs(t, s.BeginSnapshot(at), store.ErrDiskFull)
	require.ErrorIs(t, s.AddChunk([]byte("two")), store.ErrDiskFull)
	require.ErrorIs(t, s.FinishSnapshot(nil), store.ErrDiskFull)
	s.SetMinFreeBytes(1)
	m.CheckReads(t, s)
	require.NoError(t, s.FinishSnapshot(nil))
	m.With(&storetest.Snapshot{At: at, Chunks: [][]byte{[]byte("one")}}).CheckReads(t, s)
}

// TestFailureOfTheDiskInASnapshotEndsTheStore: the directory is a device.
func TestFailureOfTheDiskInASnapshotEndsTheStore(t *testing.T) {
	dir := create(t, "a")
	require.NoError(t, os.Symlink(os.DevNull, filepath.Join(dir, "snapshots")))
	s, err := store.Open(dir, small(storetest.Identity))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	_, err = s.Load()
	require.ErrorIs(t, err, syscall.ENOTDIR)
	require.False(t, store.MustNotSign(err))

	_, s, m := held(t)
	require.NoError(t, s.BreakSnapshots(t.TempDir()))
	require.ErrorIs(t, s.BeginSnapshot(m.Blocks[1].End()), syscall.ENOTDIR)
	require.ErrorIs(t, s.Err(), syscall.ENOTDIR)
}

func TestReadOnlyStoreTakesNoSnapshot(t *testing.T) {
	dir, s, m := held(t)
	require.Panics(t, func() {
		fresh := &store.Badger{}
		_ = fresh.BeginSnapshot(m.Snapshot.At)
	}, "before it is loaded")
	require.NoError(t, s.Close())
	o := small(storetest.Identity)
	o.ReadOnly = true
	s, err := store.Open(dir, o)
	require.NoError(t, err)
	r, err := s.Load()
	require.NoError(t, err)
	m.Check(t, s, r)
	for _, err := range []error{
		s.BeginSnapshot(m.Snapshot.At), s.AddChunk([]byte{1}), s.FinishSnapshot(nil),
		s.AbortSnapshot(), s.DropLog(m.Snapshot.At), s.InstallSnapshot(m.Hard, nil),
	} {
		require.ErrorIs(t, err, store.ErrReadOnly)
	}
	require.NoError(t, s.Close())
}

// TestFinishedSnapshotLeavesNoDirtyPage: see TestSyncedSaveLeavesNoDirtyPage.
func TestFinishedSnapshotLeavesNoDirtyPage(t *testing.T) {
	if _, err := os.Stat("/proc/self/smaps"); err != nil {
		notdone.Skip(t, "the kernel does not show the pages of a mapping")
	}
	dir, s, m := held(t)
	var fs syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &fs))
	if fs.Type == tmpfsMagic {
		notdone.Skip(t, "TMPDIR is in memory, where pages stay dirty")
	}
	take(t, s, snapshotAt(m.Blocks[1].End(), "second")) // two pages, with the end in the last
	require.NoError(t, s.WaitForChunks())
	steps, err := s.FinishSteps([]byte("proof"))
	require.NoError(t, err)
	all, err := filepath.Glob(filepath.Join(dir, "snapshots", "*.new"))
	require.NoError(t, err)
	require.Len(t, all, 1)
	guard, pages := mapped(t, filepath.Join(dir, "guard")), mapped(t, all[0])
	require.NotZero(t, guard[0]|pages[0]|pages[guardSlot], "they are in memory")
	require.NoError(t, steps[0]())
	require.Empty(t, dirtyPages(t, dir, ".snap.new"))
}
