// HiddenLock keeps its lock to itself: as candidate it asks for votes with the genesis lock, or,
// elected, it proposes a block that follows the genesis, as if nothing had been certified since. A
// protocol that does not bind a leader to the certificates of its voters lets it replace what is
// committed. Voters with a lock refuse the candidate (Drop lower_lock), followers the proposal
// (Drop conflict or bad_base).

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

var hiddenLock = Attack{
	Name: "hiddenlock", Does: "leads, or wants to, as if nothing had been certified",
	Caught: "voters refuse a lower lock, followers a chain without the base of the election",
	Drops: []bftraft.Drop{
		bftraft.LowerLock, bftraft.Conflict, bftraft.BadBase,
	},
	Options: []Option{word("as", "when it does so", "leader", "candidate")},
	make:    func(v *values) Behaviour { return &hiding{as: v.word("as")} },
}

type hiding struct {
	Honest
	as string
}

func (h *hiding) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	out := make([]bftraft.Outbound, 0, len(honest))
	for _, m := range honest {
		switch msg := m.Msg.(type) {
		case *bftraft.RequestVote:
			if h.as == "candidate" {
				lie := *msg
				lie.Lock, lie.LockQC = bftraft.Lock{Hash: e.Cluster()}, nil
				m.Msg = e.sign(&lie)
			}
		case *bftraft.AppendEntries:
			if len(msg.Blocks) > 0 && h.as == "leader" && msg.Blocks[0].First() > 1 {
				m.Msg = h.proposal(e, msg)
			}
		}
		out = append(out, m)
	}
	return out
}

// proposal puts the entries of a block right behind the genesis.
func (h *hiding) proposal(e *Env, m *bftraft.AppendEntries) *bftraft.AppendEntries {
	b := bftraft.NewBlock(bftraft.Position{Hash: e.Cluster()}, m.Blocks[0].Entries())
	return &bftraft.AppendEntries{
		Blocks: []*bftraft.Block{b}, Election: m.Election, BaseQC: m.BaseQC,
		Ack: e.ack(quorumcert.Ack{
			Cluster: e.Cluster(), Term: m.Ack.Term, Index: b.Last(), Hash: b.Hash(),
		}),
	}
}
