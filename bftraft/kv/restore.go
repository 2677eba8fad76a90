package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"tangaroa/crypto"
)

// Restore replaces the state by that of a snapshot, which must be all there is to
// read. On an error the state is as it was. A snapshot whose state no operations
// could have led to is refused with ErrDamaged, and so is one whose digest is not
// that of its contents; whether it is the digest of the cluster's state is for the
// caller to judge, by Digest. Restoring ends a snapshot of the old state that is
// under way, and gives up what BeginRestore began.
func (m *Machine) Restore(r io.Reader) error {
	s := m.newRestoration()
	if err := s.read(r); err != nil {
		return fmt.Errorf("kv: restore: %w", err)
	}
	*m = *s.fresh
	return nil
}

// BeginRestore begins to restore a state from chunks of a snapshot, as they come
// and while operations go on. Nothing of it is seen before FinishRestore. What was
// begun before is given up.
func (m *Machine) BeginRestore() { m.coming = m.newRestoration() }

// RestoreChunk takes in the next chunk; its bytes are not kept. The cost is that of
// the chunk. ErrDamaged says that no state comes of it.
func (m *Machine) RestoreChunk(chunk []byte) error { return m.coming.add(chunk) }

// FinishRestore does what Restore would have done with all the chunks. Most of the
// work is done by then.
func (m *Machine) FinishRestore() error {
	s := m.coming
	m.coming = nil
	if err := s.finish(); err != nil {
		return fmt.Errorf("kv: restore: %w", err)
	}
	*m = *s.fresh
	return nil
}

// AbortRestore gives up what BeginRestore began, if it did.
func (m *Machine) AbortRestore() { m.coming = nil }

// restoration is a snapshot that is taken in by and by: item by item, as soon as
// all of one is there. An item is the head, a key with what it held at compacted,
// one change, or the digest.
type restoration struct {
	fresh *Machine // what comes of it
	next  item
	rest  []byte   // what came of the next item
	last  *history // the last key; nil before the first
	left  uint64   // how many of its changes are still to come
	exist []placed // the keys that exist, in order
	// digest is what the snapshot says it is.
	digest  crypto.Digest
	damaged bool
}

// item is what comes next in a snapshot.
type item int

const (
	itemHead item = iota
	itemKey
	itemChange
	itemDigest
	itemNone
)

func (m *Machine) newRestoration() *restoration {
	return &restoration{fresh: NewRetaining(m.retain)}
}

// read takes in all that there is to read.
func (s *restoration) read(r io.Reader) error {
	piece := make([]byte, 1<<16)
	for {
		n, err := r.Read(piece)
		if bad := s.add(piece[:n]); bad != nil {
			return bad
		}
		switch {
		case errors.Is(err, io.EOF):
			return s.finish()
		case err != nil:
			return err
		}
	}
}

// add takes in more.
func (s *restoration) add(p []byte) error {
	s.rest = append(s.rest, p...)
	in := snapshotReader{rest: s.rest}
	for !s.damaged && s.next != itemNone {
		before := in.rest
		right := s.take(&in)
		if s.damaged = !right || in.bad; s.damaged {
			break
		}
		if in.short {
			in.rest = before
			break
		}
	}
	s.rest = append(s.rest[:0], in.rest...)
	s.damaged = s.damaged || s.next == itemNone && len(s.rest) > 0
	if s.damaged {
		return ErrDamaged
	}
	return nil
}

// take reads the next item. If it is short nothing has changed, and if it is not
// right it says false.
func (s *restoration) take(in *snapshotReader) bool {
	switch s.next {
	case itemHead:
		return s.head(in)
	case itemKey:
		return s.key(in)
	case itemChange:
		return s.change(in)
	default:
		copy(s.digest[:], in.bytes(len(s.digest)))
		if !in.short {
			s.next = itemNone
		}
		return true
	}
}

func (s *restoration) head(in *snapshotReader) bool {
	magic := in.bytes(len(snapshotMagic))
	compacted, revision := Revision(in.u64()), Revision(in.u64())
	anchor := in.bytes(len(s.digest))
	if in.short {
		return true
	}
	m := s.fresh
	m.compacted, m.revision = compacted, revision
	copy(m.anchor[:], anchor)
	s.next = itemKey
	return string(magic) == snapshotMagic && revision <= maxRevision &&
		(compacted == 0) == m.anchor.IsZero()
}

// key reads a key and what it held at compacted.
func (s *restoration) key(in *snapshotReader) bool {
	name := in.sized(2, MaxKeyBytes)
	if in.short || in.bad {
		return true
	}
	if len(name) == 0 {
		s.next = itemDigest
		return true
	}
	var base version
	based := in.flag()
	if based {
		base = in.base()
	}
	changes := in.u64()
	switch {
	case in.short || in.bad:
		return true
	case s.last != nil && bytes.Compare(name, s.last.key) <= 0,
		based && !base.possible(s.fresh.compacted), !based && changes == 0:
		return false
	}
	key := bytes.Clone(name)
	s.last, s.left, s.next = &history{key: key, path: pathOf(key)}, changes, itemChange
	if based {
		base.value = bytes.Clone(base.value)
		base.digest = versionDigest(key, base)
		s.last.versions = append(s.last.versions, base)
	}
	if changes == 0 {
		s.keep()
	}
	return true
}

// change reads a change of the last key.
func (s *restoration) change(in *snapshotReader) bool {
	mod := Revision(in.u64())
	deleted := in.flag()
	var value []byte
	if !deleted {
		value = in.sized(3, MaxValueBytes)
	}
	if in.short || in.bad {
		return true
	}
	if !s.last.follow(mod, deleted, bytes.Clone(value)) {
		return false
	}
	s.fresh.events = append(s.fresh.events, change{revision: mod, history: s.last})
	if s.left--; s.left == 0 {
		s.keep()
	}
	return true
}

// keep puts the last key, of which all is there, into the new state.
func (s *restoration) keep() {
	s.fresh.keys.Load(s.last)
	if _, exists := s.last.at(latest); exists {
		s.exist = append(s.exist, placed{s.last.path, s.last})
	}
	s.next = itemKey
}

// finish makes a state of what was taken in.
func (s *restoration) finish() error {
	if s.damaged || s.next != itemNone {
		return ErrDamaged
	}
	m := s.fresh
	m.image = imageOf(s.exist)
	if !m.relink() || s.digest != m.Digest() {
		return ErrDamaged
	}
	return nil
}

// possible says whether a key can have held the version at a compacted revision.
func (v version) possible(compacted Revision) bool {
	switch {
	case v.create == 0 || v.create > v.mod || v.mod > compacted:
		return false
	case (v.number == 1) != (v.create == v.mod):
		return false
	}
	// A number of 0 wraps round to more writes than there were revisions.
	return v.number-1 <= uint64(v.mod-v.create)
}

// follow appends the version that a change makes. It says false if the change
// cannot have come after those before: not later, or deleting what is not there.
func (h *history) follow(mod Revision, deleted bool, value []byte) bool {
	next := version{mod: mod, create: mod, number: 1, value: value}
	last, exists := h.at(latest)
	if n := len(h.versions); n > 0 && h.versions[n-1].mod >= mod {
		return false
	}
	switch {
	case deleted && !exists:
		return false
	case deleted:
		next.create, next.number = 0, 0
	case exists:
		next.create, next.number = last.create, last.number+1
	}
	next.digest = versionDigest(h.key, next)
	h.append(next)
	return true
}

// relink puts the changes, which a snapshot holds key by key, into the order of
// revisions, and computes the chain. It says false unless the changes are those of
// the revisions above compacted up to the current one, each with at least one.
func (m *Machine) relink() bool {
	slices.SortStableFunc(m.events, func(a, b change) int {
		return compareNumbers(uint64(a.revision), uint64(b.revision))
	})
	m.chain = m.anchor
	next, gapless := m.compacted+1, true
	eachRevision(m.events, func(changes []change) {
		gapless = gapless && changes[0].revision == next
		next++
		m.extend(changes)
	})
	return gapless && next == m.revision+1
}

// snapshotReader reads the fields of a snapshot from what there is of it. After its
// end, and after what cannot be, fields read as zeros.
type snapshotReader struct {
	rest  []byte
	short bool // more was to be read than there was
	bad   bool // a field was none that is ever written
}

// bytes returns the next bytes, which are not copied; nil if there are less.
func (r *snapshotReader) bytes(n int) []byte {
	if r.short || r.bad || len(r.rest) < n {
		r.short = true
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// uint reads a number of so many bytes, 8 at most.
func (r *snapshotReader) uint(width int) uint64 {
	var number [8]byte
	copy(number[len(number)-width:], r.bytes(width))
	return binary.BigEndian.Uint64(number[:])
}

func (r *snapshotReader) u64() uint64 { return r.uint(8) }

func (r *snapshotReader) flag() bool {
	v := r.uint(1)
	r.bad = r.bad || v > 1
	return v == 1
}

// sized reads bytes behind a length of the given width, nil for none.
func (r *snapshotReader) sized(width, limit int) []byte {
	n := r.uint(width)
	if r.bad = r.bad || n > uint64(limit); n == 0 || r.bad {
		return nil
	}
	return r.bytes(int(n))
}

func (r *snapshotReader) base() version {
	return version{
		create: Revision(r.u64()), mod: Revision(r.u64()), number: r.u64(),
		value: r.sized(3, MaxValueBytes),
	}
}
