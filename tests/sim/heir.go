package sim

import (
	"slices"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// drawHeir decides how often who has the keys of those who left signs something with them.
func (o *Options) drawHeir(r *stream) { o.Heir = r.between(20, 400) }

// heir is who has the keys of the nodes that were taken out: any number of them, those of all who
// voted once as well (BYZ-G3, BYZ-S4). What the liars would sign it has too. It shows nothing to
// those who know of no change that took away more of these keys than were to be feared before: they
// can be misled, and nothing else is promised (J5, divergence 47).
type heir struct {
	w      *World
	random *stream
	shown  map[uint64]bool // the frames that it has sent, by digest
}

func newHeir(w *World) *heir {
	return &heir{w: w, random: newStream(w.opt.Seed, "heir"), shown: make(map[uint64]bool)}
}

// faulty says whether what a node's key signs need not be honest.
func (m *member) faulty() bool { return m.liar || m.robbed }

// tick inherits and forges, until some time after the healing.
func (h *heir) tick() {
	w := h.w
	if w.calm && w.now >= w.opt.Chaos+rogueCalmMillis {
		return
	}
	w.later(h.random.between(1, 2*w.opt.Heir), h.tick)
	for _, m := range w.nodes {
		if !m.faulty() && !m.absent && !w.isMember(m) && (m.gone || h.random.chance(200)) {
			m.robbed = true
			w.watch.robs(m.id)
		}
	}
	if f := h.forge(); f != nil {
		f.strike()
	}
}

// keys returns the ids of those whose keys the heir has.
func (h *heir) keys() (set quorumcert.Set) {
	for _, m := range h.w.nodes {
		if m.robbed {
			set = set.With(m.id)
		}
	}
	return set
}

// robs notes that the key of a node that was taken out is in other hands. In a configuration in
// which it voted it counts among the faulty as long as there are no more than f.
func (o *observer) robs(id bftraft.NodeID) {
	bad := o.w.bad()
	for i := range o.chart.epochs {
		e := &o.chart.epochs[i]
		within := func(voters quorumcert.Set) bool {
			all := (bad | e.robbed).With(id) & voters
			return all.Len() <= quorumcert.ForNodes(voters.Len()).F
		}
		if (e.voters | e.incoming).Has(id) && within(e.voters) && within(e.incoming) {
			e.robbed = e.robbed.With(id)
		}
	}
}

// bears says whether all that the heir has may be used against whoever knows a membership: of those
// who vote by it no more are faulty than the promises allow for.
func (h *heir) bears(m *bftraft.Membership) bool {
	for i := range h.w.watch.chart.epochs {
		if e := &h.w.watch.chart.epochs[i]; e.entry == m.At.Index {
			return h.keys()&(e.voters|e.incoming)&^e.robbed == 0
		}
	}
	return false // the observer has not read it yet
}

// victims are the honest nodes that may be shown something of a term: any term, once they have
// committed the newest change they know, and before that what is of a later term than the change.
func (h *heir) victims(t bftraft.Term) []*member {
	return slices.DeleteFunc(slices.Clone(h.w.nodes), func(m *member) bool {
		if m.faulty() || m.proc == nil || m.flushTime > 0 || m.disk.Unsynced() > 0 {
			return true // it might forget in a crash what it knows
		}
		gate := m.proc.Verifier()
		list := gate.Changes()
		if len(list) == 0 || !h.bears(gate.Members()) {
			return true
		}
		newest := list[len(list)-1]
		return m.core.Commit().Index < newest.Header.Last && t <= newest.Commit.Term
	})
}

// links are the ends from which the heir can reach a node: those of whom it has the keys, and the
// liars. Where some are listened to it takes these mostly.
func (h *heir) link(to *member) *member {
	var all, heard []*member
	members := to.proc.Verifier().Members()
	for _, m := range h.w.nodes {
		if !m.faulty() || m.absent {
			continue
		}
		all = append(all, m)
		_, is := members.Node(m.signer.Public())
		if is || slices.ContainsFunc(members.Leaving, func(n bftraft.Node) bool {
			return n.Key == m.signer.Public()
		}) {
			heard = append(heard, m)
		}
	}
	if len(heard) > 0 && h.random.chance(900) {
		all = heard
	}
	return all[h.random.below(len(all))]
}

// send puts a frame on the link from one node to another. It reaches no third, which might be one
// that can be misled.
func (h *heir) send(from, to *member, m bftraft.Message) {
	frame := bftraft.Encode(m)
	h.shown[digest(frame)] = true
	h.w.watch.hit(seenInherited)
	h.w.carry(int(from.id)-1, int(to.id)-1, frame, digest(frame), 0)
}

// hand sends a message that is signed as a whole.
func (h *heir) hand(to *member, m bftraft.Message) {
	from := h.link(to)
	bftraft.SignMessage(from.signer, h.w.cluster, m)
	h.send(from, to, m)
}

// judged notes that a node has looked at what the heir sent and not only at who sent it.
func (h *heir) judged(m *member, frame []byte, d bftraft.Drop) {
	if h != nil && !m.faulty() && d != bftraft.UnknownSender && h.shown[digest(frame)] {
		h.w.watch.hit(seenInheritedJudged)
	}
}

// asked offers who looks for a state one of voters that were replaced.
func (h *heir) asked(e *event) {
	to := h.w.nodes[e.from]
	if h.w.calm || to.faulty() || e.frame[0] != kindFetchState || !h.random.chance(300) {
		return
	}
	if f := h.forge(); f != nil && f.quorum && slices.Contains(h.victims(f.term), to) {
		h.w.watch.hit(seenInheritedState)
		h.hand(to, &bftraft.StatePart{Part: bftraft.ManifestPart, Data: f.manifest(to).Encode()})
	}
}

// tells sends clients results of their requests that the voters of a configuration that was
// replaced would have to vouch for.
func (f *forgery) tells() {
	h, w := f.h, f.h.w
	for _, c := range w.clients {
		known := c.gate.Members()
		if len(c.writes) == 0 || known.At.Index == 0 || !h.bears(known) {
			continue
		}
		wr := c.writes[h.random.below(len(c.writes))]
		r := &bftraft.BlockReply{
			Client: c.key.Public(), Session: wr.request.Session, Sequence: wr.request.Sequence,
			Request: wr.request.Digest(w.cluster), Leaves: 1,
		}
		for range wr.request.Ops {
			r.Results = append(r.Results, []byte("forged"))
		}
		at := f.blocks[0].End()
		r.Reply = quorumcert.Reply{
			Cluster: w.cluster, Configuration: f.by.entry, Index: at.Index, Hash: at.Hash,
			Results: crypto.MerkleRoot([]crypto.Digest{r.Leaf()}),
		}
		switch h.random.below(3) {
		case 0: // the place of a block behind the change
			r.Reply.Index = known.At.Index + bftraft.Index(h.random.between(1, 5))
		case 1: // and as if they were its voters
			r.Reply.Index = known.At.Index + bftraft.Index(h.random.between(1, 5))
			r.Reply.Configuration = known.At.Index
		}
		for id := f.signers.Next(0); id != 0; id = f.signers.Next(id) {
			r.Signer, r.Sig = id, quorumcert.Sign(w.nodes[id-1].signer, r.Reply)
			w.watch.hit(seenInheritedReply)
			w.toClient(w.nodes[id-1], c.index, r.Encode(), 0)
		}
	}
}
