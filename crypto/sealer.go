package crypto

import (
	"encoding/hex"
	"fmt"
	"io"

	"golang.org/x/crypto/chacha20poly1305"
)

// SecretKey is a key of XChaCha20-Poly1305, for data at rest. Make one with
// NewSecretKey, GenerateSecretKey or ReadKeys; the zero value is none. It formats
// as its name, whatever the verb, so that it cannot end up in a log.
type SecretKey struct {
	// Behind two pointers, for the reason given at PrivateKey.
	box **[32]byte
}

// NewSecretKey returns the key with these bytes.
func NewSecretKey(raw [32]byte) SecretKey {
	p := &raw
	return SecretKey{box: &p}
}

// Bytes returns the key itself.
func (k SecretKey) Bytes() [32]byte { return **k.box }

// IsZero reports whether there is no key.
func (k SecretKey) IsZero() bool { return k.box == nil }

// KeyName names a secret key and tells nothing else of it.
type KeyName [16]byte

// String returns the first eight hex digits, enough for people.
func (n KeyName) String() string { return hex.EncodeToString(n[:4]) }

// Name returns the key's name.
func (k SecretKey) Name() KeyName {
	sum := Hash(DomainKeyName, (*k.box)[:])
	return KeyName(sum[:])
}

// String names the key.
func (k SecretKey) String() string {
	if k.box == nil {
		return "secret key (none)"
	}
	return "secret key " + k.Name().String()
}

// Format prints String for every verb and flag.
func (k SecretKey) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// The sizes of what a Sealer makes, in bytes.
const (
	// SealNonceBytes is long enough that nonces may be chosen at random for ever.
	SealNonceBytes = chacha20poly1305.NonceSizeX
	// SealOverheadBytes is what sealing adds: the proof that nothing was changed.
	SealOverheadBytes = chacha20poly1305.Overhead
)

// Sealer hides bytes and notices when they are changed, or shown at another place
// than they were made for, with XChaCha20-Poly1305
// (draft-irtf-cfrg-xchacha-03 §2.3). Under one key no nonce may be used twice.
type Sealer struct{ aead aead }

// NewSealer returns the sealer of a key.
func NewSealer(k SecretKey) *Sealer {
	a, err := chacha20poly1305.NewX((*k.box)[:])
	if err != nil {
		panic(fmt.Sprintf("crypto: key of our own making: %v", err))
	}
	return &Sealer{aead: a}
}

// Seal appends to dst what hides plain; place is where it belongs, which must be
// said again to open it.
func (s *Sealer) Seal(dst []byte, nonce [SealNonceBytes]byte, plain, place []byte) []byte {
	return s.aead.Seal(dst, nonce[:], plain, place)
}

// Open appends to dst what Seal was given, and returns false if it was not sealed
// with this key, nonce and place.
func (s *Sealer) Open(dst []byte, nonce [SealNonceBytes]byte, sealed, place []byte) ([]byte, bool) {
	plain, err := s.aead.Open(dst, nonce[:], sealed, place)
	return plain, err == nil
}
