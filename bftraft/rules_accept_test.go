package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/quorumcert"
)

func TestA1OnlyTheElectedLeaderOfTheTermIsFollowed(t *testing.T) {
	l := newLab(t, 1)
	a := l.block(l.origin(), "x")
	require.Equal(t, NoElection, l.say(2, l.proposal(2, 1, a.End(), a)))
	require.Empty(t, l.acks(3))
	require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
	require.Equal(t, NotLeader, l.say(3, l.proposal(3, 1, a.End(), a)))
	require.Empty(t, l.acks(3))
	require.Equal(t, FutureTerm, l.say(3, l.proposal(3, 2, a.End(), a)), "no proof of term 2")
	require.Equal(t, Term(1), l.m.core.Term())
	m := l.proposal(3, 3, a.End(), a)
	m.Election = l.ec(3, 3, l.genesisLock())
	require.Equal(t, Accepted, l.say(3, m), "the election moves the node up")
	require.Equal(t, Term(3), l.m.core.Term())
	require.Len(t, l.acks(2), 1)
	require.Equal(t, Stale, l.say(2, l.proposal(2, 1, a.End(), a)))
	require.Empty(t, l.acks(2))
}

func TestA1ElectionMustBeAQuorumsAndTheSigners(t *testing.T) {
	l := newLab(t, 1)
	a := l.block(l.origin(), "x")
	m := l.proposal(2, 1, a.End(), a)
	m.Election = l.ec(1, 2, l.genesisLock())
	m.Election.Signers = m.Election.Signers.Without(4)
	m.Election.Sigs = m.Election.Sigs[:2]
	require.Equal(t, BadCertificate, l.say(2, m))
	m = l.proposal(2, 1, a.End(), a)
	m.Election = l.ec(1, 3, l.genesisLock())
	require.Equal(t, NoElection, l.say(2, m), "another's election")
	require.Empty(t, l.acks(3))
}

// based returns a lab that follows node 3 in term 2, whose base is the end of block b, while the
// node holds a and, as its lock of term 1, c behind it; b follows a too.
func based(t *testing.T) (l *lab, a, b, c *Block) {
	l, a = led(t, "a")
	c = l.block(a.End(), "c")
	l.say(2, l.proposal(2, 1, c.End(), c))
	l.say(3, l.response(3, 1, c.End(), 0))
	l.say(4, l.response(4, 1, c.End(), 0))
	require.Equal(t, lockAt(1, c), l.m.core.State().Lock)
	b = l.block(a.End(), "b")
	return l, a, b, c
}

func TestA2NothingIsAckedBelowTheBase(t *testing.T) {
	l, a := locked(t, "a")
	b := l.block(a.End(), "b")
	l.say(2, l.proposal(2, 1, b.End(), b))
	l.say(3, l.response(3, 1, b.End(), 0))
	l.say(4, l.response(4, 1, b.End(), 0))
	require.Equal(t, lockAt(1, b), l.m.core.State().Lock)
	l.elect(3, 2, lockAt(1, b), l.qc(1, b.End()))
	l.take()
	require.Equal(t, BadBase, l.say(3, l.proposal(3, 2, a.End())))
	require.Empty(t, l.acks(2))
	require.Equal(t, Accepted, l.say(3, l.proposal(3, 2, b.End())))
	require.Len(t, l.acks(2), 1)
}

func TestA2SuffixIsReplacedInOneStepOnceTheBaseIsThere(t *testing.T) {
	l, a, b, c := based(t)
	l.elect(3, 2, lockAt(1, b), l.qc(1, b.End()))
	l.take()
	d := l.block(b.End(), "d")
	require.Equal(t, MissingBlocks, l.say(3, l.proposal(3, 2, d.End(), d)), "the base is missing")
	require.Equal(t, c.End(), l.m.core.State().Tip, "until then nothing is removed")
	require.Equal(t, lockAt(1, c), l.m.core.State().Lock)
	asked := messagesOf[*FetchChain](l, 3)
	require.Len(t, asked, 1)
	require.Equal(t, b.End(), asked[0].Target)
	require.Equal(t, Accepted, l.say(4, &Chain{Blocks: []*Block{a, b}}))
	require.Equal(t, d.End(), l.m.core.State().Tip)
	require.Equal(t, lockAt(1, b), l.m.core.State().Lock, "the lock is the base")
	acks := l.acks(2)
	require.Len(t, acks, 1)
	require.Equal(t, Index(3), acks[0].Index)
}

func TestA2LeaderWhoseChainLacksItsBaseIsNotFollowed(t *testing.T) {
	l, _, b, c := based(t)
	l.elect(3, 2, lockAt(1, b), l.qc(1, b.End()))
	l.take()
	require.Equal(t, BadBase, l.say(3, l.proposal(3, 2, c.End())), "on the chain, beside the base")
	d := l.block(c.End(), "d")
	require.Equal(t, BadBase, l.say(3, l.proposal(3, 2, d.End(), d)))
	require.Empty(t, l.acks(2))
	require.Equal(t, lockAt(1, c), l.m.core.State().Lock)
}

func TestA2LockAboveTheBaseStaysWhileItsEntriesDo(t *testing.T) {
	l, a, _, c := based(t)
	l.elect(3, 2, lockAt(1, a), l.qc(1, a.End()))
	require.Equal(t, Accepted, l.say(3, l.proposal(3, 2, c.End())))
	require.Equal(t, lockAt(1, c), l.m.core.State().Lock)
	e := l.block(a.End(), "e")
	require.Equal(t, Conflict, l.say(3, l.proposal(3, 2, e.End(), e)), "acked in this term")
	d := l.block(c.End(), "d")
	require.Equal(t, Accepted, l.say(3, l.proposal(3, 2, d.End(), d)))
	require.Equal(t, lockAt(1, c), l.m.core.State().Lock)
}

func TestA2LockOfTheTermIsNotLoweredByItsElection(t *testing.T) {
	l, a := led(t, "a")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	c := l.block(a.End(), "c")
	l.say(4, &Proof{TermProof: TermProof{QC: l.qc(2, c.End())}})
	l.say(4, &Chain{Blocks: []*Block{c}})
	require.Equal(t, lockAt(2, c), l.m.core.State().Lock, "certified in term 2")
	require.Zero(t, l.m.core.Leader())
	b := l.block(a.End(), "b")
	m := l.proposal(3, 2, b.End(), b) // and no Ready before it, in which the lock would be acked
	m.Election, m.BaseQC = l.ec(2, 3, lockAt(1, a)), l.qc(1, a.End())
	require.Equal(t, Conflict, l.hand(frame{from: 3, to: 1, msg: m, raw: Encode(m)}))
	require.NotEqual(t, Term(2), l.m.core.State().Mark.Term)
	l.work(l.m)
	require.Equal(t, lockAt(2, c), l.m.core.State().Lock)
	require.Equal(t, c.End(), l.m.core.State().Tip)
}

func TestA3FollowerSaysWhereItIsAndTheLeaderGoesBack(t *testing.T) {
	l, a := led(t, "a")
	var blocks []*Block
	at := a.End()
	for range 5 {
		b := l.block(at, "b")
		blocks, at = append(blocks, b), b.End()
	}
	last := blocks[4]
	require.Equal(t, MissingBlocks, l.say(2, l.proposal(2, 1, last.End(), last)))
	asked := messagesOf[*FetchChain](l, 2)
	require.Len(t, asked, 1)
	require.Equal(t, blocks[3].End(), asked[0].Target)
	require.Equal(t, Unasked, l.say(2, &Chain{Blocks: blocks[:2]}), "not what was asked")
	require.Equal(t, Accepted, l.say(2, &Chain{Blocks: blocks[2:4]}))
	asked = messagesOf[*FetchChain](l, 2)
	require.Len(t, asked, 1, "another range")
	require.Equal(t, blocks[1].End(), asked[0].Target)
	require.Empty(t, l.acks(3))
	require.Equal(t, Accepted, l.say(2, &Chain{Blocks: blocks[:2]}))
	acks := l.acks(3)
	require.Len(t, acks, 1)
	require.Equal(t, last.Hash(), acks[0].Hash)
}

func TestA4WhatWasAckedIsFrozenAndBeyondItIsNot(t *testing.T) {
	l, a := locked(t, "a")
	tail := l.block(a.End(), "tail")
	l.say(2, l.proposal(2, 1, tail.End(), tail))
	l.elect(3, 2, lockAt(1, a), l.qc(1, a.End()))
	require.Equal(t, Accepted, l.say(3, l.proposal(3, 2, a.End())))
	l.take()
	b := l.block(a.End(), "b")
	require.Equal(t, Accepted, l.say(3, l.proposal(3, 2, b.End(), b)), "beyond it was only a tail")
	require.Equal(t, b.End(), l.m.core.State().Tip)
	require.Len(t, l.acks(2), 1)
	c := l.block(a.End(), "c")
	require.Equal(t, Conflict, l.say(3, l.proposal(3, 2, c.End(), c)))
	require.Equal(t, b.End(), l.m.core.State().Tip)
	require.Empty(t, l.acks(2))
}

func TestA4EquivocationIsProvenStoredAndBroadcast(t *testing.T) {
	l, a := led(t, "a")
	other := l.block(l.origin(), "other")
	deep := l.block(other.End(), "deep")
	require.Equal(t, Conflict, l.say(2, l.proposal(2, 1, deep.End(), other, deep)))
	told := messagesOf[*Accusation](l, 3)
	require.Len(t, told, 1)
	require.Equal(t, NodeID(2), told[0].Evidence.Culprit())
	cfg := l.gate.Configurations().Latest()
	require.NoError(t, told[0].Evidence.Verify(l.cluster, cfg))
	require.Len(t, l.m.disk.evidence, 1)
	l.wait(1)
	require.Equal(t, CauseProof, l.m.core.State().Suspects)
	witness := newLab(t, 4)
	require.Equal(t, Accepted, witness.say(1, told[0]))
	require.Equal(t, quorumcert.SetOf(2), witness.m.core.State().Faulty)
	require.Len(t, messagesOf[*Accusation](witness, 3), 1, "passed on")
	require.Equal(t, Duplicate, witness.say(1, told[0]))
	require.Equal(t, a.End(), l.m.core.State().Tip)
}

// Equivocation towards others shows as soon as both halves are seen: with the own chain, and with
// what an acker hands over.
func TestA4EquivocationTowardsOthersIsFound(t *testing.T) {
	l, _ := led(t, "a")
	other := l.block(l.origin(), "other")
	l.say(4, l.response(4, 1, other.End(), 0))
	l.wait(12)
	asked := messagesOf[*FetchChain](l, 4)
	require.NotEmpty(t, asked, "what an honest node acked must be somewhere")
	leaderAck := l.ack(2, 1, other.End(), 0)
	require.Equal(t, Conflict, l.say(4, &Chain{Blocks: []*Block{other}, LeaderAck: &leaderAck}))
	require.Equal(t, quorumcert.SetOf(2), l.m.core.State().Faulty)
}

func TestA4FalseAccusationsProveNothing(t *testing.T) {
	l, a := led(t, "a", "b")
	b := l.block(a.End(), "c")
	x, y := l.ack(3, 1, a.End(), 0), l.ack(3, 1, b.End(), 2)
	for name, e := range map[string]*quorumcert.AckConflict{
		"one chain": {A: x, B: y, Headers: []quorumcert.Header{a.Header(), b.Header()}},
		"no blocks": {A: x, B: y},
		"two terms": {A: x, B: l.ack(3, 2, l.block(l.origin(), "z").End(), 0)},
		"two nodes": {A: x, B: l.ack(4, 1, y0(l), 0)},
	} {
		m := &Accusation{Evidence: quorumcert.Evidence{Acks: e}}
		require.Equal(t, NoProof, l.say(4, m), name)
	}
	require.Zero(t, l.m.core.State().Faulty)
}

// y0 is some other first position.
func y0(l *lab) Position { return l.block(l.origin(), "elsewhere").End() }

// A node that restarts at any point signs nothing that contradicts what it signed before: here it
// loses power before, after and within the Ready that acks.
func TestA4RestartedHonestNodeIsNeverAccused(t *testing.T) {
	for _, point := range []cutPoint{cutBeforeSave, cutAfterSave, cutWhileSending} {
		l := newLab(t, 1)
		witness := newLab(t, 4)
		l.elect(2, 1, l.genesisLock(), nil)
		witness.elect(2, 1, l.genesisLock(), nil)
		a, b := l.block(l.origin(), "a"), l.block(l.origin(), "b")
		l.cut = func(*member) cutPoint { return point }
		l.say(2, l.proposal(2, 1, a.End(), a))
		l.cut = nil
		require.Nil(t, l.m.core)
		l.start(l.m)
		l.elect(2, 1, l.genesisLock(), nil)
		l.say(2, l.proposal(2, 1, b.End(), b))
		l.wait(50)
		for _, f := range l.take() {
			if m, ok := f.msg.(*AppendEntriesResponse); ok && f.to == 4 {
				witness.say(1, m)
			}
		}
		witness.say(2, witness.proposal(2, 1, b.End(), b))
		witness.say(3, &Chain{Blocks: []*Block{a}})
		require.False(t, witness.m.core.State().Faulty.Has(1), "cut %d", point)
		want := b.End()
		if point != cutBeforeSave {
			want = a.End()
		}
		require.Equal(t, want, l.m.core.State().Tip, "cut %d", point)
	}
}

func TestA5BlockAgainstACommittedEntryIsRefused(t *testing.T) {
	l, a := commitOne(t, "a")
	l.elect(3, 2, lockAt(1, a), l.qc(1, a.End()))
	l.take()
	b := l.block(l.origin(), "b")
	require.Equal(t, Conflict, l.say(3, l.proposal(3, 2, b.End(), b)))
	c := l.block(b.End(), "c")
	require.NotEqual(t, Accepted, l.say(3, l.proposal(3, 2, c.End(), b, c)))
	require.Empty(t, l.acks(2))
	require.Equal(t, a.End(), l.m.core.State().Tip)
	require.NoError(t, l.m.core.Err())
	require.Zero(t, l.m.core.State().Faulty, "one ack of the term is no proof")
}

// What was caught up is committed, though it was never acked here.
func TestA5CommittedEntryOfTheTermIsNotReplacedEither(t *testing.T) {
	l := newLab(t, 1)
	a := l.block(l.origin(), "a")
	l.elect(3, 2, l.genesisLock(), nil)
	l.say(4, &Committed{Blocks: []*Block{a}, Commit: l.commit(2, a.End())})
	require.Equal(t, a.End(), l.m.core.Commit())
	b := l.block(l.origin(), "b")
	c := l.block(b.End(), "c")
	require.Equal(t, Conflict, l.say(3, l.proposal(3, 2, c.End(), b, c)))
	require.Equal(t, a.End(), l.m.core.State().Tip)
}

func TestA5CertificateAgainstACommittedEntryStopsTheNode(t *testing.T) {
	for name, break5 := range map[string]func(l *lab, other *Block){
		"base": func(l *lab, other *Block) { l.elect(3, 2, lockAt(1, other), l.qc(1, other.End())) },
		"low base": func(l *lab, _ *Block) {
			l.elect(3, 2, l.genesisLock(), nil)
		},
		"certificate": func(l *lab, other *Block) {
			l.say(3, &Proof{TermProof: TermProof{QC: l.qc(2, other.End())}})
		},
		"commit": func(l *lab, other *Block) {
			l.say(3, &Committed{Blocks: []*Block{other}, Commit: l.commit(2, other.End())})
			l.say(3, &Proof{TermProof: TermProof{Commit: l.commit(2, other.End())}})
		},
	} {
		l, a := commitOne(t, "a")
		l.take()
		l.m.honest = false // the harness would not let an honest node stop
		break5(l, l.block(l.origin(), "other"))
		require.ErrorIs(t, l.m.core.Err(), ErrBroken, name)
		b := l.block(a.End(), "b")
		l.say(2, l.proposal(2, 1, b.End(), b))
		l.wait(200)
		require.Empty(t, l.take(), "%s: it says nothing more", name)
	}
}

// An honest leader of an earlier term may have a tail that was never committed.
func TestA5CertificateOfAnEarlierTermDoesNotStopTheNode(t *testing.T) {
	l := newLab(t, 1)
	a := l.block(l.origin(), "a")
	l.elect(2, 2, l.genesisLock(), nil)
	l.say(2, l.proposal(2, 2, a.End(), a))
	l.say(3, l.response(3, 2, a.End(), 0))
	l.say(4, l.response(4, 2, a.End(), 1))
	l.say(3, l.response(3, 2, a.End(), 1))
	require.Equal(t, a.End(), l.m.core.Commit())
	other := l.block(l.origin(), "other")
	l.say(3, &Proof{TermProof: TermProof{QC: l.qc(1, other.End())}})
	l.say(3, &Proof{TermProof: TermProof{EC: l.ec(1, 4, l.genesisLock())}})
	require.NoError(t, l.m.core.Err())
}

func TestA4BlocksFarAheadOfTheCommitAreRefused(t *testing.T) {
	l, a := led(t, "a")
	at, limit := a.End(), 2*l.m.cfg.MaxUncommitted
	for range limit - 1 {
		b := l.block(at, "b")
		require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), b)))
		at = b.End()
	}
	b := l.block(at, "b")
	require.Equal(t, TooFarAhead, l.say(2, l.proposal(2, 1, b.End(), b)), "nothing was committed")
	require.Equal(t, at, l.m.core.State().Tip)
}
