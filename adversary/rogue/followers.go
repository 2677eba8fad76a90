// Followers tells its requests to everybody but the leader. A protocol in which whoever misses a
// request blames the leader deposes honest leaders on the word of a client. Nodes pass requests on
// before they blame anybody (E5), so the leader orders them.

package rogue

import "tangaroa/bftraft"

var followers = Attack{
	Name: "followers", Does: "tells its requests to everybody but the leader",
	Caught: "nodes pass requests on to the leader before they blame it",
	tick: func(r *Rogue, leader bftraft.NodeID) {
		r.sequence++
		r.tell(r.Voters.Without(leader), r.sign(r.Session, r.sequence))
	},
}
