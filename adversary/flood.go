// Flood sends messages that are well-formed, well signed and of no use, as many as it can: each
// costs the receiver a signature check, and those with certificates many. A protocol whose nodes
// treat all peers from one queue spends its time on one of them. Each peer has a queue and a share
// of its own (metric of frames dropped as too many), and the honest ones are heard.

package adversary

import (
	"tangaroa/bftraft"
)

var flood = Attack{
	Name: "flood", Does: "sends valid messages of no use, as many as it can",
	Caught: "each peer has a queue of its own and a bounded share of the processor",
	Options: []Option{
		number("rate", "messages to each node in each tick", 20, 1, 10_000),
	},
	make: func(v *values) Behaviour { return &flooding{rate: v.number("rate")} },
}

type flooding struct {
	Honest
	rate int
}

func (f *flooding) Tick(e *Env) {
	lock, qc := e.Core.LockWithQC()
	t, tip := e.Core.Term(), e.tip()
	for i := range f.rate {
		var m bftraft.Message = &bftraft.Status{
			Term: t, Leader: e.Core.Leader(), Tip: tip, Lock: lock, Commit: e.Core.Commit(),
			Acked: bftraft.Index(i),
		}
		if i%2 == 1 {
			m = &bftraft.Proof{TermProof: bftraft.TermProof{QC: qc}}
		}
		e.Raw(e.Others(), bftraft.ClassConsensus, bftraft.Encode(e.sign(m)))
	}
}
