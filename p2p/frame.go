package p2p

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"tangaroa/internal/mutant"
)

// A stream begins with a preamble of four bytes: "TG", the version of this framing, the class. Then
// frames follow, each a length of four bytes, big endian, and so many bytes. A frame of length zero
// is a keep-alive.
const (
	framingVersion = 1
	preambleBytes  = 4
	headerBytes    = 4

	// growBytes is the most that is allocated ahead of what has arrived. It is also the unit in
	// which frame and write time-outs are counted.
	growBytes = 64 << 10
	// maxFrameCeiling keeps any configured limit far from overflow of lengths.
	maxFrameCeiling = 1 << 30
)

// Violations of the framing. They end the link.
var (
	errPreamble  = errors.New("p2p: stream does not begin with our preamble")
	errClass     = errors.New("p2p: stream of a class that the peer may not open")
	errOversize  = errors.New("p2p: frame above the limit")
	errSlowFrame = errors.New("p2p: frame took too long")
)

func isViolation(err error) bool {
	return errors.Is(err, errPreamble) || errors.Is(err, errClass) ||
		errors.Is(err, errOversize) || errors.Is(err, errSlowFrame)
}

func preamble(c Class) [preambleBytes]byte {
	return [preambleBytes]byte{'T', 'G', framingVersion, byte(c)}
}

func readPreamble(r io.Reader) (Class, error) {
	var got [preambleBytes]byte
	if _, err := io.ReadFull(r, got[:]); err != nil {
		return 0, fmt.Errorf("p2p: reading preamble: %w", err)
	}
	class := Class(got[preambleBytes-1])
	if class >= classCount || got != preamble(class) {
		return 0, errPreamble
	}
	return class, nil
}

// frameReader cuts a stream into frames. It is used by one goroutine.
type frameReader struct {
	r     *bufio.Reader
	limit int
	// progress is called when a frame begins and after each growBytes of it, so that the owner
	// can move its deadline; done is called when the frame is complete.
	progress, done func()
}

// next returns the next frame, which the caller owns, and nil for a keep-alive.
func (f *frameReader) next() ([]byte, error) {
	if _, err := f.r.Peek(1); err != nil {
		return nil, err
	}
	f.progress()
	defer f.done()
	var header [headerBytes]byte
	if _, err := io.ReadFull(f.r, header[:]); err != nil {
		return nil, noEOF(err)
	}
	length := uint64(binary.BigEndian.Uint32(header[:]))
	if length > uint64(f.limit) && !mutant.On(mutant.M51) {
		return nil, fmt.Errorf("%w: %d bytes announced, %d allowed", errOversize, length, f.limit)
	}
	if length == 0 {
		return nil, nil
	}
	return f.body(int(length))
}

// body reads so many bytes. The buffer is never longer than growBytes or twice what has arrived, so
// that a peer pays for our memory with its bytes.
func (f *frameReader) body(length int) ([]byte, error) {
	frame := make([]byte, min(length, growBytes))
	filled := 0
	for {
		part := frame[filled:min(len(frame), filled+growBytes)]
		if _, err := io.ReadFull(f.r, part); err != nil {
			return nil, noEOF(err)
		}
		if filled += len(part); filled == length {
			return frame, nil
		}
		f.progress()
		if filled == len(frame) {
			grown := make([]byte, min(length, 2*len(frame)))
			copy(grown, frame)
			frame = grown
		}
	}
}

// noEOF tells an end in the middle of a frame from one between two frames.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// writeFrame writes one frame; an empty one is a keep-alive.
func writeFrame(w *bufio.Writer, frame []byte) error {
	var header [headerBytes]byte
	binary.BigEndian.PutUint32(header[:], uint32(len(frame)))
	if _, err := w.Write(header[:]); err != nil {
		return err
	}
	_, err := w.Write(frame)
	return err
}
