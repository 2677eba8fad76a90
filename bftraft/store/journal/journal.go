package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"tangaroa/internal/mutant"
)

// The sizes of a journal, in bytes.
const (
	// Bytes is the size of the file.
	Bytes = 4 << 20
	// MaxRecordBytes is the largest record.
	MaxRecordBytes = 256 << 10

	pageBytes   = 4096
	sectorBytes = 512
	// partBytes is what a sector holds of a record, before its trailer.
	partBytes = sectorBytes - trailerBytes
)

// Why a journal cannot be opened or read.
var (
	// ErrMissing is returned when there is no file.
	ErrMissing = errors.New("the journal is not there")
	// ErrDamaged is returned when the file is not as long as it was made, a sector can no longer be
	// read, or a record is missing before another.
	ErrDamaged = errors.New("the journal is damaged")
	// ErrAhead is returned when there are records behind a later batch than the one asked for.
	ErrAhead = errors.New("the journal goes on from a later batch")
)

// ID says whose journal it is.
type ID [16]byte

// Journal is an open journal.
type Journal struct {
	file   *os.File
	id     ID
	batch  uint64 // what the records build on
	number uint64 // of the newest record behind it, from 1
	at     int64  // where the next record begins
	torn   bool   // behind the end are sectors of the same batch
	buf    []byte
}

// Create makes an empty journal. Its name is not durable yet.
func Create(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create journal: %w", err)
	}
	for n := 0; n < Bytes && err == nil; n += pageBytes {
		_, err = f.Write(make([]byte, pageBytes)) // each page is one for the kernel too
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("create journal: %w", err)
	}
	return nil
}

// Open opens the journal of id. What it holds, Records returns.
func Open(path string, id ID) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is no %s", ErrMissing, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return &Journal{file: f, id: id}, nil
}

// Close closes the file. It flushes nothing.
func (j *Journal) Close() error { return j.file.Close() }

// Number returns the number of the newest record behind the batch, 0 for none.
func (j *Journal) Number() uint64 { return j.number }

// Torn says whether Records found sectors behind the end that are of a record behind the same
// batch. Then, before the next record, the journal must begin anew behind a later batch: a record
// of that number that is torn as well might join with what was left of the first.
func (j *Journal) Torn() bool { return j.torn }

// Records returns the records behind a batch in their order, and with an error those before what
// is wrong. Those of earlier batches are of no use any more. The next record goes behind them.
func (j *Journal) Records(batch uint64) ([][]byte, error) {
	info, err := j.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	if info.Size() != Bytes {
		return nil, fmt.Errorf("%w: it has %d bytes instead of %d", ErrDamaged, info.Size(), Bytes)
	}
	raw := make([]byte, Bytes)
	if _, err := j.file.ReadAt(raw, 0); err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return j.parse(raw, batch)
}

func (j *Journal) parse(raw []byte, batch uint64) ([][]byte, error) {
	j.Restart(batch)
	var all [][]byte
	for {
		record, err := j.next(raw[j.at:])
		if err != nil {
			return all, err
		}
		if record == nil {
			return all, j.endsAt(raw[j.at:])
		}
		all = append(all, record)
		j.number++
		j.at += written(len(record))
	}
}

// next returns the record that stands at the beginning of raw, nil when the journal ends before
// it.
func (j *Journal) next(raw []byte) ([]byte, error) {
	want := sector{batch: j.batch, number: j.number + 1}
	var record []byte
	for at := 0; ; at += sectorBytes {
		if at == len(raw) {
			if record == nil {
				return nil, nil
			}
			return nil, fmt.Errorf("%w: record %d does not end", ErrDamaged, want.number)
		}
		s, state := j.read(raw[at:])
		if record == nil {
			want.bytes = min(max(s.bytes, 1), MaxRecordBytes)
		}
		switch {
		case state == damaged:
			return nil, fmt.Errorf("%w: record %d cannot be read", ErrDamaged, want.number)
		case state == blank || !s.same(want):
			return nil, nil // the power went while it was being written, if it was
		}
		record = append(record, s.data[:min(partBytes, int(want.bytes)-len(record))]...)
		if len(record) == int(want.bytes) {
			return record, nil
		}
		want.part++
	}
}

// endsAt says what is wrong with the rest of a file, in which the journal is to have ended.
func (j *Journal) endsAt(rest []byte) error {
	for ; len(rest) > 0; rest = rest[sectorBytes:] {
		s, state := j.read(rest)
		switch {
		case state != whole || s.batch < j.batch:
		case s.batch > j.batch:
			return fmt.Errorf("%w: %d instead of %d", ErrAhead, s.batch, j.batch)
		case s.number > j.number+1:
			return fmt.Errorf("%w: record %d is there and %d is not", ErrDamaged, s.number, j.number+1)
		default:
			j.torn = true
		}
	}
	return nil
}

// Restart lets the journal begin anew behind a batch, which must be later than the last. The
// records there were must be durable elsewhere: the next takes their place.
func (j *Journal) Restart(batch uint64) { j.batch, j.number, j.at, j.torn = batch, 0, 0, false }

// Fits says whether there is room for a record of n bytes.
func (j *Journal) Fits(n int) bool {
	return n <= MaxRecordBytes && j.at+written(n) <= Bytes
}

// Write writes a record of at least one byte, for which there must be room, in a journal that is
// not torn. Sync makes it durable.
func (j *Journal) Write(record []byte) error {
	if len(record) == 0 || !j.Fits(len(record)) || j.torn && !mutant.On(mutant.M134) {
		panic("bftraft/store/journal: there is no place for a record")
	}
	s := sector{batch: j.batch, number: j.number + 1, bytes: uint32(len(record))}
	n := written(len(record))
	j.buf = append(j.buf[:0], make([]byte, n)...)
	for at := 0; len(record) > 0; at += sectorBytes {
		part := min(partBytes, len(record))
		copy(j.buf[at:], record[:part])
		j.seal(j.buf[at:at+sectorBytes], s)
		record = record[part:]
		s.part++
	}
	if _, err := j.file.WriteAt(j.buf, j.at); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	j.number++
	j.at += n
	return nil
}

// Sync makes what was written durable.
func (j *Journal) Sync() error {
	if mutant.On(mutant.M15) {
		return nil
	}
	if err := Datasync(j.file); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	return nil
}

// sectors returns in how many a record of n bytes stands.
func sectors(n int) int64 { return int64((n + partBytes - 1) / partBytes) }

// written returns how many bytes of the file a record of n takes: whole pages.
func written(n int) int64 {
	bytes := sectors(n) * sectorBytes
	return (bytes + pageBytes - 1) / pageBytes * pageBytes
}
