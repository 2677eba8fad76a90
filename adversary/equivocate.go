// Equivocate, when it leads, makes of each block a second one for the same place, and proposes one
// to some of the followers and the other to the rest, with acks of its own for both; otherwise it
// behaves well, so as to be elected. A protocol that counts a leader's word, or quorums that need
// not share an honest voter, would commit both and split for ever; one that only refused the
// second would never be rid of the liar. Evidence of two acks (AckConflict, Drop conflict) must
// rise at every honest node, its reign must end, and it must not be elected again (Drop
// faulty_sender).

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

var equivocate = Attack{
	Name:    "equivocate",
	Does:    "when leading, proposes two different blocks at one place",
	Caught:  "its two acks are evidence; it is deposed and not elected again",
	Deposed: true,
	Drops:   []bftraft.Drop{bftraft.Conflict, bftraft.FaultySender}, Proven: true,
	Options: []Option{word("split", "who is told the other story", "half", "one", "rest", "random")},
	make: func(v *values) Behaviour {
		return &equivocation{split: v.word("split")}
	},
}

// equivocation remembers the second chain of the term in which it leads.
type equivocation struct {
	Honest
	split  string
	term   bftraft.Term
	others bftraft.Set      // who is told the second chain, in this term
	fork   bftraft.Position // where the chains part
	tip    bftraft.Position // the end of the second chain; Hash zero until there is one
}

// Outbound tells some of the followers another story, and keeps from them what would give it
// away. Only a leader sends AppendEntries, so all else stays as it is.
func (q *equivocation) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	if term := e.Core.Term(); term != q.term {
		*q = equivocation{split: q.split, term: term, others: q.draw(e)}
	}
	var out []bftraft.Outbound
	for _, m := range honest {
		switch msg := m.Msg.(type) {
		case *bftraft.AppendEntries:
			other := q.another(e, msg)
			if other == nil {
				out = append(out, m)
				continue
			}
			out = append(out, bftraft.Outbound{To: m.To &^ q.others, Class: m.Class, Msg: msg},
				bftraft.Outbound{To: m.To & q.others, Class: m.Class, Msg: other})
		case *bftraft.AppendEntriesResponse, *bftraft.Status:
			// These name the first chain.
			if !q.tip.Hash.IsZero() {
				m.To &^= q.others
			}
			out = append(out, m)
		default:
			out = append(out, m)
		}
	}
	return out
}

// draw decides who is told the second story.
func (q *equivocation) draw(e *Env) bftraft.Set {
	members := e.Others().Members()
	switch n := len(members); q.split {
	case "one":
		return quorumcert.SetOf(members[n-1])
	case "rest":
		return quorumcert.SetOf(members[1:]...)
	case "random":
		// At least one of each.
		some := bftraft.Set(e.Random.Next()) & e.Others()
		return some.With(members[n-1]).Without(members[0])
	default:
		return quorumcert.SetOf(members[n-n/2:]...)
	}
}

// another returns the proposal for the second chain that goes with one for the first, or nil if
// there is nothing to differ about: no block, or a block that was proposed before.
func (q *equivocation) another(e *Env, m *bftraft.AppendEntries) *bftraft.AppendEntries {
	if len(m.Blocks) != 1 || m.Ack.Term != q.term {
		return nil
	}
	block := m.Blocks[0]
	if q.tip.Hash.IsZero() {
		q.fork, q.tip = block.Before(), block.Before()
	} else if block.First() <= q.fork.Index {
		return nil
	}
	other := bftraft.NewBlock(q.tip, different(block.Entries()))
	q.tip = other.End()
	return &bftraft.AppendEntries{
		Blocks: []*bftraft.Block{other}, Election: m.Election, BaseQC: m.BaseQC,
		Ack: e.ack(quorumcert.Ack{
			Cluster: e.Cluster(), Term: q.term, Index: q.tip.Index, Hash: q.tip.Hash,
			Certified: min(m.Ack.Certified, q.fork.Index),
		}),
	}
}

// different returns other entries that may stand in a block as well: an entry said twice is valid
// and executed once.
func different(entries []bftraft.Entry) []bftraft.Entry {
	if n := len(entries); n == bftraft.MaxBlockEntries {
		return entries[:n-1]
	}
	return append(entries[:len(entries):len(entries)], entries[len(entries)-1])
}
