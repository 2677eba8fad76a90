// BareQuorum, when it leads, works with just as many followers as it needs and leaves f honest ones
// without blocks. A protocol whose followers learn from the leader alone leaves them behind for
// ever, and the next crash finds too few that have the log. They see from the acks of the others
// what they lack, and fetch it. Or it resigns with its first block, so that the term ends while
// some have seen it certified and others have not, and votes for nobody (then=leave): the next
// candidate learns the higher lock from those who refuse it, and is voted for again.

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

var bareQuorum = Attack{
	Name: "barequorum", Does: "when leading, sends its blocks to a bare quorum only",
	Caught: "the others see from the acks what they lack and fetch it",
	Options: []Option{
		word("which", "whom it works with: the lowest ids or the highest", "low", "high"),
		word("then", "what it does once it has proposed a block: nothing else, or resign",
			"stay", "leave"),
	},
	make: func(v *values) Behaviour {
		return &barely{high: v.word("which") == "high", leaves: v.word("then") == "leave"}
	},
}

type barely struct {
	Honest
	high, leaves bool
	left         bftraft.Term // the newest term that it has resigned
}

func (b *barely) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	members := e.Others().Members()
	need := e.Voters().Size().Q - 1
	chosen := quorumcert.SetOf(members[:need]...)
	if b.high {
		chosen = quorumcert.SetOf(members[len(members)-need:]...)
	}
	out := make([]bftraft.Outbound, 0, len(honest))
	for _, m := range honest {
		switch msg := m.Msg.(type) {
		case *bftraft.AppendEntries:
			m.To &= chosen
			if len(msg.Blocks) > 0 && b.leaves && b.left < msg.Ack.Term {
				b.left = msg.Ack.Term
				e.Send(e.Others(), bftraft.ClassConsensus, &bftraft.Resign{Term: b.left})
			}
		case *bftraft.Chain:
			m.To &= chosen
		case *bftraft.RequestVoteResponse:
			if b.leaves && msg.Vote.Candidate != e.ID() {
				continue
			}
		}
		out = append(out, m)
	}
	return out
}
