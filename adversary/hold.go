// Hold, when it leads, gives its blocks at once to too few for them to be committed, late to the
// rest, and casts no vote of its own that they are certified. So most followers see long rounds,
// and a protocol that measures its leader by what rounds take allows it as much. Followers go by
// how soon others said that a block was certified, once they could, and end its term.

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

var hold = Attack{
	Name: "hold", Does: "when leading, keeps its blocks from those without whom nothing is committed",
	Caught: "rounds are measured by those followers that it has no part in; its term ends",
	Options: []Option{
		number("ticks", "how late they come at last; it begins with one", 4, 1, 1000),
		word("how", "whom it keeps waiting: one, or two in turn", "one", "pair"),
	},
	make: func(v *values) Behaviour {
		return &holding{ticks: uint64(v.number("ticks")), pair: v.word("how") == "pair"}
	},
}

type holding struct {
	Honest
	ticks  uint64
	pair   bool
	blocks int
	last   bftraft.Index
	held   heldBacks
}

// holdRamp is in how many ticks the delay grows by one: rounds get longer by and by.
const holdRamp = 50

// Room orders one block at a time.
func (h *holding) Room(e *Env) bool { return len(h.held) == 0 && len(e.Core.Uncommitted()) == 0 }

func (h *holding) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	if !e.leading() {
		return honest
	}
	out := make([]bftraft.Outbound, 0, len(honest))
	for _, o := range honest {
		switch m := o.Msg.(type) {
		case *bftraft.AppendEntriesResponse:
			if h.pair {
				out = append(out, o)
			}
		case *bftraft.AppendEntries:
			if len(m.Blocks) == 0 {
				out = append(out, o)
			} else if m.Ack.Index > h.last {
				h.last = m.Ack.Index
				out = append(out, h.split(e, o, m))
			}
		default:
			out = append(out, o)
		}
	}
	return out
}

// split returns what goes out at once, and keeps the rest.
func (h *holding) split(e *Env, o bftraft.Outbound, m bftraft.Message) bftraft.Outbound {
	others := e.Others().Members()
	late := min(h.ticks, 1+e.Now/holdRamp)
	keep := func(to bftraft.Set, ticks uint64) {
		h.held.keep(e, ticks, bftraft.Outbound{To: to, Class: o.Class, Msg: m})
		o.To &^= to
	}
	f := e.Voters().Size().F
	keep(quorumcert.SetOf(others[len(others)-f:]...), late)
	if h.pair {
		h.blocks++
		keep(quorumcert.SetOf(others[h.blocks%2]), late+3)
	}
	return o
}

// Tick sends what has waited long enough.
func (h *holding) Tick(e *Env) { h.held.release(e) }
