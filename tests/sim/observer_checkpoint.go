package sim

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// certifies is S5 and B12 of what honest nodes sign: at each checkpoint, which is committed, all
// have the same state and the same sessions.
func (o *observer) certifies(m *member, s *quorumcert.SignedCheckpoint) {
	if s.Signer != m.id {
		o.fail("B12", "node %d passes on the checkpoint of node %d", m.id, s.Signer)
	}
	if o.committed[s.Index] != s.Hash {
		o.fail("B12", "node %d certifies a state at %d that nothing committed leads to", m.id,
			s.Index)
	}
	said, ok := o.checkpoints[s.Index]
	if !ok {
		o.checkpoints[s.Index] = s.Checkpoint
		o.hit(seenCheckpoint)
		return
	}
	if said != s.Checkpoint {
		o.fail("S5", "node %d certifies another state at %d than others do", m.id, s.Index)
	}
}

// keeps is B12 of what honest nodes keep: a snapshot stands at a checkpoint that an honest node has
// signed, and its certificate convinces the naive verifier.
func (o *observer) keeps(m *member, at bftraft.Position, proof []byte) {
	manifest, ok := bftraft.DecodeManifest(proof)
	switch {
	case !ok || !o.naive.stable(&manifest.Stable, o.chart.configurationOf(at.Index+1)):
		o.fail("B12", "node %d keeps a snapshot at %d that nobody has certified", m.id, at.Index)
	case o.checkpoints[at.Index] != manifest.Stable.Checkpoint || manifest.Stable.Hash != at.Hash:
		o.fail("B12", "node %d keeps another snapshot at %d than honest nodes sign", m.id, at.Index)
	}
	o.hit(seenSnapshot)
}

// AddChunk implements replica.Snapshots: the chunk is on its way to the disk for a while.
func (d *watchedDisk) AddChunk(data []byte) error {
	if err := d.Memory.AddChunk(data); err != nil {
		return err
	}
	d.m.chunksAt = max(d.m.chunksAt, d.w.now) + max(d.m.chunkTime, d.m.flushTime)
	return nil
}

// Unwritten implements replica.Snapshots.
func (d *watchedDisk) Unwritten() int {
	each := max(d.m.chunkTime, d.m.flushTime, 1)
	return (max(d.m.chunksAt-d.w.now, 0) + each - 1) / each
}

// FinishSnapshot implements replica.Snapshots.
func (d *watchedDisk) FinishSnapshot(proof []byte) error {
	return d.durably(func() error {
		if err := d.Memory.FinishSnapshot(proof); err != nil {
			return err
		}
		if info, ok := d.Memory.Snapshot(); ok {
			d.w.watch.keeps(d.m, info.At, proof)
		}
		return nil
	})
}

// DropLog implements replica.Snapshots.
func (d *watchedDisk) DropLog(upTo bftraft.Position) error {
	return d.durably(func() error {
		err := d.Memory.DropLog(upTo)
		if err == nil {
			d.keeps(nil)
			d.w.watch.letsGo(d.m, upTo)
		}
		return err
	})
}

// InstallSnapshot implements replica.Snapshots.
func (d *watchedDisk) InstallSnapshot(hs bftraft.HardState, cc *quorumcert.Commit) error {
	return d.durably(func() error {
		err := d.Memory.InstallSnapshot(hs, cc)
		if err == nil {
			d.keeps(&hs)
			d.w.watch.installs(d.m, &hs, cc)
		}
		return err
	})
}

// letsGo is B12 of the log: no honest node lets go of what is not committed, or of what its lock,
// which must say that a quorum has it, does not reach (K1).
func (o *observer) letsGo(m *member, upTo bftraft.Position) {
	o.hit(seenDropped)
	if o.committed[upTo.Index] != upTo.Hash {
		o.fail("B12", "node %d lets go of the log up to %d, which was not committed", m.id, upTo.Index)
	}
	if hs := &m.durable; hs.Lock.Index < upTo.Index {
		o.fail("B12", "node %d lets go of the log up to %d with a lock at %d", m.id, upTo.Index,
			hs.Lock.Index)
	}
}

// installs is B12 and B5 of a state that takes the place of the log: it is of what was committed
// and beyond what the node has executed, and nothing that the node has signed is forgotten.
func (o *observer) installs(m *member, hs *bftraft.HardState, cc *quorumcert.Commit) {
	o.hit(seenInstalled)
	if m.proc != nil && m.proc.Stats().Resumed > 0 {
		o.hit(seenResumed)
	}
	at := bftraft.Position{Index: cc.Index, Hash: cc.Hash}
	if o.committed[at.Index] != at.Hash || !o.naive.commit(cc) {
		o.fail("B12", "node %d takes a state at %d, which was not committed", m.id, at.Index)
	}
	if at.Index <= o.executed[m.id].Index {
		o.fail("B12", "node %d takes a state at %d and has executed %d", m.id, at.Index,
			o.executed[m.id].Index)
	}
	if s := &o.signed[m.id]; s.mark.Higher(hs.Mark) || s.voteTerm > hs.Term ||
		s.voteTerm == hs.Term && s.voteTerm > 0 && s.vote != hs.Vote.Candidate {
		o.fail("B5", "node %d forgets what it has signed when it takes a state", m.id)
	}
	m.lock.tip = at
}
