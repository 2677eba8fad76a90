package store

import (
	"errors"
	"fmt"
	"math"

	"github.com/dgraph-io/badger/v4"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// quota is how much is taken away below the base in one go, at least a record: what Badger goes
// over it also reads.
type quota struct {
	records int
	bytes   int64
}

// One flush takes away so much, and twice what it adds, so that what is left never grows. It takes
// a few milliseconds.
const (
	sweepRecords = 512
	sweepBytes   = 4 << 20
)

// loadQuota is how much Load takes away in one go.
var loadQuota = quota{records: 4096, bytes: math.MaxInt64}

// sweepQuota returns what a flush takes away that adds some records.
func sweepQuota(added []op) quota {
	q := quota{records: sweepRecords + 2*len(added), bytes: sweepBytes}
	for _, o := range added {
		q.bytes += 2 * int64(len(o.key)+len(o.value))
	}
	return q
}

// spent says whether nothing is left after so many records, and counts the next.
func (q *quota) spent(records int, next *badger.Item) bool {
	if records >= q.records || q.bytes <= 0 {
		return true
	}
	q.bytes -= next.EstimatedSize()
	return false
}

// swept is how far the records below the base are gone: of blocks that end, and of commit
// certificates, below these indexes none is left.
type swept struct{ blocks, commits uint64 }

// start returns where the chain begins, as a position on it.
func (s *Badger) start() bftraft.Position {
	st := state{base: s.base}
	return st.start(s.meta.identity.Cluster)
}

// DropLog lets the chain begin behind upTo, which must be a block's end on the chain, and not
// beyond the finished snapshot, the newest commit certificate or the lock; else it is refused and
// nothing is changed. It is durable on return, with all that was saved before. The blocks up to
// there and the commit certificates below are no longer read; they are taken away now, or by and
// by: each call and each Save that writes takes away some.
func (s *Badger) DropLog(upTo bftraft.Position) error {
	if err := s.usable(); err != nil {
		return err
	}
	if upTo == s.start() {
		if !s.unswept() {
			return nil
		}
		return s.fail(s.flush(true))
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

// unswept says whether there may be records below the base.
func (s *Badger) unswept() bool {
	base := uint64(s.base.Index)
	return s.swept.blocks <= base && base > 0 || s.swept.commits < base
}

// below returns the deletion of about a quota below the base, and how far that goes. Where it
// begins is remembered, as going over what was deleted before takes Badger its time.
func (s *Badger) below(q quota) ([]op, swept, error) {
	var cut []op
	done := s.swept
	base := uint64(s.base.Index)
	err := s.view(func(txn *badger.Txn) error {
		var err error
		if done.blocks <= base {
			cut, done.blocks, err = s.cutBlocks(txn, done.blocks, base, &q)
		}
		if err == nil && done.commits < base {
			cut, done.commits, err = s.cutCommits(txn, cut, done.commits, &q)
		}
		return err
	})
	return cut, done, err
}

var errEnough = errors.New("enough records")

// cutBlocks returns the deletion of blocks that end at from or later, up to index last.
func (s *Badger) cutBlocks(txn *badger.Txn, from, last uint64, q *quota) ([]op, uint64, error) {
	var cut []op
	err := s.eachKey(txn, keyBlock, from, func(item *badger.Item) error {
		end, _ := number(item.Key(), 0)
		switch {
		case end > last:
			from = last + 1
			return errEnough
		case q.spent(len(cut), item):
			from = end
			return errEnough
		}
		var err error
		cut, err = s.cutBlock(cut, item)
		return err
	})
	switch {
	case errors.Is(err, errEnough):
		err = nil
	case err == nil:
		from = last + 1
	}
	return cut, from, err
}

// cutCommits appends the deletion of commit certificates from an index on, below the base.
func (s *Badger) cutCommits(txn *badger.Txn, cut []op, from uint64, q *quota) (
	[]op, uint64, error,
) {
	base := uint64(s.base.Index)
	err := s.eachKey(txn, keyCommit, from, func(item *badger.Item) error {
		index, _ := number(item.Key(), 0)
		_, ok := number(item.Key(), 1)
		switch {
		case !ok:
			return fmt.Errorf("%w: a key of a commit is malformed", ErrDamaged)
		case index >= base:
			from = base
			return errEnough
		case q.spent(len(cut), item):
			from = index
			return errEnough
		}
		cut = append(cut, op{key: item.KeyCopy(nil)})
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		err = nil
	case err == nil:
		from = base
	}
	return cut, from, err
}

// sweep takes away all that is below the base.
func (s *Badger) sweep() error {
	s.swept = swept{}
	for s.unswept() {
		cut, done, err := s.below(loadQuota)
		if err != nil {
			return err
		}
		for _, group := range s.pack(cut) {
			if err := s.commit(group); err != nil {
				return err
			}
		}
		s.swept = done
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
