// The thief sends requests in the name of other keys: with a stranger's key in them and its own
// signature, with a signature that is cut short or turned. A protocol that goes by the connection,
// or checks signatures at the leader only, executes what nobody asked for. Every node checks every
// signature before it passes a request on or acks it.

package rogue

import "tangaroa/bftraft"

var thief = Attack{
	Name: "thief", Does: "sends requests in the name of others",
	Caught: "every node checks every client's signature",
	tick: func(r *Rogue, _ bftraft.NodeID) {
		r.sequence++
		frame := r.sign(r.Session, r.sequence)
		switch r.ticks % 3 {
		case 0:
			frame[1] ^= 1
		case 1:
			frame[len(frame)-1] ^= 1
		default:
			frame = frame[:len(frame)-1]
		}
		r.tell(r.Voters, frame)
	},
}
