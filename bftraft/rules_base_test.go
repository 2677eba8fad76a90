package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/quorumcert"
)

// dropLog lets go of the log up to a position, in storage and then in the core.
func (l *lab) dropLog(upTo Position) {
	require.True(l.t, l.m.core.MayDropLog(upTo))
	l.m.disk.drop(upTo)
	l.m.synced = l.m.disk.clone()
	l.m.unsynced = nil
	l.m.core.DropLog(upTo)
}

// install puts a state that cc proves committed in the place of the log.
func (l *lab) install(cc *quorumcert.Commit, convicted ...quorumcert.Evidence) {
	require.True(l.t, l.m.core.MayInstall(cc))
	hard := l.m.core.Install(cc, nil)
	l.m.core.Convict(convicted)
	at := Position{cc.Index, cc.Hash}
	l.m.disk = &disk{hard: hard, base: at, commits: []*quorumcert.Commit{cc},
		evidence: l.m.disk.evidence}
	l.m.synced, l.m.unsynced, l.m.applied = l.m.disk.clone(), nil, at
	l.chain = nil // of what came before, the harness knows nothing
	l.work(l.m)
}

// grown returns a lab whose core, node 1, follows node 2 in term 2 with base a of term 1, and has
// committed b, c and d in term 2.
func grown(t testing.TB) (l *lab, blocks []*Block) {
	l, a := commitOne(t, "a")
	base := lockAt(1, a)
	require.Equal(t, Accepted, l.elect(2, 2, base, l.qc(1, a.End())))
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 2, a.End())))
	at := a.End()
	for _, op := range []string{"b", "c", "d"} {
		b := l.block(at, op)
		require.Equal(t, Accepted, l.say(2, l.proposal(2, 2, b.End(), b)))
		l.say(3, l.response(3, 2, b.End(), 0))
		l.say(2, l.response(2, 2, b.End(), b.Last()))
		l.say(3, l.response(3, 2, b.End(), b.Last()))
		require.Equal(t, b.End(), l.m.core.Commit())
		blocks, at = append(blocks, b), b.End()
	}
	l.take()
	return l, append([]*Block{a}, blocks...)
}

func TestK1LogGoesOnlyAsFarAsCommitLockAndMark(t *testing.T) {
	l, a := commitOne(t, "a")
	core := l.m.core
	require.True(t, core.MayDropLog(a.End()))
	require.False(t, core.MayDropLog(l.origin()), "there is nothing to drop")
	require.False(t, core.MayDropLog(Position{a.Last(), Digest{1}}), "no such block")
	b := l.block(a.End(), "b")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), b)))
	require.False(t, core.MayDropLog(b.End()), "it is not committed")

	l = newLab(t, 1)
	a = l.block(l.origin(), "a")
	m := &Committed{Blocks: []*Block{a}, Commit: l.commit(1, a.End())}
	require.Equal(t, Accepted, l.say(3, m))
	require.False(t, l.m.core.MayDropLog(a.End()), "no lock says that it was certified")
	require.Equal(t, Accepted, l.say(3, &Proof{TermProof: TermProof{QC: l.qc(1, a.End())}}))
	require.True(t, l.m.core.MayDropLog(a.End()))
}

func TestK1NodeGoesOnWithoutItsOldLog(t *testing.T) {
	l, blocks := grown(t)
	b, c, d := blocks[1], blocks[2], blocks[3]
	require.Equal(t, c.End(), l.m.core.Floor(c.Last()))
	l.dropLog(c.End())
	require.Equal(t, c.End(), l.m.core.Base())
	require.Equal(t, c.End(), l.m.core.Floor(b.Last()))
	goesOn := func(d, e *Block) {
		require.Equal(t, Accepted, l.say(2, l.proposal(2, 2, e.End(), e)), "its base is below")
		require.Contains(t, l.acks(3), quorumcert.Ack{Cluster: l.cluster, Term: 2,
			Index: e.Last(), Hash: e.Hash(), Certified: d.Last()})
		l.say(3, l.response(3, 2, e.End(), 0))
		l.say(2, l.response(2, 2, e.End(), e.Last()))
		l.say(3, l.response(3, 2, e.End(), e.Last()))
		require.Equal(t, e.End(), l.m.core.Commit())
		l.take()
	}
	e := l.block(d.End(), "e")
	goesOn(d, e)
	l.crash(l.m, 99)
	l.start(l.m)
	require.Equal(t, c.End(), l.m.core.Base())
	require.Equal(t, e.End(), l.m.core.Commit())
	goesOn(e, l.block(e.End(), "f"))

	// What lies below is no contradiction, and nothing this node can hand out.
	require.Equal(t, Duplicate, l.say(3, &Proof{TermProof: TermProof{Commit: l.commit(2, b.End())}}))
	require.Equal(t, Unserved, l.say(4, &FetchChain{Target: b.End()}))
	require.Equal(t, Unserved, l.say(4, &FetchCommitted{After: b.End()}))
	require.Equal(t, Accepted, l.say(4, &FetchCommitted{After: c.End()}))
	l.take()
	l.wait(l.m.cfg.HeartbeatTicks)
	said := messagesOf[*Status](l, 4)
	require.NotEmpty(t, said)
	require.Equal(t, c.Last(), said[0].Base)
}

// Blocks that begin below the base and go through it belong to the chain.
func TestK1CatchUpMayBeginBelowTheBase(t *testing.T) {
	l, blocks := grown(t)
	l.dropLog(blocks[2].End())
	e := l.block(blocks[3].End(), "e")
	m := &Committed{Blocks: append(blocks, e), Commit: l.commit(2, e.End())}
	require.Equal(t, Accepted, l.say(4, m))
	require.Equal(t, e.End(), l.m.core.Commit())
}

func TestK1CommitOfAnEarlierBlockIsProvenByALaterOne(t *testing.T) {
	l, a := led(t, "a")
	b := l.block(a.End(), "b")
	c := l.block(b.End(), "c")
	m := &Committed{Blocks: []*Block{b, c}, Commit: l.commit(1, c.End())}
	require.Equal(t, Accepted, l.say(3, m))
	for _, at := range []Position{a.End(), b.End(), c.End()} {
		cc := l.m.core.CommitOf(at)
		require.NotNil(t, cc)
		require.Equal(t, at, Position{cc.Index, cc.Hash})
		require.NoError(t, cc.Verify(l.cluster, l.m.cfg.Verifier.Configurations().For(cc.Index)))
	}
	require.Nil(t, l.m.core.CommitOf(Position{b.Last(), Digest{1}}))
}

func TestK1StateIsWantedOnTheWordOfOneHonestNode(t *testing.T) {
	l, a := commitOne(t, "a")
	status := func(base Index) *Status {
		return &Status{Term: 1, Leader: 2, Tip: l.origin(), Lock: l.genesisLock(),
			Commit: Position{100, Digest{1}}, Base: base}
	}
	l.say(3, status(a.Last()))
	l.say(4, status(50))
	require.False(t, l.m.core.LacksLog(), "one of them may lie")
	l.take()
	l.wait(2 * l.m.cfg.HeartbeatTicks)
	require.Empty(t, messagesOf[*FetchCommitted](l, 4), "it has nothing that follows")
	l.say(3, status(a.Last()+1))
	require.True(t, l.m.core.LacksLog())
	l.say(3, status(a.Last()))
	require.False(t, l.m.core.LacksLog())
}

// far returns a position long after a, and what proves it committed in term t.
func (l *lab) far(t Term) (Position, *quorumcert.Commit) {
	at := Position{1000, Digest{7}}
	return at, l.commit(t, at)
}

// What a node acked in its term may lie on another chain than the state it takes: it must not look
// like an equivocator.
func TestK1NodeThatTakesAStateIsSilentForTheRestOfItsTerm(t *testing.T) {
	l, a := led(t, "a")
	at, cc := l.far(1)
	l.install(cc)
	require.Equal(t, at, l.m.core.Commit())
	require.Equal(t, at, l.m.core.Base())
	require.Equal(t, a.Last(), l.m.core.State().Mark.Index)
	follow := func(term Term) []quorumcert.Ack {
		l.take()
		b := l.block(at, "b")
		l.say(2, l.proposal(2, term, b.End(), b))
		l.say(4, l.response(4, term, b.End(), 0))
		l.wait(3 * l.m.cfg.HeartbeatTicks)
		return l.acks(3)
	}
	require.Empty(t, follow(1))
	l.restart()
	require.Equal(t, at, l.m.core.Commit())
	require.Empty(t, follow(1), "nor after a restart")
	require.Equal(t, Accepted,
		l.elect(2, 2, Lock{Term: 1, Index: at.Index, Hash: at.Hash}, l.qc(1, at)))
	require.NotEmpty(t, follow(2), "in the next term it has not acked anything")
}

// A lock of the term shows that what was acked below it lies on the chain of every certificate of
// that term.
func TestK1NodeGoesOnAckingWhereItsLockShowsThatItMay(t *testing.T) {
	l, a := locked(t, "a")
	at, cc := l.far(1)
	l.install(cc)
	require.Equal(t, Lock{Term: 1, Index: at.Index, Hash: at.Hash}, l.m.core.State().Mark)
	l.take()
	b := l.block(at, "b")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), b)))
	require.Len(t, l.acks(3), 1)
	require.Equal(t, lockAt(1, a), l.m.core.State().Lock, "which is not lowered to the base")
	l.say(3, l.response(3, 1, b.End(), 0))
	require.Equal(t, lockAt(1, b), l.m.core.State().Lock)

	l, _ = locked(t, "a")
	at, cc = l.far(3)
	l.install(cc)
	require.Equal(t, Term(3), l.m.core.State().Term, "the commit shows that the term has begun")
	require.Equal(t, Term(1), l.m.core.State().Mark.Term)
	require.Equal(t, Accepted,
		l.elect(2, 3, Lock{Term: 1, Index: at.Index - 1, Hash: Digest{1}},
			l.qc(1, Position{at.Index - 1, Digest{1}})), "its base is below the state")
	b = l.block(at, "b")
	l.take()
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 3, b.End(), b)))
	require.Len(t, l.acks(3), 1)
}

func TestK1StateIsTakenOnlyWhereItIsNews(t *testing.T) {
	l, a := led(t, "a")
	require.False(t, l.m.core.MayInstall(l.commit(1, a.End())), "it is on the chain")
	l.work(l.m)
	require.Equal(t, a.End(), l.m.core.Commit(), "and now known to be committed")
	require.False(t, l.m.core.MayInstall(l.commit(1, a.End())))
	require.NoError(t, l.m.core.Err())

	l, a = locked(t, "a")
	require.True(t, l.m.core.MayInstall(l.commit(2, Position{a.Last(), Digest{1}})),
		"a lock of an earlier term may lie on a chain that was given up")
	require.False(t, l.m.core.MayInstall(l.commit(1, Position{a.Last(), Digest{1}})))
	require.ErrorIs(t, l.m.core.Err(), ErrBroken, "two certificates of one term at one index")
}

func TestK1StateBringsItsConvictions(t *testing.T) {
	l, a := led(t, "a")
	other := l.block(l.origin(), "other")
	proof := quorumcert.Evidence{Acks: &quorumcert.AckConflict{
		A: l.ack(4, 1, a.End(), 0), B: l.ack(4, 1, other.End(), 0),
		Headers: []quorumcert.Header{other.Header()},
	}}
	_, cc := l.far(1)
	l.install(cc, proof)
	require.Equal(t, quorumcert.SetOf(4), l.m.core.State().Faulty)
	require.Len(t, l.m.disk.evidence, 1)
}

func TestStatesArePartsForWhoHoldsThem(t *testing.T) {
	l, _ := commitOne(t, "a")
	require.Equal(t, Unserved, l.say(3, &FetchState{Part: ManifestPart}))
	require.Equal(t, Unserved, l.say(3, &StatePart{Data: []byte("x")}))
}

// What is being gathered may lead below a base that has moved on meanwhile. Nobody can say then
// whether it belongs there, so it is no proof of anything.
func TestK1GatheringThatTheBaseHasOvertakenIsGivenUp(t *testing.T) {
	l, blocks := grown(t)
	var b []*Block
	at := blocks[3].End()
	for _, op := range []string{"e", "f", "g", "h"} {
		b = append(b, l.block(at, op))
		at = b[len(b)-1].End()
	}
	require.Equal(t, Accepted, l.say(3, &Proof{TermProof: TermProof{QC: l.qc(2, at)}}))
	require.Equal(t, Accepted, l.say(3, &Chain{Blocks: b[1:]}))
	require.Equal(t, b[0].End(), l.m.core.gather.next)
	for _, b := range b[:2] { // the same comes from the leader, and is committed
		require.Equal(t, Accepted, l.say(2, l.proposal(2, 2, b.End(), b)))
		l.say(3, l.response(3, 2, b.End(), 0))
		l.say(2, l.response(2, 2, b.End(), b.Last()))
		l.say(3, l.response(3, 2, b.End(), b.Last()))
	}
	require.Equal(t, b[1].End(), l.m.core.Commit())
	held := l.m.core.gather
	l.dropLog(b[1].End())
	require.Nil(t, l.m.core.gather)
	require.Equal(t, Unasked, l.say(4, &Chain{Blocks: b[:1]}))
	l.m.core.gather = held // as if it had begun after that
	require.Equal(t, Stale, l.say(4, &Chain{Blocks: b[:1]}))
	require.NoError(t, l.m.core.Err())
}

// A lock whose entries are in a state says nothing that an ack of the log would not say better, and
// to ack it would be to ack below the base.
func TestK1LockBelowTheBaseIsNotAnnounced(t *testing.T) {
	l, a := commitOne(t, "a")
	b := l.block(a.End(), "b")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), b)))
	require.Equal(t, Accepted, l.say(3, &Proof{TermProof: TermProof{QC: l.qc(2, b.End())}}))
	require.Equal(t, lockAt(2, b), l.m.core.State().Lock, "no election of term 2 was seen")
	d := l.block(l.block(b.End(), "c").End(), "d")
	l.install(l.commit(2, d.End()))
	l.take()
	require.Equal(t, Accepted, l.elect(2, 2, lockAt(1, a), l.qc(1, a.End())))
	l.wait(2 * l.m.cfg.HeartbeatTicks)
	require.Empty(t, l.acks(3))
	e := l.block(d.End(), "e")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 2, e.End(), e)))
	require.Len(t, l.acks(3), 1, "it is not silent")
}

func TestK1CertificateOfWhatIsInAStateIsNoNews(t *testing.T) {
	l := newLab(t, 1)
	y := l.block(l.block(l.origin(), "x").End(), "y")
	z := l.block(y.End(), "z")
	l.install(l.commit(2, z.End()))
	require.Equal(t, Duplicate, l.say(4, &Proof{TermProof: TermProof{QC: l.qc(2, y.End())}}))
	require.Nil(t, l.m.core.gather)
	require.Nil(t, l.m.core.pending)
	require.NoError(t, l.m.core.Err())
}
