package crypto

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxKeyFile bounds what is read; a key file has less than half of it.
const maxKeyFile = 4096

// GenerateKey returns a new key from the system's randomness. There is no error:
// a system without randomness ends the program (crypto/rand.Read).
func GenerateKey() PrivateKey {
	var seed [32]byte
	rand.Read(seed[:])
	return KeyFromSeed(seed)
}

// WriteKeyFile makes a key file that only its owner can read, and returns once it
// is on disk. An existing file is never overwritten. With a passphrase the key is
// encrypted (argon2id and XChaCha20-Poly1305), with an empty one it is not.
func WriteKeyFile(path string, k PrivateKey, passphrase []byte) error {
	if k.IsZero() {
		panic("crypto: no key to write")
	}
	text := KeyFile{Signing: k, Passphrase: passphrase}.encode(newRandom())
	if err := createKeyFile(path, text); err != nil {
		return err
	}
	if err := syncDirectory(filepath.Dir(path)); err != nil {
		return fmt.Errorf("write key file %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return nil
}

func newRandom() random {
	var r random
	rand.Read(r.salt[:])
	rand.Read(r.nonce[:])
	return r
}

// createKeyFile makes a file whose bytes are durable; its name is not yet.
func createKeyFile(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create key file: %w", err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write key file %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return nil
}

// ReadKeyFile reads a key file, and asks for the passphrase only if the file is
// encrypted; a nil function means there is none to give. It refuses a file that
// others than its owner may read or write, before it reads it. The errors are
// ErrKeyFilePermissions, ErrKeyFileDamaged, ErrWrongPassphrase, ErrPassphraseNeeded,
// what passphrase returned, and those of the file system.
func ReadKeyFile(path string, passphrase func() ([]byte, error)) (PrivateKey, error) {
	k, err := ReadKeys(path, passphrase)
	return k.Signing, err
}

// ReadKeys is ReadKeyFile for all that is in the file.
func ReadKeys(path string, passphrase func() ([]byte, error)) (KeyFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return KeyFile{}, fmt.Errorf("open key file: %w", err)
	}
	defer f.Close()
	return readKeys(f, path, passphrase)
}

func readKeys(f *os.File, path string, passphrase func() ([]byte, error)) (KeyFile, error) {
	text, err := readPrivate(f, path)
	if err != nil {
		return KeyFile{}, err
	}
	k, err := openKeys(text, passphrase)
	if err != nil {
		return KeyFile{}, fmt.Errorf("read key file %s: %w", path, err)
	}
	return k, nil
}

// readPrivate returns the file's bytes. It judges the open file, not the path, so
// that nobody can swap the one for another in between.
func readPrivate(f *os.File, path string) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrKeyFileDamaged, path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s has mode %#o; run: chmod 600 %s",
			ErrKeyFilePermissions, path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("%w: %s is longer than any key file", ErrKeyFileDamaged, path)
	}
	return text, nil
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
