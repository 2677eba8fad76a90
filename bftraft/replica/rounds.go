package replica

import (
	"math"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// rounds is what a node has seen of how fast the cluster works, whoever leads.
type rounds struct {
	newest  window    // from a block's arrival to its commit
	phases  window    // twice what others took to say that a block was certified
	arrived []arrival // blocks that are not committed yet, ascending
	heard   []hearing // by voter, nil as long as nobody was heard in this term
	fullAt  uint64    // when a block came that was full, 0 for never
	behind  uint64    // when this node last had to catch up, 0 for never
}

type arrival struct {
	at   bftraft.Position
	when uint64
}

// window holds the newest of some spans, in parts of a tick.
type window struct {
	spans [16]uint64
	next  int // the place of the next one
	count int
}

func (w *window) add(span uint64) {
	w.spans[w.next] = span
	w.next = (w.next + 1) % len(w.spans)
	w.count = min(w.count+1, len(w.spans))
}

// quantile returns the span that a part of a hundred of them is below.
func (w *window) quantile(part int) uint64 {
	sorted := w.spans
	slices.Sort(sorted[:w.count])
	return sorted[w.count*part/100]
}

// fewRounds is how many a node must have seen before it goes by them.
const fewRounds = 4

// usual is the lower quartile of what the newest blocks took, or what is assumed as long as there
// are few. A leader that sends blocks to some earlier than to the others makes rounds look long
// there. So it is no more than twice what one of the other followers took, once it could, to
// say that a block was certified: in that the leader has no part.
func (s *rounds) usual(assumed uint64) uint64 {
	if s.newest.count < fewRounds {
		return assumed
	}
	usual := s.newest.quantile(25)
	if s.phases.count >= fewRounds {
		usual = min(usual, s.phases.quantile(50))
	}
	return usual
}

// hearing is when a voter said the newest of what it said of this term.
type hearing struct {
	acks [64]saidAck
	next int
}

type saidAck struct {
	index, certified bftraft.Index
	when             uint64
}

// hears notes when a voter's ack came.
func (r *Replica) hears(from bftraft.NodeID, a *quorumcert.SignedAck) {
	s := &r.slack.rounds
	if s.heard == nil {
		s.heard = make([]hearing, crypto.MaxNodeID+1)
	}
	h := &s.heard[from]
	h.acks[h.next] = saidAck{a.Index, a.Certified, r.clock}
	h.next = (h.next + 1) % len(h.acks)
}

// since returns when a voter first said that it had index i, and that i was certified, or never for
// what it has not said.
func (h *hearing) since(i bftraft.Index) (acked, certified uint64) {
	acked, certified = never, never
	for k := range h.acks {
		a := &h.acks[k]
		if a.index >= i {
			acked = min(acked, a.when)
		}
		if a.index > 0 && a.certified >= i {
			certified = min(certified, a.when)
		}
	}
	return acked, certified
}

const never = math.MaxUint64

// phase returns how long one of the other followers took to say that the block that ends at i,
// which came at a time, was certified, once it could: the one that 2F took no longer than. If the
// leader lies fewer than F of them do, so an honest one took no less; if it does not at most F do,
// so an honest one took no more. It is false where too few acks came here to tell.
func (r *Replica) phase(i bftraft.Index, came uint64) (uint64, bool) {
	cfg := r.configs().For(i)
	need, n := 2*cfg.Size().F, 0
	var said [quorumcert.MaxVoters]struct{ acked, certified uint64 }
	all := []uint64{came, came} // this node, and the leader
	for _, v := range cfg.Voters() {
		if v.ID != r.id && v.ID != r.leader && r.slack.rounds.heard != nil {
			said[n].acked, said[n].certified = r.slack.rounds.heard[v.ID].since(i)
			all = append(all, said[n].acked)
			n++
		}
	}
	if need == 0 || n < need {
		return 0, false
	}
	slices.Sort(all)
	quorum := all[cfg.Size().Q-1]
	if quorum == never {
		return 0, false
	}
	var took [quorumcert.MaxVoters]uint64
	for k := range n {
		did := min(said[k].certified, r.clock)
		took[k] = did - min(did, max(quorum, said[k].acked))
	}
	slices.Sort(took[:n])
	return took[need-1], true
}

// saw notes what one Ready says about how fast blocks become committed.
func (r *Replica) saw(ready *bftraft.Ready) {
	s := &r.slack.rounds
	if ready.Truncated {
		s.arrived = slices.DeleteFunc(s.arrived, func(a arrival) bool {
			return a.at.Index > ready.Truncate
		})
	}
	for _, b := range ready.Blocks {
		full := r.fills(b)
		r.placed(b, full)
		s.arrived = append(s.arrived, arrival{b.End(), r.clock})
		if full {
			s.fullAt = r.clock
		}
	}
	for _, b := range ready.Committed {
		k := slices.IndexFunc(s.arrived, func(a arrival) bool { return a.at == b.End() })
		if k < 0 {
			continue
		}
		switch came := s.arrived[k].when; {
		case r.leader != r.id && slices.Contains(ready.Blocks, b):
			s.behind = r.clock
		case came >= r.slack.office:
			s.newest.add(r.clock - came)
			if took, ok := r.phase(b.Last(), came); ok && r.leader != r.id {
				s.phases.add(2 * took)
			}
		}
		s.arrived = slices.Delete(s.arrived, 0, k+1)
	}
}

// fills says whether a block is more than half full: what it leaves out may not have fitted. What
// was executed already, or stands in it twice, does not count: any leader has enough of that.
func (r *Replica) fills(b *bftraft.Block) bool {
	full := func(bytes, entries int) bool {
		return bytes > r.cfg.BlockBytes/2 || entries > bftraft.MaxBlockEntries/2
	}
	if !full(len(b.Raw()), len(b.Entries())) {
		return false
	}
	type name struct {
		client            crypto.PublicKey
		session, sequence uint64
	}
	seen := make(map[name]bool)
	bytes, entries := 0, 0
	for _, e := range b.Entries() {
		req, err := bftraft.DecodeRequest(e.Data)
		if err != nil {
			continue
		}
		of := name{req.Client, req.Session, req.Sequence}
		last, ok := r.sessions.last(req.Client, req.Session)
		if !ok || req.Sequence <= last || seen[of] {
			continue
		}
		seen[of] = true
		bytes += len(e.Data)
		entries++
	}
	return full(bytes, entries)
}
