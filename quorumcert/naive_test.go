package quorumcert

import (
	"crypto/ed25519"

	"tangaroa/crypto"
)

// The naive verifier says what the package documentation says of each certificate, one rule after
// the other, with nothing of the code under test but the statements' layout: no sets, no batches,
// and the standard library's signatures.
type naive struct {
	cluster crypto.Digest
	voters  map[crypto.NodeID]crypto.PublicKey
	entry   Index
	f, q    int
}

func newNaive(cluster crypto.Digest, c *Configuration) naive {
	n := naive{cluster: cluster, voters: map[crypto.NodeID]crypto.PublicKey{}, entry: c.Entry()}
	for _, v := range c.Voters() {
		n.voters[v.ID] = v.Key
	}
	for 3*(n.f+1)+1 <= len(n.voters) {
		n.f++
	}
	for 2*n.q < len(n.voters)+n.f+1 {
		n.q++
	}
	return n
}

func (n naive) signed(id crypto.NodeID, st Statement, sig crypto.Signature) bool {
	key, ok := n.voters[id]
	msg := crypto.SignedBytes(st.Domain(), st.AppendTo(nil))
	return ok && ed25519.Verify(key[:], msg, sig[:])
}

// all says whether at least need voters, and nobody else, signed what statement names for each.
func (n naive) all(s Signatures, need int, statement func(k int) Statement) bool {
	k := 0
	for id := range 64 {
		if uint64(s.Signers)>>id&1 == 0 {
			continue
		}
		if k >= len(s.Sigs) || !n.signed(crypto.NodeID(id+1), statement(k), s.Sigs[k]) {
			return false
		}
		k++
	}
	return k == len(s.Sigs) && k >= need
}

func (n naive) holds(c certificate) bool {
	switch c := c.(type) {
	case *TC:
		return c.Term > 0 && n.all(c.Signatures, n.q, always(Suspicion{n.cluster, c.Term}))
	case *EC:
		_, leads := n.voters[c.Leader]
		return leads && c.Base.Term < c.Term &&
			n.all(c.Signatures, n.q, always(Vote{n.cluster, c.Term, c.Leader, c.Base}))
	case *QC:
		return n.qc(c)
	case *Commit:
		return n.commit(c)
	case *Receipt:
		return c.Cluster == n.cluster && c.Configuration == n.entry && c.Index > 0 &&
			n.all(c.Signatures, n.f+1, always(c.Reply))
	case *Stable:
		return c.Cluster == n.cluster && c.Configuration == n.entry && c.Index > 0 &&
			n.all(c.Signatures, n.q, always(c.Checkpoint))
	case *Evidence:
		if (c.Acks == nil) == (c.Votes == nil) {
			return false
		}
		return c.Acks != nil && n.acks(c.Acks) || c.Votes != nil && n.votes(c.Votes)
	}
	return false
}

func (n naive) qc(c *QC) bool {
	if c.Term == 0 || c.Index == 0 || len(c.Certified) != len(c.Sigs) {
		return false
	}
	for _, at := range c.Certified {
		if at > c.Index {
			return false
		}
	}
	return n.all(c.Signatures, n.q, func(k int) Statement {
		return Ack{n.cluster, c.Term, c.Index, c.Hash, c.Certified[k]}
	})
}

// ends returns the chain hash at the end of every block behind (i, h), nil when they do not link.
func ends(i Index, h crypto.Digest, headers []Header) map[Index]crypto.Digest {
	all := map[Index]crypto.Digest{i: h}
	for _, b := range headers {
		if b.Prev != h || b.First != i+1 || b.First > b.Last {
			return nil
		}
		i, h = b.Last, b.Hash()
		all[i] = h
	}
	return all
}

func (n naive) commit(c *Commit) bool {
	at := ends(c.Index, c.Hash, c.Headers)
	if c.Term == 0 || c.Index == 0 || at == nil || len(c.Acks) != len(c.Sigs) {
		return false
	}
	reached := len(c.Headers) == 0
	for _, a := range c.Acks {
		if _, ok := at[a.Index]; !ok || a.Certified < c.Index || a.Certified > a.Index {
			return false
		}
		reached = reached || a.Index == c.Headers[len(c.Headers)-1].Last
	}
	return reached && n.all(c.Signatures, n.q, func(k int) Statement {
		a := c.Acks[k]
		return Ack{n.cluster, c.Term, a.Index, at[a.Index], a.Certified}
	})
}

func (n naive) acks(e *AckConflict) bool {
	if len(e.Headers) == 0 {
		return false
	}
	first := e.Headers[0]
	at := ends(first.First-1, first.Prev, e.Headers)
	a, b := e.A, e.B
	covers := first.First > 0 && first.First <= a.Index && a.Index <= first.Last
	ofOne := a.Signer == b.Signer && a.Term == b.Term && a.Term > 0 && a.Index <= b.Index
	here := a.Cluster == n.cluster && b.Cluster == n.cluster
	if !covers || !ofOne || !here || at == nil || at[b.Index] != b.Hash ||
		b.Index != e.Headers[len(e.Headers)-1].Last {
		return false
	}
	same := a.Index == first.Last && a.Hash == first.Hash()
	return !same && n.signed(a.Signer, a.Ack, a.Sig) && n.signed(b.Signer, b.Ack, b.Sig)
}

func (n naive) votes(e *VoteConflict) bool {
	a, b := e.A, e.B
	return a.Signer == b.Signer && a.Term == b.Term && a.Term > 0 && a.Candidate != b.Candidate &&
		a.Cluster == n.cluster && b.Cluster == n.cluster &&
		n.signed(a.Signer, a.Vote, a.Sig) && n.signed(b.Signer, b.Vote, b.Sig)
}
