package sim

import (
	"slices"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// bounds of what must happen while the network loses nothing, in milliseconds.
const (
	// resignedMillis is how long a term may go on that its leader has resigned, or that f+1 honest
	// nodes suspect: less than anybody waits for a request before it suspects by itself.
	resignedMillis = 1000
	// provenMillis is how long a leader may stay against which a node holds proof, and
	// healedMillis how long where the network has healed only.
	provenMillis = 800
	healedMillis = 10_000
)

// office is what the observer knows of those who lead, or want to.
type office struct {
	resigned   bftraft.Term // the newest term that an honest leader has resigned, and when
	resignedAt int
	led        bftraft.Term // the newest term with a leader that an honest node knows, and who
	chief      bftraft.NodeID
	plaints    [quorumcert.MaxVoters + 1]plaint
	brokenAt   int // when the world was last seen not to be whole
}

// plaint is the newest run of suspicions of one term by one node, none longer than a while apart.
type plaint struct {
	term        bftraft.Term
	since, last int
}

// prompt is the longest that a message usually takes on a network that is timely, in milliseconds.
const prompt = 40

// whole says whether the network loses nothing and all nodes are up and as fast as they should be.
func (w *World) whole() bool {
	o := &w.opt
	down := func(m *member) bool { return m.proc == nil }
	return len(w.plan) == 0 && o.Moves == 0 && o.MaxDelay <= prompt && o.DropPermille == 0 &&
		o.TailPermille == 0 &&
		o.SlowDisk == 0 && len(o.Drift) == 0 && !slices.ContainsFunc(w.nodes, down)
}

// resigns notes that an honest leader has asked to be replaced.
func (o *observer) resigns(t bftraft.Term) {
	if t > o.office.resigned {
		o.office.resigned, o.office.resignedAt = t, o.w.now
	}
}

// inOffice is L1 for a leader that has resigned: its term ends, and not by and by.
func (o *observer) inOffice() {
	if t := o.office.resigned; t > 0 && t == o.highTerm && !o.blind &&
		o.w.now-o.office.resignedAt > resignedMillis && o.w.whole() {
		o.fail("L1", "term %d goes on %d ms after its leader has resigned", t,
			o.w.now-o.office.resignedAt)
	}
}

// joins is L7 for those who join others: when all has been at rest for a while under an honest
// leader nobody has another reason to begin to suspect it, and so many do that with all the liars
// they are more than f, now or a moment ago.
func (o *observer) joins(m *member, t bftraft.Term) {
	if o.w.over == 0 || t != o.office.led || o.w.nodes[o.office.chief-1].liar || o.blind ||
		o.w.opt.SlowDisk > 0 {
		return
	}
	const fresh = 1200 << 4 // the longest timeout, by a slow clock
	const while = 5000
	if o.office.plaints[m.id].since < o.w.over-o.w.opt.Settled+while {
		return
	}
	others := o.lying.Len()
	for id, p := range o.office.plaints {
		if bftraft.NodeID(id) != m.id && p.term == t && o.w.now-p.last <= fresh {
			others++
		}
	}
	if others <= o.chart.most() && o.w.opt.Moves == 0 {
		o.fail("L7", "node %d joins %d who suspect term %d of an honest leader (%v)", m.id, others, t,
			m.core.State().Suspects)
	}
}

// complains is L1 for a leader that f+1 honest nodes suspect: all join them, and its term ends.
func (o *observer) complains(m *member, t bftraft.Term) {
	const pause = 250 // two heartbeats and a half
	p := &o.office.plaints[m.id]
	if p.term != t || o.w.now-p.last > pause {
		*p = plaint{term: t, since: o.w.now}
	}
	p.last = o.w.now
	if !o.w.whole() {
		o.office.brokenAt = o.w.now
	}
	o.joins(m, t)
	long := 0
	for _, p := range o.office.plaints {
		if p.term == t && t > 0 && o.w.now-p.last <= pause &&
			o.w.now-max(p.since, o.office.brokenAt) > resignedMillis {
			long++
		}
	}
	if long > o.chart.most() && t == o.highTerm && !o.blind {
		o.fail("L1", "term %d goes on while %d honest nodes suspect it", t, long)
	}
}

// knows notes that an honest node knows the leader of a term.
func (o *observer) knows(leader bftraft.NodeID, t bftraft.Term) {
	if leader != 0 && t > o.office.led {
		o.office.led, o.office.chief = t, leader
	}
}

// wasted is L1 for elections: where nothing is lost, an honest node of rank 0 needs no more than
// its window, so that its term has a leader, it or another.
func (o *observer) wasted(t bftraft.Term) {
	first := o.w.nodes[int(t)%len(o.w.nodes)]
	if t > o.office.led && t > 0 && !first.liar && !o.blind && o.w.whole() {
		o.fail("L1", "term %d passed though the turn was that of honest node %d", t, first.id)
	}
}

// calmsDown is L7 for timeouts: where one leader was in office for a minute of rest, nobody waits
// longer for it than at the start, but for who alone heard it resign before it was started again,
// and for those to whom a liar in office is silent.
func (o *observer) calmsDown() {
	for _, m := range o.w.nodes {
		if !o.w.answers(m) || m.proc == nil || o.w.opt.SlowDisk > 0 {
			continue
		}
		s := m.proc.Core()
		if s.Leader == 0 || o.w.nodes[s.Leader-1].liar {
			continue
		}
		if s.Backoff > 0 && s.Suspects != bftraft.CauseResigned &&
			s.Suspects != bftraft.CauseOutside {
			o.fail("L7", "node %d doubles its timeouts %d times after a minute of rest", m.id, s.Backoff)
		}
	}
}

// proposed is S1 for what is acked: where no liar can have been elected in a term, honest nodes ack
// in it what the one that can has acked, and so proposed, before.
func (o *observer) proposed(m *member, a *quorumcert.SignedAck) {
	if a.Index == 0 || o.blind {
		return
	}
	for id, s := range o.leaders[a.Term] { // any will do: the order does not matter
		if s.voters = s.voters.With(id); !o.electable(s) {
			continue // who crashed before its own vote left counts it all the same
		}
		hash, ok := o.acks[ackKey{id, place{a.Term, a.Index}}]
		if o.w.nodes[id-1].faulty() || ok && hash == a.Hash {
			return
		}
	}
	o.fail("S1", "node %d acks %d,%d, which nobody has proposed who can have been elected", m.id,
		a.Term, a.Index)
}

// finds notes of whose guilt a node has proof, from the next Ready on.
func (o *observer) finds(m *member, r *bftraft.Ready) {
	m.proven |= m.finding
	m.finding = 0
	for i := range r.Evidence {
		m.finding = m.finding.With(r.Evidence[i].Culprit())
	}
}

// trusts is B13 for voters: nobody votes for whom it has proof against.
func (o *observer) trusts(m *member, v *quorumcert.SignedVote) {
	if m.proven.Has(v.Candidate) {
		o.fail("B13", "node %d votes for node %d, against which it holds proof", m.id, v.Candidate)
	}
}

// bows is B13 for followers: on a network that is timely nobody has a leader for long that it holds
// proof against.
func (o *observer) bows(m *member, leader bftraft.NodeID) {
	most := healedMillis
	if o.w.whole() {
		most = provenMillis
	}
	switch {
	case leader == 0 || !m.proven.Has(leader) || !o.w.calm && !o.w.whole() || o.blind:
		m.bowing = 0
	case m.bowing == 0:
		m.bowing = o.w.now
	case o.w.now-m.bowing > most:
		o.fail("B13", "node %d follows leader %d, against which it holds proof, for %d ms", m.id,
			leader, o.w.now-m.bowing)
	}
}

// names is B7 for who sends: what passes an honest gate names nobody else than who the link says.
func (o *observer) names(m *member, from bftraft.NodeID, msg bftraft.Message) {
	name := from
	switch msg := msg.(type) {
	case *bftraft.AppendEntries:
		name = msg.Ack.Signer
	case *bftraft.AppendEntriesResponse:
		name = msg.Ack.Signer
	case *bftraft.Suspect:
		name = msg.Signer
	case *bftraft.RequestVoteResponse:
		name = msg.Vote.Signer
	case *bftraft.RequestVote:
		name = msg.From
	case *bftraft.Proof:
		name = msg.From
	case *bftraft.Status:
		name = msg.From
	case *bftraft.Resign:
		name = msg.From
	case *bftraft.FetchChain:
		name = msg.From
	case *bftraft.Chain:
		name = msg.From
	case *bftraft.FetchCommitted:
		name = msg.From
	case *bftraft.Committed:
		name = msg.From
	case *bftraft.Accusation:
		name = msg.From
	}
	if name != from && !m.liar {
		o.fail("B7", "node %d lets a %s of node %d pass that names node %d", m.id,
			bftraft.MessageName(msg), from, name)
	}
}

// heard are the acks of one liar, in one term, that an honest node has taken in since its start.
type heard struct {
	term  bftraft.Term
	boots int
	acks  map[bftraft.Index]bftraft.Digest
}

// maxHeard is less than the acks that a node keeps of another.
const maxHeard = 100

// notices is B13 for those who contradict themselves: an honest node that took an ack of a liar for
// one place, and hears another one of the same place and term, holds proof against it, if one of
// the two is on its own chain and not yet committed, and the liar has a say (divergence 48).
func (o *observer) notices(m *member, from bftraft.NodeID, msg bftraft.Message, d bftraft.Drop) {
	r, ok := msg.(*bftraft.AppendEntriesResponse)
	if !ok || m.liar || m.proc == nil || !o.w.nodes[from-1].liar || m.flushTime > 0 {
		return
	}
	a := &r.Ack
	if m.heard == nil {
		m.heard = make(map[bftraft.NodeID]heard)
	}
	h := m.heard[from]
	if h.term != a.Term || h.boots != m.boots {
		h = heard{a.Term, m.boots, make(map[bftraft.Index]bftraft.Digest)}
	}
	if d == bftraft.Accepted && len(h.acks) < maxHeard {
		h.acks[a.Index] = a.Hash
	}
	m.heard[from] = h
	first, both := h.acks[a.Index]
	if !both || first == a.Hash || a.Term != m.term {
		return
	}
	b, ok := m.disk.Block(a.Index)
	if !ok || b.Hash() != first && b.Hash() != a.Hash {
		return
	}
	s := m.proc.Core()
	says := m.proc.Verifier().Members().Votes(from)
	if says && a.Index > s.Commit.Index && s.Term == a.Term && !s.Faulty.Has(from) {
		o.fail("B13", "node %d hears node %d ack two blocks at term %d index %d, and takes no note",
			m.id, from, a.Term, a.Index)
	}
}
