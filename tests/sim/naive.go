package sim

import (
	"encoding/binary"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// naive is a second verifier of certificates, written from the protocol's text and sharing no code
// with the first but the signature scheme: it builds the signed bytes itself, counts signers one
// by one, and judges by who votes in the configurations that it has read in the log.
type naive struct {
	cluster crypto.Digest
	chart   *chart            // who votes where
	keys    []crypto.Verifier // by position; identity is position plus one
	clients map[crypto.PublicKey]crypto.Verifier
	seen    map[uint64]bool // certificates judged before, by what they say and who signed
}

func newNaive(w *World) *naive {
	n := &naive{
		cluster: w.cluster, seen: make(map[uint64]bool),
		clients: make(map[crypto.PublicKey]crypto.Verifier),
	}
	expand := func(key crypto.PublicKey) crypto.Verifier {
		v, err := w.scheme.Expand(key)
		if err != nil {
			panic(err)
		}
		return v
	}
	for _, m := range w.nodes {
		n.keys = append(n.keys, expand(m.signer.Public()))
	}
	for _, c := range w.clients {
		n.clients[c.key.Public()] = expand(c.key.Public())
	}
	for _, r := range w.rogues {
		n.clients[r.key.Public()] = expand(r.key.Public())
	}
	return n
}

// valid returns who signed what says returns for the k-th signature.
func (n *naive) valid(
	s quorumcert.Signatures, d crypto.Domain, says func(k int) []byte,
) (valid quorumcert.Set) {
	k := 0
	for id := 1; id <= 64; id++ {
		if s.Signers>>(id-1)&1 == 0 {
			continue
		}
		if id <= len(n.keys) && k < len(s.Sigs) && n.keys[id-1].Verify(d, says(k), s.Sigs[k]) {
			valid |= 1 << (id - 1)
		}
		k++
	}
	return valid
}

// enough says whether voters of an epoch signed in sufficient number.
func (n *naive) enough(
	by *epoch, s quorumcert.Signatures, d crypto.Domain, says func(k int) []byte,
) bool {
	return has(n.valid(s, d, says), by.voters)
}

// fresh says whether a certificate has not been judged before.
func (n *naive) fresh(kind uint64, s quorumcert.Signatures, words ...uint64) bool {
	h := mix(kind + uint64(s.Signers)<<8)
	for _, w := range words {
		h = mix(h ^ w)
	}
	for i := range s.Sigs {
		h = mix(h ^ binary.BigEndian.Uint64(s.Sigs[i][:]) ^ binary.BigEndian.Uint64(s.Sigs[i][40:]))
	}
	if n.seen[h] {
		return false
	}
	n.seen[h] = true
	return true
}

func word(d crypto.Digest) uint64 { return binary.BigEndian.Uint64(d[:]) }

func (n *naive) u64(b []byte, words ...uint64) []byte {
	for _, w := range words {
		b = binary.BigEndian.AppendUint64(b, w)
	}
	return b
}

// ack is what an ack's signature covers.
func (n *naive) ack(t, i uint64, hash crypto.Digest, certified uint64) []byte {
	b := n.u64(append([]byte(nil), n.cluster[:]...), t, i)
	return n.u64(append(b, hash[:]...), certified)
}

// tc judges a timeout certificate.
func (n *naive) tc(tc *quorumcert.TC) bool {
	if tc == nil || !n.fresh(1, tc.Signatures, uint64(tc.Term)) {
		return true
	}
	signers := n.valid(tc.Signatures, crypto.DomainSuspect, func(int) []byte {
		return n.u64(append([]byte(nil), n.cluster[:]...), uint64(tc.Term))
	})
	return slices.ContainsFunc(n.chart.epochs, func(e epoch) bool { return has(signers, e.voters) })
}

// ec judges an election certificate.
func (n *naive) ec(ec *quorumcert.EC) bool {
	if ec == nil || !n.fresh(2, ec.Signatures, uint64(ec.Term), uint64(ec.Leader),
		uint64(ec.Base.Index), uint64(ec.Base.Term), word(ec.Base.Hash)) {
		return true
	}
	signers := n.valid(ec.Signatures, crypto.DomainVote, func(int) []byte {
		b := n.u64(append([]byte(nil), n.cluster[:]...), uint64(ec.Term))
		b = n.u64(append(b, byte(ec.Leader)), uint64(ec.Base.Term), uint64(ec.Base.Index))
		return append(b, ec.Base.Hash[:]...)
	})
	return ec.Base.Term < ec.Term && (has(signers, n.chart.behind(ec.Base.Index).voters) ||
		has(signers, n.chart.before(ec.Base.Index).voters))
}

// qc judges a quorum certificate.
func (n *naive) qc(qc *quorumcert.QC) bool {
	if qc == nil || !n.fresh(3, qc.Signatures, uint64(qc.Term), uint64(qc.Index), word(qc.Hash)) {
		return true
	}
	for _, certified := range qc.Certified {
		if certified > qc.Index {
			return false // a void ack
		}
	}
	return len(qc.Certified) == qc.Signers.Len() &&
		n.enough(n.chart.before(qc.Index), qc.Signatures, crypto.DomainAck, func(k int) []byte {
			return n.ack(uint64(qc.Term), uint64(qc.Index), qc.Hash, uint64(qc.Certified[k]))
		})
}

// commit judges a commit certificate: each signer acked a position on the chain from the committed
// one on, and had that one certified.
func (n *naive) commit(cc *quorumcert.Commit) bool {
	if cc == nil || !n.fresh(4, cc.Signatures, uint64(cc.Term), uint64(cc.Index), word(cc.Hash)) {
		return true
	}
	at := map[quorumcert.Index]crypto.Digest{cc.Index: cc.Hash}
	last, hash := cc.Index, cc.Hash
	for _, h := range cc.Headers {
		if h.Prev != hash || h.First != last+1 {
			return false
		}
		b := n.u64(append([]byte(nil), h.Prev[:]...), uint64(h.First), uint64(h.Last))
		last, hash = h.Last, crypto.Hash(crypto.DomainBlock, append(b, h.Root[:]...))
		at[last] = hash
	}
	if len(cc.Acks) != cc.Signers.Len() {
		return false
	}
	for _, a := range cc.Acks {
		if _, ok := at[a.Index]; !ok || a.Certified < cc.Index || a.Certified > a.Index {
			return false
		}
	}
	return n.enough(n.chart.before(cc.Index), cc.Signatures, crypto.DomainAck, func(k int) []byte {
		a := cc.Acks[k]
		return n.ack(uint64(cc.Term), uint64(a.Index), at[a.Index], uint64(a.Certified))
	})
}

// stable judges the certificate of a checkpoint under the configuration of an entry.
func (n *naive) stable(st *quorumcert.Stable, by quorumcert.Index) bool {
	if !n.fresh(5, st.Signatures, uint64(st.Index), word(st.Hash), word(st.State),
		word(st.Sessions)) {
		return true
	}
	return st.Cluster == n.cluster &&
		n.enough(n.chart.before(st.Index), st.Signatures, crypto.DomainCheckpoint, func(int) []byte {
			b := n.u64(append([]byte(nil), st.Cluster[:]...), uint64(by), uint64(st.Index))
			b = append(append(b, st.Hash[:]...), st.State[:]...)
			return append(b, st.Sessions[:]...)
		})
}

// passes is B7 for what a node's gate lets pass: every certificate in it convinces the second
// verifier too.
func (o *observer) passes(m *member, msg bftraft.Message) {
	if !m.liar && !o.convinces(msg) {
		o.fail("B7", "node %d lets a %s pass whose certificate does not convince", m.id,
			bftraft.MessageName(msg))
	}
}

// convinces says whether every certificate in a message does.
func (o *observer) convinces(msg bftraft.Message) bool {
	good := true
	switch msg := msg.(type) {
	case *bftraft.AppendEntries:
		good = o.naive.ec(msg.Election) && o.naive.qc(msg.BaseQC)
	case *bftraft.RequestVote:
		good = o.naive.qc(msg.LockQC) && o.naive.tc(msg.TC)
	case *bftraft.Proof:
		good = o.naive.tc(msg.TC) && o.naive.ec(msg.EC) && o.naive.qc(msg.BaseQC) &&
			o.naive.qc(msg.QC) && o.naive.commit(msg.Commit)
	case *bftraft.Committed:
		good = o.naive.commit(msg.Commit) && o.naive.qc(msg.LockQC)
	case *bftraft.StableCheckpoint:
		good = o.naive.stable(msg.Stable, o.chart.configurationOf(msg.Stable.Index+1))
	}
	return good
}
