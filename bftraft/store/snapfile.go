package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
)

// A file of a snapshot:
//
//	front | chunk 0 | chunk 1 | … | footer | length of the footer
//
// The front says whose store it is, of what index the snapshot is, and has a random serial number.
// Chunks and footer are sealed like records, for a place that is made of the front and of their
// number, so none can be taken for another's of any file. The footer has the position, the length
// of each chunk, and the proof; what it says must make up the file to the last byte.
const (
	snapshotMagic   = "tangaroa snapshot\n"
	snapshotVersion = 1
	serialBytes     = 16
	frontBytes      = len(snapshotMagic) + 1 + metaBytes + 8 + serialBytes
	tailBytes       = 8
	// footerPlace stands in the place of a chunk's number.
	footerPlace    = ^uint64(0)
	maxFooterBytes = 8 + 32 + 4 + 4*bftraft.MaxChunks + 4 + MaxSnapshotProofBytes + sealedBytes
)

// snapshotFile is the file of a snapshot, one that is being written or one that is finished.
type snapshotFile struct {
	file   *os.File
	path   string
	seals  *sealer
	front  []byte
	info   SnapshotInfo
	ends   []int64      // where each chunk ends in the file
	epoch  epoch        // of the data key that sealed all of it; zero for a plain store
	parts  *os.File     // nil once it is finished
	chunks *chunkWriter // likewise
}

func snapshotFront(m meta, index bftraft.Index, serial [serialBytes]byte) []byte {
	b := append(make([]byte, 0, frontBytes+8), snapshotMagic...)
	b = append(append(b, snapshotVersion), m.encode()...)
	return append(binary.BigEndian.AppendUint64(b, uint64(index)), serial[:]...)
}

// createSnapshot begins a file that nobody knows yet.
func createSnapshot(path string, m meta, seals *sealer, at bftraft.Position) (
	*snapshotFile, error,
) {
	var serial [serialBytes]byte
	rand.Read(serial[:])
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	f := &snapshotFile{
		file: file, path: path, seals: seals, front: snapshotFront(m, at.Index, serial),
		info: SnapshotInfo{At: at}, chunks: newChunkWriter(),
	}
	if _, err := file.WriteAt(f.front, 0); err != nil {
		return nil, errors.Join(err, f.close())
	}
	if err := f.listParts(); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *snapshotFile) place(number uint64) []byte {
	return binary.BigEndian.AppendUint64(slices.Clip(f.front), number)
}

// end returns where the last chunk ends.
func (f *snapshotFile) end() int64 {
	if n := len(f.ends); n > 0 {
		return f.ends[n-1]
	}
	return int64(frontBytes)
}

// add appends a chunk, which is written by and by.
func (f *snapshotFile) add(data []byte) error {
	c := queuedChunk{number: len(f.ends), from: f.end()}
	c.data = append(f.chunks.room(len(data)+f.seals.overhead()), data...)
	if err := f.chunks.add(f, c); err != nil {
		return err
	}
	f.ends = append(f.ends, c.from+int64(len(data)+f.seals.overhead()))
	f.info.Chunks++
	f.info.Bytes += int64(len(data))
	return nil
}

// write writes chunks and flushes them.
func (f *snapshotFile) write(batch []queuedChunk) error {
	for _, c := range batch {
		f.chunks.sealed = f.seals.sealTo(f.chunks.sealed, f.place(uint64(c.number)), c.data)
		if _, err := f.file.WriteAt(f.chunks.sealed, c.from); err != nil {
			return err
		}
		if err := f.listPart(c.number, len(c.data)); err != nil {
			return err
		}
	}
	return f.file.Sync()
}

// finish appends the footer and makes the file durable, all but its name.
func (f *snapshotFile) finish(proof []byte) error {
	if err := f.chunks.wait(); err != nil {
		return err
	}
	f.chunks.spare, f.chunks.sealed = nil, nil
	if err := f.file.Truncate(f.end()); err != nil { // an earlier process may have got so far
		return err
	}
	f.info.Proof = slices.Clone(proof)
	sealed := f.seals.seal(f.place(footerPlace), f.footer())
	f.readEpoch(sealed)
	sealed = binary.BigEndian.AppendUint64(sealed, uint64(len(sealed)))
	if _, err := f.file.WriteAt(sealed, f.end()); err != nil {
		return err
	}
	return f.file.Sync()
}

// readEpoch reads which data key sealed the file: no file is written with two.
func (f *snapshotFile) readEpoch(sealed []byte) {
	if f.seals.keys != nil {
		f.epoch, _ = epochOf(sealed)
	}
}

func (f *snapshotFile) footer() []byte {
	b := binary.BigEndian.AppendUint32(appendPosition(nil, f.info.At), uint32(len(f.ends)))
	from, overhead := int64(frontBytes), int64(f.seals.overhead())
	for _, end := range f.ends {
		b = binary.BigEndian.AppendUint32(b, uint32(end-from-overhead))
		from = end
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.info.Proof)))
	return append(b, f.info.Proof...)
}

// readFooter reads what footer wrote.
func (f *snapshotFile) readFooter(b []byte) bool {
	s := cryptobyte.String(b)
	var count, size uint32
	f.info, f.ends = SnapshotInfo{}, nil
	if !readPosition(&s, &f.info.At) || !s.ReadUint32(&count) || count > bftraft.MaxChunks {
		return false
	}
	for range count {
		if !s.ReadUint32(&size) || size == 0 || size > bftraft.MaxChunkBytes {
			return false
		}
		f.ends = append(f.ends, f.end()+int64(size)+int64(f.seals.overhead()))
		f.info.Bytes += int64(size)
	}
	f.info.Chunks = int(count)
	if !s.ReadUint32(&size) || size > MaxSnapshotProofBytes || int(size) != len(s) {
		return false
	}
	f.info.Proof = slices.Clone(s)
	return true
}

// openSnapshot opens a finished file of a store. It reads front and footer; verify does the rest.
func openSnapshot(path string, m meta, seals *sealer, index bftraft.Index) (
	*snapshotFile, error,
) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	f := &snapshotFile{file: file, path: path, seals: seals}
	if err := f.open(m, index); err != nil {
		_ = file.Close()
		return nil, err
	}
	return f, nil
}

func (f *snapshotFile) damaged(what string) error {
	return fmt.Errorf("%w: snapshot %s: %s", ErrDamaged, filepath.Base(f.path), what)
}

// read reads n bytes, all of which must be there.
func (f *snapshotFile) read(from, n int64) ([]byte, error) {
	b := make([]byte, n)
	_, err := f.file.ReadAt(b, from)
	if errors.Is(err, io.EOF) {
		return nil, f.damaged("it is too short")
	}
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	return b, nil
}

func (f *snapshotFile) open(m meta, index bftraft.Index) error {
	info, err := f.file.Stat()
	if err != nil {
		return fmt.Errorf("open snapshot: %w", err)
	}
	if f.front, err = f.read(0, int64(frontBytes)); err != nil {
		return err
	}
	serial := [serialBytes]byte(f.front[frontBytes-serialBytes:])
	if string(f.front) != string(snapshotFront(m, index, serial)) {
		return f.damaged("it is of another store, index or format")
	}
	tail, err := f.read(max(info.Size()-tailBytes, 0), tailBytes)
	if err != nil {
		return err
	}
	size := binary.BigEndian.Uint64(tail)
	if size > uint64(min(maxFooterBytes, info.Size()-tailBytes)) {
		return f.damaged("its end cannot be read")
	}
	from := info.Size() - tailBytes - int64(size)
	sealed, err := f.read(from, int64(size))
	if err != nil {
		return err
	}
	f.readEpoch(sealed)
	footer, ok := f.seals.unseal(f.place(footerPlace), sealed)
	if !ok || !f.readFooter(footer) || f.end() != from || f.info.At.Index != index {
		return f.damaged("its end cannot be read")
	}
	return nil
}

// chunk reads chunk k, which is one of those that there are.
func (f *snapshotFile) chunk(k int) ([]byte, error) {
	from := int64(frontBytes)
	if k > 0 {
		from = f.ends[k-1]
	}
	sealed, err := f.read(from, f.ends[k]-from)
	if err != nil {
		return nil, err
	}
	data, ok := f.seals.unseal(f.place(uint64(k)), sealed)
	if !ok {
		return nil, f.damaged(fmt.Sprintf("chunk %d of %d cannot be read", k, f.info.Chunks))
	}
	return data, nil
}

// each hands all chunks to fn.
func (f *snapshotFile) each(fn func(data []byte) error) error {
	for k := range f.ends {
		data, err := f.chunk(k)
		if err != nil {
			return err
		}
		if err := fn(data); err != nil {
			return err
		}
	}
	return nil
}

func (f *snapshotFile) verify() error {
	return f.each(func([]byte) error { return nil })
}
