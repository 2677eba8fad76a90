package crypto

import (
	"fmt"
	"io"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// Signer holds exactly one key and signs under one identity. There is no way to
// get the key out of it, and none to sign bytes without a domain.
type Signer interface {
	// ID returns the identity the key belongs to.
	ID() NodeID
	// Public returns the key others verify with.
	Public() PublicKey
	// Sign signs SignedBytes(d, msg).
	Sign(d Domain, msg []byte) Signature
}

// PrivateKey is an Ed25519 signing key. Make one with GenerateKey, KeyFromSeed or
// ReadKeyFile; the zero value cannot sign. It formats as its public key, whatever
// the verb, so that it cannot end up in a log.
type PrivateKey struct {
	// The secret is behind two pointers because the fmt package calls no methods
	// of a value in an unexported field of somebody else's struct: there it prints
	// what it finds, and for some verbs follows one pointer, but never two.
	box **secret
}

type secret struct {
	seed   [32]byte
	key    ed25519.PrivateKey
	public PublicKey
}

// KeyFromSeed returns the key that RFC 8032 §5.1.5 derives from the seed.
func KeyFromSeed(seed [32]byte) PrivateKey {
	s := &secret{seed: seed, key: ed25519.NewKeyFromSeed(seed[:])}
	copy(s.public[:], s.key[ed25519.SeedSize:])
	return PrivateKey{box: &s}
}

// Seed returns the secret from which the key is derived.
func (k PrivateKey) Seed() [32]byte { return (*k.box).seed }

// Public returns the key others verify with.
func (k PrivateKey) Public() PublicKey { return (*k.box).public }

// IsZero reports whether there is no key.
func (k PrivateKey) IsZero() bool { return k.box == nil }

// Sign signs SignedBytes(d, msg). The signature is a function of key and message,
// as RFC 8032 §5.1.6 has it: the same call gives the same bytes.
func (k PrivateKey) Sign(d Domain, msg []byte) Signature {
	var sig Signature
	copy(sig[:], ed25519.Sign((*k.box).key, SignedBytes(d, msg)))
	return sig
}

// String names the key by its public half.
func (k PrivateKey) String() string {
	if k.box == nil {
		return "private key (none)"
	}
	return "private key of " + (*k.box).public.String()
}

// Format prints String for every verb and flag.
func (k PrivateKey) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// NewSigner returns a signer for the identity.
func NewSigner(id NodeID, k PrivateKey) Signer {
	if !id.Valid() || k.IsZero() {
		panic(fmt.Sprintf("crypto: signer of node %d without identity or key", id))
	}
	return keySigner{id: id, key: k}
}

type keySigner struct {
	id  NodeID
	key PrivateKey
}

func (s keySigner) ID() NodeID                          { return s.id }
func (s keySigner) Public() PublicKey                   { return s.key.Public() }
func (s keySigner) Sign(d Domain, msg []byte) Signature { return s.key.Sign(d, msg) }
