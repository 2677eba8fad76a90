package store

import (
	"fmt"
	"sort"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// pending is what Save was given and has not yet written: a Ready that nothing signed depends on
// waits for the next that something does, so that the two share one flush. Reads look here first.
type pending struct {
	hard      *bftraft.HardState
	truncated bool
	base      bftraft.Index // what is written counts up to here
	blocks    []*bftraft.Block
	commits   []*quorumcert.Commit // ascending by index
	evidence  []quorumcert.Evidence
	changes   []*bftraft.ChangeProof
	terms     []TermRecord
	bytes     int // of blocks
}

// The most that waits.
const (
	maxPendingBytes = 1 << 20
	maxPendingItems = 256
)

func (p *pending) empty() bool {
	return p.hard == nil && !p.truncated && len(p.blocks) == 0 && len(p.commits) == 0 &&
		len(p.evidence) == 0 && len(p.changes) == 0
}

func (p *pending) full() bool {
	return p.bytes >= maxPendingBytes ||
		len(p.blocks)+len(p.commits)+len(p.evidence)+len(p.changes)+len(p.terms) >= maxPendingItems
}

// add takes in a Ready whose blocks were seen to follow from what is there.
func (p *pending) add(r *bftraft.Ready) {
	if r.HardState != nil {
		hard := *r.HardState
		p.hard = &hard
	}
	if r.Truncated {
		p.truncate(r.Truncate)
	}
	p.blocks = append(p.blocks, r.Blocks...)
	for _, b := range r.Blocks {
		p.bytes += len(b.Raw())
	}
	for _, c := range r.Commits {
		at, found := p.commitAt(c.Index)
		if found {
			p.commits[at] = c
			continue
		}
		p.commits = append(p.commits, nil)
		copy(p.commits[at+1:], p.commits[at:])
		p.commits[at] = c
	}
	p.evidence = append(p.evidence, r.Evidence...)
	p.changes = append(p.changes, r.Changes...)
}

func (p *pending) truncate(at bftraft.Index) {
	if at < p.base {
		p.base, p.truncated = at, true
	}
	k := len(p.blocks)
	for k > 0 && p.blocks[k-1].Last() > at {
		k--
		p.bytes -= len(p.blocks[k].Raw())
	}
	p.blocks = p.blocks[:k]
}

// block returns the block that covers i, which is above base.
func (p *pending) block(i bftraft.Index) (*bftraft.Block, bool) {
	k := sort.Search(len(p.blocks), func(k int) bool { return p.blocks[k].Last() >= i })
	if k == len(p.blocks) || p.blocks[k].First() > i {
		return nil, false
	}
	return p.blocks[k], true
}

// commitAt returns the place of the commit certificate of index i or the next higher one, and
// whether it is of i itself.
func (p *pending) commitAt(i bftraft.Index) (int, bool) {
	k := sort.Search(len(p.commits), func(k int) bool { return p.commits[k].Index >= i })
	return k, k < len(p.commits) && p.commits[k].Index == i
}

// chainView tells a store's chain to the checks that both stores share.
type chainView struct {
	tip bftraft.Position
	// endHash returns the chain hash at i if a block ends there.
	endHash func(i bftraft.Index) (crypto.Digest, bool)
}

// accept says whether r follows from the chain, and where the chain then ends. A new lock must lie
// on the chain (N3). It need not stay there, and the mark need not be there: who alone acked or
// certified something gives it up for what is committed, but still votes for nothing below its
// lock. What is committed is never cut.
func (v chainView) accept(r *bftraft.Ready, lock bftraft.Lock, committed bftraft.Index) (
	bftraft.Position, error,
) {
	tip := v.tip
	if r.Truncated && r.Truncate < tip.Index {
		hash, ok := v.endHash(r.Truncate)
		if !ok || r.Truncate < committed {
			return tip, fmt.Errorf("%w: truncation at %d, committed %d", ErrUnlinked,
				r.Truncate, committed)
		}
		tip = bftraft.Position{Index: r.Truncate, Hash: hash}
	}
	kept := tip
	for _, b := range r.Blocks {
		if b.Before() != tip {
			return tip, fmt.Errorf("%w: block at %d, tip %d", ErrUnlinked, b.First(), tip.Index)
		}
		tip = b.End()
	}
	moved := r.HardState != nil && r.HardState.Lock != lock
	if moved {
		lock = r.HardState.Lock
	}
	on := func(i bftraft.Index, hash crypto.Digest) bool {
		if i <= kept.Index {
			h, ok := v.endHash(i)
			return ok && h == hash
		}
		k := sort.Search(len(r.Blocks), func(k int) bool { return r.Blocks[k].Last() >= i })
		return k < len(r.Blocks) && r.Blocks[k].End() == bftraft.Position{Index: i, Hash: hash}
	}
	if moved && !on(lock.Index, lock.Hash) {
		return tip, fmt.Errorf("%w: lock at %d is not on the chain", ErrUnlinked, lock.Index)
	}
	for _, c := range r.Commits {
		if !on(c.Index, c.Hash) {
			return tip, fmt.Errorf("%w: commit at %d is not on the chain", ErrUnlinked, c.Index)
		}
	}
	return tip, nil
}
