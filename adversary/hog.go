// Hog wants every term for itself: it suspects whoever else leads, votes for nobody else, and asks
// for votes the moment a term begins. A protocol with random or shortest timeouts always elects it,
// and if it then does nothing, never ends. Each term has an order of candidates that it cannot
// change (Drop too_early), and f voters cannot end a term.

package adversary

import (
	"tangaroa/bftraft"
)

var hog = Attack{
	Name: "hog", Does: "wants to lead every term and to let nobody else",
	Caught: "the order of candidates turns with the term; f voters cannot end one",
	Drops: []bftraft.Drop{
		bftraft.TooEarly, bftraft.AlreadyVoted, bftraft.BadCertificate, bftraft.Stale,
	},
	make: func(*values) Behaviour { return &hogging{} },
}

type hogging struct{ storm }

// Tick suspects other leaders, and campaigns while there is none.
func (h *hogging) Tick(e *Env) {
	t := e.Core.Term()
	if !e.leading() {
		e.Send(e.Others(), bftraft.ClassConsensus, e.suspect(t))
	}
	if e.Core.Leader() != 0 && e.Now%10 != 0 {
		return
	}
	lock, qc := e.Core.LockWithQC()
	m := &bftraft.RequestVote{Term: t, Lock: lock, LockQC: qc}
	if h.tc != nil && h.tc.Term == t-1 {
		m.TC = h.tc
	}
	e.Send(e.Others(), bftraft.ClassConsensus, m)
}

// Outbound keeps back its votes for others.
func (h *hogging) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	h.storm.Outbound(e, honest)
	return without(honest, func(m bftraft.Message) bool {
		vote, ok := m.(*bftraft.RequestVoteResponse)
		return ok && vote.Vote.Candidate != e.ID()
	})
}
