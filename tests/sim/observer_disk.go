package sim

import (
	"bytes"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// stores is S3: whoever has the same chain hash at the same index has the same block there, and so,
// the hash before it being part of the block, the same log up to it.
func (o *observer) stores(m *member, b *bftraft.Block) {
	old, ok := o.stored[b.End()]
	if ok && !bytes.Equal(old.Raw(), b.Raw()) {
		o.fail("S3", "node %d stores another block under the hash of %d", m.id, b.Last())
	}
	o.stored[b.End()] = b
}

// locks notes how a node's lock moves.
func (o *observer) locks(_ *member, before, after *bftraft.HardState) {
	if before.Lock.Term > 0 && after.Lock.Term > before.Lock.Term {
		o.hit(seenLockRaised)
	}
}

// leaves is D1, and with ackLeaves and voteLeaves B4: a node whose disk has failed says nothing
// more, and at the moment a statement leaves a node, its disk implies it.
func (o *observer) leaves(m *member, to bftraft.NodeID, frame []byte) {
	o.answers(m, to, frame)
	if m.failed && frame[0] != bftraft.FrameRequest { // these are signed by clients
		o.fail("D1", "node %d sends a message after its disk has failed", m.id)
	}
	if len(m.left) == len(frame) && &m.left[0] == &frame[0] {
		return // the same to another node
	}
	m.left = frame
	if msg, drop := bftraft.DecodeMessage(frame); drop == bftraft.Accepted {
		o.said(m, msg)
	}
}

func (o *observer) voteLeaves(m *member, v *quorumcert.SignedVote) {
	hs := &m.durable
	if hs.Term < v.Term || hs.Term == v.Term && hs.Vote.Candidate != v.Candidate {
		o.fail("B4", "node %d sends a vote of term %d that its disk does not know", m.id, v.Term)
	}
}

func (o *observer) ackLeaves(m *member, a *quorumcert.SignedAck) {
	hs := &m.durable
	if a.Term < hs.Term {
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
	if at := (bftraft.Position{Index: a.Index, Hash: a.Hash}); !m.holds(at) {
		o.fail("B4", "node %d acks block %d that its disk does not hold", m.id, a.Index)
	}
}

// truncates is S2: a leader does not take back what it proposed.
func (o *observer) truncates(m *member, r *bftraft.Ready, leader bftraft.NodeID) {
	if !r.Truncated {
		return
	}
	o.hit(seenTruncated)
	if leader == m.id && m.durable.Mark.Term == m.durable.Term &&
		r.Truncate < m.durable.Mark.Index {
		o.fail("S2", "leader %d goes back to %d behind its mark %d", m.id, r.Truncate,
			m.durable.Mark.Index)
	}
}

// restarts is B5: what a node finds on its disk is not behind anything it ever signed.
func (o *observer) restarts(m *member) {
	r, err := m.disk.Load()
	if err != nil || m.dead {
		return // boot judges that
	}
	s, hs := &o.signed[m.id], &r.HardState
	if s.mark.Higher(hs.Mark) {
		o.fail("B5", "node %d acked %d,%d and restarts with mark %d,%d", m.id, s.mark.Term,
			s.mark.Index, hs.Mark.Term, hs.Mark.Index)
	}
	if s.voteTerm > hs.Term || s.voteTerm == hs.Term && s.voteTerm > 0 &&
		s.vote != hs.Vote.Candidate {
		o.fail("B5", "node %d voted for %d in term %d and restarts in term %d, vote %d", m.id,
			s.vote, s.voteTerm, hs.Term, hs.Vote.Candidate)
	}
	if s.certified.Term == hs.Term && s.certified.Higher(hs.Lock) {
		o.fail("B5", "node %d claimed %d certified in term %d and restarts with lock %d,%d", m.id,
			s.certified.Index, s.certified.Term, hs.Lock.Term, hs.Lock.Index)
	}
}

// holds says whether a node's disk holds a block that ends at a position, or begins there.
func (m *member) holds(at bftraft.Position) bool {
	if at.Index == 0 || at == m.disk.Base() {
		return true
	}
	b, ok := m.disk.Block(at.Index)
	return ok && b.End() == at
}
