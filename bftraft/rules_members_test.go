package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/quorumcert"
)

func joins(id NodeID) ChangeStep {
	return ChangeStep{Kind: AddNode, Name: "host:1", Key: fakePublic(byte(id))}
}

func promotes(id NodeID) ChangeStep {
	return ChangeStep{Kind: Promote, Key: fakePublic(byte(id))}
}

func dismisses(id NodeID) ChangeStep {
	return ChangeStep{Kind: RemoveNode, Key: fakePublic(byte(id))}
}

// readied returns a change of what a gate knows, with the word of all that are to vote but some.
func readied(v *Verifier, but Set, steps ...ChangeStep) *Change {
	ch := changeOn(v, steps...)
	if next, err := v.Members().After(ch); err == nil {
		for _, n := range next.Incoming {
			if !but.Has(n.ID) {
				ch.AddReady(SignReady(v.Cluster(), ch, fakeHolder(n.ID)))
			}
		}
	}
	return ch
}

// growing is a harness of voters 1 to 4 whose nodes 5 to 8 join as learners.
type growing struct {
	*harness
	sequence uint64
}

func newGrowing(t *testing.T) *growing {
	g := &growing{harness: newHarnessOf(t, changing(4), nil), sequence: 1 << 20}
	for id := NodeID(5); id <= 8; id++ {
		g.members = append(g.members, g.newMember(id, nil))
	}
	g.change(joins(5), joins(6), joins(7), joins(8))
	for id := NodeID(5); id <= 8; id++ {
		g.start(g.node(id))
	}
	g.until(400, func() bool { return g.keepUp(5, 6, 7, 8) })
	return g
}

// until lets time pass until something holds, in which an operation is proposed now and then.
func (g *growing) until(limit int, done func() bool) {
	ok := g.ticks(limit, func() bool {
		if id := g.leaderNow(); id != 0 && g.now%7 == 0 && g.core(id).Room() {
			g.core(id).Propose([]Entry{g.entry("x")})
			g.work(g.node(id))
		}
		return done()
	})
	require.True(g.t, ok, "%s", g.picture())
}

func (g *growing) leaderNow() NodeID {
	for _, m := range g.members {
		if m.core != nil && m.core.leading() && m.core.Room() {
			return m.id
		}
	}
	return 0
}

// newest returns the gate of whoever has got furthest.
func (g *growing) newest() *Verifier {
	var newest *Verifier
	for _, m := range g.members {
		if m.core != nil && (newest == nil ||
			m.core.gate.members.Number > newest.members.Number) {
			newest = m.core.gate
		}
	}
	return newest
}

// change has a change come into force at its leader.
func (g *growing) change(steps ...ChangeStep) {
	g.t.Helper()
	g.until(400, func() bool { return g.leaderNow() != 0 })
	id := g.leaderNow()
	gate := g.core(id).Verifier()
	g.sequence++
	r := SignRequest(g.cluster, fakeHolder(fakeClient), 2, g.sequence,
		[][]byte{readied(gate, 0, steps...).Op()})
	require.Equal(g.t, EntryConfiguration, gate.Entry(r).Kind)
	g.core(id).Propose([]Entry{gate.Entry(r)})
	g.work(g.node(id))
	g.until(400, func() bool { return g.core(id).gate.members.Number > gate.members.Number })
}

func (g *growing) keepUp(ids ...NodeID) bool {
	for _, id := range ids {
		if !g.core(id).KeepsUp() || g.core(id).commit.Index < g.newest().members.At.Index {
			return false
		}
	}
	return true
}

// voters returns who votes by the newest gate, once nothing is being changed.
func (g *growing) voters() Set {
	if m := g.newest().members; m.Joint() {
		return 0
	}
	return g.newest().configs.Latest().Members()
}

func TestJ4LearnersFollowAndSignNothing(t *testing.T) {
	g := newGrowing(t)
	g.until(100, func() bool { return g.keepUp(5, 6, 7, 8) })
	for id := NodeID(5); id <= 8; id++ {
		c := g.core(id)
		require.Positive(t, c.commit.Index, "node %d", id)
		require.Zero(t, c.mark, "it acks nothing")
		require.Zero(t, c.vote, "and votes for nobody")
		require.False(t, c.votes())
	}
	require.Equal(t, quorumcert.SetOf(1, 2, 3, 4), g.voters())
}

// TestJ2AllVotersAreReplacedAtOnce: those that leave are told so, once the new ones have gone on.
func TestJ2AllVotersAreReplacedAtOnce(t *testing.T) {
	g := newGrowing(t)
	g.change(promotes(5), promotes(6), promotes(7), promotes(8), dismisses(1), dismisses(2),
		dismisses(3), dismisses(4))
	g.until(600, func() bool { return g.voters() == quorumcert.SetOf(5, 6, 7, 8) })
	before := g.newest().members.At.Index
	g.until(800, func() bool {
		return g.keepUp(5, 6, 7, 8) && g.core(5).commit.Index > before+3
	})
	for id := NodeID(1); id <= 8; id++ {
		require.Equal(t, id <= 4, g.core(id).Left(), "node %d", id)
	}
	c := g.core(5)
	require.Zero(t, c.gate.nodes&quorumcert.SetOf(1, 2, 3, 4), "they are not listened to any more")
	closing, ok := c.log.covering(before)
	require.True(t, ok)
	require.True(t, closing.Closes())
	require.Equal(t, before, c.configs().For(before+1).Entry())
	r := Restored{HardState: g.node(1).disk.hard, Tip: g.node(1).disk.tip(Position{0, g.cluster}),
		Changes: g.node(1).disk.changes}
	r.Commit = g.node(1).disk.commits[len(g.node(1).disk.commits)-1]
	again, err := NewCore(g.node(1).cfg, r, reader{g.node(1)})
	require.NoError(t, err)
	require.True(t, again.Left(), "it knows after a restart")
}

// TestJ2NewVotersThatFailStopNothing: the old ones go on, until administrators roll the change
// back, and may change the voters again then.
func TestJ2NewVotersThatFailStopNothing(t *testing.T) {
	g := newGrowing(t)
	swap := []ChangeStep{promotes(5), promotes(6), promotes(7), promotes(8), dismisses(1),
		dismisses(2), dismisses(3), dismisses(4)}
	for id := NodeID(5); id <= 8; id++ {
		g.core(id).outOfReach(g)
	}
	g.change(swap...)
	at := g.newest().members.At.Index
	g.until(300, func() bool { return g.core(1).commit.Index > at+5 })
	require.True(t, g.newest().members.Joint())
	ch := changeOn(g.newest(), enrols(1, RoleRead))
	require.ErrorIs(t, g.newest().MayChange(fakePublic(fakeClient), ch), ErrChangeJoint)
	g.change(ChangeStep{Kind: RollBack})
	require.Equal(t, quorumcert.SetOf(1, 2, 3, 4), g.voters())
	g.route = nil
	g.until(600, func() bool { return g.keepUp(5, 6, 7, 8) })
	g.change(swap...)
	g.until(600, func() bool { return g.voters() == quorumcert.SetOf(5, 6, 7, 8) })
}

// TestJ2LeaderThatStartsAgainKeepsTheClosingEntryItHasAcked: only a new one may drop it.
func TestJ2LeaderThatStartsAgainKeepsTheClosingEntryItHasAcked(t *testing.T) {
	g := newGrowing(t)
	g.change(promotes(5))
	id := NodeID(0)
	g.until(300, func() bool {
		for _, m := range g.members {
			if m.core.leading() && m.core.Undecided() {
				id = m.id
				return true
			}
		}
		return false
	})
	g.route = func(frame) {}
	g.crash(g.node(id), 1000)
	g.start(g.node(id))
	require.True(t, g.core(id).leading())
	require.True(t, g.core(id).Undecided())
	require.False(t, g.core(id).silenced())
}

// outOfReach loses all that goes from or to a node.
func (c *Core) outOfReach(g *growing) {
	before, id := g.route, c.id
	g.route = func(f frame) {
		switch {
		case f.from == id || f.to == id:
		case before != nil:
			before(f)
		default:
			g.put(f)
		}
	}
}

// TestJ4LeaderThatLeavesHandsOver: it proposes nothing beyond the closing entry, and another leads.
func TestJ4LeaderThatLeavesHandsOver(t *testing.T) {
	g := newGrowing(t)
	g.until(200, func() bool { return g.leaderNow() != 0 })
	leader := g.leaderNow()
	g.change(promotes(5), dismisses(leader))
	g.until(600, func() bool { return g.voters() != 0 && !g.voters().Has(leader) })
	require.False(t, g.core(leader).Room())
	at := g.newest().members.At.Index
	g.until(600, func() bool { return g.core(5).commit.Index > at })
	require.NotEqual(t, leader, g.core(5).Leader())
}

// joint is a lab of node 1, which follows node 2, in a joint configuration: 1 and 5 to 8 are to
// take over from 1 to 4. It returns the end of its log.
func joint(t *testing.T) (*lab, *Block) {
	return jointWithout(t, 2, 3, 4)
}

// jointWithout is joint, where others go.
func jointWithout(t *testing.T, gone ...NodeID) (*lab, *Block) {
	l := newChangeLab(t)
	handOver := []ChangeStep{promotes(5), promotes(6), promotes(7), promotes(8)}
	for _, id := range gone {
		handOver = append(handOver, dismisses(id))
	}
	last := &Block{}
	at := l.origin()
	for _, steps := range [][]ChangeStep{
		{joins(5), joins(6), joins(7), joins(8)},
		handOver,
	} {
		v := l.m.core.Verifier()
		l.seq++
		e := v.Entry(carried(l.cluster, fakeClient, l.seq, readied(v, 0, steps...)))
		require.Equal(t, EntryConfiguration, e.Kind)
		entries := []Entry{e}
		if at.Index > 0 {
			entries = append([]Entry{l.entry("x")}, e)
		}
		b := NewBlock(at, entries)
		last = NewBlock(b.End(), []Entry{commitEntry(l.commit(1, b.End()))})
		for _, one := range []*Block{b, last} {
			require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, one.End(), one)))
		}
		at = last.End()
	}
	require.True(t, l.m.core.gate.members.Joint())
	l.take()
	return l, last
}

func TestJ2ClosingEntryNeedsBothQuorums(t *testing.T) {
	l, last := joint(t)
	k := NewBlock(last.End(), []Entry{{Kind: EntryClosing}})
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, k.End(), k)))
	say := func(certified Index, ids ...NodeID) {
		for _, id := range ids {
			l.say(id, l.response(id, 1, k.End(), certified))
		}
	}
	c := l.m.core
	say(0, 2, 3, 4)
	require.Less(t, c.lock.Index, k.Last(), "the old voters alone do not certify it")
	say(0, 5, 6)
	require.Less(t, c.lock.Index, k.Last(), "nor do three of the five new ones")
	say(0, 7)
	require.Equal(t, lockAt(1, k), c.lock)
	say(k.Last(), 2, 3, 4)
	l.wait(6)
	require.Less(t, c.commit.Index, k.Last(), "nor commit it")
	require.Equal(t, last.End(), c.commit, "but what lies before")
	say(k.Last(), 5, 6, 7)
	require.Equal(t, k.End(), c.commit)
	require.Equal(t, quorumcert.SetOf(1, 5, 6, 7, 8), c.configs().Latest().Members())
	require.True(t, c.configs().For(k.Last()).Closes(c.commitCert.Signers))
}

func TestJ2OrdinaryEntriesAreCertifiedByTheOldVotersAlone(t *testing.T) {
	l, last := joint(t)
	b := l.block(last.End(), "y")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), b)))
	for _, id := range []NodeID{5, 6, 7, 8} {
		l.say(id, l.response(id, 1, b.End(), 0))
	}
	require.Less(t, l.m.core.lock.Index, b.Last(), "the new ones have no say yet")
	l.say(3, l.response(3, 1, b.End(), 0))
	require.Equal(t, lockAt(1, b), l.m.core.lock)
	require.Zero(t, l.m.core.lockQC.Signers&quorumcert.SetOf(5, 6, 7, 8))
}

func TestJ2ClosingEntryStandsInNoOtherBlock(t *testing.T) {
	l, last := joint(t)
	for name, entries := range map[string][]Entry{
		"with data":    {{Kind: EntryClosing, Data: []byte{1}}},
		"in the midst": {{Kind: EntryClosing}, l.entry("y")},
	} {
		require.Equal(t, entriesInvalid, verdictOn(l.m.core.gate, last.End(), entries...), name)
	}
	require.Equal(t, entriesValid, verdictOn(l.m.core.gate, last.End(), Entry{Kind: EntryClosing}))
	require.Equal(t, entriesInvalid, verdictOn(l.gate, l.origin(), Entry{Kind: EntryClosing}),
		"where nothing is open")
}

// verdictOn returns a gate's verdict on a block of entries behind a position.
func verdictOn(v *Verifier, at Position, entries ...Entry) checkState {
	b, _ := DecodeBlock(NewBlock(at, entries).Raw())
	v.CheckBlocks([]*Block{b})
	return b.checked
}

// electedBy is an election certificate of some.
func (l *lab) electedBy(t Term, leader NodeID, base Lock, ids ...NodeID) *quorumcert.EC {
	var sigs quorumcert.Collector
	for _, id := range ids {
		sigs.Add(id, l.vote(id, t, leader, base).Vote.Sig)
	}
	return &quorumcert.EC{Term: t, Leader: leader, Base: base, Signatures: sigs.Take(^Set(0))}
}

// certifiedBy is a quorum certificate of some.
func (l *lab) certifiedBy(t Term, at Position, ids ...NodeID) *quorumcert.QC {
	qc := &quorumcert.QC{Lock: Lock{Term: t, Index: at.Index, Hash: at.Hash}}
	var sigs quorumcert.Collector
	for _, id := range ids {
		sigs.Add(id, l.ack(id, t, at, 0).Sig)
		qc.Certified = append(qc.Certified, 0)
	}
	qc.Signatures = sigs.Take(^Set(0))
	return qc
}

// TestJ3ElectionOnAClosingEntryNeedsBothQuorums: else the old voters could overwrite what the new
// ones have committed behind it.
func TestJ3ElectionOnAClosingEntryNeedsBothQuorums(t *testing.T) {
	for name, electors := range map[string]struct {
		ids     []NodeID
		follows bool
	}{
		"old alone": {[]NodeID{2, 3, 4}, false},
		"both":      {[]NodeID{2, 3, 4, 5, 6, 7, 8}, true},
	} {
		l, last := joint(t)
		k := NewBlock(last.End(), []Entry{{Kind: EntryClosing}})
		require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, k.End(), k)))
		base := lockAt(1, k)
		qc := l.certifiedBy(1, k.End(), 2, 3, 4, 5, 6, 7, 8)
		ec := l.electedBy(2, 3, base, electors.ids...)
		l.take()
		require.Equal(t, Accepted, l.say(3, &Proof{TermProof: TermProof{EC: ec, BaseQC: qc}}), name)
		l.say(3, l.proposal(3, 2, k.End()))
		require.Equal(t, electors.follows, len(l.acks(4)) > 0, name)
	}
}

// closed goes on until the closing entry is committed, in term 1.
func closed(t *testing.T) (*lab, *Block) {
	l, last := joint(t)
	k := NewBlock(last.End(), []Entry{{Kind: EntryClosing}})
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, k.End(), k)))
	for _, certified := range []Index{0, k.Last()} {
		for _, id := range []NodeID{2, 3, 4, 5, 6, 7, 8} {
			l.say(id, l.response(id, 1, k.End(), certified))
		}
	}
	require.Equal(t, k.End(), l.m.core.commit)
	return l, k
}

func TestJ3BehindTheClosingEntryTheNewVotersElect(t *testing.T) {
	l, k := closed(t)
	v, base := l.m.core.gate, lockAt(1, k)
	require.True(t, v.elects(l.electedBy(2, 5, base, 5, 6, 7, 8)))
	require.False(t, v.elects(l.electedBy(2, 5, base, 5, 6, 7)), "four of five")
	require.False(t, v.elects(l.electedBy(2, 3, base, 2, 3, 4)), "the old ones alone do not")
	require.True(t, v.elects(l.electedBy(2, 3, base, 2, 3, 4, 5, 6, 7, 8)),
		"both may not have known that it is committed")
}

// TestJ5RetiredKeysRewriteNothing: whatever those who have left sign later, with whoever has their
// keys by then, moves and stops nobody.
func TestJ5RetiredKeysRewriteNothing(t *testing.T) {
	l, k := closed(t)
	c := l.m.core
	fork := NewBlock(l.origin(), []Entry{l.entry("another past")})
	ids := []NodeID{2, 3, 4}
	qc := l.certifiedBy(9, fork.End(), ids...)
	cc := l.commit(9, fork.End())
	for name, m := range map[string]Message{
		"qc":       &Proof{TermProof: TermProof{QC: qc}},
		"commit":   &Proof{TermProof: TermProof{Commit: cc}},
		"election": &Proof{TermProof: TermProof{EC: l.electedBy(9, 2, l.genesisLock(), ids...)}},
		"timeout":  &Proof{TermProof: TermProof{TC: l.tc(8)}},
		"catch-up": &Committed{Blocks: []*Block{fork}, Commit: cc},
	} {
		require.Equal(t, BadCertificate, l.say(5, m), name)
	}
	require.Equal(t, Term(1), c.term)
	require.NoError(t, c.Err())
	old := l.certifiedBy(1, fork.End(), ids...)
	l.say(5, &Proof{TermProof: TermProof{QC: old}})
	require.NoError(t, c.Err(), "of the term of the change itself they stop nobody")
	require.Equal(t, k.End(), c.commit)
	bridged := l.commit(1, k.End())
	require.False(t, c.gate.rewritesByCommit(bridged))
}

// TestE2WhoIsAheadByTheWordOfOldVotersHelpsOthersToFollow: its proof moves nobody any more.
func TestE2WhoIsAheadByTheWordOfOldVotersHelpsOthersToFollow(t *testing.T) {
	l, last := joint(t)
	c := l.m.core
	require.Equal(t, Accepted, l.say(2, &Proof{TermProof: TermProof{TC: l.tc(1)}}))
	require.Equal(t, Term(2), c.term)
	k := NewBlock(last.End(), []Entry{{Kind: EntryClosing}})
	cc := &quorumcert.Commit{Term: 1, Index: k.Last(), Hash: k.Hash()}
	var sigs quorumcert.Collector
	for id := NodeID(2); id <= 8; id++ {
		sigs.Add(id, l.ack(id, 1, k.End(), k.Last()).Sig)
		cc.Acks = append(cc.Acks, quorumcert.AckedAt{Index: k.Last(), Certified: k.Last()})
	}
	cc.Signatures = sigs.Take(^Set(0))
	l.take()
	l.say(5, &Committed{Blocks: []*Block{k}, Commit: cc})
	require.Equal(t, k.End(), c.commit)
	require.True(t, c.outdated)
	l.take()
	l.wait(1)
	l.say(6, &Status{Term: 1, Leader: 5, Tip: k.End(), Commit: k.End(), Lock: lockAt(1, k)})
	list := messagesOf[*Suspect](l, 6)
	require.NotEmpty(t, list)
	require.Equal(t, Term(1), list[0].Term)
}

func TestJ2VotersChangeOnlyWhenAQuorumIsReady(t *testing.T) {
	l := newChangeLab(t)
	b := NewBlock(l.origin(), []Entry{l.change(l.m.core.gate, joins(5), joins(6))})
	v, err := l.m.core.gate.After(newChangeProof(b, l.commit(1, b.End())))
	require.NoError(t, err)
	carrier := fakePublic(fakeClient)
	may := func(but Set, steps ...ChangeStep) error {
		return v.MayChange(carrier, readied(v, but, steps...))
	}
	require.NoError(t, may(0, promotes(5)))
	require.NoError(t, may(quorumcert.SetOf(5), promotes(5)), "four of five are enough")
	require.ErrorIs(t, may(quorumcert.SetOf(4, 5), promotes(5)), ErrChangeNotReady)
	foreign := readied(v, quorumcert.SetOf(5), promotes(5))
	foreign.AddReady(SignReady(l.cluster, foreign, fakeHolder(6)))
	require.ErrorIs(t, v.MayChange(carrier, foreign), ErrChangeNotReady, "of one who is not to vote")
	forged := readied(v, 0, promotes(5))
	forged.Ready[0].Sig[3] ^= 1
	require.ErrorIs(t, v.MayChange(carrier, forged), ErrChangeNotReady)
	other := readied(v, 0, promotes(5))
	other.Ready = readied(v, 0, promotes(6)).Ready[:4]
	require.ErrorIs(t, v.MayChange(carrier, other), ErrChangeNotReady, "for another change")
	all := []ChangeStep{dismisses(1), dismisses(2), dismisses(3), dismisses(4)}
	for name, c := range map[string]struct {
		steps []ChangeStep
		why   error
	}{
		"a key that is here":     {[]ChangeStep{joins(3)}, ErrChangeKey},
		"an unknown node":        {[]ChangeStep{dismisses(9)}, ErrChangeUnknown},
		"a voter is promoted":    {[]ChangeStep{promotes(1)}, ErrChangeKey},
		"removed and promoted":   {[]ChangeStep{promotes(5), dismisses(5)}, ErrChangeUnknown},
		"nobody is left":         {all, ErrChangeEmpty},
		"nothing to roll back":   {[]ChangeStep{{Kind: RollBack}}, ErrChangeJoint},
		"rolled back on the way": {[]ChangeStep{joins(9), {Kind: RollBack}}, ErrChangeJoint},
		"an unknown learner":     {[]ChangeStep{promotes(9)}, ErrChangeUnknown},
	} {
		require.ErrorIs(t, may(0, c.steps...), c.why, name)
	}
	gone := NewBlock(b.End(), []Entry{commitEntry(l.commit(1, b.End())), l.change(v, dismisses(5))})
	after, err := v.After(newChangeProof(gone, l.commit(1, gone.End())))
	require.NoError(t, err)
	again := readied(after, 0, joins(5))
	require.ErrorIs(t, after.MayChange(carrier, again), ErrChangeKey, "it stays away")
	require.Equal(t, NodeID(6), after.members.Newest)
	next, err := after.members.After(changeOn(after, joins(9)))
	require.NoError(t, err)
	require.Equal(t, NodeID(7), next.Newest, "ids are not given again at once")
}

// TestJ4LearnersVoteForNobody: nor does anybody whose word would not count.
func TestJ4LearnersVoteForNobody(t *testing.T) {
	g := newGrowing(t)
	c := g.core(5)
	g.route = func(frame) {}
	for range 2000 {
		c.Tick()
		g.work(g.node(5))
	}
	tc := g.core(1).proof
	require.Nil(t, tc.TC)
	lock := c.lock
	l := &lab{harness: g.harness, m: g.node(5)}
	term := c.term
	st := quorumcert.Suspicion{Cluster: g.cluster, Term: term}
	var sigs quorumcert.Collector
	for id := NodeID(1); id <= 3; id++ {
		sigs.Add(id, quorumcert.Sign(fakeSigner{id}, st))
	}
	m := &RequestVote{Term: term + 1, Lock: lock, LockQC: c.lockQC,
		TC: &quorumcert.TC{Term: term, Signatures: sigs.Take(^Set(0))}}
	require.Equal(t, Unserved, l.say(1, m))
	require.Zero(t, c.vote)
	require.Equal(t, term+1, c.term, "though it follows them into the term")
}
