package store

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"tangaroa/bftraft/store/journal"
	"tangaroa/crypto"
)

// Encrypt makes a plain store in dir, which no process may have open, an encrypted one that opens
// with o.Master. Everything is copied, so for a while it needs twice the space. Before the copy
// takes the store's place it calls install, which must make o.Master, durably, the key with which
// the node will open its store. A crash leaves the plain store or the encrypted one; in either case
// Encrypt can be called again, and takes away what is left of the other. What the plain store wrote
// may still be found on the disk by who looks below its files.
func Encrypt(dir string, o Options, install func() error) error {
	steps, done, err := encryption(dir, o, install)
	if err != nil {
		return err
	}
	return errors.Join(run("encrypt store", steps), done())
}

func encryption(dir string, o Options, install func() error) (
	steps []func() error, done func() error, err error,
) {
	dir, o = filepath.Clean(dir), o.withDefaults()
	fresh := dir + ".new"
	remove := func() error { return os.RemoveAll(fresh) }
	if g, err := lockGuard(dir, &o); !errors.Is(err, ErrNotEncrypted) {
		if err != nil {
			return nil, nil, err
		}
		return []func() error{remove}, g.close, nil // it is encrypted already
	}
	plain := o
	plain.Master = crypto.SecretKey{}
	s, err := Open(dir, plain)
	if err != nil {
		return nil, nil, err
	}
	if _, err := s.Load(); err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return []func() error{
		remove,
		func() error { return s.copyEncrypted(fresh, o.Master) },
		s.closeBadger, // which knows its files by their names; the guard keeps the lock
		install,
		func() error { return exchange(fresh, dir) },
		func() error { return syncDirectory(filepath.Dir(dir)) },
		remove,
	}, s.release, nil
}

func (s *Badger) closeBadger() error {
	s.haltSweeping()
	err := s.db.Close()
	s.db = nil
	return err
}

// copyEncrypted makes an encrypted store in dir that holds what s holds, durably.
func (s *Badger) copyEncrypted(dir string, master crypto.SecretKey) error {
	inside := filepath.Join(dir, storeDir)
	if err := os.MkdirAll(inside, 0o700); err != nil {
		return err
	}
	to := &Badger{dir: dir, options: s.options, meta: s.meta}
	to.meta.encrypted = true
	to.seals = &sealer{id: to.meta.instance, keys: firstKeys()}
	wrapped := wrapKeys(to.meta, to.seals.keys, master)
	if err := writeSynced(filepath.Join(dir, keysFile), wrapped.encode()); err != nil {
		return err
	}
	var err error
	if to.db, err = badger.Open(BadgerOptions(inside, s.options)); err != nil {
		return err
	}
	err = s.eachResealed(to)
	if err = errors.Join(err, to.db.Close()); err != nil {
		return err
	}
	if s.snaps.finished != nil {
		copied, err := s.copySnapshot(to)
		if err == nil {
			err = copied.file.Close()
		}
		if err != nil {
			return err
		}
	}
	promise := s.guard.newest
	promise.meta = to.meta
	err = errors.Join(
		journal.Create(filepath.Join(dir, journalFile)),
		createGuard(filepath.Join(dir, guardFile), to.seals, promise))
	return errors.Join(err, syncDirectory(inside), syncDirectory(dir))
}
