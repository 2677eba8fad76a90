// HiddenLock keeps its lock to itself: as candidate it asks for votes with the genesis lock, or,
// elected, it proposes a block that follows the genesis, as if nothing had been certified since:
// alone, or behind a good block in one message, as if it followed that (gap), or, where something
// is certified that nobody has committed, what follows the last commit (fork). Or its first
// proposal in a term names a position below the base of its election, which everybody holds
// (newcomer). A protocol that does not bind a leader to the certificates of its voters lets it
// replace what is committed. Voters with a lock refuse the candidate (Drop lower_lock), followers
// the proposal (Drop conflict, bad_base or broken_chain).

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
		bftraft.BrokenChain, bftraft.FaultySender,
	},
	Options: []Option{word("as", "when it does so, and behind what",
		"leader", "candidate", "gap", "fork", "newcomer")},
	make: func(v *values) Behaviour { return &hiding{as: v.word("as")} },
}

type hiding struct {
	Honest
	as     string
	term   bftraft.Term        // in which it was last elected
	commit [2]bftraft.Position // its newest committed position, and the one before
}

// Tick notes what is committed.
func (h *hiding) Tick(e *Env) {
	if at := e.Core.Commit(); at != h.commit[0] {
		h.commit = [2]bftraft.Position{at, h.commit[0]}
	}
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
			if len(msg.Blocks) > 0 && msg.Blocks[0].First() > 1 {
				m.Msg = h.proposal(e, msg, msg.Blocks[0].Entries())
			} else if rest := e.Core.Uncommitted(); h.as == "fork" && len(rest) > 0 {
				m.Msg = h.proposal(e, msg, different(rest[0].Entries()))
			}
			if h.as == "newcomer" && msg.Election != nil && msg.Ack.Term > h.term {
				m.Msg = h.below(e, msg)
			}
		}
		out = append(out, m)
	}
	return out
}

// proposal puts the entries of a block right behind the genesis, or behind what is committed.
func (h *hiding) proposal(
	e *Env, m *bftraft.AppendEntries, entries []bftraft.Entry,
) bftraft.Message {
	after, before := bftraft.Position{Hash: e.Cluster()}, []*bftraft.Block(nil)
	switch h.as {
	case "candidate", "newcomer":
		return m
	case "gap":
		before = m.Blocks
		after.Index = before[len(before)-1].Last()
	case "fork":
		after = e.Core.Commit()
	}
	b := bftraft.NewBlock(after, entries)
	return &bftraft.AppendEntries{
		Blocks: append(before[:len(before):len(before)], b), Election: m.Election, BaseQC: m.BaseQC,
		Ack: e.ack(quorumcert.Ack{
			Cluster: e.Cluster(), Term: m.Ack.Term, Index: b.Last(), Hash: b.Hash(),
		}),
	}
}

// below proposes, with the election, what was committed before its base, if there is something.
func (h *hiding) below(e *Env, m *bftraft.AppendEntries) *bftraft.AppendEntries {
	for _, at := range h.commit {
		if at.Index > 0 && at.Index < m.Election.Base.Index {
			h.term = m.Ack.Term
			return &bftraft.AppendEntries{
				Election: m.Election, BaseQC: m.BaseQC, Ack: e.ack(quorumcert.Ack{
					Cluster: e.Cluster(), Term: m.Ack.Term, Index: at.Index, Hash: at.Hash,
				}),
			}
		}
	}
	return m
}
