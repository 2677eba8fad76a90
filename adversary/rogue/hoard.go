// Hoard fills its share at the leader with requests that wait for one that never comes, and tells
// the others requests that wait for none. A protocol in which the leader has no room for what
// nodes forward deposes honest leaders on the word of a client, one after the other. The leader has
// room for what each node forwards of a client, as much as it has there (E5).

package rogue

import "tangaroa/bftraft"

// hoardSessions is the number of sessions of what it tells the others, and hoarded how many
// sequences there are of what it fills the leader with, in two sessions.
const (
	hoardSessions = 16
	hoarded       = 256
)

var hoard = Attack{
	Name: "hoard", Does: "fills the leader with requests that wait, and tells the others more",
	Caught: "the leader has as much room for what each node forwards as the node itself",
	tick: func(r *Rogue, leader bftraft.NodeID) {
		others := r.Voters.Without(leader)
		for range r.Rate {
			n := r.ops / 2
			r.tell(r.Voters&^others, r.sign(r.Session+n%2, 2+n/2%hoarded))
			session, sequence := r.Session+2+n%hoardSessions, n/hoardSessions+1
			r.tell(others, r.sign(session, sequence))
		}
	},
}
