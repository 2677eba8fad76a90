package replica

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// holding says since when a snapshot is held for who fetches it, and when it was last asked for.
type holding struct{ since, asked uint64 }

// serveState answers a peer that fetches a state, which it must show that it lacks: so many parts
// in a while, of the newest snapshot, or of one that is held. Who begins to fetch is shown the one
// that is held, if that is any news to it: that one will not go, nor will the log that follows it.
func (r *Replica) serveState(from bftraft.NodeID, m *bftraft.FetchState) bftraft.Drop {
	c := &r.cfg.Checkpoints
	if r.parts[from]++; c.Store == nil || r.parts[from] > maxParts {
		return bftraft.Unserved
	}
	info, ok := c.Store.Snapshot()
	if held, some := c.Store.HeldSnapshot(); m.Part == bftraft.ManifestPart && some &&
		held.At.Index > r.core.Shows(from) && m.At != info.At.Index {
		info = held
	}
	answer := &bftraft.StatePart{Part: m.Part}
	switch {
	case !ok, info.At.Index == 0, // the genesis names that one, and no certificate
		r.core.Shows(from) >= info.At.Index:
	case m.Part == bftraft.ManifestPart:
		answer.At, answer.Data = info.At.Index, info.Proof
	default:
		answer.At = info.At.Index
		if data, ok := r.chunkAt(m.At, int(m.Part), info); ok {
			answer.At, answer.Data = m.At, data
		}
	}
	if r.checkStorage(); r.stopped != nil {
		return bftraft.Unserved
	}
	r.tell(quorumcert.SetOf(from), bftraft.ClassBulk, answer)
	return bftraft.Accepted
}

// chunkAt returns a chunk of the newest snapshot, which is then held unless another is, or of the
// one that is held.
func (r *Replica) chunkAt(at bftraft.Index, k int, newest bftraft.SnapshotInfo) ([]byte, bool) {
	c := &r.cfg.Checkpoints
	held, ok := c.Store.HeldSnapshot()
	if ok && held.At.Index == at {
		r.holding.asked = r.now
		return c.Store.HeldChunk(k)
	}
	if newest.At.Index != at {
		return nil, false
	}
	if !ok {
		if c.Store.HoldSnapshot() != nil {
			return nil, false
		}
		r.holding = holding{since: r.now, asked: r.now}
	}
	return c.Store.SnapshotChunk(k)
}

// tickHold lets go of a snapshot that nobody fetches any more, or for too long.
func (r *Replica) tickHold() {
	c := &r.cfg.Checkpoints
	if c.Store == nil {
		return
	}
	if _, some := c.Store.HeldSnapshot(); !some {
		return
	}
	if r.now-r.holding.asked < holdIdle && r.now-r.holding.since < holdMost {
		return
	}
	r.holding, r.untidy = holding{}, true
	_ = c.Store.ReleaseSnapshot() // if that fails the storage says so
}

// tidyLog lets go of the log before the newest snapshot, less a tail for who is a little behind,
// and before none that is held: who fetches it goes on from there (K1).
func (r *Replica) tidyLog() {
	c := &r.cfg.Checkpoints
	r.untidy = false
	info, ok := c.Store.Snapshot()
	if !ok {
		return
	}
	from := info.At.Index
	if held, ok := c.Store.HeldSnapshot(); ok {
		from = min(from, held.At.Index)
	}
	from -= min(c.Keep, from-min(from, r.previous))
	if from <= r.core.Base().Index {
		return
	}
	upTo := r.core.Floor(from)
	if !r.core.MayDropLog(upTo) {
		r.untidy = true // once the lock is there, or the next checkpoint
		return
	}
	if c.Store.DropLog(upTo) != nil {
		r.untidy = true
		return
	}
	r.core.DropLog(upTo)
	r.stats.Dropped++
}
