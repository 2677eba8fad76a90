package bftraft

import (
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// liar is a voter that signs whatever may hurt. It has its own key and what others sent it. Two
// cores under its key behave well enough, each by itself, to win elections and equivocate; what
// they send reaches whom it likes.
type liar struct {
	c       *chaos
	id      NodeID
	signer  crypto.Signer
	hold    float64 // share of its frames that it withholds
	shuns   Set     // who gets nothing but what shows no progress
	mute    Set     // kinds of messages, by number, that it withholds from everybody
	shy     bool    // it signs nothing that would prove it a liar
	rate    int     // forged messages per 16 ticks
	places  []Position
	blocks  []*Block
	locks   []lockProof
	tcs     []*quorumcert.TC
	ecs     []lockedElection
	acks    []quorumcert.SignedAck
	votes   []quorumcert.SignedVote
	commits []*quorumcert.Commit
	old     []frame
	term    Term
}

type lockProof struct {
	lock Lock
	qc   *quorumcert.QC
}

type lockedElection struct {
	ec   *quorumcert.EC
	base *quorumcert.QC
}

func newLiar(c *chaos) *liar {
	l := &liar{c: c, id: c.liar, signer: fakeSigner{c.liar}, term: 1}
	l.places = []Position{{0, c.cluster}}
	l.locks = []lockProof{{Lock{Hash: c.cluster}, nil}}
	l.hold = []float64{0, 0, 0.2, 0.6}[c.rng.IntN(4)]
	l.rate = []int{0, 1, 4, 12}[c.rng.IntN(4)]
	l.shy = c.rng.IntN(2) == 0
	if c.rng.IntN(2) == 0 {
		l.shuns = Set(c.rng.IntN(1 << len(c.members)))
	}
	if c.rng.IntN(3) == 0 {
		l.mute = Set(c.rng.IntN(1 << 14))
	}
	first := c.node(c.liar)
	first.honest = false
	if !l.shy && c.rng.IntN(3) > 0 {
		c.twin = &member{id: l.id, cfg: first.cfg, disk: &disk{}, synced: &disk{}}
		c.start(c.twin)
	}
	return l
}

// withholds says whether a frame of its own does not leave. Those it shuns hear its heartbeat, so
// that they do not think it silent.
func (l *liar) withholds(f frame) bool {
	k := f.msg.kind()
	if l.mute.Has(NodeID(k)) || l.shuns.Has(f.to) && k != kindStatus {
		return true
	}
	return l.c.rng.Float64() < l.hold
}

// overhear learns from what comes in, and from what its own cores send.
func (l *liar) overhear(f frame) {
	if f.from == l.id {
		l.old = bounded(l.old, f)
	} else if f.to != l.id {
		return
	}
	switch m := f.msg.(type) {
	case *AppendEntries:
		l.learnAck(m.Ack)
		l.learnBlocks(m.Blocks)
		l.learnElection(m.Election, m.BaseQC)
	case *AppendEntriesResponse:
		l.learnAck(m.Ack)
	case *RequestVote:
		l.term = max(l.term, m.Term)
		l.learnLock(m.LockQC)
		if m.TC != nil {
			l.tcs = bounded(l.tcs, m.TC)
		}
	case *RequestVoteResponse:
		l.votes = bounded(l.votes, m.Vote)
	case *Proof:
		l.learnElection(m.EC, m.BaseQC)
		l.learnLock(m.QC)
		if m.TC != nil {
			l.tcs = bounded(l.tcs, m.TC)
		}
	case *Chain:
		l.learnBlocks(m.Blocks)
	case *Committed:
		l.learnBlocks(m.Blocks)
		l.commits = bounded(l.commits, m.Commit)
	case *Status:
		l.term = max(l.term, min(m.Term, l.term+1))
	}
}

func (l *liar) learnAck(a quorumcert.SignedAck) {
	l.term = max(l.term, a.Term)
	l.acks = bounded(l.acks, a)
	l.places = bounded(l.places, Position{a.Index, a.Hash})
	l.certify(a)
}

// certify makes a certificate with an ack of its own, if that completes one.
func (l *liar) certify(at quorumcert.SignedAck) {
	var by [quorumcert.MaxVoters + 1]*quorumcert.SignedAck
	for i := range l.acks {
		a := &l.acks[i]
		if a.Term == at.Term && a.Index == at.Index && a.Hash == at.Hash {
			by[a.Signer] = a
		}
	}
	own := l.ack(at.Term, Position{at.Index, at.Hash}, 0)
	by[l.id] = &own
	qc := &quorumcert.QC{Lock: Lock{Term: at.Term, Index: at.Index, Hash: at.Hash}}
	for id, a := range by {
		if a != nil {
			qc.Signers = qc.Signers.With(NodeID(id))
			qc.Sigs = append(qc.Sigs, a.Sig)
			qc.Certified = append(qc.Certified, a.Certified)
		}
	}
	if at.Index > 0 && len(qc.Sigs) >= quorumcert.ForNodes(len(l.c.members)).Q {
		l.learnLock(qc)
	}
}

func (l *liar) learnBlocks(blocks []*Block) {
	for _, b := range blocks {
		l.blocks = bounded(l.blocks, b)
		l.places = bounded(l.places, b.End())
	}
}

func (l *liar) learnLock(qc *quorumcert.QC) {
	if qc != nil {
		l.locks = bounded(l.locks, lockProof{qc.Lock, qc})
		l.term = max(l.term, qc.Term)
	}
}

func (l *liar) learnElection(ec *quorumcert.EC, base *quorumcert.QC) {
	if ec != nil {
		l.ecs = bounded(l.ecs, lockedElection{ec, base})
		l.learnLock(base)
		l.term = max(l.term, ec.Term)
	}
}

func (l *liar) ack(t Term, at Position, certified Index) quorumcert.SignedAck {
	a := quorumcert.Ack{Cluster: l.c.cluster, Term: t, Index: at.Index, Hash: at.Hash,
		Certified: certified}
	return quorumcert.SignedAck{Ack: a, Signer: l.id, Sig: quorumcert.Sign(l.signer, a)}
}

func (l *liar) vote(t Term, candidate NodeID, lock Lock) quorumcert.SignedVote {
	v := quorumcert.Vote{Cluster: l.c.cluster, Term: t, Candidate: candidate, Lock: lock}
	return quorumcert.SignedVote{Vote: v, Signer: l.id, Sig: quorumcert.Sign(l.signer, v)}
}

// act sends forged messages to some of the others.
func (l *liar) act() {
	for range l.rate {
		if l.c.rng.IntN(16) != 0 {
			continue
		}
		m := l.forge()
		if m == nil {
			continue
		}
		if _, whole := m.(envelope); whole {
			SignMessage(l.signer, l.c.cluster, m)
		}
		to := l.c.rng.IntN(1 << len(l.c.members))
		for _, o := range l.c.members {
			if o.id != l.id && to>>(o.id-1)&1 == 1 {
				l.c.carry(frame{from: l.id, to: o.id, msg: m, raw: Encode(m)})
			}
		}
	}
}

func (l *liar) forge() Message {
	rng := l.c.rng
	term := l.term - min(l.term-1, Term(rng.IntN(5)/3))
	kind := rng.IntN(14)
	if l.shy && kind < 7 && kind != 4 {
		return l.forgeOther(term)
	}
	switch kind {
	case 0, 1:
		at := pick(rng, l.places)
		return &AppendEntriesResponse{l.ack(term, at, Index(rng.Uint64N(uint64(at.Index+1))))}
	case 2:
		at := pick(rng, l.places)
		return &AppendEntriesResponse{l.ack(term, at, at.Index)}
	case 3:
		candidate := NodeID(1 + rng.IntN(len(l.c.members)))
		v := l.vote(term, candidate, pick(rng, l.locks).lock)
		if len(l.votes) > 0 {
			like := pick(rng, l.votes)
			v = l.vote(like.Term, like.Candidate, like.Lock)
		}
		return &RequestVoteResponse{v}
	case 4:
		st := quorumcert.Suspicion{Cluster: l.c.cluster, Term: term}
		return &Suspect{Term: term, Signer: l.id, Sig: quorumcert.Sign(l.signer, st)}
	case 5, 6:
		return l.forgeProposal(term)
	case 7:
		return l.forgeRequest()
	case 8, 9:
		return l.forgeProof()
	default:
		return l.forgeOther(term)
	}
}

// forgeProposal equivocates: a new block behind any place, or an old one again.
func (l *liar) forgeProposal(term Term) Message {
	rng := l.c.rng
	gate := l.c.gate
	if m := pick(rng, l.c.members); m.core != nil {
		gate = m.core.Verifier()
	}
	entries := l.c.someEntries(gate)
	if len(l.commits) > 0 && rng.IntN(3) == 0 {
		entries = append([]Entry{commitEntry(pick(rng, l.commits))}, entries...)
	}
	b := NewBlock(pick(rng, l.places), entries)
	if len(l.blocks) > 0 && rng.IntN(3) == 0 {
		b = pick(rng, l.blocks)
	}
	m := &AppendEntries{Blocks: []*Block{b}}
	if len(l.ecs) > 0 {
		e := pick(rng, l.ecs)
		m.Election, m.BaseQC, term = e.ec, e.base, e.ec.Term
	}
	m.Ack = l.ack(term, b.End(), Index(rng.Uint64N(uint64(b.Last()+1))))
	if rng.IntN(3) > 0 {
		l.blocks = bounded(l.blocks, b)
	}
	return m
}

func (l *liar) forgeRequest() Message {
	rng := l.c.rng
	p := pick(rng, l.locks)
	m := &RequestVote{Term: 1, Lock: p.lock, LockQC: p.qc}
	if len(l.tcs) > 0 {
		m.TC = pick(rng, l.tcs)
		m.Term = m.TC.Term + 1
	}
	return m
}

// forgeProof shows certificates to whom they may surprise, or makes an election of votes it saw.
func (l *liar) forgeProof() Message {
	rng := l.c.rng
	m := &Proof{}
	if len(l.tcs) > 0 && rng.IntN(3) == 0 {
		m.TC = pick(rng, l.tcs)
	}
	if len(l.ecs) > 0 && rng.IntN(2) == 0 {
		e := pick(rng, l.ecs)
		m.EC, m.BaseQC = e.ec, e.base
	}
	if len(l.votes) > 0 && rng.IntN(2) == 0 {
		if e, ok := l.elect(pick(rng, l.votes).Vote); ok {
			m.EC, m.BaseQC = e.ec, e.base
			l.ecs = bounded(l.ecs, e)
		}
	}
	if rng.IntN(2) == 0 {
		m.QC = pick(rng, l.locks).qc
	}
	if len(l.commits) > 0 && rng.IntN(3) == 0 {
		m.Commit = pick(rng, l.commits)
	}
	return m
}

func (l *liar) elect(v quorumcert.Vote) (lockedElection, bool) {
	var sigs quorumcert.Collector
	for i := range l.votes {
		if l.votes[i].Vote == v {
			sigs.Add(l.votes[i].Signer, l.votes[i].Sig)
		}
	}
	sigs.Add(l.id, l.vote(v.Term, v.Candidate, v.Lock).Sig)
	if sigs.Signers().Len() < quorumcert.ForNodes(len(l.c.members)).Q {
		return lockedElection{}, false
	}
	for _, p := range l.locks {
		if p.lock == v.Lock {
			ec := &quorumcert.EC{Term: v.Term, Leader: v.Candidate, Base: v.Lock,
				Signatures: sigs.Take(^Set(0))}
			return lockedElection{ec, p.qc}, true
		}
	}
	return lockedElection{}, false
}

func (l *liar) forgeOther(term Term) Message {
	rng := l.c.rng
	switch at := pick(rng, l.places); rng.IntN(6) {
	case 0:
		return &Status{Term: term, Leader: NodeID(rng.IntN(len(l.c.members) + 1)), Tip: at,
			Lock: pick(rng, l.locks).lock, Commit: pick(rng, l.places),
			Acked: Index(rng.IntN(40)), Behind: rng.IntN(2) == 0}
	case 1:
		return &Resign{Term: term}
	case 2:
		return &FetchChain{Target: at, Above: Index(rng.IntN(10))}
	case 3:
		return &FetchCommitted{After: at}
	case 4:
		if len(l.blocks) > 0 {
			b := pick(rng, l.blocks)
			m := &Chain{Blocks: []*Block{b}}
			for i := range l.acks {
				if l.acks[i].Index == b.Last() && l.acks[i].Hash == b.Hash() {
					m.LeaderAck = &l.acks[i]
				}
			}
			return m
		}
	case 5:
		if len(l.old) > 0 {
			return l.replay()
		}
	}
	return nil
}

// replay sends an old frame of its own as it was.
func (l *liar) replay() Message {
	f := pick(l.c.rng, l.old)
	f.to = NodeID(1 + l.c.rng.IntN(len(l.c.members)))
	if f.to != l.id {
		l.c.carry(f)
	}
	return nil
}
