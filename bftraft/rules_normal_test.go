package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/quorumcert"
)

// withoutAcksOf loses all responses of term t, so that nothing can be certified in it.
func (h *harness) withoutAcksOf(t Term) func(frame) {
	return func(f frame) {
		if m, ok := f.msg.(*AppendEntriesResponse); ok && m.Ack.Term == t {
			return
		}
		h.put(f)
	}
}

func TestB1BlocksKeepTheirEndsAcrossTerms(t *testing.T) {
	h := newHarness(t, 4, nil)
	require.True(t, h.ticks(100, func() bool { return h.leader() != 0 }))
	first := h.leader()
	// The blocks reach everybody but are certified nowhere: all acks but the leader's are lost.
	h.route = h.withoutAcksOf(h.core(first).Term())
	require.True(t, h.propose(first, "a", "b", "c"))
	h.tick()
	require.True(t, h.propose(first, "d"))
	h.tick()
	want := h.core(first).Uncommitted()
	require.Len(t, want, 2)
	h.crash(h.node(first), 99)
	h.flying = nil
	require.True(t, h.ticks(1000, func() bool { return h.allCommitted(4) }))
	for _, m := range h.members {
		if m.id != first {
			require.Equal(t, want[0].Raw(), m.disk.blocks[0].Raw())
			require.Equal(t, want[1].Raw(), m.disk.blocks[1].Raw())
		}
	}
}

func TestB1NobodyAcksInsideABlockOrOtherEnds(t *testing.T) {
	l, a := led(t, "x", "y", "z")
	inside := Position{2, a.Hash()}
	require.NotEqual(t, Accepted, l.say(2, l.proposal(2, 1, inside)))
	require.Empty(t, l.acks(3))
	shorter := NewBlock(a.Before(), a.Entries()[:2])
	require.Equal(t, Conflict, l.say(2, l.proposal(2, 1, shorter.End(), shorter)))
	require.Empty(t, l.acks(3))
	require.Equal(t, quorumcert.SetOf(2), l.m.core.State().Faulty, "the same entries, other ends")
}

func TestB2AndA6BlockWithABadEntryIsRefused(t *testing.T) {
	l, a := led(t, "x")
	proof := sampleVotes(l.m.core.cluster, 4)
	proof.Votes.B.Sig[0] ^= 1
	bad := map[string]Entry{
		"forged proof":  EvidenceEntry(&proof),
		"unknown kind":  {Kind: 9, Data: a.Entries()[0].Data},
		"configuration": {Kind: EntryConfiguration, Data: a.Entries()[0].Data},
		"no request":    {Kind: EntryRequest, Data: []byte("?")},
		"forged":        {Kind: EntryRequest, Data: forged(l.entry("y").Data)},
	}
	for name, e := range bad {
		l, a := led(t, "x")
		b := NewBlock(a.End(), []Entry{l.entry("good"), e})
		require.Equal(t, InvalidEntry, l.say(2, l.proposal(2, 1, b.End(), b)), name)
		require.Empty(t, l.acks(3), name)
		l.wait(1)
		require.Equal(t, CauseProof, l.m.core.State().Suspects, name)
		require.Equal(t, a.End(), l.m.core.State().Tip, name)
		require.Equal(t, quorumcert.SetOf(2), l.m.core.State().Faulty, name)
	}
	good := NewBlock(a.End(), []Entry{l.entry("good")})
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, good.End(), good)))
	require.Len(t, l.acks(3), 1)
}

// forged returns the request with one bit of its signature changed.
func forged(request []byte) []byte {
	bad := append([]byte(nil), request...)
	bad[len(bad)-40] ^= 1
	return bad
}

// A block that is fetched is judged like one that the leader sent.
func TestA6FetchedBlockWithABadEntryIsRefused(t *testing.T) {
	l, a := led(t, "x")
	b := NewBlock(a.End(), []Entry{{Kind: 7, Data: []byte("bad")}})
	require.Equal(t, MissingBlocks, l.say(2, l.proposal(2, 1, b.End())))
	leaderAck := l.ack(2, 1, b.End(), 0)
	drop := l.say(3, &Chain{Blocks: []*Block{b}, LeaderAck: &leaderAck})
	require.Equal(t, InvalidEntry, drop)
	require.Empty(t, l.acks(3))
	require.Equal(t, quorumcert.SetOf(2), l.m.core.State().Faulty)
}

func TestN1LeaderProposesItsLogBeforeAnythingNew(t *testing.T) {
	l, a := locked(t, "x")
	b := l.block(a.End(), "tail")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), b)))
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	l.take()
	l.stand()
	lock := lockAt(1, a)
	for id := NodeID(2); id <= 3; id++ {
		require.Equal(t, Accepted, l.say(id, l.vote(id, 2, 1, lock)))
	}
	first := messagesOf[*AppendEntries](l, 4)
	require.Len(t, first, 1)
	require.Empty(t, first[0].Blocks, "nothing new")
	require.Equal(t, Term(2), first[0].Ack.Term)
	require.Equal(t, b.Last(), first[0].Ack.Index, "the end of the log it has")
	require.Equal(t, lock, first[0].Election.Base)
	require.Equal(t, lock, first[0].BaseQC.Lock)
}

func TestN1IdleClusterCommitsWhatAnEarlierTermLeft(t *testing.T) {
	h := newHarness(t, 4, nil)
	require.True(t, h.ticks(100, func() bool { return h.leader() != 0 }))
	first := h.leader()
	h.route = h.withoutAcksOf(h.core(first).Term())
	require.True(t, h.propose(first, "a"))
	h.tick()
	h.tick()
	h.crash(h.node(first), 0)
	h.flying = nil
	require.True(t, h.ticks(800, func() bool { return h.allCommitted(1) }), "nobody proposes")
	require.Len(t, h.chain, 1)
	require.NotZero(t, h.leader(), h.picture())
}

func TestN2AckIsBroadcastOncePerBlock(t *testing.T) {
	l, a := led(t, "x")
	b := l.block(a.End(), "y")
	c := l.block(b.End(), "z")
	for _, next := range []*Block{b, c} {
		require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, next.End(), next)))
		require.Equal(t, Duplicate, l.say(2, l.proposal(2, 1, next.End(), next)))
	}
	sent := l.take()
	for to := NodeID(2); to <= 4; to++ {
		var at []Index
		for _, f := range sent {
			if m, ok := f.msg.(*AppendEntriesResponse); ok && f.to == to {
				at = append(at, m.Ack.Index)
			}
		}
		require.Equal(t, []Index{2, 3}, at, "to %d", to)
	}
	require.Equal(t, Duplicate, l.say(2, l.proposal(2, 1, a.End())), "below the mark")
}

func TestN2AckBeyondItsIndexIsVoid(t *testing.T) {
	l, a := led(t, "x")
	require.Equal(t, VoidAck, l.say(3, l.response(3, 1, a.End(), 2)))
	require.NotEqual(t, VoidAck, l.say(3, l.response(3, 1, a.End(), 1)))
}

// The lock may rise between a proposal and its ack, which is made with the next flush.
func TestN2AckNeverClaimsBeyondItsIndex(t *testing.T) {
	l, a := led(t, "x")
	b := l.block(a.End(), "y")
	l.say(2, l.proposal(2, 1, b.End(), b))
	l.say(3, &Proof{TermProof: TermProof{EC: l.ec(2, 3, l.genesisLock())}})
	l.take()
	m := l.proposal(3, 2, a.End())
	require.Equal(t, Accepted, l.hand(frame{from: 3, to: 1, msg: m, raw: Encode(m)}))
	l.say(4, &Proof{TermProof: TermProof{QC: l.qc(2, b.End())}})
	acks := l.acks(2)
	require.Len(t, acks, 2)
	require.Equal(t, []Index{1, 1, 2, 2}, []Index{acks[0].Index, acks[0].Certified,
		acks[1].Index, acks[1].Certified})
}

func TestN2RestartedNodeKnowsWhatItAcked(t *testing.T) {
	l, a := led(t, "x")
	l.restart()
	require.Equal(t, lockAt(1, a), l.m.core.State().Mark)
	other := l.block(l.origin(), "other")
	require.Equal(t, Conflict, l.say(2, l.proposal(2, 1, other.End(), other)))
	require.Empty(t, l.acks(3))
	b := l.block(a.End(), "y")
	l.say(2, l.proposal(2, 1, b.End(), b))
	require.Equal(t, lockAt(1, b), l.m.disk.hard.Mark)
}

// Even when no block is new the mark is flushed before the ack leaves: checkAck sees to that.
func TestN2MarkIsOnDiskForOldBlocksToo(t *testing.T) {
	l, a := locked(t, "x")
	l.elect(3, 2, lockAt(1, a), l.qc(1, a.End()))
	l.take()
	require.Equal(t, Accepted, l.say(3, l.proposal(3, 2, a.End())))
	require.Len(t, l.acks(2), 1)
	require.Equal(t, lockAt(2, a), l.m.synced.hard.Mark)
	l.restart()
	require.Equal(t, lockAt(2, a), l.m.core.State().Mark)
}

func TestN3CertificateBecomesTheLockOnceItsEntriesAreHere(t *testing.T) {
	l, a := led(t, "x")
	b := l.block(a.End(), "y")
	for id := NodeID(3); id <= 4; id++ {
		l.say(id, l.response(id, 1, b.End(), 0))
	}
	l.say(4, &Proof{TermProof: TermProof{QC: l.qc(1, b.End())}})
	require.Equal(t, l.genesisLock(), l.m.core.State().Lock, "no entries, no lock")
	require.Empty(t, l.acks(3))
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), b)))
	require.Equal(t, lockAt(1, b), l.m.core.State().Lock)
	acks := l.acks(3)
	require.Equal(t, Index(2), acks[len(acks)-1].Certified)
}

func TestN3LockIsAnnouncedByTheNextAckOrAlone(t *testing.T) {
	l, a := led(t, "x")
	b := l.block(a.End(), "y")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), b)))
	require.Len(t, l.acks(3), 1)
	l.m.core.announceNow = false
	l.say(3, l.response(3, 1, a.End(), 0))
	require.Equal(t, Index(1), l.m.core.State().Lock.Index)
	require.Empty(t, l.acks(3), "a block is on its way: its certificate will be announced")
	c := l.block(b.End(), "z")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, c.End(), c)))
	acks := l.acks(3)
	require.Len(t, acks, 1)
	require.Equal(t, Index(1), acks[0].Certified)
	l.say(3, l.response(3, 1, c.End(), 0))
	acks = l.acks(3)
	require.Len(t, acks, 1, "no block is on its way: an ack of its own")
	require.Equal(t, Index(3), acks[0].Certified)
}

func TestN3NoLockOfAnEarlierTermIsTaken(t *testing.T) {
	l, a := led(t, "x")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	require.Equal(t, Term(2), l.m.core.Term())
	l.say(3, &Proof{TermProof: TermProof{QC: l.qc(1, a.End())}})
	require.Equal(t, l.genesisLock(), l.m.core.State().Lock, "neither candidate nor base")
	l.stand()
	l.say(3, &Proof{TermProof: TermProof{QC: l.qc(1, a.End())}})
	require.Equal(t, lockAt(1, a), l.m.core.State().Lock, "as a candidate")
}

func TestN4CommitNeedsAQuorumOfClaimsOfOneTermOnOneChain(t *testing.T) {
	l, a := locked(t, "x")
	require.Equal(t, Index(0), l.m.core.Commit().Index)
	l.say(3, l.response(3, 1, a.End(), 1))
	require.Equal(t, Index(0), l.m.core.Commit().Index, "two of three")
	l.say(3, l.response(3, 1, a.End(), 1))
	require.Equal(t, Index(0), l.m.core.Commit().Index, "one signer counts once")
	other := l.block(a.End(), "elsewhere")
	l.say(4, l.response(4, 1, other.End(), 2))
	require.Equal(t, Index(0), l.m.core.Commit().Index, "not on this chain")
	l.say(2, l.response(2, 1, a.End(), 0))
	require.Equal(t, Index(0), l.m.core.Commit().Index, "claims nothing")
	status := &Status{Term: 1, Leader: 2, Tip: a.End(), Commit: a.End(), Lock: lockAt(1, a)}
	l.say(2, status)
	require.Equal(t, Index(0), l.m.core.Commit().Index, "nobody's word counts")
	l.say(2, l.response(2, 1, a.End(), 1))
	require.Equal(t, a.End(), l.m.core.Commit())
	require.Len(t, l.m.disk.commits, 1)
	cfg := l.gate.Configurations().Latest()
	require.NoError(t, l.m.disk.commits[0].Verify(l.cluster, cfg), "the acks are the certificate")
}

func TestN4ClaimsOfTwoTermsDoNotAddUp(t *testing.T) {
	l, a := locked(t, "x")
	l.say(3, l.response(3, 1, a.End(), 1))
	base := lockAt(1, a)
	require.Equal(t, Accepted, l.elect(3, 2, base, l.qc(1, a.End())))
	require.Equal(t, Stale, l.say(4, l.response(4, 1, a.End(), 1)))
	require.Equal(t, Index(0), l.m.core.Commit().Index)
	l.say(3, l.proposal(3, 2, a.End()))
	l.say(4, l.response(4, 2, a.End(), 0))
	l.say(4, l.response(4, 2, a.End(), 1))
	require.Equal(t, Index(0), l.m.core.Commit().Index, "two claims in term 2, two in term 1")
	l.say(3, l.response(3, 2, a.End(), 1))
	require.Equal(t, a.End(), l.m.core.Commit())
}

func TestN5IndexGoesByTheConfigurationStrictlyBeforeIt(t *testing.T) {
	l := newLabWith(t, 1, func(l *lab, c *Config) {
		g := fakeGenesis(7)
		seven, err := quorumcert.NewConfiguration(fakeScheme{}, 2, g.Voters)
		require.NoError(t, err)
		chain, err := quorumcert.NewConfigurations(l.gate.configs.Latest()).With(seven)
		require.NoError(t, err)
		gate := *l.gate
		gate.configs = chain
		members := *l.gate.members
		members.Voters = g.Voters
		for _, v := range g.Voters[4:] {
			members.Nodes = append(members.Nodes, Node{ID: v.ID, Key: v.Key})
		}
		require.NoError(t, gate.enrol(&members))
		c.Verifier = &gate
	})
	l.gate = l.m.cfg.Verifier
	require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
	a := l.block(l.origin(), "x", "y") // ends at the configuration's entry
	b := l.block(a.End(), "z")
	l.say(2, l.proposal(2, 1, a.End(), a))
	l.say(2, l.proposal(2, 1, b.End(), b))
	l.say(3, l.response(3, 1, a.End(), 0))
	require.Equal(t, Index(2), l.m.core.State().Lock.Index, "three of the old four certify 2")
	for id := NodeID(5); id <= 7; id++ {
		l.say(id, l.response(id, 1, a.End(), 2))
	}
	require.Equal(t, Index(0), l.m.core.Commit().Index, "the new have no say about the change")
	l.say(2, l.response(2, 1, a.End(), 2))
	l.say(3, l.response(3, 1, a.End(), 2))
	l.wait(6) // the core says that it holds the lock, as the next block is not certified
	require.Equal(t, Index(2), l.m.core.Commit().Index)
	l.say(3, l.response(3, 1, b.End(), 0))
	l.say(4, l.response(4, 1, b.End(), 0))
	require.Equal(t, Index(2), l.m.core.State().Lock.Index, "four of seven do not certify 3")
	l.say(7, l.response(7, 1, b.End(), 0))
	require.Equal(t, Index(3), l.m.core.State().Lock.Index)
	for _, id := range []NodeID{2, 3, 5} {
		l.say(id, l.response(id, 1, b.End(), 3))
	}
	require.Equal(t, Index(2), l.m.core.Commit().Index, "four of seven do not commit 3")
	l.say(6, l.response(6, 1, b.End(), 3))
	require.Equal(t, Index(3), l.m.core.Commit().Index)
}
