package p2p

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func readerOf(r io.Reader, limit int) *frameReader {
	return &frameReader{
		r: bufio.NewReader(r), limit: limit, progress: func() {}, done: func() {},
	}
}

func framed(t testing.TB, frames ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	for _, f := range frames {
		require.NoError(t, writeFrame(w, f))
	}
	require.NoError(t, w.Flush())
	return out.Bytes()
}

func TestFramesSurviveAnySegmentation(t *testing.T) {
	frames := [][]byte{
		{1}, nil, bytes.Repeat([]byte{2}, growBytes-1), bytes.Repeat([]byte{3}, growBytes),
		bytes.Repeat([]byte{4}, growBytes+1), nil, bytes.Repeat([]byte{5}, 5*growBytes+7),
	}
	wire := framed(t, frames...)
	for name, source := range map[string]io.Reader{
		"whole":     bytes.NewReader(wire),
		"halves":    iotest.HalfReader(bytes.NewReader(wire)),
		"each byte": iotest.OneByteReader(bytes.NewReader(wire)),
		"with EOF":  iotest.DataErrReader(bytes.NewReader(wire)),
	} {
		t.Run(name, func(t *testing.T) {
			r := readerOf(source, 1<<20)
			for _, want := range frames {
				got, err := r.next()
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, got))
			}
			_, err := r.next()
			require.ErrorIs(t, err, io.EOF)
		})
	}
}

func TestEveryCutInsideAFrameIsAnError(t *testing.T) {
	wire := framed(t, []byte("frame"))
	for cut := 1; cut < len(wire); cut++ {
		_, err := readerOf(bytes.NewReader(wire[:cut]), 16).next()
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
}

func TestFrameLimitIsExact(t *testing.T) {
	wire := framed(t, make([]byte, 100))
	_, err := readerOf(bytes.NewReader(wire), 100).next()
	require.NoError(t, err)
	_, err = readerOf(bytes.NewReader(wire), 99).next()
	require.ErrorIs(t, err, errOversize)
}

// allocated returns how many bytes f allocates on the heap.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestAnnouncedLengthAllocatesNothing(t *testing.T) {
	for _, c := range []struct {
		name      string
		announced uint32
		want      error
	}{
		{"above the limit", 1 << 31, errOversize},
		{"greatest", 1<<32 - 1, errOversize},
		{"at the limit, then nothing", 64 << 20, io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			wire := binary.BigEndian.AppendUint32(nil, c.announced)
			wire = append(wire, "some bytes"...)
			r := readerOf(bytes.NewReader(wire), 64<<20)
			var err error
			used := allocated(func() { _, err = r.next() })
			require.ErrorIs(t, err, c.want)
			require.Less(t, used, uint64(256<<10))
		})
	}
}

func TestMemoryGrowsWithWhatArrived(t *testing.T) {
	const arrived = 5 * growBytes
	wire := binary.BigEndian.AppendUint32(nil, 32<<20)
	wire = append(wire, make([]byte, arrived)...)
	var err error
	used := allocated(func() { _, err = readerOf(bytes.NewReader(wire), 64<<20).next() })
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Less(t, used, uint64(4*arrived))
}

func TestFrameReaderReportsProgressOfLongFrames(t *testing.T) {
	moved, done := 0, 0
	r := readerOf(bytes.NewReader(framed(t, make([]byte, 4*growBytes))), 1<<20)
	r.progress, r.done = func() { moved++ }, func() { done++ }
	_, err := r.next()
	require.NoError(t, err)
	require.Equal(t, 4, moved)
	require.Equal(t, 1, done)
}

func TestPreambleNamesClassAndVersion(t *testing.T) {
	for _, class := range []Class{Consensus, Bulk, Client} {
		p := preamble(class)
		got, err := readPreamble(bytes.NewReader(p[:]))
		require.NoError(t, err)
		require.Equal(t, class, got)
		for i := range p {
			wrong := p
			wrong[i] ^= 0x40
			_, err := readPreamble(bytes.NewReader(wrong[:]))
			require.ErrorIs(t, err, errPreamble)
		}
	}
	_, err := readPreamble(bytes.NewReader([]byte{'T', 'G', framingVersion, classCount}))
	require.ErrorIs(t, err, errPreamble)
}

// FuzzFrameReader feeds arbitrary bytes: no panic, no frame above the limit, and what was read is,
// written again, what had come.
func FuzzFrameReader(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 7})
	f.Add([]byte{0x80, 0, 0, 0})
	f.Add([]byte{0, 1, 0, 0, 1, 2, 3})
	f.Fuzz(func(t *testing.T, wire []byte) {
		const limit = 1 << 17
		r := readerOf(bytes.NewReader(wire), limit)
		var again bytes.Buffer
		w := bufio.NewWriter(&again)
		for {
			frame, err := r.next()
			if err != nil {
				break
			}
			require.LessOrEqual(t, len(frame), limit)
			require.NoError(t, writeFrame(w, frame))
		}
		require.NoError(t, w.Flush())
		require.True(t, bytes.HasPrefix(wire, again.Bytes()))
	})
}
