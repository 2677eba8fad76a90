// VoteStorm asks for votes in every tick, for its term and later ones. A protocol in which a higher
// term or a candidate's word is enough to disturb the leader, as in Raft, makes no progress. Terms
// move by certificate only, and a vote is given once, in a candidate's own window (Drops too_early,
// already_voted, bad_certificate).

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

var voteStorm = Attack{
	Name: "votestorm", Does: "asks for votes in every tick",
	Caught: "votes need a certificate that the term has begun, and a window of the candidate's",
	Drops: []bftraft.Drop{
		bftraft.AlreadyVoted, bftraft.BadCertificate, bftraft.TooEarly,
	},
	make: func(*values) Behaviour { return &storm{} },
}

// storm remembers the newest timeout certificate it has seen.
type storm struct {
	Honest
	tc *quorumcert.TC
}

func (s *storm) Inbound(_ *Env, v bftraft.Verified) bool {
	s.tc = newestTC(s.tc, v.Message())
	return true
}

func (s *storm) Outbound(_ *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	for _, m := range honest {
		s.tc = newestTC(s.tc, m.Msg)
	}
	return honest
}

func (s *storm) Tick(e *Env) {
	t := e.Core.Term()
	lock, qc := e.Core.LockWithQC()
	m := &bftraft.RequestVote{Term: t, Lock: lock, LockQC: qc}
	if s.tc != nil && s.tc.Term == t-1 {
		m.TC = s.tc
	}
	e.Send(e.Others(), bftraft.ClassConsensus, m)
	e.Send(e.Others(), bftraft.ClassConsensus, &bftraft.RequestVote{
		Term: t + 1, Lock: lock, LockQC: qc, TC: s.tc,
	})
}

// newestTC returns the newer of a timeout certificate and the one in a message.
func newestTC(tc *quorumcert.TC, m bftraft.Message) *quorumcert.TC {
	var other *quorumcert.TC
	switch m := m.(type) {
	case *bftraft.RequestVote:
		other = m.TC
	case *bftraft.Proof:
		other = m.TC
	}
	if other != nil && (tc == nil || other.Term > tc.Term) {
		return other
	}
	return tc
}
