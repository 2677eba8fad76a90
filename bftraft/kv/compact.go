package kv

import "slices"

// A compaction takes effect at once: from then on every answer, the digest and
// every new snapshot are as if nothing had ever been kept. The memory follows
// later: what was given up is released with the operations after it, a bounded
// number of changes with each. So a compaction stalls nobody, and a snapshot under
// way can hold on to what it has yet to write. Neither can be seen from outside.

// releaseChanges is how many changes an operation releases that were given up
// before. It is more than what an operation makes, counting with each put the
// deletion that may follow: what waits for its release dwindles.
const releaseChanges = 4 * MaxTxnOps

// markChanges is how many changes there are from one mark of the chain to the next:
// a compaction hashes no more, but for those of a last revision with many.
const markChanges = 1 << 10

// maxMoved is how many elements a release copies at most: a few MiB.
const maxMoved = 1 << 15

// compact gives up what only revisions up to the given one need.
func (m *Machine) compact(to Revision) error {
	if to <= m.compacted {
		return ErrCompacted
	}
	if to > m.revision {
		return ErrFutureRevision
	}
	from := m.compacted
	passed, _ := slices.BinarySearchFunc(m.marks, to+1, func(k mark, to Revision) int {
		return compareNumbers(uint64(k.revision), uint64(to))
	})
	if passed > 0 {
		from, m.anchor = m.marks[passed-1].revision, m.marks[passed-1].chain
		m.marks = slices.Delete(m.marks, 0, passed)
	}
	eachRevision(m.events[m.firstChange(from+1):m.firstChange(to+1)], func(changes []change) {
		m.anchor = extend(m.anchor, changes)
	})
	m.compacted = to
	return nil
}

// retire compacts once there are a quarter more revisions than are to be retained.
func (m *Machine) retire() {
	if kept := uint64(m.revision - m.compacted); m.retain == 0 || kept <= m.retain+m.retain/4 {
		return
	}
	if err := m.compact(m.revision - Revision(m.retain)); err != nil {
		panic("kv: a revision of our own cannot be compacted: " + err.Error())
	}
}

// extend leads the chain on by the changes of one revision, and marks it if that
// has not been done for long.
func (m *Machine) extend(changes []change) {
	m.chain = extend(m.chain, changes)
	m.unmarked += len(changes)
	if m.unmarked >= markChanges {
		m.marks = append(m.marks, mark{revision: changes[0].revision, chain: m.chain})
		m.unmarked = 0
	}
}

// release frees the memory of what was given up, of at most limit changes. A key
// that did not change since the last compaction has nothing to give up, so the
// changes lead to all of it.
func (m *Machine) release(limit int) {
	to := m.compacted
	if m.frozen != nil {
		to = m.frozen.compacted
	}
	n := 0
	for n < min(limit, len(m.events)) && m.events[n].revision <= to {
		h := m.events[n].history
		h.trim(m.events[n].revision)
		if len(h.versions) == 0 {
			m.keys.Delete(h)
		}
		n++
	}
	if n == 0 {
		return
	}
	clear(m.events[:n])
	m.events = m.events[n:]
	m.released += n
	if wasteful(m.released, len(m.events)) {
		m.events = slices.Clone(m.events)
		m.released = 0
	}
}

// trim drops the versions that a read at or above a revision cannot see.
func (h *history) trim(to Revision) {
	first := h.place(to)
	if first < 0 {
		return
	}
	if h.versions[first].deleted() {
		first++
	}
	clear(h.versions[:first])
	h.versions = h.versions[first:]
	h.released += first
	if wasteful(h.released, len(h.versions)) {
		h.versions = slices.Clone(h.versions)
		h.released = 0
	}
}

// wasteful says that an array of which a part was released and a rest is left
// should be exchanged for a smaller one. A rest that takes long to copy stays in
// it: either it becomes shorter too, or appending to it moves it before long.
func wasteful(released, left int) bool { return released > left && left <= maxMoved }

// append adds the version that comes after all others.
func (h *history) append(next version) {
	if len(h.versions) == cap(h.versions) {
		h.released = 0 // The versions move to a new array.
	}
	h.versions = append(h.versions, next)
}
