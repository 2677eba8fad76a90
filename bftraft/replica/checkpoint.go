package replica

import (
	"errors"
	"fmt"
	"io"

	"tangaroa/bftraft"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// ErrDiverged is why a replica stops whose state is not what a quorum has certified: what its
// memory or its disk holds has changed. A start that replays the log may mend it.
var ErrDiverged = errors.New("the state of this node is not the one that a quorum has certified")

// ErrSnapshot is returned when a snapshot is not what its certificate says.
var ErrSnapshot = errors.New("snapshot does not fit its certificate")

// errTooLarge says that the state takes more chunks than a manifest names.
var errTooLarge = errors.New("state is too large for a snapshot")

// Freezer is a StateMachine that hands out a snapshot of one moment chunk by chunk while operations
// go on; machines with the same state cut it alike. A chunk may be empty while there is more.
type Freezer interface {
	Freeze()
	NextChunk(size int) (chunk []byte, more bool)
	Thaw()
}

// Snapshots keeps the newest finished snapshot, and one that is being written. What is refused
// without a failure of the storage, for want of space, leaves it as it was.
type Snapshots interface {
	BeginSnapshot(at bftraft.Position) error
	AddChunk(data []byte) error
	FinishSnapshot(proof []byte) error
	AbortSnapshot() error
	Snapshot() (bftraft.SnapshotInfo, bool)
	SnapshotChunk(k int) ([]byte, bool)
}

// Checkpoints says when a replica takes checkpoints, and where it keeps them (K1).
type Checkpoints struct {
	// Every is the number of entries from one to the next; all nodes share it. Zero: never.
	Every bftraft.Index
	// Store keeps the snapshots.
	Store Snapshots
	// ChunkBytes is the size of a chunk; all nodes share it. Zero stands for DefaultChunkBytes.
	ChunkBytes int
}

// DefaultChunkBytes is the size of a chunk: what is written of a snapshot in a tick.
const DefaultChunkBytes = bftraft.MaxChunkBytes

// validate says what keeps checkpoints of a state machine from being taken.
func (c *Checkpoints) validate(m StateMachine) error {
	bad := ""
	_, freezes := m.(Freezer)
	switch {
	case c.Every == 0:
		return nil
	case !freezes:
		bad = "Machine (must be a Freezer)"
	case c.Store == nil:
		bad = "Checkpoints.Store"
	case c.ChunkBytes < 1 || c.ChunkBytes > bftraft.MaxChunkBytes:
		bad = "Checkpoints.ChunkBytes (1 to MaxChunkBytes)"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s", bftraft.ErrConfig, bad)
}

// due says whether a checkpoint is to be taken at the end of a block: the first end at or beyond
// each multiple of Every.
func (c *Checkpoints) due(b *bftraft.Block) bool {
	return c.Every > 0 && b.Last()/c.Every > (b.First()-1)/c.Every
}

// taking is a checkpoint on its way.
type taking struct {
	at         bftraft.Position
	image      *imageScan // nil once it is written
	written    bool
	checkpoint quorumcert.Checkpoint // once all is written
	manifest   bftraft.Manifest
}

// freezer returns the state machine as what checkpoints need.
func (r *Replica) freezer() Freezer { return r.cfg.Machine.(Freezer) }

// takeCheckpoint begins a checkpoint after a block, if one is due there and none is being written.
// One that is written and that nobody has certified meanwhile makes room: were it waited for, nodes
// at different checkpoints would wait for each other.
func (r *Replica) takeCheckpoint(b *bftraft.Block) {
	c := &r.cfg.Checkpoints
	if !c.due(b) || r.taking != nil && !r.taking.written {
		return
	}
	if r.stable != nil && b.Last() < r.stable.Index {
		return // others have got further
	}
	if err := c.Store.BeginSnapshot(b.End()); err != nil {
		r.giveUp()
		return
	}
	r.freezer().Freeze()
	r.taking = &taking{at: b.End(), image: r.scanImage()}
}

// giveUp gives up the checkpoint on its way, for want of space or of use.
func (r *Replica) giveUp() {
	r.taking = nil
	r.freezer().Thaw()
	_ = r.cfg.Checkpoints.Store.AbortSnapshot() // if that fails the storage says so
}

// tickCheckpoint writes the next chunk.
func (r *Replica) tickCheckpoint() {
	t := r.taking
	if t == nil || t.written {
		return
	}
	if err := r.writeChunk(t); err != nil {
		r.giveUp()
		return
	}
	if t.written {
		state, sessions := t.manifest.Roots()
		t.checkpoint = quorumcert.Checkpoint{
			Cluster: r.cluster, Configuration: r.configs.For(t.at.Index).Entry(),
			Index: t.at.Index, Hash: t.at.Hash, State: state, Sessions: sessions,
		}
		r.core.Certify(t.checkpoint)
		r.settle()
	}
}

func (r *Replica) writeChunk(t *taking) error {
	size := r.cfg.Checkpoints.ChunkBytes
	if t.manifest.Chunks() == bftraft.MaxChunks {
		return errTooLarge
	}
	if t.image != nil {
		chunk, more := t.image.next(size)
		t.manifest.Sessions = append(t.manifest.Sessions, bftraft.SessionsChunk(chunk))
		if !more {
			t.image = nil
			if mutant.On(mutant.M128) {
				r.freezer().Freeze()
			}
		}
		return r.cfg.Checkpoints.Store.AddChunk(chunk)
	}
	chunk, more := r.freezer().NextChunk(size)
	t.written = !more
	if len(chunk) == 0 {
		return nil
	}
	t.manifest.State = append(t.manifest.State, bftraft.StateChunk(chunk))
	return r.cfg.Checkpoints.Store.AddChunk(chunk)
}

// sawStable takes notice of a certified checkpoint.
func (r *Replica) sawStable(st *quorumcert.Stable) {
	if r.stable == nil || st.Index > r.stable.Index {
		r.stable = st
		r.settle()
	}
}

// settle finishes the checkpoint on its way once it is certified.
func (r *Replica) settle() {
	t, st := r.taking, r.stable
	if t == nil || st == nil || st.Index < t.at.Index {
		return
	}
	switch {
	case st.Index > t.at.Index:
		r.giveUp() // others have got further, and nobody needs the older one
	case !t.written:
	case st.Checkpoint != t.checkpoint:
		r.stop(ErrDiverged)
	default:
		t.manifest.Stable = *st
		if err := r.cfg.Checkpoints.Store.FinishSnapshot(t.manifest.Encode()); err != nil {
			r.giveUp()
			return
		}
		r.taking = nil
		r.stats.Checkpoints++
	}
}

// restore starts from the finished snapshot, if there is one of what is known to be committed.
func (r *Replica) restore(commit bftraft.Position) error {
	c := &r.cfg.Checkpoints
	if c.Store == nil {
		return nil
	}
	info, ok := c.Store.Snapshot()
	if !ok || info.At.Index > commit.Index {
		return nil
	}
	m, ok := bftraft.DecodeManifest(info.Proof)
	if !ok || !m.Verify(r.cluster, r.configs) || m.Chunks() != info.Chunks ||
		info.At != (bftraft.Position{Index: m.Stable.Index, Hash: m.Stable.Hash}) {
		return ErrSnapshot
	}
	first := len(m.Sessions)
	read, convicted, err := readImage(
		&chunkReader{store: c.Store, manifest: m, to: first}, r.cluster, r.cfg.Limits)
	if err != nil {
		return fmt.Errorf("restore sessions: %w", err)
	}
	err = r.cfg.Machine.Restore(
		&chunkReader{store: c.Store, manifest: m, next: first, to: m.Chunks()})
	if err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	if !mutant.On(mutant.M130) {
		r.sessions, r.evidence.convicted = read, convicted
	}
	r.executed, r.stable = info.At, &m.Stable
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
