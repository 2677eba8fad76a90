package kv

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"tangaroa/crypto"
)

// A snapshot is the state in one canonical form: replicas with the same state
// write the same bytes.
//
//	head     magic, compacted, revision, anchor
//	keys     in ascending order, each:
//	           length and bytes of the key, never empty
//	           1 and what the key held at compacted (create, mod, version, value), or 0
//	           the number of its changes after compacted, then each:
//	             revision, 1 if deleted or else 0 and the value
//	end      a key of length 0
//	digest   of the state
//
// What follows from other fields is left out (a change's create revision and
// version, the order of changes across keys), so it cannot contradict them.

// snapshotMagic begins every snapshot; its last character is the format's version.
const snapshotMagic = "tangaroa-kv-1"

// maxRevision is above what any number of operations reaches, and far enough from
// the end that counting on cannot overflow.
const maxRevision = 1 << 63

// ErrDamaged is returned when bytes are not a snapshot: cut short, altered, with
// something behind the end, or of a state that no operations lead to.
var ErrDamaged = errors.New("kv: snapshot is damaged")

// Snapshot writes the whole state. It fails only if the writer does. A snapshot
// under way is not disturbed by it.
func (m *Machine) Snapshot(w io.Writer) error {
	for s := m.newScan(); !s.ended; s.pending = s.pending[:0] {
		s.fill(m.keys, 1<<16)
		if _, err := w.Write(s.pending); err != nil {
			return fmt.Errorf("kv: write snapshot: %w", err)
		}
	}
	return nil
}

// Restore replaces the state by that of a snapshot, which must be all there is to
// read. On an error the state is as it was. A snapshot whose state no operations
// could have led to is refused with ErrDamaged, and so is one whose digest is not
// that of its contents; whether it is the digest of the cluster's state is for the
// caller to judge, by Digest. Restoring ends a snapshot of the old state that is
// under way.
func (m *Machine) Restore(r io.Reader) error {
	in := &snapshotReader{in: bufio.NewReaderSize(r, 1<<16)}
	fresh := NewRetaining(m.retain)
	if err := fresh.restore(in); err != nil {
		return fmt.Errorf("kv: restore: %w", err)
	}
	*m = *fresh
	return nil
}

func (m *Machine) restore(in *snapshotReader) error {
	if string(in.bytes(len(snapshotMagic))) != snapshotMagic {
		return in.damaged()
	}
	m.compacted = Revision(in.u64())
	m.revision = Revision(in.u64())
	in.digest(&m.anchor)
	if m.revision > maxRevision || (m.compacted == 0) != m.anchor.IsZero() {
		return in.damaged()
	}
	var last []byte
	for {
		key := in.sized(2, MaxKeyBytes)
		if len(key) == 0 || in.err != nil {
			break
		}
		if bytes.Compare(key, last) <= 0 {
			return in.damaged()
		}
		last = key
		if err := m.restoreKey(in, key); err != nil {
			return err
		}
	}
	var digest crypto.Digest
	in.digest(&digest)
	in.end()
	if in.err != nil {
		return in.err
	}
	if !m.relink() || digest != m.Digest() {
		return ErrDamaged
	}
	return nil
}

// restoreKey reads the history of a key.
func (m *Machine) restoreKey(in *snapshotReader, key []byte) error {
	h := &history{key: key, path: pathOf(key)}
	if in.flag() {
		base := in.base()
		if in.err != nil || !base.possible(m.compacted) {
			return in.damaged()
		}
		base.digest = versionDigest(key, base)
		h.versions = append(h.versions, base)
	}
	n := in.u64()
	if n == 0 && len(h.versions) == 0 {
		return in.damaged()
	}
	for range n {
		mod := Revision(in.u64())
		deleted := in.flag()
		var value []byte
		if !deleted {
			value = in.sized(3, MaxValueBytes)
		}
		if in.err != nil || !h.follow(mod, deleted, value) {
			return in.damaged()
		}
		m.events = append(m.events, change{revision: mod, history: h})
	}
	m.keys.Set(h)
	_, exists := h.at(latest)
	m.image.update(h, false, exists)
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

// snapshotReader reads the fields of a snapshot. Its first failure sticks; after
// it fields read as zeros. Lengths are checked before memory is taken for them.
type snapshotReader struct {
	in  *bufio.Reader
	err error
}

// damaged returns the failure of the reader if there is one: what was read after
// it is no evidence of damage.
func (r *snapshotReader) damaged() error {
	if r.err != nil {
		return r.err
	}
	return ErrDamaged
}

// fail notes an error of the underlying reader. A snapshot that ends too early is
// damaged; everything else is the world's failure and passed on.
func (r *snapshotReader) fail(err error) {
	switch {
	case r.err != nil:
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		r.err = ErrDamaged
	default:
		r.err = err
	}
}

func (r *snapshotReader) bytes(n int) []byte {
	out := make([]byte, n)
	if r.err != nil {
		return out
	}
	if _, err := io.ReadFull(r.in, out); err != nil {
		r.fail(err)
		clear(out)
	}
	return out
}

func (r *snapshotReader) u64() uint64 { return binary.BigEndian.Uint64(r.bytes(8)) }

func (r *snapshotReader) flag() bool {
	v := r.bytes(1)[0]
	if v > 1 {
		r.fail(ErrDamaged)
	}
	return v == 1
}

func (r *snapshotReader) digest(out *crypto.Digest) { copy(out[:], r.bytes(len(out))) }

// sized reads bytes behind a length of the given width, nil for none.
func (r *snapshotReader) sized(width, limit int) []byte {
	var length [4]byte
	copy(length[4-width:], r.bytes(width))
	n := binary.BigEndian.Uint32(length[:])
	if n > uint32(limit) {
		r.fail(ErrDamaged)
	}
	if n == 0 || r.err != nil {
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

// end demands that nothing is left to read.
func (r *snapshotReader) end() {
	if r.err != nil {
		return
	}
	switch _, err := r.in.ReadByte(); {
	case err == nil:
		r.err = ErrDamaged
	case !errors.Is(err, io.EOF):
		r.err = err
	}
}
