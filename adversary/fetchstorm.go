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
	Options: []Option{word("how", "for all of the log once in a tick, or for the newest block often",
		"once", "often")},
	make: func(v *values) Behaviour { return &fetching{often: v.word("how") == "often"} },
}

type fetching struct {
	Honest
	often bool
}

// Inbound keeps the answers from the core, which has not asked.
func (f *fetching) Inbound(e *Env, v bftraft.Verified) bool {
	m, ok := v.Message().(*bftraft.Committed)
	return !ok || len(m.Blocks) == 0 || m.Blocks[0].First() > 1 || e.Core.Commit().Index == 0
}

func (f *fetching) Tick(e *Env) {
	others := e.Others()
	if f.often {
		for range 5 {
			e.Send(others, bftraft.ClassConsensus, &bftraft.FetchChain{
				Target: e.tip(), Above: max(e.tip().Index, 1) - 1,
			})
		}
		return
	}
	e.Send(others, bftraft.ClassConsensus, &bftraft.FetchCommitted{
		After: bftraft.Position{Hash: e.Cluster()},
	})
	e.Send(others, bftraft.ClassConsensus, &bftraft.FetchChain{Target: e.tip()})
	unknown := bftraft.Position{Index: e.tip().Index + 1, Hash: bftraft.Digest{byte(e.Now)}}
	e.Send(others, bftraft.ClassConsensus, &bftraft.FetchChain{Target: unknown})
}

// Outbound says, where it asks often, that it has committed nothing: who has committed what it asks
// for is answered with nothing.
func (f *fetching) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	if !f.often {
		return honest
	}
	out := make([]bftraft.Outbound, 0, len(honest))
	for _, m := range honest {
		if status, ok := m.Msg.(*bftraft.Status); ok {
			lie := *status
			lie.Commit = bftraft.Position{Hash: e.Cluster()}
			m.Msg = e.sign(&lie)
		}
		out = append(out, m)
	}
	return out
}
