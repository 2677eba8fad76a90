package store

import (
	"errors"
	"sort"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// Memory is the store of the simulator. It keeps apart what a crash leaves and what it takes, and
// fails when it is told to. It has no clock, no randomness and no files.
type Memory struct {
	id       Identity
	now      image           // what reads see
	durable  image           // what a crash leaves for certain
	unsynced []func(*image)  // what leads from durable to now, in order
	begun    *memorySnapshot // nil for none
	left     *memorySnapshot // what the process before did not finish, likewise
	held     *memorySnapshot // likewise
	slots    [2]*promise     // the guard; nil for a slot that is damaged or gone
	lies     bool
	missing  bool
	loaded   bool
	next     *fault
	err      error
}

type fault struct {
	err       error
	persisted bool
}

// image is all that is stored. Its slices only grow at their ends, so copies of it are cheap; who
// keeps one for later clips it.
type image struct {
	state
	blocks   []*bftraft.Block
	commits  []*quorumcert.Commit // ascending by index
	evidence []quorumcert.Evidence
	changes  []*bftraft.ChangeProof
	snapshot *memorySnapshot // the finished one, never changed; nil for none
}

// Image is what a Memory durably held at some moment: the simulator's backup of a disk.
type Image struct{ image image }

// NewMemory returns an empty store, like one made by Create.
func NewMemory(id Identity) *Memory {
	m := &Memory{id: id, now: image{state: genesisState(id.Cluster)}}
	m.durable = m.now
	m.slots[0] = m.promise(&m.now.state)
	m.slots[1] = m.slots[0]
	return m
}

func (m *Memory) promise(st *state) *promise {
	p := promise{
		meta: meta{identity: m.id}, seq: st.seq, term: st.hard.Term, vote: st.hard.Vote,
		lock: st.hard.Lock, mark: st.hard.Mark, tip: st.tip,
	}
	return &p
}

// newest returns the promise to go by, and its slot.
func (m *Memory) newest() (*promise, int) {
	a, b := m.slots[0], m.slots[1]
	if b == nil || a != nil && a.seq >= b.seq {
		return a, 0
	}
	return b, 1
}

// Load returns what a Core goes on from, or why the node must not sign.
func (m *Memory) Load() (bftraft.Restored, error) {
	if m.err != nil {
		return bftraft.Restored{}, m.err
	}
	if m.err = m.judge(); m.err != nil {
		return bftraft.Restored{}, m.err
	}
	if b := m.begun; b != nil && len(b.chunks) > 0 {
		m.left = b
	}
	m.loaded, m.begun, m.held = true, nil, nil
	m.guard(&m.now.state)
	r := bftraft.Restored{
		HardState: m.now.hard, Base: m.now.base, Tip: m.now.tip,
		Evidence: append([]quorumcert.Evidence(nil), m.now.evidence...),
		Changes:  append([]*bftraft.ChangeProof(nil), m.now.changes...),
	}
	if n := len(m.now.commits); n > 0 {
		r.Commit = m.now.commits[n-1]
	}
	return r, nil
}

func (m *Memory) judge() error {
	p, _ := m.newest()
	switch {
	case m.missing:
		return ErrMissing
	case p == nil:
		return ErrGuardDamaged
	}
	if err := p.identity.match(m.id); err != nil {
		return err
	}
	if err := p.judge(&m.now.state, 0, p.digest); err != nil {
		return err
	}
	return m.now.checkSnapshot()
}

// guard writes the slot that is not the newest.
func (m *Memory) guard(st *state) {
	p, slot := m.newest()
	if p != nil && p.seq == st.seq && m.slots[1-slot] != nil {
		return
	}
	m.slots[1-slot] = m.promise(st)
}

// usable says why nothing can be stored, and panics when nobody has asked yet what is.
func (m *Memory) usable() error {
	if m.err == nil && !m.loaded {
		panic("bftraft/store: used before Load")
	}
	return m.err
}

// Save stores r as Badger.Save does.
func (m *Memory) Save(r *bftraft.Ready) error {
	if err := m.usable(); err != nil {
		return err
	}
	view := chainView{tip: m.now.tip, endHash: m.endHash}
	tip, err := view.accept(r, m.now.hard.Lock, m.now.committed())
	if err != nil {
		m.err = err
		return err
	}
	kept := stored(r)
	if err := m.write(func(g *image) { g.apply(&kept, tip) }); err != nil {
		return err
	}
	if mutant.On(mutant.M124) {
		m.guard(&m.now.state)
	}
	if r.MustSync {
		m.sync()
	}
	return nil
}

// write makes a change that a crash may take, unless the disk fails now. The whole of a change is
// there or nothing, so each says all that it does.
func (m *Memory) write(change func(*image)) error {
	if m.next != nil && !m.next.persisted {
		m.err = m.next.err
		return m.err
	}
	change(&m.now)
	m.unsynced = append(m.unsynced, change)
	if m.next != nil {
		m.err = m.next.err
		m.durable, m.unsynced = m.now, nil
	}
	return m.err
}

// sync makes durable what was written, and then the guard.
func (m *Memory) sync() {
	if !m.lies {
		m.durable, m.unsynced = m.now, nil
		m.guard(&m.now.state)
	}
}

// stored returns the part of r that goes to the disk.
func stored(r *bftraft.Ready) bftraft.Ready {
	return bftraft.Ready{
		HardState: r.HardState, Truncated: r.Truncated, Truncate: r.Truncate, Blocks: r.Blocks,
		Commits: r.Commits, Evidence: r.Evidence, Changes: r.Changes,
	}
}

// apply takes in a Ready that was accepted, after which the chain ends at tip.
func (g *image) apply(r *bftraft.Ready, tip bftraft.Position) {
	g.seq++
	g.tip = tip
	if r.HardState != nil {
		g.hard = *r.HardState
	}
	if r.Truncated {
		k := len(g.blocks)
		for k > 0 && g.blocks[k-1].Last() > r.Truncate {
			k--
		}
		if k < len(g.blocks) {
			g.blocks = g.blocks[:k:k] // older images see what was cut
		}
	}
	g.blocks = append(g.blocks, r.Blocks...)
	for _, c := range r.Commits {
		k := g.commitAt(c.Index)
		if k == len(g.commits) {
			g.commits = append(g.commits, c)
			continue
		}
		rest := g.commits[k:]
		if rest[0].Index == c.Index {
			rest = rest[1:]
		}
		g.commits = append(append(g.commits[:k:k], c), rest...)
	}
	g.evidence = append(g.evidence, r.Evidence...)
	g.changes = append(g.changes, r.Changes...)
}

func (g *image) commitAt(i bftraft.Index) int {
	return sort.Search(len(g.commits), func(k int) bool { return g.commits[k].Index >= i })
}

func (g *image) committed() bftraft.Index {
	if n := len(g.commits); n > 0 {
		return g.commits[n-1].Index
	}
	return 0
}

func (g *image) block(i bftraft.Index) (*bftraft.Block, bool) {
	if i <= g.base.Index || i > g.tip.Index {
		return nil, false
	}
	k := sort.Search(len(g.blocks), func(k int) bool { return g.blocks[k].Last() >= i })
	return g.blocks[k], true
}

// endHash returns the chain hash at i, if a block ends there.
func (m *Memory) endHash(i bftraft.Index) (crypto.Digest, bool) {
	switch i {
	case m.now.base.Index:
		return m.now.start(m.id.Cluster).Hash, true
	case m.now.tip.Index:
		return m.now.tip.Hash, true
	}
	b, ok := m.now.block(i)
	if !ok || b.Last() != i {
		return crypto.Digest{}, false
	}
	return b.Hash(), true
}

// clip keeps later growth of other images out of this one's backing arrays.
func (g image) clip() image {
	g.blocks = g.blocks[:len(g.blocks):len(g.blocks)]
	g.commits = g.commits[:len(g.commits):len(g.commits)]
	g.evidence = g.evidence[:len(g.evidence):len(g.evidence)]
	g.changes = g.changes[:len(g.changes):len(g.changes)]
	return g
}

// Block returns the block that covers index i.
func (m *Memory) Block(i bftraft.Index) (*bftraft.Block, bool) {
	if errors.Is(m.err, ErrClosed) {
		return nil, false
	}
	return m.now.block(i)
}

// Commit returns the stored commit certificate of the lowest index at or above i.
func (m *Memory) Commit(i bftraft.Index) (*quorumcert.Commit, bool) {
	k := m.now.commitAt(i)
	if k == len(m.now.commits) || errors.Is(m.err, ErrClosed) {
		return nil, false
	}
	return m.now.commits[k], true
}

// Err returns the first failure. After it nothing more is saved.
func (m *Memory) Err() error { return m.err }

// Close makes all that was saved durable, unless the store has failed, and ends its use.
func (m *Memory) Close() error {
	if m.err == nil && !m.lies {
		m.durable, m.unsynced = m.now, nil
	}
	if m.err == nil {
		m.err = ErrClosed
	}
	return nil
}

// Base returns where the chain begins, zero for the genesis.
func (m *Memory) Base() bftraft.Position { return m.now.base }

// Unsynced returns how many Saves a crash may take.
func (m *Memory) Unsynced() int { return len(m.unsynced) }

// Crash ends m, and returns what a new process finds: all that was synced, and of the Saves since
// the first keep. A Save is there or not, never in part. Of a snapshot that is not finished, half
// is there where a Save is not.
func (m *Memory) Crash(keep int) *Memory {
	n := m.successor(m.durable)
	if n.left = m.left; m.begun != nil {
		chunks := len(m.begun.chunks)
		if keep < len(m.unsynced) {
			chunks /= 2
		}
		n.left = m.begun.first(chunks)
	}
	for _, change := range m.unsynced[:min(keep, len(m.unsynced))] {
		change(&n.now)
	}
	n.durable = n.now
	return n
}

func (m *Memory) successor(g image) *Memory {
	g = g.clip()
	n := &Memory{
		id: m.id, now: g, durable: g, slots: m.slots, lies: m.lies, missing: m.missing,
	}
	m.err = ErrClosed
	return n
}

// Image returns what m durably holds.
func (m *Memory) Image() Image { return Image{m.durable.clip()} }

// Restore ends m, and returns what a new process finds after its disk was put back to g: alone,
// which the guard shows, or together with the guard, which nothing on this node can show.
func (m *Memory) Restore(g Image, guardToo bool) *Memory {
	n := m.successor(g.image)
	if guardToo {
		n.slots[0] = n.promise(&n.now.state)
		n.slots[1] = n.slots[0]
	}
	return n
}

// FailNext makes the next Save fail with err, or the next call that makes something else durable,
// and all after it. Whether what it was given is there after a crash is persisted: a write that
// failed has an unknown outcome.
func (m *Memory) FailNext(err error, persisted bool) { m.next = &fault{err, persisted} }

// Lie makes the disk say that it has synced what it has not, from now on or no longer.
func (m *Memory) Lie(on bool) { m.lies = on }

// DamageGuard makes a slot of the guard, 0 or 1, unreadable for the next process.
func (m *Memory) DamageGuard(slot int) { m.slots[slot] = nil }

// Lose makes the next process find nothing.
func (m *Memory) Lose() { m.missing = true }

// Rename makes the next process another node's.
func (m *Memory) Rename(id Identity) { m.id = id }
