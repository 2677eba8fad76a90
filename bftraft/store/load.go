package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// progressBlocks is how many blocks lie between two calls of Options.Progress.
const progressBlocks = 1024

// Load checks all that is stored, block by block, takes away what a crash left unfinished, brings
// the guard up to the store, and returns what a Core goes on from.
func (s *Badger) Load() (bftraft.Restored, error) {
	r, err := s.load()
	if err != nil {
		return bftraft.Restored{}, s.fail(fmt.Errorf("load store: %w", err))
	}
	s.loaded = true
	return r, nil
}

func (s *Badger) load() (bftraft.Restored, error) {
	var r bftraft.Restored
	if err := s.Err(); err != nil {
		return r, err
	}
	if err := s.tidy(); err != nil {
		return r, err
	}
	err := s.snaps.load(s.dir, s.meta, s.seals)
	if err == nil {
		err = s.checkBase()
	}
	if err != nil {
		return r, err
	}
	if err := s.checkChain(); err != nil {
		return r, err
	}
	now := s.now()
	r.HardState, r.Base, r.Tip = now.hard, now.base, now.tip
	if r.Commit, err = s.newestCommit(); err != nil {
		return r, err
	}
	if r.Commit != nil {
		if err := s.onChain(r.Commit.Index, r.Commit.Hash); err != nil {
			return r, err
		}
		s.committed = r.Commit.Index
	}
	if err := errors.Join(s.allEvidence(&r), s.allChanges(&r)); err != nil {
		return r, err
	}
	if s.options.ReadOnly {
		return r, nil
	}
	if err := s.settle(); err != nil {
		return r, err
	}
	return r, s.forgetMaster()
}

// forgetMaster ends a change of the master key that was cut short: the data keys stay wrapped by
// the one we were opened with alone.
func (s *Badger) forgetMaster() error {
	if s.guard.wraps == nil || len(s.guard.wraps.wraps) == 1 {
		return nil
	}
	s.guard.wraps = wrapKeys(s.meta, s.seals.keys, s.options.Master)
	return run("forget the other master key", replaceKeys(s.dir, s.guard.wraps))
}

// settle hands to Badger what is in the journal, and brings the guard up to the store. What was
// saved may have taken itself back, so a journal with records is not always one with something to
// hand over; it begins anew all the same.
func (s *Badger) settle() error {
	torn := s.journal.Torn() && !mutant.On(mutant.M134)
	if s.pending.empty() && s.journal.Number() == 0 && !torn {
		return s.raiseGuard()
	}
	return s.flush(true)
}

// raiseGuard brings the guard up to the store before anything is signed: a crash may have come
// between the two.
func (s *Badger) raiseGuard() error {
	if mutant.On(mutant.M68) || s.guard.newest.seq == s.written.seq && !s.guard.spoilt {
		return nil
	}
	p := promiseOf(s.meta, &s.written, nil)
	p.digest = s.digest
	return s.guard.write(p)
}

// onChain says what is wrong with a stored commit that does not lie on the chain. A lock may: see
// chainView.accept.
func (s *Badger) onChain(i bftraft.Index, hash crypto.Digest) error {
	h, ok := s.endHash(i)
	if !ok || h != hash {
		return fmt.Errorf("%w: the commit at %d is not on the chain", ErrDamaged, i)
	}
	return nil
}

// tidy finishes a truncation, and takes away the records of a batch whose state record was never
// written and those below the base.
func (s *Badger) tidy() error {
	var ops []op
	err := s.view(func(txn *badger.Txn) error {
		sealed, err := get(txn, key(keyTrim))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		trim, ok := s.seals.unseal(key(keyTrim), sealed)
		if !ok || len(trim) != 17 {
			return fmt.Errorf("%w: a truncation cannot be read", ErrDamaged)
		}
		ops, err = s.beyond(bftraft.Index(binary.BigEndian.Uint64(trim[1:])),
			binary.BigEndian.Uint64(trim[9:]))
		ops = append(ops, op{key: key(keyTrim)})
		return err
	})
	if err != nil {
		return err
	}
	if ops, err = s.unfinished(ops); err != nil {
		return err
	}
	for _, group := range s.pack(ops) {
		if err := s.commit(group); err != nil {
			return err
		}
	}
	return s.sweep()
}

// unfinished appends the deletion of all records of batches beyond the written state.
func (s *Badger) unfinished(ops []op) ([]op, error) {
	err := s.view(func(txn *badger.Txn) error {
		for _, kind := range []byte{keyBlock, keyPart, keyCommit, keyEvidence, keyChange, keyTerm} {
			place := 0
			if kind == keyBlock || kind == keyCommit || kind == keyTerm {
				place = 1
			}
			err := s.eachKey(txn, kind, 0, func(item *badger.Item) error {
				seq, ok := number(item.Key(), place)
				if !ok {
					return fmt.Errorf("%w: a key is malformed", ErrDamaged)
				}
				if seq > s.written.seq {
					ops = append(ops, op{key: item.KeyCopy(nil)})
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return ops, err
}

// checkChain reads every block and sees that they lead from the base to the tip.
func (s *Badger) checkChain() error {
	at := s.start()
	var buf []byte
	count := 0
	err := s.view(func(txn *badger.Txn) error {
		return s.eachKey(txn, keyBlock, uint64(at.Index), func(item *badger.Item) error {
			b, err := s.readBlock(txn, item, &buf)
			if err != nil {
				return err
			}
			if b.Before() != at {
				return fmt.Errorf("%w: the block at %d does not follow %d", ErrDamaged,
					b.First(), at.Index)
			}
			at = b.End()
			if count++; count%progressBlocks == 0 && s.options.Progress != nil {
				s.options.Progress(at.Index, s.written.tip.Index)
			}
			return nil
		})
	})
	if err == nil && at != s.written.tip && !mutant.On(mutant.M62) {
		err = fmt.Errorf("%w: the chain ends at %d, and should at %d", ErrDamaged,
			at.Index, s.written.tip.Index)
	}
	return err
}

// newestCommit returns the commit certificate of the highest index, nil for none.
func (s *Badger) newestCommit() (*quorumcert.Commit, error) {
	var newest *quorumcert.Commit
	err := s.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{
			Prefix: []byte{keyCommit}, Reverse: true,
		})
		defer it.Close()
		if it.Seek(key(keyCommit, ^uint64(0), ^uint64(0))); !it.Valid() {
			return nil
		}
		var err error
		newest, err = s.readCommit(it.Item())
		return err
	})
	if n := len(s.pending.commits); n > 0 {
		if c := s.pending.commits[n-1]; newest == nil || c.Index >= newest.Index {
			newest = c
		}
	}
	return newest, err
}

func (s *Badger) allEvidence(r *bftraft.Restored) error {
	err := s.readAll(keyEvidence, "a piece of evidence", func(in *cryptobyte.String) bool {
		var e quorumcert.Evidence
		ok := quorumcert.ReadEvidence(in, &e)
		r.Evidence = append(r.Evidence, e)
		return ok
	})
	r.Evidence = append(r.Evidence, s.pending.evidence...)
	return err
}

func (s *Badger) allChanges(r *bftraft.Restored) error {
	err := s.readAll(keyChange, "a change", func(in *cryptobyte.String) bool {
		p := &bftraft.ChangeProof{}
		r.Changes = append(r.Changes, p)
		return bftraft.ReadChangeProof(in, p)
	})
	r.Changes = append(r.Changes, s.pending.changes...)
	return err
}

// readAll reads all records of a kind in the order in which they were written, each with read,
// which says whether it could.
func (s *Badger) readAll(kind byte, what string, read func(in *cryptobyte.String) bool) error {
	return s.view(func(txn *badger.Txn) error {
		return s.eachKey(txn, kind, 0, func(item *badger.Item) error {
			sealed, err := item.ValueCopy(nil)
			if err != nil {
				return err
			}
			raw, ok := s.seals.unseal(item.Key(), sealed)
			in := cryptobyte.String(raw)
			if !ok || !read(&in) || !in.Empty() {
				return fmt.Errorf("%w: %s cannot be read", ErrDamaged, what)
			}
			return nil
		})
	})
}
