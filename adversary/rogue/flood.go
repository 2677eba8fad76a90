// Flood sends requests under many sessions to all nodes, more than the cluster can order. A
// protocol with one queue for all serves nobody else, and one that keeps all that waits runs out
// of memory. What is held of one client is bounded (refused as busy), and the leader takes clients
// in turn.

package rogue

import "tangaroa/bftraft"

// floodSessions is the number of sessions it uses at once.
const floodSessions = 32

var flood = Attack{
	Name: "flood", Does: "sends more requests than can be ordered, in many sessions",
	Caught: "what is held of a client is bounded, and clients are served in turn",
	tick: func(r *Rogue, _ bftraft.NodeID) {
		for range r.Rate {
			n := r.ops
			r.tell(r.Voters, r.sign(r.Session+n%floodSessions, n/floodSessions+1))
		}
	},
}
