package quorumcert

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

func TestQuorumArithmeticHoldsForEverySize(t *testing.T) {
	for n := 1; n <= MaxVoters; n++ {
		s := ForNodes(n)
		require.Equal(t, n, s.N)
		require.GreaterOrEqual(t, s.F, 0)
		require.LessOrEqual(t, 3*s.F+1, n, "n=%d: more faults than 3F+1 voters bear", n)
		require.Greater(t, 3*(s.F+1)+1, n, "n=%d: one more fault could be borne", n)
		require.GreaterOrEqual(t, 2*s.Q-n, s.F+1, "n=%d: two quorums share no honest voter", n)
		require.Less(t, 2*(s.Q-1)-n, s.F+1, "n=%d: a smaller quorum would do", n)
		require.LessOrEqual(t, s.Q, n-s.F, "n=%d: the honest alone make no quorum", n)
		require.LessOrEqual(t, s.Q, n)
		require.Greater(t, s.Q, s.F, "n=%d: the faulty alone make a quorum", n)
	}
}

func TestQuorumArithmeticMatchesTheTextbook(t *testing.T) {
	for _, want := range []Size{
		{1, 0, 1}, {2, 0, 2}, {3, 0, 2}, {4, 1, 3}, {5, 1, 4}, {6, 1, 4}, {7, 2, 5}, {8, 2, 6},
		{9, 2, 6}, {10, 3, 7}, {13, 4, 9}, {16, 5, 11}, {31, 10, 21}, {64, 21, 43},
	} {
		require.Equal(t, want, ForNodes(want.N))
	}
}

// The arithmetic above is what makes quorums meet; here they are all laid on each other.
func TestAnyTwoQuorumsShareAnHonestVoter(t *testing.T) {
	for n := 1; n <= 10; n++ {
		s := ForNodes(n)
		var quorums []Set
		for bits := Set(0); bits < 1<<n; bits++ {
			if bits.Len() == s.Q {
				quorums = append(quorums, bits)
			}
		}
		for i, a := range quorums {
			for _, b := range quorums[i:] {
				require.Greater(t, (a & b).Len(), s.F, "n=%d: %v and %v", n, a, b)
			}
		}
	}
}

func TestSetBehavesLikeASet(t *testing.T) {
	rng := seeded(t)
	for range 200 {
		var s Set
		var model [256]bool
		for range rng.IntN(100) {
			id := crypto.NodeID(rng.IntN(256))
			if rng.IntN(3) == 0 {
				s = s.Without(id)
				model[id] = false
			} else {
				s = s.With(id)
				model[id] = id >= 1 && id <= MaxVoters
			}
		}
		members := []crypto.NodeID{}
		for id := range model {
			require.Equal(t, model[id], s.Has(crypto.NodeID(id)), "%v, node %d", s, id)
			if model[id] {
				members = append(members, crypto.NodeID(id))
			}
		}
		require.Equal(t, members, s.Members())
		require.Equal(t, len(members), s.Len())
		require.Equal(t, s, SetOf(members...))
		var walked = []crypto.NodeID{}
		for id := s.Next(0); id != 0; id = s.Next(id) {
			walked = append(walked, id)
		}
		require.Equal(t, members, walked)
	}
}

func TestSetNextEndsBeyondTheLastMember(t *testing.T) {
	all := ^Set(0)
	for id := 0; id < 256; id++ {
		want := crypto.NodeID(0)
		if id < MaxVoters {
			want = crypto.NodeID(id + 1)
		}
		require.Equal(t, want, all.Next(crypto.NodeID(id)))
		require.Zero(t, Set(0).Next(crypto.NodeID(id)))
	}
}

func TestSetReadsAsAList(t *testing.T) {
	require.Equal(t, "{}", Set(0).String())
	require.Equal(t, "{1 3 64}", SetOf(64, 1, 3).String())
}

func TestCollectorCountsSignersNotSignatures(t *testing.T) {
	var c Collector
	first, second := crypto.Signature{1}, crypto.Signature{2}
	require.True(t, c.Add(5, first))
	require.False(t, c.Add(5, second), "a voter counted twice")
	require.False(t, c.Add(5, first))
	require.False(t, c.Add(0, first))
	require.False(t, c.Add(65, first))
	require.False(t, c.Add(255, first))
	require.True(t, c.Add(64, second))
	require.True(t, c.Add(1, second))
	require.Equal(t, SetOf(1, 5, 64), c.Signers())
	want := Signatures{Signers: SetOf(1, 5, 64), Sigs: []crypto.Signature{second, first, second}}
	require.Equal(t, want, c.Take(^Set(0)), "the first signature of a voter stays")
	want = Signatures{Signers: SetOf(5), Sigs: []crypto.Signature{first}}
	require.Equal(t, want, c.Take(SetOf(4, 5, 6)), "only members are taken")
	c.Forget(SetOf(4, 5, 64))
	require.Equal(t, SetOf(1), c.Signers())
	require.True(t, c.Add(5, second), "it may have another key by now")
	require.Equal(t, []crypto.Signature{second, second}, c.Take(^Set(0)).Sigs)
	c.Reset()
	require.Zero(t, c.Signers())
	require.Empty(t, c.Take(^Set(0)).Sigs)
	require.True(t, c.Add(5, second))
	require.Equal(t, []crypto.Signature{second}, c.Take(^Set(0)).Sigs)
}

// Whatever bytes are read as signatures, the signers are distinct and each has one signature:
// there is no way to write one down twice.
func TestDuplicateSignersCannotBeWrittenDown(t *testing.T) {
	rng := seeded(t)
	for range 500 {
		want := Set(rng.Uint64())
		s := Signatures{Signers: want, Sigs: make([]crypto.Signature, want.Len())}
		raw := appendSigs(nil, s)
		require.Len(t, raw, 8+64*want.Len(), "as many signatures as bits")
		members := s.Signers.Members()
		for i := 1; i < len(members); i++ {
			require.Less(t, members[i-1], members[i])
		}
	}
}
