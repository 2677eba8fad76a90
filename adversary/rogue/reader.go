// The reader asks all nodes for reads at indexes that will not come for long, over and over. A
// protocol that lets reads wait without a bound holds them all. Reads that wait are bounded and
// answered with what there is when that takes too long; nothing of them is ordered.

package rogue

import (
	"math"

	"tangaroa/bftraft"
)

var reader = Attack{
	Name: "reader", Does: "asks for reads at indexes that do not come",
	Caught: "reads that wait are bounded in number and time",
	tick: func(r *Rogue, _ bftraft.NodeID) {
		for range r.Rate {
			r.ops++
			read := &bftraft.ReadRequest{
				Nonce: r.nonce(), MinIndex: bftraft.Index(r.random.Next() % math.MaxInt64),
				Queries: [][]byte{r.Query(r.ops)},
			}
			r.tell(r.Voters, read.Encode())
		}
	},
}
