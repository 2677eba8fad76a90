package bftraft

import "tangaroa/internal/mutant"

// What a quorum certified may have been committed, on disks that have no proof of it any more.
// Where no client asks for anything, nothing starves; then only a term in which all honest voters
// ack counts it again (E1f).

// heldUp says whether what this node is locked on has waited too long for its commit.
func (c *Core) heldUp() bool {
	return !c.leading() && c.election != nil && c.now-c.decidedAt >= c.forbearance() &&
		c.nobodyCommits() && !mutant.On(mutant.M40) && !mutant.On(mutant.M183)
}

// forbearance is how long what is locked may wait, in ticks: as long as a client may, and twice as
// long for each leader in whose term that was not enough. Acks may have to wait for blocks that
// somebody fetches, who begins anew in each term.
func (c *Core) forbearance() uint64 {
	if mutant.On(mutant.M192) {
		return 2 * uint64(c.cfg.ElectionTicks) << max(c.blamed, c.backoff)
	}
	return max(c.patience(), 2*uint64(c.cfg.ElectionTicks)<<c.blamed)
}

// binds says whether the leader of the term is to get the lock committed: not one above the base of
// its term, which nobody can have committed, else a quorum would not have elected it (E4); and not
// one of a closing entry, for which incoming voters may be missing that a new leader needs as well.
func (c *Core) binds() bool {
	at := Position{c.lock.Index, c.lock.Hash}
	return (c.lock.Term == c.term || c.lock == c.election.Base || mutant.On(mutant.M186)) &&
		c.log.contains(at) && !c.closing(at)
}

// nobodyCommits says whether all but f voters say that they do not know the lock as committed. Else
// it is this node that is behind, and with its word f liars would depose any leader.
func (c *Core) nobodyCommits() bool {
	cfg := c.electionConfig()
	lack := cfg.Size().F + 1 // f that need not say it, and this node
	for _, v := range cfg.Voters() {
		p := &c.peers[v.ID]
		says := p.status.Term > 0 && c.now-p.heardAt <= c.timeout()
		if v.ID != c.id && says && p.status.Commit.Index < c.lock.Index || mutant.On(mutant.M184) {
			lack++
		}
	}
	return lack >= cfg.Size().N
}

// tickHeldUp has the wait begin anew for as long as the leader owes no commit.
func (c *Core) tickHeldUp() {
	if c.lock.Index <= c.commit.Index || c.election == nil || !c.binds() {
		c.decidedAt = c.now
	}
}
