package sim

import (
	"slices"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/quorumcert"
)

// liarNames are the ways to lie that a seed may draw.
var liarNames = []string{"equivocate", "chaos", "silent", "hoarder", "flatterer", "amnesiac"}

// liar is a faulty voter: an honest core inside, whose messages it changes on their way out. It
// holds its own key only.
type liar struct {
	replica.Protocol
	w      *World
	m      *member
	random *stream
	heard  []bftraft.Message // old messages of its own, to send again
}

func newLiar(w *World, m *member, p replica.Protocol) *liar {
	return &liar{Protocol: p, w: w, m: m, random: newStream(w.opt.Seed, "lies")}
}

// Step implements replica.Protocol: the liar may answer what it hears.
func (l *liar) Step(v bftraft.Verified) bftraft.Drop {
	drop := l.Protocol.Step(v)
	switch l.w.opt.Liar {
	case "flatterer":
		if m, ok := v.Message().(*bftraft.RequestVote); ok {
			l.vote(m.Term, v.From(), m.Lock)
		}
	case "chaos":
		if m, ok := v.Message().(*bftraft.RequestVote); ok && l.random.chance(500) {
			l.vote(m.Term, v.From(), m.Lock)
		}
		if m, ok := v.Message().(*bftraft.AppendEntries); ok && l.random.chance(300) {
			l.ack(m.Ack.Ack)
		}
	}
	return drop
}

// vote votes for whoever asks.
func (l *liar) vote(t bftraft.Term, candidate bftraft.NodeID, lock bftraft.Lock) {
	v := quorumcert.Vote{Cluster: l.w.cluster, Term: t, Candidate: candidate, Lock: lock}
	l.tell(&bftraft.RequestVoteResponse{Vote: quorumcert.SignedVote{
		Vote: v, Signer: l.m.id, Sig: quorumcert.Sign(l.m.signer, v),
	}}, l.everybody())
}

// ack acks what it has not stored, and claims it certified.
func (l *liar) ack(a quorumcert.Ack) {
	a.Certified = a.Index
	l.tell(&bftraft.AppendEntriesResponse{Ack: quorumcert.SignedAck{
		Ack: a, Signer: l.m.id, Sig: quorumcert.Sign(l.m.signer, a),
	}}, l.everybody())
}

func (l *liar) everybody() bftraft.Set {
	return l.w.verifier.Configurations().Latest().Members().Without(l.m.id)
}

func (l *liar) tell(m bftraft.Message, to bftraft.Set) {
	frame := bftraft.Encode(m)
	for id := to.Next(0); id != 0; id = to.Next(id) {
		l.w.transmit(int(l.m.id)-1, int(id)-1, frame)
	}
}

// Ready implements replica.Protocol.
func (l *liar) Ready() (bftraft.Ready, bool) {
	r, some := l.Protocol.Ready()
	var out []bftraft.Outbound
	for _, o := range r.Messages {
		out = append(out, l.change(o)...)
	}
	r.Messages = out
	return r, some
}

func (l *liar) change(o bftraft.Outbound) []bftraft.Outbound {
	switch l.w.opt.Liar {
	case "silent":
		return nil
	case "hoarder": // serves a bare quorum only
		o.To &= bftraft.Set(1)<<(quorumcert.ForNodes(l.w.opt.Nodes).Q) - 1
		return []bftraft.Outbound{o}
	case "equivocate":
		return l.equivocate(o)
	case "chaos":
		return l.chaos(o)
	}
	return []bftraft.Outbound{o}
}

// equivocate proposes two blocks for one place.
func (l *liar) equivocate(o bftraft.Outbound) []bftraft.Outbound {
	m, ok := o.Msg.(*bftraft.AppendEntries)
	if !ok || len(m.Blocks) != 1 {
		return []bftraft.Outbound{o}
	}
	b := m.Blocks[0]
	entries := append(append([]bftraft.Entry(nil), b.Entries()...), b.Entries()[0])
	if n := len(b.Entries()); n > 1 && l.random.chance(700) {
		entries = entries[:n] // shorter, or as long but in another order
		if l.random.chance(500) {
			entries = entries[:1]
		}
		slices.Reverse(entries)
	}
	other := bftraft.NewBlock(b.Before(), entries)
	a := m.Ack.Ack
	a.Index, a.Hash, a.Certified = other.Last(), other.Hash(), min(a.Certified, other.Last())
	twin := &bftraft.AppendEntries{
		Blocks: []*bftraft.Block{other}, Election: m.Election, BaseQC: m.BaseQC,
		Ack: quorumcert.SignedAck{Ack: a, Signer: l.m.id, Sig: quorumcert.Sign(l.m.signer, a)},
	}
	some := bftraft.Set(l.random.next()) & o.To
	return []bftraft.Outbound{
		{To: o.To &^ some, Class: o.Class, Msg: m}, {To: some, Class: o.Class, Msg: twin},
	}
}

// chaos loses, repeats, equivocates and misdirects at random.
func (l *liar) chaos(o bftraft.Outbound) []bftraft.Outbound {
	if l.random.chance(200) {
		o.To &= bftraft.Set(l.random.next())
	}
	out := []bftraft.Outbound{o}
	if l.random.chance(300) {
		out = l.equivocate(o)
	}
	if len(l.heard) < 200 {
		l.heard = append(l.heard, o.Msg)
	} else {
		l.heard[l.random.below(len(l.heard))] = o.Msg
	}
	if l.random.chance(200) {
		out = append(out, bftraft.Outbound{
			To: o.To, Class: o.Class, Msg: l.heard[l.random.below(len(l.heard))],
		})
	}
	if l.random.chance(30) {
		t := l.Protocol.Term()
		out = append(out, bftraft.Outbound{To: o.To, Msg: &bftraft.Suspect{
			Term: t, Signer: l.m.id, Sig: quorumcert.Sign(l.m.signer,
				quorumcert.Suspicion{Cluster: l.w.cluster, Term: t}),
		}})
	}
	return out
}
