// Drip, when it leads, orders everything, in turn and at once, but a few requests to a block, and
// one block at a time. A protocol that asks only whether blocks come and whom they pass over goes
// at the pace of rounds and not of the cluster. Requests wait for several rounds then, longer than
// followers allow, who end its term.

package adversary

import "tangaroa/bftraft"

var drip = Attack{
	Name: "drip", Does: "when leading, puts a few requests into each block",
	Caught:  "requests wait for longer than rounds take, and its term ends",
	Options: []Option{number("each", "how many requests a block has at most", 1, 1, 10000)},
	make:    func(v *values) Behaviour { return &dripping{each: v.number("each")} },
}

type dripping struct {
	Honest
	each int
	held []bftraft.Entry
}

func (d *dripping) Propose(_ *Env, entries []bftraft.Entry) []bftraft.Entry {
	d.held = append(d.held, entries...)
	now := d.held[:min(d.each, len(d.held))]
	d.held = d.held[len(now):]
	return now
}

// Room has one block on its way at a time.
func (d *dripping) Room(e *Env) bool { return len(d.held) < maxHeld && d.idle(e) }

func (d *dripping) idle(e *Env) bool { return e.Core.Room() && len(e.Core.Uncommitted()) == 0 }

// Tick orders what is held back, too.
func (d *dripping) Tick(e *Env) {
	if !e.leading() {
		d.held = nil
		return
	}
	if len(d.held) > 0 && d.idle(e) {
		e.Core.Propose(d.Propose(e, nil))
	}
}
