package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"tangaroa/crypto"
)

// RotateMaster puts next in the place of the master key o.Master of the store in dir, which no
// process may have open. In between it calls install, which must make next, durably, the key with
// which the node will open its store. Until install returns the store opens with the old key, and
// from its call on with the new one; whatever crash comes, with the one that is installed.
func RotateMaster(dir string, o Options, next crypto.SecretKey, install func() error) error {
	steps, done, err := masterRotation(dir, o, next, install)
	if err != nil {
		return err
	}
	defer done()
	return run("change master key", steps)
}

func masterRotation(dir string, o Options, next crypto.SecretKey, install func() error) (
	steps []func() error, done func(), err error,
) {
	dir = filepath.Clean(dir)
	g, err := lockGuard(dir, &o)
	if err != nil {
		return nil, nil, err
	}
	if g.wraps == nil {
		_ = g.close()
		return nil, nil, fmt.Errorf("%w: it has no master key", ErrNotEncrypted)
	}
	both := wrapKeys(g.wraps.meta, g.seals.keys, o.Master, next)
	only := &wrappedKeys{meta: both.meta, newest: both.newest, wraps: both.wraps[1:]}
	steps = append(replaceKeys(dir, both), install)
	return append(steps, replaceKeys(dir, only)...), func() { _ = g.close() }, nil
}

// RotateDataKey makes a new data key, with which all that is written from now on is encrypted. With
// rewrite, what was written before is encrypted with it too, and the old keys are forgotten. The
// store must be loaded. Whatever crash comes, the store opens and holds what it held.
func (s *Badger) RotateDataKey(rewrite bool) error {
	if s.options.ReadOnly {
		return ErrReadOnly
	}
	s.haltSweeping() // what is read must not go before it is written anew
	defer s.resumeSweeping()
	steps, err := s.dataKeyRotation(rewrite)
	if err != nil {
		return err
	}
	return s.fail(run("change data key", steps))
}

func (s *Badger) dataKeyRotation(rewrite bool) ([]func() error, error) {
	if s.seals.keys == nil {
		return nil, fmt.Errorf("%w: it has no data key", ErrNotEncrypted)
	}
	if !s.loaded || s.snaps.begun != nil {
		panic("bftraft/store: data key changed in a store that is in use")
	}
	old := s.seals.keys
	if len(old.all) >= maxDataKeys-1 && !rewrite { // there is always room for one to rewrite with
		return nil, fmt.Errorf("%w: it has %d; encrypt its records anew with the next",
			ErrManyKeys, len(old.all))
	}
	fresh := newDataKey(old.newest+1, crypto.GenerateSecretKey())
	next := &dataKeys{newest: fresh.epoch, all: append(slices.Clone(old.all), fresh)}
	// No file is sealed with two keys, so what is not finished cannot be gone on with.
	steps := append([]func() error{s.AbortSnapshot, s.settle},
		replaceKeys(s.dir, wrapKeys(s.meta, next, s.options.Master))...)
	steps = append(steps, func() error { s.seals.keys = next; return nil })
	if !rewrite {
		return steps, nil
	}
	steps = append(steps, s.reseal, func() error { return s.guard.write(s.guard.newest) },
		func() error { return s.guard.write(s.guard.newest) })
	only := &dataKeys{newest: fresh.epoch, all: []dataKey{fresh}}
	steps = append(steps, replaceKeys(s.dir, wrapKeys(s.meta, only, s.options.Master))...)
	return append(steps, func() error { s.seals.keys = only; return nil }), nil
}

// resealBytes is how much is encrypted anew in one go.
const resealBytes = 4 << 20

// reseal encrypts every record and snapshot that an old key sealed with the newest. They are what
// they were, so it may stop anywhere.
func (s *Badger) reseal() error {
	if err := s.eachResealed(s); err != nil {
		return err
	}
	if f := s.snaps.finished; f == nil || f.epoch == s.seals.keys.newest {
		return nil
	}
	old := s.snaps.finished
	var err error
	s.snaps.finished, err = s.copySnapshot(s)
	if err != nil {
		return err
	}
	return old.file.Close()
}

// copySnapshot copies the finished snapshot, as to seals it, to another store or in the place of
// itself. Each chunk is verified on the way.
func (s *Badger) copySnapshot(to *Badger) (*snapshotFile, error) {
	from := s.snaps.finished
	dir := filepath.Join(to.dir, snapshotsDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, snapshotName(from.info.At.Index)+freshSuffix)
	f, err := createSnapshot(path, to.meta, to.seals, from.info.At)
	if err != nil {
		return nil, err
	}
	steps := publish(f, func() error {
		err := from.each(func(data []byte) error {
			if err := to.checkSpace(); err != nil {
				return err
			}
			return f.add(data)
		})
		if err != nil {
			return err
		}
		return f.finish(from.info.Proof)
	})
	if err := run("copy snapshot", steps); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// eachResealed writes every record, as to seals it, to another store or the same; what is there in
// this form already is left out.
func (s *Badger) eachResealed(to *Badger) error {
	return s.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		var ops []op
		bytes := 0
		for it.Rewind(); it.Valid(); it.Next() {
			o := op{key: it.Item().KeyCopy(nil)}
			err := it.Item().Value(func(value []byte) error {
				var ok bool
				if o.value, ok = s.resealed(to, o.key, value); !ok {
					return fmt.Errorf("%w: a record of kind %q cannot be read", ErrDamaged, o.key[0])
				}
				return nil
			})
			if err != nil {
				return err
			}
			if o.value == nil {
				continue
			}
			ops = append(ops, o)
			if bytes += len(o.value); bytes >= resealBytes {
				if err := to.replace(ops); err != nil {
					return err
				}
				ops, bytes = nil, 0
			}
		}
		return to.replace(ops)
	})
}

func (s *Badger) replace(ops []op) error {
	if err := s.checkSpace(); err != nil {
		return err
	}
	for _, group := range s.pack(ops) {
		if err := s.commit(group); err != nil {
			return err
		}
	}
	return s.syncNewFiles()
}

// resealed returns a record of s as it is to stand in another store or the same, nothing if it
// stands there like this.
func (s *Badger) resealed(to *Badger, key, value []byte) ([]byte, bool) {
	e, _ := epochOf(value)
	switch {
	case s == to && (key[0] == keyMeta || e == s.seals.keys.newest):
		return nil, true
	case key[0] == keyMeta:
		return to.meta.encode(), true
	case key[0] == keyPart:
		plain, ok := s.seals.unsealBlock(nil, key, value)
		return to.seals.sealBlock(nil, key, plain), ok
	case key[0] != keyBlock:
		plain, ok := s.seals.unseal(key, value)
		return to.seals.seal(key, plain), ok
	}
	h, rest, ok := decodeBlockHeader(s.seals, key, value)
	if !ok {
		return nil, false
	}
	fresh := h.encode(to.seals, key)
	if len(rest) == 0 {
		return fresh, true
	}
	raw, ok := s.seals.unsealBlock(nil, key, rest)
	return to.seals.sealBlock(fresh, key, raw), ok
}
