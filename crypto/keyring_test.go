package crypto

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func entry(id NodeID) (KeyEntry, PrivateKey) {
	k := KeyFromSeed([32]byte{byte(id), 9})
	return KeyEntry{ID: id, Key: k.Public()}, k
}

func TestKeyringVerifiesItsSignersOnly(t *testing.T) {
	var entries []KeyEntry
	keys := map[NodeID]PrivateKey{}
	for _, id := range []NodeID{64, 3, 1} {
		e, k := entry(id)
		entries, keys[id] = append(entries, e), k
	}
	ring, err := NewKeyring(ZIP215(), entries)
	require.NoError(t, err)
	require.Equal(t, []NodeID{1, 3, 64}, ring.IDs())
	msg := []byte("m")
	for id := range 256 {
		id := NodeID(id)
		k, known := keys[id]
		_, found := ring.Verifier(id)
		require.Equal(t, known, found)
		if !known {
			require.ErrorIs(t, ring.Verify(id, DomainAck, msg, Signature{}), ErrUnknownSigner)
			_, found = ring.Key(id)
			require.False(t, found)
			continue
		}
		public, found := ring.Key(id)
		require.True(t, found)
		require.Equal(t, k.Public(), public)
		for signer, other := range keys {
			err := ring.Verify(id, DomainAck, msg, other.Sign(DomainAck, msg))
			if signer == id {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, ErrBadSignature)
			}
		}
		sig := k.Sign(DomainAck, msg)
		require.ErrorIs(t, ring.Verify(id, DomainVote, msg, sig), ErrBadSignature)
		require.ErrorIs(t, ring.Verify(id, DomainAck, []byte("n"), sig), ErrBadSignature)
	}
	ring.IDs()[0] = 9
	require.Equal(t, []NodeID{1, 3, 64}, ring.IDs(), "a caller changed the keyring")
}

func TestKeyringRefusesWrongEntries(t *testing.T) {
	one, _ := entry(1)
	two, _ := entry(2)
	cases := []struct {
		name    string
		entries []KeyEntry
		want    error
	}{
		{"no node", []KeyEntry{{ID: 0, Key: one.Key}}, ErrBadID},
		{"too great", []KeyEntry{{ID: 65, Key: one.Key}}, ErrBadID},
		{"identity twice", []KeyEntry{one, {ID: 1, Key: two.Key}}, ErrDuplicateID},
		{"key twice", []KeyEntry{one, two, {ID: 3, Key: one.Key}}, ErrDuplicateKey},
		{"no key", []KeyEntry{one, {ID: 2}}, ErrWeakKey},
		{"small order", []KeyEntry{{ID: 1, Key: PublicKey{1}}}, ErrWeakKey},
		{"no point", []KeyEntry{{ID: 1, Key: PublicKey{2}}}, ErrBadKey},
	}
	for _, c := range cases {
		_, err := NewKeyring(ZIP215(), c.entries)
		require.ErrorIs(t, err, c.want, c.name)
	}
}

func TestEmptyKeyringKnowsNobody(t *testing.T) {
	var ring Keyring
	require.ErrorIs(t, ring.Verify(1, DomainAck, nil, Signature{}), ErrUnknownSigner)
	require.Empty(t, ring.IDs())
}
