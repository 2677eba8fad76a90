package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"

	"tangaroa/quorumcert"
)

// ends returns what the core had made durable of the ends of terms.
func (l *lab) ends() []TermEnd { return l.m.disk.ends }

// twoSuspect has two of the others suspect term t.
func (l *lab) twoSuspect(t Term) {
	l.say(3, l.suspect(3, t))
	l.say(4, l.suspect(4, t))
}

// TestE2EachCauseIsKeptWhenItsTermEnds: with the leader, and with what moved the node on.
func TestE2EachCauseIsKeptWhenItsTermEnds(t *testing.T) {
	for _, test := range []struct {
		cause  Cause
		happen func(l *lab)
	}{
		{CauseResigned, func(l *lab) { l.say(2, &Resign{Term: 1}) }},
		{CauseProof, func(l *lab) {
			l.say(4, &Accusation{Evidence: quorumcert.Evidence{Votes: &quorumcert.VoteConflict{
				A: l.vote(2, 1, 3, l.genesisLock()).Vote, B: l.vote(2, 1, 4, l.genesisLock()).Vote}}})
		}},
		{CauseSilence, func(l *lab) { l.wait(60) }},
		{CauseStarvation, func(l *lab) { l.m.core.starve(true) }},
		{CauseSlow, func(l *lab) { l.m.core.SetSlow(true) }},
	} {
		t.Run(test.cause.String(), func(t *testing.T) {
			l, _ := led(t, "a")
			test.happen(l)
			l.wait(1)
			require.Equal(t, test.cause, l.m.core.State().Suspects)
			require.Empty(t, l.ends(), "the term goes on")
			l.twoSuspect(1)
			require.Equal(t, Term(2), l.m.disk.hard.Term)
			require.Equal(t, []TermEnd{{1, 2, test.cause, ProofTC, true}}, l.ends())
		})
	}
}

func TestE2LeaderThatIsNoVoterIsKeptAsTheCause(t *testing.T) {
	l := newChangeLab(t)
	h := newHistory(l)
	list := h.change(joins(5))
	h.seq++
	handOver := readied(h.gate, 0, promotes(5), dismisses(2))
	e := h.gate.Entry(carried(l.cluster, fakeClient, h.seq, handOver))
	l.tells(append(list, h.goOn(e), h.goOn(Entry{Kind: EntryClosing}))...)
	l.wait(1)
	require.Equal(t, CauseOutside, l.m.core.State().Suspects)
	l.twoSuspect(1)
	require.Equal(t, []TermEnd{{1, 2, CauseOutside, ProofTC, true}}, l.ends())
}

// TestE2OwnCauseIsKeptThoughItHasPassed: what a node signed counts for the rest of the term, and so
// does why. That others suspect the term too is the cause where it had none of its own.
func TestE2OwnCauseIsKeptThoughItHasPassed(t *testing.T) {
	for _, cause := range []Cause{CauseStarvation, CauseOthers} {
		l, _ := led(t, "a")
		l.m.core.starve(cause == CauseStarvation)
		l.wait(1)
		l.m.core.starve(false)
		l.wait(1)
		require.Equal(t, CauseNone, l.m.core.State().Suspects)
		l.twoSuspect(1)
		l.wait(1)
		require.Equal(t, []TermEnd{{1, 2, cause, ProofTC, true}}, l.ends())
	}
}

// TestE2OwnCauseIsKeptWhenOthersAreJoined is as in a cluster of seven, where three more are not yet
// a quorum.
func TestE2OwnCauseIsKeptWhenOthersAreJoined(t *testing.T) {
	l, _ := led(t, "a")
	c := l.m.core
	c.starve(true)
	l.wait(1)
	c.starve(false)
	for id := NodeID(3); id <= 4; id++ {
		c.peers[id].suspects, c.peers[id].suspectedAt = true, c.now
	}
	l.wait(10)
	require.Equal(t, CauseOthers, c.State().Suspects)
	l.twoSuspect(1)
	require.Equal(t, CauseStarvation, l.ends()[0].Cause)
}

// TestE2NodeThatSuspectedNobodySaysWhatMovedIt to a term, and that it was not started in the next.
func TestE2NodeThatSuspectedNobodySaysWhatMovedIt(t *testing.T) {
	l := newLab(t, 1)
	at := l.block(l.origin(), "a").End()
	for _, proof := range []TermProof{
		{TC: l.tc(1)}, {EC: l.ec(3, 3, l.genesisLock())}, {QC: l.qc(7, at)}, {Commit: l.commit(8, at)},
	} {
		l.say(3, &Proof{TermProof: proof})
	}
	require.Equal(t, []TermEnd{
		{1, 0, CauseNone, ProofTC, true}, {2, 0, CauseNone, ProofEC, false},
		{3, 3, CauseNone, ProofQC, false}, {7, 0, CauseNone, ProofCommit, false},
	}, l.ends())
	l.restart()
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(8)}})
	last := l.ends()[len(l.ends())-1]
	require.True(t, last.Started, "in the term that storage held")
}

// TestE2WhatANodeWasAboutToSayIsACause: if suspicions of that very term ended it.
func TestE2WhatANodeWasAboutToSayIsACause(t *testing.T) {
	for ended, cause := range map[Term]Cause{1: CauseResigned, 4: CauseNone} {
		l, _ := led(t, "a")
		l.say(2, &Resign{Term: 1})
		l.say(3, &Proof{TermProof: TermProof{TC: l.tc(ended)}})
		require.Equal(t, []TermEnd{{1, 2, cause, ProofTC, true}}, l.ends())
	}
}

// TestE2OfTermsThatPassAtOnceTheFirstIsTold: storage never had the others.
func TestE2OfTermsThatPassAtOnceTheFirstIsTold(t *testing.T) {
	l, _ := led(t, "a")
	l.wait(60)
	l.say(4, &Proof{TermProof: TermProof{TC: l.tc(1), EC: l.ec(5, 3, l.genesisLock())}})
	require.Equal(t, Term(5), l.m.disk.hard.Term)
	require.Equal(t, []TermEnd{{1, 2, CauseSilence, ProofEC, true}}, l.ends())
	l.say(4, &Proof{TermProof: TermProof{TC: l.tc(5)}})
	require.Equal(t, TermEnd{5, 3, CauseNone, ProofTC, false}, l.ends()[1])
}

// TestTermEndRoundTrips, and what is cut or has more than there is does not.
func TestTermEndRoundTrips(t *testing.T) {
	for _, want := range []TermEnd{{}, {1 << 40, 64, CauseSlow, ProofCommit, true}} {
		raw := want.AppendTo(nil)
		var got TermEnd
		in := cryptobyte.String(append(raw, 9))
		require.True(t, ReadTermEnd(&in, &got))
		require.Equal(t, want, got)
		require.Len(t, in, 1)
		for n := range raw {
			in := cryptobyte.String(raw[:n])
			require.False(t, ReadTermEnd(&in, &got))
		}
		raw[len(raw)-1] = 2
		in = cryptobyte.String(raw)
		require.False(t, ReadTermEnd(&in, &got))
	}
	require.Equal(t, "suspicions", ProofTC.String())
	require.Equal(t, "commit_certificate", ProofCommit.String())
	require.Equal(t, "unknown", ProofKind(5).String())
}
