package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What was accepted a moment before is neither acked nor told to anybody.
func TestA5NodeThatStopsSignsNothingMore(t *testing.T) {
	l, a := commitOne(t, "a")
	l.mayStop = true
	b := l.block(a.End(), "b")
	x := l.block(l.origin(), "x")
	l.take()
	l.hand(frame{from: 2, to: 1, raw: Encode(l.proposal(2, 1, b.End(), b))})
	m := &Proof{TermProof: TermProof{Commit: l.commit(1, x.End())}}
	SignMessage(fakeSigner{3}, l.cluster, m)
	l.hand(frame{from: 3, to: 1, raw: Encode(m)})
	l.work(l.m)
	require.ErrorIs(t, l.m.core.Err(), ErrBroken)
	require.Empty(t, l.take())
	require.Equal(t, a.Last(), l.m.disk.hard.Mark.Index)
}

// TestN2NewLockIsAnnouncedWhereItLiesAndNotAtAnOldMark has a mark of an earlier term lie higher.
func TestN2NewLockIsAnnouncedWhereItLiesAndNotAtAnOldMark(t *testing.T) {
	l, a := led(t, "a")
	b := l.block(a.End(), "b")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), b)))
	require.Equal(t, Accepted, l.elect(3, 2, l.genesisLock(), nil))
	l.take()
	l.say(4, &Proof{TermProof: TermProof{QC: l.qc(2, a.End())}})
	acks := l.acks(4)
	require.Len(t, acks, 1)
	require.Equal(t, a.End(), Position{acks[0].Index, acks[0].Hash})
	require.Equal(t, a.Last(), acks[0].Certified)
}

// TestReadyThatIsCutKeepsWhatEndsAtTheCut has the second of two proposals replaced.
func TestReadyThatIsCutKeepsWhatEndsAtTheCut(t *testing.T) {
	l, a := led(t, "a")
	require.Equal(t, Accepted, l.elect(3, 2, l.genesisLock(), nil))
	b := l.block(a.End(), "b")
	c := l.block(b.End(), "c")
	d := l.block(b.End(), "d")
	l.take()
	for _, x := range []*Block{b, c} {
		l.hand(frame{from: 3, to: 1, raw: Encode(l.proposal(3, 2, x.End(), x))})
	}
	m := &Committed{Blocks: []*Block{d}, Commit: l.commit(2, d.End())}
	SignMessage(fakeSigner{4}, l.cluster, m)
	l.hand(frame{from: 4, to: 1, raw: Encode(m)})
	l.work(l.m)
	var ends []Position
	for _, x := range l.m.disk.blocks {
		ends = append(ends, x.End())
	}
	require.Equal(t, []Position{a.End(), b.End(), d.End()}, ends)
	acks := l.acks(4)
	require.Len(t, acks, 1)
	require.Equal(t, b.End(), Position{acks[0].Index, acks[0].Hash})
}

func TestCandidateThatIsShownItsElectionLeads(t *testing.T) {
	l := newLab(t, 1)
	l.stand()
	m := &Proof{TermProof: TermProof{EC: l.ec(1, 1, l.genesisLock())}}
	require.Equal(t, Accepted, l.say(3, m))
	require.True(t, l.m.core.leading())
	require.True(t, l.m.core.Room())
}

func TestWhatIsGatheredIsExactInBytes(t *testing.T) {
	l := newLab(t, 1)
	a := l.block(l.origin(), "a")
	b := l.block(a.End(), "longer")
	size := len(a.raw) + len(b.raw)
	for limit := size - 2; limit <= size+2; limit++ {
		l.m.core.cfg.MaxUncommittedBytes = limit / 2
		want := size <= 2*l.m.core.cfg.MaxUncommittedBytes
		require.Equal(t, want, l.m.core.gatherFits(&gather{}, []*Block{a, b}), "limit %d", limit)
		g := &gather{}
		require.True(t, l.m.core.gatherFits(g, []*Block{a}))
		require.Equal(t, want, l.m.core.gatherFits(g, []*Block{b}), "limit %d", limit)
	}
}

func TestCommitWithoutBlocksCommitsWhatIsHere(t *testing.T) {
	l, a := led(t, "a")
	require.Equal(t, Accepted, l.say(3, &Committed{Commit: l.commit(1, a.End())}))
	require.Equal(t, a.End(), l.m.core.Commit())
	require.Equal(t, Duplicate, l.say(3, &Committed{Commit: l.commit(1, a.End())}))
	b := l.block(a.End(), "b")
	require.Equal(t, MissingBlocks, l.say(3, &Committed{Commit: l.commit(1, b.End())}))
}

// TestRepeatedProposalBringsBlocksWhileTheyAreFew has a follower that has none of them.
func TestRepeatedProposalBringsBlocksWhileTheyAreFew(t *testing.T) {
	l := newLab(t, 1)
	l.stand()
	for _, id := range []NodeID{2, 3} {
		l.say(id, l.vote(id, 1, 1, l.genesisLock()))
	}
	for n := 1; n <= 2; n++ {
		require.True(t, l.propose(1, string(make([]byte, maxResendBytes*2/3))))
		l.take()
		for range 2 {
			l.wait(l.m.cfg.HeartbeatTicks)
			l.say(4, &Status{Term: 1, Leader: 1, Tip: l.origin(), Lock: l.genesisLock()})
		}
		list := messagesOf[*AppendEntries](l, 4)
		require.NotEmpty(t, list)
		require.Equal(t, Index(n), list[0].Ack.Index)
		require.Len(t, list[0].Blocks, n%2, "two are more than fit")
	}
}

// TestE2TermIsEnteredWithItsProof keeps and shows what moved the node.
func TestE2TermIsEnteredWithItsProof(t *testing.T) {
	for name, proof := range map[string]func(l *lab, a *Block) TermProof{
		"TC": func(l *lab, _ *Block) TermProof { return TermProof{TC: l.tc(1)} },
		"EC": func(l *lab, _ *Block) TermProof { return TermProof{EC: l.ec(2, 3, l.genesisLock())} },
		"QC": func(l *lab, a *Block) TermProof { return TermProof{QC: l.qc(2, a.End())} },
		"commit": func(l *lab, a *Block) TermProof {
			return TermProof{Commit: l.commit(2, a.End())}
		},
	} {
		l, a := led(t, "a")
		p := proof(l, a)
		require.Equal(t, Accepted, l.say(4, &Proof{TermProof: p}), name)
		require.Equal(t, Term(2), l.m.core.Term(), name)
		require.Equal(t, p, l.m.disk.hard.Proof, name)
		l.take()
		l.wait(1)
		l.say(3, l.suspect(3, 1))
		shown := messagesOf[*Proof](l, 3)
		require.Len(t, shown, 1, name)
		require.Equal(t, p.TC, shown[0].TC, name)
		require.Equal(t, p.EC, shown[0].EC, name)
		require.Equal(t, p.Commit, shown[0].Commit, name)
		require.Equal(t, p.QC, shown[0].QC, name)
	}
}

func TestE4VotesForOthersMakeNobodyElseALeader(t *testing.T) {
	l := newLab(t, 1)
	l.stand()
	for _, id := range []NodeID{2, 3} {
		l.say(id, l.vote(id, 1, 4, l.genesisLock()))
	}
	require.Equal(t, Accepted, l.say(4, l.vote(4, 1, 1, l.genesisLock())))
	require.False(t, l.m.core.leading(), "two votes of four")
}

func TestE1eLeaderSaysAgainThatItResigns(t *testing.T) {
	l, _ := leads(t)
	l.m.core.Resign()
	l.work(l.m)
	l.take()
	l.wait(2 * l.m.cfg.HeartbeatTicks)
	require.Len(t, messagesOf[*Resign](l, 3), 2)
}

func TestN6CommittedBlocksThatDoNotConnectChangeNothing(t *testing.T) {
	l, a := led(t, "a")
	b := l.block(a.End(), "b")
	c := l.block(b.End(), "c")
	m := &Committed{Blocks: []*Block{c}, Commit: l.commit(1, c.End())}
	require.Equal(t, MissingBlocks, l.say(3, m))
	require.Zero(t, l.m.core.Commit().Index)
	require.Equal(t, a.End(), l.m.core.log.tip)
}

func TestN6CatchUpComesWithTheLock(t *testing.T) {
	l, a := commitOne(t, "a")
	l.take()
	require.Equal(t, Accepted, l.say(4, &FetchCommitted{After: l.origin()}))
	answers := messagesOf[*Committed](l, 4)
	require.Len(t, answers, 1)
	require.NotNil(t, answers[0].LockQC)
	require.Equal(t, lockAt(1, a), answers[0].LockQC.Lock)
}

func TestNodeDoesNotHearItself(t *testing.T) {
	l := newLab(t, 1)
	require.Equal(t, UnknownSender, l.say(1, &FetchCommitted{After: l.origin()}))
}
