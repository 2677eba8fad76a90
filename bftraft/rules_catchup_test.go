package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A lock that only this node learned of may lie on a chain that was given up. Catch-up then takes
// its entries away, while the next lock lies beyond what has come so far; the node goes on, after
// a restart too, and votes for nothing below its lock.
func TestN6CatchUpMayLeaveALockWithoutEntries(t *testing.T) {
	l, _ := locked(t, "lost")
	a := l.block(l.origin(), "kept")
	b := l.block(a.End(), "later")
	m := &Committed{Blocks: []*Block{a}, Commit: l.commit(2, b.End()), LockQC: l.qc(2, b.End())}
	m.Bridge = headers([]*Block{b})
	before := l.m.core.State().Lock
	require.Equal(t, Accepted, l.say(3, m))
	require.Equal(t, a.End(), l.m.core.Commit())
	require.Equal(t, before, l.m.core.State().Lock)
	l.crash(l.m, 99)
	l.start(l.m)
	require.Equal(t, before, l.m.core.State().Lock)
	require.Equal(t, a.End(), l.m.core.log.tip)
}

// countingReader counts the blocks that a core reads back from its storage.
type countingReader struct {
	Reader
	blocks int
}

func (r *countingReader) Block(i Index) (*Block, bool) {
	r.blocks++
	return r.Reader.Block(i)
}

// Reading a block back costs a thousand times what an ack costs its sender.
func TestAcksOfOldBlocksCostNoReads(t *testing.T) {
	l := newLab(t, 1)
	at := l.origin()
	for range 3 {
		var blocks []*Block
		for range 200 {
			b := l.block(at, "a")
			blocks, at = append(blocks, b), b.End()
		}
		require.Equal(t, Accepted, l.say(3, &Committed{Blocks: blocks, Commit: l.commit(1, at)}))
	}
	base := Lock{Term: 1, Index: at.Index, Hash: at.Hash}
	require.Equal(t, Accepted, l.elect(2, 2, base, l.qc(1, at)))
	r := &countingReader{Reader: l.m.core.log.reader}
	l.m.core.log.reader = r
	for i := Index(1); i <= maxAcks; i++ {
		l.say(4, l.response(4, 2, Position{i, Digest{byte(i)}}, i))
		old := l.ack(2, 2, Position{i, Digest{byte(i)}}, i)
		l.say(2, &AppendEntries{Ack: old})
	}
	b := l.block(at, "b")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 2, b.End(), b)))
	l.wait(20)
	require.Zero(t, r.blocks)
}

// Every proposal asks whether the base of its term is on the chain. It was read back for each once
// it was old: a whole block from the disk.
func TestOldBaseIsReadBackOnce(t *testing.T) {
	l, at := led(t, "a")
	base := at.End()
	require.Equal(t, Accepted, l.say(3, &Committed{Blocks: []*Block{at}, Commit: l.commit(1, base)}))
	lock := Lock{Term: 1, Index: base.Index, Hash: base.Hash}
	require.Equal(t, Accepted, l.elect(2, 2, lock, l.qc(1, base)))
	var blocks []*Block
	for range 2*keepBlocks + 1 {
		at = l.block(at.End(), "b")
		blocks = append(blocks, at)
	}
	require.Equal(t, Accepted, l.say(3, &Committed{Blocks: blocks, Commit: l.commit(2, at.End())}))
	require.True(t, l.m.core.log.old(base.Index))
	r := &countingReader{Reader: l.m.core.log.reader}
	l.m.core.log.reader = r
	for range 20 {
		at = l.block(at.End(), "c")
		require.Equal(t, Accepted, l.say(2, l.proposal(2, 2, at.End(), at)))
		l.wait(1)
	}
	require.LessOrEqual(t, r.blocks, 1)
	require.Equal(t, at.End(), l.m.core.log.tip)
}

func TestChainForgetsWhatItContainedWhenItIsCut(t *testing.T) {
	l := newLab(t, 1)
	a := l.block(l.origin(), "a")
	b := l.block(a.End(), "b")
	c := &chain{genesis: l.origin(), tip: l.origin(), reader: reader{l.m}}
	c.append([]*Block{a, b})
	require.True(t, c.contains(b.End()))
	c.truncate(b.End())
	require.True(t, c.contains(b.End()))
	c.truncate(a.End())
	require.False(t, c.contains(b.End()))
	require.True(t, c.contains(a.End()))
	c.append([]*Block{l.block(a.End(), "x")})
	require.False(t, c.contains(b.End()))
	require.True(t, c.contains(a.End()))
	require.True(t, c.contains(l.origin()))
}

// A status is short and what it may bring down is not.
func TestLeaderRepeatsAProposalOnceInAnInterval(t *testing.T) {
	l := newLab(t, 1)
	l.stand()
	for id := NodeID(2); id <= 3; id++ {
		require.Equal(t, Accepted, l.say(id, l.vote(id, 1, 1, l.genesisLock())))
	}
	require.True(t, l.propose(1, "x"))
	l.take()
	count := 0
	for range 10 * l.m.cfg.HeartbeatTicks {
		for range 10 {
			l.say(4, &Status{Term: 1, Leader: 1, Tip: l.origin(), Lock: l.genesisLock()})
		}
		count += len(messagesOf[*AppendEntries](l, 4))
		l.wait(1)
	}
	require.GreaterOrEqual(t, count, 10)
	require.LessOrEqual(t, count, 30)
}

// A candidate may be shown a certificate whose entries nobody hands out. Once another leads, that
// must not keep it from fetching what the leader proposes.
func TestCertificateOfNoMoreUseGivesWayToTheLeader(t *testing.T) {
	l, a := locked(t, "a")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	l.stand()
	lost := l.block(a.End(), "lost")
	l.say(4, &Proof{TermProof: TermProof{QC: l.qc(1, lost.End())}})
	require.NotNil(t, l.m.core.gather)
	require.Equal(t, Accepted, l.elect(3, 2, lockAt(1, a), l.qc(1, a.End())))
	b := l.block(a.End(), "b")
	c := l.block(b.End(), "c")
	l.take()
	l.say(3, l.proposal(3, 2, c.End(), c))
	asked := messagesOf[*FetchChain](l, 3)
	require.Len(t, asked, 1)
	require.Equal(t, b.End(), asked[0].Target)
}

// A leader serves some, and another liar acks what does not exist, again and again.
func TestN6FakeAcksDoNotKeepANodeFromFetching(t *testing.T) {
	l := newLab(t, 1)
	require.Equal(t, Accepted, l.elect(4, 1, l.genesisLock(), nil))
	a := l.block(l.origin(), "a")
	l.say(3, l.response(3, 1, a.End(), 0))
	for i := range Index(3 * maxGatherTries) {
		l.say(2, l.response(2, 1, Position{100 + i, Digest{byte(i + 1)}}, 0))
		l.say(4, &Status{Term: 1, Leader: 4, Tip: l.origin(), Lock: l.genesisLock()})
		l.wait(l.m.cfg.HeartbeatTicks)
	}
	targets := map[Position]int{}
	for _, m := range messagesOf[*FetchChain](l, 3) {
		targets[m.Target]++
	}
	require.Positive(t, targets[a.End()])
}

// A liar that helps to catch up, one block in each interval, must not keep others from helping.
func TestN6SlowHelperDoesNotKeepOthersFromHelping(t *testing.T) {
	l := newLab(t, 1)
	goal := Position{1000, Digest{1}}
	at, asked := l.origin(), 0
	for range 20 {
		for _, id := range []NodeID{3, 4} {
			l.say(id, &Status{Term: 1, Tip: goal, Lock: l.genesisLock(), Commit: goal})
		}
		b := l.block(at, "a")
		at = b.End()
		require.Equal(t, Accepted, l.say(3, &Committed{Blocks: []*Block{b}, Commit: l.commit(1, at)}))
		l.take()
		l.wait(l.m.cfg.HeartbeatTicks)
		asked += len(messagesOf[*FetchCommitted](l, 4))
	}
	require.GreaterOrEqual(t, asked, 5)
}

// The same holds for what leads to a certificate or to a proposal.
func TestN6SlowHelperDoesNotHoldAFetch(t *testing.T) {
	l := newLab(t, 1)
	require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
	blocks := []*Block{l.block(l.origin(), "a")}
	for range 29 {
		blocks = append(blocks, l.block(blocks[len(blocks)-1].End(), "a"))
	}
	l.say(3, &Proof{TermProof: TermProof{QC: l.qc(1, blocks[29].End())}})
	for k := 29; k > 20; k-- {
		l.wait(l.m.cfg.HeartbeatTicks)
		require.Equal(t, Accepted, l.say(3, &Chain{Blocks: blocks[k : k+1]}))
	}
	require.GreaterOrEqual(t, len(messagesOf[*FetchChain](l, 4)), 5)
}

// What was caught up with in the first term comes without a state that would have to be saved.
func TestN6CatchUpBeforeAnythingWasSaidSurvivesARestart(t *testing.T) {
	l := newLab(t, 1)
	a := l.block(l.origin(), "a")
	m := &Committed{Blocks: []*Block{a}, Commit: l.commit(1, a.End())}
	require.Equal(t, Accepted, l.say(3, m))
	l.crash(l.m, 99)
	l.start(l.m)
	require.Equal(t, a.End(), l.m.core.log.tip)
	b := l.block(a.End(), "b")
	m = &Committed{Blocks: []*Block{b}, Commit: l.commit(1, b.End())}
	require.Equal(t, Accepted, l.say(3, m))
	require.Equal(t, b.End(), l.m.core.Commit())
}

// A leader led this node alone astray: what it acked is not what the others committed. It must get
// there all the same, and must not ack in this term again, not even after a restart.
func TestN6CommittedForkReplacesWhatWasAckedAndSilencesTheNode(t *testing.T) {
	l, a := led(t, "a")
	require.Equal(t, a.End(), Position{l.m.core.State().Mark.Index, l.m.core.State().Mark.Hash})
	fork := l.block(l.origin(), "x", "y")
	l.say(3, &Status{Term: 1, Leader: 2, Tip: fork.End(), Commit: fork.End()})
	l.wait(12)
	require.NotEmpty(t, messagesOf[*FetchCommitted](l, 3))
	l.take()
	m := &Committed{Blocks: []*Block{fork}, Commit: l.commit(1, fork.End())}
	require.Equal(t, Accepted, l.say(3, m))
	require.Equal(t, fork.End(), l.m.core.Commit())
	silent := func() {
		next := l.block(fork.End(), "z")
		require.Equal(t, Conflict, l.say(2, l.proposal(2, 1, next.End(), next)))
		for _, id := range []NodeID{2, 3, 4} {
			l.say(id, l.response(id, 1, fork.End(), 0))
		}
		l.wait(30)
		for _, id := range []NodeID{2, 3, 4} {
			require.Empty(t, l.acks(id))
		}
		require.Equal(t, a.Hash(), l.m.core.State().Mark.Hash, "the mark stays")
	}
	silent()
	l.restart() // what was caught up was not flushed: it comes again
	l.elect(2, 1, l.genesisLock(), nil)
	l.take()
	require.Equal(t, Accepted, l.say(3, m))
	silent()
	// The next term finds it an ordinary voter again.
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	l.elect(3, 2, lockAt(1, fork), l.qc(1, fork.End()))
	require.Equal(t, Accepted, l.say(3, l.proposal(3, 2, fork.End())))
	require.NotEmpty(t, l.acks(3))
}

// A liar shows a candidate a certificate whose entries nobody has. It must not keep it for the
// whole term from the lower one that it needs.
func TestE4LostCertificateGivesWayToALowerOne(t *testing.T) {
	l, a := led(t, "a")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	l.stand()
	lost := l.block(a.End(), "lost")
	require.Equal(t, Accepted, l.say(4, &Proof{TermProof: TermProof{QC: l.qc(1, lost.End())}}))
	lesson := &Proof{TermProof: TermProof{QC: l.qc(1, a.End())}}
	require.NotEqual(t, Accepted, l.say(3, lesson))
	l.wait(maxGatherTries*l.m.core.cfg.HeartbeatTicks + l.m.core.cfg.HeartbeatTicks)
	require.Equal(t, Accepted, l.say(3, lesson))
	require.Equal(t, lockAt(1, a), l.m.core.State().Lock)
}

func TestFetchesOfOnePeerAreServedWithinLimits(t *testing.T) {
	l, a := led(t, "a")
	l.take()
	for range 3 * maxServed {
		l.say(4, &FetchChain{Target: a.End()})
	}
	require.Len(t, messagesOf[*Chain](l, 4), maxServed)
	l.wait(2 * l.m.core.cfg.HeartbeatTicks)
	l.take()
	require.Equal(t, Accepted, l.say(4, &FetchChain{Target: a.End()}), "the next interval")
}

// A liar asks for the whole log again and again: what it has been sent, and what it shows to have,
// it is not sent again.
func TestWhatAPeerHasIsNotServed(t *testing.T) {
	l, a := led(t, "a")
	l.say(3, &Proof{TermProof: TermProof{Commit: l.commit(1, a.End())}})
	require.Equal(t, a.End(), l.m.core.State().Commit)
	all := func() Drop { return l.say(4, &FetchCommitted{After: l.origin()}) }
	require.Equal(t, Accepted, all())
	require.Equal(t, Unserved, all(), "the same question in one interval")
	l.wait(2 * l.m.core.cfg.HeartbeatTicks)
	require.Equal(t, Accepted, all(), "the answer may have been lost")
	require.Equal(t, Accepted, l.say(4, &FetchChain{Target: a.End()}))
	l.say(4, &Status{Term: 1, Tip: a.End(), Lock: l.genesisLock(), Commit: a.End()})
	l.wait(2 * l.m.core.cfg.HeartbeatTicks)
	require.Equal(t, Unserved, all(), "it shows that it has it")
	require.Equal(t, Unserved, l.say(4, &FetchChain{Target: a.End()}))
}
