// Amnesiac is a member whose disk is set back from time to time, guard and all, to what it was some
// time before: it forgets what it has acked and voted, and goes on honestly from there. A protocol
// that trusts what a voter remembers loses what was committed once more than f forget; with f it
// must not. When it says otherwise than before, its two statements are evidence (Drop conflict); if
// it happens to say the same, no harm is done.

package adversary

import (
	"tangaroa/bftraft"
)

var amnesiac = Attack{
	Name: "amnesiac", Does: "has its disk set back, and forgets what it signed",
	Caught: "what it then says otherwise is evidence; what it says again counts once",
	Drops:  []bftraft.Drop{bftraft.Stale, bftraft.Duplicate, bftraft.Conflict},
	Options: []Option{
		number("every", "ticks from one loss to the next", 300, 10, 1_000_000),
		word("to", "what is left: nothing, or what was there at the loss before", "nothing", "before"),
	},
	make: func(v *values) Behaviour {
		return &forgetting{every: uint64(v.number("every")), before: v.word("to") == "before"}
	},
}

// forgetting speaks as a second core, which forgets; the first one only listens and executes.
type forgetting struct {
	Honest
	every  uint64
	before bool
	voice  *shadow
	image  *disk
}

func (f *forgetting) speaker(e *Env) *shadow {
	if f.voice == nil {
		f.voice = newShadow(e, nil)
	}
	return f.voice
}

func (f *forgetting) Inbound(e *Env, v bftraft.Verified) bool {
	f.speaker(e).core.Step(v)
	return true
}

func (f *forgetting) Outbound(e *Env, _ []bftraft.Outbound) []bftraft.Outbound {
	return f.speaker(e).drain()
}

func (f *forgetting) Propose(e *Env, entries []bftraft.Entry) []bftraft.Entry {
	if s := f.speaker(e); s.core.Room() {
		s.core.Propose(entries)
	}
	return nil
}

func (f *forgetting) Tick(e *Env) {
	f.speaker(e).core.Tick()
	if e.Now%f.every != 0 {
		return
	}
	now := f.voice.disk.image()
	f.voice = newShadow(e, f.image)
	if f.before {
		f.image = now
	}
}
