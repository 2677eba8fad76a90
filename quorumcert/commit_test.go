package quorumcert

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func spoilCommit(f *fixture) *spoiler {
	s := &spoiler{f: f, fresh: func() (certificate, *Signatures) {
		cc := f.commit(f.quorum()...)
		return cc, &cc.Signatures
	}}
	s.signers(func(c certificate, k int) {
		c.(*Commit).Acks = slices.Delete(c.(*Commit).Acks, k, k+1)
	})
	s.signatures()
	s.context(ErrSignature)
	right := f.commit(f.quorum()...)
	s.list = append(s.list, kindMutations(s, func(k int) Statement { return f.ackAt(right, k) })...)
	earlier := f.ackAt(right, 0)
	earlier.Term--
	s.statements("an ack of the term before", earlier)
	set := func(name string, want error, spoil func(cc *Commit)) {
		s.field(name, want, func(c certificate) { spoil(c.(*Commit)) })
	}
	set("term 0", ErrShape, func(cc *Commit) { cc.Term = 0 })
	set("term before", ErrSignature, func(cc *Commit) { cc.Term-- })
	set("term after", ErrSignature, func(cc *Commit) { cc.Term++ })
	set("index 0", ErrShape, func(cc *Commit) { cc.Index = 0 })
	set("index before", ErrChain, func(cc *Commit) { cc.Index-- })
	set("index after", ErrChain, func(cc *Commit) { cc.Index++ })
	set("last index of all", ErrChain, func(cc *Commit) { cc.Index = math.MaxUint64 })
	set("another hash", ErrChain, func(cc *Commit) { cc.Hash[0] ^= 1 })
	spoilCommitAcks(f, set)
	spoilCommitHeaders(set)
	return s
}

func spoilCommitAcks(f *fixture, set func(string, error, func(cc *Commit))) {
	for k := range f.quorum() {
		name := func(what string) string { return fmt.Sprintf("ack %d %s", k, what) }
		set(name("certified below the index"), ErrVoidAck, func(cc *Commit) {
			cc.Acks[k].Certified = 41
		})
		set(name("certified nothing"), ErrVoidAck, func(cc *Commit) { cc.Acks[k].Certified = 0 })
		set(name("certified beyond itself"), ErrVoidAck, func(cc *Commit) {
			cc.Acks[k].Certified = cc.Acks[k].Index + 1
		})
		set(name("between blocks"), ErrChain, func(cc *Commit) {
			cc.Acks[k].Index = 47
		})
		set(name("beyond the headers"), ErrChain, func(cc *Commit) { cc.Acks[k].Index = 49 })
		set(name("below the index"), ErrVoidAck, func(cc *Commit) {
			cc.Acks[k] = AckedAt{41, 41}
		})
		set(name("moved to another block"), ErrSignature, func(cc *Commit) {
			to := Index(48)
			if cc.Acks[k].Index == to {
				to = 45
			}
			cc.Acks[k].Index = to
			cc.Acks[(k+1)%5].Index = 48
		})
	}
	set("other certified index", ErrSignature, func(cc *Commit) { cc.Acks[3].Certified = 44 })
	set("acks missing", ErrShape, func(cc *Commit) { cc.Acks = nil })
	set("one ack less", ErrShape, func(cc *Commit) { cc.Acks = cc.Acks[1:] })
	set("one ack more", ErrShape, func(cc *Commit) { cc.Acks = append(cc.Acks, AckedAt{42, 42}) })
	set("acks in another order", ErrSignature, func(cc *Commit) { slices.Reverse(cc.Acks) })
}

func spoilCommitHeaders(set func(string, error, func(cc *Commit))) {
	set("no headers", ErrChain, func(cc *Commit) { cc.Headers = nil })
	for k := range 3 {
		name := func(what string) string { return fmt.Sprintf("header %d %s", k, what) }
		set(name("left out"), ErrChain, func(cc *Commit) {
			cc.Headers = slices.Delete(cc.Headers, k, k+1)
		})
		set(name("given twice"), ErrChain, func(cc *Commit) {
			cc.Headers = slices.Insert(cc.Headers, k, cc.Headers[k])
		})
		set(name("with another prev"), ErrChain, func(cc *Commit) { cc.Headers[k].Prev[3] ^= 1 })
		set(name("with an earlier first"), ErrChain, func(cc *Commit) { cc.Headers[k].First-- })
		set(name("with a later first"), ErrChain, func(cc *Commit) { cc.Headers[k].First++ })
		set(name("with a later last"), ErrChain, func(cc *Commit) { cc.Headers[k].Last++ })
		set(name("ending before it starts"), ErrChain, func(cc *Commit) {
			cc.Headers[k].Last = cc.Headers[k].First - 1
		})
		want := ErrChain
		if k == 2 {
			want = ErrSignature // nothing follows it: the acks at its end tell
		}
		set(name("with another root"), want, func(cc *Commit) { cc.Headers[k].Root[3] ^= 1 })
	}
	// Nobody's signature covers a header behind the farthest ack. If one were let through, any
	// relay could change a certificate, and make it as large as it likes.
	set("a header behind the farthest ack", ErrChain, func(cc *Commit) {
		last := cc.Headers[2]
		cc.Headers = append(cc.Headers, chainOf("surplus", last.Last, last.Hash(), 1)...)
	})
	set("a long tail behind the farthest ack", ErrChain, func(cc *Commit) {
		last := cc.Headers[2]
		more := chainOf("surplus", last.Last, last.Hash(), slices.Repeat([]int{1}, 1000)...)
		cc.Headers = append(cc.Headers, more...)
	})
}

func TestCommitWithoutHeadersNeedsAllAcksAtTheIndex(t *testing.T) {
	f := newFixture(t)
	cc := &Commit{Term: 9, Index: 42, Hash: digestOf("committed")}
	cc.Acks = slices.Repeat([]AckedAt{{42, 42}}, 5)
	cc.Signatures = f.collect(f.quorum(), func(k int) Statement { return f.ackAt(cc, k) })
	require.NoError(t, cc.Verify(f.cluster, f.config))
	cc.Headers = chainOf("surplus", 42, cc.Hash, 1)
	require.ErrorIs(t, cc.Verify(f.cluster, f.config), ErrChain)
}

// Acks whose certified index is below the index are no commit votes, however many there are: a QC
// is not a commit (N4).
func TestQuorumCertificateIsNoCommit(t *testing.T) {
	f := newFixture(t)
	qc := f.qc(f.quorum()...)
	cc := &Commit{Term: qc.Term, Index: qc.Index, Hash: qc.Hash, Signatures: qc.Signatures}
	for _, c := range qc.Certified {
		cc.Acks = append(cc.Acks, AckedAt{qc.Index, c})
	}
	require.ErrorIs(t, cc.Verify(f.cluster, f.config), ErrVoidAck)
}

// An index that wraps around must not make a chain of what is none.
func TestHeadersDoNotWrapAround(t *testing.T) {
	f := newFixture(t)
	cc := &Commit{Term: 9, Index: math.MaxUint64, Hash: digestOf("committed")}
	cc.Headers = []Header{{Prev: cc.Hash, First: 0, Last: 5}}
	cc.Acks = slices.Repeat([]AckedAt{{5, 5}}, 5)
	cc.Signatures = f.collect(f.quorum(), func(k int) Statement {
		return Ack{f.cluster, 9, 5, cc.Headers[0].Hash(), 5}
	})
	require.Error(t, cc.Verify(f.cluster, f.config))
}

// A header that ends before it starts is a block without entries. It would let a chain grow in
// hash but not in index.
func TestHeadersOfEmptyBlocksDoNotLink(t *testing.T) {
	f := newFixture(t)
	cc := &Commit{Term: 9, Index: 42, Hash: digestOf("committed")}
	cc.Headers = chainOf("empty", 42, cc.Hash, 0, 2)
	require.Equal(t, Index(42), cc.Headers[0].Last)
	cc.Acks = slices.Repeat([]AckedAt{{44, 42}}, 5)
	cc.Signatures = f.collect(f.quorum(), func(k int) Statement { return f.ackAt(cc, k) })
	require.ErrorIs(t, cc.Verify(f.cluster, f.config), ErrChain)
}

// TestNothingFollowsTheHighestIndex: headers that begin again at 0 would make a proof that runs
// backwards.
func TestNothingFollowsTheHighestIndex(t *testing.T) {
	hash := digestOf("high")
	require.False(t, linked(math.MaxUint64, hash, []Header{{Prev: hash, First: 0, Last: 5}}))
	last := Header{Prev: hash, First: math.MaxUint64, Last: math.MaxUint64}
	require.True(t, linked(math.MaxUint64-1, hash, []Header{last}))
	require.False(t, linked(math.MaxUint64-1, hash, []Header{last, {Prev: last.Hash(), Last: 5}}))
	empty := Header{Prev: hash, First: 7, Last: 6}
	require.False(t, linked(6, hash, []Header{empty}), "a block of nothing")
}
