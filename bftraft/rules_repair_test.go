package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestN6MessageOfALowerTermIsAnsweredWithTheProof(t *testing.T) {
	l := newLab(t, 1)
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	for _, m := range []Message{l.suspect(4, 1), &Status{Term: 1}, &RequestVote{Term: 1,
		Lock: l.genesisLock()}, l.response(4, 1, l.origin(), 0)} {
		l.wait(1)
		l.take()
		require.Equal(t, Stale, l.say(4, m), MessageName(m))
		proofs := messagesOf[*Proof](l, 4)
		require.Len(t, proofs, 1, MessageName(m))
		require.Equal(t, Term(1), proofs[0].TC.Term)
	}
	l.elect(3, 2, l.genesisLock(), nil)
	l.wait(1)
	l.take()
	l.say(4, l.suspect(4, 1))
	require.Equal(t, Term(2), messagesOf[*Proof](l, 4)[0].EC.Term, "the newest proof")
}

func TestN6PeerThatShowsLessIsSentLockAndAck(t *testing.T) {
	l, a := locked(t, "a")
	l.wait(1)
	l.take()
	behind := &Status{Term: 1, Leader: 2, Lock: l.genesisLock(), Behind: true}
	require.Equal(t, Accepted, l.say(4, behind))
	sent := l.take()
	require.Len(t, sent, 2)
	require.Equal(t, lockAt(1, a), sent[0].msg.(*Proof).QC.Lock)
	require.Equal(t, a.Last(), sent[1].msg.(*AppendEntriesResponse).Ack.Index)
	l.wait(1)
	l.take()
	even := &Status{Term: 1, Leader: 2, Lock: lockAt(1, a), Tip: a.End()}
	require.Equal(t, Accepted, l.say(4, even))
	require.Empty(t, l.take(), "nothing is missing")
	l.wait(1)
	l.take()
	require.Equal(t, Accepted, l.say(4, &Status{Term: 1, Lock: lockAt(1, a)}))
	proofs := messagesOf[*Proof](l, 4)
	require.Len(t, proofs, 1)
	require.Equal(t, NodeID(2), proofs[0].EC.Leader, "who knows no leader is shown the election")
}

// Nothing but a heartbeat says that the others have got farther: that must be enough.
func TestN6NodeThatMissedEverythingAsksForIt(t *testing.T) {
	l := newLab(t, 1)
	l.elect(2, 1, l.genesisLock(), nil)
	a := l.block(l.origin(), "a")
	l.say(3, &Status{Term: 1, Leader: 2, Tip: a.End(), Lock: lockAt(1, a), Acked: 1})
	l.take()
	l.wait(6)
	heartbeat := messagesOf[*Status](l, 3)
	require.NotEmpty(t, heartbeat)
	require.True(t, heartbeat[len(heartbeat)-1].Behind)
}

// The leader serves nodes 3 and 4 only and never says that it holds a lock. All the node ever
// hears of the block are acks, and those late.
func TestN6LeaderThatServesOnlySomeStopsNobody(t *testing.T) {
	h := newHarness(t, 4, nil)
	require.True(t, h.ticks(100, func() bool { return h.leader() != 0 }))
	leader := h.leader()
	left := leader%4 + 1
	h.node(leader).honest = false
	lossUntil := h.now + 20
	h.route = func(f frame) {
		switch {
		case f.from == leader && f.to == left && f.msg.kind() != kindStatus:
		case f.from == leader && f.msg.kind() == kindAck:
		case f.to == left && h.now < lossUntil:
		default:
			h.put(f)
		}
	}
	term := h.core(leader).Term()
	require.True(t, h.propose(leader, "a"))
	require.True(t, h.ticks(60, func() bool { return h.core(left).Commit().Index == 1 }),
		h.picture())
	require.Equal(t, term, h.core(left).Term(), "no leader change was needed")
}

func TestN6BlockOfAnAckerIsAckedAsIfTheLeaderHadSentIt(t *testing.T) {
	l, a := led(t, "a")
	b := l.block(a.End(), "b")
	l.say(4, l.response(4, 1, b.End(), 0))
	l.wait(6)
	asked := messagesOf[*FetchChain](l, 4)
	require.NotEmpty(t, asked)
	require.Equal(t, b.End(), asked[0].Target)
	require.Equal(t, Unasked, l.say(4, &Chain{Blocks: []*Block{b}}), "no leader's ack")
	require.Empty(t, l.acks(3))
	c := l.block(a.End(), "c")
	l.say(3, l.response(3, 1, c.End(), 0))
	l.wait(6)
	leaderAck := l.ack(2, 1, c.End(), 0)
	require.Equal(t, Accepted, l.say(3, &Chain{Blocks: []*Block{c}, LeaderAck: &leaderAck}))
	acks := l.acks(3)
	require.NotEmpty(t, acks)
	require.Equal(t, c.Hash(), acks[0].Hash)
}

func TestN6AckerHandsOutTheBlockWithTheLeadersAck(t *testing.T) {
	l, a := led(t, "a")
	require.Equal(t, Accepted, l.say(4, &FetchChain{Target: a.End()}))
	answers := messagesOf[*Chain](l, 4)
	require.Len(t, answers, 1)
	require.Equal(t, a.Raw(), answers[0].Blocks[0].Raw())
	require.Equal(t, l.ack(2, 1, a.End(), 0), *answers[0].LeaderAck)
	elsewhere := l.block(l.origin(), "b").End()
	require.Equal(t, Unserved, l.say(4, &FetchChain{Target: elsewhere}))
}

func TestN6CatchUpIsKeptAndNeverAcked(t *testing.T) {
	l := newLab(t, 1)
	a := l.block(l.origin(), "a")
	b := l.block(a.End(), "b")
	l.elect(2, 1, l.genesisLock(), nil)
	l.say(3, &Status{Term: 1, Leader: 2, Tip: b.End(), Commit: b.End()})
	l.wait(12)
	require.NotEmpty(t, messagesOf[*FetchCommitted](l, 3))
	m := &Committed{Blocks: []*Block{a, b}, Commit: l.commit(1, b.End())}
	require.Equal(t, Accepted, l.say(3, m))
	require.Equal(t, b.End(), l.m.core.Commit())
	require.Empty(t, l.acks(2))
	require.Equal(t, Duplicate, l.say(3, m))
	short := &Committed{Blocks: []*Block{l.block(b.End(), "c")}, Commit: l.commit(1, b.End())}
	require.Equal(t, BrokenChain, l.say(3, short), "the certificate does not cover the block")
}

// The chain of helpers: who caught up from another can help a third in the same way, although it
// holds no certificate but the newest.
func TestN6CaughtUpNodeHelpsOthersToCatchUp(t *testing.T) {
	for _, blocks := range []int{20, 300} {
		h := newHarness(t, 4, nil)
		h.crash(h.node(4), 0)
		require.True(t, h.ticks(400, func() bool { return h.leader() != 0 }))
		for range blocks {
			require.True(t, h.ticks(60, func() bool { return h.propose(h.leader(), "a") }))
		}
		require.True(t, h.ticks(60, func() bool { return h.allCommitted(Index(blocks)) }))
		h.route = func(f frame) {
			if f.from == 1 && f.to == 4 || f.from == 4 && f.to == 1 {
				h.put(f) // only the two hear each other
			}
		}
		h.start(h.node(4))
		require.True(t, h.ticks(300, func() bool { return h.allCommitted(Index(blocks)) }),
			h.picture())
		h.crash(h.node(3), 99)
		third := h.newMember(3, nil)
		h.members[2] = third
		h.route = func(f frame) {
			if f.from == 3 && f.to == 4 || f.from == 4 && f.to == 3 {
				h.put(f)
			}
		}
		h.start(third)
		require.True(t, h.ticks(300, func() bool { return h.allCommitted(Index(blocks)) }),
			h.picture())
	}
}

// The receiver must be able to store the certificate and to help others with it in turn: otherwise
// the way from its blocks to its only certificate grows beyond what a message may carry.
func TestN6CatchUpEndsAtACertificateWhereThereIsOne(t *testing.T) {
	l := newLab(t, 1)
	var blocks []*Block
	at := l.origin()
	for range 300 {
		b := l.block(at, "a")
		blocks, at = append(blocks, b), b.End()
	}
	for _, part := range [][]*Block{blocks[:250], blocks[250:]} {
		end := part[len(part)-1].End()
		require.Equal(t, Accepted, l.say(3, &Committed{Blocks: part, Commit: l.commit(1, end)}))
	}
	l.take()
	require.Equal(t, Accepted, l.say(4, &FetchCommitted{After: l.origin()}))
	answer := messagesOf[*Committed](l, 4)[0]
	require.Len(t, answer.Blocks, 250)
	require.Equal(t, Index(250), answer.Commit.Index)
	require.Empty(t, answer.Bridge)
}
