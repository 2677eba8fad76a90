package sim

import (
	"encoding/binary"

	"tangaroa/bftraft"
	"tangaroa/crypto"
)

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

// realKey is a client's or a node's Ed25519 key made from a seed.
func realKey(seed, k uint64) crypto.PrivateKey {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], seed)
	binary.BigEndian.PutUint64(b[8:], k)
	return crypto.KeyFromSeed(crypto.Hash(crypto.DomainMessage, []byte("real"), b[:]))
}
