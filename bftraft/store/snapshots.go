package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tangaroa/bftraft"
)

const (
	snapshotsDir   = "snapshots"
	snapshotSuffix = ".snap"
	freshSuffix    = ".new"
	goneSuffix     = ".gone" // of what is being taken away
)

// snapshots are the files of snapshots: the finished one, one that is being written, one that the
// process before this one did not finish, and one that is kept for others beside newer ones, or is
// the finished one still. Each is nil for none.
type snapshots struct {
	finished *snapshotFile
	begun    *snapshotFile
	left     *snapshotFile
	held     *snapshotFile
	removed  remover
}

func snapshotName(i bftraft.Index) string {
	return fmt.Sprintf("%020d%s", uint64(i), snapshotSuffix)
}

// indexOf returns the index in the name of a finished file.
func indexOf(name string) (bftraft.Index, bool) {
	digits, ok := strings.CutSuffix(name, snapshotSuffix)
	i, err := strconv.ParseUint(digits, 10, 64)
	return bftraft.Index(i), ok && err == nil && name == snapshotName(bftraft.Index(i))
}

// usable says why nothing can be stored, and panics when nobody has asked yet what is.
func (s *Badger) usable() error {
	if err := errors.Join(s.Err(), s.fail(s.snaps.removed.failure())); err != nil {
		return err
	}
	if s.options.ReadOnly {
		return ErrReadOnly
	}
	if !s.loaded {
		panic("bftraft/store: used before Load")
	}
	return nil
}

// follows is what the store compares with.
func (s *Badger) follows() *follows {
	f := &follows{
		chainView: chainView{tip: s.tip, endHash: s.endHash},
		start:     s.start(), committed: s.committed, hard: &s.written.hard,
	}
	if s.pending.hard != nil {
		f.hard = s.pending.hard
	}
	if s.snaps.finished != nil {
		f.finished = s.snaps.finished.info.At
	}
	return f
}

// BeginSnapshot begins a snapshot of the state at a position, and forgets one that was begun before
// and not finished, by whatever process. A snapshot that does not follow from what is stored is
// refused, and nothing is changed; so it is with every call about snapshots that is refused.
func (s *Badger) BeginSnapshot(at bftraft.Position) error {
	if err := s.usable(); err != nil {
		return err
	}
	if err := errors.Join(s.follows().snapshot(at), s.Err()); err != nil {
		return err
	}
	if s.snaps.begun == nil { // what an earlier process left gives its room back
		if err := s.AbortSnapshot(); err != nil {
			return err
		}
	}
	if err := s.checkSpace(); err != nil {
		return err
	}
	if err := s.AbortSnapshot(); err != nil {
		return err
	}
	dir := filepath.Join(s.dir, snapshotsDir)
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = syncDirectory(s.dir)
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		path := filepath.Join(dir, snapshotName(at.Index)+freshSuffix)
		s.snaps.begun, err = createSnapshot(path, s.meta, s.seals, at)
	}
	if err != nil {
		return s.fail(fmt.Errorf("begin snapshot: %w", err))
	}
	return nil
}

// AddChunk adds a chunk of 1 to bftraft.MaxChunkBytes bytes to the snapshot that was begun. It is
// not durable yet. For want of space it is refused, and the store goes on.
func (s *Badger) AddChunk(data []byte) error {
	if err := s.usable(); err != nil {
		return err
	}
	f := s.snaps.begun
	if f == nil {
		return ErrNoSnapshot
	}
	if err := takesChunk(&f.info, data); err != nil {
		return err
	}
	if err := s.checkSpace(); err != nil {
		return err
	}
	if err := f.add(data); err != nil {
		return s.fail(fmt.Errorf("write snapshot: %w", err))
	}
	return nil
}

// FinishSnapshot ends the snapshot that was begun with a proof of at most MaxSnapshotProofBytes, of
// which the store knows nothing. On return the snapshot is durable, whole, and in the place of the
// one before; after a crash meanwhile, it is that or not there at all. The one before is gone even
// if the base stood on it, so who finishes a snapshot of a chain not its own must go on to install
// it, or does so after the next start.
func (s *Badger) FinishSnapshot(proof []byte) error {
	if err := s.usable(); err != nil {
		return err
	}
	steps, err := s.finishing(proof)
	if err != nil {
		return err
	}
	return s.fail(run("finish snapshot", steps))
}

func (s *Badger) finishing(proof []byte) ([]func() error, error) {
	f := s.snaps.begun
	if f == nil {
		return nil, ErrNoSnapshot
	}
	if err := takesProof(proof); err != nil {
		return nil, err
	}
	if err := errors.Join(s.follows().snapshot(f.info.At), s.Err(), s.checkSpace()); err != nil {
		return nil, err
	}
	return append(publish(f, func() error { return f.finish(proof) }), func() error {
		old := s.snaps.finished
		s.snaps.finished, s.snaps.begun = f, nil
		if old == nil || old == s.snaps.held {
			return nil
		}
		return s.snaps.forget(old)
	}), nil
}

// forget closes the file of a snapshot that is of no more use, and takes it away by and by unless
// another has its place.
func (p *snapshots) forget(f *snapshotFile) error {
	if p.finished != nil && p.finished.path == f.path {
		return f.file.Close()
	}
	p.removed.remove(f.file, f.path)
	return nil
}

// HoldSnapshot keeps the finished snapshot, which others fetch, beside newer ones until
// ReleaseSnapshot. The next process finds the newest alone. One is held at a time.
func (s *Badger) HoldSnapshot() error {
	if err := s.ReleaseSnapshot(); err != nil {
		return err
	}
	if s.snaps.held = s.snaps.finished; s.snaps.held == nil {
		return ErrNoSnapshot
	}
	return nil
}

// ReleaseSnapshot ends the hold of a snapshot, if there is one.
func (s *Badger) ReleaseSnapshot() error {
	if err := s.usable(); err != nil {
		return err
	}
	f := s.snaps.held
	s.snaps.held = nil
	if f == nil || f == s.snaps.finished {
		return nil
	}
	if err := s.snaps.forget(f); err != nil {
		return s.fail(fmt.Errorf("forget snapshot: %w", err))
	}
	return nil
}

// HeldSnapshot says what the snapshot is of that is held, false when none is.
func (s *Badger) HeldSnapshot() (SnapshotInfo, bool) {
	if s.db == nil || s.snaps.held == nil {
		return SnapshotInfo{}, false
	}
	return s.snaps.held.info, true
}

// HeldChunk returns a chunk of the snapshot that is held, as SnapshotChunk does.
func (s *Badger) HeldChunk(k int) ([]byte, bool) { return s.chunkOf(s.snaps.held, k) }

// publish returns the steps that write the rest of a file and give it its durable name.
func publish(f *snapshotFile, write func() error) []func() error {
	return []func() error{
		write,
		func() error {
			final := strings.TrimSuffix(f.path, freshSuffix)
			if err := os.Rename(f.path, final); err != nil {
				return err
			}
			f.path = final
			return f.dropParts()
		},
		func() error { return syncDirectory(filepath.Dir(f.path)) },
	}
}

// AbortSnapshot forgets the snapshot that was begun and not finished, if there is one.
func (s *Badger) AbortSnapshot() error {
	if err := s.usable(); err != nil {
		return err
	}
	unfinished := [...]*snapshotFile{s.snaps.begun, s.snaps.left}
	s.snaps.begun, s.snaps.left = nil, nil
	for _, f := range unfinished {
		if f == nil {
			continue
		}
		if err := s.snaps.removed.discard(f); err != nil {
			return s.fail(fmt.Errorf("forget snapshot: %w", err))
		}
	}
	return nil
}

// Snapshot says what the finished snapshot is of, false when there is none.
func (s *Badger) Snapshot() (SnapshotInfo, bool) {
	if s.db == nil || s.snaps.finished == nil {
		return SnapshotInfo{}, false
	}
	return s.snaps.finished.info, true
}

// SnapshotChunk returns a chunk of the finished snapshot as it was added. A chunk that should be
// there and cannot be read is a failure: see Err.
func (s *Badger) SnapshotChunk(k int) ([]byte, bool) { return s.chunkOf(s.snaps.finished, k) }

func (s *Badger) chunkOf(f *snapshotFile, k int) ([]byte, bool) {
	if s.db == nil || f == nil || k < 0 || k >= f.info.Chunks {
		return nil, false
	}
	data, err := f.chunk(k)
	return data, s.fail(err) == nil
}

// release closes the files. The next process may go on with one that is not finished.
func (p *snapshots) release() error {
	var err error
	switch {
	case p.begun == nil:
	case p.begun.info.Chunks == 0 && strings.HasSuffix(p.begun.path, freshSuffix):
		err = p.removed.discard(p.begun)
	default: // perhaps it has its name already, and the older one is gone
		err = p.begun.close()
	}
	if p.left != nil {
		err = errors.Join(err, p.left.close())
	}
	if p.held != nil && p.held != p.finished {
		err = errors.Join(err, p.held.file.Close()) // the next Load takes it away
	}
	if p.finished != nil {
		err = errors.Join(err, p.finished.file.Close())
	}
	err = errors.Join(err, p.removed.wait())
	p.finished, p.begun, p.left, p.held, p.removed.err = nil, nil, nil, nil, nil
	return err
}

// load opens and verifies the newest file of a store in dir, and the newest that was not finished,
// and takes away all others.
func (p *snapshots) load(dir string, m meta, seals *sealer) error {
	if err := p.release(); err != nil {
		return fmt.Errorf("close snapshot: %w", err)
	}
	path := filepath.Join(dir, snapshotsDir)
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for snapshots: %w", err)
	}
	var old, unfinished []string
	newest, some := bftraft.Index(0), false
	for _, e := range entries { // ascending by name, and so by index
		i, ok := indexOf(e.Name())
		switch {
		case ok && some:
			old = append(old, snapshotName(newest))
			newest = i
		case ok:
			newest, some = i, true
		case strings.HasSuffix(e.Name(), snapshotSuffix+freshSuffix):
			unfinished = append(unfinished, e.Name())
		case strings.Contains(e.Name(), snapshotSuffix+freshSuffix+goneSuffix):
			old = append(old, e.Name())
		}
	}
	if some {
		name := filepath.Join(path, snapshotName(newest))
		if p.finished, err = openSnapshot(name, m, seals, newest); err != nil {
			return err
		}
		if err := p.finished.verify(); err != nil {
			return err
		}
	}
	for _, name := range old {
		if err := os.Remove(filepath.Join(path, name)); err != nil {
			return fmt.Errorf("tidy snapshots: %w", err)
		}
	}
	return p.loadUnfinished(path, unfinished, m, seals)
}
