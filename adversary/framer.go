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

// framing remembers an ack and a vote of somebody else, and an ack with the header of its block.
type framing struct {
	Honest
	ack    quorumcert.SignedAck
	vote   quorumcert.SignedVote
	backed quorumcert.SignedAck
	header quorumcert.Header
}

func (f *framing) Inbound(_ *Env, v bftraft.Verified) bool {
	switch m := v.Message().(type) {
	case *bftraft.AppendEntriesResponse:
		f.ack = m.Ack
	case *bftraft.AppendEntries:
		f.ack = m.Ack
		if n := len(m.Blocks); n > 0 && m.Blocks[n-1].Hash() == m.Ack.Hash {
			f.backed, f.header = m.Ack, m.Blocks[n-1].Header()
		}
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
	accused := f.ack.Signer
	switch {
	case f.backed.Signer != 0 && e.Random.Below(4) == 0:
		p.Acks = &quorumcert.AckConflict{
			A: f.backed, B: f.backed, Headers: []quorumcert.Header{f.header},
		}
		accused = f.backed.Signer
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
		accused = a.Signer
	default:
		return
	}
	e.Send(e.Others().Without(accused), bftraft.ClassConsensus, &bftraft.Accusation{Evidence: p})
}
