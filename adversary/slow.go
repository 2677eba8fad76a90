// Slow, when it leads, orders one request at a time, and each as late as it may without running
// into the timeout that is set against leaders who order nothing. A protocol with fixed timeouts
// is held for ever at a thousandth of its speed. Nothing proves it; followers that see requests
// wait while the leader has room must end its term.

package adversary

import (
	"tangaroa/bftraft"
)

var slow = Attack{
	Name: "slow", Does: "when leading, orders one request at a time, just in time",
	Caught: "requests that wait behind an idle leader end its term",
	Options: []Option{
		number("permille", "how much of the election timeout each request takes", 700, 1, 5000),
	},
	make: func(v *values) Behaviour { return &slowness{permille: uint64(v.number("permille"))} },
}

type slowness struct {
	Honest
	permille uint64
	next     uint64 // tick of the next block
	held     []bftraft.Entry
}

// maxHeld bounds what a slow leader takes from its pool and keeps.
const maxHeld = 10_000

func (s *slowness) Room(e *Env) bool {
	return len(s.held) < maxHeld && e.Now >= s.next
}

func (s *slowness) Propose(e *Env, entries []bftraft.Entry) []bftraft.Entry {
	s.held = append(s.held, entries...)
	if e.Now < s.next {
		return nil
	}
	s.next = e.Now + max(1, e.Core.Timeout()*s.permille/1000)
	first := s.held[:1:1]
	s.held = s.held[1:]
	return first
}

// Tick orders what is held back once it is time.
func (s *slowness) Tick(e *Env) {
	if !e.leading() {
		s.held = nil
		return
	}
	if len(s.held) > 0 && e.Now >= s.next && e.Core.Room() {
		e.Core.Propose(s.Propose(e, nil))
	}
}
