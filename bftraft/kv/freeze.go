package kv

// Freeze begins a snapshot of the state as it is now, to be taken by NextChunk
// while operations go on. It ends one that is under way. Its cost is that of
// Digest, whatever the size of the state.
//
// As long as the snapshot is under way, the memory of what is compacted after
// Freeze is kept: it must be brought to its end, or given up by Thaw. Nothing else
// tells a store with a snapshot under way from one without.
func (m *Machine) Freeze() { m.frozen = m.newScan() }

// NextChunk returns the next piece of the snapshot under way, and whether there are
// further ones; with the last the snapshot ends. The chunks are together what
// Snapshot would have written at the time of Freeze. Each has exactly size bytes,
// but for the last, which may be shorter: stores with the same state cut it alike.
//
// The cost of a call is that of size bytes and at most one value, and bounded also
// when there are many keys to be passed over because they came after Freeze. Then
// the chunk may be nil and more true: the call has got further, and the chunk comes
// with a later one. Without a snapshot under way it is nil, and more false.
//
// The chunk is valid until the next call, which uses its memory again. The size must
// be positive.
func (m *Machine) NextChunk(size int) (chunk []byte, more bool) {
	if size <= 0 {
		panic("kv: a chunk must have bytes")
	}
	s := m.frozen
	if s == nil {
		return nil, false
	}
	if !s.ended && len(s.pending)-s.taken < size {
		left := copy(s.pending, s.pending[s.taken:])
		s.pending, s.taken = s.pending[:left], 0
		s.fill(m.keys, size)
	}
	chunk = s.pending[s.taken:]
	switch {
	case s.ended && len(chunk) <= size:
		m.Thaw()
		return chunk, false
	case len(chunk) < size:
		return nil, true
	}
	s.taken += size
	return chunk[:size:size], true
}

// Thaw ends the snapshot under way. It does nothing if there is none.
func (m *Machine) Thaw() { m.frozen = nil }
