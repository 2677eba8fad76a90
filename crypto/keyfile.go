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
	text := plainKeyFile(k)
	if len(passphrase) > 0 {
		var salt [saltBytes]byte
		var nonce [nonceBytes]byte
		rand.Read(salt[:])
		rand.Read(nonce[:])
		text = sealedKeyFile(k, passphrase, salt, nonce)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create key file: %w", err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = syncDirectory(filepath.Dir(path))
	}
	if err != nil {
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
	text, err := readPrivate(path)
	if err != nil {
		return PrivateKey{}, err
	}
	k, err := openKeyFile(text, passphrase)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read key file %s: %w", path, err)
	}
	return k, nil
}

// readPrivate returns the file's bytes. It judges the open file, not the path, so
// that nobody can swap the one for another in between.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	defer f.Close()
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
