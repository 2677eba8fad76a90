package bftraft

import (
	"sort"

	"tangaroa/quorumcert"
)

// chain is the node's log behind its base: the newest blocks in memory, older ones through the
// reader. The blocks in memory are contiguous, end at tip, and include every block beyond the
// commit index.
type chain struct {
	genesis Position
	base    Position // what came before is gone; the genesis while nothing is
	reader  Reader
	tail    []*Block
	tip     Position
	found   Position // read back last: the base of an election is asked for again and again
}

// keepBlocks and keepBytes bound the committed blocks kept in memory to serve peers from.
const (
	keepBlocks = 128
	keepBytes  = 16 << 20
)

// loadChain returns the chain behind base that ends at tip, with the blocks beyond commit in
// memory.
func loadChain(genesis, base, tip Position, commit Index, r Reader) chain {
	c := chain{genesis: genesis, base: base, reader: r}
	var tail []*Block
	for at := tip; at.Index > commit; {
		b, ok := r.Block(at.Index)
		if !ok || b.End() != at {
			panic("bftraft: storage does not hold the chain it says it holds")
		}
		tail = append(tail, b)
		at = b.Before()
	}
	for i := len(tail) - 1; i >= 0; i-- {
		c.tail = append(c.tail, tail[i])
	}
	c.tip = tip
	return c
}

// covering returns the block on the chain that covers index i.
func (c *chain) covering(i Index) (*Block, bool) {
	if i <= c.base.Index || i > c.tip.Index {
		return nil, false
	}
	if len(c.tail) > 0 && i >= c.tail[0].First() {
		k := sort.Search(len(c.tail), func(k int) bool { return c.tail[k].Last() >= i })
		return c.tail[k], true
	}
	return c.reader.Block(i)
}

// contains says whether p is a block's end on this chain, or its base or genesis. Of what lies
// between these it knows nothing, and says no: see below.
func (c *chain) contains(p Position) bool {
	switch p.Index {
	case 0:
		return p == c.genesis
	case c.base.Index:
		return p == c.base
	}
	if p == c.found {
		return true
	}
	b, ok := c.covering(p.Index)
	holds := ok && b.End() == p
	if holds && c.old(p.Index) {
		c.found = p
	}
	return holds
}

// below says whether index i lies before the base, where nobody can say any more what stood there.
func (c *chain) below(i Index) bool { return i < c.base.Index }

// old says whether index i is on the chain but no longer in memory: looking there costs a read.
func (c *chain) old(i Index) bool {
	if len(c.tail) == 0 {
		return i <= c.tip.Index
	}
	return i < c.tail[0].First()
}

// floor returns the highest block end that is not above i.
func (c *chain) floor(i Index) Position {
	if i >= c.tip.Index {
		return c.tip
	}
	b, ok := c.covering(i)
	switch {
	case !ok:
		return c.base
	case b.Last() == i:
		return b.End()
	}
	return b.Before()
}

// append adds blocks at the tip.
func (c *chain) append(blocks []*Block) {
	for _, b := range blocks {
		if b.Before() != c.tip {
			panic("bftraft: block does not follow the tip")
		}
		c.tail = append(c.tail, b)
		c.tip = b.End()
	}
}

// truncate takes the blocks beyond at off; at is a block's end in memory or just below it.
func (c *chain) truncate(at Position) {
	for len(c.tail) > 0 && c.tip.Index > at.Index {
		last := len(c.tail) - 1
		c.tip = c.tail[last].Before()
		c.tail[last] = nil
		c.tail = c.tail[:last]
	}
	if c.tip != at {
		panic("bftraft: truncation below the blocks in memory")
	}
}

// between returns the blocks that cover (after, upTo], oldest first.
func (c *chain) between(after, upTo Index) []*Block {
	var blocks []*Block
	for i := after + 1; i <= upTo; {
		b, ok := c.covering(i)
		if !ok {
			return nil
		}
		blocks = append(blocks, b)
		i = b.Last() + 1
	}
	return blocks
}

// drop lets the chain begin behind p, a block's end on it.
func (c *chain) drop(p Position) {
	gone := sort.Search(len(c.tail), func(k int) bool { return c.tail[k].Last() > p.Index })
	c.tail = append([]*Block(nil), c.tail[gone:]...)
	c.base, c.found = p, Position{}
}

// trim forgets committed blocks that are older than what is kept to serve from.
func (c *chain) trim(commit Index) {
	bytes, from := 0, len(c.tail)
	for from > 0 {
		b := c.tail[from-1]
		bytes += len(b.raw)
		old := len(c.tail)-from >= keepBlocks || bytes > keepBytes
		if old && b.Last() <= commit {
			break
		}
		from--
	}
	gone := 0
	for _, b := range c.tail[:from] {
		gone += len(b.raw)
	}
	// Shift only once a whole stretch can go, so that the cost is spread over many blocks.
	if from >= keepBlocks || gone >= keepBytes {
		c.tail = append([]*Block(nil), c.tail[from:]...)
	}
}

// headers returns the headers of blocks.
func headers(blocks []*Block) []quorumcert.Header {
	if len(blocks) == 0 {
		return nil
	}
	hs := make([]quorumcert.Header, len(blocks))
	for i, b := range blocks {
		hs[i] = b.header
	}
	return hs
}
