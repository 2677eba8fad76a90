package bftraft

import "tangaroa/internal/mutant"

// How long a leader may take to get something done is not the timeout by which nodes notice that
// one is silent: acks may take longer than everything else, because disks are slow or blocks have
// to be fetched. The timeout shrinks again under each leader that talks (E6). So what nodes wait
// for has a measure of its own, which grows when too many leaders in a row were too late to all be
// liars, and shrinks only while half of it would do.

// starves says whether a client's lowest outstanding request has waited for longer than this node
// is willing to accept from the leader of the term (E5).
func (c *Core) starves() bool {
	return c.election != nil && !c.leading() && c.waited >= c.patience() && !mutant.On(mutant.M40)
}

// SetWaiting says for how many ticks a client's lowest outstanding request has waited in this term,
// of all clients the one that has waited longest (E5).
func (c *Core) SetWaiting(ticks uint64) { c.waited = ticks }

// patience is how long, in ticks, a leader may take for what is waited for (E5, E1f).
func (c *Core) patience() uint64 {
	return 2 * uint64(c.cfg.ElectionTicks) << max(c.leniency(), c.backoff)
}

// leniency is how often the patience has been doubled: once for every f+1 leaders that this node
// suspected for being too late, since f of them may have been so on purpose.
func (c *Core) leniency() int {
	each := c.tooMany()
	if mutant.On(mutant.M188) {
		each = 1
	}
	return min(c.blamed/each, c.cfg.MaxBackoff)
}

// tooMany is how many leaders in a row can't all be liars.
func (c *Core) tooMany() int { return c.electionConfig().Size().F + 1 }

// blame counts a term that ends because this node found its leader too late.
func (c *Core) blame() {
	late := c.grounds == CauseStarvation || c.grounds == CauseHeldUp
	if late && !mutant.On(mutant.M185) {
		c.blamed++
	}
}

// tickPatience takes one doubling back once nothing has taken longer than half of the patience, for
// as long as that is (E6). Were it taken back when something gets done, every other request would
// have to depose leaders again where acks are slow.
func (c *Core) tickPatience() {
	span := 2 * uint64(c.cfg.ElectionTicks) << c.leniency()
	needed := max(c.waited, c.now-c.decidedAt) >= span/2 && !mutant.On(mutant.M189)
	if c.election == nil || c.cause != CauseNone || needed {
		c.easySince = c.now
	}
	if c.now-c.easySince >= span && !mutant.On(mutant.M187) {
		c.blamed, c.easySince = max(0, c.leniency()-1)*c.tooMany(), c.now
	}
}
