// FetchStorm asks for the whole log, from its beginning, in every tick, and for blocks that nobody
// has. A protocol that answers all questions spends its disk and its links on one peer. What one
// peer is served in a heartbeat interval is bounded, and the rest is dropped (Drop unserved).

package adversary

import (
	"tangaroa/bftraft"
)

var fetchStorm = Attack{
	Name: "fetchstorm", Does: "asks for the whole log in every tick",
	Caught: "what a peer is served in an interval is bounded",
	Drops:  []bftraft.Drop{bftraft.Unserved},
	make:   func(*values) Behaviour { return &fetching{} },
}

type fetching struct{ Honest }

// Inbound keeps the answers from the core, which has not asked.
func (*fetching) Inbound(e *Env, v bftraft.Verified) bool {
	m, ok := v.Message().(*bftraft.Committed)
	return !ok || len(m.Blocks) == 0 || m.Blocks[0].First() > 1 || e.Core.Commit().Index == 0
}

func (*fetching) Tick(e *Env) {
	others := e.Others()
	e.Send(others, bftraft.ClassConsensus, &bftraft.FetchCommitted{
		After: bftraft.Position{Hash: e.Cluster()},
	})
	e.Send(others, bftraft.ClassConsensus, &bftraft.FetchChain{Target: e.tip()})
	unknown := bftraft.Position{Index: e.tip().Index + 1, Hash: bftraft.Digest{byte(e.Now)}}
	e.Send(others, bftraft.ClassConsensus, &bftraft.FetchChain{Target: unknown})
}
