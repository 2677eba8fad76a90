package bftraft

import (
	"slices"

	"tangaroa/quorumcert"
)

// forged composes a message of any kind of what the liar can sign, has seen, and can put together
// of what others signed.
func (r *liarRun) forged() Message {
	l, kind := r.lies, r.next(18)
	if proves := kind < 2 || kind == 3 || kind > 4 && kind < 8; r.shy && proves {
		kind = 8
	}
	switch at := choose(r, l.places); kind {
	case 0, 1:
		return &AppendEntriesResponse{l.ack(r.term(), at, Index(r.next(int(at.Index)+2)))}
	case 2:
		return r.ownSuspicion(r.term())
	case 3:
		if len(l.votes) > 0 && r.next(2) == 0 {
			like := choose(r, l.votes)
			return &RequestVoteResponse{l.vote(like.Term, like.Candidate, like.Lock)}
		}
		return &RequestVoteResponse{l.vote(r.term(), NodeID(1+r.next(4)), choose(r, l.locks).lock)}
	case 4:
		return r.request()
	case 5, 6, 7:
		return r.proposal(at)
	case 8, 9, 10:
		return r.someProof()
	case 11:
		return &Status{Term: r.term(), Leader: NodeID(r.next(6)), Tip: at,
			Lock: choose(r, l.locks).lock, Commit: choose(r, l.places), Acked: Index(r.next(40)),
			Behind: r.next(2) == 0}
	case 12:
		return &Resign{Term: r.term()}
	case 13:
		return &FetchChain{Target: at, Above: Index(r.next(10))}
	case 14:
		return &FetchCommitted{After: at}
	case 15:
		return r.someChain()
	case 16:
		return &Committed{Blocks: r.chainTo(at, 1+r.next(6)), Commit: r.anyCommit(),
			LockQC: choose(r, l.locks).qc}
	default:
		return r.accusation()
	}
}

// choose returns one of list, which must not be empty: mostly one of the newest.
func choose[T any](r *liarRun, list []T) T {
	k := r.next(256)
	if k < 128 {
		return list[len(list)-1-k%min(len(list), 4)]
	}
	return list[k%len(list)]
}

// term is mostly the term that the liar takes for the present one.
func (r *liarRun) term() Term {
	switch k := r.next(16); {
	case k < 12:
		return r.lies.term
	case k < 15:
		return r.lies.term - min(r.lies.term-1, Term(k-11))
	default:
		return r.lies.term + 1
	}
}

func (r *liarRun) ownSuspicion(t Term) *Suspect {
	st := quorumcert.Suspicion{Cluster: r.cluster, Term: t}
	return &Suspect{Term: t, Signer: r.liar, Sig: quorumcert.Sign(r.lies.signer, st)}
}

func (r *liarRun) proposal(at Position) Message {
	l := r.lies
	var blocks []*Block
	switch r.next(4) {
	case 0:
		blocks = r.chainTo(at, 1+r.next(4))
	case 1:
		blocks = append(r.chainTo(at, r.next(3)), NewBlock(at, []Entry{r.entry("lie")}))
	case 2:
		entries := []Entry{r.entry("lie"), r.entry("lie")}
		if r.next(8) == 0 {
			entries[1].Kind = EntryKind(r.next(5))
		}
		blocks = []*Block{NewBlock(at, entries)}
	}
	if len(blocks) > 0 {
		at = blocks[len(blocks)-1].End()
	}
	m, term := &AppendEntries{Blocks: blocks}, r.term()
	if len(l.ecs) > 0 && r.next(3) > 0 {
		e := choose(r, l.ecs)
		m.Election, m.BaseQC, term = e.ec, e.base, e.ec.Term
	}
	m.Ack = l.ack(term, at, Index(r.next(int(at.Index)+2)))
	if r.next(3) > 0 {
		l.learnBlocks(blocks)
	}
	return m
}

func (r *liarRun) request() Message {
	p := choose(r, r.lies.locks)
	m := &RequestVote{Term: r.term(), Lock: p.lock, LockQC: p.qc}
	if m.TC = r.anyTC(); m.TC != nil && r.next(4) > 0 {
		m.Term = m.TC.Term + 1
	}
	return m
}

func (r *liarRun) someProof() Message {
	l, m, parts := r.lies, &Proof{}, r.next(16)
	if parts&1 != 0 {
		m.TC = r.anyTC()
	}
	if parts&2 != 0 && len(l.ecs) > 0 {
		e := choose(r, l.ecs)
		m.EC, m.BaseQC = e.ec, e.base
	}
	if parts&2 != 0 && len(l.votes) > 0 && r.next(2) == 0 {
		if e, ok := l.elect(choose(r, l.votes).Vote); ok {
			m.EC, m.BaseQC = e.ec, e.base
			l.learnElection(e.ec, e.base)
		}
	}
	if parts&2 != 0 && r.next(8) == 0 {
		m.BaseQC = choose(r, l.locks).qc // another election's base
	}
	if parts&4 != 0 {
		m.QC = choose(r, l.locks).qc
	}
	if parts&8 != 0 {
		m.Commit = r.anyCommit()
	}
	return m
}

// anyTC returns a timeout certificate that was seen, or makes one of the suspicions that were,
// be it of enough of them or not.
func (r *liarRun) anyTC() *quorumcert.TC {
	if tcs := r.lies.tcs; len(tcs) > 0 && r.next(2) == 0 {
		return choose(r, tcs)
	}
	if len(r.suspicions) == 0 {
		return nil
	}
	t := choose(r, r.suspicions).Term
	var sigs quorumcert.Collector
	for _, s := range r.suspicions {
		if s.Term == t {
			sigs.Add(s.Signer, s.Sig)
		}
	}
	sigs.Add(r.liar, r.ownSuspicion(t).Sig)
	return &quorumcert.TC{Term: t, Signatures: sigs.Take(^Set(0))}
}

// anyCommit returns a commit certificate that was seen, or makes one of acks that were and of one
// of the liar's own, be they enough or not.
func (r *liarRun) anyCommit() *quorumcert.Commit {
	l := r.lies
	if len(l.commits) > 0 && r.next(2) == 0 {
		return choose(r, l.commits)
	}
	if len(l.acks) == 0 {
		return nil
	}
	at := choose(r, l.acks)
	own := l.ack(at.Term, Position{at.Index, at.Hash}, at.Index)
	acks := append(slices.Clone(l.acks), own)
	slices.SortStableFunc(acks, func(a, b quorumcert.SignedAck) int {
		return int(a.Signer) - int(b.Signer)
	})
	cc := &quorumcert.Commit{Term: at.Term, Index: at.Index, Hash: at.Hash}
	for _, a := range acks {
		same := a.Term == at.Term && a.Index == at.Index && a.Hash == at.Hash
		if same && a.Certified == at.Index && !cc.Signers.Has(a.Signer) {
			cc.Signers = cc.Signers.With(a.Signer)
			cc.Sigs = append(cc.Sigs, a.Sig)
			cc.Acks = append(cc.Acks, quorumcert.AckedAt{Index: a.Index, Certified: a.Certified})
		}
	}
	return cc
}

// someChain answers a question, whether it was asked or not.
func (r *liarRun) someChain() Message {
	l := r.lies
	m := &Chain{Blocks: r.chainTo(choose(r, l.places), 1+r.next(6))}
	if len(m.Blocks) > 0 && r.next(2) == 0 {
		end := m.Blocks[len(m.Blocks)-1].End()
		for i := range l.acks {
			if l.acks[i].Index == end.Index && l.acks[i].Hash == end.Hash {
				m.LeaderAck = &l.acks[i]
			}
		}
		if r.next(4) == 0 {
			own := l.ack(r.term(), end, 0)
			m.LeaderAck = &own
		}
	}
	return m
}

// accusation accuses whom it can of what two acks or votes show: the liar itself, as a rule.
func (r *liarRun) accusation() Message {
	l := r.lies
	if len(l.votes) > 1 && r.next(3) == 0 {
		return &Accusation{Evidence: quorumcert.Evidence{Votes: &quorumcert.VoteConflict{
			A: choose(r, l.votes), B: choose(r, l.votes)}}}
	}
	if len(l.acks) < 2 {
		return nil
	}
	x, y := choose(r, l.acks), choose(r, l.acks)
	if x.Index > y.Index {
		x, y = y, x
	}
	blocks := r.chainTo(Position{y.Index, y.Hash}, 1+r.next(4))
	return &Accusation{Evidence: quorumcert.Evidence{Acks: &quorumcert.AckConflict{
		A: x, B: y, Headers: headers(blocks)}}}
}

// chainTo returns up to n blocks that were seen and end at a place.
func (r *liarRun) chainTo(at Position, n int) []*Block {
	var list []*Block
	for range n {
		k := slices.IndexFunc(r.lies.blocks, func(b *Block) bool { return b.End() == at })
		if k < 0 {
			break
		}
		list, at = append(list, r.lies.blocks[k]), r.lies.blocks[k].Before()
	}
	slices.Reverse(list)
	return list
}
