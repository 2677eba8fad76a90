package rogue

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

func options(seed uint64) Options {
	return Options{
		Key: crypto.KeyFromSeed([32]byte{1}), Cluster: crypto.Digest{2}, Seed: seed,
		Voters: quorumcert.SetOf(1, 2, 3, 4),
		Op:     func(k uint64) []byte { return []byte{byte(k), byte(k >> 8)} },
		Query:  func(k uint64) []byte { return []byte{byte(k)} },
	}
}

func TestRoguesAreFunctionsOfTheirSeed(t *testing.T) {
	require.True(t, slices.IsSorted(Names()))
	for _, a := range All() {
		require.NotEmpty(t, a.Does)
		require.NotEmpty(t, a.Caught)
		one, err := New(a.Name, options(1))
		require.NoError(t, err)
		same, err := New(a.Name, options(1))
		require.NoError(t, err)
		sent := 0
		for range 200 {
			frames := one.Tick(2)
			require.Equal(t, frames, same.Tick(2), a.Name)
			for _, f := range frames {
				require.True(t, one.Voters.Has(f.To))
			}
			sent += len(frames)
		}
		require.Greater(t, sent, 200, a.Name)
	}
	_, err := New("honest", options(1))
	require.ErrorIs(t, err, ErrUnknown)
}

// TestEquivocatorSignsTwoRequestsWithOneSequence looks at what the others only feel.
func TestEquivocatorSignsTwoRequestsWithOneSequence(t *testing.T) {
	r, err := New("equivocator", options(1))
	require.NoError(t, err)
	twice := 0
	for want := uint64(1); want <= 50; want++ {
		different := map[string]bool{}
		for _, f := range r.Tick(2) {
			request, err := bftraft.DecodeRequest(f.Frame[1:])
			require.NoError(t, err)
			require.Equal(t, want, request.Sequence)
			different[string(f.Frame)] = true
		}
		if len(different) == 2 {
			twice++
		}
	}
	require.Greater(t, twice, 25)
}

func TestFollowersAttackLeavesTheLeaderOut(t *testing.T) {
	r, err := New("followers", options(1))
	require.NoError(t, err)
	for _, f := range r.Tick(3) {
		require.NotEqual(t, bftraft.NodeID(3), f.To)
	}
}
