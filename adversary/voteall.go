// VoteAll votes for whoever asks, and for itself as well. A protocol that counts votes by the
// number of messages, or lets votes be changed, can have two leaders in one term. Two votes of one
// voter in one term are proof (VoteConflict, Drop conflict), since votes are told to everybody, and
// it takes part in no election from then on.

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

var voteAll = Attack{
	Name: "voteall", Does: "votes for every candidate",
	Caught: "its two votes are evidence",
	Drops:  []bftraft.Drop{bftraft.Conflict}, Proven: true,
	make: func(*values) Behaviour { return &pleasing{} },
}

type pleasing struct{ Honest }

func (*pleasing) Inbound(e *Env, v bftraft.Verified) bool {
	m, ok := v.Message().(*bftraft.RequestVote)
	if !ok {
		return true
	}
	for _, candidate := range []bftraft.NodeID{v.From(), e.ID()} {
		e.Send(e.Others(), bftraft.ClassConsensus,
			e.vote(quorumcert.Vote{Term: m.Term, Candidate: candidate, Lock: m.Lock}))
	}
	return true
}
