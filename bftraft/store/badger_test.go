package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/bftraft/store/storetest"
)

// small are options with Badger's smallest tables, so that tests turn them over often.
func small(id store.Identity) store.Options {
	return store.Options{
		Identity: id, MemtableBytes: store.MinMemtableBytes, MinFreeBytes: 1 << 20,
		Master: store.RunMaster(),
	}
}

// badgerDisk is a directory. A crash leaves the files as they were at that moment, which is what
// a process that was killed leaves: a copy is taken while the store is open, and goes on.
type badgerDisk struct {
	t   *testing.T
	dir string
}

func newBadgerDisk(t *testing.T) storetest.Disk {
	d := &badgerDisk{t: t, dir: filepath.Join(t.TempDir(), "data")}
	require.NoError(t, store.CreateEncrypted(d.dir, storetest.Identity, store.RunMaster()))
	return d
}

func (d *badgerDisk) Open(id store.Identity) (storetest.Store, error) {
	s, err := store.Open(d.dir, small(id))
	if err != nil {
		return nil, err
	}
	d.t.Cleanup(func() { _ = s.Close() })
	return s, nil
}

func (d *badgerDisk) Crash() {
	dir := filepath.Join(d.t.TempDir(), "data")
	copyTree(d.t, d.dir, dir)
	d.dir = dir
}

func (d *badgerDisk) Copy() func() {
	kept := d.t.TempDir()
	copyTree(d.t, d.dir, filepath.Join(kept, "data"))
	guard := filepath.Join(d.dir, "guard")
	return func() {
		require.NoError(d.t, copyFile(guard, filepath.Join(kept, "data", "guard")))
		require.NoError(d.t, os.RemoveAll(d.dir))
		copyTree(d.t, filepath.Join(kept, "data"), d.dir)
	}
}

func (d *badgerDisk) DamageGuard(slot int) {
	flip(d.t, filepath.Join(d.dir, "guard"), int64(slot)*4096+100)
}

func (d *badgerDisk) RemoveStore() {
	require.NoError(d.t, os.RemoveAll(filepath.Join(d.dir, "store")))
}

func (d *badgerDisk) DamageSnapshot() { flip(d.t, finished(d.t, d.dir), 400) }

func (d *badgerDisk) LoseSnapshot() { require.NoError(d.t, os.Remove(finished(d.t, d.dir))) }

// finished is the only file of a snapshot in dir.
func finished(t *testing.T, dir string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "snapshots", "*"))
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, ".snap", filepath.Ext(all[0]))
	return all[0]
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	require.NoError(t, err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b[:], at)
	require.NoError(t, errors.Join(err, f.Close()))
}

// copyTree copies a directory as it is at one moment, as a crash would leave it: when Badger has
// turned over its files meanwhile, what was copied never was, and it begins again.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	for before := layout(t, from); ; {
		require.NoError(t, os.RemoveAll(to))
		require.NoError(t, copyOnce(from, to))
		after := layout(t, from)
		if before == after {
			return
		}
		before = after
	}
}

// layout is what changes when Badger begins, lists or removes a file.
func layout(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	require.NoError(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		all.WriteString(p + "\n")
		if err == nil && e.Name() == "MANIFEST" {
			raw, err := os.ReadFile(p)
			all.Write(raw)
			return err
		}
		return err
	}))
	return all.String()
}

// copyOnce leaves holes where files are zero: Badger's are mostly that.
func copyOnce(from, to string) error {
	return filepath.WalkDir(from, func(p string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(p, from))
		if e.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		return copyFile(p, target)
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	buf, zero := make([]byte, 64<<10), make([]byte, 64<<10)
	var size int64
	for {
		n, err := io.ReadFull(in, buf)
		if n > 0 && !bytes.Equal(buf[:n], zero[:n]) {
			if _, err := out.WriteAt(buf[:n], size); err != nil {
				return errors.Join(err, out.Close())
			}
		}
		size += int64(n)
		if err != nil {
			break
		}
	}
	return errors.Join(out.Truncate(size), out.Close())
}

func TestBadgerPassesSuite(t *testing.T) { storetest.Run(t, newBadgerDisk) }

func open(t *testing.T, dir string) (*store.Badger, bftraft.Restored) {
	t.Helper()
	s, err := store.Open(dir, small(storetest.Identity))
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	r, err := s.Load()
	require.NoError(t, err)
	return s, r
}

// create makes a store with a synced block for each name.
func create(t *testing.T, names ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, store.CreateEncrypted(dir, storetest.Identity, store.RunMaster()))
	s, _ := open(t, dir)
	grow(t, s, names...)
	require.NoError(t, s.Close())
	return dir
}

func grow(t *testing.T, s *store.Badger, names ...string) {
	t.Helper()
	r, err := s.Load()
	require.NoError(t, err)
	tip := r.Tip
	for _, name := range names {
		b := block(tip, name)
		require.NoError(t, s.Save(&bftraft.Ready{Blocks: []*bftraft.Block{b}, MustSync: true}))
		tip = b.End()
	}
}

func names(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("block %d %s", i, strings.Repeat("x", 300))
	}
	return all
}

func TestCreateRefusesWhatExists(t *testing.T) {
	dir := create(t)
	require.ErrorIs(t, store.Create(dir, storetest.Identity), store.ErrExists)
	full := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(full, "file"), nil, 0o600))
	require.ErrorIs(t, store.Create(full, storetest.Identity), store.ErrExists)
	require.NoError(t, store.Create(t.TempDir(), storetest.Identity))
	file := filepath.Join(full, "file")
	require.ErrorIs(t, store.Create(file, storetest.Identity), syscall.ENOTDIR)
	_, err := os.Stat(file)
	require.NoError(t, err, "somebody's file is gone")
	left, err := filepath.Glob(filepath.Join(full, "*.new"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestSecondOpenerIsRefused(t *testing.T) {
	dir := create(t)
	s, _ := open(t, dir)
	_, err := store.Open(dir, small(storetest.Identity))
	require.ErrorIs(t, err, store.ErrLocked)
	require.False(t, store.MustNotSign(err))
	grow(t, s, "still works")
	require.NoError(t, s.Close())
	open(t, dir)
}

func TestMissingPartsMustNotSign(t *testing.T) {
	for _, part := range []string{".", "guard", "store", "store/MANIFEST", "store/KEYREGISTRY"} {
		dir := create(t, names(5)...)
		require.NoError(t, os.RemoveAll(filepath.Join(dir, part)))
		_, err := store.Open(dir, small(storetest.Identity))
		require.True(t, store.MustNotSign(err), "%s: %v", part, err)
		_, err = os.Stat(filepath.Join(dir, part))
		require.ErrorIs(t, err, fs.ErrNotExist, "%s was made anew", part)
	}
	dir := create(t)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "store")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "store"), 0o700))
	_, err := store.Open(dir, small(storetest.Identity))
	require.ErrorIs(t, err, store.ErrMissing)
}

// TestBranchOfStoreMustNotSign puts together the guard of one history with the store of another
// that is as long.
func TestBranchOfStoreMustNotSign(t *testing.T) {
	dir := create(t, "a")
	other := filepath.Join(t.TempDir(), "data")
	copyTree(t, dir, other)
	s, _ := open(t, dir)
	grow(t, s, "b")
	require.NoError(t, s.Close())
	s, _ = open(t, other)
	grow(t, s, "c")
	require.NoError(t, s.Close())
	require.NoError(t, copyFile(filepath.Join(other, "guard"), filepath.Join(dir, "guard")))
	_, err := store.Open(dir, small(storetest.Identity))
	require.ErrorIs(t, err, store.ErrBehindGuard)
}

func TestStoreOfOtherInstanceMustNotSign(t *testing.T) {
	dir, other := create(t, "a"), create(t, "a")
	require.NoError(t, copyFile(filepath.Join(other, "guard"), filepath.Join(dir, "guard")))
	_, err := store.Open(dir, small(storetest.Identity))
	require.ErrorIs(t, err, store.ErrWrongIdentity)
}

func TestCutGuardMustNotSign(t *testing.T) {
	dir := create(t, "a")
	require.NoError(t, os.Truncate(filepath.Join(dir, "guard"), 4000))
	_, err := store.Open(dir, small(storetest.Identity))
	require.ErrorIs(t, err, store.ErrGuardDamaged)
}

func TestReadOnlyShowsStoreThatMustNotSign(t *testing.T) {
	dir := create(t, "a", "b")
	kept := filepath.Join(t.TempDir(), "kept")
	copyTree(t, filepath.Join(dir, "store"), kept)
	for _, name := range []string{"c", "d"} { // each behind a batch of its own
		s, _ := open(t, dir)
		grow(t, s, name)
		require.NoError(t, s.Close())
	}
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "store")))
	copyTree(t, kept, filepath.Join(dir, "store"))
	o := small(storetest.Identity)
	o.ReadOnly = true
	s, err := store.Open(dir, o)
	require.NoError(t, err)
	require.ErrorIs(t, s.Verdict(), store.ErrBehindGuard)
	r, err := s.Load()
	require.NoError(t, err)
	require.EqualValues(t, 2, r.Tip.Index)
	require.ErrorIs(t, s.Save(&bftraft.Ready{MustSync: true}), store.ErrReadOnly)
	require.NoError(t, s.Close())
	_, err = store.Open(dir, small(storetest.Identity))
	require.ErrorIs(t, err, store.ErrBehindGuard, "looking at it healed it")
}

func TestFullDiskStopsSavingAndHealsWithSpace(t *testing.T) {
	dir := create(t, "a")
	s, err := store.Open(dir, small(storetest.Identity))
	require.NoError(t, err)
	r, err := s.Load()
	require.NoError(t, err)
	s.SetMinFreeBytes(1 << 62)
	b := chainOf(rand.New(rand.NewPCG(1, 2)), r.Tip, 1, 100)
	require.NoError(t, s.Save(&bftraft.Ready{Blocks: b, MustSync: true}), "the journal has room")
	blocks := chainOf(rand.New(rand.NewPCG(1, 1)), b[0].End(), 1, 300<<10)
	err = s.Save(&bftraft.Ready{Blocks: blocks, MustSync: true})
	require.ErrorIs(t, err, store.ErrDiskFull)
	require.False(t, store.MustNotSign(err))
	s.SetMinFreeBytes(1)
	require.ErrorIs(t, s.Save(&bftraft.Ready{MustSync: true}), store.ErrDiskFull, "not sticky")
	require.NoError(t, s.Close())

	o := small(storetest.Identity)
	o.MinFreeBytes = 1 << 62
	_, err = store.Open(dir, o)
	require.ErrorIs(t, err, store.ErrDiskFull)
	s, r = open(t, dir)
	require.Equal(t, b[0].End(), r.Tip, "what was in the journal is still there")
	grow(t, s, "b")
}
