package unlock

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"tangaroa/crypto"
)

// CredentialName is the credential of a systemd unit that holds the unlock key:
// LoadCredential=tangaroa-unlock-key:PATH, or LoadCredentialEncrypted.
const CredentialName = "tangaroa-unlock-key"

// The errors of this package.
var (
	// ErrNone is returned when a key file is locked and there is nobody to ask for the key.
	ErrNone = errors.New("it is locked, and no unlock key was given")
	// ErrEmpty is returned when what should hold a key is empty.
	ErrEmpty = errors.New("the unlock key is empty")
	// ErrUnreadable is returned when a file that is to hold the key is missing, empty or unreadable.
	ErrUnreadable = errors.New("the unlock key cannot be read")
	// ErrRefused is returned by Send when the node that waits says that the key is wrong.
	ErrRefused = errors.New("the node says that the unlock key is wrong")
)

// Sources says where an unlock key may come from, in the order in which they count. Zero values
// are left out.
type Sources struct {
	// File holds the key and nothing else but a line's end.
	File string
	// Text is the key itself.
	Text string
	// Credentials is the folder of systemd's credentials.
	Credentials string
	// Socket is the path of a socket to make, at which Send brings the key.
	Socket string
	// Terminal is asked if it is one, with words written to Prompt.
	Terminal *os.File
	Prompt   io.Writer
}

// Open reads a key file, and waits until ctx ends if the key comes through a socket.
func (s *Sources) Open(ctx context.Context, path string) (crypto.KeyFile, error) {
	k, err := crypto.ReadKeys(path, nil)
	if !errors.Is(err, crypto.ErrPassphraseNeeded) {
		return k, err
	}
	err = s.Try(ctx, path, func(key []byte) error {
		k, err = crypto.ReadKeys(path, func() ([]byte, error) { return key, nil })
		return err
	})
	return k, err
}

// maxTyped is how often a person may mistype.
const maxTyped = 3

// Try calls try with the key of the file at path, until it returns anything but
// crypto.ErrWrongPassphrase or there is no more to try.
func (s *Sources) Try(ctx context.Context, path string, try func(key []byte) error) error {
	key, err := s.given()
	switch {
	case err != nil:
		return err
	case key != nil:
		return try(key)
	case s.Socket != "":
		return s.wait(ctx, path, try)
	case s.Terminal == nil || !term.IsTerminal(int(s.Terminal.Fd())):
		return ErrNone
	}
	for range maxTyped {
		if key, err = s.ask(path); err == nil {
			err = try(key)
		}
		if !errors.Is(err, crypto.ErrWrongPassphrase) {
			return err
		}
		fmt.Fprintln(s.Prompt, "That is not it.")
	}
	return err
}

// given returns the key if it is there without asking.
func (s *Sources) given() ([]byte, error) {
	switch {
	case s.File != "":
		return readGiven(s.File)
	case s.Text != "":
		return []byte(s.Text), nil
	case s.Credentials == "":
		return nil, nil
	}
	key, err := readGiven(filepath.Join(s.Credentials, CredentialName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // the unit has other credentials
	}
	return key, err
}

func readGiven(path string) ([]byte, error) {
	key, err := ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return key, nil
}

func (s *Sources) ask(path string) ([]byte, error) {
	fmt.Fprintf(s.Prompt, "Unlock key of %s: ", path)
	key, err := term.ReadPassword(int(s.Terminal.Fd()))
	fmt.Fprintln(s.Prompt)
	if err != nil {
		return nil, fmt.Errorf("read unlock key: %w", err)
	}
	return key, nil
}

// maxKeyBytes bounds a key that is read.
const maxKeyBytes = 4096

// ReadFile reads a key from a file, without its line's end.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read unlock key: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyBytes))
	if err != nil {
		return nil, fmt.Errorf("read unlock key: %w", err)
	}
	if text = bytes.TrimRight(text, "\r\n"); len(text) == 0 {
		return nil, fmt.Errorf("%s: %w", path, ErrEmpty)
	}
	return text, nil
}

// prefix lets people and programs that look for leaked secrets recognise an unlock key.
const prefix = "tangaroa-unlock-1-"

// NewKey returns a key of 256 random bits, in letters and digits that can be typed.
func NewKey() []byte {
	var raw [32]byte
	rand.Read(raw[:])
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw[:])
	return []byte(prefix + strings.ToLower(text))
}

// WriteNew writes a key to a new file that only its owner can read, and returns once it is on disk.
func WriteNew(path string, key []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write unlock key: %w", err)
	}
	_, err = f.Write(append(bytes.Clone(key), '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write unlock key: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write unlock key: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
