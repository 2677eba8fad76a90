package replica

import (
	"fmt"
	"io"

	"tangaroa/bftraft"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// A state that is fetched is restored while it comes (K1), in the time in which others read and
// send the next chunks, so that there is little left to do in one turn when all is here. The state
// machine is as it was until the state is adopted.

// beginRestore has the state machine take in the state that storage is about to take in, if it can.
func (r *Replica) beginRestore() {
	machine, can := r.cfg.Machine.(Restorer)
	if r.transfer.restores = can; can {
		machine.BeginRestore()
	}
}

// restoreChunk hands on the chunk that storage takes next, which is the one that is certified. What
// no state comes of is restored once more from storage, and then it is said why.
func (r *Replica) restoreChunk(data []byte) {
	t := r.transfer
	if !t.restores || t.next < len(t.manifest.Sessions) {
		return
	}
	if r.cfg.Machine.(Restorer).RestoreChunk(data) != nil {
		r.abortRestore()
	}
}

func (r *Replica) abortRestore() {
	if t := r.transfer; t.restores {
		t.restores = false
		r.cfg.Machine.(Restorer).AbortRestore()
	}
}

// adopt takes over the state of the finished snapshot, of which the state machine has all chunks
// already or none.
func (r *Replica) adopt(m *bftraft.Manifest, restored bool) error {
	c := &r.cfg.Checkpoints
	first := len(m.Sessions)
	read, convicted, err := readImage(
		&chunkReader{store: c.Store, manifest: m, to: first}, r.cluster, r.cfg.Limits)
	if err != nil {
		return fmt.Errorf("restore sessions: %w", err)
	}
	if restored {
		err = r.cfg.Machine.(Restorer).FinishRestore()
	} else {
		err = r.cfg.Machine.Restore(
			&chunkReader{store: c.Store, manifest: m, next: first, to: m.Chunks()})
	}
	if err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	if r.gate, err = r.cfg.Core.Verifier.Genesis().Following(m.Changes); err != nil {
		return fmt.Errorf("restore members: %w", err)
	}
	if !mutant.On(mutant.M130) {
		r.sessions, r.evidence.convicted = read, convicted
	}
	proofs := make([]quorumcert.Evidence, 0, len(r.evidence.convicted))
	for i := range r.evidence.convicted {
		proofs = append(proofs, r.evidence.convicted[i].Evidence)
	}
	r.core.Convict(proofs)
	r.executed, r.logged = m.At(), 0
	r.stride.due, r.stride.since = m.At().Index, 0
	if r.stable == nil || m.Stable.Index > r.stable.Index {
		r.stable = &m.Stable
	}
	r.core.Remember(&m.Stable)
	return nil
}

// chunkReader reads chunks one after the other, each judged by the manifest.
type chunkReader struct {
	store    Snapshots
	manifest *bftraft.Manifest
	next, to int
	rest     []byte
}

// Read reads on, with ErrSnapshot when a chunk is not the one that is certified.
func (c *chunkReader) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if c.next == c.to {
			return 0, io.EOF
		}
		chunk, ok := c.store.SnapshotChunk(c.next)
		if !ok || !c.manifest.Holds(c.next, chunk) {
			return 0, fmt.Errorf("%w: chunk %d", ErrSnapshot, c.next)
		}
		c.rest = chunk
		c.next++
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}
