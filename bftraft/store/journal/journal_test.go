package journal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var owner = ID{1, 2, 3}

func made(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal")
	require.NoError(t, Create(path))
	return path
}

func opened(t *testing.T, path string) *Journal {
	t.Helper()
	j, err := Open(path, owner)
	require.NoError(t, err)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func durable(t *testing.T, j *Journal, record []byte) {
	t.Helper()
	require.NoError(t, j.Write(record))
	require.NoError(t, j.Sync())
}

// someRecord is one of n bytes that no other looks like.
func someRecord(k, n int) []byte {
	rng := rand.New(rand.NewPCG(uint64(k), uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + rng.IntN(255))
	}
	return b
}

// held returns what the journal in path holds behind a batch.
func held(t *testing.T, path string, batch uint64) ([][]byte, error) {
	t.Helper()
	j := opened(t, path)
	return j.Records(batch)
}

func TestRecordsAreReadInTheirOrder(t *testing.T) {
	path := made(t)
	j := opened(t, path)
	all, err := j.Records(7)
	require.NoError(t, err)
	require.Empty(t, all)
	var want [][]byte
	for i, n := range []int{
		1, partBytes - 1, partBytes, partBytes + 1, 8 * partBytes, 8*partBytes + 1, 4096,
		MaxRecordBytes,
	} {
		want = append(want, someRecord(i, n))
		durable(t, j, want[i])
		require.EqualValues(t, i+1, j.Number())
		got, err := held(t, path, 7)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// TestNextRecordGoesBehindThoseRead: a journal that was read is gone on with.
func TestNextRecordGoesBehindThoseRead(t *testing.T) {
	path := made(t)
	var want [][]byte
	for i := range 5 {
		j := opened(t, path)
		got, err := j.Records(1)
		require.NoError(t, err)
		require.Equal(t, want, got)
		want = append(want, someRecord(i, 700*(i+1)))
		durable(t, j, want[i])
		require.NoError(t, j.Close())
	}
}

// TestRestartForgetsWhatThereWas: records of an earlier batch lie behind those of the later, and
// are none of it.
func TestRestartForgetsWhatThereWas(t *testing.T) {
	path := made(t)
	j := opened(t, path)
	for batch := uint64(1); batch < 5; batch++ {
		j.Restart(batch)
		for i := range 10 - batch {
			durable(t, j, someRecord(int(i), 5000))
		}
		got, err := held(t, path, batch)
		require.NoError(t, err)
		require.Len(t, got, int(10-batch))
		got, err = held(t, path, batch+1)
		require.NoError(t, err)
		require.Empty(t, got)
		_, err = held(t, path, batch-1)
		require.ErrorIs(t, err, ErrAhead)
	}
}

// TestJournalIsFullAtItsEnd: room is counted in whole pages.
func TestJournalIsFullAtItsEnd(t *testing.T) {
	path := made(t)
	j := opened(t, path)
	n := 0
	for ; j.Fits(MaxRecordBytes); n++ {
		require.NoError(t, j.Write(someRecord(n, MaxRecordBytes)))
	}
	for ; j.Fits(1); n++ {
		require.NoError(t, j.Write([]byte{9}))
	}
	require.EqualValues(t, Bytes, j.at)
	require.False(t, j.Fits(0) && j.Fits(1))
	require.Panics(t, func() { _ = j.Write([]byte{1}) })
	got, err := held(t, path, 0)
	require.NoError(t, err)
	require.Len(t, got, n)
	j.Restart(1)
	require.False(t, j.Fits(MaxRecordBytes+1))
	require.Panics(t, func() { _ = j.Write(make([]byte, MaxRecordBytes+1)) })
	require.Panics(t, func() { _ = j.Write(nil) })
}

// TestTornRecordIsTheEnd leaves every subset of the sectors of a record as they were before, which
// is what a power loss may leave. Only the whole record counts.
func TestTornRecordIsTheEnd(t *testing.T) {
	for _, lap := range []bool{false, true} {
		t.Run(fmt.Sprint("over old records ", lap), func(t *testing.T) {
			path := made(t)
			j := opened(t, path)
			if lap {
				for i := range 20 {
					durable(t, j, someRecord(i, 4000))
				}
				j.Restart(1)
			}
			batch := j.batch
			first, second := someRecord(50, 600), someRecord(51, 9*partBytes)
			durable(t, j, first)
			before, err := os.ReadFile(path)
			require.NoError(t, err)
			durable(t, j, second)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			for subset := range 1 << 9 {
				torn := bytes.Clone(before)
				for k := range 16 {
					at := pageBytes + k*sectorBytes
					if k >= 9 || subset>>k&1 == 1 {
						copy(torn[at:at+sectorBytes], after[at:])
					}
				}
				got, err := j.parse(torn, batch)
				require.NoError(t, err)
				if subset == 1<<9-1 {
					require.Equal(t, [][]byte{first, second}, got)
					continue
				}
				require.Equal(t, [][]byte{first}, got, "sectors %b", subset)
				require.Equal(t, subset != 0, j.Torn(), "sectors %b", subset)
				if subset%50 == 0 {
					goesOn(t, torn, batch, first)
				}
			}
		})
	}
}

// goesOn begins anew after a torn record, and finds what is written then and nothing else.
func goesOn(t *testing.T, torn []byte, batch uint64, first []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal")
	require.NoError(t, os.WriteFile(path, torn, 0o600))
	j := opened(t, path)
	_, err := j.Records(batch)
	require.NoError(t, err)
	if j.Torn() {
		require.Panics(t, func() { _ = j.Write(first) })
	}
	var want [][]byte
	j.Restart(batch + 1)
	for i := range 3 {
		want = append(want, someRecord(60+i, 300))
		durable(t, j, want[len(want)-1])
		got, err := held(t, path, batch+1)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	require.NoError(t, j.Close())
	require.NoError(t, os.Remove(path))
}

// powered is a journal under a disk that keeps, when the power goes, any of the sectors that were
// written since the last flush.
type powered struct {
	t       *testing.T
	rng     *rand.Rand
	path    string
	journal *Journal
	batch   uint64
	disk    []byte   // what the disk has for sure
	records [][]byte // behind the batch
	synced  int      // so many of them are durable
}

func (p *powered) write(sync bool) {
	n := 1 + p.rng.IntN(12*partBytes)
	if p.rng.IntN(2) == 0 {
		n = 2 * partBytes // so that one is often torn where another of its length was
	}
	p.records = append(p.records, someRecord(p.rng.Int(), n))
	require.NoError(p.t, p.journal.Write(p.records[len(p.records)-1]))
	if sync {
		require.NoError(p.t, p.journal.Sync())
		p.disk, p.synced = p.written(), len(p.records)
	}
}

func (p *powered) written() []byte {
	raw, err := os.ReadFile(p.path)
	require.NoError(p.t, err)
	return raw
}

// lose lets the power go, and opens what is left. What was durable is there, and of the rest only
// what was written, in its order. The owner of the journal then takes it all, and begins anew.
func (p *powered) lose() {
	raw := p.written()
	for at := 0; at < len(raw); at += sectorBytes {
		if p.rng.IntN(2) == 0 {
			copy(raw[at:at+sectorBytes], p.disk[at:])
		}
	}
	require.NoError(p.t, p.journal.Close())
	require.NoError(p.t, os.WriteFile(p.path, raw, 0o600))
	p.journal = opened(p.t, p.path)
	got, err := p.journal.Records(p.batch)
	require.NoError(p.t, err)
	require.GreaterOrEqual(p.t, len(got), p.synced)
	require.LessOrEqual(p.t, len(got), len(p.records))
	for i := range got {
		require.Equal(p.t, p.records[i], got[i])
	}
	p.disk = raw
	if len(got) > 0 || p.journal.Torn() {
		p.batch++
		p.journal.Restart(p.batch)
	}
	p.records, p.synced = nil, 0
}

// TestPowerLossesInARow: what one of them leaves is what the next one finds.
func TestPowerLossesInARow(t *testing.T) {
	path := made(t)
	p := &powered{
		t: t, rng: rand.New(rand.NewPCG(1, 2)), path: path, journal: opened(t, path),
	}
	p.disk = p.written()
	_, err := p.journal.Records(0)
	require.NoError(t, err)
	for range 150 {
		for range max(0, p.rng.IntN(6)-3) {
			p.write(true)
		}
		p.write(false)
		p.lose()
	}
	require.Greater(t, p.batch, uint64(100))
}

// TestDamagedRecordIsNotTheEnd changes each sector of a journal in every way in which it is not a
// crash. What was durable is returned or refused, never forgotten.
func TestDamagedRecordIsNotTheEnd(t *testing.T) {
	path := made(t)
	j := opened(t, path)
	var want [][]byte
	for i, n := range []int{600, 9 * partBytes, 100} {
		want = append(want, someRecord(i, n))
		durable(t, j, want[i])
	}
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	used := 0
	for at := 0; at < 5*pageBytes; at += sectorBytes {
		_, state := j.read(raw[at:])
		if state == blank {
			continue
		}
		used++
		last := at >= 3*pageBytes // of the newest record
		for name, change := range map[string]func([]byte){
			"flip":    func(b []byte) { b[rng.IntN(sectorBytes)] ^= 1 << rng.IntN(8) },
			"noise":   func(b []byte) { copy(b, someRecord(at, sectorBytes)) },
			"cleared": func(b []byte) { clear(b) },
			"swapped": func(b []byte) { copy(b, raw[at^sectorBytes:][:sectorBytes]) },
		} {
			changed := bytes.Clone(raw)
			change(changed[at : at+sectorBytes])
			got, err := j.parse(changed, 0)
			if last && (name == "cleared" || name == "swapped") {
				require.NoError(t, err, "the newest record cannot be told from a torn one")
				require.Equal(t, want[:2], got)
				continue
			}
			require.ErrorIs(t, err, ErrDamaged, "%s at %d", name, at)
			require.Len(t, got, min(len(got), 2))
			for i := range got {
				require.Equal(t, want[i], got[i])
			}
		}
	}
	require.Equal(t, 2+9+1, used)
}

// TestOtherFilesAreRefused: one that is cut, one that is gone, and one of somebody else.
func TestOtherFilesAreRefused(t *testing.T) {
	path := made(t)
	j := opened(t, path)
	durable(t, j, []byte{1})
	other, err := Open(path, ID{4})
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close() })
	_, err = other.Records(0)
	require.ErrorIs(t, err, ErrDamaged)
	for _, size := range []int64{Bytes - 1, Bytes + 1} {
		require.NoError(t, os.Truncate(path, size))
		_, err = held(t, path, 0)
		require.ErrorIs(t, err, ErrDamaged)
	}
	require.NoError(t, os.Remove(path))
	_, err = Open(path, owner)
	require.ErrorIs(t, err, ErrMissing)
	require.Error(t, Create(filepath.Join(path, "below", "nothing")))
}

// TestRecordOfAWrongLengthIsNotRead: a sector may say anything, to who knows its checksum.
func TestRecordOfAWrongLengthIsNotRead(t *testing.T) {
	for _, n := range []uint32{0, MaxRecordBytes + 1, 1<<32 - 1} {
		path := made(t)
		j := opened(t, path)
		b := make([]byte, sectorBytes)
		j.seal(b, sector{number: 1, bytes: n})
		_, err := j.file.WriteAt(b, 0)
		require.NoError(t, err)
		got, err := held(t, path, 0)
		require.NoError(t, err)
		require.Empty(t, got)
	}
}

func BenchmarkRecord(b *testing.B) {
	path := filepath.Join(b.TempDir(), "journal")
	require.NoError(b, Create(path))
	j, err := Open(path, owner)
	require.NoError(b, err)
	record := someRecord(1, 700)
	b.ReportAllocs()
	for b.Loop() {
		if !j.Fits(len(record)) {
			j.Restart(j.batch + 1)
		}
		require.NoError(b, j.Write(record))
		require.NoError(b, j.Sync())
	}
}
