//go:build invariants

package bftraft

import "fmt"

// assertInvariants panics when this node's own state is not what the rules make it. It looks at
// nothing that a peer could have put there.
func (c *Core) assertInvariants() {
	if c.broken != nil {
		return
	}
	at := func(l Lock) Position { return Position{l.Index, l.Hash} }
	tip := c.log.tip.Index
	for _, rule := range [...]struct {
		holds bool
		says  string
	}{
		{c.commit.Index <= tip && c.log.contains(c.commit), "what is committed is on the chain"},
		{c.lock.Term <= c.term, "a lock is not of a later term"},
		{c.log.contains(at(c.lock)) || c.lock.Term < c.commitTerm && c.lock.Term < c.term ||
			c.log.below(c.lock.Index),
			"the lock has its entries, or a commit of a later term or a state has replaced them"},
		{c.log.base.Index <= c.commit.Index, "the log begins with what is committed"},
		{(c.lockQC == nil) == (c.lock.Term == 0), "a lock but the genesis has its certificate"},
		{c.lockQC == nil || c.lockQC.Lock == c.lock, "the lock's certificate is the lock's"},
		{c.mark.Term <= c.term, "a mark is not of a later term"},
		{c.mark.Term < c.term || c.log.contains(at(c.mark)) || c.lastAck.Term == 0,
			"what is acked is on the chain (A4), or the node is silent (K1)"},
		{c.vote.Candidate == 0 || c.vote.Lock.Term < c.term, "a vote's lock is of an earlier term"},
		{c.lastAck.Term == 0 || c.lastAck.Term == c.term, "the newest ack is of this term"},
		{c.lastAck.Term == 0 || c.lastAck.Index == c.mark.Index, "the newest ack is the mark"},
		{c.lastAck.Certified <= c.lastAck.Index, "no ack is void (N2)"},
		{c.election == nil || c.election.Term == c.term, "the election is this term's"},
		{c.acksAscend(), "positions to ack ascend along the chain (N2)"},
		{c.blocksReachTip(), "blocks to be stored lead to the tip"},
	} {
		if !rule.holds {
			panic(fmt.Sprintf("bftraft: node %d in term %d: violated: %s", c.id, c.term, rule.says))
		}
	}
}

func (c *Core) acksAscend() bool {
	for i, p := range c.toAck {
		if !c.log.contains(p.at) || i > 0 && p.at.Index < c.toAck[i-1].at.Index {
			return false
		}
	}
	return true
}

func (c *Core) blocksReachTip() bool {
	if len(c.out.Blocks) == 0 {
		return true
	}
	return follow(c.out.Blocks) && c.out.Blocks[len(c.out.Blocks)-1].End() == c.log.tip
}
