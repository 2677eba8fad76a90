package crypto

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// MaxNodeID is the greatest identity a voter can have. A set of nodes is one
// 64-bit word for this reason.
const MaxNodeID NodeID = 64

// NodeID is the identity of a voter, 1 to MaxNodeID. It does not change when
// others join or leave, and says nothing about the position among them. Zero is
// no node.
type NodeID uint8

// Valid reports whether the identity can belong to a voter.
func (id NodeID) Valid() bool { return id >= 1 && id <= MaxNodeID }

// Digest is a SHA-256 hash made by Hash. The zero value is no digest: nobody can
// find bytes that hash to it.
type Digest [32]byte

// IsZero reports whether the digest was never set.
func (d Digest) IsZero() bool { return d == Digest{} }

// String returns all 64 hex digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Short returns the first eight hex digits, enough for people to tell the digests
// of one log apart. Nothing may be decided by it.
func (d Digest) Short() string { return hex.EncodeToString(d[:4]) }

// MarshalText returns the hex digits, so that JSON and YAML show them.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote, and nothing else.
func (d *Digest) UnmarshalText(text []byte) error {
	return decodeHex(d[:], string(text), "digest")
}

// ParseDigest reads the 64 lower-case hex digits that String wrote.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	err := decodeHex(d[:], s, "digest")
	return d, err
}

// Signature is an Ed25519 signature, R and S. Two different signatures may both
// be valid for the same key and message: see the package documentation.
type Signature [64]byte

// String returns all 128 hex digits.
func (s Signature) String() string { return hex.EncodeToString(s[:]) }

// MarshalText returns the hex digits, so that JSON and YAML show them.
func (s Signature) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote, and nothing else.
func (s *Signature) UnmarshalText(text []byte) error {
	return decodeHex(s[:], string(text), "signature")
}

// PublicKey is an Ed25519 public key as it is encoded. The type carries no
// promise that the bytes are a usable key: Scheme.Expand decides that.
type PublicKey [32]byte

// IsZero reports whether the key was never set.
func (p PublicKey) IsZero() bool { return p == PublicKey{} }

// String returns all 64 hex digits.
func (p PublicKey) String() string { return hex.EncodeToString(p[:]) }

// MarshalText returns the hex digits, so that JSON and YAML show them.
func (p PublicKey) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote, and nothing else.
func (p *PublicKey) UnmarshalText(text []byte) error {
	return decodeHex(p[:], string(text), "public key")
}

// ParsePublicKey reads the 64 lower-case hex digits that String wrote. It does
// not judge the key.
func ParsePublicKey(s string) (PublicKey, error) {
	var p PublicKey
	err := decodeHex(p[:], s, "public key")
	return p, err
}

// The errors of this package. Compare with errors.Is.
var (
	// ErrBadHex is returned when text is not the exact number of lower-case hex
	// digits. Upper case is refused so that every value has one spelling.
	ErrBadHex = errors.New("not lower-case hex of the right length")
	// ErrBadKey is returned when a public key is no canonical encoding of a point.
	ErrBadKey = errors.New("public key is not the encoding of a point")
	// ErrWeakKey is returned for a public key of small order, for which anybody
	// can make signatures.
	ErrWeakKey = errors.New("public key has small order")
	// ErrBadID is returned when a keyring is given an identity out of range.
	ErrBadID = errors.New("node identity is not in 1..64")
	// ErrDuplicateID is returned when a keyring is given an identity twice.
	ErrDuplicateID = errors.New("node identity appears twice")
	// ErrDuplicateKey is returned when a keyring is given a key twice. One key
	// would be counted as two signers.
	ErrDuplicateKey = errors.New("public key appears twice")
	// ErrUnknownSigner is returned when the signer is not in the keyring.
	ErrUnknownSigner = errors.New("signer is not in the keyring")
	// ErrBadSignature is returned when the signature is not valid for the
	// signer's key, the domain and the message.
	ErrBadSignature = errors.New("signature is not valid")
	// ErrKeyFilePermissions is returned when others than the owner may read or
	// write a key file. The message contains the chmod to run.
	ErrKeyFilePermissions = errors.New("key file is open to others")
	// ErrKeyFileDamaged is returned when a key file is not what WriteKeyFile
	// wrote: cut short, altered, or something else.
	ErrKeyFileDamaged = errors.New("key file is damaged")
	// ErrWrongPassphrase is returned when an intact key file does not open with
	// the passphrase.
	ErrWrongPassphrase = errors.New("wrong passphrase for key file")
	// ErrPassphraseNeeded is returned when a key file is encrypted and the caller
	// has no passphrase to give.
	ErrPassphraseNeeded = errors.New("key file is encrypted, a passphrase is needed")
)

// decodeHex fills dst from exactly its length in lower-case hex digits.
func decodeHex(dst []byte, s, what string) error {
	if len(s) != hex.EncodedLen(len(dst)) {
		return fmt.Errorf("parse %s: %w: %d characters instead of %d",
			what, ErrBadHex, len(s), hex.EncodedLen(len(dst)))
	}
	raw, err := hex.DecodeString(s)
	if err != nil || hex.EncodeToString(raw) != s {
		return fmt.Errorf("parse %s: %w", what, ErrBadHex)
	}
	copy(dst, raw)
	return nil
}
