// Behind says in every tick that it has nothing and wants everything, though it has it. A protocol
// that sends a follower whatever it says it lacks resends its log without end. What is sent to one
// peer in an interval is bounded, and the others are served as before.

package adversary

import (
	"tangaroa/bftraft"
)

var behind = Attack{
	Name: "behind", Does: "says in every tick that it has nothing and wants everything",
	Caught: "what a peer is sent in an interval is bounded",
	make:   func(*values) Behaviour { return &lagging{} },
}

type lagging struct{ Honest }

func (*lagging) Tick(e *Env) {
	genesis := bftraft.Position{Hash: e.Cluster()}
	e.Send(e.Others(), bftraft.ClassConsensus, &bftraft.Status{
		Term: e.Core.Term(), Tip: genesis, Commit: genesis,
		Lock: bftraft.Lock{Hash: e.Cluster()}, Behind: true,
	})
}
