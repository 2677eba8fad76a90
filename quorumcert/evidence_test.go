package quorumcert

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

func spoilAckConflict(f *fixture) *spoiler {
	s := &spoiler{f: f, fresh: func() (certificate, *Signatures) {
		return evidenceOf{&Evidence{Acks: f.ackConflict()}}, nil
	}}
	set := func(name string, want error, spoil func(e *AckConflict)) {
		s.field(name, want, func(c certificate) { spoil(c.(evidenceOf).Acks) })
	}
	set("swapped", ErrNoProof, func(e *AckConflict) { e.A, e.B = e.B, e.A })
	set("twice the first", ErrChain, func(e *AckConflict) { e.B = e.A })
	set("twice the second", ErrNoProof, func(e *AckConflict) { e.A = e.B })
	set("twice the second, its block", ErrNoProof, func(e *AckConflict) {
		e.A, e.Headers = e.B, e.Headers[2:]
	})
	set("first on the chain of the second", ErrNoProof, func(e *AckConflict) {
		e.A = f.ack(1, 43, e.Headers[0].Hash(), 0)
	})
	set("first in another term", ErrNoProof, func(e *AckConflict) {
		e.A.Term = 8
		e.A = f.resignAck(e.A)
	})
	set("both in term 0", ErrNoProof, func(e *AckConflict) {
		e.A.Term, e.B.Term = 0, 0
		e.A, e.B = f.resignAck(e.A), f.resignAck(e.B)
	})
	set("first by another voter", ErrNoProof, func(e *AckConflict) {
		e.A.Signer = 3
		e.A = f.resignAck(e.A)
	})
	set("first at index 0", ErrNoProof, func(e *AckConflict) {
		e.A = f.ack(1, 0, f.cluster, 0)
	})
	set("signatures exchanged", crypto.ErrBadSignature, func(e *AckConflict) {
		e.A.Sig, e.B.Sig = e.B.Sig, e.A.Sig
	})
	for name, pick := range map[string]func(e *AckConflict) *SignedAck{
		"A": func(e *AckConflict) *SignedAck { return &e.A },
		"B": func(e *AckConflict) *SignedAck { return &e.B },
	} {
		spoilAck(f, name, func(what string, want error, spoil func(a *SignedAck)) {
			set(what, want, func(e *AckConflict) { spoil(pick(e)) })
		})
	}
	set("index of A inside a block", crypto.ErrBadSignature, func(e *AckConflict) {
		e.A.Index = 42
	})
	set("index of A beyond B", ErrNoProof, func(e *AckConflict) { e.A.Index = 49 })
	set("index of B inside a block", ErrChain, func(e *AckConflict) { e.B.Index = 47 })
	set("hash of A", crypto.ErrBadSignature, func(e *AckConflict) { e.A.Hash[5] ^= 1 })
	set("hash of B", ErrChain, func(e *AckConflict) { e.B.Hash[5] ^= 1 })
	set("both signers another", crypto.ErrBadSignature, func(e *AckConflict) {
		e.A.Signer, e.B.Signer = 3, 3
	})
	for _, id := range []crypto.NodeID{0, 8, 64, 65, 255} {
		set(fmt.Sprintf("both signers %d", id), crypto.ErrUnknownSigner, func(e *AckConflict) {
			e.A.Signer, e.B.Signer = id, id
		})
	}
	spoilEvidenceHeaders(set)
	s.judged("other cluster", ErrNoProof, digestOf("other"), f.config)
	s.judged("other keys", crypto.ErrBadSignature, f.cluster, f.rekeyed)
	s.judged("no voter any more", crypto.ErrUnknownSigner, f.cluster, f.shifted)
	return s
}

func spoilAck(f *fixture, name string, set func(string, error, func(a *SignedAck))) {
	bad := crypto.ErrBadSignature
	set("certified of "+name, bad, func(a *SignedAck) { a.Certified++ })
	set("term of "+name, ErrNoProof, func(a *SignedAck) { a.Term++ })
	set("cluster of "+name, ErrNoProof, func(a *SignedAck) { a.Cluster[0] ^= 1 })
	set("cluster of "+name+", resigned", ErrNoProof, func(a *SignedAck) {
		a.Cluster[0] ^= 1
		*a = f.resignAck(*a)
	})
	set("signer of "+name, ErrNoProof, func(a *SignedAck) { a.Signer = 2 })
	set("no signature of "+name, bad, func(a *SignedAck) { a.Sig = crypto.Signature{} })
	set("outsider's signature of "+name, bad, func(a *SignedAck) {
		a.Sig = Sign(f.outsider, a.Ack)
	})
	for _, at := range []int{0, 31, 32, 63} {
		set(fmt.Sprintf("signature of %s flipped in byte %d", name, at), bad,
			func(a *SignedAck) { a.Sig[at] ^= 0x20 })
	}
	for _, d := range signedDomains[1:] {
		set(name+" signed as "+string(d), bad, func(a *SignedAck) {
			a.Sig = Sign(f.signer(1), inDomain{a.Ack, d})
		})
	}
}

func spoilEvidenceHeaders(set func(string, error, func(e *AckConflict))) {
	set("no headers", ErrNoProof, func(e *AckConflict) { e.Headers = nil })
	set("without the block that covers A", ErrNoProof, func(e *AckConflict) {
		e.Headers = e.Headers[1:]
	})
	set("a gap", ErrChain, func(e *AckConflict) { e.Headers = slices.Delete(e.Headers, 1, 2) })
	set("without the end", ErrChain, func(e *AckConflict) { e.Headers = e.Headers[:2] })
	set("beyond the end", ErrChain, func(e *AckConflict) {
		last := e.Headers[2]
		e.Headers = append(e.Headers, chainOf("more", last.Last, last.Hash(), 2)...)
	})
	set("a block before", ErrNoProof, func(e *AckConflict) {
		e.Headers = slices.Insert(e.Headers, 0, Header{First: 38, Last: 40})
	})
	set("first header from 0", ErrNoProof, func(e *AckConflict) { e.Headers[0].First = 0 })
	set("first header too late", ErrNoProof, func(e *AckConflict) { e.Headers[0].First = 44 })
	set("first header too short", ErrNoProof, func(e *AckConflict) { e.Headers[0].Last = 42 })
	set("first header too long", ErrChain, func(e *AckConflict) { e.Headers[0].Last = 44 })
	for k := range 3 {
		name := func(what string) string { return fmt.Sprintf("%s of header %d", what, k) }
		set(name("root"), ErrChain, func(e *AckConflict) { e.Headers[k].Root[0] ^= 1 })
		set(name("prev"), ErrChain, func(e *AckConflict) { e.Headers[k].Prev[0] ^= 1 })
		set(name("first, earlier,"), ErrChain, func(e *AckConflict) { e.Headers[k].First-- })
	}
}

func spoilVoteConflict(f *fixture) *spoiler {
	s := &spoiler{f: f, fresh: func() (certificate, *Signatures) {
		return evidenceOf{&Evidence{Votes: f.voteConflict()}}, nil
	}}
	set := func(name string, want error, spoil func(e *VoteConflict)) {
		s.field(name, want, func(c certificate) { spoil(c.(evidenceOf).Votes) })
	}
	set("the same vote twice", ErrNoProof, func(e *VoteConflict) { e.B = e.A })
	set("the same candidate, a higher lock", ErrNoProof, func(e *VoteConflict) {
		e.B = e.A
		e.B.Lock.Index++
		e.B = f.resignVote(e.B)
	})
	set("signatures exchanged", crypto.ErrBadSignature, func(e *VoteConflict) {
		e.A.Sig, e.B.Sig = e.B.Sig, e.A.Sig
	})
	set("another term, resigned", ErrNoProof, func(e *VoteConflict) {
		e.A.Term--
		e.A = f.resignVote(e.A)
	})
	set("both in term 0", ErrNoProof, func(e *VoteConflict) {
		e.A.Term, e.B.Term = 0, 0
		e.A, e.B = f.resignVote(e.A), f.resignVote(e.B)
	})
	set("votes of two voters", ErrNoProof, func(e *VoteConflict) {
		e.B.Signer = 2
		e.B = f.resignVote(e.B)
	})
	set("both signers another", crypto.ErrBadSignature, func(e *VoteConflict) {
		e.A.Signer, e.B.Signer = 3, 3
	})
	for _, id := range []crypto.NodeID{0, 8, 65, 255} {
		set(fmt.Sprintf("both signers %d", id), crypto.ErrUnknownSigner, func(e *VoteConflict) {
			e.A.Signer, e.B.Signer = id, id
		})
	}
	for name, pick := range map[string]func(e *VoteConflict) *SignedVote{
		"A": func(e *VoteConflict) *SignedVote { return &e.A },
		"B": func(e *VoteConflict) *SignedVote { return &e.B },
	} {
		spoilVote(f, name, func(what string, want error, spoil func(v *SignedVote)) {
			set(what, want, func(e *VoteConflict) { spoil(pick(e)) })
		})
	}
	s.judged("other cluster", ErrNoProof, digestOf("other"), f.config)
	s.judged("other keys", crypto.ErrBadSignature, f.cluster, f.rekeyed)
	s.judged("no voter any more", crypto.ErrUnknownSigner, f.cluster, f.shifted)
	return s
}

func spoilVote(f *fixture, name string, set func(string, error, func(v *SignedVote))) {
	bad := crypto.ErrBadSignature
	set("candidate of "+name, bad, func(v *SignedVote) { v.Candidate = 7 })
	set("lock term of "+name, bad, func(v *SignedVote) { v.Lock.Term++ })
	set("lock index of "+name, bad, func(v *SignedVote) { v.Lock.Index++ })
	set("lock hash of "+name, bad, func(v *SignedVote) { v.Lock.Hash[31] ^= 1 })
	set("term of "+name, ErrNoProof, func(v *SignedVote) { v.Term++ })
	set("cluster of "+name, ErrNoProof, func(v *SignedVote) { v.Cluster[0] ^= 1 })
	set("signer of "+name, ErrNoProof, func(v *SignedVote) { v.Signer = 2 })
	set("no signature of "+name, bad, func(v *SignedVote) { v.Sig = crypto.Signature{} })
	set("outsider's signature of "+name, bad, func(v *SignedVote) {
		v.Sig = Sign(f.outsider, v.Vote)
	})
	for _, at := range []int{0, 31, 32, 63} {
		set(fmt.Sprintf("signature of %s flipped in byte %d", name, at), bad,
			func(v *SignedVote) { v.Sig[at] ^= 0x20 })
	}
	for _, d := range signedDomains {
		if d != crypto.DomainVote {
			set(name+" signed as "+string(d), bad, func(v *SignedVote) {
				v.Sig = Sign(f.signer(1), inDomain{v.Vote, d})
			})
		}
	}
}

// evidenceOf lets evidence be spoilt like any certificate.
type evidenceOf struct{ *Evidence }

func TestEvidenceNamesTheCulprit(t *testing.T) {
	f := newFixture(t)
	acks, votes := f.ackConflict(), f.voteConflict()
	require.Equal(t, crypto.NodeID(1), (&Evidence{Acks: acks}).Culprit())
	require.Equal(t, crypto.NodeID(1), (&Evidence{Votes: votes}).Culprit())
	require.Zero(t, (&Evidence{}).Culprit())
	require.ErrorIs(t, (&Evidence{}).Verify(f.cluster, f.config), ErrNoProof)
	both := &Evidence{Acks: acks, Votes: votes}
	require.ErrorIs(t, both.Verify(f.cluster, f.config), ErrNoProof)
}

// randomChain returns headers of at least n blocks that follow (i, prev).
func randomChain(rng *rand.Rand, label string, i Index, prev crypto.Digest, n int) []Header {
	lengths := make([]int, n)
	for k := range lengths {
		lengths[k] = 1 + rng.IntN(4)
	}
	return chainOf(label, i, prev, lengths...)
}

// acksAlong returns acks of voter 1 at every end of the chain, in one term. An honest voter's
// certified index grows, and a repeated ack may show a higher one; both are here.
func acksAlong(rng *rand.Rand, f *fixture, chain []Header) []SignedAck {
	var acks []SignedAck
	for _, h := range chain {
		for range 1 + rng.IntN(2) {
			acks = append(acks, f.ack(1, h.Last, h.Hash(), Index(rng.IntN(int(h.Last)+1))))
		}
	}
	return acks
}

// B1: blocks keep their ends for ever, and within a term an honest voter's chain only grows. So
// nobody can put its acks together to a proof against it, whatever headers are laid beside.
func TestHonestAcksCanNeverBeMadeEvidence(t *testing.T) {
	f, rng := newFixture(t), seeded(t)
	for round := range 200 {
		chain := randomChain(rng, fmt.Sprint("honest ", round), 0, f.cluster, 2+rng.IntN(6))
		acks := acksAlong(rng, f, chain)
		fork := rng.IntN(len(chain))
		forged := randomChain(rng, "forged", chain[fork].First-1, chain[fork].Prev, 4)
		pool := append(slices.Clone(chain), forged...)
		for _, a := range acks {
			for _, b := range acks {
				e := &AckConflict{A: a, B: b}
				for from := range chain {
					for to := from + 1; to <= len(chain); to++ {
						e.Headers = chain[from:to]
						require.Error(t, e.Verify(f.cluster, f.config), "round %d: %v", round, e)
					}
				}
				for range 10 {
					e.Headers = tamper(rng, pool)
					require.Error(t, e.Verify(f.cluster, f.config), "round %d: %v", round, e)
				}
			}
		}
	}
}

// tamper picks headers at random and spoils some: cut, joined, or moved.
func tamper(rng *rand.Rand, pool []Header) []Header {
	var out []Header
	for range 1 + rng.IntN(3) {
		h := pool[rng.IntN(len(pool))]
		switch rng.IntN(5) {
		case 0:
			h.Last += Index(rng.IntN(3))
		case 1:
			h.First -= Index(rng.IntN(2))
		case 2:
			h.Last -= Index(rng.IntN(2))
		case 3:
			h.First = h.Last
		}
		out = append(out, h)
	}
	return out
}

// Any two acks of one term on chains that have parted are proof: at the same index, with a block
// of one reaching across the end of a block of the other, or with the fork far below both.
func TestAnyForkWithinATermIsEvidence(t *testing.T) {
	f, rng := newFixture(t), seeded(t)
	var same, straddling, below int
	for round := range 60 {
		trunk := randomChain(rng, fmt.Sprint("trunk ", round), 0, f.cluster, 1+rng.IntN(3))
		end := trunk[len(trunk)-1]
		left := randomChain(rng, "left", end.Last, end.Hash(), 1+rng.IntN(5))
		right := randomChain(rng, "right", end.Last, end.Hash(), 1+rng.IntN(5))
		for i, l := range left {
			for j, r := range right {
				a, b, of, at := l, r, right, j
				if l.Last > r.Last {
					a, b, of, at = r, l, left, i
				}
				first := slices.IndexFunc(of, func(h Header) bool { return h.Last >= a.Last })
				e := &Evidence{Acks: &AckConflict{
					A: f.ack(1, a.Last, a.Hash(), 0), B: f.ack(1, b.Last, b.Hash(), b.Last),
					Headers: of[first : at+1],
				}}
				require.NoError(t, e.Verify(f.cluster, f.config), "round %d: %v", round, e.Acks)
				switch {
				case of[first].Last > a.Last:
					straddling++
				case a.Last == b.Last:
					same++
				case first < at:
					below++
				}
			}
		}
	}
	require.Positive(t, same, "shape never made: both acks at one index")
	require.Positive(t, straddling, "shape never made: a block reaches across")
	require.Positive(t, below, "shape never made: the fork is below both")
}

func TestAcksOfTwoTermsAreNoEvidence(t *testing.T) {
	f := newFixture(t)
	for _, terms := range [][2]Term{{8, 9}, {9, 8}, {1, 1 << 40}} {
		e := f.ackConflict()
		e.A.Term, e.B.Term = terms[0], terms[1]
		e.A, e.B = f.resignAck(e.A), f.resignAck(e.B)
		require.ErrorIs(t, e.Verify(f.cluster, f.config), ErrNoProof, "%v", terms)
	}
}
