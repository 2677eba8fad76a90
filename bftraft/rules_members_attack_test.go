package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// commitOf is the commit certificate of a position by some.
func (l *lab) commitOf(t Term, at Position, ids ...NodeID) *quorumcert.Commit {
	cc := &quorumcert.Commit{Term: t, Index: at.Index, Hash: at.Hash}
	var sigs quorumcert.Collector
	for _, id := range ids {
		sigs.Add(id, l.ack(id, t, at, at.Index).Sig)
		cc.Acks = append(cc.Acks, quorumcert.AckedAt{Index: at.Index, Certified: at.Index})
	}
	cc.Signatures = sigs.Take(^Set(0))
	return cc
}

// closingOf returns a closing entry behind a block, with its certificates by all but node 1.
func (l *lab) closingOf(last *Block) (*Block, *quorumcert.QC, *quorumcert.Commit) {
	k := NewBlock(last.End(), []Entry{{Kind: EntryClosing}})
	ids := []NodeID{2, 3, 4, 5, 6, 7, 8}
	return k, l.certifiedBy(1, k.End(), ids...), l.commitOf(1, k.End(), ids...)
}

// elects shows the core an election with its base.
func (l *lab) elects(ec *quorumcert.EC, qc *quorumcert.QC) Drop {
	return l.say(ec.Leader, &Proof{TermProof: TermProof{EC: ec, BaseQC: qc}})
}

// TestJ3ElectionByReplacedVotersIsForgotten: who was shown it before it knew of the change follows
// the leader whom the new voters elect, and does not take it for proof of more than f liars when it
// starts again.
func TestJ3ElectionByReplacedVotersIsForgotten(t *testing.T) {
	l, last := joint(t)
	k, qc, cc := l.closingOf(last)
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, k.End(), k)))
	require.Equal(t, Accepted, l.elects(l.electedBy(3, 4, lockAt(1, k), 2, 3, 4), qc))
	require.Equal(t, NodeID(4), l.m.core.Leader())
	require.Equal(t, Accepted, l.say(5, &Committed{Blocks: []*Block{k}, Commit: cc}))
	require.Zero(t, l.m.core.Leader(), "the old voters alone elect nobody on it")
	require.Equal(t, Accepted, l.elects(l.electedBy(3, 5, lockAt(1, k), 5, 6, 7, 8), qc))
	require.Equal(t, NodeID(5), l.m.core.Leader())

	l, last = joint(t)
	k, qc, cc = l.closingOf(last)
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, k.End(), k)))
	require.Equal(t, Accepted, l.elects(l.electedBy(3, 4, lockAt(1, k), 2, 3, 4), qc))
	require.Equal(t, Accepted, l.say(5, &Committed{Blocks: []*Block{k}, Commit: cc}))
	next := NewBlock(k.End(), []Entry{commitEntry(cc)})
	require.Equal(t, Accepted, l.say(5, &Committed{Blocks: []*Block{next},
		Commit: l.commitOf(2, next.End(), 5, 6, 7, 8)}))
	require.NoError(t, l.m.core.Err())
	l.crash(l.m, 1000)
	l.start(l.m)
	require.NoError(t, l.m.core.Err())
	require.Equal(t, next.End(), l.m.core.Commit())
}

// TestJ2LockOfTheOldVotersAloneIsNotTaken: neither with the blocks of a leader, nor voted for.
func TestJ2LockOfTheOldVotersAloneIsNotTaken(t *testing.T) {
	l, last := joint(t)
	k, _, _ := l.closingOf(last)
	few := l.certifiedBy(1, k.End(), 2, 3, 4)
	all := l.electedBy(2, 4, lockAt(1, k), 2, 3, 4, 5, 6, 7, 8)
	require.Equal(t, Accepted, l.elects(all, few))
	require.Equal(t, BadBase, l.say(4, l.proposal(4, 2, k.End(), k)))
	require.Less(t, l.m.core.lock.Index, k.Last())

	l, last = joint(t)
	k, qc, _ := l.closingOf(last)
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, k.End(), k)))
	require.Equal(t, Accepted, l.say(2, &Proof{TermProof: TermProof{TC: l.tc(1)}}))
	ask := func(qc *quorumcert.QC) Drop {
		return l.say(3, &RequestVote{Term: 2, Lock: lockAt(1, k), LockQC: qc, TC: l.tc(1)})
	}
	require.Equal(t, BadBase, ask(l.certifiedBy(1, k.End(), 2, 3, 4)))
	require.Equal(t, Accepted, ask(qc))
}

// TestChangesLeaveRoomForWhatClosesThem: a closing entry that may not come into force would stop
// all.
func TestChangesLeaveRoomForWhatClosesThem(t *testing.T) {
	l := newChangeLab(t)
	m := *l.m.core.gate.members
	at := func(number uint64, bytes int, steps ...ChangeStep) error {
		m.Number, m.Bytes = number-1, bytes
		_, err := m.After(&Change{Number: number, Replaces: m.At, Steps: steps})
		return err
	}
	require.NoError(t, at(MaxChanges-1, 0, dismisses(4)))
	require.ErrorIs(t, at(MaxChanges, 0, dismisses(4)), ErrChangeLimit)
	require.NoError(t, at(MaxChanges, 0, joins(5)), "which needs no more")
	require.ErrorIs(t, at(2, MaxChangesBytes-MaxChangeBytes, dismisses(4)), ErrChangeLimit)
	require.NoError(t, at(2, MaxChangesBytes-MaxChangeBytes, joins(5)))
}

// certifiedByFew returns a lab whose node lacks the blocks of a certificate that old voters alone
// have made behind a change of which it has not heard: what proves the change, and the blocks.
func certifiedByFew(t *testing.T) (l *lab, change *ChangeProof, proof, b *Block) {
	t.Helper()
	l, last := joint(t)
	k, _, cc := l.closingOf(last)
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, k.End(), k)))
	proof = NewBlock(k.End(), []Entry{commitEntry(cc)})
	b = l.block(proof.End(), "z")
	few := l.certifiedBy(1, b.End(), 2, 3, 4)
	require.Equal(t, Accepted, l.say(4, &Proof{TermProof: TermProof{QC: few}}))
	return l, newChangeProof(k, cc), proof, b
}

// TestCertificatesAreJudgedByAChangeOneIsToldOf: what waits for its entries is judged again.
func TestCertificatesAreJudgedByAChangeOneIsToldOf(t *testing.T) {
	l, change, proof, b := certifiedByFew(t)
	c := l.m.core
	require.NotNil(t, c.pending)
	require.Equal(t, Accepted, l.say(5, &Changes{List: []*ChangeProof{change}}))
	require.Equal(t, proof.Before(), c.commit, "it had all but the commit")
	require.Nil(t, c.pending)
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), proof, b)))
	require.Equal(t, Accepted, c.gate.verifyQC(c.lockQC))
	require.Less(t, c.lock.Index, b.Last(), "three of five are no quorum behind the change")
}

// toldOfAChange returns a lab whose node has the joint entry, which it returns, and a lock behind
// it, and was told of the closing entry before it has got so far.
func toldOfAChange(t *testing.T) (*lab, *Block) {
	t.Helper()
	l, last := joint(t)
	c := l.m.core
	y := l.block(last.End(), "y")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, y.End(), y)))
	for _, id := range []NodeID{2, 3, 4} {
		l.say(id, l.response(id, 1, y.End(), 0))
	}
	require.Equal(t, lockAt(1, y), c.lock)
	k, _, cc := l.closingOf(y)
	require.Equal(t, Accepted, l.say(5, &Changes{List: []*ChangeProof{newChangeProof(k, cc)}}))
	require.Greater(t, c.gate.members.At.Index, c.commit.Index)
	return l, last
}

// TestJ5RetiredKeysStopNobodyWhoIsBehind: a node that was told of a change, and has not got so far,
// is not stopped by what those have signed since whom it took away.
func TestJ5RetiredKeysStopNobodyWhoIsBehind(t *testing.T) {
	l, last := toldOfAChange(t)
	c := l.m.core
	require.Same(t, c.configs().Latest(), c.electionConfig(), "it elects by what it knows")
	forged := l.block(last.End(), "forged")
	certificate := l.commitOf(1, forged.End(), 2, 3, 4)
	m := &Committed{Blocks: []*Block{forged}, Commit: certificate}
	require.Equal(t, Conflict, l.say(5, m))
	require.False(t, c.MayInstall(certificate))
	require.NoError(t, c.Err())
}

// TestJ5RetiredKeysElectNobodyWhoIsBehind: a candidate that was told of a change, and has not got
// so far, does not count those whom it took away.
func TestJ5RetiredKeysElectNobodyWhoIsBehind(t *testing.T) {
	l, _ := toldOfAChange(t)
	c := l.m.core
	for _, id := range []NodeID{5, 6, 7, 8} {
		l.say(id, l.suspect(id, 1))
	}
	l.stand()
	require.Equal(t, Term(2), c.term)
	for _, id := range []NodeID{2, 3, 4} {
		l.say(id, l.vote(id, 2, 1, c.vote.Lock))
	}
	require.Nil(t, c.election)
}

// TestJ5RetiredKeysCommitNothingAtWhoIsBehind: a node that was told of a change, and has something
// else in its place, does not count those whom the change took away.
func TestJ5RetiredKeysCommitNothingAtWhoIsBehind(t *testing.T) {
	l, last := joint(t)
	c := l.m.core
	y := l.block(last.End(), "y")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, y.End(), y)))
	k, _, cc := l.closingOf(last)
	require.Equal(t, Accepted, l.say(5, &Changes{List: []*ChangeProof{newChangeProof(k, cc)}}))
	for _, id := range []NodeID{5, 6, 7, 8} {
		l.say(id, l.suspect(id, 1))
	}
	require.Equal(t, Term(2), c.term)
	lock := c.lock
	for _, id := range []NodeID{2, 3, 4} {
		l.say(id, l.response(id, 2, y.End(), y.Last()))
	}
	require.Equal(t, lock, c.lock)
	require.Less(t, c.commit.Index, y.Last())
}

// TestJ5RetiredKeysCertifyNoCheckpoint: one that this node has not said itself might stop it.
func TestJ5RetiredKeysCertifyNoCheckpoint(t *testing.T) {
	l, k := closed(t)
	c := l.m.core
	at := c.log.tail[0].End()
	require.Less(t, at.Index, k.Last())
	certified := func(state Digest) *StableCheckpoint {
		cp := quorumcert.Checkpoint{Cluster: l.cluster, Index: at.Index, Hash: at.Hash, State: state,
			Sessions: Digest{2}, Configuration: c.configs().Behind(at.Index).Entry()}
		st := &quorumcert.Stable{Checkpoint: cp}
		var sigs quorumcert.Collector
		for id := NodeID(2); id <= 4; id++ {
			sigs.Add(id, quorumcert.Sign(fakeSigner{id}, cp))
		}
		st.Signatures = sigs.Take(^Set(0))
		return &StableCheckpoint{Stable: st}
	}
	require.Equal(t, Stale, l.say(5, certified(Digest{1})))
	require.Nil(t, c.stable)
	c.Certify(certified(Digest{1}).Stable.Checkpoint)
	require.Equal(t, Stale, l.say(5, certified(Digest{9})))
	require.Equal(t, Accepted, l.say(5, certified(Digest{1})), "a late one is welcome")
}

// TestJ5LeavingVotersCertifyNoCheckpoint: they are listened to for a while, and their keys count
// for nothing any more.
func TestJ5LeavingVotersCertifyNoCheckpoint(t *testing.T) {
	l, k := closed(t)
	c := l.m.core
	at := c.log.tail[0].End()
	require.Less(t, at.Index, k.Last())
	vote := func(id NodeID, state Digest) *CheckpointVote {
		cp := quorumcert.Checkpoint{Cluster: l.cluster, Index: at.Index, Hash: at.Hash, State: state,
			Sessions: Digest{2}, Configuration: c.configs().Behind(at.Index).Entry()}
		return &CheckpointVote{quorumcert.SignedCheckpoint{
			Checkpoint: cp, Signer: id, Sig: quorumcert.Sign(fakeSigner{id}, cp)}}
	}
	for id := NodeID(2); id <= 4; id++ {
		require.Equal(t, Accepted, l.say(id, vote(id, Digest{1})))
	}
	require.Nil(t, c.stable)
	c.Certify(vote(1, Digest{1}).Checkpoint.Checkpoint)
	require.NotNil(t, c.stable, "it says so itself")
}

// TestJ4WhoLeavesIsToldThoughAnotherChangeFollowsAtOnce: that one has forgotten about it.
func TestJ4WhoLeavesIsToldThoughAnotherChangeFollowsAtOnce(t *testing.T) {
	l, k := closed(t)
	c := l.m.core
	cc := &c.gate.changes[len(c.gate.changes)-1].Commit
	l.seq++
	next := c.gate.Entry(carried(l.cluster, fakeClient, l.seq, changeOn(c.gate, joins(9))))
	b := NewBlock(k.End(), []Entry{commitEntry(cc), next})
	l.take()
	require.Equal(t, Accepted, l.say(5, &Committed{Blocks: []*Block{b},
		Commit: l.commitOf(1, b.End(), 5, 6, 7, 8)}))
	require.Len(t, messagesOf[*Committed](l, 2), 2, "the change, and what is beyond it")
	require.True(t, c.gate.members.Left(fakePublic(2)))
	require.Zero(t, c.gate.nodes&quorumcert.SetOf(2, 3, 4))
}

// TestChangesAreToldInParts: who lacks more than fits is told the rest next.
func TestChangesAreToldInParts(t *testing.T) {
	l, k := closed(t)
	c := l.m.core
	cc := &c.gate.changes[len(c.gate.changes)-1].Commit
	proof := NewBlock(k.End(), []Entry{commitEntry(cc)})
	l.say(5, &Committed{Blocks: []*Block{proof}, Commit: l.commitOf(1, proof.End(), 5, 6, 7, 8)})
	l.wait(40)
	l.take()
	status := &Status{Term: 1, Tip: l.origin(), Lock: l.genesisLock(), Commit: l.origin()}
	l.say(5, status)
	told := messagesOf[*Changes](l, 5)
	require.Len(t, told, 1)
	require.Len(t, told[0].List, 3)
	require.Zero(t, c.peers[5].toldUpTo, "should it be lost, all is told again")
	c.peers[5].toldUpTo = told[0].List[0].Header.Last // as if no more had fitted
	l.say(5, status)
	require.Empty(t, messagesOf[*Changes](l, 5), "not at once")
	l.wait(40)
	l.take()
	l.say(5, status)
	told = messagesOf[*Changes](l, 5)
	require.Len(t, told, 1)
	require.Len(t, told[0].List, 2, "the rest")
}

// TestJ2ClosingEntryTakesBothQuorumsHoweverItIsLearned: what the old voters alone have signed lets
// nobody take over, in whatever message it comes.
func TestJ2ClosingEntryTakesBothQuorumsHoweverItIsLearned(t *testing.T) {
	fresh := func(onChain bool) (*lab, *Block, *quorumcert.Commit) {
		l, last := joint(t)
		k, _, _ := l.closingOf(last)
		if onChain {
			require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, k.End(), k)))
		}
		return l, k, l.commitOf(1, k.End(), 2, 3, 4)
	}
	l, k, few := fresh(false)
	require.Equal(t, BadCertificate, l.say(2, &Committed{Blocks: []*Block{k}, Commit: few}))
	_, err := l.m.core.gate.After(newChangeProof(k, few))
	require.ErrorIs(t, err, ErrChangeProof)
	require.Equal(t, NoProof, l.say(2, &Changes{List: []*ChangeProof{newChangeProof(k, few)}}))
	require.Less(t, l.m.core.commit.Index, k.Last())

	l, k, few = fresh(true)
	l.say(2, &Proof{TermProof: TermProof{Commit: few}})
	require.Less(t, l.m.core.commit.Index, k.Last())
	l.say(2, &Proof{TermProof: TermProof{QC: l.certifiedBy(1, k.End(), 2, 3, 4)}})
	require.Less(t, l.m.core.lock.Index, k.Last())
	next := unjudged(t, NewBlock(k.End(), []Entry{commitEntry(few)}))
	require.Equal(t, InvalidEntry, l.say(2, l.proposal(2, 1, next[0].End(), next...)))
	require.Less(t, l.m.core.commit.Index, k.Last())
	require.True(t, l.m.core.gate.members.Joint())
}

// TestJ2IncomingVotersVouchForNothingYet: neither for results nor for how far a read must look.
func TestJ2IncomingVotersVouchForNothingYet(t *testing.T) {
	l, last := joint(t)
	cs := l.m.core.configs()
	r := &BlockReply{Client: fakePublic(fakeClient), Session: 1, Sequence: 1, Leaves: 1}
	r.Reply = quorumcert.Reply{Cluster: l.cluster, Configuration: cs.Latest().Entry(),
		Index: last.Last(), Hash: last.Hash(), Results: crypto.MerkleRoot([]Digest{r.Leaf()})}
	read := &ReadReply{Lock: l.genesisLock(), Configuration: cs.Latest().Entry()}
	for id := NodeID(1); id <= 8; id++ {
		r.Signer, r.Sig = id, quorumcert.Sign(fakeSigner{id}, r.Reply)
		read.Sign(fakeSigner{id}, l.cluster, nil)
		if id <= 4 {
			require.NoError(t, r.Verify(l.cluster, cs), "node %d", id)
			require.NoError(t, read.VerifyStatement(l.cluster, cs, nil), "node %d", id)
			continue
		}
		require.ErrorIs(t, r.Verify(l.cluster, cs), ErrClientMessage, "node %d", id)
		require.ErrorIs(t, read.VerifyStatement(l.cluster, cs, nil), ErrClientMessage, "node %d", id)
	}
	ch := changeOn(l.gate, joins(5))
	ch.AddReady(SignReady(l.cluster, ch, fakeHolder(1)))
	require.ErrorIs(t, l.gate.MayChange(fakePublic(fakeClient), ch), ErrChangeNotReady,
		"where no voters change nobody is asked to be ready")
}
