// Drag, when it leads, orders everything, fairly and in full blocks, but sends what it proposes
// late: to all, or to all but one follower in turn, or only every other block, so that there always
// seems to be something on its way. A protocol that times requests one by one finds nothing to
// blame, and goes at the pace of the liar. Followers count the ticks in which requests wait while
// nothing that a quorum could vote for is on its way (cause starvation), and end its term.

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

var drag = Attack{
	Name: "drag", Does: "when leading, orders everything and sends its blocks late",
	Caught: "requests that wait with nothing on its way end its term",
	Options: []Option{
		number("ticks", "how late they are", 10, 1, 1000),
		word("how", "whom it keeps waiting, and with which blocks", "all", "rotate", "odd"),
	},
	make: func(v *values) Behaviour {
		return &dragging{ticks: uint64(v.number("ticks")), how: v.word("how")}
	},
}

type dragging struct {
	Honest
	ticks  uint64
	how    string
	blocks int
	held   heldBacks
}

// heldBack is a message on its way to who must wait for it.
type heldBack struct {
	due uint64
	out bftraft.Outbound
}

// heldBacks are such messages, as they were kept back.
type heldBacks []heldBack

// keep keeps a message for so many ticks.
func (h *heldBacks) keep(e *Env, ticks uint64, o bftraft.Outbound) {
	*h = append(*h, heldBack{e.Now + ticks, o})
}

// release sends what has waited long enough, and is not behind what has not.
func (h *heldBacks) release(e *Env) {
	for len(*h) > 0 && e.Now >= (*h)[0].due {
		o := (*h)[0].out
		e.Send(o.To, o.Class, o.Msg)
		*h = (*h)[1:]
	}
}

// maxHeldBack bounds what waits; what comes beyond it goes at once.
const maxHeldBack = 256

func (d *dragging) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	out := make([]bftraft.Outbound, 0, len(honest))
	for _, o := range honest {
		m, ok := o.Msg.(*bftraft.AppendEntries)
		if !ok || len(m.Blocks) == 0 || len(d.held) >= maxHeldBack {
			out = append(out, o)
			continue
		}
		now := d.atOnce(e)
		d.held.keep(e, d.ticks, bftraft.Outbound{To: o.To &^ now, Class: o.Class, Msg: m})
		if o.To &= now; o.To != 0 {
			out = append(out, o)
		}
	}
	return out
}

// atOnce returns those who get the next block at once.
func (d *dragging) atOnce(e *Env) bftraft.Set {
	d.blocks++
	others := e.Others().Members()
	one := quorumcert.SetOf(others[d.blocks/2%len(others)])
	switch {
	case d.how == "all":
		return 0
	case d.how == "odd" && d.blocks%2 == 0:
		return e.Others()
	}
	return one
}

// Tick sends what has waited long enough.
func (d *dragging) Tick(e *Env) { d.held.release(e) }
