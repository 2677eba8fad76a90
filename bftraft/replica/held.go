package replica

import (
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// Held counts what a Replica keeps in memory beside its core and the state machine. What bounds
// each is said in docs/PROTOCOL.md, section 10.
type Held struct {
	// Clients is the number of clients with requests that wait.
	Clients int
	// Remembered is the number of clients with sessions.
	Remembered int
	// Reads is the number of reads that wait.
	Reads int
	// Timed is the number of blocks whose way to their commit is being timed.
	Timed int
	// Proofs is the number of proofs against voters, Convicted of those that stand in the log.
	Proofs, Convicted int
}

// Held counts what is held now, at a cost that does not depend on it.
func (r *Replica) Held() Held {
	return Held{
		Clients: len(r.pool.clients), Remembered: len(r.sessions.clients), Reads: len(r.reads),
		Timed: len(r.slack.rounds.arrived), Proofs: len(r.evidence.known),
		Convicted: len(r.evidence.convicted),
	}
}

// HeldOf counts what a Replica keeps of one client.
type HeldOf struct {
	// Requests is the number of requests that wait, and RequestBytes their size, of those that the
	// client sent here itself, or of those that the node forwarded that did most.
	Requests, RequestBytes int
	// Ahead is how far the highest sequence among them is ahead of what was executed in its
	// session.
	Ahead uint64
	// Sessions is the number of sessions remembered, Results the number of results of that session
	// of which there are most, and ResultBytes the most there is of one session beside its newest
	// result.
	Sessions, Results, ResultBytes int
	// Reads is the number of reads that wait.
	Reads int
}

// HeldOf counts what is held of a client now.
func (r *Replica) HeldOf(key crypto.PublicKey) HeldOf {
	h := HeldOf{Reads: r.waitingOf(key)}
	if o, _, ok := r.pool.find(key); ok {
		var count, size [quorumcert.MaxVoters + 1]int
		for _, p := range o.requests {
			count[p.from]++
			size[p.from] += len(p.Raw())
			h.Requests = max(h.Requests, count[p.from])
			h.RequestBytes = max(h.RequestBytes, size[p.from])
			if last, ok := r.sessions.last(key, p.Session); ok && p.Sequence > last {
				h.Ahead = max(h.Ahead, p.Sequence-last)
			}
		}
	}
	if c, _, ok := r.sessions.client(key); ok {
		h.Sessions = len(c.live)
		for _, s := range c.live {
			h.Results = max(h.Results, len(s.results))
			if n := len(s.results); n > 0 {
				h.ResultBytes = max(h.ResultBytes, s.bytes-s.results[n-1].size())
			}
		}
	}
	return h
}
