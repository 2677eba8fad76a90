package crypto

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// KeyFile is what stands in a key file.
type KeyFile struct {
	// Signing is the node's or client's key. It never changes in a file.
	Signing PrivateKey
	// Master encrypts the data keys of the node's store; zero where there are none.
	Master SecretKey
	// Passphrase encrypts the file; empty for a file that whoever reads it can use.
	Passphrase []byte
}

// GenerateSecretKey returns a new key from the system's randomness.
func GenerateSecretKey() SecretKey {
	var raw [32]byte
	rand.Read(raw[:])
	return NewSecretKey(raw)
}

// newSuffix names the file that is about to take the place of a key file.
const newSuffix = ".new"

// ChangeKeyFile puts what change makes of a key file in its place. Whatever crash
// comes, there is the file before or the one after; when it returns without an
// error, the one after is on disk. Two changes at once are made one after the
// other. The old file's bytes are written over where the file system lets us,
// which neither flash memory nor a copying file system does. The errors are those
// of ReadKeyFile, what change returned, and those of the file system.
func ChangeKeyFile(
	path string, passphrase func() ([]byte, error), change func(*KeyFile) error,
) error {
	f, err := lockKeyFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	k, err := readKeys(f, path, passphrase)
	if err != nil {
		return err
	}
	before := k.Signing.Public()
	if err := change(&k); err != nil {
		return err
	}
	if k.Signing.Public() != before {
		panic("crypto: the signing key of a file was changed")
	}
	for _, step := range replacement(f, path, k.encode(newRandom())) {
		if err := step(); err != nil {
			return fmt.Errorf("change key file %s: %w", path, err)
		}
	}
	return nil
}

// lockKeyFile opens the file and waits until nobody else changes it.
func lockKeyFile(path string) (*os.File, error) {
	for {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("open key file: %w", err)
		}
		if err := flock(f); err != nil {
			return nil, fmt.Errorf("lock key file: %w", errors.Join(err, f.Close()))
		}
		opened, err := f.Stat()
		if err != nil {
			return nil, fmt.Errorf("open key file: %w", errors.Join(err, f.Close()))
		}
		// Whoever had the lock before may have put another file in its place.
		there, err := os.Stat(path)
		if err == nil && os.SameFile(opened, there) {
			return f, nil
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("open key file: %w", err)
		}
	}
}

func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err != syscall.EINTR {
			return err
		}
	}
}

// replacement returns the steps that put a text in the place of the open file.
func replacement(old *os.File, path string, text []byte) []func() error {
	fresh := path + newSuffix
	return []func() error{
		func() error { return removeIfThere(fresh) }, // what a crash left
		func() error { return createKeyFile(fresh, text) },
		func() error { return giveTo(fresh, old) },
		func() error { return os.Rename(fresh, path) },
		func() error { return syncDirectory(filepath.Dir(path)) },
		func() error { return wipe(old) },
	}
}

func removeIfThere(path string) error {
	err := os.Remove(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// giveTo makes a file that of the owner of another: root may change a key that a
// node without root's rights must read.
func giveTo(path string, other *os.File) error {
	info, err := other.Stat()
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Getuid() && int(owner.Gid) == os.Getgid() {
		return nil
	}
	return os.Chown(path, int(owner.Uid), int(owner.Gid))
}

// wipe writes over a file that has lost its last name. One that still has a name
// is somebody's copy and is left alone. The open file is for reading only, so it
// is opened anew.
func wipe(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); !ok || s.Nlink > 0 {
		return nil
	}
	w, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_WRONLY, 0)
	if err != nil {
		return nil // without /proc, or with mode 0400, there is no way to it
	}
	_, err = w.Write(make([]byte, info.Size()))
	return errors.Join(err, w.Sync(), w.Close())
}
