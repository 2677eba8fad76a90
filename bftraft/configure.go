package bftraft

import (
	"slices"

	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// Verifier returns the gate behind the newest change that is committed here.
func (c *Core) Verifier() *Verifier { return c.gate }

// configs is the chain of configurations in force up to what is committed here.
func (c *Core) configs() *quorumcert.Configurations { return c.gate.configs }

// changing says whether the log ends with a change that is not committed: nothing is proposed or
// accepted beyond it (J1).
func (c *Core) changing() bool {
	n := len(c.log.tail)
	return n > 0 && c.log.tip.Index > c.commit.Index && c.log.tail[n-1].EndsChange() &&
		!mutant.On(mutant.M138)
}

// provesChange says whether the log ends with a committed change: the next entry is what proves it
// committed (J1).
func (c *Core) provesChange() bool {
	at := c.gate.members.At
	return at.Index > 0 && c.log.tip == at && c.commit.Index == at.Index
}

// proposeProof lets a leader extend a committed change at once, so that all learn of it.
func (c *Core) proposeProof() {
	if c.provesChange() && c.Room() && !mutant.On(mutant.M139) {
		c.Propose(nil)
	}
}

// reconfigure lets the change at the end of a block that has just been committed come into force.
// What was judged by the configuration before it says nothing about what lies beyond.
func (c *Core) reconfigure(b *Block, cc *quorumcert.Commit) {
	proof := newChangeProof(b, cc)
	next, err := c.gate.After(proof)
	if err != nil {
		c.halt() // a quorum has committed what no honest node lets stand
		return
	}
	c.gate = next
	c.out.Changes = append(c.out.Changes, proof)
	if c.pending != nil && c.pending.Index > b.Last() {
		c.pending = nil
	}
	if c.gather != nil && c.gather.target.Index > b.Last() {
		c.gather = nil
	}
}

// learn takes in changes that came with a state (K1).
func (c *Core) learn(changes []*ChangeProof) {
	next, err := c.gate.Following(changes)
	if err != nil {
		panic("bftraft: a state with changes that do not prove themselves: " + err.Error())
	}
	c.out.Changes = append(c.out.Changes, next.changes[len(c.gate.changes):]...)
	c.gate = next
}

// admit judges blocks, the first of which follows a position on the chain: by J1, where a change
// lies before one of them, and by B2. Changes that are proven committed by what follows them come
// into force, with what leads there; the rest is returned, and an error that says why it may not
// follow.
func (c *Core) admit(blocks []*Block) ([]*Block, Drop) {
	if len(blocks) > 0 && blocks[0].First() <= c.commit.Index && !mutant.On(mutant.M24) {
		return nil, Conflict // perhaps an honest leader's, of an earlier term (A5)
	}
	for k := 0; k < len(blocks); k++ {
		if blocks[k].entries[0].Kind != EntryCommit {
			continue
		}
		at := blocks[k].Before()
		if at.Index <= c.commit.Index {
			continue // judged below
		}
		cc := c.gate.changeCommit(at, blocks[k].entries[0].Data)
		if cc == nil || !c.endsChange(blocks[:k]) {
			return nil, InvalidEntry
		}
		if drop := c.admitCommitted(blocks[:k], at, cc); drop != Accepted {
			return nil, drop
		}
		blocks, k = blocks[k:], 0
	}
	c.gate.CheckBlocks(blocks)
	for k, b := range blocks {
		if b.checked != entriesValid && !mutant.On(mutant.M83) {
			return nil, InvalidEntry
		}
		if (k > 0 && blocks[k-1].EndsChange() || k == 0 && c.unprovenChange(b.Before())) &&
			!mutant.On(mutant.M138) {
			return nil, InvalidEntry
		}
	}
	return blocks, Accepted
}

// endsChange says whether the last of blocks, or the log if there are none, ends with a change.
func (c *Core) endsChange(blocks []*Block) bool {
	if len(blocks) == 0 {
		return c.changing()
	}
	return blocks[len(blocks)-1].EndsChange()
}

// unprovenChange says whether a position on the chain is that of a change that is not committed.
func (c *Core) unprovenChange(at Position) bool {
	if at.Index <= c.commit.Index {
		return false
	}
	b, ok := c.log.covering(at.Index)
	return ok && b.EndsChange()
}

// admitCommitted takes in blocks up to a change that is proven committed.
func (c *Core) admitCommitted(blocks []*Block, at Position, cc *quorumcert.Commit) Drop {
	if slices.ContainsFunc(blocks[:max(len(blocks)-1, 0)], (*Block).EndsChange) ||
		len(blocks) > 0 && c.unprovenChange(blocks[0].Before()) {
		return InvalidEntry // there is another change before it, without proof
	}
	if len(blocks) > 0 {
		if drop := c.takeCommitted(blocks, cc.Term); drop != Accepted {
			return drop
		}
		c.recount()
	}
	if cc.Term > c.term {
		c.enterTerm(cc.Term, TermProof{Commit: cc})
	}
	c.commitTo(at, cc)
	if c.broken != nil {
		return Conflict
	}
	return Accepted
}
