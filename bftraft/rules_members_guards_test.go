package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/quorumcert"
)

// tells shows the core changes by way of node 3.
func (l *lab) tells(list ...*ChangeProof) {
	require.Equal(l.t, Accepted, l.say(3, &Changes{List: list}))
	require.Equal(l.t, list[len(list)-1].At(), l.m.core.gate.members.At)
}

// TestJ5RetiredKeysCertifyNoState: who was told of a change, and has not got so far, takes in the
// place of its log no state that those have certified since whom the change took away.
func TestJ5RetiredKeysCertifyNoState(t *testing.T) {
	l, last := joint(t)
	before := l.m.core.gate.Changes()
	y, forged := l.block(last.End(), "y"), l.block(last.End(), "forged")
	k, _, cc := l.closingOf(y)
	l.tells(newChangeProof(k, cc))
	gate := l.m.core.gate
	require.Greater(t, gate.members.At.Index, l.m.core.commit.Index)
	proves := func(term Term, b *Block) bool {
		m := &Manifest{State: []Digest{{1}}, Changes: before,
			Commit: *l.commitOf(term, b.End(), 2, 3, 4)}
		cp := quorumcert.Checkpoint{Cluster: l.cluster, Index: b.Last(), Hash: b.Hash(),
			Configuration: gate.configs.Behind(b.Last()).Entry()}
		cp.State, cp.Sessions = m.Roots()
		m.Stable = *l.certificateOf(cp)
		return m.Verify(gate)
	}
	require.True(t, proves(1, y), "a state of before the change is welcome")
	require.False(t, proves(2, forged), "those who committed in that term knew of the change")
}

// TestJ5WhatRetiredKeysCertifyIsNotGathered: the blocks come once this node has been told of a
// change, and the certificate for which it asked for them is one no more.
func TestJ5WhatRetiredKeysCertifyIsNotGathered(t *testing.T) {
	l, change, proof, b := certifiedByFew(t)
	c := l.m.core
	require.NotNil(t, c.gather)
	l.tells(change)
	require.Equal(t, proof.Before(), c.commit)
	require.Equal(t, Unasked, l.say(4, &Chain{Blocks: unjudged(t, proof, b)}))
	require.Less(t, c.lock.Index, b.Last(), "three of five are no quorum behind the change")
	require.Equal(t, Accepted, c.gate.verifyQC(c.lockQC))
}

// TestJ5CertificateIsJudgedByTheChangesThatLeadToIt: what was gathered shows a change on the way.
func TestJ5CertificateIsJudgedByTheChangesThatLeadToIt(t *testing.T) {
	l, last := joint(t)
	c := l.m.core
	k, _, cc := l.closingOf(last)
	proof := NewBlock(k.End(), []Entry{commitEntry(cc)})
	b := l.block(proof.End(), "z")
	few := l.certifiedBy(1, b.End(), 2, 3, 4)
	require.Equal(t, Accepted, l.say(4, &Proof{TermProof: TermProof{QC: few}}))
	require.Equal(t, Stale, l.say(4, &Chain{Blocks: unjudged(t, k, proof, b)}))
	require.Equal(t, k.End(), c.commit, "that is proven")
	require.Less(t, c.lock.Index, b.Last())
	require.Nil(t, c.pending)
}

// TestJ2ClosingEntryThatIsGatheredNeedsBothQuorums: the blocks are taken, as any are, and the
// certificate of the old voters alone is not.
func TestJ2ClosingEntryThatIsGatheredNeedsBothQuorums(t *testing.T) {
	for name, by := range map[string]struct {
		ids   []NodeID
		locks bool
	}{
		"old alone": {[]NodeID{2, 3, 4}, false},
		"both":      {[]NodeID{2, 3, 4, 5, 6, 7, 8}, true},
	} {
		l, last := joint(t)
		k, _, _ := l.closingOf(last)
		qc := l.certifiedBy(1, k.End(), by.ids...)
		require.Equal(t, Accepted, l.say(2, &Proof{TermProof: TermProof{QC: qc}}), name)
		require.Equal(t, Accepted, l.say(2, &Chain{Blocks: unjudged(t, k)}), name)
		require.Equal(t, k.End(), l.m.core.log.tip, name)
		require.Equal(t, by.locks, l.m.core.lock == lockAt(1, k), name)
	}
}

// TestJ1LeaderThatIsToldOfAChangeProposesNothingBeforeIt: what it lets stand by the change may not
// stand where its log ends.
func TestJ1LeaderThatIsToldOfAChangeProposesNothingBeforeIt(t *testing.T) {
	l := newLabOf(t, 1, changing(4), nil)
	c := l.m.core
	ec := l.ec(1, 1, l.genesisLock())
	require.Equal(t, Accepted, l.say(2, &Proof{TermProof: TermProof{EC: ec}}))
	require.True(t, c.Room())
	a, v := l.changed(l.origin(), "x")
	l.tells(newChangeProof(a, l.commit(2, a.End()))) // committed in a term that it has not heard of
	require.True(t, c.leading())
	early := SignRequest(l.cluster, fakeHolder(1), 1, 1, [][]byte{{1}})
	_, err := c.Verifier().VerifyRequest(early.Raw())
	require.NoError(t, err)
	require.Equal(t, entriesInvalid, verdictOn(l.gate, c.log.tip, v.Entry(early)))
	require.False(t, c.Room())
	require.Panics(t, func() { c.Propose([]Entry{v.Entry(early)}) })
}

// TestJ1LeaderIsNotBlamedForWhatLiesBeforeAChange: who was told of the change cannot judge it.
func TestJ1LeaderIsNotBlamedForWhatLiesBeforeAChange(t *testing.T) {
	l := newChangeLab(t)
	x := l.block(l.origin(), "x")
	a, _ := l.changed(x.End(), "y")
	cc := l.commit(1, a.End())
	l.tells(newChangeProof(a, cc))
	require.Equal(t, MissingBlocks, l.say(2, l.proposal(2, 1, x.End(), unjudged(t, x)...)))
	require.Equal(t, MissingBlocks, l.say(2, l.proposal(2, 1, a.End(), unjudged(t, x, a)...)))
	require.Zero(t, l.m.core.faulty)
	committed := &Committed{Blocks: unjudged(t, x, a), Commit: cc}
	require.Equal(t, Accepted, l.say(3, committed), "it comes with its certificate")
	b := l.proven(a, 1)
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), unjudged(t, b)...)))
	require.Equal(t, b.End(), l.m.core.log.tip)
}

// another is the number of the key that gets id 5 once all ids have been given.
const another = 65

// history makes changes one behind the other, proven by nodes 1 to 4.
type history struct {
	*lab
	gate *Verifier
	at   Position
	last *quorumcert.Commit // of the newest change
}

func newHistory(l *lab) *history { return &history{lab: l, gate: l.gate, at: l.origin()} }

// goOn has an entry come into force and returns what proves it.
func (h *history) goOn(e Entry) *ChangeProof {
	var entries []Entry
	if h.last != nil {
		entries = append(entries, commitEntry(h.last))
	}
	b := NewBlock(h.at, append(entries, e))
	h.at, h.last = b.End(), h.commitOf(1, b.End(), 1, 2, 3, 4)
	p := newChangeProof(b, h.last)
	next, err := h.gate.After(p)
	require.NoError(h.t, err)
	h.gate = next
	return p
}

// change has a change come into force, and closes it if it is one of the voters, of whom 1 to 4
// are a quorum.
func (h *history) change(steps ...ChangeStep) []*ChangeProof {
	h.seq++
	ch := changeOn(h.gate, steps...)
	if next, err := h.gate.members.After(ch); err == nil && next.Joint() {
		for id := NodeID(1); id <= 4; id++ {
			ch.AddReady(SignReady(h.cluster, ch, fakeHolder(id)))
		}
	}
	e := h.gate.Entry(carried(h.cluster, fakeClient, h.seq, ch))
	require.Equal(h.t, EntryConfiguration, e.Kind)
	list := []*ChangeProof{h.goOn(e)}
	if h.gate.members.Joint() {
		list = append(list, h.goOn(Entry{Kind: EntryClosing}))
	}
	return list
}

// fill gives all ids to somebody, 5 to the key of that number.
func (h *history) fill() []*ChangeProof {
	var steps []ChangeStep
	for id := NodeID(5); id <= quorumcert.MaxVoters; id++ {
		steps = append(steps, joins(id))
	}
	return h.change(steps...)
}

// reissue takes node 5 away and gives its id to another key.
func (h *history) reissue() []*ChangeProof {
	list := append(h.change(dismisses(5)), h.change(joins(another))...)
	require.Equal(h.t, fakePublic(another), h.gate.members.keyOf(5))
	return list
}

// TestJ6MessageUnderAKeyThatHasLeftIsNotThatOfWhoHasItsID: it was judged before this node knew.
func TestJ6MessageUnderAKeyThatHasLeftIsNotThatOfWhoHasItsID(t *testing.T) {
	l := newChangeLab(t)
	c, h := l.m.core, newHistory(l)
	l.tells(h.fill()...)
	ack := l.response(5, 1, l.block(l.origin(), "x").End(), 0)
	early, drop := c.Verifier().Verify(5, Encode(ack))
	require.Equal(t, Accepted, drop)
	l.tells(h.reissue()...)
	require.True(t, c.gate.nodes.Has(5))
	require.Equal(t, Stale, c.Step(early))
	require.Empty(t, c.peers[5].acks)
	other, drop := c.Verifier().Verify(2, Encode(l.response(2, 1, l.origin(), 0)))
	require.Equal(t, Accepted, drop)
	l.tells(h.change(enrols(1, RoleRead))...)
	require.Equal(t, Accepted, c.Step(other), "whose key has stayed is heard")
}

// TestJ6WhatIsKnownOfAKeyThatHasLeftIsNotOfWhoHasItsID: neither what it has said, which would be
// counted under the new key, nor what it is guilty of.
func TestJ6WhatIsKnownOfAKeyThatHasLeftIsNotOfWhoHasItsID(t *testing.T) {
	l := newChangeLab(t)
	c, h := l.m.core, newHistory(l)
	l.tells(append(h.fill(), h.change(promotes(5))...)...)
	x := l.block(l.origin(), "x")
	require.Equal(t, Accepted, l.say(5, l.response(5, 1, x.End(), 0)))
	l.say(5, &Status{Term: 1, Tip: x.End(), Commit: x.End(), Lock: l.genesisLock()})
	require.Equal(t, Accepted, l.say(5, l.vote(5, 1, 2, l.genesisLock())))
	require.Equal(t, Conflict, l.say(5, l.vote(5, 1, 3, l.genesisLock())))
	require.Equal(t, quorumcert.SetOf(5), c.faulty)
	require.Equal(t, x.Last(), c.Shows(5))
	require.Len(t, c.State().Evidence, 1)
	l.tells(h.reissue()...)
	require.Equal(t, peer{}, c.peers[5])
	require.Zero(t, c.faulty)
	require.Empty(t, c.State().Evidence)
}

// TestJ6SuspicionUnderAKeyThatHasLeftEndsNoTerm: with it the certificate would be none, and whom
// others follow into a term they could not follow.
func TestJ6SuspicionUnderAKeyThatHasLeftEndsNoTerm(t *testing.T) {
	l := newChangeLab(t)
	c, h := l.m.core, newHistory(l)
	l.tells(append(h.fill(), h.change(promotes(5))...)...)
	require.Equal(t, Accepted, l.say(5, l.suspect(5, 1)))
	l.tells(append(h.reissue(), h.change(promotes(another))...)...)
	require.Equal(t, quorumcert.SetOf(1, 2, 3, 4, 5), c.electionConfig().Members())
	for id := NodeID(2); id <= 4; id++ {
		require.Equal(t, Accepted, l.say(id, l.suspect(id, 1)))
	}
	c.starve(true)
	l.wait(6)
	require.Equal(t, Term(2), c.term, "with this node's own they are four of five")
	require.Equal(t, Accepted, c.gate.verifyTC(c.proof.TC))
}

// TestJ4CheckpointOfAQuorumIsOneOfVoters: learners say nothing of theirs, and if they do nobody
// counts it.
func TestJ4CheckpointOfAQuorumIsOneOfVoters(t *testing.T) {
	g := newGrowing(t)
	l := &lab{harness: g.harness, m: g.node(5)}
	g.route = func(f frame) { l.sent = append(l.sent, f) }
	at := g.core(5).commit
	require.Equal(t, at, g.core(1).log.floor(at.Index))
	cp := quorumcert.Checkpoint{Cluster: l.cluster, Index: at.Index, Hash: at.Hash,
		Configuration: g.core(5).configs().Behind(at.Index).Entry()}
	l.certify(cp)
	l.wait(2 * l.m.core.cfg.HeartbeatTicks)
	require.Empty(t, messagesOf[*CheckpointVote](l, 1))
	l.m = g.node(1)
	l.certify(cp)
	require.Len(t, messagesOf[*CheckpointVote](l, 5), 1)
	for _, id := range []NodeID{2, 5, 6, 7, 8} {
		require.Equal(t, Accepted, l.say(id, l.checkpointOf(id, cp)))
		require.Nil(t, l.m.core.stable, "node %d", id)
	}
	require.Equal(t, Accepted, l.say(3, l.checkpointOf(3, cp)))
	require.Equal(t, quorumcert.SetOf(1, 2, 3), l.m.core.stable.Signers)
}

// succeeds has node 1 lead term 2, elected with its lock.
func (l *lab) succeeds(electors ...NodeID) {
	c := l.m.core
	ec := l.electedBy(2, 1, c.lock, electors...)
	require.Equal(l.t, Accepted, l.say(5, &Proof{TermProof: TermProof{EC: ec, BaseQC: c.lockQC}}))
	require.True(l.t, c.leading())
}

// lockedJoint is joint, where node 1 has locked the end of its log.
func lockedJoint(t *testing.T) (*lab, *Block) {
	l, last := joint(t)
	for id := NodeID(2); id <= 4; id++ {
		l.say(id, l.response(id, 1, last.End(), 0))
	}
	require.Equal(t, lockAt(1, last), l.m.core.lock)
	return l, last
}

// TestJ3NewLeaderDropsAClosingEntryThatIsNotCertified: the incoming voters may have failed, and
// nothing could follow it. One that is certified it must keep.
func TestJ3NewLeaderDropsAClosingEntryThatIsNotCertified(t *testing.T) {
	l, last := lockedJoint(t)
	c := l.m.core
	k, _, _ := l.closingOf(last)
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, k.End(), k)))
	l.succeeds(2, 3, 4)
	require.Equal(t, last.End(), c.log.tip)
	require.True(t, c.Room(), "the old voters go on alone")
	c.Propose([]Entry{l.entry("y")})
	l.work(l.m)
	y := c.log.tip
	for _, certified := range []Index{0, y.Index} {
		for id := NodeID(2); id <= 4; id++ {
			l.say(id, l.response(id, 2, y, certified))
		}
	}
	require.Equal(t, y, c.commit)

	l, last = lockedJoint(t)
	k, _, _ = l.closingOf(last)
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, k.End(), k)))
	for id := NodeID(2); id <= 8; id++ {
		l.say(id, l.response(id, 1, k.End(), 0))
	}
	require.Equal(t, lockAt(1, k), l.m.core.lock)
	l.succeeds(2, 3, 4, 5, 6, 7, 8)
	require.Equal(t, k.End(), l.m.core.log.tip)
	require.False(t, l.m.core.Room())
}

// TestJ2ChangeIsClosedThoughThereIsAlwaysMoreToPropose: clients that fill the window as soon as
// there is room do not keep a change open.
func TestJ2ChangeIsClosedThoughThereIsAlwaysMoreToPropose(t *testing.T) {
	l, _ := lockedJoint(t)
	c := l.m.core
	c.cfg.MaxInflight = 1
	l.succeeds(2, 3, 4)
	closed := func() bool { return c.Undecided() }
	for range 4 {
		at := c.log.tip
		for _, certified := range []Index{0, at.Index} {
			for id := NodeID(2); id <= 8 && !closed(); id++ {
				m := l.response(id, 2, at, certified)
				l.hand(frame{from: id, to: 1, msg: m, raw: Encode(m)})
				for c.Room() {
					c.Propose([]Entry{l.entry("more")})
				}
				l.work(l.m)
			}
		}
	}
	require.True(t, closed())
}

// TestN1LeaderBehindAChangeWaitsForNoCertificateOfIt: those who would have to sign it in this term
// have left. It goes on with the proof of the change, though no more than one block may be on its
// way.
func TestN1LeaderBehindAChangeWaitsForNoCertificateOfIt(t *testing.T) {
	l, k := closed(t)
	c := l.m.core
	require.Equal(t, lockAt(1, k), c.lock)
	c.cfg.MaxInflight = 1
	l.succeeds(5, 6, 7, 8)
	for id := NodeID(5); id <= 8; id++ {
		l.say(id, l.response(id, 2, k.End(), 0))
	}
	require.Equal(t, Term(1), c.lock.Term)
	require.Greater(t, c.log.tip.Index, k.Last())
	require.Equal(t, EntryCommit, c.log.tail[len(c.log.tail)-1].Entries()[0].Kind)
}

// TestJ4ChangesThatOneIsToldAtTheStartAreKept: whoever starts it again need not tell them again.
func TestJ4ChangesThatOneIsToldAtTheStartAreKept(t *testing.T) {
	l := newChangeLab(t)
	_, v := l.changed(l.origin(), "x")
	m := l.newMember(4, func(c *Config) { c.Verifier = v })
	l.start(m)
	require.Equal(t, v.Changes(), m.disk.changes)
	l.crash(m, 1000)
	m.cfg.Verifier = l.gate
	l.start(m)
	require.Equal(t, v.Members(), m.core.Verifier().Members())
	require.Equal(t, v.Changes(), m.disk.changes, "and are written once")
}

// TestJ2BaseOfTheOldVotersAloneIsNotAcked: the election is of both, and what it shows for its base
// is not.
func TestJ2BaseOfTheOldVotersAloneIsNotAcked(t *testing.T) {
	l, last := joint(t)
	c := l.m.core
	k, qc, _ := l.closingOf(last)
	few := l.certifiedBy(1, k.End(), 2, 3, 4)
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, k.End(), k)))
	both := l.electedBy(2, 4, lockAt(1, k), 2, 3, 4, 5, 6, 7, 8)
	require.Equal(t, Accepted, l.elects(both, few))
	require.Equal(t, BadBase, l.say(4, l.proposal(4, 2, k.End())))
	require.Less(t, c.lock.Index, k.Last())

	l, _ = joint(t) // of the same log
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, k.End(), k)))
	require.Equal(t, Accepted, l.elects(both, qc))
	require.Equal(t, Accepted, l.say(4, l.proposal(4, 2, k.End())))
	require.Equal(t, lockAt(1, k), l.m.core.lock)
}

// TestJ2LockThatComesWithACommitNeedsBothQuorums: the closing entry is committed by both, and the
// certificate that is handed over along with it is of the old voters alone.
func TestJ2LockThatComesWithACommitNeedsBothQuorums(t *testing.T) {
	for name, ids := range map[string][]NodeID{
		"old alone": {2, 3, 4}, "both": {2, 3, 4, 5, 6, 7, 8},
	} {
		l, last := lockedJoint(t)
		c := l.m.core
		y := l.block(last.End(), "y")
		require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, y.End(), y)))
		for id := NodeID(2); id <= 4; id++ {
			l.say(id, l.response(id, 1, y.End(), 0))
		}
		require.Equal(t, lockAt(1, y), c.lock)
		k, _, _ := l.closingOf(last)
		m := &Committed{Blocks: []*Block{k}, LockQC: l.certifiedBy(2, k.End(), ids...),
			Commit: l.commitOf(2, k.End(), 2, 3, 4, 5, 6, 7, 8)}
		require.Equal(t, Accepted, l.say(5, m))
		require.Equal(t, k.End(), c.commit)
		require.Equal(t, len(ids) > 3, c.lock == lockAt(2, k), name)
	}
}

// TestJ3CandidateOnAClosingEntryLeadsWithBothQuorums: with the votes of the old ones alone it would
// lead nobody, and ask for no more.
func TestJ3CandidateOnAClosingEntryLeadsWithBothQuorums(t *testing.T) {
	l, last := lockedJoint(t)
	c := l.m.core
	k, _, _ := l.closingOf(last)
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, k.End(), k)))
	for id := NodeID(2); id <= 8; id++ {
		l.say(id, l.response(id, 1, k.End(), 0))
	}
	require.Equal(t, lockAt(1, k), c.lock)
	require.Equal(t, Accepted, l.say(2, &Proof{TermProof: TermProof{TC: l.tc(1)}}))
	l.stand()
	for _, id := range []NodeID{2, 3, 4, 5, 6} {
		require.Equal(t, Accepted, l.say(id, l.vote(id, 2, 1, c.lock)))
		require.False(t, c.leading(), "node %d", id)
	}
	require.Equal(t, Accepted, l.say(7, l.vote(7, 2, 1, c.lock)))
	require.True(t, c.leading())
	require.NoError(t, c.election.Verify(l.cluster, c.configs().Latest()))
}

// caughtUp is a node that knows the closing entry to be committed and has certified nothing itself,
// with a block of another past, as long as the log up to there.
func caughtUp(t *testing.T) (*lab, *Block) {
	l, last := joint(t)
	k, _, cc := l.closingOf(last)
	require.Equal(t, Accepted, l.say(5, &Committed{Blocks: []*Block{k}, Commit: cc}))
	require.Equal(t, k.End(), l.m.core.commit)
	require.Equal(t, l.genesisLock(), l.m.core.lock)
	return l, NewBlock(last.End(), []Entry{l.entry("another past")})
}

// TestJ5RetiredKeysStopNobody: what those sign whom a change took away, for the term of the change,
// contradicts it, and proves nothing of more than f who have a say now.
func TestJ5RetiredKeysStopNobody(t *testing.T) {
	l, forged := caughtUp(t)
	qc := l.certifiedBy(1, forged.End(), 2, 3, 4)
	require.Equal(t, Duplicate, l.say(5, &Proof{TermProof: TermProof{QC: qc}}))
	require.NoError(t, l.m.core.Err())
	cc := l.commitOf(1, forged.End(), 2, 3, 4)
	require.Equal(t, Duplicate, l.say(5, &Proof{TermProof: TermProof{Commit: cc}}))
	require.Equal(t, Conflict, l.say(5, &Committed{Commit: cc}))
	require.NoError(t, l.m.core.Err())
	require.Less(t, l.m.core.lock.Index, forged.Last())
}

// TestJ5WhatIsGatheredForRetiredKeysStopsNobody: it was begun before the change, and is shown to
// lead past it.
func TestJ5WhatIsGatheredForRetiredKeysStopsNobody(t *testing.T) {
	l, last := joint(t)
	c := l.m.core
	f := l.block(last.End(), "another past")
	g := l.block(f.End(), "as long")
	qc := l.certifiedBy(1, g.End(), 2, 3, 4)
	require.Equal(t, Accepted, l.say(4, &Proof{TermProof: TermProof{QC: qc}}))
	y := l.block(last.End(), "y")
	k, _, cc := l.closingOf(y)
	require.Equal(t, g.Last(), k.Last())
	require.Equal(t, Accepted, l.say(5, &Committed{Blocks: []*Block{y, k}, Commit: cc}))
	require.NotNil(t, c.gather)
	require.Equal(t, Conflict, l.say(4, &Chain{Blocks: unjudged(t, g)}))
	require.NoError(t, c.Err())
	require.Nil(t, c.gather)
}

// TestJ5RetiredKeysStopNobodyWhoIsToldOfAChange is the same for one whose log has not got so far.
func TestJ5RetiredKeysStopNobodyWhoIsToldOfAChange(t *testing.T) {
	l, last := joint(t)
	c := l.m.core
	y := l.block(last.End(), "y")
	z := l.block(y.End(), "z")
	cc := l.commitOf(1, y.End(), 2, 3, 4)
	require.Equal(t, Accepted, l.say(5, &Committed{Blocks: []*Block{y}, Commit: cc}))
	k := NewBlock(z.End(), []Entry{{Kind: EntryClosing}})
	by := l.commitOf(2, k.End(), 2, 3, 4, 5, 6, 7, 8)
	l.tells(newChangeProof(k, by))
	require.Equal(t, y.End(), c.commit)

	f := l.block(last.End(), "another past")
	g := l.block(f.End(), "as long")
	m := &Committed{Blocks: []*Block{f, g}, Commit: l.commitOf(1, g.End(), 2, 3, 4)}
	require.Equal(t, Conflict, l.say(5, m))
	require.NoError(t, c.Err())
	l.elects(l.electedBy(2, 4, l.genesisLock(), 2, 3, 4), nil)
	require.NoError(t, c.Err())
	require.Zero(t, c.Leader(), "nobody who has a say has elected on what was replaced")
}

// TestJ5CatchUpUpToAChangeComesWithNoLockBeyondIt: who does not know of the change could not judge
// it, and would refuse all of it.
func TestJ5CatchUpUpToAChangeComesWithNoLockBeyondIt(t *testing.T) {
	l, k := closed(t)
	c := l.m.core
	cc := c.gate.changes[len(c.gate.changes)-1].Commit
	proof := NewBlock(k.End(), []Entry{commitEntry(&cc)})
	ids := []NodeID{5, 6, 7, 8}
	require.Equal(t, Accepted, l.say(5, &Committed{Blocks: []*Block{proof},
		Commit: l.commitOf(1, proof.End(), ids...)}))
	qc := l.certifiedBy(1, proof.End(), ids...)
	require.Equal(t, Accepted, l.say(5, &Proof{TermProof: TermProof{QC: qc}}))
	require.Equal(t, lockAt(1, proof), c.lock)
	l.take()
	require.Equal(t, Accepted, l.say(6, &FetchCommitted{After: l.origin()}))
	answer := messagesOf[*Committed](l, 6)
	require.Len(t, answer, 1)
	require.Equal(t, Accepted, l.gate.verifyCommitted(answer[0]))
	l.take()
	require.Equal(t, Accepted, l.say(7, &FetchCommitted{After: k.End()}))
	answer = messagesOf[*Committed](l, 7)
	require.Len(t, answer, 1)
	require.Equal(t, qc, answer[0].LockQC)
}

// TestJ2WhoIsToldOfAChangeIsReadyOnceItHasGotThere: for the next one.
func TestJ2WhoIsToldOfAChangeIsReadyOnceItHasGotThere(t *testing.T) {
	l := newChangeLab(t)
	c, h := l.m.core, newHistory(l)
	list := h.change(joins(5))
	for id := NodeID(2); id <= 4; id++ {
		l.say(id, &Status{Term: 1, Tip: l.origin(), Lock: l.genesisLock(), Commit: l.origin()})
	}
	l.wait(6)
	require.True(t, c.KeepsUp())
	l.tells(list...)
	require.True(t, c.KeepsUp())
	next := changeOn(c.gate, promotes(5))
	require.Equal(t, ReadyBehind, c.ReadyFor(next).Code)
}
