package bftraft

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/quorumcert"
)

// shown are ways to show a node that has acked block a in term 1, and holds no vote, what it has
// signed since: an ack of what follows or of the next term, or a vote there.
func shown(l *lab, a *Block) map[string]func() {
	b := l.block(a.End(), "b")
	past := Lock{Term: 1, Index: b.Last(), Hash: b.Hash()}
	at := Position{1000, Digest{7}}
	reminder := func(ack quorumcert.SignedAck) func() {
		return func() { l.say(3, &Reminder{Ack: ack}) }
	}
	proof := func(p TermProof) func() {
		return func() { l.say(3, &Proof{TermProof: p}) }
	}
	return map[string]func(){
		"an ack of what follows": reminder(l.ack(1, 1, b.End(), 0)),
		"an ack in a later term": reminder(l.ack(1, 2, a.End(), 0)),
		"a vote in a later term": proof(TermProof{EC: l.electedBy(2, 3, l.genesisLock(), 1, 3, 4)}),
		"the base of an election": proof(TermProof{EC: l.ec(2, 3, past),
			BaseQC: l.certifiedBy(1, b.End(), 1, 3, 4)}),
		"a commit in a later term": proof(TermProof{Commit: l.commitOf(2, a.End(), 1, 3, 4)}),
		"a commit and its state":   func() { l.install(l.commitOf(2, at, 1, 3, 4)) },
	}
}

func TestJ7NodeThatIsShownWhatItForgotSignsNoMore(t *testing.T) {
	l, a := led(t, "a")
	for name := range shown(l, a) {
		t.Run(name, func(t *testing.T) {
			l, a := led(t, "a")
			require.False(t, l.m.forgot)
			shown(l, a)[name]()
			require.True(t, l.m.forgot)
			l.m.forgot = false
			l.restart()
			l.work(l.m)
			require.True(t, l.m.forgot, "a restart does not help")
		})
	}
}

// What the others hold of a node that has kept all is no news to it, whatever happened in between.
func TestJ7NodeThatForgotNothingGoesOn(t *testing.T) {
	l, a := led(t, "a")
	remind := func(want Drop, m *Reminder) {
		t.Helper()
		require.Equal(t, want, l.say(3, m))
		require.False(t, l.m.forgot)
	}
	own := &Reminder{Ack: l.ack(1, 1, a.End(), 0)}
	remind(Duplicate, own)
	l.restart()
	l.work(l.m)
	remind(Duplicate, own)
	remind(Unasked, &Reminder{Ack: l.ack(2, 9, a.End(), 0)})
	forged := &Reminder{Ack: l.ack(3, 9, a.End(), 0)}
	forged.Ack.Signer = 1
	remind(NoProof, forged)
	elsewhere := l.ack(1, 9, a.End(), 0)
	elsewhere.Cluster[0]++
	elsewhere.Sig = quorumcert.Sign(fakeSigner{1}, elsewhere.Ack)
	remind(NoProof, &Reminder{Ack: elsewhere})

	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	l.say(3, &RequestVote{Term: 2, Lock: l.genesisLock(), TC: l.tc(1)})
	require.Equal(t, NodeID(3), l.m.core.vote.Candidate)
	l.say(3, &Proof{TermProof: TermProof{EC: l.electedBy(2, 3, l.genesisLock(), 1, 3, 4)}})
	require.True(t, l.m.core.election != nil && l.m.core.term == 2)
	require.False(t, l.m.forgot, "it has voted so")
	l.restart()
	l.work(l.m)
	require.False(t, l.m.forgot)
}

// heir has an id that another key had before.
type heir struct{ fakeSigner }

func (heir) ID() NodeID { return 1 }

func TestJ7WhatAnEarlierHolderOfTheIDSignedIsNothingForgotten(t *testing.T) {
	l, a := led(t, "a")
	for name := range shown(l, a) {
		l := newLabWith(t, 1, func(l *lab, c *Config) {
			if c.Signer.ID() == 1 {
				c.Signer = heir{fakeSigner{another}}
			}
		})
		require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
		a := l.block(l.origin(), "a")
		l.say(2, l.proposal(2, 1, a.End(), a))
		shown(l, a)[name]()
		require.False(t, l.m.forgot, name)
	}
}

func TestJ7PeerIsShownTheAckThatItDoesNotKnowOf(t *testing.T) {
	l, a := led(t, "a")
	l.say(3, l.response(3, 1, a.End(), 0))
	says := func(term Term, acked Index) []*Reminder {
		l.take()
		l.say(3, &Status{Term: term, Leader: 2, Tip: a.End(), Lock: l.genesisLock(), Acked: acked})
		return messagesOf[*Reminder](l, 3)
	}
	require.Empty(t, says(1, a.Last()))
	l.wait(1)
	list := says(1, 0)
	require.Len(t, list, 1)
	require.Equal(t, l.ack(3, 1, a.End(), 0), list[0].Ack)
	require.Empty(t, says(1, 0), "once is enough")
	l.wait(l.m.cfg.ElectionTicks - 1)
	require.Empty(t, says(1, 0), "for a while")
	l.wait(1)
	require.Len(t, says(1, 0), 1)

	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	require.Equal(t, Term(2), l.m.core.term)
	for _, old := range []struct {
		term  Term
		acked Index
		sent  int
	}{{1, a.Last(), 0}, {2, a.Last(), 0}, {1, 0, 1}, {2, 0, 0}} {
		l.wait(l.m.cfg.ElectionTicks)
		require.Len(t, says(old.term, old.acked), old.sent, "term %d, acked %d", old.term, old.acked)
	}
}

// goOnIn is goOn where some voters commit in a term.
func (h *history) goOnIn(term Term, e Entry, ids ...NodeID) *ChangeProof {
	var entries []Entry
	if h.last != nil {
		entries = append(entries, commitEntry(h.last))
	}
	b := NewBlock(h.at, append(entries, e))
	h.at, h.last = b.End(), h.commitOf(term, b.End(), ids...)
	p := newChangeProof(b, h.last)
	next, err := h.gate.After(p)
	require.NoError(h.t, err)
	h.gate = next
	return p
}

// promoteHeir gives id 1 to another key, and to that a vote, all in term 2.
func (h *history) promoteHeir() []*ChangeProof {
	var list []*ChangeProof
	do := func(ch *Change, ids ...NodeID) {
		h.seq++
		e := h.gate.Entry(carried(h.cluster, fakeClient, h.seq, ch))
		require.Equal(h.t, EntryConfiguration, e.Kind)
		list = append(list, h.goOnIn(2, e, ids...))
		if h.gate.members.Joint() {
			list = append(list, h.goOnIn(2, Entry{Kind: EntryClosing}, ids...))
		}
	}
	var steps []ChangeStep
	for id := NodeID(5); id <= quorumcert.MaxVoters; id++ {
		steps = append(steps, joins(id))
	}
	do(changeOn(h.gate, steps...), 2, 3, 4)
	do(readied(h.gate, quorumcert.SetOf(1), dismisses(1)), 2, 3, 4)
	do(changeOn(h.gate, joins(another)), 2, 3, 4)
	do(readied(h.gate, quorumcert.SetOf(1), promotes(another)), 2, 3, 4)
	require.Equal(h.t, fakePublic(another), h.gate.members.keyOf(1))
	return list
}

// TestJ7CertificateOfOldIsNotOfWhoHasTheIDNow: an heir that knows only the genesis is shown a
// certificate that came to nothing, with the signature of who had its id then, and locks there. By
// the changes that it learns of next the id is its own.
func TestJ7CertificateOfOldIsNotOfWhoHasTheIDNow(t *testing.T) {
	l := newLabOf(t, 1, changing(4), func(l *lab, c *Config) {
		if c.Signer.ID() == 1 {
			c.Signer = heir{fakeSigner{another}}
		}
	})
	var ops []string
	for i := range 20 {
		ops = append(ops, strconv.Itoa(i))
	}
	fork := l.block(l.origin(), ops...)
	qc := l.certifiedBy(1, fork.End(), 1, 2, 3)
	require.Equal(t, Accepted, l.say(3, &Proof{TermProof: TermProof{QC: qc}}))
	require.Equal(t, Accepted, l.say(3, &Chain{Blocks: []*Block{fork}}))
	require.Equal(t, lockAt(1, fork), l.m.core.lock)
	list := newHistory(l).promoteHeir()
	require.Equal(t, Accepted, l.say(3, &Changes{List: list[:len(list)-1]}))
	l.say(3, &Changes{List: list})
	require.Less(t, l.m.core.gate.members.At.Index, fork.Last())
	l.crash(l.m, len(l.m.unsynced))
	l.start(l.m)
	l.work(l.m)
	require.False(t, l.m.forgot, "its disk is intact, and it has signed nothing")
}

// TestJ7WhatIsShownCountsBeforeItIsOfUse: by the time the entries of a certificate are here, the
// node may have acked them again.
func TestJ7WhatIsShownCountsBeforeItIsOfUse(t *testing.T) {
	for name, m := range map[string]func(l *lab, b *Block) Message{
		"a certificate": func(l *lab, b *Block) Message {
			return &Proof{TermProof: TermProof{QC: l.certifiedBy(1, b.End(), 1, 3, 4)}}
		},
		"a commit": func(l *lab, b *Block) Message {
			return &Proof{TermProof: TermProof{Commit: l.commitOf(1, b.End(), 1, 3, 4)}}
		},
		"the lock of a candidate": func(l *lab, b *Block) Message {
			l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
			return &RequestVote{Term: 2, Lock: lockAt(1, b),
				LockQC: l.certifiedBy(1, b.End(), 1, 3, 4), TC: l.tc(1)}
		},
	} {
		l, a := led(t, "a")
		b := l.block(a.End(), "b")
		l.say(3, m(l, b))
		require.True(t, l.m.forgot, name)
	}
}

// TestJ7NodeRemembersWhatItSaidOfItsLock: two acks at one place, the second of which says more.
func TestJ7NodeRemembersWhatItSaidOfItsLock(t *testing.T) {
	l, a := led(t, "a")
	earlier := l.m.synced.clone()
	l.say(3, l.response(3, 1, a.End(), 0))
	require.Equal(t, lockAt(1, a), l.m.core.lock)
	said := l.ack(1, 1, a.End(), a.Last())
	require.Equal(t, said.Ack, l.acks(3)[0])
	require.Equal(t, Duplicate, l.say(3, &Reminder{Ack: said}))
	l.m.synced = earlier
	l.restart()
	require.Equal(t, Duplicate, l.say(3, &Reminder{Ack: l.ack(1, 1, a.End(), 0)}))
	require.False(t, l.m.forgot)
	require.Equal(t, Accepted, l.say(3, &Reminder{Ack: said}))
	require.True(t, l.m.forgot)
}

// TestJ7VoteForALowerLockThanWasGivenIsForgotten: the same candidate asked again with a higher one.
func TestJ7VoteForALowerLockThanWasGivenIsForgotten(t *testing.T) {
	l, a := led(t, "a")
	require.Equal(t, Accepted, l.say(3, &RequestVote{Term: 2, Lock: l.genesisLock(), TC: l.tc(1)}))
	again := TermProof{EC: l.electedBy(2, 3, lockAt(1, a), 1, 3, 4),
		BaseQC: l.certifiedBy(1, a.End(), 2, 3, 4)}
	l.say(3, &Proof{TermProof: again})
	require.True(t, l.m.forgot)
}

// TestJ7PeerInALaterTermIsShownWhatItsLogLacks: it may have come there before anybody could tell.
func TestJ7PeerInALaterTermIsShownWhatItsLogLacks(t *testing.T) {
	l, a := led(t, "a")
	l.say(3, l.response(3, 1, l.block(a.End(), "b").End(), 0))
	l.say(4, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	for _, what := range []struct {
		tip   Index
		acked Index
		told  int
	}{{a.Last(), 0, 1}, {a.Last(), a.Last(), 0}, {a.Last() + 1, 0, 0}} {
		l.wait(l.m.cfg.ElectionTicks)
		l.take()
		l.say(3, &Status{Term: 2, Tip: Position{what.tip, Digest{1}}, Lock: l.genesisLock(),
			Acked: what.acked})
		require.Len(t, messagesOf[*Reminder](l, 3), what.told, "%+v", what)
	}
}

// TestJ7PeerThatComesBackIsGreeted: before it shows what it knows, and catches up.
func TestJ7PeerThatComesBackIsGreeted(t *testing.T) {
	l, a := led(t, "a")
	greeted := func(id NodeID) []*Reminder {
		l.take()
		l.m.core.Greet(id)
		l.work(l.m)
		return messagesOf[*Reminder](l, id)
	}
	require.Empty(t, greeted(3), "nothing of it was seen")
	l.say(3, l.response(3, 1, a.End(), 0))
	require.Len(t, greeted(3), 1)
	require.Len(t, greeted(3), 1, "whenever its link comes up")
}

func TestJ7RemindersAreFewFromTheFirstTickOn(t *testing.T) {
	l, a := led(t, "a")
	l.say(3, l.response(3, 1, a.End(), 0))
	require.Zero(t, l.m.core.now)
	l.take()
	for range 50 {
		l.say(3, &Status{Term: 1, Tip: a.End(), Lock: l.genesisLock()})
	}
	require.Len(t, messagesOf[*Reminder](l, 3), 1)
}
