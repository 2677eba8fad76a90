package bftraft

import "tangaroa/quorumcert"

// State is a picture of a Core for status pages, metrics and tests.
type State struct {
	ID       NodeID
	Term     Term
	Leader   NodeID // 0 while none is known
	Leading  bool
	Vote     VoteRecord
	Lock     Lock
	Mark     Lock
	Base     Position // where the log begins
	Tip      Position
	Commit   Position
	Backoff  int
	Suspects Cause // why this node suspects its term now
	Faulty   Set   // voters proven faulty
	Peers    []PeerState
	Evidence []quorumcert.Evidence
}

// PeerState is what a node knows of another voter.
type PeerState struct {
	ID       NodeID
	Status   Status
	Suspects bool // it suspects the current term
	Silent   bool // no status came from it for an election timeout
}

// State returns the present picture.
func (c *Core) State() State {
	s := State{
		ID: c.id, Term: c.term, Leading: c.leading(), Vote: c.vote, Lock: c.lock, Mark: c.mark,
		Base: c.log.base, Tip: c.log.tip, Commit: c.commit, Backoff: c.backoff, Suspects: c.cause,
		Faulty: c.faulty, Evidence: append([]quorumcert.Evidence(nil), c.evidence...),
	}
	if c.election != nil {
		s.Leader = c.election.Leader
	}
	for _, v := range c.gate.members.Nodes {
		if v.ID != c.id {
			p := &c.peers[v.ID]
			silent := p.status.Term == 0 || c.now-p.heardAt > c.timeout()
			s.Peers = append(s.Peers, PeerState{v.ID, p.status, p.suspects, silent})
		}
	}
	return s
}

// Leader returns the leader of the current term, 0 while none is known.
func (c *Core) Leader() NodeID {
	if c.election == nil {
		return 0
	}
	return c.election.Leader
}

// LockWithQC returns the lock and its certificate, nil for the genesis lock (C3).
func (c *Core) LockWithQC() (Lock, *quorumcert.QC) { return c.lock, c.lockQC }

// Uncommitted returns the blocks beyond the commit index, oldest first.
func (c *Core) Uncommitted() []*Block { return c.log.between(c.commit.Index, c.log.tip.Index) }

// Term returns the current term.
func (c *Core) Term() Term { return c.term }

// Commit returns the committed position.
func (c *Core) Commit() Position { return c.commit }

// Timeout returns the election timeout in ticks with the present back-off, without jitter; what is
// timed by the replica (E5) grows along with it (E6).
func (c *Core) Timeout() uint64 { return c.timeout() }

// Vote returns the vote given in the current term, and to nobody if there is none.
func (c *Core) Vote() VoteRecord { return c.vote }
