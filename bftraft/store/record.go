package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store/journal"
	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

const journalFile = "journal"

// unrecorded is what Save was given since the last record of the journal, as it will stand in the
// next; unless that is more than a record holds, and Badger must take it.
type unrecorded struct {
	limit int // the longest record there may be
	plain []byte
	over  bool
}

func (u *unrecorded) add(r *bftraft.Ready) {
	if u.over {
		return
	}
	size := 0
	for _, b := range r.Blocks {
		size += len(b.Raw())
	}
	if u.over = len(u.plain)+size > u.limit; !u.over {
		u.plain = appendSaved(u.plain, r)
	}
}

func (u *unrecorded) clear() { u.plain, u.over = u.plain[:0], false }

// openJournal opens the journal and takes in what it holds behind the written batch. What is wrong
// with it keeps the node from signing; a store that is only looked at shows what can be read.
func (s *Badger) openJournal() error {
	var err error
	s.journal, err = journal.Open(filepath.Join(s.dir, journalFile), journal.ID(s.meta.instance))
	if err != nil {
		return journalError(err)
	}
	records, damage := s.journal.Records(s.written.seq)
	if mutant.On(mutant.M132) {
		records = nil
	}
	for i, sealed := range records {
		if err := s.replay(uint64(i+1), sealed); err != nil {
			return err
		}
	}
	return journalError(damage)
}

// journalError says what an error of the journal means for the store.
func journalError(err error) error {
	switch {
	case errors.Is(err, journal.ErrMissing):
		return fmt.Errorf("%w: %w", ErrMissing, err)
	case errors.Is(err, journal.ErrDamaged):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case errors.Is(err, journal.ErrAhead):
		return fmt.Errorf("%w: %w", ErrBehindGuard, err)
	}
	return err
}

// replay takes in a record of the journal: what was saved is waiting again.
func (s *Badger) replay(number uint64, sealed []byte) error {
	unreadable := fmt.Errorf("%w: record %d of the journal cannot be read", ErrDamaged, number)
	plain, ok := s.seals.unseal(s.recordPlace(number), sealed)
	if !ok {
		return unreadable
	}
	s.digest = s.recordDigest(plain)
	p := &s.guard.newest
	if p.seq == s.written.seq && p.number == number && p.digest != s.digest {
		return fmt.Errorf("%w: record %d of the journal is not the one that was guarded",
			ErrBehindGuard, number)
	}
	for in := cryptobyte.String(plain); !in.Empty(); {
		r, ok := readSaved(&in)
		if !ok {
			return unreadable
		}
		if err := s.take(r); err != nil {
			return fmt.Errorf("%w: record %d of the journal: %w", ErrDamaged, number, err)
		}
	}
	return nil
}

// recordPlace is what a record is sealed for. Nothing in Badger stands under such a key.
func (s *Badger) recordPlace(number uint64) []byte {
	return key(keyRecord, s.written.seq, number)
}

// recordDigest stands for the written batch and all records behind it, the last of which is plain.
func (s *Badger) recordDigest(plain []byte) crypto.Digest {
	return crypto.Hash(crypto.DomainGuard, s.meta.instance[:], s.digest[:], plain)
}

// record returns the steps that make durable what was saved, in the journal. The guard is written
// behind it and nobody waits for that: so it is never ahead of the journal, which can tell for
// itself whether it ends where it was torn or where it was damaged. Only records that were put back
// to what stood there before are for the guard to miss.
func (s *Badger) record() []func() error {
	number := s.journal.Number() + 1
	sealed := s.seals.seal(s.recordPlace(number), s.unrecorded.plain)
	now := s.now()
	p := promiseOf(s.meta, &now, nil)
	p.number, p.digest = number, s.recordDigest(s.unrecorded.plain)
	steps := []func() error{
		func() error { return s.journal.Write(sealed) },
		s.journal.Sync,
		func() error { return s.guard.note(p) },
	}
	if mutant.On(mutant.M124) {
		steps[0], steps[2] = steps[2], steps[0]
	}
	return append(steps, func() error {
		s.digest = p.digest
		s.unrecorded.clear()
		return nil
	})
}

// recordable says whether what waits can become durable in the journal.
func (s *Badger) recordable() bool {
	u := &s.unrecorded
	return !u.over && len(u.plain) > 0 && s.journal.Fits(len(u.plain)+s.seals.overhead())
}

// now returns the state with all that was saved.
func (s *Badger) now() state {
	st := s.written
	st.base, st.tip = s.base, s.tip
	if s.pending.hard != nil {
		st.hard = *s.pending.hard
	}
	return st
}

// What a Save may hold.
const (
	savedHard byte = 1 << iota
	savedTruncation
	savedChanges
	savedEnd // of a term, which a hard state goes along with
	savedAll = savedHard | savedTruncation | savedChanges | savedEnd
)

// appendSaved appends what Save stores of r.
func appendSaved(b []byte, r *bftraft.Ready) []byte {
	var holds byte
	if r.HardState != nil {
		holds |= savedHard
	}
	if r.Truncated {
		holds |= savedTruncation
	}
	if len(r.Changes) > 0 {
		holds |= savedChanges
	}
	if r.HardState != nil && r.Ended != nil {
		holds |= savedEnd
	}
	b = append(b, holds)
	if r.HardState != nil {
		b = appendHardState(b, r.HardState)
	}
	if r.Truncated {
		b = binary.BigEndian.AppendUint64(b, uint64(r.Truncate))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Blocks)))
	for _, block := range r.Blocks {
		b = binary.BigEndian.AppendUint32(b, uint32(len(block.Raw())))
		b = append(b, block.Raw()...)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Commits)))
	for _, c := range r.Commits {
		b = c.AppendTo(b)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Evidence)))
	for i := range r.Evidence {
		b = r.Evidence[i].AppendTo(b)
	}
	if len(r.Changes) > 0 {
		b = bftraft.AppendChangeProofs(b, r.Changes)
	}
	if holds&savedEnd != 0 {
		b = r.Ended.AppendTo(b)
	}
	return b
}

// readSaved reads what appendSaved wrote.
func readSaved(s *cryptobyte.String) (*bftraft.Ready, bool) {
	r := &bftraft.Ready{}
	var holds byte
	if !s.ReadUint8(&holds) || holds&^savedAll != 0 {
		return nil, false
	}
	if holds&savedHard != 0 {
		r.HardState = &bftraft.HardState{}
		if !readHardState(s, r.HardState) {
			return nil, false
		}
	}
	r.Truncated = holds&savedTruncation != 0
	if r.Truncated && !s.ReadUint64((*uint64)(&r.Truncate)) {
		return nil, false
	}
	ok := eachSaved(s, func() bool {
		var n uint32
		var raw []byte
		if !s.ReadUint32(&n) || !s.ReadBytes(&raw, int(n)) {
			return false
		}
		b, drop := bftraft.DecodeBlock(raw)
		r.Blocks = append(r.Blocks, b)
		return drop == bftraft.Accepted
	}) && eachSaved(s, func() bool {
		c := &quorumcert.Commit{}
		r.Commits = append(r.Commits, c)
		return quorumcert.ReadCommit(s, c)
	}) && eachSaved(s, func() bool {
		var e quorumcert.Evidence
		ok := quorumcert.ReadEvidence(s, &e)
		r.Evidence = append(r.Evidence, e)
		return ok
	})
	if ok && holds&savedChanges != 0 {
		r.Changes, ok = bftraft.ReadChangeProofs(s)
	}
	if ok && holds&savedEnd != 0 {
		r.Ended = &bftraft.TermEnd{}
		ok = holds&savedHard != 0 && bftraft.ReadTermEnd(s, r.Ended)
	}
	return r, ok && (holds&savedChanges == 0) == (len(r.Changes) == 0)
}

// eachSaved reads a number, and calls read so many times as long as it can.
func eachSaved(s *cryptobyte.String, read func() bool) bool {
	var n uint32
	ok := s.ReadUint32(&n)
	for ; ok && n > 0; n-- {
		ok = read()
	}
	return ok
}
