package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/quorumcert"
)

// goOnBy is goOnIn in term 1.
func (h *history) goOnBy(e Entry, ids ...NodeID) *ChangeProof {
	return h.goOnIn(1, e, ids...)
}

// handOn takes voter 4 away once all ids are given, and gives its id to another key, of a learner.
func (h *history) handOn() []*ChangeProof {
	list := h.fill()
	h.seq++
	leaves := carried(h.cluster, fakeClient, h.seq, readied(h.gate, 0, dismisses(4)))
	list = append(list, h.goOnBy(h.gate.Entry(leaves), 1, 2, 3, 4),
		h.goOnBy(Entry{Kind: EntryClosing}, 1, 2, 3, 4))
	h.seq++
	comes := carried(h.cluster, fakeClient, h.seq, changeOn(h.gate, joins(another)))
	list = append(list, h.goOnBy(h.gate.Entry(comes), 1, 2, 3))
	require.Equal(h.t, fakePublic(another), h.gate.members.keyOf(4))
	return list
}

// TestJ6WhatIsSignedUnderAReissuedIDDoesNotCountForWhoHadItBefore: a node that was told of the
// changes, and has not got so far, counts what lies before them by those who voted then.
func TestJ6WhatIsSignedUnderAReissuedIDDoesNotCountForWhoHadItBefore(t *testing.T) {
	l := newChangeLab(t)
	c, h := l.m.core, newHistory(l)
	x := l.block(l.origin(), "x")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, x.End(), x)))
	l.tells(h.handOn()...)
	says := func(id, key NodeID, certified Index) {
		a := l.ack(id, 1, x.End(), certified)
		a.Sig = quorumcert.Sign(fakeSigner{key}, a.Ack)
		v, drop := c.Verifier().Verify(id, Encode(&AppendEntriesResponse{a}))
		require.Equal(t, Accepted, drop)
		c.Step(v)
		l.work(l.m)
	}
	for _, certified := range []Index{0, x.Last()} {
		says(2, 2, certified)
		says(4, another, certified)
	}
	require.Less(t, c.lock.Index, x.Last(), "two of four have acked it")
	require.Zero(t, c.commit.Index)
	for _, certified := range []Index{0, x.Last()} {
		says(3, 3, certified)
	}
	require.Equal(t, x.End(), c.commit)
	require.Equal(t, quorumcert.SetOf(1, 2, 3), c.commitCert.Signers)
}

// TestJ6CheckpointUnderAReissuedIDIsNotOfWhoHadItBefore: its certificate would not verify.
func TestJ6CheckpointUnderAReissuedIDIsNotOfWhoHadItBefore(t *testing.T) {
	l := newChangeLab(t)
	c, h := l.m.core, newHistory(l)
	x := l.block(l.origin(), "x")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, x.End(), x)))
	for _, certified := range []Index{0, x.Last()} {
		for _, id := range []NodeID{2, 3, 4} {
			l.say(id, l.response(id, 1, x.End(), certified))
		}
	}
	require.Equal(t, x.End(), c.commit)
	h.at = x.End()
	l.tells(h.handOn()...)
	cp := quorumcert.Checkpoint{Cluster: l.cluster, Index: x.Last(), Hash: x.Hash(),
		State: Digest{1}, Sessions: Digest{2}}
	c.Certify(cp)
	says := func(id, key NodeID) {
		m := &CheckpointVote{quorumcert.SignedCheckpoint{Checkpoint: cp, Signer: id,
			Sig: quorumcert.Sign(fakeSigner{key}, cp)}}
		v, drop := c.Verifier().Verify(id, Encode(m))
		require.Equal(t, Accepted, drop)
		c.Step(v)
	}
	says(2, 2)
	says(4, another)
	require.Nil(t, c.stable)
	says(3, 3)
	require.NotNil(t, c.stable)
	require.Equal(t, quorumcert.SetOf(1, 2, 3), c.stable.Signers)
}
