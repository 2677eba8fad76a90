// Flood sends messages that are well-formed, well signed and of no use, as many as it can: each
// costs the receiver a signature check, and those with certificates many. A protocol whose nodes
// treat all peers from one queue spends its time on one of them. Each peer has a queue and a share
// of its own (metric of frames dropped as too many), and the honest ones are heard. Or it sends, as
// leader, blocks without end before the first of them is certified: a protocol whose followers keep
// whatever a leader proposes runs out of memory. Beyond a bound they are refused (Drop
// too_far_ahead).

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

var flood = Attack{
	Name: "flood", Does: "sends valid messages of no use, as many as it can",
	Caught: "each peer has a queue of its own and a bounded share of the processor",
	Options: []Option{
		number("rate", "messages to each node in each tick", 20, 1, 10_000),
		word("of", "what it sends", "messages", "blocks"),
	},
	make: func(v *values) Behaviour {
		if v.word("of") == "blocks" {
			return &hurrying{}
		}
		return &flooding{rate: v.number("rate")}
	},
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

// hurrying leads far ahead of what the others have acked, once in each term.
type hurrying struct {
	Honest
	term bftraft.Term
}

// hurriedBlocks is how many blocks it sends ahead, in one message.
const hurriedBlocks = 320

func (h *hurrying) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	for _, m := range honest {
		msg, ok := m.Msg.(*bftraft.AppendEntries)
		if ok && len(msg.Blocks) > 0 && msg.Ack.Term > h.term {
			h.term = msg.Ack.Term
			return append(honest[:len(honest):len(honest)], h.ahead(e, msg))
		}
	}
	return honest
}

// ahead makes what follows a proposal: its first entry, which is valid however often it is said.
func (h *hurrying) ahead(e *Env, m *bftraft.AppendEntries) bftraft.Outbound {
	last := m.Blocks[len(m.Blocks)-1]
	tip, entries := last.End(), last.Entries()[:1]
	next := &bftraft.AppendEntries{}
	for range hurriedBlocks {
		b := bftraft.NewBlock(tip, entries)
		next.Blocks, tip = append(next.Blocks, b), b.End()
	}
	next.Ack = e.ack(quorumcert.Ack{
		Cluster: e.Cluster(), Term: m.Ack.Term, Index: tip.Index, Hash: tip.Hash,
		Certified: m.Ack.Certified,
	})
	return bftraft.Outbound{To: e.Others(), Class: bftraft.ClassBulk, Msg: next}
}
