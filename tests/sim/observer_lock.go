package sim

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// watched is an honest core as the observer sees it: it looks at each of its steps, and at each
// Ready that leaves.
type watched struct {
	*bftraft.Core
	w *World
	m *member
}

// lockWatch is what is known of a node for the discipline of locks (B6).
type lockWatch struct {
	lock  bftraft.Lock
	vote  bftraft.VoteRecord
	tip   bftraft.Position
	moves []lockMove // not judged yet: the blocks come with the Ready
	shown []*quorumcert.EC
}

// lockMove is a change of a lock.
type lockMove struct {
	term      bftraft.Term
	from, to  bftraft.Lock
	candidate bool // the node stood for election, and has acked nothing in the term
}

// watch puts the observer around the core of a process that starts.
func watch(w *World, m *member, core *bftraft.Core) *watched {
	m.core = core
	m.lock = lockWatch{vote: core.Vote()}
	m.lock.lock, _ = core.LockWithQC()
	m.lock.tip = core.Commit()
	if blocks := core.Uncommitted(); len(blocks) > 0 {
		m.lock.tip = blocks[len(blocks)-1].End()
	}
	return &watched{core, w, m}
}

// Step implements replica.Protocol.
func (p *watched) Step(v bftraft.Verified) bftraft.Drop {
	p.m.lock.sees(v.Message())
	drop := p.Core.Step(v)
	p.w.watch.moves(p.m)
	return drop
}

// Tick implements replica.Protocol.
func (p *watched) Tick() {
	p.Core.Tick()
	p.w.watch.moves(p.m)
}

// Ready implements replica.Protocol.
func (p *watched) Ready() (bftraft.Ready, bool) {
	r, some := p.Core.Ready()
	for _, b := range r.Blocks {
		p.w.watch.stores(p.m, b)
	}
	p.w.watch.moves(p.m)
	p.w.watch.truncates(p.m, &r, p.Leader())
	p.w.watch.disciplines(p.m, &r)
	p.w.watch.finds(p.m, &r)
	p.w.watch.knows(p.Leader(), p.Term())
	p.m.committed = append(p.m.committed, r.Committed...)
	if hs := r.HardState; hs != nil {
		p.w.watch.rises(p.m, hs)
	}
	return r, some
}

// sees notes the elections that a node is shown.
func (l *lockWatch) sees(msg bftraft.Message) {
	switch msg := msg.(type) {
	case *bftraft.AppendEntries:
		l.elected(msg.Election)
	case *bftraft.Proof:
		l.elected(msg.EC)
	}
}

// elected notes an election, and forgets those of earlier terms, once there is no move left that
// has to be judged by them.
func (l *lockWatch) elected(ec *quorumcert.EC) {
	if ec == nil {
		return
	}
	kept := l.shown[:0]
	for _, old := range l.shown {
		if old.Term == ec.Term && old.Base == ec.Base && old.Leader == ec.Leader ||
			old.Term > ec.Term {
			return
		}
		if old.Term == ec.Term || len(l.moves) > 0 {
			kept = append(kept, old)
		}
	}
	l.shown = append(kept, ec)
}

// isBase says whether a node was shown an election of a term with this base.
func (l *lockWatch) isBase(t bftraft.Term, base bftraft.Lock) bool {
	for _, ec := range l.shown {
		if ec.Term == t && ec.Base == base {
			return true
		}
	}
	return false
}

// moves notes how lock and vote of a node change, after each of its steps. A vote is judged by the
// lock that was held before it (E4).
func (o *observer) moves(m *member) {
	l, t := &m.lock, m.core.Term()
	vote := m.core.Vote()
	if vote != l.vote {
		if vote.Candidate != 0 {
			o.votesFor(m, t, vote)
		}
		l.vote = vote
	}
	if lock, _ := m.core.LockWithQC(); lock != l.lock {
		l.moves = append(l.moves, lockMove{
			t, l.lock, lock, vote.Candidate == m.id && o.signed[m.id].mark.Term < t,
		})
		l.lock = lock
	}
}

// votesFor is B6 of a vote: its lock is of an earlier term, the voter held none that is higher, and
// who has acked in a term votes in it for nobody it has not voted for before.
func (o *observer) votesFor(m *member, t bftraft.Term, vote bftraft.VoteRecord) {
	switch held := m.lock.lock; {
	case vote.Lock.Term >= t:
		o.fail("B6", "node %d votes in term %d for a lock of term %d", m.id, t, vote.Lock.Term)
	case held.Higher(vote.Lock):
		o.fail("B6", "node %d votes for the lock %d,%d of node %d and holds %d,%d", m.id,
			vote.Lock.Term, vote.Lock.Index, vote.Candidate, held.Term, held.Index)
	}
	if old, ok := o.votes[voteKey{m.id, t}]; o.signed[m.id].mark.Term == t &&
		(!ok || old.Candidate != vote.Candidate) {
		o.fail("B6", "node %d has acked in term %d and votes in it for node %d", m.id, t,
			vote.Candidate)
	}
}

// disciplines is B6 of what a Ready makes durable: how the lock may move (N3, A2, N6), what may be
// replaced (A4, A5), and that the chain holds the lock.
func (o *observer) disciplines(m *member, r *bftraft.Ready) {
	l := &m.lock
	if hs := r.HardState; hs != nil {
		if !o.naive.ec(hs.Proof.EC) {
			o.fail("B7", "node %d follows what is no election in term %d", m.id, hs.Term)
		}
		l.elected(hs.Proof.EC)
	}
	if r.Truncated {
		for l.tip.Index > r.Truncate {
			b := o.stored[l.tip]
			if b == nil {
				break // it was stored by a process that crashed before it said so
			}
			l.tip = b.Before()
		}
	}
	if n := len(r.Blocks); n > 0 {
		l.tip = r.Blocks[n-1].End()
	}
	for _, move := range l.moves {
		o.mayMove(m, move)
	}
	if r.Truncated {
		o.mayReplace(m, m.core.Term())
	}
	if (r.Truncated || len(l.moves) > 0) && !o.onChain(l.tip, positionOf(l.lock)) &&
		!o.forked(m, positionOf(l.lock)) {
		o.fail("B6", "node %d locks %d,%d, which its chain does not hold", m.id, l.lock.Term,
			l.lock.Index)
	}
	l.moves = l.moves[:0]
}

func positionOf(l bftraft.Lock) bftraft.Position {
	return bftraft.Position{Index: l.Index, Hash: l.Hash}
}

// mayMove judges one change of a lock. It goes up, within its term, or to the base of an election
// that the node was shown, or as a candidate, or where what it stood on has gone for what is
// committed, or for a state (K1); it goes down to such a base only, when the entries of
// a lock of an earlier term have gone.
func (o *observer) mayMove(m *member, v lockMove) {
	base := m.lock.isBase(v.term, v.to)
	switch {
	case v.to.Term > v.term:
		o.fail("B6", "node %d locks %d,%d in term %d", m.id, v.to.Term, v.to.Index, v.term)
	case v.to.Higher(v.from) && v.to.Term < v.term && !base && !v.candidate &&
		!o.forked(m, positionOf(v.from)) && v.from.Index >= m.disk.Base().Index:
		o.fail("B6", "node %d takes the lock %d,%d in term %d, which is not the base", m.id,
			v.to.Term, v.to.Index, v.term)
	case v.to.Higher(v.from):
	case !base:
		o.fail("B6", "node %d lowers its lock from %d,%d to %d,%d, which is no base of term %d",
			m.id, v.from.Term, v.from.Index, v.to.Term, v.to.Index, v.term)
	case v.from.Term >= v.term:
		o.fail("B6", "node %d lowers its lock %d,%d in the lock's own term", m.id, v.from.Term,
			v.from.Index)
	case o.onChain(m.lock.tip, positionOf(v.from)):
		o.fail("B6", "node %d lowers its lock from %d,%d though it holds the entries", m.id,
			v.from.Term, v.from.Index)
	}
}

// mayReplace judges what is left of the chain when a part of it was replaced: what is committed,
// what was certified in the term, and what was acked in it but for what was committed instead (N6).
func (o *observer) mayReplace(m *member, t bftraft.Term) {
	before := &m.saved
	switch tip := m.lock.tip; {
	case !o.onChain(tip, m.core.Commit()):
		o.fail("B6", "node %d replaces what it has committed", m.id)
	case before.Lock.Term == t && !o.onChain(tip, positionOf(before.Lock)):
		o.fail("B6", "node %d replaces %d, which was certified in term %d", m.id,
			before.Lock.Index, t)
	case before.Mark.Term == t && !o.onChain(tip, positionOf(before.Mark)) &&
		!o.forked(m, positionOf(before.Mark)):
		o.fail("B6", "node %d replaces %d, which it acked in term %d", m.id, before.Mark.Index, t)
	}
}

// onChain says whether the chain that ends at tip holds a position. What lies below what is
// committed need not be walked along.
func (o *observer) onChain(tip, at bftraft.Position) bool {
	for tip.Index > at.Index {
		if at.Index == 0 || o.committed[tip.Index] == tip.Hash && o.committed[at.Index] == at.Hash {
			return true
		}
		b := o.stored[tip]
		if b == nil {
			return false
		}
		tip = b.Before()
	}
	return tip == at
}

// forked says whether a position is on another chain than what a node has committed.
func (o *observer) forked(m *member, at bftraft.Position) bool {
	commit := m.core.Commit()
	if at.Index > commit.Index {
		return !o.onChain(at, commit)
	}
	return !o.onChain(commit, at)
}

// mayAck is B6 of an ack that a node has not sent before: it has entered no later term, and the
// chain that it acks holds the base of an election of the term that it was shown (A2).
func (o *observer) mayAck(m *member, a *quorumcert.SignedAck) {
	at := bftraft.Position{Index: a.Index, Hash: a.Hash}
	if a.Term < m.durable.Term && positionOf(m.durable.Mark) != at {
		o.fail("B6", "node %d acks in term %d and has entered term %d", m.id, a.Term,
			m.durable.Term)
	}
	for _, ec := range m.lock.shown {
		if ec.Term == a.Term && ec.Base.Index <= a.Index && o.onChain(at, positionOf(ec.Base)) {
			return
		}
	}
	if len(m.lock.shown) > 0 && m.lock.shown[0].Term > a.Term {
		return
	}
	o.fail("B6", "node %d acks %d in term %d, which does not hold the base of an election", m.id,
		a.Index, a.Term)
}
