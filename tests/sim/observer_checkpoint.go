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
	case !ok || !o.naive.stable(&manifest.Stable):
		o.fail("B12", "node %d keeps a snapshot at %d that nobody has certified", m.id, at.Index)
	case o.checkpoints[at.Index] != manifest.Stable.Checkpoint || manifest.Stable.Hash != at.Hash:
		o.fail("B12", "node %d keeps another snapshot at %d than honest nodes sign", m.id, at.Index)
	}
	o.hit(seenSnapshot)
}

// FinishSnapshot implements replica.Snapshots.
func (d *watchedDisk) FinishSnapshot(proof []byte) error {
	if err := d.Memory.FinishSnapshot(proof); err != nil {
		if d.Memory.Err() != nil {
			d.notSynced()
		}
		return err
	}
	if info, ok := d.Memory.Snapshot(); ok {
		d.w.watch.keeps(d.m, info.At, proof)
	}
	return nil
}
