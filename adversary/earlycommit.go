// EarlyCommit says that all it has is committed, in each status, and proves it with a commit
// certificate of its own making to whoever asks. A protocol whose followers take the leader's
// commit index on trust, as Raft's do, would execute what is then replaced. The certificate is
// refused (Drop bad_certificate), and nobody's commit index moves by it.

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

var earlyCommit = Attack{
	Name: "earlycommit", Does: "claims as committed what is not, with forged certificates",
	Caught: "nobody commits without the certificate, and a forged one is refused",
	Drops:  []bftraft.Drop{bftraft.BadCertificate},
	make:   func(*values) Behaviour { return &early{} },
}

type early struct{ Honest }

// ahead is how far beyond its log it claims to be: so far that no load gets there by itself before
// others ask.
const ahead = 1 << 20

func (early) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	out := make([]bftraft.Outbound, 0, len(honest))
	for _, m := range honest {
		if status, ok := m.Msg.(*bftraft.Status); ok {
			lie := *status
			lie.Commit = status.Tip
			lie.Commit.Index += ahead
			m.Msg = e.sign(&lie)
		}
		out = append(out, m)
	}
	return out
}

// Inbound answers those who believed it.
func (early) Inbound(e *Env, v bftraft.Verified) bool {
	if _, ok := v.Message().(*bftraft.FetchCommitted); !ok {
		return true
	}
	tip := e.tip()
	e.Send(quorumcert.SetOf(v.From()), bftraft.ClassBulk, &bftraft.Committed{
		Blocks: e.Core.Uncommitted(), Commit: forgedCommit(e, tip),
	})
	return false
}

// forgedCommit is a commit certificate by a quorum of whom only the liar has signed.
func forgedCommit(e *Env, at bftraft.Position) *quorumcert.Commit {
	cc := &quorumcert.Commit{Term: e.Core.Term(), Index: at.Index, Hash: at.Hash}
	a := e.ack(quorumcert.Ack{
		Cluster: e.Cluster(), Term: cc.Term, Index: at.Index, Hash: at.Hash, Certified: at.Index,
	})
	for _, voter := range e.Voters().Voters() {
		cc.Signers = cc.Signers.With(voter.ID)
		cc.Sigs = append(cc.Sigs, a.Sig)
		cc.Acks = append(cc.Acks, quorumcert.AckedAt{Index: at.Index, Certified: at.Index})
	}
	return cc
}
