package store

import (
	"fmt"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// SnapshotInfo says what a finished snapshot is of.
type SnapshotInfo = bftraft.SnapshotInfo

// MaxSnapshotProofBytes bounds the proof of a snapshot.
const MaxSnapshotProofBytes = bftraft.MaxManifestBytes

// takesChunk says whether a chunk may be added to a snapshot.
func takesChunk(info *SnapshotInfo, data []byte) error {
	if len(data) == 0 || len(data) > bftraft.MaxChunkBytes || info.Chunks == bftraft.MaxChunks {
		return fmt.Errorf("%w: chunk %d, %d bytes", ErrSnapshotSize, info.Chunks, len(data))
	}
	return nil
}

// takesProof says whether a snapshot may end with a proof.
func takesProof(proof []byte) error {
	if len(proof) > MaxSnapshotProofBytes {
		return fmt.Errorf("%w: proof of %d bytes", ErrSnapshotSize, len(proof))
	}
	return nil
}

// follows is what both stores compare with, before they take a snapshot or let go of the log.
type follows struct {
	chainView
	start     bftraft.Position // of the chain
	committed bftraft.Index
	hard      *bftraft.HardState
	finished  bftraft.Position // of the snapshot, zero for none
}

func unlinked(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnlinked, fmt.Sprintf(format, args...))
}

// has says whether a block of the chain ends at p, or the chain begins there.
func (f *follows) has(p bftraft.Position) bool {
	hash, ok := f.endHash(p.Index)
	return ok && hash == p.Hash
}

// snapshot says whether one of the state at a position may be taken in. Of another chain than ours
// it may be, but not if ours is committed so far.
func (f *follows) snapshot(at bftraft.Position) error {
	switch {
	case at.Index == 0 && (at != f.start || f.tip != f.start):
		return unlinked("a snapshot of the genesis, and the log has begun")
	case at.Index < f.start.Index || at.Index < f.finished.Index:
		return unlinked("a snapshot at %d, the base is %d, the last is at %d", at.Index,
			f.start.Index, f.finished.Index)
	case at.Index <= max(f.committed, f.start.Index) && !f.has(at):
		return unlinked("a snapshot at %d, which is not what is committed", at.Index)
	}
	return nil
}

// drop says whether the chain may begin behind upTo (K1).
func (f *follows) drop(upTo bftraft.Position) error {
	switch {
	case upTo.Index < f.start.Index || !f.has(upTo):
		return unlinked("the log cannot be dropped up to %d: no block ends there", upTo.Index)
	case upTo.Index > f.finished.Index || !f.has(f.finished):
		return unlinked("the log cannot be dropped up to %d: the snapshot is at %d", upTo.Index,
			f.finished.Index)
	case upTo.Index > f.committed || upTo.Index > f.hard.Lock.Index:
		return unlinked("the log cannot be dropped up to %d: committed %d, lock at %d", upTo.Index,
			f.committed, f.hard.Lock.Index)
	}
	return nil
}

// install says whether the finished snapshot may take the place of the chain. The lock may then lie
// where the snapshot ends, or stay where it was: below, or on a chain that was given up before the
// term of the commit.
func (f *follows) install(hard *bftraft.HardState, commit *quorumcert.Commit) error {
	at, lock := f.finished, hard.Lock
	switch {
	case at.Index <= max(f.committed, f.start.Index) || f.has(at):
		return unlinked("the snapshot at %d is no news: committed %d", at.Index, f.committed)
	case commit == nil || commit.Index != at.Index || commit.Hash != at.Hash:
		return unlinked("the commit is not of the snapshot at %d", at.Index)
	case lock.Index != at.Index && lock != f.hard.Lock:
		return unlinked("lock at %d, snapshot at %d", lock.Index, at.Index)
	case (lock.Index > at.Index || lock.Index == at.Index && lock.Hash != at.Hash) &&
		(lock != f.hard.Lock || lock.Term >= commit.Term):
		return unlinked("the lock at %d is not on the chain of the snapshot at %d", lock.Index,
			at.Index)
	}
	return goesBack(f.hard, hard)
}

// goesBack refuses a hard state after which less would be known of what the node has signed.
func goesBack(old, next *bftraft.HardState) error {
	switch {
	case next.Term < old.Term:
		return unlinked("term %d after %d", next.Term, old.Term)
	case old.Mark.Higher(next.Mark):
		return unlinked("the mark would be lower")
	case old.Forgot && !next.Forgot:
		return unlinked("that something was forgotten would be forgotten")
	case next.Term == old.Term && old.Vote.Candidate != 0 && next.Vote != old.Vote:
		return unlinked("the vote of term %d would be another", next.Term)
	}
	return nil
}
