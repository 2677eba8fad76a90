package store

import (
	"github.com/dgraph-io/badger/v4"

	"tangaroa/bftraft"
)

// SetMinFreeBytes moves the watermark of an open store, as if the disk had filled up.
func (s *Badger) SetMinFreeBytes(n uint64) { s.options.MinFreeBytes = n }

// Steps returns the steps of a Save, so that a crash can come between them. The store is of no
// use after them.
func (s *Badger) Steps(r *bftraft.Ready) ([]func() error, error) {
	view := chainView{tip: s.tip, endHash: s.endHash}
	tip, err := view.accept(r, s.written.hard.Lock, s.committed)
	if err != nil {
		return nil, err
	}
	s.pending.add(r)
	s.tip = tip
	steps, _, err := s.plan(r.MustSync)
	return steps, err
}

// Change puts change(v) in place of v, the value of the record of a kind that stands back before
// the last; nil deletes it.
func (s *Badger) Change(kind byte, back int, change func([]byte) []byte) error {
	var all []op
	err := s.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{kind}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			value, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			all = append(all, op{it.Item().KeyCopy(nil), value})
		}
		return nil
	})
	if err != nil {
		return err
	}
	o := all[len(all)-1-back]
	o.value = change(o.value)
	return s.commit([]op{o})
}
