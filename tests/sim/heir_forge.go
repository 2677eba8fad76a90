package sim

import (
	"slices"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// kindFetchState is the first byte of a message that asks for a part of a state.
const kindFetchState = 16

// forgery is another history from some block on, by voters that were replaced since.
type forgery struct {
	h       *heir
	by      *epoch
	until   bftraft.Index  // where the configuration ends
	signers quorumcert.Set // voters and incoming ones of it whose keys there are
	quorum  bool           // they are a quorum
	term    bftraft.Term
	blocks  []*bftraft.Block // in the place of what is committed
}

// forge draws a configuration that was replaced, one with a quorum of those whose keys there are if
// there is one, and makes another history of it.
func (h *heir) forge() *forgery {
	o := h.w.watch
	epochs := o.chart.epochs
	keys := h.keys()
	var all []*forgery
	for k := range len(epochs) - 1 {
		e := &epochs[k]
		f := &forgery{h: h, by: e, until: epochs[k+1].entry}
		f.signers = (keys | o.lying) & (e.voters | e.incoming)
		f.quorum = has(f.signers, e.voters)
		switch {
		case keys&f.signers == 0:
		case f.quorum && len(all) > 0 && !all[0].quorum:
			all = []*forgery{f}
		case f.quorum || len(all) == 0 || !all[0].quorum:
			all = append(all, f)
		}
	}
	if len(all) == 0 {
		return nil
	}
	f := all[h.random.below(len(all))]
	f.term = h.someTerm()
	if !f.branches() {
		return nil
	}
	return f
}

// someTerm draws a term: one of the past, of now, or to come.
func (h *heir) someTerm() bftraft.Term {
	now := max(h.w.watch.highTerm, 1)
	switch h.random.below(5) {
	case 0:
		return bftraft.Term(h.random.between(1, int(now)))
	case 1:
		return now + bftraft.Term(h.random.between(2, 6))
	case 2, 3:
		return now + 1
	}
	return now
}

// branches puts other blocks in the place of one that was committed under the configuration, and
// behind it.
func (f *forgery) branches() bool {
	o, r := f.h.w.watch, f.h.random
	real := o.next(f.by.entry + bftraft.Index(r.below(int(f.until-f.by.entry))))
	if real == nil || real.Last() > f.until {
		return false
	}
	var entries []bftraft.Entry
	for _, e := range real.Entries() {
		if e.Kind != bftraft.EntryConfiguration && e.Kind != bftraft.EntryClosing {
			entries = append(entries, e)
		}
	}
	requests := len(entries)
	if requests > 0 && entries[0].Kind == bftraft.EntryCommit {
		requests--
	}
	switch {
	case requests > 1 && r.chance(300):
		slices.Reverse(entries[len(entries)-requests:])
	case requests > 1 && r.chance(300):
		entries = entries[:len(entries)-1]
	case requests > 0 && r.chance(500):
		entries = append(entries, entries[len(entries)-1])
	default:
		entries = append(entries, bftraft.Entry{Kind: bftraft.EntryClosing})
	}
	b := bftraft.NewBlock(real.Before(), entries)
	if b.Hash() == real.Hash() {
		b = bftraft.NewBlock(real.Before(), append(entries, bftraft.Entry{Kind: bftraft.EntryClosing}))
	}
	f.blocks = []*bftraft.Block{b}
	if more := entries[len(entries)-1:]; r.chance(400) {
		f.blocks = append(f.blocks, bftraft.NewBlock(b.End(), slices.Clone(more)))
	}
	return true
}

func (f *forgery) tip() bftraft.Position { return f.blocks[len(f.blocks)-1].End() }

func (f *forgery) lock() bftraft.Lock {
	at := f.tip()
	return bftraft.Lock{Term: f.term, Index: at.Index, Hash: at.Hash}
}

// signed has all whose keys there are sign a statement.
func (f *forgery) signed(st quorumcert.Statement) quorumcert.Signatures {
	s := quorumcert.Signatures{Signers: f.signers}
	for id := s.Signers.Next(0); id != 0; id = s.Signers.Next(id) {
		s.Sigs = append(s.Sigs, quorumcert.Sign(f.h.w.nodes[id-1].signer, st))
	}
	return s
}

// ack is what an ack of the end of the forged history says.
func (f *forgery) ack() quorumcert.Ack {
	at := f.tip()
	return quorumcert.Ack{
		Cluster: f.h.w.cluster, Term: f.term, Index: at.Index, Hash: at.Hash, Certified: at.Index,
	}
}

func (f *forgery) qc() *quorumcert.QC {
	qc := &quorumcert.QC{Lock: f.lock(), Signatures: f.signed(f.ack())}
	for range qc.Sigs {
		qc.Certified = append(qc.Certified, qc.Index)
	}
	return qc
}

func (f *forgery) commit() *quorumcert.Commit {
	at := f.tip()
	cc := &quorumcert.Commit{
		Term: f.term, Index: at.Index, Hash: at.Hash, Signatures: f.signed(f.ack()),
	}
	for range cc.Sigs {
		cc.Acks = append(cc.Acks, quorumcert.AckedAt{Index: at.Index, Certified: at.Index})
	}
	return cc
}

// tc ends a term.
func (f *forgery) tc(t bftraft.Term) *quorumcert.TC {
	if t == 0 {
		return nil
	}
	return &quorumcert.TC{Term: t, Signatures: f.signed(
		quorumcert.Suspicion{Cluster: f.h.w.cluster, Term: t})}
}

// ec elects one of the voters, on the forged history, in the term after the forgery's.
func (f *forgery) ec(leader bftraft.NodeID) *quorumcert.EC {
	t := f.term + 1
	v := quorumcert.Vote{Cluster: f.h.w.cluster, Term: t, Candidate: leader, Lock: f.lock()}
	return &quorumcert.EC{Term: t, Leader: leader, Base: v.Lock, Signatures: f.signed(v)}
}

// checkpoint is one of the end of the forged history, or of a real block with a state of its own.
func (f *forgery) checkpoint() quorumcert.Checkpoint {
	o, at := f.h.w.watch, f.tip()
	if f.h.random.chance(500) {
		for i := f.until; i > f.by.entry; i-- {
			if real, ok := o.checkpoints[i]; ok {
				at = bftraft.Position{Index: i, Hash: real.Hash}
				break
			}
		}
	}
	return quorumcert.Checkpoint{
		Cluster: f.h.w.cluster, Configuration: o.chart.configurationOf(at.Index + 1),
		Index: at.Index, Hash: at.Hash,
		State: crypto.Hash(crypto.DomainState, []byte("forged")),
	}
}

// manifest is that of a state at the end of the forged history, or as if that stood where the node
// lacks something.
func (f *forgery) manifest(to *member) *bftraft.Manifest {
	if lacks := to.core.Commit(); f.tip().Index <= lacks.Index {
		lacks.Index += bftraft.Index(f.h.random.between(0, 8))
		f.blocks = []*bftraft.Block{bftraft.NewBlock(lacks, f.blocks[0].Entries())}
	}
	at := f.tip()
	m := &bftraft.Manifest{
		Commit: *f.commit(), Changes: to.proc.Verifier().ChangesUpTo(at.Index),
		Sessions: []crypto.Digest{bftraft.SessionsChunk(nil)},
		State:    []crypto.Digest{bftraft.StateChunk([]byte("forged"))},
	}
	state, sessions := m.Roots()
	cp := quorumcert.Checkpoint{
		Cluster: f.h.w.cluster, Configuration: f.h.w.watch.chart.configurationOf(at.Index + 1),
		Index: at.Index, Hash: at.Hash, State: state, Sessions: sessions,
	}
	m.Stable = quorumcert.Stable{Checkpoint: cp, Signatures: f.signed(cp)}
	return m
}

// closing is the proof of an entry in the place of the one that closed the configuration, or of one
// that it never had.
func (f *forgery) closing() *bftraft.ChangeProof {
	b := bftraft.NewBlock(f.blocks[0].Before(), []bftraft.Entry{{Kind: bftraft.EntryClosing}})
	f.blocks = []*bftraft.Block{b}
	return &bftraft.ChangeProof{Header: b.Header(), Commit: *f.commit()}
}

// strike shows the forgery to some of those who may be shown it, in one of the ways there are.
func (f *forgery) strike() {
	h := f.h
	if f.quorum {
		h.w.watch.hit(seenLongRange)
	}
	how := h.random.below(8)
	if how == 0 {
		f.tells()
		return
	}
	for _, to := range h.victims(f.term) {
		switch {
		case h.random.chance(400):
		case how == 1:
			f.claims(to)
		default:
			f.shows(to, how)
		}
	}
}

// claims has each of them say over its own link what a voter says.
func (f *forgery) claims(to *member) {
	w, what := f.h.w, f.h.random.below(5)
	t := to.core.Term()
	if !slices.Contains(f.h.victims(t), to) {
		return
	}
	f.term = t // nothing else is counted
	if what == 4 && !to.knowsItsChanges() {
		return // a checkpoint is of no term
	}
	cp, leader := f.checkpoint(), to.core.Leader()
	for id := f.signers.Next(0); id != 0; id = f.signers.Next(id) {
		from := w.nodes[id-1]
		var m bftraft.Message
		switch what {
		case 0:
			m = &bftraft.Suspect{Term: t, Signer: id, Sig: quorumcert.Sign(from.signer,
				quorumcert.Suspicion{Cluster: w.cluster, Term: t})}
		case 1, 2:
			a := f.ack()
			if at := to.core.State().Tip; what == 2 && at.Index > 0 { // for what is really there
				a.Index, a.Hash, a.Certified = at.Index, at.Hash, at.Index
			}
			m = &bftraft.AppendEntriesResponse{Ack: quorumcert.SignedAck{
				Ack: a, Signer: id, Sig: quorumcert.Sign(from.signer, a)}}
		case 3:
			v := quorumcert.Vote{Cluster: w.cluster, Term: t, Candidate: to.id, Lock: bftraft.Lock{
				Hash: w.cluster}}
			if leader != 0 {
				v.Candidate = leader
			}
			m = &bftraft.RequestVoteResponse{Vote: quorumcert.SignedVote{
				Vote: v, Signer: id, Sig: quorumcert.Sign(from.signer, v)}}
		default:
			m = &bftraft.CheckpointVote{Checkpoint: quorumcert.SignedCheckpoint{
				Checkpoint: cp, Signer: id, Sig: quorumcert.Sign(from.signer, cp)}}
		}
		f.h.send(from, to, m)
	}
}

// knowsItsChanges says whether a node has committed the newest change that it knows of.
func (m *member) knowsItsChanges() bool {
	return m.core.Commit().Index >= m.proc.Verifier().Members().At.Index
}

// shows hands a node certificates by those who were replaced.
func (f *forgery) shows(to *member, how int) {
	h := f.h
	from := h.link(to)
	leader := f.signers.Next(bftraft.NodeID(h.random.below(quorumcert.MaxVoters)))
	if leader == 0 {
		leader = f.signers.Next(0)
	}
	switch how {
	case 2:
		h.hand(to, &bftraft.Proof{TermProof: bftraft.TermProof{
			TC: f.tc(f.term), QC: f.qc(), Commit: f.commit()}})
	case 3:
		h.hand(to, &bftraft.Proof{TermProof: bftraft.TermProof{EC: f.ec(leader), BaseQC: f.qc()}})
	case 4:
		h.hand(to, &bftraft.Committed{Blocks: f.blocks, Commit: f.commit()})
	case 5:
		ec, m := f.ec(from.id), &bftraft.AppendEntries{Blocks: f.blocks, BaseQC: f.qc()}
		m.Election = ec
		a := f.ack()
		a.Term, a.Certified = ec.Term, 0
		m.Ack = quorumcert.SignedAck{Ack: a, Signer: from.id, Sig: quorumcert.Sign(from.signer, a)}
		h.send(from, to, m)
	case 6:
		switch cp := f.checkpoint(); {
		case h.random.chance(300):
			h.hand(to, &bftraft.RequestVote{Term: f.term + 1, Lock: f.lock(), LockQC: f.qc(),
				TC: f.tc(f.term)})
		case to.knowsItsChanges():
			h.hand(to, &bftraft.StableCheckpoint{Stable: &quorumcert.Stable{
				Checkpoint: cp, Signatures: f.signed(cp)}})
		}
	default:
		p := f.closing()
		list := to.proc.Verifier().ChangesUpTo(p.Header.Last - 1)
		h.hand(to, &bftraft.Changes{List: append(slices.Clip(list), p)})
	}
}
