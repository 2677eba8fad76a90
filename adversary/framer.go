// Framer accuses honest members: of its own acks and votes in their name, and of one statement said
// twice. A protocol that believes an accuser, or proof that proves nothing, is robbed of its honest
// leaders one by one. Evidence is two signatures of the accused on statements that contradict each
// other; what is not is refused (Drop no_proof), and nobody honest is ever accused.

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

var framer = Attack{
	Name: "framer", Does: "accuses honest members with false proof",
	Caught: "evidence needs two signatures of the accused that contradict each other",
	Drops:  []bftraft.Drop{bftraft.NoProof, bftraft.Malformed},
	make:   func(*values) Behaviour { return &framing{} },
}

// framing remembers an ack and a vote of somebody else.
type framing struct {
	Honest
	ack  quorumcert.SignedAck
	vote quorumcert.SignedVote
}

func (f *framing) Inbound(_ *Env, v bftraft.Verified) bool {
	switch m := v.Message().(type) {
	case *bftraft.AppendEntriesResponse:
		f.ack = m.Ack
	case *bftraft.AppendEntries:
		f.ack = m.Ack
	case *bftraft.RequestVoteResponse:
		f.vote = m.Vote
	}
	return true
}

func (f *framing) Tick(e *Env) {
	if e.Now%5 != 0 {
		return
	}
	var p quorumcert.Evidence
	switch {
	case f.ack.Signer != 0 && e.Random.Below(2) == 0:
		a := f.ack
		b := a
		if e.Random.Below(2) == 0 {
			b.Hash[0] ^= 1
			b.Sig = quorumcert.Sign(e.Options.Core.Signer, b.Ack)
		}
		p.Acks = &quorumcert.AckConflict{A: a, B: b, Headers: []quorumcert.Header{{
			First: max(1, a.Index), Last: max(1, a.Index),
		}}}
	case f.vote.Signer != 0:
		a := f.vote
		b := a
		b.Candidate = e.ID()
		b.Sig = quorumcert.Sign(e.Options.Core.Signer, b.Vote)
		p.Votes = &quorumcert.VoteConflict{A: a, B: b}
	default:
		return
	}
	e.Send(e.Others(), bftraft.ClassConsensus, &bftraft.Accusation{Evidence: p})
}
