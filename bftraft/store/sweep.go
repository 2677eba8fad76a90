package store

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"tangaroa/internal/mutant"
)

// quota is how much is taken away below the base in one go, at least a record: what Badger goes
// over it also reads.
type quota struct {
	records int
	bytes   int64
}

// A slice is so much, and twice what was added since the last, so that what is left never grows.
const (
	sweepRecords = 256
	sweepBytes   = 1 << 20
	// sweepRest is how many times as long as a slice took there is none, but no longer than
	// sweepMost: others need the processor and the disk.
	sweepRest = 3
	sweepMost = 50 * time.Millisecond
)

// loadQuota is how much Load takes away in one go.
var loadQuota = quota{records: 4096, bytes: math.MaxInt64}

// spent says whether nothing is left after so many records, and counts the next.
func (q *quota) spent(records int, next *badger.Item) bool {
	if records >= q.records || q.bytes <= 0 {
		return true
	}
	q.bytes -= next.EstimatedSize()
	return false
}

// add adds twice what is pending.
func (q *quota) add(p *pending) {
	q.records += 2 * (len(p.blocks) + len(p.commits) + p.bytes/partBytes)
	q.bytes += 2 * int64(p.bytes)
}

// swept is how far the records below the base are gone: of blocks that end, and of commit
// certificates, below these indexes none is left.
type swept struct{ blocks, commits uint64 }

// sweeper takes away what lies below the base, slice by slice, beside everything else: nobody reads
// that any more, and whoever saves would wait for it.
type sweeper struct {
	wg     sync.WaitGroup
	mu     sync.Mutex
	base   uint64 // which is durable
	swept  swept
	owed   quota // besides what a slice is at least
	active bool
	halted bool
}

// left says whether there may be records below the base.
func (w *sweeper) left() bool {
	return w.base > 0 && w.swept.blocks <= w.base || w.swept.commits < w.base
}

// sweepOn has what is below the written base be taken away, now that something more was written.
func (s *Badger) sweepOn(added *pending) {
	w := &s.sweeper
	w.mu.Lock()
	defer w.mu.Unlock()
	w.base = uint64(s.written.base.Index)
	if !w.left() {
		return
	}
	if added != nil {
		w.owed.add(added)
	}
	if !w.active && !w.halted {
		w.active = true
		w.wg.Go(s.sweepSlices)
	}
}

// haltSweeping returns once nothing is taken away any more.
func (s *Badger) haltSweeping() {
	s.sweeper.mu.Lock()
	s.sweeper.halted = true
	s.sweeper.mu.Unlock()
	s.sweeper.wg.Wait()
}

// resumeSweeping lets it go on with the next batch.
func (s *Badger) resumeSweeping() {
	s.sweeper.mu.Lock()
	defer s.sweeper.mu.Unlock()
	s.sweeper.halted = false
}

// sweepSlices takes away slice after slice until nothing is left.
func (s *Badger) sweepSlices() {
	w := &s.sweeper
	for {
		began := time.Now()
		err := s.sweepSlice()
		w.mu.Lock()
		if w.active = err == nil && !w.halted && w.left(); !w.active {
			w.mu.Unlock()
			if !errors.Is(err, ErrDiskFull) { // the next batch is refused; this can wait
				_ = s.fail(err)
			}
			return
		}
		w.mu.Unlock()
		time.Sleep(min(sweepRest*time.Since(began), sweepMost))
	}
}

// sweepSlice takes away one slice. Whatever crash comes, Load takes away what is left.
func (s *Badger) sweepSlice() error {
	w := &s.sweeper
	w.mu.Lock()
	q := quota{sweepRecords + w.owed.records, sweepBytes + w.owed.bytes}
	w.owed = quota{}
	from, base := w.swept, w.base
	w.mu.Unlock()
	if mutant.On(mutant.M177) {
		base = uint64(s.base.Index)
	}
	return s.sweepBelow(from, base, q)
}

// sweepBelow takes away about a quota below a base, from where that was done before.
func (s *Badger) sweepBelow(from swept, base uint64, q quota) error {
	if err := s.checkSpace(); err != nil {
		return err
	}
	cut, done, err := s.below(from, base, q)
	if err != nil {
		return err
	}
	for _, group := range s.pack(cut) {
		if err := s.commit(group); err != nil {
			return err
		}
	}
	s.sweeper.mu.Lock()
	defer s.sweeper.mu.Unlock()
	s.sweeper.swept = done
	return nil
}

// sweep takes away all that is below the base.
func (s *Badger) sweep() error {
	w := &s.sweeper
	w.base, w.swept = uint64(s.written.base.Index), swept{}
	for w.left() {
		if err := s.sweepBelow(w.swept, w.base, loadQuota); err != nil {
			return err
		}
	}
	return nil
}

// below returns the deletion of about a quota below a base, and how far that goes. Where it
// begins is remembered, as going over what was deleted before takes Badger its time.
func (s *Badger) below(done swept, base uint64, q quota) ([]op, swept, error) {
	var cut []op
	err := s.view(func(txn *badger.Txn) error {
		var err error
		if done.blocks <= base {
			cut, done.blocks, err = s.cutBlocks(txn, done.blocks, base, &q)
		}
		if err == nil && done.commits < base {
			cut, done.commits, err = s.cutCommits(txn, cut, done.commits, base, &q)
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

// cutCommits appends the deletion of commit certificates from an index on, below a base.
func (s *Badger) cutCommits(txn *badger.Txn, cut []op, from, base uint64, q *quota) (
	[]op, uint64, error,
) {
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
