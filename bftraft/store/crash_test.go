package store_test

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/bftraft/store/storetest"
	"tangaroa/internal/notdone"
	"tangaroa/quorumcert"
)

// chainOf returns n blocks after tip, each with one entry of size bytes.
func chainOf(rng *rand.Rand, tip bftraft.Position, n, size int) []*bftraft.Block {
	var blocks []*bftraft.Block
	for range n {
		data := make([]byte, size)
		for i := 0; i < size; i += 8 {
			var word [8]byte
			binary.LittleEndian.PutUint64(word[:], rng.Uint64())
			copy(data[i:], word[:])
		}
		b := bftraft.NewBlock(tip, []bftraft.Entry{{Kind: 1, Data: data}})
		blocks, tip = append(blocks, b), b.End()
	}
	return blocks
}

// found opens a copy of dir as it is now, and says what is there.
func found(t *testing.T, dir string) (bftraft.Restored, *store.Badger, error) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "data")
	copyTree(t, dir, image)
	s, err := store.Open(image, small(storetest.Identity))
	if err != nil {
		return bftraft.Restored{}, nil, err
	}
	t.Cleanup(func() { _ = s.Close() })
	r, err := s.Load()
	return r, s, err
}

// TestCrashInsideSaveLeavesBeforeOrAfter stops between any two steps of Saves that need one
// transaction and many, with and without a truncation.
func TestCrashInsideSaveLeavesBeforeOrAfter(t *testing.T) {
	rng := rand.New(rand.NewPCG(storetest.Seed(t), 1))
	for _, test := range []struct {
		name   string
		blocks int // before the Save
		cut    bool
		next   int // blocks in the Save
		size   int
	}{
		{"small", 3, false, 2, 1000},
		{"large", 3, false, 3, 900 << 10},
		{"small after small cut", 9, true, 2, 1000},
		{"large after large cut", 14000, true, 2, 2 << 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := storetest.NewModel(storetest.Identity.Cluster)
			base := &bftraft.Ready{
				Blocks: chainOf(rng, before.Tip(), test.blocks, 1), MustSync: true,
			}
			before = before.After(base)
			dir := create(t)
			s, _ := open(t, dir)
			require.NoError(t, s.Save(base))
			hard, at := before.Hard, before.Tip()
			hard.Term = 7
			r := &bftraft.Ready{HardState: &hard, MustSync: true}
			if test.cut {
				at = before.Blocks[2].End()
				r.Truncated, r.Truncate = true, at.Index
			}
			hard.Lock = quorumcert.Lock{Term: 6, Index: at.Index, Hash: at.Hash}
			r.Blocks = chainOf(rng, at, test.next, test.size)
			crashBetweenSteps(t, dir, s, r, before)
		})
	}
}

func crashBetweenSteps(t *testing.T, dir string, s *store.Badger, r *bftraft.Ready,
	before storetest.Model,
) {
	after := before.After(r)
	steps, err := s.Steps(r)
	require.NoError(t, err)
	changed := 0
	for i := range len(steps) + 1 {
		restored, image, err := found(t, dir)
		require.NoError(t, err, "before step %d of %d", i, len(steps))
		switch {
		case after.Equal(restored):
			changed++
		case before.Equal(restored):
			require.Zero(t, changed, "step %d took back what was there", i)
		default:
			require.Fail(t, "neither before nor after", "step %d: tip %d", i, restored.Tip.Index)
		}
		grow(t, image, "goes on")
		require.NoError(t, image.Close())
		if i < len(steps) {
			require.NoError(t, steps[i]())
		}
	}
	require.Positive(t, changed)
	require.LessOrEqual(t, changed, len(steps))
}

// TestGuardIsRaisedWhenLoaded crashes between a batch and its guard. What the node signs after the
// restart goes by the batch, so the store before it must then be refused.
func TestGuardIsRaisedWhenLoaded(t *testing.T) {
	dir := create(t, "a")
	kept := filepath.Join(t.TempDir(), "kept")
	copyTree(t, filepath.Join(dir, "store"), kept)
	guard, err := os.ReadFile(filepath.Join(dir, "guard"))
	require.NoError(t, err)
	s, _ := open(t, dir)
	grow(t, s, "b")
	require.NoError(t, s.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "guard"), guard, 0o600))
	r, err := loadOnce(dir)
	require.NoError(t, err)
	require.EqualValues(t, 2, r.Tip.Index)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "store")))
	copyTree(t, kept, filepath.Join(dir, "store"))
	_, err = loadOnce(dir)
	require.ErrorIs(t, err, store.ErrBehindGuard)
}

// TestDamagedRecordIsSeen changes records below Badger's own checksums, as a disk does that brings
// back an old page, or somebody who knows the format.
func TestDamagedRecordIsSeen(t *testing.T) {
	lost := func([]byte) []byte { return nil }
	last := func(v []byte) []byte { v[len(v)-1] ^= 1; return v }
	first := func(v []byte) []byte { v[0] ^= 1; return v }
	other := chainOf(rand.New(rand.NewPCG(1, 1)), bftraft.Position{}, 1, 9)[0].Raw()
	replaced := func(v []byte) []byte { return append(v[:64], other...) }
	for _, test := range []struct {
		name   string
		kind   byte
		change func([]byte) []byte
		seen   bool // when it is read from the open store
	}{
		{"block lost", 'b', lost, false},
		{"inner block lost", 'B', lost, false},
		{"block body", 'b', last, true},
		{"block header", 'b', first, true},
		{"block replaced", 'b', replaced, true},
		{"part lost", 'd', lost, true},
		{"part changed", 'd', last, true},
		{"commit changed", 'c', last, true},
		{"evidence changed", 'e', first, false},
		{"state changed", 'h', first, false},
		{"state lost", 'h', lost, false},
		{"identity lost", 'm', lost, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := create(t)
			s, r := open(t, dir)
			rng := rand.New(rand.NewPCG(1, 2))
			blocks := chainOf(rng, r.Tip, 2, 600<<10)
			blocks = append(blocks, chainOf(rng, blocks[1].End(), 3, 100)...)
			require.NoError(t, s.Save(&bftraft.Ready{
				Blocks:   blocks,
				Commits:  []*quorumcert.Commit{{Term: 1, Index: 2, Hash: blocks[1].Hash()}},
				Evidence: []quorumcert.Evidence{{Votes: conflict()}},
				MustSync: true,
			}))
			kind, back := test.kind, 0
			if kind == 'B' {
				kind, back = 'b', 2
			}
			require.NoError(t, s.Change(kind, back, test.change))
			_, inPart := s.Block(2)
			_, inOne := s.Block(5)
			_, commit := s.Commit(1)
			if test.seen {
				require.False(t, inPart && inOne && commit)
				require.ErrorIs(t, s.Err(), store.ErrDamaged)
				err := s.Save(&bftraft.Ready{MustSync: true})
				require.ErrorIs(t, err, store.ErrDamaged, "goes on signing")
			}
			require.NoError(t, s.Close())
			_, err := loadOnce(dir)
			require.True(t, store.MustNotSign(err), "%v", err)
		})
	}
}

func conflict() *quorumcert.VoteConflict {
	v := quorumcert.SignedVote{Vote: quorumcert.Vote{Candidate: 1}, Signer: 3}
	w := v
	w.Candidate = 2
	return &quorumcert.VoteConflict{A: v, B: w}
}

// wal returns the newest write-ahead log in dir.
func wal(t *testing.T, dir string) string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "store", "*.mem"))
	require.NoError(t, err)
	require.NotEmpty(t, logs)
	return logs[len(logs)-1]
}

// TestTornBatchIsAbsentOrRefused tears the last batch in Badger's write-ahead log. Before the
// guard was written that is a crash, and the store is what it was before; after, it is damage.
func TestTornBatchIsAbsentOrRefused(t *testing.T) {
	rng := rand.New(rand.NewPCG(storetest.Seed(t), 1))
	dir := create(t, "a", "b")
	s, r := open(t, dir)
	s.WithoutJournal()
	b := chainOf(rng, r.Tip, 1, 20000)[0]
	previous, err := os.ReadFile(wal(t, dir))
	require.NoError(t, err)
	guard, err := os.ReadFile(filepath.Join(dir, "guard"))
	require.NoError(t, err)
	require.NoError(t, s.Save(&bftraft.Ready{Blocks: []*bftraft.Block{b}, MustSync: true}))
	whole, err := os.ReadFile(wal(t, dir))
	require.NoError(t, err)
	require.Len(t, previous, len(whole), "the log was changed in between")
	from, to := 0, len(bytes.TrimRight(whole, "\x00"))
	for whole[from] == previous[from] {
		from++
	}
	for _, guarded := range []bool{false, true} {
		for i := range 12 {
			torn := bytes.Clone(whole)
			at := from + rng.IntN(to-from)
			switch i % 3 {
			case 0: // a prefix
				clear(torn[at:])
			case 1: // a prefix, then what was there by chance
				for k := at; k < to; k++ {
					torn[k] = byte(rng.Uint32())
				}
			case 2: // all but one byte
				torn[at] ^= 0x40
			}
			image := filepath.Join(t.TempDir(), "data")
			copyTree(t, dir, image)
			require.NoError(t, os.WriteFile(wal(t, image), torn, 0o600))
			if !guarded {
				require.NoError(t, os.WriteFile(filepath.Join(image, "guard"), guard, 0o600))
			}
			got, err := loadOnce(image)
			if guarded {
				require.ErrorIs(t, err, store.ErrBehindGuard, "torn at %d of %d", at-from, to-from)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, r.Tip, got.Tip, "torn at %d of %d", at-from, to-from)
		}
	}
}

// TestLogThatACrashLeftWithoutABytePasses: Badger makes a log, write-ahead or of values, and gives
// it its size in two steps. One that is cut to nothing is told from that by the guard.
func TestLogThatACrashLeftWithoutABytePasses(t *testing.T) {
	dir := create(t)
	s, _ := open(t, dir)
	grow(t, s, "a", "b")
	image := filepath.Join(t.TempDir(), "data")
	copyTree(t, dir, image)
	require.NoError(t, s.Close())
	for _, name := range []string{"00099.mem", "000002.vlog"} {
		require.NoError(t, os.WriteFile(filepath.Join(image, "store", name), nil, 0o600))
		r, err := loadOnce(image)
		require.NoError(t, err, name)
		require.EqualValues(t, 2, r.Tip.Index)
	}
	copyTree(t, dir, image)
	s, _ = open(t, image)
	grow(t, s.WithoutJournal(), "c")
	cut := filepath.Join(t.TempDir(), "data")
	copyTree(t, image, cut)
	require.NoError(t, s.Close())
	require.NoError(t, os.Truncate(wal(t, cut), 0))
	_, err := loadOnce(cut)
	require.ErrorIs(t, err, store.ErrBehindGuard)
}

func loadOnce(dir string) (bftraft.Restored, error) {
	s, err := store.Open(dir, small(storetest.Identity))
	if err != nil {
		return bftraft.Restored{}, err
	}
	defer func() { _ = s.Close() }()
	return s.Load()
}

// TestTornGuardIsHarmless tears the slot that was being written when the process died.
func TestTornGuardIsHarmless(t *testing.T) {
	dir := create(t, "a", "b")
	path := filepath.Join(dir, "guard")
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	s, _ := open(t, dir)
	grow(t, s, "c")
	require.NoError(t, s.Close())
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	written := 0
	if bytes.Equal(before[:4096], after[:4096]) {
		written = 1
	}
	for _, cut := range []int{1, 100, 200, 400, 4000, 4095} {
		torn := bytes.Clone(before)
		copy(torn[written*4096:], after[written*4096:written*4096+cut])
		require.NoError(t, os.WriteFile(path, torn, 0o600))
		r, err := loadOnce(dir)
		require.NoError(t, err, "torn at %d", cut)
		require.EqualValues(t, 3, r.Tip.Index)
	}
}

// TestSyncedSaveLeavesNoDirtyPage looks at the pages of the journal, or of Badger's write-ahead log
// and the guard, which it maps to see them: kill -9 cannot show a missing flush, as the kernel
// keeps the pages.
func TestSyncedSaveLeavesNoDirtyPage(t *testing.T) {
	if _, err := os.Stat("/proc/self/smaps"); err != nil {
		notdone.Skip(t, "the kernel does not show the pages of a mapping")
	}
	dir := create(t)
	var fs syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &fs))
	if fs.Type == tmpfsMagic {
		notdone.Skip(t, "TMPDIR is in memory, where pages stay dirty")
	}
	s, _ := open(t, dir)
	records := mapped(t, filepath.Join(dir, "journal"))
	for range 5 {
		grow(t, s, names(3)...)
		for page := range 3 {
			number := records[page*guardSlot+487]
			require.EqualValues(t, page+1, number, "a record is not where it was looked for")
		}
		require.Empty(t, dirtyPages(t, dir, "journal"))
	}
	require.NoError(t, s.Close())
	s, _ = open(t, dir)
	guard := mapped(t, filepath.Join(dir, "guard"))
	for range 5 {
		grow(t, s.WithoutJournal(), names(3)...)
		require.NotZero(t, guard[0]|guard[guardSlot], "both slots are in memory")
		require.Empty(t, dirtyPages(t, dir, ".mem", "guard"))
	}
	require.NoError(t, s.Close())
}

// tmpfsMagic is what statfs(2) calls a file system in memory.
const tmpfsMagic = 0x01021994

// guardSlot is the size of a slot of the guard.
const guardSlot = 4096

// mapped shows a file in the process's list of mappings.
func mapped(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	info, err := f.Stat()
	require.NoError(t, err)
	b, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Munmap(b)) })
	return b
}

// dirtyPages returns the lines of smaps that show dirty pages of files under dir that end so.
func dirtyPages(t *testing.T, dir string, ends ...string) []string {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	require.NoError(t, err)
	var dirty []string
	file, seen := "", 0
	for _, line := range strings.Split(string(smaps), "\n") {
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 6 && strings.HasPrefix(fields[5], dir) &&
			slices.ContainsFunc(ends, func(end string) bool {
				return strings.HasSuffix(fields[5], end)
			}):
			file = fields[5]
			seen++
		case len(fields) >= 5 && strings.Contains(fields[0], "-"):
			file = ""
		case file != "" && len(fields) == 3 && strings.HasSuffix(fields[0], "_Dirty:") &&
			fields[1] != "0":
			dirty = append(dirty, file+" "+line)
		}
	}
	require.GreaterOrEqual(t, seen, len(ends), "not all of %v is mapped", ends)
	return dirty
}

func filesOf(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	require.NoError(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files = append(files, strings.TrimPrefix(p, dir))
		}
		return err
	}))
	return files
}
