// BareQuorum, when it leads, works with just as many followers as it needs and leaves f honest ones
// without blocks. A protocol whose followers learn from the leader alone leaves them behind for
// ever, and the next crash finds too few that have the log. They see from the acks of the others
// what they lack, and fetch it.

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
	},
	make: func(v *values) Behaviour { return &barely{high: v.word("which") == "high"} },
}

type barely struct {
	Honest
	high bool
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
		switch m.Msg.(type) {
		case *bftraft.AppendEntries, *bftraft.Chain:
			m.To &= chosen
		}
		out = append(out, m)
	}
	return out
}
