package replica

import (
	"errors"
	"fmt"

	"tangaroa/bftraft"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// ErrDiverged is why a replica stops whose state is not what a quorum has certified: what its
// memory or its disk holds has changed. A start that replays the log may mend it.
var ErrDiverged = errors.New("the state of this node is not the one that a quorum has certified")

// ErrSnapshot is returned when a snapshot is not what its certificate says.
var ErrSnapshot = errors.New("snapshot does not fit its certificate")

// ErrOrigin is returned when the state is missing with which the cluster begins.
var ErrOrigin = errors.New("the state is missing that this cluster begins with")

// errTooLarge says that the state takes more chunks than a manifest names.
var errTooLarge = errors.New("state is too large for a snapshot")

// Freezer is a StateMachine that hands out a snapshot of one moment chunk by chunk while operations
// go on; machines with the same state cut it alike. A chunk may be empty while there is more.
type Freezer interface {
	Freeze()
	NextChunk(size int) (chunk []byte, more bool)
	Thaw()
}

// Restorer is a StateMachine that takes in a snapshot chunk by chunk as it comes, and is as it was
// until FinishRestore. An error of RestoreChunk says that no state comes of it.
type Restorer interface {
	BeginRestore()
	RestoreChunk(chunk []byte) error
	FinishRestore() error
	AbortRestore()
}

// Snapshots keeps the newest finished snapshot, and one that is being written. What is refused
// without a failure of the storage, for want of space, leaves it as it was.
type Snapshots interface {
	BeginSnapshot(at bftraft.Position) error
	AddChunk(data []byte) error
	FinishSnapshot(proof []byte) error
	AbortSnapshot() error
	// Unwritten is how many chunks wait for the disk, and so how long FinishSnapshot may take.
	Unwritten() int
	// Unfinished says what an earlier process began, ResumeSnapshot goes on with it, and BegunChunk
	// and CutSnapshot judge what is there of it.
	Unfinished() (bftraft.SnapshotInfo, bool)
	ResumeSnapshot() error
	BegunChunk(k int) ([]byte, bool)
	CutSnapshot(k int) error
	Snapshot() (bftraft.SnapshotInfo, bool)
	SnapshotChunk(k int) ([]byte, bool)
	// HoldSnapshot keeps the finished one for others beside newer ones, until ReleaseSnapshot.
	HoldSnapshot() error
	ReleaseSnapshot() error
	HeldSnapshot() (bftraft.SnapshotInfo, bool)
	HeldChunk(k int) ([]byte, bool)
	// DropLog lets the log begin behind a block's end, in favour of the finished snapshot, and
	// InstallSnapshot puts that in the place of the log.
	DropLog(upTo bftraft.Position) error
	InstallSnapshot(bftraft.HardState, *quorumcert.Commit) error
}

// Checkpoints says when a replica takes checkpoints, and where it keeps them (K1).
type Checkpoints struct {
	// Every is the number of entries from one to the next, and Bytes the size of the blocks,
	// whichever comes first; all nodes share them. Zeros stand for no bound, both: never.
	Every bftraft.Index
	Bytes uint64
	// Store keeps the snapshots.
	Store Snapshots
	// Keep is how many entries before the newest checkpoint stay in the log, for who is a little
	// behind, but none from before the checkpoint before that.
	Keep bftraft.Index
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
	case !c.taken():
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

// taken says whether checkpoints are taken at all.
func (c *Checkpoints) taken() bool { return c.Every > 0 || c.Bytes > 0 }

// due says whether a checkpoint is to be taken at the end of a block, before which there were so
// many bytes since the last: the first end at or beyond each multiple of Every, or with Bytes.
func (c *Checkpoints) due(b *bftraft.Block, bytes uint64) bool {
	return c.Every > 0 && b.Last()/c.Every > (b.First()-1)/c.Every ||
		c.Bytes > 0 && bytes+uint64(len(b.Raw())) >= c.Bytes
}

// passes says whether a checkpoint is due at the end of a block that was just executed, and counts
// its bytes.
func (r *Replica) passes(b *bftraft.Block) bool {
	due := r.cfg.Checkpoints.due(b, r.logged)
	if r.logged += uint64(len(b.Raw())); due {
		r.logged = 0
	}
	return due
}

// taking is a checkpoint on its way.
type taking struct {
	at         bftraft.Position
	dues       int                   // of the stride, when it was begun
	image      *imageScan            // nil once it is written
	pause      int                   // ticks until the next chunk
	ended      bool                  // the last chunk is on its way to the disk,
	written    bool                  // or there
	checkpoint quorumcert.Checkpoint // once all is written
	stable     *quorumcert.Stable    // what certifies it, once that is known
	manifest   bftraft.Manifest
}

// freezer returns the state machine as what checkpoints need.
func (r *Replica) freezer() Freezer { return r.cfg.Machine.(Freezer) }

// takeCheckpoint begins a checkpoint after a block at which one is due, if its turn has come and
// none is being written. One that is written and that nobody has certified meanwhile makes room:
// were it waited for, nodes at different checkpoints would wait for each other.
func (r *Replica) takeCheckpoint(b *bftraft.Block) {
	c := &r.cfg.Checkpoints
	if !r.stride.takes(b.Last()) || r.transfer != nil {
		return
	}
	if t := r.taking; t != nil {
		r.stride.widen(b.Last() - t.at.Index)
		if !t.written {
			return
		}
	}
	if r.stable != nil && b.Last() < r.stable.Index {
		return // others have got further
	}
	if err := c.Store.BeginSnapshot(b.End()); err != nil {
		r.giveUp()
		return
	}
	r.freezer().Freeze()
	r.taking = &taking{at: b.End(), dues: r.stride.since, image: r.scanImage()}
	if r.stable != nil && r.stable.Index == b.Last() {
		r.taking.stable = r.stable
		return
	}
	r.core.Want(b.Last())
}

// giveUp gives up the checkpoint on its way, for want of space or of use.
func (r *Replica) giveUp() {
	r.taking = nil
	r.core.Want(0)
	r.freezer().Thaw()
	_ = r.cfg.Checkpoints.Store.AbortSnapshot() // if that fails the storage says so
}

const (
	// pacedBytes is how much is written of a snapshot in a tick on average, so that no more than a
	// part of each is taken from the clients.
	pacedBytes = 384 << 10
	// mostUnwritten is how many chunks may wait for the disk before another is written.
	mostUnwritten = 2
)

// tickCheckpoint writes the next chunk. It waits for no disk.
func (r *Replica) tickCheckpoint() {
	t := r.taking
	switch {
	case t == nil || t.written:
		return
	case t.pause > 0:
		t.pause--
		return
	case !t.ended && r.cfg.Checkpoints.Store.Unwritten() > mostUnwritten:
		return
	case !t.ended:
		if err := r.writeChunk(t); err != nil {
			r.giveUp()
			return
		}
	}
	if t.written = t.ended && r.cfg.Checkpoints.Store.Unwritten() == 0; t.written {
		r.stride.wrote(r.stride.since - t.dues)
		state, sessions := t.manifest.Roots()
		t.checkpoint = quorumcert.Checkpoint{
			Cluster: r.cluster, Configuration: r.configs().Behind(t.at.Index).Entry(),
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
		t.pause = len(chunk) / pacedBytes
		return r.cfg.Checkpoints.Store.AddChunk(chunk)
	}
	chunk, more := r.freezer().NextChunk(size)
	t.ended, t.pause = !more, len(chunk)/pacedBytes
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
	}
	if t := r.taking; t != nil && st.Index == t.at.Index {
		t.stable = st
	}
	r.settle()
}

// settle finishes the checkpoint on its way once it is certified. If others have got further by
// then this node needs it all the same: else one that always is the last to write would keep none.
func (r *Replica) settle() {
	t := r.taking
	if t != nil && r.stable != nil && r.stable.Index > t.at.Index && mutant.On(mutant.M170) {
		r.giveUp()
		return
	}
	switch {
	case t == nil, t.stable == nil, !t.written:
	case t.stable.Checkpoint != t.checkpoint:
		r.stop(ErrDiverged)
	default:
		r.keep(t)
	}
}

// keep finishes the checkpoint on its way with its proof. What it stands on becomes durable before:
// a snapshot beyond what is known to be committed after a crash would have to be fetched anew.
func (r *Replica) keep(t *taking) {
	commit := r.core.CommitOf(t.at)
	if commit == nil {
		r.giveUp()
		return
	}
	t.manifest.Stable, t.manifest.Commit = *t.stable, *commit
	t.manifest.Changes = r.Verifier().ChangesUpTo(t.at.Index)
	if err := r.cfg.Storage.Save(&bftraft.Ready{MustSync: true}); err != nil {
		r.stop(fmt.Errorf("save: %w", err))
		return
	}
	before, _ := r.cfg.Checkpoints.Store.Snapshot()
	if err := r.cfg.Checkpoints.Store.FinishSnapshot(t.manifest.Encode()); err != nil {
		r.giveUp()
		return
	}
	r.stride.kept(r.executed.Index-t.at.Index, r.stride.since-t.dues)
	r.taking, r.untidy, r.previous = nil, true, before.At.Index
	r.stats.Checkpoints++
}

// restore starts from the finished snapshot, if there is one of what is known to be committed.
func (r *Replica) restore(commit bftraft.Position) error {
	c := &r.cfg.Checkpoints
	begins := r.cfg.Origin != (bftraft.Origin{})
	var info bftraft.SnapshotInfo
	ok := false
	if c.Store != nil {
		info, ok = c.Store.Snapshot()
	}
	switch {
	case !ok && begins:
		return ErrOrigin
	case ok && info.At.Index == 0:
		return r.begin(info)
	case !ok || info.At.Index > commit.Index:
		return nil
	}
	m, err := manifestOf(&r.cfg, info)
	if err != nil {
		return err
	}
	return r.adopt(m, false)
}

// begin starts from the state that the cluster begins with.
func (r *Replica) begin(info bftraft.SnapshotInfo) error {
	m, ok := bftraft.DecodeManifest(info.Proof)
	if !ok || m.Chunks() != info.Chunks || !m.Begins(&r.cfg.Origin) {
		return ErrSnapshot
	}
	all := &chunkReader{store: r.cfg.Checkpoints.Store, manifest: m, to: m.Chunks()}
	if err := r.cfg.Machine.Restore(all); err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	return nil
}
