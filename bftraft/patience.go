package bftraft

import "tangaroa/internal/mutant"

// How long a leader may keep a client waiting is not the timeout by which nodes notice that one is
// silent: acks may take longer than everything else, because disks are slow or blocks have to be
// fetched. The timeout shrinks again under each leader that talks (E6). So the patience of nodes is
// a measure of its own, which grows when too many leaders in a row were too late to all be liars,
// and shrinks only while half of it would do.

// starves says whether a client's lowest outstanding request has waited for longer than this node
// is willing to accept from the leader of the term (E5).
func (c *Core) starves() bool {
	return c.election != nil && !c.leading() && c.waited >= c.patience() && !mutant.On(mutant.M40)
}

// SetWaiting says for how many ticks a client's lowest outstanding request has waited in this term,
// of all clients the one that has waited longest (E5).
func (c *Core) SetWaiting(ticks uint64) { c.waited = ticks }

// patience is how long, in ticks, a leader may keep a client waiting (E5).
func (c *Core) patience() uint64 {
	return 2 * uint64(c.cfg.ElectionTicks) << max(c.leniency(), c.backoff)
}

// leniency is how often the patience has been doubled: once for every f+1 leaders that this node
// suspected of starving a client, since f of them may have done so on purpose.
func (c *Core) leniency() int {
	each := c.tooMany()
	if mutant.On(mutant.M188) {
		each = 1
	}
	return min(c.starved/each, c.cfg.MaxBackoff)
}

// tooMany is how many leaders in a row can't all be liars.
func (c *Core) tooMany() int { return c.electionConfig().Size().F + 1 }

// tickPatience takes one doubling back once nobody has waited for half of the patience, for as long
// as that is (E6). Were it taken back when something gets done, every other request would have to
// depose leaders again where acks are slow.
func (c *Core) tickPatience() {
	span := 2 * uint64(c.cfg.ElectionTicks) << c.leniency()
	needed := c.waited >= span/2 && !mutant.On(mutant.M189)
	if c.election == nil || c.cause != CauseNone || needed {
		c.easySince = c.now
	}
	if c.now-c.easySince >= span && !mutant.On(mutant.M187) {
		c.starved, c.easySince = max(0, c.leniency()-1)*c.tooMany(), c.now
	}
}
