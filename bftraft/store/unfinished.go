package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
)

// Beside the file of a snapshot that is not finished lies another with the hash of its position and
// the length of each chunk, so that the next process can go on with it. Neither is flushed: whoever
// goes on judges each chunk.
const (
	partsSuffix = ".parts"
	lengthBytes = 4
)

func partsOf(path string) string { return strings.TrimSuffix(path, freshSuffix) + partsSuffix }

// listParts begins the list of the chunks of a file that was just created.
func (f *snapshotFile) listParts() error {
	var err error
	f.parts, err = os.OpenFile(partsOf(f.path), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.parts.WriteAt(f.info.At.Hash[:], 0)
	return err
}

// partAt is where the list has the length of chunk k.
func (f *snapshotFile) partAt(k int) int64 { return int64(len(f.info.At.Hash) + k*lengthBytes) }

// listPart notes the length of a chunk.
func (f *snapshotFile) listPart(k, length int) error {
	b := binary.BigEndian.AppendUint32(nil, uint32(length))
	_, err := f.parts.WriteAt(b, f.partAt(k))
	return err
}

// dropParts takes the list away.
func (f *snapshotFile) dropParts() error {
	if f.parts == nil {
		return nil
	}
	parts := f.parts
	f.parts = nil
	return errors.Join(parts.Close(), os.Remove(parts.Name()))
}

// openUnfinished opens a file that an earlier process did not finish; nil if there is nothing to go
// on with.
func openUnfinished(path string, m meta, seals *sealer, index bftraft.Index) *snapshotFile {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	f := &snapshotFile{file: file, path: path, seals: seals, chunks: newChunkWriter()}
	if f.parts, err = os.OpenFile(partsOf(path), os.O_RDWR, 0); err != nil {
		_ = file.Close()
		return nil
	}
	if !f.readUnfinished(m, index) {
		_ = f.close()
		return nil
	}
	return f
}

// readUnfinished reads what the file begins with, and as much of the list as there are chunks.
func (f *snapshotFile) readUnfinished(m meta, index bftraft.Index) bool {
	info, err := f.file.Stat()
	if err != nil {
		return false
	}
	if f.front, err = f.read(0, int64(frontBytes)); err != nil {
		return false
	}
	serial := [serialBytes]byte(f.front[frontBytes-serialBytes:])
	if string(f.front) != string(snapshotFront(m, index, serial)) {
		return false
	}
	list, err := os.ReadFile(f.parts.Name())
	if err != nil {
		return false
	}
	s := cryptobyte.String(list)
	f.info.At.Index = index
	if !s.CopyBytes(f.info.At.Hash[:]) {
		return false
	}
	var size uint32
	for s.ReadUint32(&size) && size > 0 && size <= bftraft.MaxChunkBytes {
		end := f.end() + int64(size) + int64(f.seals.overhead())
		if end > info.Size() || len(f.ends) == bftraft.MaxChunks {
			break
		}
		f.ends = append(f.ends, end)
		f.info.Bytes += int64(size)
	}
	f.info.Chunks = len(f.ends)
	return f.info.Chunks > 0
}

// cut forgets the chunks from k on.
func (f *snapshotFile) cut(k int) error {
	for len(f.ends) > k {
		last := f.end()
		f.ends = f.ends[:len(f.ends)-1]
		f.info.Bytes -= last - f.end() - int64(f.seals.overhead())
	}
	f.info.Chunks = k
	return errors.Join(f.chunks.wait(), f.file.Truncate(f.end()), f.parts.Truncate(f.partAt(k)))
}

// close closes the file, and leaves it for the next process if it is not finished.
func (f *snapshotFile) close() error {
	var err error
	if f.chunks != nil {
		if err = f.chunks.wait(); err != nil { // what can be read may not be on the disk
			err = errors.Join(err, f.dropParts())
		}
	}
	err = errors.Join(err, f.file.Close())
	if f.parts != nil {
		err = errors.Join(err, f.parts.Close())
	}
	return err
}

// loadUnfinished opens the newest of some files that were not finished, and takes away the others
// and all lists that have no file.
func (p *snapshots) loadUnfinished(dir string, names []string, m meta, seals *sealer) error {
	for k := len(names) - 1; k >= 0 && p.left == nil; k-- {
		if i, ok := indexOf(strings.TrimSuffix(names[k], freshSuffix)); ok {
			p.left = openUnfinished(filepath.Join(dir, names[k]), m, seals, i)
		}
	}
	lists, err := filepath.Glob(filepath.Join(dir, "*"+snapshotSuffix+partsSuffix))
	if err != nil {
		return err
	}
	for _, name := range names {
		lists = append(lists, filepath.Join(dir, name))
	}
	for _, path := range lists {
		if p.left != nil && (path == p.left.path || path == partsOf(p.left.path)) {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("tidy snapshots: %w", err)
		}
	}
	return nil
}

// Unwritten is how many chunks of the snapshot that was begun are not durable yet. What makes them
// durable is waited for by FinishSnapshot and by AddChunk when there are many. A failure is one of
// the store: see Err.
func (s *Badger) Unwritten() int {
	if s.snaps.begun == nil {
		return 0
	}
	n, err := s.snaps.begun.chunks.unwritten()
	_ = s.fail(err)
	return n
}

// Unfinished says what snapshot the process before this one began and did not finish, false for
// none. Its chunks may be damaged.
func (s *Badger) Unfinished() (SnapshotInfo, bool) {
	if s.db == nil || s.snaps.left == nil {
		return SnapshotInfo{}, false
	}
	return s.snaps.left.info, true
}

// ResumeSnapshot goes on with the snapshot that the process before this one began, as if this one
// had: BegunChunk shows what there is of it, and chunks are added behind.
func (s *Badger) ResumeSnapshot() error {
	if err := s.usable(); err != nil {
		return err
	}
	if s.snaps.left == nil {
		return ErrNoSnapshot
	}
	if err := errors.Join(s.follows().snapshot(s.snaps.left.info.At), s.Err()); err != nil {
		return err
	}
	s.snaps.begun, s.snaps.left = s.snaps.left, nil
	return nil
}

// BegunChunk returns a chunk of the snapshot that was begun, false if it is not there or cannot be
// read.
func (s *Badger) BegunChunk(k int) ([]byte, bool) {
	f := s.snaps.begun
	if s.db == nil || f == nil || k < 0 || k >= f.info.Chunks {
		return nil, false
	}
	if s.fail(f.chunks.wait()) != nil {
		return nil, false
	}
	data, err := f.chunk(k)
	return data, err == nil // others have it, whatever is wrong with the disk there
}

// CutSnapshot takes the chunks from k on away from the snapshot that was begun.
func (s *Badger) CutSnapshot(k int) error {
	if err := s.usable(); err != nil {
		return err
	}
	f := s.snaps.begun
	if f == nil || k < 0 || k > f.info.Chunks {
		return ErrNoSnapshot
	}
	if err := f.cut(k); err != nil {
		return s.fail(fmt.Errorf("cut snapshot: %w", err))
	}
	return nil
}
