// SuspectSpam suspects every term from its first tick on. A protocol in which one complaint, or a
// count of complaints instead of complainers, deposes a leader is without one most of the time. A
// term ends when a quorum suspects it, and f+1 are needed to make others join; f of these are one
// too few. Or it waits until some other member has suspected the term, and is content with it again
// (late): what others said long ago does not count. The others show that it suspects.

package adversary

import (
	"tangaroa/bftraft"
)

var suspectSpam = Attack{
	Name: "suspectspam", Does: "suspects every term, in every tick",
	Caught: "a quorum of different nodes must suspect a term to end it",
	Options: []Option{number("late",
		"ticks to wait since others have suspected the term, if they have; 0 for always",
		0, 0, 1_000_000)},
	make: func(v *values) Behaviour { return &complaint{late: uint64(v.number("late"))} },
}

// complaint remembers the newest suspicion of others.
type complaint struct {
	Honest
	late  uint64
	term  bftraft.Term
	heard uint64
}

func (c *complaint) Inbound(e *Env, v bftraft.Verified) bool {
	if m, ok := v.Message().(*bftraft.Suspect); ok {
		c.term, c.heard = m.Term, e.Now
	}
	return true
}

func (c *complaint) Tick(e *Env) {
	if c.late > 0 && (c.term != e.Core.Term() || e.Now-c.heard < c.late) {
		return
	}
	e.Send(e.Others(), bftraft.ClassConsensus, e.suspect(e.Core.Term()))
}
