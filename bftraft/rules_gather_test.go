package bftraft

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// TestA4BlocksShowWhatTheOwnChainCannot has acks of the leader come before any block of the term.
func TestA4BlocksShowWhatTheOwnChainCannot(t *testing.T) {
	for lie := range Index(3) {
		l := newLab(t, 1)
		require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
		var blocks []*Block
		at := l.origin()
		for range 4 {
			b := l.block(at, "a")
			blocks, at = append(blocks, b), b.End()
		}
		for i, b := range blocks[:3] {
			said := b.End()
			if Index(i) == lie {
				said.Hash[0]++
			}
			require.Equal(t, Accepted, l.say(2, l.response(2, 1, said, 0)))
		}
		require.Zero(t, l.m.core.faulty)
		require.Equal(t, Conflict, l.say(2, l.proposal(2, 1, at, blocks...)), "lie %d", lie)
		require.Equal(t, quorumcert.SetOf(2), l.m.core.faulty)
	}
}

func TestA4AckThatIsRepeatedIsHeldAgainstWhatCameSince(t *testing.T) {
	l := newLab(t, 1)
	a := l.block(l.origin(), "a")
	b := l.block(a.End(), "b")
	x := l.block(l.origin(), "x")
	require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
	l.say(3, l.response(3, 1, x.End(), 0))
	l.say(3, l.response(3, 1, b.End(), 0))
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), a, b)))
	require.Zero(t, l.m.core.faulty)
	require.Equal(t, Conflict, l.say(3, l.response(3, 1, x.End(), 1)))
	require.True(t, l.m.core.faulty.Has(3))
}

// The acks that are kept are those a plain list would keep.
func TestNewestAcksOfAVoterAreKeptInOrder(t *testing.T) {
	const seed = 2
	rng := rand.New(rand.NewPCG(seed, 1))
	l := newLab(t, 1)
	var list []quorumcert.SignedAck
	for range 3000 {
		i := Index(1 + rng.IntN(400))
		a := quorumcert.SignedAck{Signer: 3, Ack: quorumcert.Ack{Term: 1, Index: i,
			Hash: Digest{byte(rng.IntN(2))}, Certified: Index(rng.IntN(3))}}
		k := slices.IndexFunc(list, func(x quorumcert.SignedAck) bool { return x.Index >= i })
		want := Accepted
		switch {
		case k >= 0 && list[k].Index == i && list[k].Hash != a.Hash:
			want = Conflict
		case k >= 0 && list[k].Index == i && list[k].Certified >= a.Certified:
			want = Duplicate
		case k >= 0 && list[k].Index == i:
			list[k] = a
		case len(list) == maxAcks && k == 0:
			want = Stale
		default:
			if k < 0 {
				k = len(list)
			}
			list = slices.Insert(list, k, a)
			list = list[max(0, len(list)-maxAcks):]
		}
		require.Equal(t, want, l.m.core.storeAck(&a), "seed %d", seed)
		require.Equal(t, list, l.m.core.peers[3].acks, "seed %d", seed)
	}
	require.Len(t, list, maxAcks)
}

// TestN4CommitIsProvenByAcksBeyondIt claims a with acks of b.
func TestN4CommitIsProvenByAcksBeyondIt(t *testing.T) {
	l, a := led(t, "a")
	b := l.block(a.End(), "b")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), b)))
	for id := NodeID(2); id <= 4; id++ {
		l.say(id, l.response(id, 1, b.End(), 1))
	}
	require.Equal(t, a.End(), l.m.core.Commit())
	cc := l.m.disk.commits[0]
	require.Len(t, cc.Headers, 1)
	require.NoError(t, cc.Verify(l.cluster, l.gate.Configurations().Latest()))
}

// TestLeaderHasNoMoreUncommittedThanItMay certifies everything and commits nothing.
func TestLeaderHasNoMoreUncommittedThanItMay(t *testing.T) {
	l := newLabWith(t, 1, func(_ *lab, c *Config) { c.MaxUncommitted = 6 })
	l.stand()
	for _, id := range []NodeID{2, 3} {
		l.say(id, l.vote(id, 1, 1, l.genesisLock()))
	}
	made := 0
	for l.propose(1, "a") {
		made++
		at := l.m.core.log.tip
		for _, id := range []NodeID{2, 3} {
			l.say(id, l.response(id, 1, at, 0))
		}
		require.Equal(t, at.Index, l.m.core.State().Lock.Index)
	}
	require.Equal(t, 6, made)
	require.Zero(t, l.m.core.Commit().Index)
}

func TestRoomAheadOfTheCommitIsExactInBytes(t *testing.T) {
	l, a := led(t, "a")
	b := l.block(a.End(), "b")
	c := l.block(b.End(), "c")
	size := len(a.raw) + len(b.raw) + len(c.raw)
	l.m.core.cfg.MaxUncommittedBytes = (size + 1) / 2
	require.True(t, l.m.core.roomFor(1, []*Block{b, c}))
	l.m.core.cfg.MaxUncommittedBytes = (size - 1) / 2
	require.False(t, l.m.core.roomFor(1, []*Block{b, c}))
	require.True(t, l.m.core.roomFor(0, []*Block{b, c}), "a would be replaced")
}

// TestWhatIsGatheredGivesWayToWhatMattersMore begins to gather for one reason, and is then given
// another: a position that was merely acked, a proposal, or a certificate.
func TestWhatIsGatheredGivesWayToWhatMattersMore(t *testing.T) {
	at := func(i Index) Position { return Position{i, Digest{byte(i)}} }
	type reason struct {
		qc  *quorumcert.QC
		ack bool
	}
	qc := func(term Term, i Index) *quorumcert.QC {
		return &quorumcert.QC{Lock: Lock{Term: term, Index: i, Hash: at(i).Hash}}
	}
	acked, proposed, certified := reason{}, reason{ack: true}, reason{qc: qc(2, 20)}
	higher, useless := reason{qc: qc(2, 30)}, reason{qc: qc(1, 20)}
	for _, c := range []struct {
		first, second reason
		gives         bool
	}{
		{acked, acked, false}, {acked, proposed, true}, {acked, certified, true},
		{proposed, acked, false}, {proposed, proposed, false}, {proposed, certified, true},
		{certified, acked, false}, {certified, proposed, false}, {certified, certified, false},
		{certified, higher, true}, {higher, certified, false},
		{useless, acked, true}, {useless, proposed, true}, {useless, certified, true},
	} {
		l := newLab(t, 1)
		l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
		require.Equal(t, Accepted, l.elect(2, 2, l.genesisLock(), nil))
		for k, r := range []reason{c.first, c.second} {
			var a *quorumcert.SignedAck
			if r.ack {
				x := l.ack(2, 2, at(Index(40+k)), 0)
				a = &x
			}
			l.m.core.seekFrom(3, nil, at(Index(40+k)), r.qc, a)
		}
		require.Equal(t, c.gives, l.m.core.gather.target == at(41), "%+v", c)
	}
}

func TestGatheringThatLeadsBelowTheCommitIsGivenUp(t *testing.T) {
	l, _ := commitOne(t, "a")
	x := l.block(l.origin(), "x")
	y := l.block(x.End(), "y")
	l.say(4, l.response(4, 1, y.End(), 0))
	l.wait(2 * l.m.cfg.HeartbeatTicks)
	require.NotNil(t, l.m.core.gather)
	require.Equal(t, Conflict, l.say(4, &Chain{Blocks: []*Block{y}}))
	require.Nil(t, l.m.core.gather)
	require.NoError(t, l.m.core.Err())
}

// The lock lies on a chain that catch-up replaces, and the certificate that comes along is of the
// term that the node has just entered.
func TestN6CatchUpBringsALockForTheOneItTakesAway(t *testing.T) {
	l, _ := locked(t, "lost")
	a := l.block(l.origin(), "kept")
	m := &Committed{Blocks: []*Block{a}, Commit: l.commit(2, a.End()), LockQC: l.qc(2, a.End())}
	require.Equal(t, Accepted, l.say(3, m))
	require.Equal(t, lockAt(2, a), l.m.core.State().Lock)
}

func TestE1eLeaderResignsOnce(t *testing.T) {
	l, _ := leads(t)
	l.take()
	for range 3 {
		l.m.core.Resign()
		l.work(l.m)
	}
	require.Len(t, messagesOf[*Resign](l, 3), 1)
	require.False(t, l.m.core.Room())
}

// TestReplyToANodeIsBelievedOnlyWithItsSignature alters a reply in every part of it.
func TestReplyToANodeIsBelievedOnlyWithItsSignature(t *testing.T) {
	l := newLab(t, 1)
	reply := func(signer NodeID, change func(*BlockReply)) []byte {
		r := &BlockReply{Client: fakePublic(fakeClient), Session: 1, Sequence: 1,
			Results: [][]byte{[]byte("r")}, Signer: signer, Leaves: 1,
			Reply: quorumcert.Reply{Cluster: l.cluster, Index: 1}}
		r.Reply.Results = crypto.MerkleRoot([]Digest{r.Leaf()})
		r.Sig = quorumcert.Sign(fakeSigner{signer}, r.Reply)
		if change != nil {
			change(r)
		}
		return r.Encode()
	}
	r, drop := l.gate.VerifyReply(3, reply(3, nil))
	require.Equal(t, Accepted, drop)
	require.Equal(t, NodeID(3), r.Signer)
	for name, c := range map[string]struct {
		frame []byte
		drop  Drop
	}{
		"of another": {reply(2, nil), WrongSender},
		"signature":  {reply(3, func(r *BlockReply) { r.Sig[0]++ }), BadSignature},
		"result":     {reply(3, func(r *BlockReply) { r.Results[0] = []byte("s") }), BadSignature},
		"cluster":    {reply(3, func(r *BlockReply) { r.Reply.Cluster[0]++ }), BadSignature},
		"cut":        {reply(3, nil)[:40], Malformed},
	} {
		r, drop := l.gate.VerifyReply(3, c.frame)
		require.Equal(t, c.drop, drop, name)
		require.Nil(t, r, name)
	}
}

// In the meantime another has been elected: a lock of an earlier term is for candidates only.
func TestN3CertificateShownToACandidateIsNoLockOnceAnotherLeads(t *testing.T) {
	l, a := locked(t, "a")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	l.stand()
	b := l.block(a.End(), "b")
	l.say(4, &Proof{TermProof: TermProof{QC: l.qc(1, b.End())}})
	require.NotNil(t, l.m.core.pending)
	require.Equal(t, Accepted, l.elect(3, 2, lockAt(1, a), l.qc(1, a.End())))
	require.Equal(t, Accepted, l.say(3, l.proposal(3, 2, b.End(), b)))
	require.Equal(t, b.End(), l.m.core.log.tip)
	require.Equal(t, lockAt(1, a), l.m.core.State().Lock)
}

func TestN3LockThatHasItsEntriesIsNotChangedByCatchUp(t *testing.T) {
	l, a := locked(t, "a")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(2)}})
	b := l.block(a.End(), "b")
	m := &Committed{Blocks: []*Block{b}, Commit: l.commit(2, b.End()), LockQC: l.qc(2, b.End())}
	require.Equal(t, Accepted, l.say(3, m))
	require.Equal(t, lockAt(1, a), l.m.core.State().Lock)
}

func TestN6RestartedNodeRepeatsItsAckToWhoIsBehind(t *testing.T) {
	l, a := led(t, "a")
	l.restart()
	l.take()
	l.wait(1)
	l.say(3, &Status{Term: 1, Leader: 2, Tip: l.origin(), Lock: l.genesisLock(), Behind: true})
	acks := l.acks(3)
	require.Len(t, acks, 1)
	require.Equal(t, a.End(), Position{acks[0].Index, acks[0].Hash})
}

func TestNodeIsToldThatItIsAccusedThoughThereIsNothingElseToDo(t *testing.T) {
	l := newLab(t, 1)
	proof := quorumcert.Evidence{Votes: &quorumcert.VoteConflict{
		A: l.vote(1, 1, 2, l.genesisLock()).Vote, B: l.vote(1, 1, 3, l.genesisLock()).Vote}}
	core, err := NewCore(l.m.cfg, Restored{Evidence: []quorumcert.Evidence{proof}}, reader{l.m})
	require.NoError(t, err)
	r, some := core.Ready()
	require.True(t, some)
	require.True(t, r.Accused)
	require.Zero(t, core.faulty, "it does not distrust itself")
}

// TestProposalOfWhatIsBeingFetchedIsAckedWhenItIsHere has an ack of another come first.
func TestProposalOfWhatIsBeingFetchedIsAckedWhenItIsHere(t *testing.T) {
	l, a := led(t, "a")
	b := l.block(a.End(), "b")
	c := l.block(b.End(), "c")
	l.say(3, l.response(3, 1, c.End(), 0))
	l.wait(l.m.cfg.HeartbeatTicks)
	require.NotNil(t, l.m.core.gather)
	require.Equal(t, MissingBlocks, l.say(2, l.proposal(2, 1, c.End())))
	l.take()
	require.Equal(t, Accepted, l.say(3, &Chain{Blocks: []*Block{b, c}}))
	acks := l.acks(4)
	require.NotEmpty(t, acks)
	require.Equal(t, c.End(), Position{acks[0].Index, acks[0].Hash})
}

func TestFetchThatIsAnsweredIsNotGivenUp(t *testing.T) {
	l := newLab(t, 1)
	require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
	var blocks []*Block
	at := l.origin()
	for range 2 * maxGatherTries {
		b := l.block(at, "a")
		blocks, at = append(blocks, b), b.End()
	}
	last := len(blocks) - 1
	l.say(2, l.proposal(2, 1, at, blocks[last]))
	for k := last - 1; k >= 0; k-- {
		l.say(2, &Status{Term: 1, Leader: 2, Tip: at, Lock: l.genesisLock()})
		l.wait(l.m.cfg.HeartbeatTicks)
		require.Equal(t, Accepted, l.say(3, &Chain{Blocks: blocks[k : k+1]}), "block %d", k)
	}
	require.Equal(t, at, l.m.core.log.tip)
	require.Equal(t, Term(1), l.m.core.Term())
}

// TestBridgeOfACommitMustLinkUp breaks a header in one part, and has the commit name what it says.
func TestBridgeOfACommitMustLinkUp(t *testing.T) {
	l := newLab(t, 1)
	a := l.block(l.origin(), "a")
	for name, c := range map[string]struct {
		change func(h *quorumcert.Header)
		drop   Drop
	}{
		"sound": {func(*quorumcert.Header) {}, Accepted},
		"prev":  {func(h *quorumcert.Header) { h.Prev[0]++ }, BrokenChain},
		"gap":   {func(h *quorumcert.Header) { h.First++ }, BrokenChain},
		"again": {func(h *quorumcert.Header) { h.First-- }, BrokenChain},
		"empty": {func(h *quorumcert.Header) { h.Last = h.First - 1 }, BrokenChain},
	} {
		h := l.block(a.End(), "b", "c").Header()
		c.change(&h)
		end := Position{h.Last, h.Hash()}
		m := &Committed{Blocks: []*Block{a}, Bridge: []quorumcert.Header{h},
			Commit: l.commit(1, end)}
		SignMessage(fakeSigner{3}, l.cluster, m)
		_, drop := l.gate.Verify(3, Encode(m))
		require.Equal(t, c.drop, drop, name)
		m.Commit = l.commit(1, Position{end.Index, Digest{1}})
		SignMessage(fakeSigner{3}, l.cluster, m)
		_, drop = l.gate.Verify(3, Encode(m))
		require.Equal(t, BrokenChain, drop, "%s: the commit is of something else", name)
	}
}
