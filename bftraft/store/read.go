package store

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// Block returns the block that covers index i, checked against its hash. A block that should be
// there and cannot be read is a failure: see Err.
func (s *Badger) Block(i bftraft.Index) (*bftraft.Block, bool) {
	if s.db == nil || i <= s.base.Index || i > s.tip.Index {
		return nil, false
	}
	if i > s.pending.base {
		return s.pending.block(i)
	}
	var block *bftraft.Block
	err := s.covering(i, func(txn *badger.Txn, item *badger.Item) error {
		var buf []byte
		var err error
		block, err = s.readBlock(txn, item, &buf)
		if err == nil && block.First() > i {
			err = fmt.Errorf("%w: no block covers %d", ErrDamaged, i)
		}
		return err
	})
	if s.fail(err) != nil {
		return nil, false
	}
	return block, true
}

// Commit returns the stored commit certificate of the lowest index at or above i.
func (s *Badger) Commit(i bftraft.Index) (*quorumcert.Commit, bool) {
	if s.db == nil {
		return nil, false
	}
	i = max(i, s.base.Index)
	var found *quorumcert.Commit
	err := s.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{keyCommit}})
		defer it.Close()
		if it.Seek(key(keyCommit, uint64(i))); !it.Valid() {
			return nil
		}
		var err error
		found, err = s.readCommit(it.Item())
		return err
	})
	if s.fail(err) != nil {
		return nil, false
	}
	if k, _ := s.pending.commitAt(i); k < len(s.pending.commits) {
		if c := s.pending.commits[k]; found == nil || c.Index <= found.Index {
			found = c
		}
	}
	return found, found != nil
}

// endHash returns the chain hash at i, if a block ends there.
func (s *Badger) endHash(i bftraft.Index) (crypto.Digest, bool) {
	if i == s.base.Index {
		return s.start().Hash, true
	}
	if i < s.base.Index || i > s.tip.Index || s.db == nil {
		return crypto.Digest{}, false
	}
	if i == s.tip.Index {
		return s.tip.Hash, true
	}
	if i > s.pending.base {
		b, ok := s.pending.block(i)
		if !ok || b.Last() != i {
			return crypto.Digest{}, false
		}
		return b.Hash(), true
	}
	var hash crypto.Digest
	ends := false
	err := s.covering(i, func(_ *badger.Txn, item *badger.Item) error {
		h, err := s.header(item)
		last, _ := number(item.Key(), 0)
		hash, ends = h.hash, last == uint64(i)
		return err
	})
	return hash, s.fail(err) == nil && ends
}

// covering runs fn on the record of the block that covers i, which must be there.
func (s *Badger) covering(i bftraft.Index, fn func(*badger.Txn, *badger.Item) error) error {
	return s.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{keyBlock}})
		defer it.Close()
		if it.Seek(key(keyBlock, uint64(i))); !it.Valid() {
			return fmt.Errorf("%w: no block covers %d", ErrDamaged, i)
		}
		return fn(txn, it.Item())
	})
}

// eachKey runs fn on every record of a kind whose first number is from or higher.
func (s *Badger) eachKey(txn *badger.Txn, kind byte, from uint64,
	fn func(*badger.Item) error,
) error {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{kind}})
	defer it.Close()
	for it.Seek(key(kind, from)); it.Valid(); it.Next() {
		if err := fn(it.Item()); err != nil {
			return err
		}
	}
	return nil
}

// header reads the front of a block's record.
func (s *Badger) header(item *badger.Item) (blockHeader, error) {
	return s.front(item, func([]byte) bool { return true })
}

// front reads the front of a block's record and hands the rest to fn, which says whether it is
// right.
func (s *Badger) front(item *badger.Item, fn func(rest []byte) bool) (blockHeader, error) {
	var h blockHeader
	ok := false
	err := item.Value(func(value []byte) error {
		var rest []byte
		if h, rest, ok = decodeBlockHeader(s.seals, item.Key(), value); ok {
			ok = fn(rest)
		}
		return nil
	})
	if err == nil && !ok {
		last, _ := number(item.Key(), 0)
		err = fmt.Errorf("%w: the record of the block at %d cannot be read", ErrDamaged, last)
	}
	return h, err
}

// readBlock reads a block of which item is the record, into buf, and checks it.
func (s *Badger) readBlock(txn *badger.Txn, item *badger.Item, buf *[]byte) (
	*bftraft.Block, error,
) {
	last, _ := number(item.Key(), 0)
	seq, _ := number(item.Key(), 1)
	raw := (*buf)[:0]
	h, err := s.front(item, func(rest []byte) (ok bool) {
		if len(rest) == 0 {
			return true // there are parts
		}
		raw, ok = s.seals.unsealBlock(raw, item.Key(), rest)
		return ok
	})
	if err != nil {
		return nil, err
	}
	for part := uint64(0); part < h.parts && err == nil; part++ {
		raw, err = s.readPart(txn, key(keyPart, seq, last, part), raw)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: read block at %d: %w", ErrDamaged, last, err)
	}
	*buf = raw
	b, drop := bftraft.DecodeBlock(raw)
	if drop != bftraft.Accepted {
		return nil, fmt.Errorf("%w: the block at %d is %v", ErrDamaged, last, drop)
	}
	if b.Hash() != h.hash || b.First() != h.first || uint64(b.Last()) != last {
		return nil, fmt.Errorf("%w: the block at %d is not the one stored", ErrDamaged, last)
	}
	return b, nil
}

// readPart appends a part of a block to raw.
func (s *Badger) readPart(txn *badger.Txn, k, raw []byte) ([]byte, error) {
	item, err := txn.Get(k)
	if err != nil {
		return raw, err
	}
	err = item.Value(func(value []byte) error {
		var ok bool
		if raw, ok = s.seals.unsealBlock(raw, k, value); !ok {
			return errors.New("a part of it was changed")
		}
		return nil
	})
	return raw, err
}

func (s *Badger) readCommit(item *badger.Item) (*quorumcert.Commit, error) {
	k := item.Key()
	index, _ := number(k, 0)
	sealed, err := item.ValueCopy(nil)
	if err != nil {
		return nil, err
	}
	raw, ok := s.seals.unseal(k, sealed)
	in := cryptobyte.String(raw)
	c := &quorumcert.Commit{}
	if !ok || !quorumcert.ReadCommit(&in, c) || !in.Empty() || uint64(c.Index) != index {
		return nil, fmt.Errorf("%w: the commit at %d cannot be read", ErrDamaged, index)
	}
	return c, nil
}
