package bftraft

import "sort"

// Held counts what a Core keeps in memory of what others made it keep. What bounds each is said in
// docs/PROTOCOL.md, section 10.
type Held struct {
	// Ahead is the number of blocks beyond the commit index, AheadBytes their size.
	Ahead, AheadBytes int
	// Chain is the number of blocks of the log in memory, those ahead included.
	Chain int
	// Gathered is the number of blocks held aside until they connect, GatheredBytes their size.
	Gathered, GatheredBytes int
	// Acks is the number of acks held of the voter of whom there are most.
	Acks int
	// Proofs is the number of proofs against voters.
	Proofs int
	// Undone is the number of messages and of positions to be acked that wait for the next Ready.
	Undone int
}

// Held counts what is held now. It looks at each block beyond the commit index, and at nothing
// that may be longer.
func (c *Core) Held() Held {
	h := Held{
		Chain: len(c.log.tail), Proofs: len(c.evidence), Undone: len(c.out.Messages) + len(c.toAck),
	}
	from := sort.Search(h.Chain, func(k int) bool { return c.log.tail[k].Last() > c.commit.Index })
	h.Ahead = h.Chain - from
	for _, b := range c.log.tail[from:] {
		h.AheadBytes += len(b.raw)
	}
	if g := c.gather; g != nil {
		h.Gathered, h.GatheredBytes = len(g.blocks), g.bytes
	}
	for id := range c.peers {
		h.Acks = max(h.Acks, len(c.peers[id].acks))
	}
	return h
}
