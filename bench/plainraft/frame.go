package plainraft

import (
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/cryptobyte"
)

// The kinds of frames between clients and nodes.
const (
	frameWrite  = 1 // operations: kind, sequence, operations
	frameRead   = 2 // queries: likewise
	frameAnswer = 3 // results: kind, sequence, results
	frameLeader = 4 // not done, ask another: kind, sequence, node or 0
)

// headBytes is the length of kind and sequence.
const headBytes = 1 + 8

var errMalformed = errors.New("plainraft: a frame is malformed")

// encodeList returns a frame with a list of byte strings.
func encodeList(kind byte, sequence uint64, list [][]byte) []byte {
	size := headBytes
	for _, b := range list {
		size += 4 + len(b)
	}
	out := binary.BigEndian.AppendUint64(append(make([]byte, 0, size), kind), sequence)
	for _, b := range list {
		out = binary.BigEndian.AppendUint32(out, uint32(len(b)))
		out = append(out, b...)
	}
	return out
}

func decodeHead(frame []byte) (kind byte, sequence uint64, rest []byte, err error) {
	if len(frame) < headBytes {
		return 0, 0, nil, errMalformed
	}
	return frame[0], binary.BigEndian.Uint64(frame[1:]), frame[headBytes:], nil
}

// decodeList reads the list of a frame, which the result refers to.
func decodeList(rest []byte) ([][]byte, error) {
	var list [][]byte
	s := cryptobyte.String(rest)
	for !s.Empty() {
		var n uint32
		var b []byte
		if !s.ReadUint32(&n) || !s.ReadBytes(&b, int(n)) {
			return nil, errMalformed
		}
		list = append(list, b)
	}
	return list, nil
}
