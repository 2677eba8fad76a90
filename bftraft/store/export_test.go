package store

import (
	"os"

	"github.com/dgraph-io/badger/v4"

	"tangaroa/bftraft"
	"tangaroa/crypto"
)

// EnvEncrypted is set for a run of all tests on encrypted stores.
const EnvEncrypted = "STORE_ENCRYPTED"

// RunMaster is the master key of the stores in this run, zero in a run without encryption.
func RunMaster() crypto.SecretKey {
	if os.Getenv(EnvEncrypted) == "" {
		return crypto.SecretKey{}
	}
	return crypto.NewSecretKey([32]byte{1, 2, 3})
}

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

// MaxDataKeys is how many data keys a store may have.
const MaxDataKeys = maxDataKeys

// MasterSteps returns the steps of RotateMaster, and what lets go of the store.
func MasterSteps(dir string, o Options, next crypto.SecretKey, install func() error) (
	[]func() error, func(), error,
) {
	return masterRotation(dir, o, next, install)
}

// EncryptSteps returns the steps of Encrypt, and what lets go of the store.
func EncryptSteps(dir string, o Options, install func() error) (
	[]func() error, func() error, error,
) {
	return encryption(dir, o, install)
}

// DataKeySteps returns the steps of RotateDataKey.
func (s *Badger) DataKeySteps(rewrite bool) ([]func() error, error) {
	return s.dataKeyRotation(rewrite)
}

// GuardSpoilt says whether a slot of the guard could not be read.
func (s *Badger) GuardSpoilt() bool { return s.guard.spoilt }

// Epochs returns those of the data keys.
func (s *Badger) Epochs() []uint32 {
	var all []uint32
	for _, k := range s.seals.keys.all {
		all = append(all, uint32(k.epoch))
	}
	return all
}

// RecordEpochs returns under which data keys the records are.
func (s *Badger) RecordEpochs() (map[uint32]bool, error) {
	all := map[uint32]bool{}
	err := s.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			value, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			if it.Item().Key()[0] != keyMeta {
				e, _ := epochOf(value)
				all[uint32(e)] = true
			}
		}
		return nil
	})
	return all, err
}
