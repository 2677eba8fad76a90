// Stuff, when it leads, fills its blocks with copies of one request that is in the log already, and
// orders a new one now and then. A protocol that excuses a leader whose blocks are full is held for
// ever at the pace of the liar. What was executed before fills no block; followers count the time
// in which requests wait, and end its term.

package adversary

import (
	"tangaroa/bftraft"
)

var stuff = Attack{
	Name: "stuff", Does: "when leading, fills its blocks with copies, and orders little else",
	Caught:  "what was executed before fills no block; requests that wait end its term",
	Options: []Option{number("every", "ticks from one new request to the next", 20, 1, 10000)},
	make:    func(v *values) Behaviour { return &stuffing{every: uint64(v.number("every"))} },
}

type stuffing struct {
	Honest
	every  uint64
	due    uint64 // tick of the next new request
	filler bftraft.Entry
	held   []bftraft.Entry
}

// stuffed is how many copies fill more than half a block.
const stuffed = bftraft.MaxBlockEntries/2 + 1

func (s *stuffing) Propose(e *Env, entries []bftraft.Entry) []bftraft.Entry {
	if s.filler.Data == nil {
		s.filler = entries[0]
		return entries
	}
	if len(s.held) < maxHeld {
		s.held = append(s.held, entries...)
	}
	return nil
}

// block returns a full block with one new request at most.
func (s *stuffing) block(e *Env) []bftraft.Entry {
	out := make([]bftraft.Entry, 0, stuffed+1)
	if len(s.held) > 0 && e.Now >= s.due {
		s.due = e.Now + s.every
		out = append(out, s.held[0])
		s.held = s.held[1:]
	}
	for range stuffed {
		out = append(out, s.filler)
	}
	return out
}

// Tick makes a full block while there is anything to be kept waiting.
func (s *stuffing) Tick(e *Env) {
	if !e.leading() {
		s.held, s.filler = nil, bftraft.Entry{}
		return
	}
	if len(s.held) > 0 && e.Core.Room() {
		e.Core.Propose(s.block(e))
	}
}
