// SuspectSpam suspects every term from its first tick on. A protocol in which one complaint, or a
// count of complaints instead of complainers, deposes a leader is without one most of the time. A
// term ends when a quorum suspects it, and f+1 are needed to make others join; f of these are one
// too few. The others show that it suspects.

package adversary

import (
	"tangaroa/bftraft"
)

var suspectSpam = Attack{
	Name: "suspectspam", Does: "suspects every term, in every tick",
	Caught: "a quorum of different nodes must suspect a term to end it",
	make:   func(*values) Behaviour { return &complaint{} },
}

type complaint struct{ Honest }

func (*complaint) Tick(e *Env) {
	e.Send(e.Others(), bftraft.ClassConsensus, e.suspect(e.Core.Term()))
}
