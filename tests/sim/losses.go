package sim

import (
	"errors"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/quorumcert"
)

// losses are the ways in which a disk may be damaged so that its node must not start again.
var losses = []func(*World, *member){
	func(w *World, m *member) { // both slots of the guard
		m.disk.DamageGuard(0)
		m.disk.DamageGuard(1)
	},
	func(w *World, m *member) { // no disk
		w.watch.hit(stoElse)
		m.disk.Lose()
	},
	func(w *World, m *member) { // another node's disk
		w.watch.hit(stoElse)
		other := w.nodes[int(m.id)%len(w.nodes)]
		m.disk.Rename(w.identity(other))
	},
	func(w *World, m *member) { // an earlier state under a newer guard
		m.disk = m.disk.Restore(m.first, false)
		if m.saved.Mark.Term == 0 && m.saved.Vote.Candidate == 0 {
			m.disk.Lose() // it has said nothing yet, so its first state is as good as any
		}
	},
}

// errRead is what a disk says that has failed to read.
var errRead = errors.New("input/output error")

// watchedDisk is an honest node's disk as the observer sees it: it knows what a crash would leave.
type watchedDisk struct {
	*store.Memory
	w *World
	m *member
}

// failRead makes a node's disk fail from the next read on.
func (w *World) failRead(m *member) { m.unreadable = true }

// Save implements replica.Storage.
func (d *watchedDisk) Save(r *bftraft.Ready) error {
	return d.durably(func() error {
		if err := d.Memory.Save(r); err != nil {
			return err
		}
		d.keeps(r.HardState)
		if r.MustSync && d.m.flushTime > 0 {
			d.m.busyUntil = d.w.now + d.m.flushTime
			if d.m.flushTime > d.w.opt.MaxDelay {
				d.w.watch.hit(stoSlow)
			}
		}
		return nil
	})
}

// keeps notes what the disk knows of what its node has signed.
func (d *watchedDisk) keeps(hs *bftraft.HardState) {
	if hs != nil {
		d.w.watch.locks(d.m, &d.m.saved, hs)
		d.m.saved = *hs
	}
	if d.Unsynced() == 0 {
		d.m.durable = d.m.saved
	}
}

// springs springs the trap: what the process does from here on does not happen.
func (m *member) springs() {
	m.trap.sprung, m.trap.set = true, false
	if m.proc != nil {
		m.trap.executed = m.proc.Executed().Index
	}
}

// durably does something that becomes durable, unless a crash waits for it, or comes behind it.
func (d *watchedDisk) durably(do func() error) error {
	t := &d.m.trap
	due := t.set && t.saves == 0
	if t.set {
		t.saves--
	}
	if due && t.phase == 0 {
		d.m.springs()
		return errCrash
	}
	if err := do(); err != nil {
		if d.Memory.Err() != nil {
			d.notSynced()
		}
		return err
	}
	if due {
		d.m.springs()
		if t.phase == 1 {
			return errCrash
		}
	}
	return nil
}

func (d *watchedDisk) notSynced() {
	if !d.m.failed {
		d.w.watch.hit(stoSync)
	}
	d.m.failed = true
}

// Block implements bftraft.Reader.
func (d *watchedDisk) Block(i bftraft.Index) (*bftraft.Block, bool) {
	if d.m.unreadable {
		d.failed()
		return nil, false
	}
	return d.Memory.Block(i)
}

// Commit implements bftraft.Reader.
func (d *watchedDisk) Commit(i bftraft.Index) (*quorumcert.Commit, bool) {
	if d.m.unreadable {
		d.failed()
		return nil, false
	}
	return d.Memory.Commit(i)
}

func (d *watchedDisk) failed() {
	if !d.m.failed {
		d.w.watch.hit(stoRead)
	}
	d.m.failed = true
}

// Err implements replica.Storage.
func (d *watchedDisk) Err() error {
	if d.m.failed && d.Memory.Err() == nil {
		return errRead
	}
	return d.Memory.Err()
}
