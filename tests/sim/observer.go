package sim

import (
	"fmt"
	"maps"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// The first bytes of messages that hand over blocks: a part of the log, and what is committed.
const (
	kindChain     = 10
	kindCommitted = 12
)

// observer sees everything, touches nothing, and checks the invariants after every event. The
// letters are those of docs/TESTING.md.
type observer struct {
	w     *World
	err   *Violation
	naive *naive
	chart *chart
	lying quorumcert.Set
	// blind turns off what is judged by what could be, for runs with more liars than f: there the
	// damage itself has to show.
	blind bool

	// B3: what an honest node acked at a place, and voted for in a term.
	acks  map[ackKey]crypto.Digest
	votes map[voteKey]quorumcert.Vote
	// B1: who acked what, and the positions acked at one place. S1: who voted for whom.
	signers map[position]quorumcert.Set
	rivals  map[place][]position
	chains  map[bftraft.Term]bftraft.Position // the highest in each term that can be certified
	leaders map[bftraft.Term]map[bftraft.NodeID]support
	// B5: the highest that each node has signed.
	signed []signedState
	// B8: the honest acks of each term that claim something certified.
	claims map[bftraft.Term][]claim
	// B15: which honest nodes suspected each term, and the highest term of an honest node.
	suspects map[bftraft.Term]quorumcert.Set
	highTerm bftraft.Term
	// B2, S5: one committed chain and one state at each index, for all nodes and for ever.
	committed map[bftraft.Index]crypto.Digest
	// checkpoints are those that honest nodes have signed.
	checkpoints map[bftraft.Index]quorumcert.Checkpoint
	blocks      map[bftraft.Index]*bftraft.Block
	asks        map[bftraft.Index]int // how many operations the request there has
	highest     bftraft.Index
	states      map[bftraft.Index]crypto.Digest
	executed    []bftraft.Position
	// S3: the block under each hash that an honest node has stored.
	stored map[bftraft.Position]*bftraft.Block
	// locked holds the positions that some honest node has locked.
	locked map[place]bool

	accepted bftraft.Index // highest index that any client knows of
	ledger   *ledger       // B10, B14
	results  int
	reads    int
	healedAt int
	healTerm bftraft.Term  // the highest honest term at the healing
	restTerm bftraft.Term  // and when all had come to rest
	fellAt   int           // when all nodes were restarted, once all was at rest
	fallen   bftraft.Index // what was committed then
	worst    int           // the longest a request waited that was served after the healing
	office   office
	drops    map[string]int
	refused  map[bftraft.Drop]int // what liars sent and honest nodes refused
	injected map[Kind]int
	hits     [numMarks]int
}

// claim is what an honest node said is certified for it: the ack's position, and up to where.
type claim struct {
	node      bftraft.NodeID
	at        bftraft.Position
	certified bftraft.Index
}

type place struct {
	term  bftraft.Term
	index bftraft.Index
}

type position struct {
	place
	hash crypto.Digest
}

func (p position) end() bftraft.Position { return bftraft.Position{Index: p.index, Hash: p.hash} }

type ackKey struct {
	node bftraft.NodeID
	place
}

type voteKey struct {
	node bftraft.NodeID
	term bftraft.Term
}

// signedState is the highest a node has ever signed of each kind.
type signedState struct {
	mark      bftraft.Lock
	voteTerm  bftraft.Term
	vote      bftraft.NodeID
	certified bftraft.Lock // the highest lock claimed in an ack: term and index
}

func newObserver(w *World) *observer {
	o := &observer{
		w: w, naive: newNaive(w), chart: newChart(w),
		acks: make(map[ackKey]crypto.Digest), signers: make(map[position]quorumcert.Set),
		rivals: make(map[place][]position), chains: make(map[bftraft.Term]bftraft.Position),
		votes:       make(map[voteKey]quorumcert.Vote),
		leaders:     make(map[bftraft.Term]map[bftraft.NodeID]support),
		signed:      make([]signedState, len(w.nodes)+1),
		claims:      make(map[bftraft.Term][]claim),
		suspects:    make(map[bftraft.Term]quorumcert.Set),
		committed:   make(map[bftraft.Index]crypto.Digest),
		checkpoints: make(map[bftraft.Index]quorumcert.Checkpoint),
		states:      make(map[bftraft.Index]crypto.Digest),
		executed:    make([]bftraft.Position, len(w.nodes)+1),
		blocks:      make(map[bftraft.Index]*bftraft.Block),
		asks:        make(map[bftraft.Index]int),
		locked:      make(map[place]bool),
		stored:      make(map[bftraft.Position]*bftraft.Block),
		ledger:      newLedger(), drops: make(map[string]int),
		injected: make(map[Kind]int), refused: make(map[bftraft.Drop]int),
	}
	for _, m := range w.nodes {
		if m.liar {
			o.lying = o.lying.With(m.id)
		}
	}
	o.naive.chart = o.chart
	return o
}

// fail notes the first broken invariant.
func (o *observer) fail(invariant, format string, args ...any) {
	if o.err == nil {
		o.err = &Violation{invariant, o.w.now, fmt.Sprintf(format, args...)}
	}
}

// hit notes that something that has to happen in some runs has happened.
func (o *observer) hit(m mark) { o.hits[m]++ }

func (o *observer) dropped(m *member, from bftraft.NodeID, frame []byte, d bftraft.Drop) {
	o.drops[d.String()]++
	if unknown(frame) {
		o.hit(proStrange)
		return
	}
	if d == bftraft.Accepted && frame[0] == kindCommitted {
		o.hit(seenCaughtUp)
	}
	if m.liar || o.w.nodes[from-1].faulty() {
		if !m.liar {
			o.refused[d]++
		}
		if !m.liar && d == bftraft.PoisonedState {
			o.hit(seenPoisoned)
		}
		return
	}
	switch d {
	case bftraft.BadSignature, bftraft.BadCertificate, bftraft.Malformed, bftraft.Oversize,
		bftraft.WrongSender, bftraft.UnknownSender, bftraft.VoidAck, bftraft.BrokenChain,
		bftraft.InvalidEntry, bftraft.NoProof, bftraft.PoisonedState:
		if o.goodElsewhere(m, from, frame, d) {
			return // one of the two does not know of a change, or has left
		}
		o.fail("B7", "node %d refuses what honest node %d sent: %s", m.id, from, d)
	}
}

// said checks what an honest node has signed and sent.
func (o *observer) said(m *member, msg bftraft.Message) {
	switch msg := msg.(type) {
	case *bftraft.AppendEntries:
		if msg.Ack.Signer == m.id {
			o.saysAck(m, &msg.Ack)
		}
		if msg.Election != nil {
			o.leads(m, msg.Election)
		}
	case *bftraft.AppendEntriesResponse:
		if msg.Ack.Signer == m.id {
			o.saysAck(m, &msg.Ack)
		}
	case *bftraft.Suspect:
		if msg.Signer == m.id {
			o.suspects[msg.Term] = o.suspects[msg.Term].With(m.id)
			o.complains(m, msg.Term)
		}
	case *bftraft.Resign:
		o.hit(seenResigned)
		o.resigns(msg.Term)
	case *bftraft.RequestVoteResponse:
		if msg.Vote.Signer == m.id {
			o.voted(m, &msg.Vote)
			o.voteLeaves(m, &msg.Vote)
			o.trusts(m, &msg.Vote)
		}
	case *bftraft.CheckpointVote:
		o.certifies(m, &msg.Checkpoint)
	case *bftraft.Accusation:
		if culprit := msg.Evidence.Culprit(); !o.w.nodes[culprit-1].faulty() {
			o.fail("B13", "node %d accuses honest node %d", m.id, culprit)
		}
	}
}

func (o *observer) saysAck(m *member, a *quorumcert.SignedAck) {
	_, again := o.acks[ackKey{m.id, place{a.Term, a.Index}}]
	o.acked(m, a)
	o.ackLeaves(m, a)
	if !again {
		o.mayAck(m, a)
	}
}

func (o *observer) acked(m *member, a *quorumcert.SignedAck) {
	at := place{a.Term, a.Index}
	key := ackKey{m.id, at}
	if old, ok := o.acks[key]; ok && old != a.Hash {
		o.fail("B3", "node %d acks two hashes at term %d index %d", m.id, a.Term, a.Index)
	}
	o.acks[key] = a.Hash
	o.proposed(m, a)
	pos := position{at, a.Hash}
	if o.signers[pos] == 0 {
		o.rivals[at] = append(o.rivals[at], pos)
	}
	o.signers[pos] = o.signers[pos].With(m.id)
	o.oneCertificate(at)
	o.oneChain(pos)
	s := &o.signed[m.id]
	mark := bftraft.Lock{Term: a.Term, Index: a.Index, Hash: a.Hash}
	if mark.Higher(s.mark) {
		s.mark = mark
	}
	if a.Certified > 0 {
		o.claims[a.Term] = append(o.claims[a.Term],
			claim{m.id, bftraft.Position{Index: a.Index, Hash: a.Hash}, a.Certified})
	}
	if l := (bftraft.Lock{Term: a.Term, Index: a.Certified}); a.Certified > 0 &&
		l.Higher(s.certified) {
		s.certified = l
	}
}

// oneCertificate is B1 in its latent form: no two hashes at one place have, with all the liars on
// their side, a quorum each.
func (o *observer) oneCertificate(at place) {
	able := 0
	for _, pos := range o.rivals[at] {
		if o.able(pos.end(), o.signers[pos]) && at.index > 0 {
			able++
		}
	}
	if able > 1 && !o.blind {
		o.fail("B1", "two certificates are possible at term %d index %d", at.term, at.index)
	}
}

// oneChain is B1 for certificates of different indexes: all that are possible in a term lie on one
// chain.
func (o *observer) oneChain(pos position) {
	low := pos.end()
	if o.blind || low.Index == 0 || !o.able(low, o.signers[pos]) {
		return
	}
	high, some := o.chains[pos.term]
	if some && low.Index > high.Index {
		low, high = high, low
	}
	if some && !o.descends(high, low) {
		o.fail("B1", "certificates at %d and %d are possible in term %d, on two chains", low.Index,
			high.Index, pos.term)
	}
	if !some {
		high = low
	}
	o.chains[pos.term] = high
}

func (o *observer) voted(m *member, v *quorumcert.SignedVote) {
	key := voteKey{m.id, v.Term}
	old, again := o.votes[key]
	if again && old.Candidate != v.Candidate {
		o.fail("B3", "node %d votes for %d and %d in term %d", m.id, old.Candidate, v.Candidate,
			v.Term)
	}
	if again && old.Lock != v.Lock {
		o.hit(seenVotedAgain)
	}
	o.votes[key] = v.Vote
	s := &o.signed[m.id]
	if v.Term >= s.voteTerm {
		s.voteTerm, s.vote = v.Term, v.Candidate
	}
	if o.leaders[v.Term] == nil {
		o.leaders[v.Term] = make(map[bftraft.NodeID]support)
	}
	t := o.leaders[v.Term]
	votes := t[v.Candidate]
	votes.voters = votes.voters.With(m.id)
	if v.Lock.Higher(votes.lock) {
		votes.lock = v.Lock
	}
	t[v.Candidate] = votes
	able := 0
	for _, id := range slices.Sorted(maps.Keys(t)) {
		if o.electable(t[id]) {
			able++
		}
	}
	if able > 1 && !o.blind {
		o.fail("S1", "two leaders are possible in term %d", v.Term)
	}
}

// leads is S4: an honest leader's log holds all that was committed in earlier terms.
func (o *observer) leads(m *member, ec *quorumcert.EC) {
	if ec.Leader != m.id || ec.Base.Index >= o.highest {
		return
	}
	if !m.holds(bftraft.Position{Index: o.highest, Hash: o.committed[o.highest]}) {
		o.leaderGap(m, ec)
	}
}

// leaderGap fails unless what the leader lacks was committed in this very term or later.
func (o *observer) leaderGap(m *member, ec *quorumcert.EC) {
	for _, other := range o.w.nodes {
		if other.liar || other.proc == nil {
			continue
		}
		c, ok := other.disk.Commit(o.highest)
		if ok && c.Term < ec.Term {
			o.fail("S4", "leader %d of term %d lacks entry %d of term %d", m.id, ec.Term,
				o.highest, c.Term)
		}
	}
}

// commits is B2 and B8: one chain, for all nodes and all time, and nothing on it without a quorum
// that could have committed it.
func (o *observer) commits(m *member, b *bftraft.Block) {
	old, known := o.committed[b.Last()]
	if known && old != b.Hash() {
		o.fail("B2", "node %d commits %s at %d where %s was committed", m.id, b.Hash().Short(),
			b.Last(), old.Short())
	}
	if b.First() > 1 && o.committed[b.First()-1] != b.Header().Prev {
		o.fail("B2", "node %d commits a block at %d that does not follow what was committed",
			m.id, b.First())
	}
	if known {
		return
	}
	if c := o.next(b.Last()); c != nil && c.First() <= b.Last() || o.covers(b) {
		o.fail("B2", "node %d commits a block of %d to %d, which was committed in another", m.id,
			b.First(), b.Last())
	}
	o.committed[b.Last()] = b.Hash()
	o.blocks[b.Last()] = b
	o.proves(m, b)
	o.asked(m, b)
	if b.EndsChange() && !m.liar {
		o.w.learn(m.core.Verifier())
	}
	if !o.blind && !o.couldCommit(b.End()) {
		o.fail("B8", "node %d commits %d, and no quorum can have said so", m.id, b.Last())
	}
	o.highest = max(o.highest, b.Last())
	o.charts()
}

// covers says whether a block that was committed ends within b.
func (o *observer) covers(b *bftraft.Block) bool {
	for i := b.First(); i < b.Last(); i++ {
		if _, some := o.committed[i]; some {
			return true
		}
	}
	return false
}

// couldCommit says whether in some term so many honest nodes, on chains that hold the position,
// claimed it certified that with all the liars they are a quorum (N4).
func (o *observer) couldCommit(at bftraft.Position) bool {
	for _, claims := range o.claims { // any will do: the order does not matter
		var honest quorumcert.Set
		for _, c := range claims {
			if c.certified >= at.Index && !honest.Has(c.node) && o.descends(c.at, at) {
				honest = honest.With(c.node)
			}
		}
		if o.able(at, honest) {
			return true
		}
	}
	return false
}

// descends says whether the chain that ends at tip holds the position.
func (o *observer) descends(tip, at bftraft.Position) bool {
	for tip.Index > at.Index {
		b := o.stored[tip]
		if b == nil {
			return false
		}
		tip = b.Before()
	}
	return tip == at
}

// rises is B15 for the term an honest node has come to, and B7 for the certificate it locks.
func (o *observer) rises(m *member, hs *bftraft.HardState) {
	if hs.LockQC != nil {
		if l := (place{hs.LockQC.Term, hs.LockQC.Index}); !o.locked[l] {
			o.locked[l] = true
			o.w.locksFirst(m)
		}
		if !o.naive.qc(hs.LockQC) {
			o.fail("B7", "node %d locks %d,%d by what is no certificate", m.id, hs.Lock.Term,
				hs.Lock.Index)
		}
	}
	if m.term > hs.Term {
		o.fail("B15", "node %d goes back from term %d to %d", m.id, m.term, hs.Term)
	}
	m.term = hs.Term
	for o.highTerm < hs.Term {
		if o.highTerm > 0 && !o.blind && !o.ableAtAll(o.suspects[o.highTerm].With(m.id)) {
			o.fail("B15", "node %d is in term %d, and no quorum can have ended term %d", m.id,
				hs.Term, o.highTerm)
			return
		}
		if o.highTerm > 0 && !o.elected(o.highTerm) {
			o.hit(seenTerms)
		}
		o.wasted(o.highTerm)
		o.highTerm++
	}
}

// elected says whether anybody can have been elected in a term.
func (o *observer) elected(t bftraft.Term) bool {
	for _, s := range o.leaders[t] { // any will do: the order does not matter
		if o.electable(s) {
			return true
		}
	}
	return false
}

// starts notes that a process begins anew, having executed what it replayed.
func (o *observer) starts(m *member) {
	if info, ok := m.disk.Snapshot(); ok && !m.liar && info.At.Index <= m.proc.Executed().Index {
		o.hit(seenRestored)
	}
	at := m.proc.Executed()
	var replayed []*bftraft.Block
	for at.Index > 0 && o.committed[at.Index] != at.Hash {
		b, ok := m.disk.Block(at.Index)
		if !ok {
			o.fail("B9", "node %d has executed %d, which its disk does not hold", m.id, at.Index)
			return
		}
		replayed = append(replayed, b)
		at = b.Before()
	}
	m.term = 0
	if hs := &m.durable; hs.Mark.Term > 0 && hs.Lock.Term == hs.Mark.Term {
		// What its disk says it has acked and locked it may count for itself, though it crashed
		// before anybody heard of it.
		mark := bftraft.Position{Index: hs.Mark.Index, Hash: hs.Mark.Hash}
		o.claims[hs.Mark.Term] = append(o.claims[hs.Mark.Term],
			claim{m.id, mark, min(hs.Lock.Index, mark.Index)})
	}
	for _, b := range slices.Backward(replayed) {
		o.commits(m, b)
	}
	if m.proc.Core().Backoff >= 2 {
		o.hit(seenBackoff)
	}
}

// lastWords takes notice of what a node has executed, and perhaps told clients, before it crashes
// in the middle of its work.
func (o *observer) lastWords(m *member) {
	for _, b := range m.committed {
		if !m.liar && b.Last() <= m.trap.executed {
			o.commits(m, b)
		}
	}
}

// looksAt checks a node's state after an event.
func (o *observer) looksAt(m *member) {
	if m.liar || m.proc == nil {
		return
	}
	o.inOffice()
	o.holds(m)
	for _, b := range m.committed {
		o.commits(m, b)
		o.executedOf(m, b)
	}
	m.committed = m.committed[:0]
	at := m.proc.Executed()
	if at == o.executed[m.id] {
		return
	}
	o.executed[m.id] = at
	if at.Index > 0 && o.committed[at.Index] != at.Hash {
		o.fail("S5", "node %d executed a block at %d that was not committed", m.id, at.Index)
	}
	o.ran(m)
	o.looksWithin(m)
	if at.Index > 20 && at.Index%32 != 0 && at.Index != o.fallen {
		return // what differs once differs for ever, and all is compared in the end
	}
	o.sameState(m)
}

// sameState is S5: one state and one table of sessions at each index.
func (o *observer) sameState(m *member) {
	at := m.proc.Executed().Index
	d := crypto.Hash(crypto.DomainState, digestBytes(m.machine.Digest()),
		digestBytes(m.proc.SessionsDigest()))
	if old, ok := o.states[at]; ok && old != d {
		o.fail("S5", "node %d has another state at %d", m.id, at)
	}
	o.states[at] = d
}

// looksWithin looks at what a node thinks of the others.
func (o *observer) looksWithin(m *member) {
	s := m.proc.Core()
	o.bows(m, s.Leader)
	for id := s.Faulty.Next(0); id != 0; id = s.Faulty.Next(id) {
		o.hit(seenProof)
		if !o.w.nodes[id-1].faulty() {
			o.fail("B13", "node %d holds honest node %d for faulty", m.id, id)
		}
	}
	if s.Suspects == bftraft.CauseStarvation || s.Suspects == bftraft.CauseSlow {
		o.hit(seenStarving)
	}
	if s.Backoff >= 2 {
		o.hit(seenBackoff)
	}
	if s.Mark.Term == s.Term && s.Mark.Index > 0 && s.Commit.Index >= s.Mark.Index &&
		o.committed[s.Mark.Index] != s.Mark.Hash {
		o.hit(seenTaken)
	}
	if s.Leading {
		for _, other := range o.w.nodes {
			if other != m && other.proc != nil && !other.liar && other.proc.Core().Leading {
				o.hit(seenTwoLeaders)
			}
		}
	}
}

func digestBytes(d crypto.Digest) []byte { return d[:] }
