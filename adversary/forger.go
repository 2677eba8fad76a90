// Forger makes certificates of what it has: too few signers, its own signature many times over,
// signers that are no members, and real certificates with another term or place written on them. A
// protocol that counts signatures and not signers, or does not judge each of them over exactly what
// is claimed, believes anything. Every one is refused (Drop bad_certificate, or malformed where its
// form is wrong), and the state of nobody changes.

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

var forger = Attack{
	Name: "forger", Does: "shows certificates that it has made itself",
	Caught: "a certificate counts signers, and each signs exactly what it says",
	Drops:  []bftraft.Drop{bftraft.BadCertificate, bftraft.Malformed},
	make:   func(*values) Behaviour { return &forging{} },
}

type forging struct{ Honest }

func (f *forging) Tick(e *Env) {
	if e.Now%5 != 0 {
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
