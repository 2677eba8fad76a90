package bftraft

import "tangaroa/quorumcert"

// disk is what one node's storage holds.
type disk struct {
	hard     HardState
	base     Position // where the blocks begin, zero for the genesis
	blocks   []*Block
	commits  []*quorumcert.Commit
	evidence []quorumcert.Evidence
	changes  []*ChangeProof
	ends     []TermEnd
}

func (d *disk) clone() *disk {
	c := *d
	c.blocks = append([]*Block(nil), d.blocks...)
	c.commits = append([]*quorumcert.Commit(nil), d.commits...)
	c.evidence = append([]quorumcert.Evidence(nil), d.evidence...)
	c.changes = append([]*ChangeProof(nil), d.changes...)
	c.ends = append([]TermEnd(nil), d.ends...)
	return &c
}

// apply does step 1 of a Ready.
func (d *disk) apply(r *Ready) {
	if r.HardState != nil {
		d.hard = *r.HardState
	}
	if r.Truncated {
		for len(d.blocks) > 0 && d.blocks[len(d.blocks)-1].Last() > r.Truncate {
			d.blocks = d.blocks[:len(d.blocks)-1]
		}
	}
	d.blocks = append(d.blocks, r.Blocks...)
	d.commits = append(d.commits, r.Commits...)
	d.evidence = append(d.evidence, r.Evidence...)
	d.changes = append(d.changes, r.Changes...)
	if r.Ended != nil {
		d.ends = append(d.ends, *r.Ended)
	}
}

func (d *disk) tip(genesis Position) Position {
	if len(d.blocks) == 0 && d.base.Index > 0 {
		return d.base
	}
	if len(d.blocks) == 0 {
		return genesis
	}
	return d.blocks[len(d.blocks)-1].End()
}

func (d *disk) contains(p Position) bool {
	b, ok := d.Block(p.Index)
	return ok && b.End() == p || p == d.base
}

// drop lets the blocks begin behind upTo.
func (d *disk) drop(upTo Position) {
	d.base = upTo
	for len(d.blocks) > 0 && d.blocks[0].Last() <= upTo.Index {
		d.blocks = d.blocks[1:]
	}
	for len(d.commits) > 0 && d.commits[0].Index < upTo.Index {
		d.commits = d.commits[1:]
	}
}

// Block implements Reader.
func (d *disk) Block(i Index) (*Block, bool) {
	lo, hi := 0, len(d.blocks)
	for lo < hi {
		if mid := (lo + hi) / 2; d.blocks[mid].Last() < i {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(d.blocks) || d.blocks[lo].First() > i {
		return nil, false
	}
	return d.blocks[lo], true
}

// Commit implements Reader.
func (d *disk) Commit(i Index) (*quorumcert.Commit, bool) {
	for k := range d.commits {
		if d.commits[k].Index >= i {
			return d.commits[k], true
		}
	}
	return nil, false
}
