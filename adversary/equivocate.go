// Equivocate, when it leads, makes of each block a second one for the same place, and proposes one
// to half of the followers and the other to the rest, with acks of its own for both; otherwise it
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

// equivocate remembers the second chain of the term in which it leads.
type equivocate struct {
	term bftraft.Term
	fork bftraft.Position // where the chains part
	tip  bftraft.Position // the end of the second chain; Hash zero until there is one
}

func (e *equivocate) Name() string { return "equivocate" }

func (e *equivocate) Frame() bool { return true }

// Outbound tells the second half of the followers another story, and keeps from them what would
// give it away. Only a leader sends AppendEntries, so all else stays as it is.
func (e *equivocate) Outbound(env *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	if term := env.Core.Term(); term != e.term {
		*e = equivocate{term: term}
	}
	var out []bftraft.Outbound
	for _, m := range honest {
		first, second := halves(m.To)
		switch msg := m.Msg.(type) {
		case *bftraft.AppendEntries:
			other := e.another(env, msg)
			if other == nil {
				out = append(out, m)
				continue
			}
			out = append(out, bftraft.Outbound{To: first, Class: m.Class, Msg: msg},
				bftraft.Outbound{To: second, Class: m.Class, Msg: other})
		case *bftraft.AppendEntriesResponse, *bftraft.Status:
			// These name the first chain. A target that is alone may be of either half.
			if e.tip.Hash.IsZero() || m.To.Len() == 1 {
				out = append(out, m)
				continue
			}
			out = append(out, bftraft.Outbound{To: first, Class: m.Class, Msg: msg})
		default:
			out = append(out, m)
		}
	}
	return out
}

// halves splits a set by identity; the second half is the smaller. A set of one is all first.
func halves(s bftraft.Set) (first, second bftraft.Set) {
	members := s.Members()
	at := len(members) - len(members)/2
	return quorumcert.SetOf(members[:at]...), quorumcert.SetOf(members[at:]...)
}

// another returns the proposal for the second half that goes with one for the first, or nil if
// there is nothing to differ about: no block, or a block that was proposed before.
func (e *equivocate) another(env *Env, m *bftraft.AppendEntries) *bftraft.AppendEntries {
	if len(m.Blocks) != 1 || m.Ack.Term != e.term {
		return nil
	}
	block := m.Blocks[0]
	if e.tip.Hash.IsZero() {
		e.fork, e.tip = block.Before(), block.Before()
	} else if block.First() <= e.fork.Index {
		return nil
	}
	entries := block.Entries()
	if len(entries) < bftraft.MaxBlockEntries {
		// An entry said twice is valid and executed once: it serves to make a difference.
		entries = append(entries[:len(entries):len(entries)], entries[len(entries)-1])
	} else {
		entries = entries[:len(entries)-1]
	}
	other := bftraft.NewBlock(e.tip, entries)
	e.tip = other.End()
	ack := quorumcert.Ack{
		Cluster: env.Cluster, Term: e.term, Index: e.tip.Index, Hash: e.tip.Hash,
		Certified: min(m.Ack.Certified, e.fork.Index),
	}
	return &bftraft.AppendEntries{
		Blocks: []*bftraft.Block{other}, Election: m.Election, BaseQC: m.BaseQC,
		Ack: quorumcert.SignedAck{
			Ack: ack, Signer: env.Signer.ID(), Sig: quorumcert.Sign(env.Signer, ack),
		},
	}
}
