package store

import (
	"errors"
	"fmt"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// start returns where the chain begins, as a position on it.
func (s *Badger) start() bftraft.Position {
	st := state{base: s.base}
	return st.start(s.meta.identity.Cluster)
}

// DropLog lets the chain begin behind upTo, which must be a block's end on the chain, and not
// beyond the finished snapshot, the newest commit certificate or the lock; else it is refused and
// nothing is changed. It is durable on return, with all that was saved before. The blocks up to
// there and the commit certificates below are no longer read; they are taken away by and by.
func (s *Badger) DropLog(upTo bftraft.Position) error {
	if err := s.usable(); err != nil {
		return err
	}
	if upTo == s.start() {
		s.sweepOn(nil)
		return nil
	}
	if err := s.dropping(upTo); err != nil {
		return err
	}
	return s.fail(s.flush(true))
}

// dropping prepares the flush that drops the log.
func (s *Badger) dropping(upTo bftraft.Position) error {
	if err := errors.Join(s.follows().drop(upTo), s.Err()); err != nil {
		return err
	}
	if !s.pending.empty() { // what is swept is written
		if err := s.fail(s.flush(false)); err != nil {
			return err
		}
	}
	s.base = upTo
	return nil
}

// InstallSnapshot puts the finished snapshot in the place of the chain, for a node that has fetched
// the state of others: the chain is then empty, and begins and ends where the snapshot is. The
// snapshot must be beyond what is committed here and not on the chain, and the commit certificate
// must be of it. The hard state must not go back, and a lock so high must lie at the snapshot. It
// is one step and durable on return; else it is refused and nothing is changed.
func (s *Badger) InstallSnapshot(hard bftraft.HardState, commit *quorumcert.Commit) error {
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.installing(&hard, commit); err != nil {
		return err
	}
	return s.fail(s.flush(true))
}

// installing prepares the flush that installs the snapshot.
func (s *Badger) installing(hard *bftraft.HardState, commit *quorumcert.Commit) error {
	if s.snaps.finished == nil {
		return ErrNoSnapshot
	}
	if err := errors.Join(s.follows().install(hard, commit), s.Err()); err != nil {
		return err
	}
	at := s.snaps.finished.info.At
	s.note(hard, nil)
	s.base, s.tip, s.committed = at, at, at.Index
	s.pending = pending{
		hard: hard, truncated: true, base: at.Index, commits: []*quorumcert.Commit{commit},
		evidence: s.pending.evidence, changes: s.pending.changes, terms: s.pending.terms,
	}
	return nil
}

// checkBase sees that a snapshot holds what was before the base.
func (s *Badger) checkBase() error {
	f := s.snaps.finished
	switch {
	case s.base.Index == 0:
		return nil
	case f == nil:
		return fmt.Errorf("%w: the chain begins at %d, and there is no snapshot", ErrDamaged,
			s.base.Index)
	case f.info.At.Index < s.base.Index, f.info.At.Index == s.base.Index && f.info.At != s.base:
		return fmt.Errorf("%w: the chain begins at %d, and the snapshot is at %d of %v", ErrDamaged,
			s.base.Index, f.info.At.Index, f.info.At.Hash.Short())
	}
	return nil
}
