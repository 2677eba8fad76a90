// Package fake is a signature scheme for simulations: fast, deterministic, and unforgeable by
// construction, since a liar is handed no key but its own.
//
// # Threads
//
// A Scheme must not be given new keys while it is used by others.
package fake

import (
	"encoding/binary"

	"tangaroa/crypto"
)

// Scheme stands in for Ed25519: a signature is a keyed hash, and only who was handed the key
// can make one. Verifying knows all keys, as no real scheme could.
type Scheme struct {
	secrets map[crypto.PublicKey]crypto.Digest
}

// NewScheme returns a scheme that knows no key yet.
func NewScheme() *Scheme {
	return &Scheme{secrets: make(map[crypto.PublicKey]crypto.Digest)}
}

// Key makes the k-th key of a seed.
func (f *Scheme) Key(seed, k uint64) Key {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], seed)
	binary.BigEndian.PutUint64(b[8:], k)
	secret := crypto.Hash(crypto.DomainMessage, []byte("secret"), b[:])
	public := crypto.PublicKey(crypto.Hash(crypto.DomainMessage, []byte("public"), secret[:]))
	f.secrets[public] = secret
	return Key{secret, public}
}

// Key is a private key.
type Key struct {
	secret crypto.Digest
	public crypto.PublicKey
}

// Public returns the public key.
func (k Key) Public() crypto.PublicKey { return k.public }

// Sign signs.
func (k Key) Sign(d crypto.Domain, msg []byte) crypto.Signature {
	return sign(k.secret, d, msg)
}

func sign(secret crypto.Digest, d crypto.Domain, msg []byte) crypto.Signature {
	h := crypto.Hash(d, secret[:], msg)
	var sig crypto.Signature
	copy(sig[:], h[:])
	copy(sig[32:], secret[:8]) // so that no prefix of another key's passes
	return sig
}

// Expand implements crypto.Scheme.
func (f *Scheme) Expand(pub crypto.PublicKey) (crypto.Verifier, error) {
	secret, ok := f.secrets[pub]
	if !ok {
		return nil, crypto.ErrBadKey
	}
	return verifier{secret}, nil
}

// ExpandMember implements crypto.Scheme.
func (f *Scheme) ExpandMember(pub crypto.PublicKey) (crypto.Verifier, error) {
	return f.Expand(pub)
}

// VerifyAll implements crypto.Scheme.
func (f *Scheme) VerifyAll(checks []crypto.Check) bool {
	for _, c := range checks {
		if !c.Key.Verify(c.Domain, c.Msg, c.Sig) {
			return false
		}
	}
	return true
}

type verifier struct{ secret crypto.Digest }

func (v verifier) Verify(d crypto.Domain, msg []byte, sig crypto.Signature) bool {
	return sign(v.secret, d, msg) == sig
}
