// Veiled keeps its election from one follower: it asks for that one's vote no more than it shows it
// the outcome, or any proposal. But it shows it the certificates of the term, so that the follower
// has a lock of a term of which it knows no leader. A protocol that minds the acks of a term, and
// not its certificates, has that follower stand for election with such a lock, or, once told of the
// election together with another block, replace by it what is certified. Who holds a certificate of
// a term does not stand in it, and what it certifies is frozen (Drop conflict).

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

var veiled = Attack{
	Name: "veiled",
	Does: "leads unknown to one follower, and shows it what is certified and then another block",
	Caught: "who holds a certificate of a term does not stand in it, nor replaces what it " +
		"certifies",
	Options: []Option{word("tells", "whether it shows the follower its election in the end, and "+
		"another block with it", "late", "never")},
	make: func(v *values) Behaviour { return &veil{late: v.word("tells") == "late"} },
}

// veil remembers what it proposed in its term, and what it has shown.
type veil struct {
	Honest
	late     bool
	term     bftraft.Term
	blocks   []*bftraft.Block
	election *quorumcert.EC
	base     *quorumcert.QC
	told     bool
}

// follower is who is kept in the dark.
func (*veil) follower(e *Env) bftraft.NodeID {
	members := e.Others().Members()
	return members[len(members)-1]
}

// Outbound keeps from the follower whatever says that the liar leads, its own acks among it.
func (v *veil) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	if t := e.Core.Term(); t != v.term {
		*v = veil{late: v.late, term: t}
	}
	dark := v.follower(e)
	var out []bftraft.Outbound
	for _, m := range honest {
		switch msg := m.Msg.(type) {
		case *bftraft.RequestVote, *bftraft.AppendEntriesResponse:
			m.To = m.To.Without(dark)
		case *bftraft.AppendEntries:
			v.notes(msg)
			m.To = m.To.Without(dark)
		case *bftraft.Proof:
			if msg.EC != nil && msg.EC.Leader == e.ID() {
				m.To = m.To.Without(dark)
			}
		case *bftraft.Chain:
			if m.To.Has(dark) {
				m.Msg = e.sign(&bftraft.Chain{Blocks: msg.Blocks})
			}
		}
		if m.To != 0 {
			out = append(out, m)
		}
	}
	return out
}

// notes remembers the election, and what was proposed in the term.
func (v *veil) notes(m *bftraft.AppendEntries) {
	if m.Election != nil {
		v.election, v.base = m.Election, m.BaseQC
	}
	v.blocks = append(v.blocks, m.Blocks...)
	if n := len(v.blocks); n > 64 {
		v.blocks = v.blocks[n-64:]
	}
}

// Tick shows the follower what is certified.
func (v *veil) Tick(e *Env) {
	lock, qc := e.Core.LockWithQC()
	if e.leading() && lock.Term == e.Core.Term() && !v.told && e.Now%3 == 0 {
		e.Send(quorumcert.SetOf(v.follower(e)), bftraft.ClassConsensus,
			&bftraft.Proof{TermProof: bftraft.TermProof{QC: qc}})
	}
}

// Inbound sees when the follower has locked what the liar proposed, and tells it of the election.
func (v *veil) Inbound(e *Env, m bftraft.Verified) bool {
	s, ok := m.Message().(*bftraft.Status)
	if !ok || !v.late || v.told || m.From() != v.follower(e) || s.Term != v.term ||
		s.Lock.Term != v.term || !e.leading() || v.election == nil {
		return true
	}
	for _, b := range v.blocks {
		if b.End() == (bftraft.Position{Index: s.Lock.Index, Hash: s.Lock.Hash}) {
			v.told = true
			e.Send(quorumcert.SetOf(m.From()), bftraft.ClassConsensus, v.another(e, b))
		}
	}
	return true
}

// another proposes something else in place of a block, and shows the election.
func (v *veil) another(e *Env, b *bftraft.Block) *bftraft.AppendEntries {
	other := bftraft.NewBlock(b.Before(), different(b.Entries()))
	return &bftraft.AppendEntries{
		Blocks: []*bftraft.Block{other}, Election: v.election, BaseQC: v.base,
		Ack: e.ack(quorumcert.Ack{
			Cluster: e.Cluster(), Term: v.term, Index: other.Last(), Hash: other.Hash(),
		}),
	}
}
