package sim

import (
	"encoding/binary"

	"tangaroa/bftraft"
	"tangaroa/crypto"
)

// fakeScheme stands in for Ed25519: a signature is a keyed hash, and only who was handed the key
// can make one. Verifying knows all keys, as no real scheme could.
type fakeScheme struct {
	secrets map[crypto.PublicKey]crypto.Digest
}

func newFakeScheme() *fakeScheme {
	return &fakeScheme{secrets: make(map[crypto.PublicKey]crypto.Digest)}
}

// key makes the k-th key of a seed.
func (f *fakeScheme) key(seed, k uint64) fakeKey {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], seed)
	binary.BigEndian.PutUint64(b[8:], k)
	secret := crypto.Hash(crypto.DomainMessage, []byte("secret"), b[:])
	public := crypto.PublicKey(crypto.Hash(crypto.DomainMessage, []byte("public"), secret[:]))
	f.secrets[public] = secret
	return fakeKey{secret, public}
}

type fakeKey struct {
	secret crypto.Digest
	public crypto.PublicKey
}

func (k fakeKey) Public() crypto.PublicKey { return k.public }

func (k fakeKey) Sign(d crypto.Domain, msg []byte) crypto.Signature {
	return fakeSign(k.secret, d, msg)
}

func fakeSign(secret crypto.Digest, d crypto.Domain, msg []byte) crypto.Signature {
	h := crypto.Hash(d, secret[:], msg)
	var sig crypto.Signature
	copy(sig[:], h[:])
	copy(sig[32:], secret[:8]) // so that no prefix of another key's passes
	return sig
}

// clientKey is a key that signs requests; a node's signer is made of one too.
type clientKey interface {
	bftraft.RequestSigner
	Sign(crypto.Domain, []byte) crypto.Signature
}

// nodeSigner is a node's one key.
type nodeSigner struct {
	clientKey
	id crypto.NodeID
}

// ID implements crypto.Signer.
func (s nodeSigner) ID() crypto.NodeID { return s.id }

// Expand implements crypto.Scheme.
func (f *fakeScheme) Expand(pub crypto.PublicKey) (crypto.Verifier, error) {
	secret, ok := f.secrets[pub]
	if !ok {
		return nil, crypto.ErrBadKey
	}
	return fakeVerifier{secret}, nil
}

// VerifyAll implements crypto.Scheme.
func (f *fakeScheme) VerifyAll(checks []crypto.Check) bool {
	for _, c := range checks {
		if !c.Key.Verify(c.Domain, c.Msg, c.Sig) {
			return false
		}
	}
	return true
}

type fakeVerifier struct{ secret crypto.Digest }

func (v fakeVerifier) Verify(d crypto.Domain, msg []byte, sig crypto.Signature) bool {
	return fakeSign(v.secret, d, msg) == sig
}

// realKey is a client's or a node's Ed25519 key made from a seed.
func realKey(seed, k uint64) crypto.PrivateKey {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], seed)
	binary.BigEndian.PutUint64(b[8:], k)
	return crypto.KeyFromSeed(crypto.Hash(crypto.DomainMessage, []byte("real"), b[:]))
}
