package store

import (
	"crypto/rand"
	"encoding/binary"
	"slices"

	"tangaroa/crypto"
	"tangaroa/internal/mutant"
)

// sealer protects the records of one store. Without keys it appends checksums; with them it
// encrypts, and what was changed, or stands under another key of Badger than it was written for,
// does not open.
type sealer struct {
	id   instance
	keys *dataKeys // nil for a store that is not encrypted
}

const (
	checksumBytes = 16
	epochBytes    = 4
	// sealedBytes is what encryption adds: epoch, nonce, and the proof at the end.
	sealedBytes = epochBytes + crypto.SealNonceBytes + crypto.SealOverheadBytes
)

// seal returns value as it is to stand under key.
func (s *sealer) seal(key, value []byte) []byte {
	if s.keys == nil {
		return s.id.checked(key, value)
	}
	return s.keys.seal(make([]byte, 0, sealedBytes+len(value)), key, value)
}

// sealTo is seal with the room of a slice that is not needed any more, or of what is behind value.
func (s *sealer) sealTo(room, key, value []byte) []byte {
	if s.keys == nil {
		return s.id.checked(key, value)
	}
	return s.keys.seal(slices.Grow(room[:0], sealedBytes+len(value)), key, value)
}

// unseal returns what was sealed.
func (s *sealer) unseal(key, sealed []byte) ([]byte, bool) {
	if s.keys == nil {
		return s.id.check(key, sealed)
	}
	return s.keys.unseal(nil, key, sealed)
}

// overhead is by how much seal lengthens a value.
func (s *sealer) overhead() int {
	if s.keys == nil {
		return checksumBytes
	}
	return sealedBytes
}

// sealBlock appends to dst what is stored of a block, or of a part of it. Its checksum is the hash
// of the chain, which is compared whenever it is read.
func (s *sealer) sealBlock(dst, key, raw []byte) []byte {
	switch {
	case s.keys != nil:
		return s.keys.seal(slices.Grow(dst, sealedBytes+len(raw)), blockPlace(key), raw)
	case dst == nil:
		return raw
	}
	return append(dst, raw...)
}

// unsealBlock appends to dst what sealBlock was given.
func (s *sealer) unsealBlock(dst, key, stored []byte) ([]byte, bool) {
	if s.keys == nil {
		return append(dst, stored...), true
	}
	return s.keys.unseal(dst, blockPlace(key), stored)
}

// blockPlace keeps a block's body from being taken for its header, which stands under the same
// key. It is no key of anything: those are one byte and words of eight.
func blockPlace(key []byte) []byte { return append(key[:len(key):len(key)], 1) }

// instance is the random name of one store, the key of all its checksums.
type instance [16]byte

// checked appends a checksum over the key and all of the value; what is read for another key, or
// from another store, does not pass.
func (id instance) checked(key, value []byte) []byte {
	sum := crypto.Hash(crypto.DomainReady, id[:], key, value)
	return append(value, sum[:checksumBytes]...)
}

// check returns what checked was given.
func (id instance) check(key, sealed []byte) ([]byte, bool) {
	n := len(sealed) - checksumBytes
	if n < 0 {
		return nil, false
	}
	sum := crypto.Hash(crypto.DomainReady, id[:], key, sealed[:n])
	return sealed[:n], mutant.On(mutant.M63) ||
		string(sum[:checksumBytes]) == string(sealed[n:])
}

// epoch numbers the data keys of a store from 1.
type epoch uint32

// dataKeys encrypt what a store holds: the newest what is written, the others what was written
// while they were the newest.
type dataKeys struct {
	newest epoch
	all    []dataKey // ascending by epoch, the newest at the end
}

type dataKey struct {
	epoch  epoch
	key    crypto.SecretKey
	sealer *crypto.Sealer
}

func newDataKey(e epoch, k crypto.SecretKey) dataKey {
	return dataKey{epoch: e, key: k, sealer: crypto.NewSealer(k)}
}

// firstKeys returns the keys of a new store.
func firstKeys() *dataKeys {
	return &dataKeys{newest: 1, all: []dataKey{newDataKey(1, crypto.GenerateSecretKey())}}
}

func (k *dataKeys) of(e epoch) *crypto.Sealer {
	for i := range k.all {
		if k.all[i].epoch == e {
			return k.all[i].sealer
		}
	}
	return nil
}

// seal appends epoch, nonce and what hides value to dst. The nonce is drawn anew for every record:
// with 192 bits of it none repeats, whatever is put back or started twice.
func (k *dataKeys) seal(dst, place, value []byte) []byte {
	var nonce [crypto.SealNonceBytes]byte
	rand.Read(nonce[:])
	return k.sealWith(nonce, dst, place, value)
}

func (k *dataKeys) sealWith(
	nonce [crypto.SealNonceBytes]byte, dst, place, value []byte,
) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(k.newest))
	dst = append(dst, nonce[:]...)
	return k.of(k.newest).Seal(dst, nonce, value, place)
}

// unseal appends to dst what seal was given.
func (k *dataKeys) unseal(dst, place, sealed []byte) ([]byte, bool) {
	e, ok := epochOf(sealed)
	if !ok || len(sealed) < sealedBytes {
		return nil, false
	}
	s := k.of(e)
	if s == nil {
		return nil, false
	}
	var nonce [crypto.SealNonceBytes]byte
	copy(nonce[:], sealed[epochBytes:])
	return s.Open(dst, nonce, sealed[epochBytes+len(nonce):], place)
}

// epochOf returns the epoch of the key that sealed a record.
func epochOf(sealed []byte) (epoch, bool) {
	if len(sealed) < epochBytes {
		return 0, false
	}
	return epoch(binary.BigEndian.Uint32(sealed)), true
}
