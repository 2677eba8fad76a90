package crypto

import "fmt"

// KeyEntry is a voter and its public key.
type KeyEntry struct {
	ID  NodeID
	Key PublicKey
}

// Keyring holds the keys of a fixed set of voters, expanded. The zero value is
// empty and knows no signer.
type Keyring struct {
	slots [MaxNodeID + 1]keySlot // indexed by NodeID; slot 0 stays empty
	ids   []NodeID               // those present, ascending
}

type keySlot struct {
	key      PublicKey
	verifier Verifier // nil: no such voter
}

// NewKeyring enrols the keys. It refuses identities out of range, an identity or
// a key that appears twice, and keys the scheme refuses.
func NewKeyring(s Scheme, entries []KeyEntry) (*Keyring, error) {
	k := &Keyring{}
	for i, e := range entries {
		if !e.ID.Valid() {
			return nil, fmt.Errorf("enrol node %d: %w", e.ID, ErrBadID)
		}
		if k.slots[e.ID].verifier != nil {
			return nil, fmt.Errorf("enrol node %d: %w", e.ID, ErrDuplicateID)
		}
		for _, other := range entries[:i] {
			if other.Key == e.Key {
				return nil, fmt.Errorf("enrol node %d: %w (node %d has it)",
					e.ID, ErrDuplicateKey, other.ID)
			}
		}
		verifier, err := s.ExpandMember(e.Key)
		if err != nil {
			return nil, fmt.Errorf("enrol node %d: %w", e.ID, err)
		}
		k.slots[e.ID] = keySlot{key: e.Key, verifier: verifier}
	}
	for id := NodeID(1); id <= MaxNodeID; id++ {
		if k.slots[id].verifier != nil {
			k.ids = append(k.ids, id)
		}
	}
	return k, nil
}

// Verify returns nil when sig is the node's signature of msg in the domain,
// ErrUnknownSigner when there is no such node, else ErrBadSignature. These are the
// bare sentinels: a liar must not make us allocate.
func (k *Keyring) Verify(id NodeID, d Domain, msg []byte, sig Signature) error {
	verifier, ok := k.Verifier(id)
	if !ok {
		return ErrUnknownSigner
	}
	if !verifier.Verify(d, msg, sig) {
		return ErrBadSignature
	}
	return nil
}

// Verifier returns the node's expanded key.
func (k *Keyring) Verifier(id NodeID) (Verifier, bool) {
	if !id.Valid() || k.slots[id].verifier == nil {
		return nil, false
	}
	return k.slots[id].verifier, true
}

// Key returns the node's public key.
func (k *Keyring) Key(id NodeID) (PublicKey, bool) {
	if !id.Valid() || k.slots[id].verifier == nil {
		return PublicKey{}, false
	}
	return k.slots[id].key, true
}

// IDs returns the nodes that have a key, ascending. The caller may keep and
// change the slice.
func (k *Keyring) IDs() []NodeID { return append([]NodeID(nil), k.ids...) }
