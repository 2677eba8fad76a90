package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/quorumcert"
)

// leads returns a lab whose core, node 1, leads term 2 with a log of one entry of term 1.
func leads(t testing.TB) (*lab, *Block) {
	l, a := led(t, "a")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	l.stand()
	for _, id := range []NodeID{2, 3} {
		require.Equal(t, Accepted, l.say(id, l.vote(id, 2, 1, l.genesisLock())))
	}
	require.True(t, l.m.core.leading())
	return l, a
}

// TestA4ConflictingAcksAreFoundInAnyOrder gives two acks of node 3, of which the first of a pair is
// on the chain and the second is not.
func TestA4ConflictingAcksAreFoundInAnyOrder(t *testing.T) {
	for _, swap := range []bool{false, true} {
		for _, c := range [][2]int{{0, 0}, {1, 0}, {1, 1}, {0, 1}} {
			l, a := led(t, "a")
			b := l.block(a.End(), "b")
			require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), b)))
			x := l.block(l.origin(), "x")
			own := []Position{a.End(), b.End()}[c[0]]
			other := []Position{x.End(), l.block(x.End(), "y").End()}[c[1]]
			if swap {
				own, other = other, own
			}
			l.say(3, l.response(3, 1, own, 0))
			l.say(3, l.response(3, 1, other, 0))
			// What lies above the chain shows its conflict only with the blocks between.
			shown := c[1] <= c[0]
			require.Equal(t, shown, l.m.core.State().Faulty.Has(3), "%v, swapped: %v", c, swap)
		}
	}
}

func TestLeaderHasNoMoreOnItsWayThanItMay(t *testing.T) {
	l, a := leads(t)
	require.Equal(t, 2, l.m.cfg.MaxInflight)
	require.True(t, l.propose(1, "b"))
	require.False(t, l.propose(1, "c"), "the log of earlier terms counts as one")
	for _, id := range []NodeID{2, 3} {
		l.say(id, l.response(id, 2, a.End(), 0))
	}
	require.True(t, l.propose(1, "c"))
	require.False(t, l.propose(1, "d"))
	b := l.m.core.Uncommitted()[1]
	for _, id := range []NodeID{2, 3} {
		l.say(id, l.response(id, 2, b.End(), 0))
	}
	require.True(t, l.propose(1, "d"))
	require.False(t, l.propose(1, "e"))
	require.Zero(t, l.m.core.Commit().Index)
}

func TestNodeThatStoppedHasNoRoom(t *testing.T) {
	l, _ := leads(t)
	require.True(t, l.m.core.Room())
	l.m.core.halt()
	require.False(t, l.m.core.Room())
}

// The ack in such a message is of this term, and the election is not what it goes by.
func TestProposalWithTheElectionOfAnotherTermMovesNoTerm(t *testing.T) {
	l, a := led(t, "a")
	b := l.block(a.End(), "b")
	m := l.proposal(2, 1, b.End(), b)
	m.Election = l.ec(2, 2, l.genesisLock())
	require.Equal(t, Accepted, l.say(2, m))
	require.Equal(t, Term(1), l.m.core.Term())
	require.Equal(t, b.End(), l.m.core.log.tip)
}

func TestN2EachBlockIsAckedThoughSeveralComeAtOnce(t *testing.T) {
	l, a := led(t, "a")
	b := l.block(a.End(), "b")
	c := l.block(b.End(), "c")
	for _, x := range []*Block{b, c, c, b} {
		l.hand(frame{from: 2, to: 1, raw: Encode(l.proposal(2, 1, x.End(), x))})
	}
	l.work(l.m)
	acks := l.acks(3)
	require.Len(t, acks, 2)
	require.Equal(t, []Index{2, 3}, []Index{acks[0].Index, acks[1].Index})
}

// TestWhatIsKeptInMemoryIsBoundedAndServesTheNewest drives the chain of a core by itself.
func TestWhatIsKeptInMemoryIsBoundedAndServesTheNewest(t *testing.T) {
	l := newLab(t, 1)
	for name, kind := range map[string]struct{ bytes, count int }{
		"small": {10, keepBlocks}, "large": {3 << 20, keepBytes / (3 << 20)},
	} {
		for _, open := range []int{0, 1, 5, 200} {
			c := &chain{genesis: l.origin(), tip: l.origin(), reader: reader{l.m}}
			total := 5 * kind.count
			data := make([]byte, kind.bytes)
			for k := range total {
				b := &Block{raw: data}
				b.header.First, b.header.Last = Index(k+1), Index(k+1)
				b.header.Prev, b.hash = c.tip.Hash, Digest{byte(k), byte(k >> 8)}
				c.append([]*Block{b})
				commit := Index(max(0, k+1-open))
				c.trim(commit)
				first := c.tail[0].First()
				require.LessOrEqual(t, first, commit+1, "%s: what is not committed stays", name)
				kept := int(b.Last() - first + 1)
				require.GreaterOrEqual(t, kept, min(k+1, kind.count), "%s: the newest stay", name)
				require.LessOrEqual(t, kept, max(open, kind.count)+kind.count+1, name)
			}
		}
	}
}

// TestWhatChangesWithoutAMessageIsSavedToo looks at the disk right after.
func TestWhatChangesWithoutAMessageIsSavedToo(t *testing.T) {
	l := newLab(t, 1)
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	require.Equal(t, Term(2), l.m.disk.hard.Term)
	require.Equal(t, Accepted, l.elect(2, 2, l.genesisLock(), nil))
	require.NotNil(t, l.m.disk.hard.Proof.EC, "the election")
	a := l.block(l.origin(), "a")
	b := l.block(a.End(), "b")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 2, a.End(), a)))
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 2, b.End(), b)))
	l.take()
	l.say(3, l.response(3, 2, a.End(), 0))
	require.Empty(t, l.acks(3), "the next ack will say so")
	require.Equal(t, lockAt(2, a), l.m.disk.hard.Lock, "the lock")
}

// TestReadyThatReplacesTwiceKeepsTheLowerCut has blocks of a new leader replaced, before they were
// stored, by what was committed.
func TestReadyThatReplacesTwiceKeepsTheLowerCut(t *testing.T) {
	l, a := led(t, "a")
	b := l.block(a.End(), "b")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), b)))
	require.Equal(t, Accepted, l.elect(3, 2, l.genesisLock(), nil))
	c := l.block(a.End(), "c")
	d := l.block(c.End(), "d")
	x := l.block(l.origin(), "x")
	l.take()
	l.hand(frame{from: 3, to: 1, raw: Encode(l.proposal(3, 2, c.End(), c))})
	l.hand(frame{from: 3, to: 1, raw: Encode(l.proposal(3, 2, d.End(), d))})
	m := &Committed{Blocks: []*Block{x}, Commit: l.commit(2, x.End())}
	SignMessage(fakeSigner{4}, l.cluster, m)
	l.hand(frame{from: 4, to: 1, raw: Encode(m)})
	l.work(l.m)
	require.Len(t, l.m.disk.blocks, 1)
	require.Equal(t, x.End(), l.m.disk.blocks[0].End())
	require.Empty(t, l.acks(2), "what was replaced is not acked")
}

func TestBlocksAheadOfTheCommitFillTheirRoomExactly(t *testing.T) {
	l := newLabWith(t, 1, func(_ *lab, c *Config) { c.MaxUncommitted = 4 })
	require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
	at := l.origin()
	for k := range 9 {
		b := l.block(at, "a")
		want := Accepted
		if k == 8 {
			want = TooFarAhead
		}
		require.Equal(t, want, l.say(2, l.proposal(2, 1, b.End(), b)), "block %d", k)
		at = b.End()
	}
}

func TestE3NodeThatKnowsALeaderDoesNotStand(t *testing.T) {
	l := newLab(t, 1)
	require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
	l.wait(3*l.m.cfg.WindowTicks + 1)
	require.Zero(t, l.m.core.State().Vote)
	require.Empty(t, messagesOf[*RequestVote](l, 3))
}

func TestE4OlderVoteDoesNotReplaceANewerOne(t *testing.T) {
	l, a := locked(t, "a")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	require.Equal(t, Accepted, l.say(3, l.vote(3, 2, 4, lockAt(1, a))))
	require.Equal(t, Stale, l.say(3, l.vote(3, 2, 4, l.genesisLock())))
	require.Equal(t, lockAt(1, a), l.m.core.peers[3].vote.Lock)
}

// Somebody leads the term, so no base can be of the term itself.
func TestE4CandidateDoesNotAskWithALockOfItsTerm(t *testing.T) {
	l, a := led(t, "a")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	l.stand()
	l.take()
	l.say(3, &Proof{TermProof: TermProof{QC: l.qc(2, a.End())}})
	require.Equal(t, lockAt(2, a), l.m.core.State().Lock)
	require.Equal(t, l.genesisLock(), l.m.core.State().Vote.Lock)
	require.Empty(t, messagesOf[*RequestVote](l, 3))
}

func TestA5CommitThatGoesAnotherWayThanTheOwnStopsTheNode(t *testing.T) {
	l, a := commitOne(t, "a")
	b := l.block(a.End(), "b")
	require.Equal(t, Accepted,
		l.say(3, &Committed{Blocks: []*Block{b}, Commit: l.commit(1, b.End())}))
	l.mayStop = true
	x := l.block(a.End(), "x")
	y := l.block(x.End(), "y")
	m := &Committed{Blocks: []*Block{x, y}, Commit: l.commit(2, y.End())}
	require.Equal(t, Conflict, l.say(3, m))
	require.ErrorIs(t, l.m.core.Err(), ErrBroken)
	require.Equal(t, b.End(), l.m.core.log.tip)
}

// TestN6CatchUpBeyondOneAnswerIsBridged has a node answer that holds no certificate as low as the
// end of what fits.
func TestN6CatchUpBeyondOneAnswerIsBridged(t *testing.T) {
	l := newLab(t, 1)
	var blocks []*Block
	at := l.origin()
	for range maxAnswerBlocks + 50 {
		b := l.block(at, "a")
		blocks, at = append(blocks, b), b.End()
	}
	cc := l.commit(1, at)
	first := &Committed{Blocks: blocks[:200], Bridge: headers(blocks[200:]), Commit: cc}
	require.Equal(t, Accepted, l.say(3, first))
	require.Equal(t, Accepted, l.say(3, &Committed{Blocks: blocks[200:], Commit: cc}))
	l.take()
	require.Equal(t, Accepted, l.say(4, &FetchCommitted{After: l.origin()}))
	answers := messagesOf[*Committed](l, 4)
	require.Len(t, answers, 1)
	require.Len(t, answers[0].Blocks, maxAnswerBlocks)
	require.Len(t, answers[0].Bridge, 50)
	require.Equal(t, Accepted, newLab(t, 2).say(1, answers[0]))
	require.Equal(t, Accepted, l.say(3, &FetchChain{Target: at}))
	require.Len(t, messagesOf[*Chain](l, 3)[0].Blocks, maxAnswerBlocks)
}

// TestAnswersHoldNoMoreThanFits asks for blocks of which two do not fit into an answer: nor does
// one, the second time.
func TestAnswersHoldNoMoreThanFits(t *testing.T) {
	for _, size := range []int{maxAnswerBytes * 2 / 3, maxAnswerBytes} {
		answersOneOf(t, string(make([]byte, size)))
	}
}

func answersOneOf(t *testing.T, big string) {
	l, a := commitOne(t, big)
	b := l.block(a.End(), big)
	require.Equal(t, Accepted,
		l.say(3, &Committed{Blocks: []*Block{b}, Commit: l.commit(1, b.End())}))
	l.take()
	l.say(4, &FetchChain{Target: b.End()})
	l.say(3, &FetchCommitted{After: l.origin()})
	sent := l.take()
	require.Len(t, sent, 2)
	require.Len(t, sent[0].msg.(*Chain).Blocks, 1)
	require.Equal(t, b.End(), sent[0].msg.(*Chain).Blocks[0].End())
	require.Len(t, sent[1].msg.(*Committed).Blocks, 1)
}

func TestAckOfAnotherTermInAnAnswerIsNotCounted(t *testing.T) {
	l, a := led(t, "a")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	x := l.block(a.End(), "x")
	for _, term := range []Term{1, 3} {
		other := l.ack(3, term, x.End(), 0)
		require.Equal(t, Unasked, l.say(3, &Chain{Blocks: []*Block{x}, LeaderAck: &other}))
	}
	require.Empty(t, l.m.core.peers[3].acks)
}

// TestOnlyWhatTheLeaderProposedIsAcked fetches b, which node 3 has acked and the leader has not.
func TestOnlyWhatTheLeaderProposedIsAcked(t *testing.T) {
	for name, answer := range map[string]func(l *lab, a, b *Block) *quorumcert.SignedAck{
		"ack of another": func(l *lab, _, b *Block) *quorumcert.SignedAck {
			x := l.ack(3, 1, b.End(), 0)
			return &x
		},
		"none": func(*lab, *Block, *Block) *quorumcert.SignedAck { return nil },
	} {
		l := newLab(t, 1)
		require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
		a := l.block(l.origin(), "a")
		b := l.block(a.End(), "b")
		l.say(3, l.response(3, 1, b.End(), 0))
		l.wait(l.m.cfg.HeartbeatTicks)
		require.NotNil(t, l.m.core.gather, name)
		require.Equal(t, Accepted,
			l.say(3, &Chain{Blocks: []*Block{b}, LeaderAck: answer(l, a, b)}), name)
		of := l.ack(2, 1, a.End(), 0)
		l.say(4, &Chain{Blocks: []*Block{a}, LeaderAck: &of})
		require.Nil(t, l.m.core.gather, name)
		for _, got := range l.acks(4) {
			require.NotEqual(t, b.End(), Position{got.Index, got.Hash}, name)
		}
	}
}

// A candidate knows no leader whom it could blame.
func TestFetchedBlockWithABadEntryIsRefusedByACandidate(t *testing.T) {
	l, a := led(t, "a")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	l.stand()
	bad := NewBlock(a.End(), []Entry{{Kind: EntryEvidence, Data: []byte("no")}})
	l.say(4, &Proof{TermProof: TermProof{QC: l.qc(1, bad.End())}})
	require.NotNil(t, l.m.core.gather)
	by := l.ack(3, 2, bad.End(), 0)
	require.Equal(t, InvalidEntry, l.say(4, &Chain{Blocks: []*Block{bad}, LeaderAck: &by}))
	require.Nil(t, l.m.core.gather)
	require.Zero(t, l.m.core.faulty)
}

func TestAnswerThatIsTooLongIsNotHeldAside(t *testing.T) {
	l := newLabWith(t, 1, func(_ *lab, c *Config) { c.MaxUncommitted = 4 })
	require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
	var blocks []*Block
	at := l.origin()
	for range 10 {
		b := l.block(at, "a")
		blocks, at = append(blocks, b), b.End()
	}
	l.say(3, l.response(3, 1, at, 0))
	l.wait(l.m.cfg.HeartbeatTicks)
	require.Equal(t, TooFarAhead, l.say(3, &Chain{Blocks: blocks[1:]}))
	require.Nil(t, l.m.core.gather)
	l.say(4, l.response(4, 1, at, 0))
	l.wait(2 * l.m.cfg.HeartbeatTicks)
	require.Equal(t, Accepted, l.say(3, &Chain{Blocks: blocks[2:]}), "as many as fit")
	require.Len(t, l.m.core.gather.blocks, 8)
}

// TestProposalsWithGapsAreGatheredOneAfterAnother loses every other proposal of the leader.
func TestProposalsWithGapsAreGatheredOneAfterAnother(t *testing.T) {
	l, a := led(t, "a")
	b := l.block(a.End(), "b")
	c := l.block(b.End(), "c")
	d := l.block(c.End(), "d")
	e := l.block(d.End(), "e")
	require.Equal(t, MissingBlocks, l.say(2, l.proposal(2, 1, c.End(), c)))
	require.Equal(t, MissingBlocks, l.say(2, l.proposal(2, 1, e.End(), e)))
	require.Equal(t, Accepted, l.say(3, &Chain{Blocks: []*Block{b}}))
	require.Equal(t, c.End(), l.m.core.log.tip)
	require.Nil(t, l.m.core.gather)
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, e.End(), d, e)))
	require.Equal(t, e.End(), l.m.core.log.tip)
}

// TestGatheringEndsWhenItsBlocksCameAnotherWay has them come as committed.
func TestGatheringEndsWhenItsBlocksCameAnotherWay(t *testing.T) {
	l := newLab(t, 1)
	require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
	a := l.block(l.origin(), "a")
	b := l.block(a.End(), "b")
	require.Equal(t, MissingBlocks, l.say(2, l.proposal(2, 1, b.End(), b)))
	require.Equal(t, Accepted,
		l.say(3, &Committed{Blocks: []*Block{a, b}, Commit: l.commit(1, b.End())}))
	l.take()
	l.wait(l.m.cfg.HeartbeatTicks)
	require.Nil(t, l.m.core.gather)
	require.Len(t, l.acks(3), 1, "the proposal is acked")
}

func TestOnlyTheLeaderRepeatsThatItResigns(t *testing.T) {
	l := newLab(t, 1)
	require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
	require.Equal(t, Accepted, l.say(2, &Resign{Term: 1}))
	l.wait(3 * l.m.cfg.HeartbeatTicks)
	require.Empty(t, messagesOf[*Resign](l, 3))
}

func TestPeerIsSilentOnceItsLastStatusIsOld(t *testing.T) {
	l := newLab(t, 1)
	silent := func() bool { return l.m.core.State().Peers[1].Silent }
	require.True(t, silent(), "it has never said anything")
	l.wait(30)
	l.say(3, &Status{Term: 1, Tip: l.origin(), Lock: l.genesisLock()})
	l.wait(l.m.cfg.ElectionTicks)
	require.Equal(t, Term(1), l.m.core.Term())
	require.False(t, silent())
	l.wait(1)
	require.True(t, silent())
}

func TestNodeThatIsShownAHigherLockSaysThatItIsBehind(t *testing.T) {
	l, a := commitOne(t, "a")
	behind := func() bool {
		l.take()
		l.wait(l.m.cfg.HeartbeatTicks)
		list := messagesOf[*Status](l, 4)
		require.NotEmpty(t, list)
		return list[len(list)-1].Behind
	}
	require.False(t, behind())
	b := l.block(a.End(), "b")
	l.say(3, &Status{Term: 1, Leader: 2, Tip: a.End(), Lock: lockAt(1, b), Commit: a.End(),
		Acked: 1})
	require.True(t, behind())
}

// TestA2BaseOfTheElectionBecomesTheLockOfWhoHasItsEntries proposes the log as it is.
func TestA2BaseOfTheElectionBecomesTheLockOfWhoHasItsEntries(t *testing.T) {
	l, a := led(t, "a")
	require.Equal(t, Accepted, l.elect(3, 2, lockAt(1, a), l.qc(1, a.End())))
	require.Equal(t, Accepted, l.say(3, l.proposal(3, 2, a.End())))
	require.Equal(t, lockAt(1, a), l.m.core.State().Lock)
	require.Equal(t, lockAt(1, a), l.m.disk.hard.Lock)
}

func TestLogOfEarlierTermsHoweverLongCountsAsOneOnItsWay(t *testing.T) {
	l, a := led(t, "a")
	at := a.End()
	for range 4 {
		b := l.block(at, "b")
		require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), b)))
		at = b.End()
	}
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	l.stand()
	for _, id := range []NodeID{2, 3} {
		require.Equal(t, Accepted, l.say(id, l.vote(id, 2, 1, l.genesisLock())))
	}
	require.True(t, l.propose(1, "c"))
	require.False(t, l.propose(1, "d"))
}

func TestE1bNobodyStarvesAClientWhereNobodyLeads(t *testing.T) {
	l := newLab(t, 1)
	l.m.core.starve(true)
	l.wait(5)
	require.Equal(t, CauseNone, l.m.core.State().Suspects)
	require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
	l.wait(1)
	require.Equal(t, CauseStarvation, l.m.core.State().Suspects)
}

// TestE6BackOffStaysWhileNobodyLeadsOrALeaderIsSuspected waits for many timeouts.
func TestE6BackOffStaysWhileNobodyLeadsOrALeaderIsSuspected(t *testing.T) {
	for _, led := range []bool{false, true} {
		l := newLab(t, 1)
		l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
		require.Equal(t, 1, l.m.core.State().Backoff)
		if led {
			require.Equal(t, Accepted, l.elect(2, 2, l.genesisLock(), nil))
			require.Equal(t, Accepted, l.say(2, &Resign{Term: 2}))
		}
		l.wait(10 * int(l.m.core.timeout()))
		require.Equal(t, 1, l.m.core.State().Backoff)
		require.Equal(t, Term(2), l.m.core.Term())
	}
}
