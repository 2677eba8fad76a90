package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The tests of this file play the traces that docs/spec lists for the mutations of its model: the
// real core, in the scene in which the broken model fails, must do the safe thing. Node 1 is under
// test; in each scene one of the others is the liar.

// modelFollower is a node in term 2 with lock (1, u), after leader 2 of term 1.
func modelFollower(t *testing.T) (*lab, *Block) {
	l, u := locked(t, "u")
	require.Equal(t, Accepted, l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}}))
	require.Equal(t, Term(2), l.m.core.Term())
	l.take()
	return l, u
}

// requireUncommitted says that nothing is committed and nothing has stopped.
func requireUncommitted(t *testing.T, l *lab) {
	require.Zero(t, l.m.core.Commit().Index)
	require.NoError(t, l.m.core.Err())
}

func TestModelM1OneRoundOfAcksCommitsNothing(t *testing.T) {
	l, u := led(t, "u")
	for _, id := range []NodeID{3, 4} {
		l.say(id, l.response(id, 1, u.End(), 0))
	}
	require.Equal(t, lockAt(1, u), l.m.core.State().Lock, "all have acked")
	requireUncommitted(t, l)
	// The next term may therefore begin without u, and the node goes along.
	require.Equal(t, Accepted, l.elect(3, 2, l.genesisLock(), nil))
	requireUncommitted(t, l)
}

func TestModelM2ClaimedLogElectsNobody(t *testing.T) {
	l, u := modelFollower(t)
	v := l.block(l.origin(), "v", "v", "v")
	claim := &RequestVote{Term: 2, Lock: lockAt(1, v), TC: l.tc(1)}
	require.Equal(t, BadCertificate, l.say(3, claim), "a log that only the candidate speaks of")
	require.Equal(t, LowerLock, l.say(3, l.request(2, nil)))
	require.Zero(t, l.m.core.State().Vote.Candidate)
	require.Equal(t, Accepted, l.say(3, l.request(2, u)))
}

func TestModelM3QuorumLessOneCertifiesNothing(t *testing.T) {
	l, u := led(t, "u") // node 1 and the leader have acked it; 3 was shown v
	require.Equal(t, l.genesisLock(), l.m.core.State().Lock)
	v := l.block(l.origin(), "v")
	l.say(3, l.response(3, 1, v.End(), 0))
	require.Equal(t, l.genesisLock(), l.m.core.State().Lock, "two for u, two for v with the liar")
	l.say(4, l.response(4, 1, u.End(), 0))
	require.Equal(t, lockAt(1, u), l.m.core.State().Lock)
}

func TestModelM4LockSurvivesACrash(t *testing.T) {
	l, u := locked(t, "u")
	l.restart()
	require.Equal(t, lockAt(1, u), l.m.core.State().Lock)
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	require.Equal(t, LowerLock, l.say(3, l.request(2, nil)), "no base below u")
	require.Zero(t, l.m.core.State().Vote.Candidate)
}

func TestModelM5LogIsNotRewrittenWithinATerm(t *testing.T) {
	l, u := led(t, "u")
	v := l.block(l.origin(), "v")
	require.Equal(t, Conflict, l.say(2, l.proposal(2, 1, v.End(), v)))
	require.Empty(t, l.acks(3))
	require.Equal(t, u.End(), l.m.core.State().Tip)
}

func TestModelM6ClaimsOfEarlierTermsDoNotCount(t *testing.T) {
	l, u := locked(t, "u")
	l.say(3, l.response(3, 1, u.End(), 1)) // with the node's own, two claims in term 1
	require.Equal(t, Accepted, l.elect(4, 2, l.genesisLock(), nil))
	require.Equal(t, Accepted, l.say(4, l.proposal(4, 2, u.End())))
	l.say(2, l.response(2, 2, u.End(), 0))
	require.Equal(t, lockAt(2, u), l.m.core.State().Lock)
	l.say(2, l.response(2, 2, u.End(), 1)) // two in term 2, three nodes in all
	requireUncommitted(t, l)
	l.say(4, l.response(4, 2, u.End(), 1))
	require.Equal(t, u.End(), l.m.core.Commit())
}

func TestModelM7NothingBesideTheBaseIsAcked(t *testing.T) {
	l, u := modelFollower(t)
	require.Equal(t, Accepted, l.elect(4, 2, lockAt(1, u), l.qc(1, u.End())))
	l.take()
	v := l.block(l.origin(), "v")
	require.Equal(t, BadBase, l.say(4, l.proposal(4, 2, v.End(), v)))
	require.Empty(t, l.acks(2))
	require.Equal(t, lockAt(1, u), l.m.core.State().Lock)
}

func TestModelM8NobodyLocksOrClaimsWhatItDoesNotHave(t *testing.T) {
	l, u := led(t, "u")
	uu := l.block(u.End(), "u")
	for _, id := range []NodeID{3, 4} {
		l.say(id, l.response(id, 1, uu.End(), 0))
	}
	l.say(2, &Proof{TermProof: TermProof{QC: l.qc(1, uu.End())}})
	require.Equal(t, l.genesisLock(), l.m.core.State().Lock)
	for _, a := range l.acks(3) {
		require.LessOrEqual(t, a.Certified, a.Index)
	}
	require.Equal(t, VoidAck, l.say(4, l.response(4, 1, u.End(), 2)), "a claim beyond its ack")
	requireUncommitted(t, l)
}

func TestModelM9SecondCandidateOfATermGetsNoVote(t *testing.T) {
	l, u := modelFollower(t)
	require.Equal(t, Accepted, l.say(3, l.request(2, u)))
	l.wait(100)
	require.Equal(t, AlreadyVoted, l.say(4, l.request(2, u)))
	require.Equal(t, NodeID(3), l.m.core.State().Vote.Candidate)
}

func TestModelM10NobodyActsInATermItHasLeft(t *testing.T) {
	l, u := modelFollower(t)
	require.Equal(t, Accepted, l.say(3, l.request(2, u)))
	l.take()
	uu := l.block(u.End(), "u")
	require.Equal(t, Stale, l.say(2, l.proposal(2, 1, uu.End(), uu)))
	require.Equal(t, Stale, l.say(4, l.response(4, 1, u.End(), 1)))
	require.Empty(t, l.acks(2))
	requireUncommitted(t, l)
}

func TestModelM11LockStaysUntilTheBaseIsThere(t *testing.T) {
	l, u := locked(t, "u")
	uu := l.block(u.End(), "u")
	l.say(2, l.proposal(2, 1, uu.End(), uu))
	l.say(3, l.response(3, 1, uu.End(), 0))
	require.Equal(t, lockAt(1, uu), l.m.core.State().Lock)
	uv := l.block(u.End(), "v") // certified in term 2, which this node missed
	require.Equal(t, Accepted, l.elect(4, 3, lockAt(2, uv), l.qc(2, uv.End())))
	next := l.block(uv.End(), "x")
	require.Equal(t, MissingBlocks, l.say(4, l.proposal(4, 3, next.End(), next)))
	require.Equal(t, uu.End(), l.m.core.State().Tip, "nothing is cut on the way to the base")
	require.Equal(t, lockAt(1, uu), l.m.core.State().Lock)
	l.restart()
	require.Equal(t, lockAt(1, uu), l.m.core.State().Lock)
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(4)}})
	require.Equal(t, Term(5), l.m.core.Term())
	require.Equal(t, LowerLock, l.say(2, l.request(5, nil)), "nor is anybody elected below it")
}

func TestModelM12ClaimsElsewhereDoNotCommit(t *testing.T) {
	l, u := locked(t, "u")
	v := l.block(l.origin(), "v")
	l.say(4, l.response(4, 1, v.End(), 1))
	l.say(2, l.response(2, 1, u.End(), 1))
	requireUncommitted(t, l)
	l.say(3, l.response(3, 1, u.End(), 1))
	require.Equal(t, u.End(), l.m.core.Commit())
}

func TestModelM13LockIsNotLoweredInItsOwnTerm(t *testing.T) {
	l, u := locked(t, "u")
	require.Equal(t, Duplicate, l.elect(2, 1, l.genesisLock(), nil))
	require.NotEqual(t, Accepted, l.say(2, l.proposal(2, 1, l.origin())))
	require.Equal(t, lockAt(1, u), l.m.core.State().Lock)
	l.restart()
	l.elect(2, 1, l.genesisLock(), nil)
	require.Equal(t, lockAt(1, u), l.m.core.State().Lock)
}

// The drafts keeplock and emptylock: a lock without entries would block elections for ever.
func TestModelLockGoesWithItsEntries(t *testing.T) {
	l, _ := modelFollower(t)
	require.Equal(t, Accepted, l.elect(4, 2, l.genesisLock(), nil))
	v := l.block(l.origin(), "v")
	require.Equal(t, Accepted, l.say(4, l.proposal(4, 2, v.End(), v)))
	require.Equal(t, l.genesisLock(), l.m.core.State().Lock, "the base")
	require.Equal(t, l.genesisLock(), l.m.synced.hard.Lock)
}

func TestModelNoStopCommittedEntryIsRefusedToItsOwnLeader(t *testing.T) {
	l, u := commitOne(t, "u")
	v := l.block(l.origin(), "v")
	require.Equal(t, Conflict, l.say(2, l.proposal(2, 1, v.End(), v)))
	require.Equal(t, u.End(), l.m.core.Commit())
	require.NoError(t, l.m.core.Err(), "a liar cannot stop the node")
}

// d14cert: a certificate is no commit, and does not take the entries of a lock.
func TestModelD14CatchUpNeedsACommit(t *testing.T) {
	l, u := modelFollower(t)
	v := l.block(l.origin(), "v")
	cc := l.commit(2, v.End())
	for k, id := range l.others() {
		cc.Acks[k].Certified = 0
		cc.Sigs[k] = l.ack(id, 2, v.End(), 0).Sig
	}
	m := &Committed{Blocks: []*Block{v}, Commit: cc, LockQC: l.qc(2, v.End())}
	require.Equal(t, BadCertificate, l.say(4, m))
	require.Equal(t, u.End(), l.m.core.State().Tip)
	m.Commit = l.commit(2, v.End())
	require.Equal(t, Accepted, l.say(4, m))
	require.Equal(t, v.End(), l.m.core.Commit())
}

// d16acks and d16claims: who left what it acked says no more in that term, whoever leads it on.
func TestModelD16NodeThatLeftItsAcksIsSilent(t *testing.T) {
	l, v := led(t, "v")
	u := l.block(l.origin(), "u")
	m := &Committed{Blocks: []*Block{u}, Commit: l.commit(1, u.End()), LockQC: l.qc(1, u.End())}
	l.say(4, &Status{Term: 1, Leader: 2, Tip: u.End(), Commit: u.End()})
	l.wait(12)
	l.take()
	require.Equal(t, Accepted, l.say(4, m))
	require.Equal(t, u.End(), l.m.core.Commit())
	uu := l.block(u.End(), "u")
	require.NotEqual(t, Accepted, l.say(2, l.proposal(2, 1, uu.End(), uu)))
	l.wait(20)
	require.Empty(t, l.acks(3))
	require.Equal(t, v.Hash(), l.m.core.State().Mark.Hash)
}
