package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/quorumcert"
)

// suspects says whether the core has just broadcast a suspicion, and of which term.
func (l *lab) suspects(term Term) bool {
	for _, m := range messagesOf[*Suspect](l, 3) {
		if m.Term == term {
			return true
		}
	}
	return false
}

func TestE1aSilenceOfTheLeaderIsSuspected(t *testing.T) {
	l, a := led(t, "a")
	for range 40 {
		l.wait(3)
		l.say(2, &Status{Term: 1, Leader: 2, Tip: a.End(), Acked: 1, Lock: l.genesisLock()})
	}
	require.False(t, l.suspects(1), "it talks")
	for range 20 {
		l.wait(3)
		l.say(3, l.proposal(2, 1, a.End())) // the leader's, over another's connection
		l.say(4, &Status{Term: 1, Leader: 2, Tip: a.End(), Acked: 1, Lock: l.genesisLock()})
	}
	require.True(t, l.suspects(1), "it is silent")
	require.Equal(t, CauseSilence, l.m.core.State().Suspects)
	l.wait(5)
	require.True(t, l.suspects(1), "again with each heartbeat")
	l.say(2, l.response(2, 1, a.End(), 0))
	l.wait(6)
	require.False(t, l.suspects(1), "only while it holds")
}

func TestE1aTermWithoutLeaderIsSuspected(t *testing.T) {
	l := newLab(t, 1)
	l.wait(39)
	require.False(t, l.suspects(1))
	l.wait(22)
	require.True(t, l.suspects(1))
}

func TestE1bStarvationIsSuspectedThoughTheLeaderTalks(t *testing.T) {
	l, a := led(t, "a")
	talk := func() bool {
		l.wait(3)
		l.say(2, &Status{Term: 1, Leader: 2, Tip: a.End(), Acked: 1, Lock: l.genesisLock()})
		l.wait(3)
		return l.suspects(1)
	}
	require.False(t, talk())
	l.m.core.starve(true)
	require.True(t, talk())
	require.Equal(t, CauseStarvation, l.m.core.State().Suspects)
	l.m.core.starve(false)
	require.False(t, talk())
	l.m.core.starve(true)
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	l.elect(3, 2, l.genesisLock(), nil)
	l.wait(1)
	require.False(t, l.suspects(2), "it starts anew in each term (E5)")
}

func TestE1cLeaderProvenFaultyIsSuspected(t *testing.T) {
	l, _ := led(t, "a")
	conflict := func(id NodeID) *Accusation {
		return &Accusation{Evidence: quorumcert.Evidence{Votes: &quorumcert.VoteConflict{
			A: l.vote(id, 1, 3, l.genesisLock()).Vote, B: l.vote(id, 1, 4, l.genesisLock()).Vote}}}
	}
	require.Equal(t, Accepted, l.say(4, conflict(3)))
	l.wait(1)
	require.False(t, l.suspects(1), "not the leader")
	require.Equal(t, Accepted, l.say(4, conflict(2)))
	l.wait(1)
	require.True(t, l.suspects(1))
	require.Equal(t, CauseProof, l.m.core.State().Suspects)
}

func TestE1dOthersSuspicionsCountWhileTheyAreFresh(t *testing.T) {
	l, a := led(t, "a")
	talk := func(ticks int) {
		for range ticks {
			l.wait(1)
			l.say(2, &Status{Term: 1, Leader: 2, Tip: a.End(), Acked: 1, Lock: l.genesisLock()})
		}
	}
	require.Equal(t, Accepted, l.say(3, l.suspect(3, 1)))
	talk(2)
	require.False(t, l.suspects(1), "one may be a liar")
	l.say(3, l.suspect(3, 1))
	talk(50)
	require.False(t, l.suspects(1), "the same one twice is one")
	l.say(4, l.suspect(4, 1))
	talk(5)
	require.False(t, l.suspects(1), "the first is history: longer ago than the timeout")
	l.say(3, l.suspect(3, 1))
	talk(1)
	require.Equal(t, Term(2), l.m.core.Term(), "with its own there are three")
}

func TestE1eLeaderThatResignsOrIsNoVoterIsSuspected(t *testing.T) {
	l, _ := led(t, "a")
	require.Equal(t, NotLeader, l.say(3, &Resign{Term: 1}))
	require.Equal(t, FutureTerm, l.say(2, &Resign{Term: 2}))
	l.wait(1)
	require.False(t, l.suspects(1))
	require.Equal(t, Accepted, l.say(2, &Resign{Term: 1}))
	require.Equal(t, Duplicate, l.say(2, &Resign{Term: 1}))
	l.wait(1)
	require.True(t, l.suspects(1))
	require.Equal(t, CauseResigned, l.m.core.State().Suspects)
	h := newHarness(t, 4, nil)
	require.True(t, h.ticks(100, func() bool { return h.leader() != 0 }))
	old := h.leader()
	h.core(old).Resign()
	h.work(h.node(old))
	require.False(t, h.core(old).Room(), "it proposes nothing more")
	require.True(t, h.ticks(150, func() bool { return h.leader() != 0 && h.leader() != old }))
}

func TestE1RequestVoteAloneMakesNobodySuspect(t *testing.T) {
	l, a := led(t, "a")
	l.say(2, &Status{Term: 1, Leader: 2, Tip: a.End(), Acked: 1, Lock: l.genesisLock()})
	require.Equal(t, AlreadyVoted, l.say(3, &RequestVote{Term: 1, Lock: l.genesisLock()}))
	l.wait(1)
	require.False(t, l.suspects(1))
	require.Equal(t, BadCertificate, l.say(3, &RequestVote{Term: 2, Lock: l.genesisLock()}))
	require.Equal(t, Term(1), l.m.core.Term())
}

func TestE1SuspicionDoesNotStopAcks(t *testing.T) {
	l, a := led(t, "a")
	l.m.core.starve(true)
	l.wait(1)
	require.True(t, l.suspects(1))
	b := l.block(a.End(), "b")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), b)))
	require.Len(t, l.acks(3), 1)
}

func TestE2TermsMoveByProofOnly(t *testing.T) {
	l, a := led(t, "a")
	for _, m := range []Message{&Status{Term: 9, Leader: 3, Lock: lockAt(8, a)}, l.suspect(3, 9),
		l.response(3, 9, a.End(), 0), l.vote(3, 9, 3, l.genesisLock()),
		l.proposal(3, 9, a.End())} {
		require.Equal(t, FutureTerm, l.say(3, m), MessageName(m))
		require.Equal(t, Term(1), l.m.core.Term())
	}
	few := l.tc(1)
	few.Signers, few.Sigs = few.Signers.Without(4), few.Sigs[:2]
	require.Equal(t, BadCertificate, l.say(3, &Proof{TermProof: TermProof{TC: few}}))
	for name, p := range map[string]struct {
		proof TermProof
		term  Term
	}{
		"TC":       {TermProof{TC: l.tc(4)}, 5},
		"EC":       {TermProof{EC: l.ec(5, 3, l.genesisLock())}, 5},
		"QC":       {TermProof{QC: l.qc(5, a.End())}, 5},
		"commit":   {TermProof{Commit: l.commit(5, a.End())}, 5},
		"old TC":   {TermProof{TC: l.tc(0 + 1)}, 2},
		"same QC":  {TermProof{QC: l.qc(1, a.End())}, 1},
		"next, QC": {TermProof{QC: l.qc(2, a.End())}, 2},
	} {
		l := newLab(t, 1)
		l.say(4, &Proof{TermProof: p.proof})
		require.Equal(t, p.term, l.m.core.Term(), name)
		l.say(4, &Proof{TermProof: TermProof{TC: l.tc(1)}})
		require.Equal(t, max(p.term, 2), l.m.core.Term(), "%s: never back", name)
	}
}

func TestE2QuorumOfSuspicionsEndsTheTerm(t *testing.T) {
	l, _ := led(t, "a")
	l.say(3, l.suspect(3, 1))
	l.say(3, l.suspect(3, 1))
	l.say(4, l.suspect(4, 1))
	require.Equal(t, Term(1), l.m.core.Term())
	l.wait(1) // now the core itself suspects (E1d)
	require.Equal(t, Term(2), l.m.core.Term())
	tc := l.m.core.proof.TC
	require.NoError(t, tc.Verify(l.cluster, l.gate.Configurations().Latest()))
}

func TestE3RanksHaveTheirWindows(t *testing.T) {
	l := newLab(t, 1) // in term 1 nodes 2, 3, 4, 1 have ranks 0, 1, 2, 3
	window := int(l.m.core.window())
	require.Equal(t, TooEarly, l.say(3, &RequestVote{Term: 1, Lock: l.genesisLock()}))
	require.Equal(t, TooEarly, l.say(4, &RequestVote{Term: 1, Lock: l.genesisLock()}))
	l.wait(window - 1)
	require.Equal(t, TooEarly, l.say(3, &RequestVote{Term: 1, Lock: l.genesisLock()}))
	l.wait(1)
	require.Equal(t, TooEarly, l.say(4, &RequestVote{Term: 1, Lock: l.genesisLock()}))
	require.Equal(t, Accepted, l.say(3, &RequestVote{Term: 1, Lock: l.genesisLock()}))
	l = newLab(t, 1)
	require.Equal(t, Accepted, l.say(2, &RequestVote{Term: 1, Lock: l.genesisLock()}))
	l = newLab(t, 1)
	l.wait(3*window - 1)
	require.Zero(t, l.m.core.State().Vote.Candidate)
	l.wait(1)
	require.Equal(t, NodeID(1), l.m.core.State().Vote.Candidate, "its own window")
	require.NotEmpty(t, messagesOf[*RequestVote](l, 3))
	l.wait(5)
	require.NotEmpty(t, messagesOf[*RequestVote](l, 3), "candidates repeat their request")
}

func TestE3FaultyNodeIsNotVotedFor(t *testing.T) {
	l := newLab(t, 1)
	l.say(4, &Accusation{Evidence: quorumcert.Evidence{Votes: &quorumcert.VoteConflict{
		A: l.vote(2, 1, 3, l.genesisLock()).Vote, B: l.vote(2, 1, 4, l.genesisLock()).Vote}}})
	require.Equal(t, FaultySender, l.say(2, &RequestVote{Term: 1, Lock: l.genesisLock()}))
	require.Zero(t, l.m.core.State().Vote.Candidate)
}

// requested returns a lab in term 2, whose lock is that of block a in term 1, with windows open.
func requested(t *testing.T) (*lab, *Block) {
	l, a := locked(t, "a")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	l.wait(23) // rank 1 not yet, so node 1, of rank 2, does not stand either
	return l, a
}

func (l *lab) request(t Term, b *Block) *RequestVote {
	m := &RequestVote{Term: t, Lock: l.genesisLock(), TC: l.tc(t - 1)}
	if b != nil {
		m.Lock, m.LockQC = lockAt(1, b), l.qc(1, b.End())
	}
	return m
}

func TestE4CandidateWithALowerLockIsRefusedAndTaught(t *testing.T) {
	l, a := requested(t)
	l.take()
	require.Equal(t, LowerLock, l.say(3, l.request(2, nil)))
	sent := l.take()
	require.Len(t, sent, 1)
	require.Equal(t, lockAt(1, a), sent[0].msg.(*Proof).QC.Lock)
	require.Zero(t, l.m.core.State().Vote.Candidate)
	require.Equal(t, Accepted, l.say(3, l.request(2, a)))
	require.Equal(t, VoteRecord{3, lockAt(1, a)}, l.m.synced.hard.Vote, "on disk before it is said")
	votes := messagesOf[*RequestVoteResponse](l, 3)
	require.Len(t, votes, 1)
	require.Equal(t, lockAt(1, a), votes[0].Vote.Lock, "the candidate's lock")
}

func TestE4SameCandidateIsVotedForAgainWithAHigherLockOnly(t *testing.T) {
	l, a := requested(t)
	require.Equal(t, Accepted, l.say(3, l.request(2, a)))
	require.Equal(t, Duplicate, l.say(3, l.request(2, a)))
	b := l.block(a.End(), "b")
	require.Equal(t, Accepted, l.say(3, l.request(2, b)))
	require.Equal(t, lockAt(1, b), l.m.core.State().Vote.Lock)
	require.Equal(t, lockAt(1, a), l.m.core.State().Lock, "the voter's own lock stays")
	require.Equal(t, Stale, l.say(3, l.request(2, a)))
	require.Equal(t, lockAt(1, b), l.m.core.State().Vote.Lock)
	l.wait(100)
	require.Equal(t, AlreadyVoted, l.say(4, l.request(2, b)), "one candidate a term")
	l.restart()
	l.wait(100)
	require.Equal(t, AlreadyVoted, l.say(4, l.request(2, b)), "after a restart too")
}

func TestE4WhoAckedVotesForNobodyElse(t *testing.T) {
	l, a := requested(t)
	l.elect(3, 2, lockAt(1, a), l.qc(1, a.End()))
	require.Equal(t, Accepted, l.say(3, l.proposal(3, 2, a.End())))
	// The node forgets the election, as after a restart without it.
	l.m.core.election, l.m.core.proof.EC, l.m.core.proof.BaseQC = nil, nil, nil
	l.wait(100)
	require.Equal(t, AlreadyVoted, l.say(4, l.request(2, a)))
	require.Zero(t, l.m.core.State().Vote.Candidate, "nor does it stand itself")
}

func TestE4RequestNeedsProofOfItsTermAndLock(t *testing.T) {
	l, a := requested(t)
	for name, spoil := range map[string]func(m *RequestVote){
		"no TC":           func(m *RequestVote) { m.TC = nil },
		"TC of another":   func(m *RequestVote) { m.TC = l.tc(2) },
		"no QC":           func(m *RequestVote) { m.LockQC = nil },
		"QC of another":   func(m *RequestVote) { m.Lock.Index++ },
		"lock of its own": func(m *RequestVote) { m.Lock, m.LockQC = lockAt(2, a), l.qc(2, a.End()) },
	} {
		m := l.request(2, a)
		spoil(m)
		require.Equal(t, BadCertificate, l.say(3, m), name)
	}
	require.Zero(t, l.m.core.State().Vote.Candidate)
	require.Equal(t, TooEarly, l.say(4, l.request(5, a)), "but the TC moves it there")
	require.Equal(t, Term(5), l.m.core.Term())
}

func TestE4CandidateLearnsTheHigherLockAndAsksAgain(t *testing.T) {
	l, a := led(t, "a")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	b := l.block(a.End(), "b")
	l.stand()
	require.Equal(t, l.genesisLock(), l.m.core.State().Vote.Lock)
	l.take()
	require.Equal(t, Accepted, l.say(3, &Proof{TermProof: TermProof{QC: l.qc(1, b.End())}}))
	require.Equal(t, l.genesisLock(), l.m.core.State().Lock)
	require.Len(t, messagesOf[*FetchChain](l, 3), 1, "it fetches the entries")
	l.say(4, &Chain{Blocks: []*Block{b}})
	require.Equal(t, lockAt(1, b), l.m.core.State().Lock)
	again := messagesOf[*RequestVote](l, 4)
	require.Len(t, again, 1)
	require.Equal(t, lockAt(1, b), again[0].Lock)
	l.say(2, l.vote(2, 2, 1, l.genesisLock()))
	l.say(3, l.vote(3, 2, 1, l.genesisLock()))
	require.Zero(t, l.m.core.Leader(), "votes of different locks do not add up")
	l.say(3, l.vote(3, 2, 1, lockAt(1, b)))
	require.Zero(t, l.m.core.Leader(), "nor with some of the new ones")
	l.say(4, l.vote(4, 2, 1, lockAt(1, b)))
	require.Equal(t, NodeID(1), l.m.core.Leader())
	require.Equal(t, lockAt(1, b), l.m.core.election.Base)
}

// The lesson may come in a term in which it does not help; it must not be lost on the next one.
func TestE4LessonOfAnEarlierTermIsLearnedInTheNext(t *testing.T) {
	l, a := led(t, "a")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	b := l.block(a.End(), "b")
	l.stand()
	require.Equal(t, Accepted, l.say(3, &Proof{TermProof: TermProof{QC: l.qc(1, b.End())}}))
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(2)}}) // before anybody had the entries to hand
	l.stand()
	l.take()
	l.say(3, &Proof{TermProof: TermProof{QC: l.qc(1, b.End())}})
	require.NotEmpty(t, messagesOf[*FetchChain](l, 3), "it asks again")
	l.say(3, &Chain{Blocks: []*Block{b}})
	require.Equal(t, lockAt(1, b), l.m.core.State().Vote.Lock)
}

// forked returns a lab in term 3 that holds block x, certified in term 1; block y, certified in
// term 2, is elsewhere and contradicts it.
func forked(t *testing.T) (l *lab, x, y *Block) {
	l, x = locked(t, "x")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(2)}})
	return l, x, l.block(l.origin(), "y")
}

// A liar can make an election of the votes that a candidate got before it learned the higher lock.
func TestE4CandidateDoesNotLeadFromABaseItHasLeft(t *testing.T) {
	l, x, y := forked(t)
	l.stand()
	l.say(2, &Proof{TermProof: TermProof{QC: l.qc(2, y.End())}})
	l.say(2, &Chain{Blocks: []*Block{y}})
	require.Equal(t, lockAt(2, y), l.m.core.State().Vote.Lock)
	early := TermProof{EC: l.ec(3, 1, lockAt(1, x)), BaseQC: l.qc(1, x.End())}
	require.Equal(t, Duplicate, l.say(2, &Proof{TermProof: early}))
	require.Zero(t, l.m.core.Leader(), "its chain lacks that base")
	l.say(2, l.vote(2, 3, 1, lockAt(2, y)))
	l.say(3, l.vote(3, 3, 1, lockAt(2, y)))
	require.Equal(t, NodeID(1), l.m.core.Leader())
	require.Equal(t, lockAt(2, y), l.m.core.election.Base)
	require.Equal(t, Accepted, l.say(4, l.vote(4, 3, 1, lockAt(2, y))), "and it is not disturbed")
}

func TestA1HigherElectionOfTheSameLeaderCounts(t *testing.T) {
	l, x, y := forked(t)
	require.Equal(t, Accepted, l.elect(4, 3, lockAt(1, x), l.qc(1, x.End())))
	m := l.proposal(4, 3, y.End(), y)
	require.Equal(t, BadBase, l.say(4, m))
	m.Election, m.BaseQC = l.ec(3, 4, lockAt(2, y)), l.qc(2, y.End())
	require.Equal(t, Accepted, l.say(4, m))
	require.Equal(t, y.End(), l.m.core.State().Tip)
	require.Equal(t, Duplicate, l.elect(4, 3, lockAt(1, x), l.qc(1, x.End())), "never the lower")
	require.Equal(t, lockAt(2, y), l.m.core.election.Base)
}

func TestE4RestartedCandidateCountsItsOwnVote(t *testing.T) {
	l := newLab(t, 1)
	l.stand()
	l.restart()
	l.say(2, l.vote(2, 1, 1, l.genesisLock()))
	require.Zero(t, l.m.core.Leader())
	l.say(3, l.vote(3, 1, 1, l.genesisLock()))
	require.Equal(t, NodeID(1), l.m.core.Leader(), "two votes and its own")
}

// A base is of an earlier term, so who holds a certificate of this one has nothing to stand with.
func TestE4NodeWithACertificateOfTheTermDoesNotStand(t *testing.T) {
	l, a := led(t, "a")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	l.say(3, &Proof{TermProof: TermProof{QC: l.qc(2, a.End())}})
	require.Equal(t, lockAt(2, a), l.m.core.State().Lock)
	l.wait(200)
	require.Zero(t, l.m.core.State().Vote.Candidate)
}

func TestE4RawLogLengthPlaysNoPart(t *testing.T) {
	l, a := led(t, "a", "b", "c")
	require.Equal(t, a.End(), l.m.core.State().Tip)
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	require.Equal(t, TooEarly, l.say(4, l.request(2, nil)))
	l.wait(24)
	require.Equal(t, Accepted, l.say(4, l.request(2, nil)), "an empty log, a lock as high")
}

func TestE6BackOffGrowsWithTermsAndShrinksWithCalm(t *testing.T) {
	l, a := led(t, "a")
	require.Equal(t, uint64(40), l.m.core.Timeout())
	for u := Term(1); u <= 4; u++ {
		l.say(3, &Proof{TermProof: TermProof{TC: l.tc(u)}})
		require.Equal(t, min(int(u), 3), l.m.core.State().Backoff, "capped")
		require.Equal(t, uint64(40)<<min(u, 3), l.m.core.Timeout())
		require.Equal(t, uint64(12)<<min(u, 3), l.m.core.window())
	}
	l.elect(3, 5, l.genesisLock(), nil)
	require.Equal(t, Accepted, l.say(3, l.proposal(3, 5, a.End())))
	l.restart()
	require.Equal(t, Term(5), l.m.core.Term())
	require.Equal(t, 3, l.m.core.State().Backoff, "terms since the newest commit certificate")
	calm := func(ticks int) {
		for range ticks {
			l.wait(1)
			l.say(3, &Status{Term: 5, Leader: 3, Tip: a.End(), Lock: l.genesisLock()})
		}
	}
	calm(319)
	require.Equal(t, 3, l.m.core.State().Backoff)
	calm(2)
	require.Equal(t, 2, l.m.core.State().Backoff, "one full timeout")
	l.m.core.starve(true)
	calm(400)
	require.Equal(t, 2, l.m.core.State().Backoff, "not while something waits")
	l.m.core.starve(false)
	calm(161)
	require.Equal(t, 1, l.m.core.State().Backoff)
}
