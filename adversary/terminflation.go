// TermInflation speaks as if of terms that have not begun: the next, far ones, and the last that
// there is. A protocol whose nodes enter the highest term they hear of, as in Raft, loses its
// leader each time, or its counter overflows. Terms move by certificate only (Drop future_term).

package adversary

import (
	"math"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

var termInflation = Attack{
	Name: "terminflation", Does: "speaks of terms that have not begun",
	Caught: "terms move by certificate only",
	Drops:  []bftraft.Drop{bftraft.FutureTerm},
	make:   func(*values) Behaviour { return &inflation{} },
}

type inflation struct{ Honest }

func (*inflation) Tick(e *Env) {
	t := e.Core.Term()
	t = []bftraft.Term{t + 1, t + 1000, math.MaxInt64, math.MaxUint64}[e.Now%4]
	tip, others := e.tip(), e.Others()
	lock, _ := e.Core.LockWithQC()
	e.Send(others, bftraft.ClassConsensus, e.suspect(t))
	e.Send(others, bftraft.ClassConsensus, &bftraft.Status{
		Term: t, Leader: e.ID(), Tip: tip, Lock: lock, Commit: e.Core.Commit(), Acked: tip.Index,
	})
	e.Send(others, bftraft.ClassConsensus, &bftraft.AppendEntriesResponse{
		Ack: e.ack(quorumcert.Ack{
			Cluster: e.Cluster(), Term: t, Index: tip.Index, Hash: tip.Hash,
		}),
	})
	e.Send(others, bftraft.ClassConsensus,
		e.vote(quorumcert.Vote{Term: t, Candidate: e.ID(), Lock: lock}))
}
