// Forger makes certificates of what it has: too few signers, its own signature many times over,
// signers that are no members, and real certificates with another term or place written on them. Or
// it alters those that others have made: with a stranger in place of the last signers (foreign), or
// with real acks of a block below which it names another as committed (link). A protocol that
// counts signatures and not signers, or does not judge each of them over exactly what is claimed,
// believes anything. Every one is refused (Drop bad_certificate, or malformed where its form is
// wrong), and the state of nobody changes.

package adversary

import (
	"cmp"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

var forger = Attack{
	Name: "forger", Does: "shows certificates that it has made itself",
	Caught: "a certificate counts signers, and each signs exactly what it says",
	Drops:  []bftraft.Drop{bftraft.BadCertificate, bftraft.Malformed},
	Options: []Option{word("how",
		"what is false: all but its own signature, who signed, or how the headers link up",
		"made", "foreign", "link")},
	make: func(v *values) Behaviour { return &forging{how: v.word("how")} },
}

type forging struct {
	Honest
	how string
	// For links: a block of the term, and who has acked it and claimed something certified.
	block *bftraft.Block
	term  bftraft.Term
	acks  []quorumcert.SignedAck
}

func (f *forging) Tick(e *Env) {
	if e.Now%5 != 0 {
		return
	}
	if p := f.altered(e); f.how != "made" {
		if p != (bftraft.TermProof{}) {
			e.Send(e.Others(), bftraft.ClassConsensus, &bftraft.Proof{TermProof: p})
		}
		return
	}
	var p bftraft.TermProof
	t := e.Core.Term()
	switch kind := e.Now / 5 % 4; kind {
	case 0:
		p.TC = &quorumcert.TC{Term: t, Signatures: f.signatures(e,
			quorumcert.Suspicion{Cluster: e.Cluster(), Term: t})}
	case 1:
		lock, qc := e.Core.LockWithQC()
		v := quorumcert.Vote{Cluster: e.Cluster(), Term: t + 1, Candidate: e.ID(), Lock: lock}
		p.EC = &quorumcert.EC{
			Term: t + 1, Leader: e.ID(), Base: lock, Signatures: f.signatures(e, v),
		}
		p.BaseQC = qc
	case 2:
		p.QC = f.lock(e)
	case 3:
		at := e.tip()
		at.Index++
		p.Commit = forgedCommit(e, at)
	}
	e.Send(e.Others(), bftraft.ClassConsensus, &bftraft.Proof{TermProof: p})
}

// signatures makes of the liar's own signature those of others: too few, of strangers, or all.
func (f *forging) signatures(e *Env, st quorumcert.Statement) quorumcert.Signatures {
	sig := quorumcert.Sign(e.Options.Core.Signer, st)
	signers := e.Voters().Members()
	switch e.Random.Below(3) {
	case 0:
		signers = quorumcert.SetOf(e.ID())
	case 1:
		signers = signers.Without(e.Others().Next(0)).With(crypto.MaxNodeID)
	}
	out := quorumcert.Signatures{Signers: signers}
	for range signers.Len() {
		out.Sigs = append(out.Sigs, sig)
	}
	return out
}

// lock relabels the certificate of the liar's lock, or makes one up.
func (f *forging) lock(e *Env) *quorumcert.QC {
	lock, real := e.Core.LockWithQC()
	if real != nil {
		lie := *real
		if e.Random.Below(2) == 0 {
			lie.Term++
		} else {
			lie.Index++
		}
		return &lie
	}
	lock.Term, lock.Index = e.Core.Term(), 1
	qc := &quorumcert.QC{Lock: lock, Signatures: f.signatures(e, quorumcert.Ack{
		Cluster: e.Cluster(), Term: lock.Term, Index: lock.Index, Hash: lock.Hash,
	})}
	qc.Certified = make([]bftraft.Index, len(qc.Sigs))
	return qc
}

// altered is what is made of the certificates and acks of others.
func (f *forging) altered(e *Env) (p bftraft.TermProof) {
	switch f.how {
	case "foreign":
		if _, qc := e.Core.LockWithQC(); qc != nil {
			p.QC = foreign(e, qc)
		}
	case "link":
		p.Commit = f.unlinked(e)
	}
	return p
}

// foreign puts a stranger in the place of those signers that make a certificate a quorum's.
func foreign(e *Env, qc *quorumcert.QC) *quorumcert.QC {
	lie := &quorumcert.QC{Lock: qc.Lock}
	for k, id := range qc.Signers.Members() {
		if k < e.Voters().Size().Q-1 {
			lie.Signers = lie.Signers.With(id)
			lie.Sigs = append(lie.Sigs, qc.Sigs[k])
			lie.Certified = append(lie.Certified, qc.Certified[k])
		}
	}
	lie.Signers = lie.Signers.With(crypto.MaxNodeID)
	lie.Sigs = append(lie.Sigs, lie.Sigs[0])
	lie.Certified = append(lie.Certified, 0)
	return lie
}

// Inbound collects acks of the newest block of a term, if they claim anything certified.
func (f *forging) Inbound(e *Env, v bftraft.Verified) bool {
	switch m := v.Message().(type) {
	case *bftraft.AppendEntries:
		if len(m.Blocks) > 0 {
			f.block, f.term, f.acks = m.Blocks[len(m.Blocks)-1], m.Ack.Term, nil
		}
		f.collect(m.Ack)
	case *bftraft.AppendEntriesResponse:
		f.collect(m.Ack)
	}
	return true
}

// Outbound collects its own ack.
func (f *forging) Outbound(_ *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	for _, o := range honest {
		if m, ok := o.Msg.(*bftraft.AppendEntriesResponse); ok {
			f.collect(m.Ack)
		}
	}
	return honest
}

func (f *forging) collect(a quorumcert.SignedAck) {
	if f.block == nil || a.Term != f.term || a.Index != f.block.Last() ||
		a.Hash != f.block.Hash() || a.Certified == 0 || slices.ContainsFunc(f.acks,
		func(b quorumcert.SignedAck) bool { return b.Signer == a.Signer }) {
		return
	}
	f.acks = append(f.acks, a)
	slices.SortFunc(f.acks, func(a, b quorumcert.SignedAck) int {
		return cmp.Compare(a.Signer, b.Signer)
	})
}

// unlinked makes of real acks of a block, once a quorum has sent them, the certificate of a commit
// that is not on the block's chain.
func (f *forging) unlinked(e *Env) *quorumcert.Commit {
	if len(f.acks) < e.Voters().Size().Q {
		return nil
	}
	cc := &quorumcert.Commit{
		Term: f.term, Index: f.acks[0].Certified, Headers: []quorumcert.Header{f.block.Header()},
	}
	cc.Hash[0] = 1
	for _, a := range f.acks {
		cc.Index = min(cc.Index, a.Certified)
		cc.Signers = cc.Signers.With(a.Signer)
		cc.Sigs = append(cc.Sigs, a.Sig)
		cc.Acks = append(cc.Acks, quorumcert.AckedAt{Index: a.Index, Certified: a.Certified})
	}
	if cc.Index == f.block.Last() {
		return nil
	}
	return cc
}
