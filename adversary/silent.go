// Silent receives and executes everything and sends nothing, to nodes or clients. A protocol that
// waits for all, or whose leader only counts who answers the client, stands still. Nothing proves
// it: it is seen as silent in the status of the others, and loses its term to their suspicions;
// these are joined by the one to whom alone it may speak while it leads (to=one).

package adversary

import (
	"slices"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/quorumcert"
)

var silent = Attack{
	Name: "silent", Does: "receives everything and sends nothing",
	Caught:  "the others show it as silent; as leader it is suspected within a timeout",
	Options: []Option{word("to", "to whom it does speak", "none", "one")},
	make:    func(v *values) Behaviour { return silence{one: v.word("to") == "one"} },
}

type silence struct {
	Honest
	one bool
}

func (s silence) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	switch {
	case !s.one:
		return nil
	case !e.leading():
		return honest
	}
	out := slices.Clone(honest)
	members := e.Others().Members()
	for i := range out {
		out[i].To &= quorumcert.SetOf(members[len(members)-1])
	}
	return out
}

func (s silence) Frame(_ *Env, _ bftraft.NodeID, frame []byte) [][]byte { return s.say(frame) }

func (s silence) Reply(_ *Env, _ replica.ClientID, frame []byte) [][]byte { return s.say(frame) }

func (s silence) say(frame []byte) [][]byte {
	if s.one {
		return [][]byte{frame}
	}
	return nil
}
