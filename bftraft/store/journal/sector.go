package journal

import (
	"bytes"
	"encoding/binary"

	"tangaroa/crypto"
	"tangaroa/internal/mutant"
)

// sector is what stands in one: a part of a record, and of which.
type sector struct {
	batch, number uint64
	part          uint32 // from 0
	bytes         uint32 // of the record
	data          []byte // the part, and zeros behind the last
}

const (
	checksumBytes = 16
	trailerBytes  = 8 + 8 + 4 + 4 + checksumBytes
)

// same says whether two sectors are the same part of the same record.
func (s *sector) same(as sector) bool {
	return s.batch == as.batch && s.number == as.number && s.part == as.part &&
		s.bytes == as.bytes
}

// The states in which a sector is found.
type state int

const (
	whole   state = iota
	blank         // never written, or filled up
	damaged       // what nobody has written
)

// seal writes the trailer of s behind what is in b, a sector.
func (j *Journal) seal(b []byte, s sector) {
	t := b[:partBytes]
	t = binary.BigEndian.AppendUint64(t, s.batch)
	t = binary.BigEndian.AppendUint64(t, s.number)
	t = binary.BigEndian.AppendUint32(t, s.part)
	t = binary.BigEndian.AppendUint32(t, s.bytes)
	sum := j.checksum(t)
	copy(b[len(t):], sum[:checksumBytes])
}

// read reads the first sector of b.
func (j *Journal) read(b []byte) (sector, state) {
	b = b[:sectorBytes]
	if bytes.Count(b, []byte{0}) == sectorBytes {
		return sector{}, blank
	}
	end := sectorBytes - checksumBytes
	if sum := j.checksum(b[:end]); string(sum[:checksumBytes]) != string(b[end:]) {
		if mutant.On(mutant.M131) {
			return sector{}, blank
		}
		return sector{}, damaged
	}
	t := b[partBytes:]
	return sector{
		batch: binary.BigEndian.Uint64(t), number: binary.BigEndian.Uint64(t[8:]),
		part: binary.BigEndian.Uint32(t[16:]), bytes: binary.BigEndian.Uint32(t[20:]),
		data: b[:partBytes],
	}, whole
}

func (j *Journal) checksum(b []byte) crypto.Digest {
	return crypto.Hash(crypto.DomainJournal, j.id[:], b)
}
