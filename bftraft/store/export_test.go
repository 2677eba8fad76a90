package store

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
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

// Batch returns the number of the newest batch in Badger.
func (s *Badger) Batch() uint64 { return s.written.seq }

// WithoutJournal lets Badger take every Save, for tests of what it does.
func (s *Badger) WithoutJournal() *Badger {
	s.unrecorded.limit = -1
	return s
}

// Steps returns the steps of a Save, so that a crash can come between them. The store is of no
// use after them.
func (s *Badger) Steps(r *bftraft.Ready) ([]func() error, error) {
	if err := s.take(r); err != nil {
		return nil, err
	}
	s.unrecorded.add(r)
	if r.MustSync && !s.pending.full() && s.recordable() {
		return s.record(), nil
	}
	steps, _, err := s.plan(r.MustSync)
	return steps, err
}

// HaltSweeping lets nothing be taken away below the base but by SweepSlice.
func (s *Badger) HaltSweeping() { s.haltSweeping() }

// SweepSlice takes one slice away.
func (s *Badger) SweepSlice() error { return s.sweepSlice() }

// FinishSteps returns the steps of FinishSnapshot, DropSteps and InstallSteps those of the others.
func (s *Badger) FinishSteps(proof []byte) ([]func() error, error) { return s.finishing(proof) }

func (s *Badger) DropSteps(upTo bftraft.Position) ([]func() error, error) {
	if err := s.dropping(upTo); err != nil {
		return nil, err
	}
	steps, _, err := s.plan(true)
	return steps, err
}

func (s *Badger) InstallSteps(hard bftraft.HardState, commit *quorumcert.Commit) (
	[]func() error, error,
) {
	if err := s.installing(&hard, commit); err != nil {
		return nil, err
	}
	steps, _, err := s.plan(true)
	return steps, err
}

// SnapshotEnds returns where front and chunks of the finished snapshot end in its file.
func (s *Badger) SnapshotEnds() []int64 {
	return append([]int64{int64(frontBytes)}, s.snaps.finished.ends...)
}

// SnapshotEpoch returns under which data key the finished snapshot is.
func (s *Badger) SnapshotEpoch() uint32 { return uint32(s.snaps.finished.epoch) }

// WaitForChunks waits until all chunks of the snapshot that was begun are on the disk.
func (s *Badger) WaitForChunks() error { return s.snaps.begun.chunks.wait() }

// VerifySnapshots loads the snapshots in dir, which are of this store.
func (s *Badger) VerifySnapshots(dir string) error { return s.snaps.load(dir, s.meta, s.seals) }

// PutSnapshot puts an empty snapshot there that nobody would have taken.
func (s *Badger) PutSnapshot(at bftraft.Position) error {
	path := filepath.Join(s.dir, snapshotsDir, snapshotName(at.Index)+freshSuffix)
	f, err := createSnapshot(path, s.meta, s.seals, at)
	if err != nil {
		return err
	}
	err = run("put snapshot", publish(f, func() error { return f.finish(nil) }))
	return errors.Join(err, f.file.Close())
}

// BreakSnapshots lets the store look for its snapshots below a device, in a new directory.
func (s *Badger) BreakSnapshots(dir string) error {
	s.dir = dir
	return os.Symlink(os.DevNull, filepath.Join(dir, snapshotsDir))
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

// MaxPendingItems is after how many items Badger takes what waits.
const MaxPendingItems = maxPendingItems

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
