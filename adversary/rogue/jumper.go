// The jumper leaves gaps: sequences and sessions far ahead, the last there are, and then those
// before. A protocol that waits for the gap to be filled, or keeps what stands beyond it, fills its
// memory or serves nobody behind it. Beyond the window they are refused, and what waits in vain is
// forgotten; new sessions cost the client its own old ones and nobody else's.

package rogue

import (
	"math"

	"tangaroa/bftraft"
)

var jumper = Attack{
	Name: "jumper", Does: "leaves gaps in its sequences and jumps between sessions",
	Caught: "what lies beyond the window is refused, what waits in vain is forgotten",
	tick: func(r *Rogue, _ bftraft.NodeID) {
		sequences := []uint64{2, 1 << 63, math.MaxUint64, 33, 1, 20, 3}
		sessions := []uint64{r.Session, r.Session + r.ticks, 1, math.MaxUint64 - r.ticks%5}
		r.tell(r.Voters, r.sign(sessions[r.ticks/7%4], sequences[r.ticks%7]))
	},
}
