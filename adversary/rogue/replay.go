// Replay sends its old requests again and again, to all nodes. A protocol without sequences, or one
// that forgets them, executes them twice; one that looks each of them up on disk has no time left.
// An executed request is answered from its session, and forwarded repeats are bounded.

package rogue

import "tangaroa/bftraft"

// kept is how many old requests are remembered.
const kept = 512

var replay = Attack{
	Name: "replay", Does: "sends its old requests again and again",
	Caught: "a sequence is executed once; repeats get the same answer",
	tick: func(r *Rogue, _ bftraft.NodeID) {
		if r.ticks%4 == 1 {
			n := r.ticks / 4
			session, sequence := r.Session+n, uint64(1)
			if n%2 == 0 {
				r.sequence++
				session, sequence = r.Session, r.sequence
			}
			frame := r.sign(session, sequence)
			if len(r.old) == kept {
				r.old = r.old[1:]
			}
			r.old = append(r.old, frame)
			r.tell(r.Voters, frame)
		}
		for range 3 {
			r.tell(r.Voters, r.old[r.random.Below(len(r.old))])
		}
	},
}
