package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/quorumcert"
)

// tells shows the core changes by way of node 3.
func (l *lab) tells(list ...*ChangeProof) {
	require.Equal(l.t, Accepted, l.say(3, &Changes{List: list}))
	require.Equal(l.t, list[len(list)-1].At(), l.m.core.gate.members.At)
}

// another is the number of the key that gets id 5 once all ids have been given.
const another = 65

// history makes changes one behind the other, proven by nodes 1 to 4.
type history struct {
	*lab
	gate *Verifier
	at   Position
	last *quorumcert.Commit // of the newest change
}

func newHistory(l *lab) *history { return &history{lab: l, gate: l.gate, at: l.origin()} }

// goOn has an entry come into force and returns what proves it.
func (h *history) goOn(e Entry) *ChangeProof {
	var entries []Entry
	if h.last != nil {
		entries = append(entries, commitEntry(h.last))
	}
	b := NewBlock(h.at, append(entries, e))
	h.at, h.last = b.End(), h.commitOf(1, b.End(), 1, 2, 3, 4)
	p := newChangeProof(b, h.last)
	next, err := h.gate.After(p)
	require.NoError(h.t, err)
	h.gate = next
	return p
}

// change has a change come into force, and closes it if it is one of the voters, of whom 1 to 4
// are a quorum.
func (h *history) change(steps ...ChangeStep) []*ChangeProof {
	h.seq++
	ch := changeOn(h.gate, steps...)
	if next, err := h.gate.members.After(ch); err == nil && next.Joint() {
		for id := NodeID(1); id <= 4; id++ {
			ch.AddReady(SignReady(h.cluster, ch, fakeHolder(id)))
		}
	}
	e := h.gate.Entry(carried(h.cluster, fakeClient, h.seq, ch))
	require.Equal(h.t, EntryConfiguration, e.Kind)
	list := []*ChangeProof{h.goOn(e)}
	if h.gate.members.Joint() {
		list = append(list, h.goOn(Entry{Kind: EntryClosing}))
	}
	return list
}

// fill gives all ids to somebody, 5 to the key of that number.
func (h *history) fill() []*ChangeProof {
	var steps []ChangeStep
	for id := NodeID(5); id <= quorumcert.MaxVoters; id++ {
		steps = append(steps, joins(id))
	}
	return h.change(steps...)
}

// reissue takes node 5 away and gives its id to another key.
func (h *history) reissue() []*ChangeProof {
	list := append(h.change(dismisses(5)), h.change(joins(another))...)
	require.Equal(h.t, fakePublic(another), h.gate.members.keyOf(5))
	return list
}

// TestJ6MessageUnderAKeyThatHasLeftIsNotThatOfWhoHasItsID: it was judged before this node knew.
func TestJ6MessageUnderAKeyThatHasLeftIsNotThatOfWhoHasItsID(t *testing.T) {
	l := newChangeLab(t)
	c, h := l.m.core, newHistory(l)
	l.tells(h.fill()...)
	ack := l.response(5, 1, l.block(l.origin(), "x").End(), 0)
	early, drop := c.Verifier().Verify(5, Encode(ack))
	require.Equal(t, Accepted, drop)
	l.tells(h.reissue()...)
	require.True(t, c.gate.nodes.Has(5))
	require.Equal(t, Stale, c.Step(early))
	require.Empty(t, c.peers[5].acks)
	other, drop := c.Verifier().Verify(2, Encode(l.response(2, 1, l.origin(), 0)))
	require.Equal(t, Accepted, drop)
	l.tells(h.change(enrols(1, RoleRead))...)
	require.Equal(t, Accepted, c.Step(other), "whose key has stayed is heard")
}

// TestJ6WhatIsKnownOfAKeyThatHasLeftIsNotOfWhoHasItsID: neither what it has said, which would be
// counted under the new key, nor what it is guilty of.
func TestJ6WhatIsKnownOfAKeyThatHasLeftIsNotOfWhoHasItsID(t *testing.T) {
	l := newChangeLab(t)
	c, h := l.m.core, newHistory(l)
	l.tells(append(h.fill(), h.change(promotes(5))...)...)
	x := l.block(l.origin(), "x")
	require.Equal(t, Accepted, l.say(5, l.response(5, 1, x.End(), 0)))
	l.say(5, &Status{Term: 1, Tip: x.End(), Commit: x.End(), Lock: l.genesisLock()})
	require.Equal(t, Accepted, l.say(5, l.vote(5, 1, 2, l.genesisLock())))
	require.Equal(t, Conflict, l.say(5, l.vote(5, 1, 3, l.genesisLock())))
	require.Equal(t, quorumcert.SetOf(5), c.faulty)
	require.Equal(t, x.Last(), c.Shows(5))
	require.Len(t, c.State().Evidence, 1)
	l.tells(h.reissue()...)
	require.Equal(t, peer{}, c.peers[5])
	require.Zero(t, c.faulty)
	require.Empty(t, c.State().Evidence)
}

// TestJ6SuspicionUnderAKeyThatHasLeftEndsNoTerm: with it the certificate would be none, and whom
// others follow into a term they could not follow.
func TestJ6SuspicionUnderAKeyThatHasLeftEndsNoTerm(t *testing.T) {
	l := newChangeLab(t)
	c, h := l.m.core, newHistory(l)
	l.tells(append(h.fill(), h.change(promotes(5))...)...)
	require.Equal(t, Accepted, l.say(5, l.suspect(5, 1)))
	l.tells(append(h.reissue(), h.change(promotes(another))...)...)
	require.Equal(t, quorumcert.SetOf(1, 2, 3, 4, 5), c.electionConfig().Members())
	for id := NodeID(2); id <= 4; id++ {
		require.Equal(t, Accepted, l.say(id, l.suspect(id, 1)))
	}
	c.SetStarving(true)
	l.wait(6)
	require.Equal(t, Term(2), c.term, "with this node's own they are four of five")
	require.Equal(t, Accepted, c.gate.verifyTC(c.proof.TC))
}
