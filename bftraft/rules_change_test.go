package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"

	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// newChangeLab is a lab whose core, node 1, follows node 2 in term 1, in a cluster with
// administrators.
func newChangeLab(t testing.TB) *lab {
	l := newLabOf(t, 1, changing(4), nil)
	require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
	return l
}

// change returns the entry of a change of what the gate v knows.
func (h *harness) change(v *Verifier, steps ...ChangeStep) Entry {
	h.seq++
	return v.Entry(carried(h.cluster, fakeClient, h.seq, changeOn(v, steps...)))
}

// unjudged returns blocks as they come from others: not judged.
func unjudged(t testing.TB, blocks ...*Block) []*Block {
	var list []*Block
	for _, b := range blocks {
		c, drop := DecodeBlock(b.Raw())
		require.Equal(t, Accepted, drop)
		list = append(list, c)
	}
	return list
}

// changed returns a block that ends with a change that enrols client 1, and the gate behind it.
func (l *lab) changed(prev Position, ops ...string) (*Block, *Verifier) {
	var entries []Entry
	for _, op := range ops {
		entries = append(entries, l.entry(op))
	}
	b := NewBlock(prev, append(entries, l.change(l.m.core.Verifier(), enrols(1, RoleWrite))))
	v, err := l.m.core.Verifier().After(newChangeProof(b, l.commit(1, b.End())))
	require.NoError(l.t, err)
	return b, v
}

// proven returns the block behind a change: what proves it committed, and requests of client 1.
func (l *lab) proven(change *Block, sequences ...uint64) *Block {
	entries := []Entry{commitEntry(l.commit(1, change.End()))}
	for _, s := range sequences {
		entries = append(entries,
			SignRequest(l.cluster, fakeHolder(1), 1, s, [][]byte{{byte(s)}}).Entry())
	}
	return NewBlock(change.End(), entries)
}

// TestJ1ChangeComesIntoForceOnceItIsCommitted: all go through a change, and then by it.
func TestJ1ChangeComesIntoForceOnceItIsCommitted(t *testing.T) {
	h := newHarnessOf(t, changing(4), nil)
	require.True(t, h.ticks(200, func() bool { return h.leader() != 0 }))
	id := h.leader()
	c := h.core(id)
	require.True(t, c.Room())
	genesis := c.Verifier()
	c.Propose([]Entry{h.entry("before"), h.change(genesis, enrols(1, RoleWrite))})
	h.work(h.node(id))
	require.False(t, c.Room(), "nothing goes beyond it before it is committed")
	require.Same(t, genesis, c.Verifier())
	require.True(t, h.ticks(100, func() bool { return h.allCommitted(3) }))
	for _, m := range h.members {
		members := m.core.Verifier().Members()
		require.Equal(t, uint64(1), members.Number, "node %d", m.id)
		require.Equal(t, Index(2), members.At.Index)
		require.Equal(t, Index(2), m.core.configs().Latest().Entry())
		require.True(t, m.core.Verifier().MayWrite(fakePublic(1)))
		require.Len(t, m.disk.changes, 1)
		proof, ok := m.disk.Block(3)
		require.True(t, ok)
		require.Equal(t, EntryCommit, proof.Entries()[0].Kind, "what proves it comes next")
		require.Len(t, proof.Entries(), 1, "at once, though nobody asks for anything")
		after, err := genesis.Following(m.disk.changes)
		require.NoError(t, err)
		require.Equal(t, members, after.Members(), "whoever knows the genesis comes to the same")
	}
	by := func(n byte, sequence uint64) Entry {
		return SignRequest(h.cluster, fakeHolder(n), 1, sequence, [][]byte{{1}}).Entry()
	}
	c.Propose([]Entry{by(1, 1), h.change(c.Verifier(), removes(1))})
	h.work(h.node(id))
	require.True(t, h.ticks(100, func() bool { return h.allCommitted(6) }))
	require.Equal(t, entriesInvalid, judgedBehind(c.Verifier(), h.chain, by(1, 2)))
}

// judgedBehind returns a gate's verdict on a block behind the end of a chain.
func judgedBehind(v *Verifier, chain []*Block, entries ...Entry) checkState {
	b, _ := DecodeBlock(NewBlock(chain[len(chain)-1].End(), entries).Raw())
	v.CheckBlocks([]*Block{b})
	return b.checked
}

func TestJ1BlockBeyondAChangeNeedsItsProof(t *testing.T) {
	l := newChangeLab(t)
	a, _ := l.changed(l.origin(), "x")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, a.End(), a)))
	for name, next := range map[string]*Block{
		"none":      l.block(a.End(), "y"),
		"not first": NewBlock(a.End(), []Entry{l.entry("y"), commitEntry(l.commit(1, a.End()))}),
		"of another place": NewBlock(a.End(),
			[]Entry{commitEntry(l.commit(1, Position{2, Digest{1}}))}),
		"too few":        NewBlock(a.End(), []Entry{commitEntry(l.fewer(l.commit(1, a.End())))}),
		"no certificate": NewBlock(a.End(), []Entry{{Kind: EntryCommit, Data: []byte{1}}}),
	} {
		require.Equal(t, InvalidEntry, l.say(2, l.proposal(2, 1, next.End(), next)), name)
		require.Equal(t, quorumcert.SetOf(2), l.m.core.State().Faulty, name)
		require.Equal(t, a.End(), l.m.core.State().Tip, name)
		l = newChangeLab(t)
		a, _ = l.changed(l.origin(), "x")
		require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, a.End(), a)))
	}
}

// fewer takes a signer out of a certificate.
func (l *lab) fewer(cc *quorumcert.Commit) *quorumcert.Commit {
	cc.Signers = cc.Signers.Without(cc.Signers.Next(0))
	cc.Sigs, cc.Acks = cc.Sigs[1:], cc.Acks[1:]
	return cc
}

// TestJ1ProofInTheLogCommitsTheChange: who has not seen the acks learns it from what follows, and
// judges the rest by the change.
func TestJ1ProofInTheLogCommitsTheChange(t *testing.T) {
	for name, together := range map[string]bool{"one by one": false, "in one message": true} {
		l := newChangeLab(t)
		a, _ := l.changed(l.origin(), "x")
		b := l.proven(a, 1, 2)
		c := NewBlock(b.End(), l.proven(a, 3).Entries()[1:])
		blocks := unjudged(t, a, b, c)
		if !together {
			require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, a.End(), blocks[0])), name)
			blocks = blocks[1:]
		}
		require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, c.End(), blocks...)), name)
		require.Equal(t, a.End(), l.m.core.Commit(), name)
		require.Equal(t, c.End(), l.m.core.State().Tip, name)
		require.Equal(t, uint64(1), l.m.core.Verifier().Members().Number, name)
		acks := l.acks(3)
		require.Equal(t, c.Last(), acks[len(acks)-1].Index, name)
	}
}

// TestJ1ChangesAreGatheredOneAfterTheOther: a follower that lacks several changes and what lies
// between gets them backwards.
func TestJ1ChangesAreGatheredOneAfterTheOther(t *testing.T) {
	l := newChangeLab(t)
	a, v := l.changed(l.origin(), "x")
	b := l.proven(a, 1)
	c := NewBlock(b.End(), []Entry{l.change(v, removes(1))})
	d := NewBlock(c.End(), []Entry{commitEntry(l.commit(1, c.End())), l.entry("z")})
	require.Equal(t, MissingBlocks, l.say(2, l.proposal(2, 1, d.End())))
	require.Equal(t, Accepted, l.say(2, &Chain{Blocks: unjudged(t, c, d)}))
	require.Equal(t, Accepted, l.say(2, &Chain{Blocks: unjudged(t, a, b)}))
	require.Equal(t, d.End(), l.m.core.State().Tip)
	require.Equal(t, c.End(), l.m.core.Commit())
	require.Equal(t, uint64(2), l.m.core.Verifier().Members().Number)
	require.Zero(t, l.m.core.State().Faulty)
}

// TestB2ClientThatHasLeftIsRefused: the entry would have been right before the change.
func TestB2ClientThatHasLeftIsRefused(t *testing.T) {
	l := newChangeLab(t)
	late := l.entry("late")
	out := NewBlock(l.origin(), []Entry{l.change(l.gate,
		enrols(1, RoleAdmin), removes(fakeClient))})
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, out.End(), out)))
	next := l.proven(out)
	bad := NewBlock(next.End(), []Entry{late})
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, next.End(), next)))
	require.Equal(t, InvalidEntry, l.say(2, l.proposal(2, 1, bad.End(), unjudged(t, bad)...)))
	require.Equal(t, quorumcert.SetOf(2), l.m.core.State().Faulty)
}

// TestWhatWasJudgedBeforeAChangeIsJudgedAgain: messages wait while their gate grows old.
func TestWhatWasJudgedBeforeAChangeIsJudgedAgain(t *testing.T) {
	l := newChangeLab(t)
	a, _ := l.changed(l.origin(), "x")
	next, bad := l.proven(a, 1), l.entry("fine now, and not then")
	b := NewBlock(next.End(), []Entry{bad})
	early, drop := l.gate.Verify(2, Encode(l.proposal(2, 1, b.End(), next, b)))
	require.Equal(t, Accepted, drop)
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, a.End(), a)))
	l.say(3, &Proof{TermProof: TermProof{Commit: l.commit(1, a.End())}})
	require.Equal(t, uint64(1), l.m.core.Verifier().Members().Number)
	require.Equal(t, Accepted, l.m.core.Step(early))
	l.work(l.m)
	require.Equal(t, b.End(), l.m.core.State().Tip)
	require.Zero(t, l.m.core.State().Faulty)
}

// TestJ5CatchUpGoesNoFurtherThanAChange: by what to judge the rest is not known before.
func TestJ5CatchUpGoesNoFurtherThanAChange(t *testing.T) {
	l := newChangeLab(t)
	a, v := l.changed(l.origin(), "x")
	b := l.proven(a, 1)
	c := NewBlock(b.End(), []Entry{l.change(v, removes(1))})
	over := &Committed{Blocks: []*Block{a, b}, Commit: l.commit(1, b.End())}
	require.Equal(t, BadCertificate, l.say(3, over))
	bridged := &Committed{Blocks: []*Block{a}, Commit: l.commit(1, b.End()),
		Bridge: []quorumcert.Header{b.Header()}}
	require.Equal(t, BadCertificate, l.say(3, bridged))
	require.Zero(t, l.m.core.Commit().Index)
	for _, blocks := range [][]*Block{{a}, {b, c}} {
		cc := l.commit(1, blocks[len(blocks)-1].End())
		require.Equal(t, Accepted, l.say(3, &Committed{Blocks: blocks, Commit: cc}))
	}
	require.Equal(t, uint64(2), l.m.core.Verifier().Members().Number)
	l.take()
	for _, want := range []struct{ after, end Position }{
		{l.origin(), a.End()}, {a.End(), c.End()},
	} {
		l.wait(6)
		l.take()
		require.Equal(t, Accepted, l.say(3, &FetchCommitted{After: want.after}))
		answer := messagesOf[*Committed](l, 3)
		require.Len(t, answer, 1)
		last := answer[0].Blocks[len(answer[0].Blocks)-1]
		require.Equal(t, want.end, last.End())
		require.Equal(t, last.Last(), answer[0].Commit.Index)
	}
}

// TestCommittedChangeThatMayNotStandStopsTheNode: a quorum that commits such a thing is faulty.
func TestCommittedChangeThatMayNotStandStopsTheNode(t *testing.T) {
	l := newChangeLab(t)
	l.mayStop = true
	ch := changeOn(l.gate, enrols(1, RoleWrite))
	ch.Endorsements = ch.Endorsements[:1]
	bad := NewBlock(l.origin(), []Entry{
		{EntryConfiguration, carried(l.cluster, fakeClient, 1, ch).Raw()},
	})
	cc := l.commit(1, bad.End())
	require.Equal(t, Conflict, l.say(3, &Committed{Blocks: []*Block{bad}, Commit: cc}))
	require.ErrorIs(t, l.m.core.Err(), ErrBroken)
}

func TestChangesOutliveACrash(t *testing.T) {
	l := newChangeLab(t)
	a, _ := l.changed(l.origin(), "x")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, a.End(), a)))
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, l.proven(a, 1).End(), l.proven(a, 1))))
	l.restart()
	require.Equal(t, uint64(1), l.m.core.Verifier().Members().Number)
	require.Equal(t, a.End(), l.m.core.Commit())
}

// TestJ5ChangesProveThemselvesInOrderOnly is what clients, newcomers and auditors rely on.
func TestJ5ChangesProveThemselvesInOrderOnly(t *testing.T) {
	l := newChangeLab(t)
	a, v := l.changed(l.origin(), "x")
	b := l.proven(a, 1)
	c := NewBlock(b.End(), []Entry{l.entry("y"), l.change(v, removes(1))})
	one := newChangeProof(a, l.commit(1, a.End()))
	two := newChangeProof(c, l.commit(1, c.End()))
	after, err := l.gate.Following([]*ChangeProof{one, two})
	require.NoError(t, err)
	require.Equal(t, uint64(2), after.Members().Number)
	require.Equal(t, []*ChangeProof{one, two}, after.Changes())
	require.Equal(t, []*ChangeProof{one}, after.ChangesUpTo(c.Last()-1))
	again, err := v.Following([]*ChangeProof{one, two})
	require.NoError(t, err)
	require.Equal(t, after.Members(), again.Members())
	raw := AppendChangeProofs(nil, after.Changes())
	for at := range raw {
		bad := append([]byte(nil), raw...)
		bad[at] ^= 1
		s := cryptobyte.String(bad)
		list, ok := ReadChangeProofs(&s)
		if !ok || !s.Empty() {
			continue
		}
		_, err := l.gate.Following(list)
		require.ErrorIs(t, err, ErrChangeProof, "byte %d", at)
	}
	for name, list := range map[string][]*ChangeProof{
		"the second alone": {two}, "in the wrong order": {two, one},
	} {
		_, err := l.gate.Following(list)
		require.ErrorIs(t, err, ErrChangeProof, name)
	}
}

// TestProofOfALaterTermEndsThatOfTheLeader: a change is certified again in the next term, and the
// leader of this one, who lies, puts that certificate behind it.
func TestProofOfALaterTermEndsThatOfTheLeader(t *testing.T) {
	l := newChangeLab(t)
	a, _ := l.changed(l.origin(), "x")
	b := NewBlock(a.End(), []Entry{commitEntry(l.commit(2, a.End())), l.entry("y")})
	require.Equal(t, Stale, l.say(2, l.proposal(2, 1, b.End(), unjudged(t, a, b)...)))
	s := l.m.core.State()
	require.Equal(t, Term(2), s.Term, "the certificate shows that it has begun")
	require.Equal(t, a.End(), s.Commit)
	require.Equal(t, a.End(), s.Tip, "nobody of this term proposed the rest")
	require.Zero(t, s.Faulty)
}

// TestStateBringsItsChanges: they count from the moment that it is in place, and not before.
func TestStateBringsItsChanges(t *testing.T) {
	l := newChangeLab(t)
	a, v := l.changed(l.origin(), "x")
	b := l.proven(a, 1)
	cc := l.commit(1, b.End())
	require.True(t, l.m.core.MayInstall(cc))
	require.Zero(t, l.m.core.Verifier().Members().Number)
	l.m.core.Install(cc, v.Changes())
	require.Equal(t, v.Members(), l.m.core.Verifier().Members())
	r, some := l.m.core.Ready()
	require.True(t, some)
	require.Equal(t, v.Changes(), r.Changes, "they are saved")
	l.m.core.Advance(r)
	require.Panics(t, func() { l.m.core.learn([]*ChangeProof{{}, {Header: b.Header()}}) })
}

// TestJ1CatchUpDoesNotPassOverAChange: what lies behind a change that this node has, and does not
// know to be committed, is true, and useless before that.
func TestJ1CatchUpDoesNotPassOverAChange(t *testing.T) {
	l := newChangeLab(t)
	a, _ := l.changed(l.origin(), "x")
	b := l.proven(a, 1)
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, a.End(), a)))
	beyond := &Committed{Blocks: []*Block{b}, Commit: l.commit(1, b.End())}
	require.Equal(t, MissingBlocks, l.say(3, beyond))
	require.Zero(t, l.m.core.Commit().Index)
	require.Equal(t, Accepted,
		l.say(3, &Committed{Blocks: []*Block{a}, Commit: l.commit(1, a.End())}))
	require.Equal(t, Accepted, l.say(3, beyond))
	require.Equal(t, b.End(), l.m.core.Commit())
	require.Equal(t, uint64(1), l.m.core.Verifier().Members().Number)
}

// TestJ1ProofOfOneChangeIsNoneOfAnother: the first of two lacks its proof, the second has it.
func TestJ1ProofOfOneChangeIsNoneOfAnother(t *testing.T) {
	l := newChangeLab(t)
	a, v := l.changed(l.origin(), "x")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, a.End(), a)))
	b := NewBlock(a.End(), []Entry{l.change(v, enrols(2, RoleRead))})
	c := l.proven(b)
	require.Equal(t, InvalidEntry, l.say(2, l.proposal(2, 1, c.End(), unjudged(t, b, c)...)))
	require.Zero(t, l.m.core.Commit().Index)
	require.Equal(t, a.End(), l.m.core.State().Tip)
}

// TestJ1ChangeIsProvenByAcksOfItsEnd: a certificate of later acks would be true, and hundreds of
// times as large.
func TestJ1ChangeIsProvenByAcksOfItsEnd(t *testing.T) {
	l := newChangeLab(t)
	a, _ := l.changed(l.origin(), "x")
	b := l.proven(a, 1)
	late := l.commit(1, a.End())
	late.Headers = []quorumcert.Header{b.Header()}
	late.Signatures = l.collect(func(id NodeID) crypto.Signature {
		return l.ack(id, 1, b.End(), a.Last()).Sig
	})
	for i := range late.Acks {
		late.Acks[i] = quorumcert.AckedAt{Index: b.Last(), Certified: a.Last()}
	}
	require.NoError(t, late.Verify(l.cluster, l.gate.configs.Latest()))
	_, err := l.gate.After(newChangeProof(a, late))
	require.ErrorIs(t, err, ErrChangeProof)
	require.Equal(t, BadCertificate, l.say(3, &Committed{Blocks: []*Block{a}, Commit: late}))
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, a.End(), a)))
	l.say(3, &Proof{TermProof: TermProof{Commit: late}})
	require.NoError(t, l.m.core.Err())
	require.Zero(t, l.m.core.Commit().Index)
	bad := NewBlock(a.End(), []Entry{commitEntry(late)})
	require.Equal(t, InvalidEntry, l.say(2, l.proposal(2, 1, bad.End(), unjudged(t, bad)...)))
}

// TestK1StateComesWithAllChanges: one in its very last block included, which is not what judges it.
func TestK1StateComesWithAllChanges(t *testing.T) {
	l := newChangeLab(t)
	a, v := l.changed(l.origin(), "x")
	m := &Manifest{State: []Digest{{1}}, Commit: *l.commit(1, a.End()), Changes: v.Changes()}
	cp := quorumcert.Checkpoint{
		Cluster: l.cluster, Configuration: a.Last(), Index: a.Last(), Hash: a.Hash(),
	}
	cp.State, cp.Sessions = m.Roots()
	m.Stable = *l.certificateOf(cp)
	require.True(t, m.Verify(l.gate))
	require.True(t, m.Verify(v), "who knows them already")
	m.Changes = nil
	require.False(t, m.Verify(l.gate))
	b := l.proven(a, 1)
	m.Changes = append(v.Changes(), newChangeProof(b, l.commit(1, b.End())))
	require.False(t, m.Verify(l.gate), "one that comes later")
}
