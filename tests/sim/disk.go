package sim

import (
	"bytes"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/quorumcert"
)

// watchedDisk is an honest node's disk as the observer sees it: it knows what a crash would leave.
type watchedDisk struct {
	*store.Memory
	w *World
	m *member
}

// Save implements replica.Storage.
func (d *watchedDisk) Save(r *bftraft.Ready) error {
	if err := d.Memory.Save(r); err != nil {
		return err
	}
	for _, b := range r.Blocks {
		d.w.watch.stores(d.m, b)
	}
	if r.HardState != nil {
		d.m.saved = *r.HardState
	}
	if d.Unsynced() == 0 {
		d.m.durable = d.m.saved
	}
	return nil
}

// stores is S3: whoever has the same chain hash at the same index has the same block there, and so,
// the hash before it being part of the block, the same log up to it.
func (o *observer) stores(m *member, b *bftraft.Block) {
	old, ok := o.stored[b.End()]
	if ok && !bytes.Equal(old.Raw(), b.Raw()) {
		o.fail("S3", "node %d stores another block under the hash of %d", m.id, b.Last())
	}
	o.stored[b.End()] = b
}

// leaves is B4: at the moment a statement leaves a node, its disk implies it.
func (o *observer) leaves(m *member, frame []byte) {
	msg, drop := bftraft.DecodeMessage(frame)
	if drop != bftraft.Accepted {
		return
	}
	switch msg := msg.(type) {
	case *bftraft.AppendEntries:
		o.ackLeaves(m, &msg.Ack)
	case *bftraft.AppendEntriesResponse:
		o.ackLeaves(m, &msg.Ack)
	case *bftraft.RequestVoteResponse:
		hs := &m.durable
		if hs.Term < msg.Vote.Term ||
			hs.Term == msg.Vote.Term && hs.Vote.Candidate != msg.Vote.Candidate {
			o.fail("B4", "node %d sends a vote of term %d that its disk does not know", m.id,
				msg.Vote.Term)
		}
	}
}

func (o *observer) ackLeaves(m *member, a *quorumcert.SignedAck) {
	hs := &m.durable
	if a.Signer != m.id || a.Term < hs.Term {
		return
	}
	mark := bftraft.Lock{Term: a.Term, Index: a.Index, Hash: a.Hash}
	if mark.Higher(hs.Mark) || mark.Index == hs.Mark.Index && mark != hs.Mark {
		o.fail("B4", "node %d sends an ack of %d,%d with mark %d,%d on its disk", m.id, a.Term,
			a.Index, hs.Mark.Term, hs.Mark.Index)
	}
	if a.Certified > 0 && (hs.Lock.Term < a.Term || hs.Lock.Index < a.Certified) {
		o.fail("B4", "node %d claims %d certified in term %d with lock %d,%d on its disk", m.id,
			a.Certified, a.Term, hs.Lock.Term, hs.Lock.Index)
	}
	if b, ok := m.disk.Block(a.Index); a.Index > 0 && (!ok || b.End().Hash != a.Hash) {
		o.fail("B4", "node %d acks block %d that its disk does not hold", m.id, a.Index)
	}
}

// truncates is S2: a leader does not take back what it proposed.
func (o *observer) truncates(m *member, r *bftraft.Ready, leader bftraft.NodeID) {
	if r.Truncated && leader == m.id && m.durable.Mark.Term == m.durable.Term &&
		r.Truncate < m.durable.Mark.Index {
		o.fail("S2", "leader %d goes back to %d behind its mark %d", m.id, r.Truncate,
			m.durable.Mark.Index)
	}
}
