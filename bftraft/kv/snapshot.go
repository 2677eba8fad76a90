package kv

import (
	"errors"
	"fmt"
	"io"
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
