package kv

import (
	"slices"

	"github.com/tidwall/btree"
	"golang.org/x/crypto/cryptobyte"

	"tangaroa/crypto"
)

// maxSkipped is how many keys without a place in the snapshot a step of a scan
// passes over at most.
const maxSkipped = 1 << 12

// scan writes the snapshot of the state at one moment, a piece at a time. Versions
// are only ever added with higher revisions, and those that the snapshot needs are
// not released while it is under way: so the revisions of that moment suffice to
// find it in what the histories have become.
type scan struct {
	compacted Revision
	revision  Revision
	anchor    crypto.Digest
	digest    crypto.Digest
	// last is the key begun last, nil before the head is written and one below all
	// others after it. Its versions are written up to the revision written, which is
	// that of the snapshot if none is left.
	last    *history
	written Revision
	// pending is what has been written and, from taken on, not yet been taken.
	pending []byte
	taken   int
	// ended says that nothing is left to be written.
	ended bool
}

func (m *Machine) newScan() *scan {
	return &scan{
		compacted: m.compacted, revision: m.revision, anchor: m.anchor, digest: m.Digest(),
	}
}

// fill writes until size bytes are pending, the snapshot ends, or too many keys
// had to be passed over.
func (s *scan) fill(keys *btree.BTreeG[*history], size int) {
	const spill = 1 << 12 // for the version that exceeds the size
	s.pending = slices.Grow(s.pending, max(0, size+spill-len(s.pending)))
	out := writer{cryptobyte.NewBuilder(s.pending)}
	defer func() { s.pending = out.BytesOrPanic() }()
	if s.last == nil {
		s.last = &history{}
		out.AddBytes([]byte(snapshotMagic))
		out.AddUint64(uint64(s.compacted))
		out.AddUint64(uint64(s.revision))
		out.AddBytes(s.anchor[:])
	}
	s.changes(out, size)
	if out.size() >= size {
		return
	}
	stopped, skipped := false, 0
	keys.Ascend(s.last, func(h *history) bool {
		if byKey(h, s.last) == 0 {
			return true
		}
		if stopped = out.size() >= size || skipped == maxSkipped; stopped {
			return false
		}
		if !s.key(out, h) {
			skipped++
		}
		s.changes(out, size)
		return true
	})
	if stopped || out.size() >= size {
		return
	}
	out.key(nil)
	out.AddBytes(s.digest[:])
	s.ended = true
}

// key begins a key, and writes all but its changes. It says false if the snapshot
// does not have the key.
func (s *scan) key(out writer, h *history) bool {
	s.last, s.written = h, s.revision
	base, end := h.place(s.compacted), h.place(s.revision)
	hasBase := base >= 0 && !h.versions[base].deleted()
	if !hasBase && base == end {
		return false
	}
	out.key(h.key)
	out.flag(hasBase)
	if hasBase {
		out.held(h.kv(h.versions[base]))
	}
	out.AddUint64(uint64(end - base))
	s.written = s.compacted
	return true
}

// changes writes those of the last key that are left, until size bytes are pending:
// a history can be long.
func (s *scan) changes(out writer, size int) {
	if s.written == s.revision {
		return
	}
	left := s.last.versions[s.last.place(s.written)+1 : s.last.place(s.revision)+1]
	for _, v := range left {
		if out.size() >= size {
			return
		}
		out.AddUint64(uint64(v.mod))
		out.flag(v.deleted())
		if !v.deleted() {
			out.value(v.value)
		}
		s.written = v.mod
	}
	s.written = s.revision
}
