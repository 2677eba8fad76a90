package store

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"

	"tangaroa/bftraft"
	"tangaroa/internal/mutant"
)

const (
	// valueThreshold is Badger's highest: a value below it never goes to the value log.
	valueThreshold = 1 << 20
	// partBytes is the largest piece of a block in one value; a transaction of the smallest
	// profile holds two.
	partBytes = 512 << 10
	// opOverhead is what Badger counts for an operation beyond key and value, and more.
	opOverhead = 48
)

// op sets a key, or deletes it when there is no value.
type op struct{ key, value []byte }

// Save stores r in one atomic step. With r.MustSync it is durable on return, in the journal if it
// is small and in Badger if not; without, it may wait for the next Save that is. After an error
// nothing more is saved.
func (s *Badger) Save(r *bftraft.Ready) error {
	if err := s.usable(); err != nil {
		return err
	}
	return s.fail(s.save(r))
}

func (s *Badger) save(r *bftraft.Ready) error {
	if err := s.take(r); err != nil {
		return err
	}
	s.unrecorded.add(r)
	switch {
	case s.pending.full():
		return s.flush(r.MustSync)
	case !r.MustSync:
		return nil
	case s.recordable():
		return do(s.record())
	}
	return s.flush(true)
}

// take takes in r, if it follows from what was saved before.
func (s *Badger) take(r *bftraft.Ready) error {
	view := chainView{tip: s.tip, endHash: s.endHash}
	now := s.now()
	tip, err := view.accept(r, now.hard.Lock, s.committed)
	if err != nil {
		return err
	}
	if err := s.Err(); err != nil {
		return err // reading for the checks failed
	}
	if r.HardState != nil {
		s.note(r.HardState, r.Ended)
	}
	s.pending.add(r)
	s.tip = tip
	for _, c := range r.Commits {
		s.committed = max(s.committed, c.Index)
	}
	return nil
}

// flush writes what is pending; sync says that something will be signed on it.
func (s *Badger) flush(sync bool) error {
	steps, next, err := s.plan(sync)
	if err != nil {
		return err
	}
	if err := do(steps); err != nil {
		return err
	}
	added := s.pending
	s.written, s.pending = next, pending{base: next.tip.Index}
	s.journal.Restart(next.seq)
	s.unrecorded.clear()
	s.sweepOn(&added)
	return nil
}

// plan returns the steps of a flush, each of which is atomic. Whatever crash comes between them,
// the store opens as it was before, until the transaction with the state record; and as it shall
// be, after it.
func (s *Badger) plan(sync bool) ([]func() error, state, error) {
	next := s.now()
	next.seq++
	record := next.encode()
	last := []op{{key(keyState), s.seals.seal(key(keyState), record)}}
	ops := s.batch(next.seq)
	var cut []op
	if s.pending.truncated {
		var err error
		if cut, err = s.beyond(s.pending.base, next.seq); err != nil {
			return nil, next, err
		}
	}
	terms, err := s.termRecords(next.seq)
	if err != nil {
		return nil, next, err
	}
	ops = append(ops, terms...)
	steps := []func() error{s.checkSpace}
	groups := s.pack(slices.Concat(cut, ops, last))
	trims := len(groups) > 1 && s.pending.truncated
	if trims {
		last = append(last, s.trimRecord(s.pending.base, next.seq))
	}
	if len(groups) > 1 {
		groups = append(s.pack(ops), last)
	}
	for _, group := range groups {
		steps = append(steps, func() error { return s.commit(group) })
	}
	if trims {
		steps = append(steps, func() error { return s.finishTrim(cut) })
	}
	steps = append(steps, s.syncNewFiles)
	promise := promiseOf(s.meta, &next, record)
	guard := func() error { return s.guard.write(promise) }
	switch {
	case sync && mutant.On(mutant.M124):
		steps = append([]func() error{guard}, steps...)
	case sync:
		steps = append(steps, guard)
	}
	return append(steps, func() error {
		s.digest = promise.digest
		return nil
	}), next, nil
}

// batch returns what is to be added, in batch seq.
func (s *Badger) batch(seq uint64) []op {
	var ops []op
	for _, b := range s.pending.blocks {
		last, raw := uint64(b.Last()), b.Raw()
		k := key(keyBlock, last, seq)
		h := blockHeader{first: b.First(), hash: b.Hash()}
		if len(raw) <= partBytes {
			ops = append(ops, op{k, s.seals.sealBlock(h.encode(s.seals, k), k, raw)})
			continue
		}
		for ; len(raw) > 0; h.parts++ {
			n := min(len(raw), partBytes)
			part := key(keyPart, seq, last, h.parts)
			ops = append(ops, op{part, s.seals.sealBlock(nil, part, raw[:n])})
			raw = raw[n:]
		}
		ops = append(ops, op{k, h.encode(s.seals, k)})
	}
	for _, c := range s.pending.commits {
		k := key(keyCommit, uint64(c.Index), seq)
		ops = append(ops, op{k, s.seals.seal(k, c.AppendTo(nil))})
	}
	for i := range s.pending.evidence {
		k := key(keyEvidence, seq, uint64(i))
		ops = append(ops, op{k, s.seals.seal(k, s.pending.evidence[i].AppendTo(nil))})
	}
	for _, p := range s.pending.changes {
		k := key(keyChange, seq, uint64(p.Header.Last))
		ops = append(ops, op{k, s.seals.seal(k, p.AppendTo(nil))})
	}
	return ops
}

// pack divides operations into transactions that Badger takes.
func (s *Badger) pack(ops []op) [][]op {
	maxBytes, maxCount := s.db.MaxBatchSize()-opOverhead, s.db.MaxBatchCount()-2
	var groups [][]op
	var bytes int64
	from := 0
	for i, o := range ops {
		size := int64(len(o.key) + len(o.value) + opOverhead)
		if i > from && (bytes+size >= maxBytes || int64(i-from+1) >= maxCount) {
			groups = append(groups, ops[from:i])
			from, bytes = i, 0
		}
		bytes += size
	}
	if from < len(ops) {
		groups = append(groups, ops[from:])
	}
	return groups
}

// commit writes operations in one transaction of Badger, synced on return.
func (s *Badger) commit(ops []op) (err error) {
	defer recoverDamage(&err)
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	for _, o := range ops {
		if len(o.value) >= valueThreshold {
			panic("bftraft/store: a record would go to the value log")
		}
		if o.value == nil {
			err = txn.Delete(o.key)
		} else {
			err = txn.Set(o.key, o.value)
		}
		if err != nil {
			return fmt.Errorf("write store: %w", err)
		}
	}
	if err := txn.Commit(); err != nil {
		return fmt.Errorf("write store: %w", err)
	}
	return nil
}

// beyond returns the deletion of all records of blocks above index at that an earlier batch than
// seq wrote.
func (s *Badger) beyond(at bftraft.Index, seq uint64) ([]op, error) {
	var cut []op
	err := s.view(func(txn *badger.Txn) error {
		return s.eachKey(txn, keyBlock, uint64(at)+1, func(item *badger.Item) error {
			wrote, ok := number(item.Key(), 1)
			if ok && wrote >= seq {
				return nil
			}
			var err error
			cut, err = s.cutBlock(cut, item)
			return err
		})
	})
	return cut, err
}

// cutBlock appends the deletion of a block, of which item is the record. That goes after its parts,
// which are found by it alone.
func (s *Badger) cutBlock(cut []op, item *badger.Item) ([]op, error) {
	k := item.KeyCopy(nil)
	last, _ := number(k, 0)
	wrote, ok := number(k, 1)
	if !ok {
		return nil, fmt.Errorf("%w: a key of a block is malformed", ErrDamaged)
	}
	h, err := s.header(item)
	if err != nil {
		return nil, err
	}
	for part := range h.parts {
		cut = append(cut, op{key: key(keyPart, wrote, last, part)})
	}
	return append(cut, op{key: k}), nil
}

func (s *Badger) trimRecord(at bftraft.Index, seq uint64) op {
	k := key(keyTrim)
	return op{k, s.seals.seal(k, key(keyTrim, uint64(at), seq))}
}

// finishTrim does the deletions that did not fit into the transaction of their batch.
func (s *Badger) finishTrim(cut []op) error {
	for _, group := range s.pack(append(cut, op{key: key(keyTrim)})) {
		if err := s.commit(group); err != nil {
			return err
		}
	}
	return nil
}

// checkSpace refuses to write when the disk is nearly full: a mapped file that cannot grow ends
// the process by a signal.
func (s *Badger) checkSpace() error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &fs); err != nil {
		return fmt.Errorf("ask for free space: %w", err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < s.options.MinFreeBytes && !mutant.On(mutant.M69) {
		return fmt.Errorf("%w: %d MiB are free, %d MiB are needed", ErrDiskFull,
			free>>20, s.options.MinFreeBytes>>20)
	}
	return nil
}

// dirGrain is twice the grain of the times that the kernel gives to files, a tick of 10 ms.
const dirGrain = 20 * time.Millisecond

// syncNewFiles makes files that Badger has begun durable as names: Badger does not flush the
// directory when it begins a write-ahead log.
func (s *Badger) syncNewFiles() error {
	path := filepath.Join(s.dir, storeDir)
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("sync store: %w", err)
	}
	changed := info.ModTime()
	if changed.Equal(s.dirChanged) {
		return nil
	}
	if err := syncDirectory(path); err != nil {
		return err
	}
	if time.Since(changed) > dirGrain {
		s.dirChanged = changed
	}
	return nil
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}
