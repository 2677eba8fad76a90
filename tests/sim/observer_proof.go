package sim

import (
	"encoding/binary"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// evidence judges a proof against a voter: two statements with its valid signatures, of one term,
// that no honest voter signs both of.
func (n *naive) evidence(e *quorumcert.Evidence) bool {
	switch {
	case e.Acks != nil && e.Votes == nil:
		return n.twoAcks(e.Acks)
	case e.Votes != nil && e.Acks == nil:
		a, b := &e.Votes.A, &e.Votes.B
		return a.Signer == b.Signer && a.Term == b.Term && a.Term > 0 &&
			a.Candidate != b.Candidate && n.hasVoted(a) && n.hasVoted(b)
	}
	return false
}

// twoAcks says whether the chain that ends at the second ack, as the headers give it, has no end of
// a block at the first one.
func (n *naive) twoAcks(e *quorumcert.AckConflict) bool {
	a, b := &e.A, &e.B
	if a.Signer != b.Signer || a.Term != b.Term || a.Term == 0 || len(e.Headers) == 0 {
		return false
	}
	first := e.Headers[0]
	covers := first.First >= 1 && first.First <= a.Index && a.Index <= first.Last
	ends := make(map[bftraft.Position]bool)
	at := bftraft.Position{Index: first.First - 1, Hash: first.Prev}
	for _, h := range e.Headers {
		if h.Prev != at.Hash || h.First != at.Index+1 || h.Last < h.First {
			return false
		}
		text := n.u64(append([]byte(nil), h.Prev[:]...), uint64(h.First), uint64(h.Last))
		at = bftraft.Position{
			Index: h.Last, Hash: crypto.Hash(crypto.DomainBlock, append(text, h.Root[:]...)),
		}
		ends[at] = true
	}
	return covers && at == bftraft.Position{Index: b.Index, Hash: b.Hash} &&
		!ends[bftraft.Position{Index: a.Index, Hash: a.Hash}] && n.hasAcked(a) && n.hasAcked(b)
}

func (n *naive) hasAcked(a *quorumcert.SignedAck) bool {
	return a.Cluster == n.cluster && n.hasSigned(a.Signer, crypto.DomainAck,
		n.ack(uint64(a.Term), uint64(a.Index), a.Hash, uint64(a.Certified)), a.Sig)
}

func (n *naive) hasVoted(v *quorumcert.SignedVote) bool {
	b := binary.BigEndian.AppendUint64(append([]byte(nil), n.cluster[:]...), uint64(v.Term))
	b = n.u64(append(b, byte(v.Candidate)), uint64(v.Lock.Term), uint64(v.Lock.Index))
	return v.Cluster == n.cluster &&
		n.hasSigned(v.Signer, crypto.DomainVote, append(b, v.Lock.Hash[:]...), v.Sig)
}

func (n *naive) hasSigned(
	id crypto.NodeID, d crypto.Domain, text []byte, sig crypto.Signature,
) bool {
	return id >= 1 && int(id) <= len(n.keys) && n.keys[id-1].Verify(d, text, sig)
}

// proves judges the proofs in a block that an honest node commits (B7, B13): their form, that
// they convince the second verifier, and that they name a liar.
func (o *observer) proves(m *member, b *bftraft.Block) {
	for i, e := range b.Entries() {
		if e.Kind != bftraft.EntryEvidence {
			continue
		}
		at := b.First() + bftraft.Index(i)
		proof, ok := bftraft.DecodeEvidence(e.Data)
		switch {
		case !ok || !o.naive.evidence(proof):
			o.fail("B7", "node %d commits entry %d, a proof that does not convince", m.id, at)
		case !o.w.nodes[proof.Culprit()-1].faulty():
			o.fail("B13", "entry %d accuses honest node %d", at, proof.Culprit())
		}
	}
}

// sentence is who was convicted by which entry.
type sentence struct {
	culprit bftraft.NodeID
	at      bftraft.Index
}

// sentences lists who was convicted where, by the committed log alone: the first proof counts.
func (o *observer) sentences() []sentence {
	var list []sentence
	for at := bftraft.Index(0); at < o.highest; {
		b := o.next(at)
		if b == nil {
			return list
		}
		for i, e := range b.Entries() {
			proof, ok := bftraft.DecodeEvidence(e.Data)
			if e.Kind != bftraft.EntryEvidence || !ok || slices.ContainsFunc(list,
				func(s sentence) bool { return s.culprit == proof.Culprit() }) {
				continue
			}
			list = append(list, sentence{proof.Culprit(), b.First() + bftraft.Index(i)})
		}
		at = b.Last()
	}
	return list
}

// hadASay says whether who was convicted has voted, or was to vote, ever since: a proof against one
// who has no say is not kept (divergence 48).
func (o *observer) hadASay(s sentence) bool {
	return o.w.isMember(o.w.nodes[s.culprit-1]) &&
		!slices.ContainsFunc(o.chart.epochs, func(e epoch) bool {
			return e.entry >= s.at && !(e.voters | e.incoming).Has(s.culprit)
		})
}

// convicts is B13 at the end: whoever stands convicted in the log is so at this node, by the same
// entry, and is not trusted; however often the node was away or has restarted.
func (o *observer) convicts(m *member, want []sentence) {
	var got []sentence
	for _, c := range m.proc.Convictions() {
		if c.Index > 0 {
			got = append(got, sentence{c.Evidence.Culprit(), c.Index})
		}
	}
	if !slices.Equal(got, want) {
		o.fail("B13", "node %d has convicted %v, a replay of the log gives %v", m.id, got, want)
	}
	for _, s := range want {
		if o.hadASay(s) && !m.proc.Core().Faulty.Has(s.culprit) {
			o.fail("B13", "node %d trusts node %d, which entry %d convicts", m.id, s.culprit, s.at)
		}
	}
}
