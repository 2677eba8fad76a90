// The equivocator signs two requests with one sequence and tells one to some nodes and the other to
// the rest. A protocol in which nodes execute what they were sent, or remember a sequence without
// saying which request it was, has replicas that differ. The log decides which of the two is
// executed; the other counts as repeated, at every node.

package rogue

import "tangaroa/bftraft"

var equivocator = Attack{
	Name: "equivocator", Does: "signs two requests with one sequence, for different nodes",
	Caught: "the log has one of them executed, the same everywhere",
	tick: func(r *Rogue, _ bftraft.NodeID) {
		r.sequence++
		some := bftraft.Set(r.random.Next()) & r.Voters
		r.tell(some, r.sign(r.Session, r.sequence))
		r.tell(r.Voters&^some, r.sign(r.Session, r.sequence))
	},
}
