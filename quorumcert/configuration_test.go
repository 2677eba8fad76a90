package quorumcert

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

func TestConfigurationRefusesBadVoters(t *testing.T) {
	good := votersOf(0, idsUpTo(4)...)
	twiceKey := slices.Clone(good)
	twiceKey[3].Key = twiceKey[0].Key
	weak := slices.Clone(good)
	weak[2].Key = crypto.PublicKey{0: 1} // the neutral element
	noPoint := slices.Clone(good)
	noPoint[2].Key = crypto.PublicKey{0: 2}
	many := votersOf(0, idsUpTo(64)...)
	for name, c := range map[string]struct {
		voters []Voter
		want   error
	}{
		"none":         {nil, ErrVoters},
		"too many":     {append(slices.Clone(many), Voter{ID: 65, Key: good[0].Key}), ErrVoters},
		"id zero":      {[]Voter{{ID: 0, Key: good[0].Key}}, ErrVoters},
		"id 65":        {[]Voter{{ID: 65, Key: good[0].Key}}, ErrVoters},
		"id twice":     {[]Voter{good[0], {ID: 1, Key: good[1].Key}}, ErrVoters},
		"descending":   {[]Voter{good[1], good[0]}, ErrVoters},
		"key twice":    {twiceKey, crypto.ErrDuplicateKey},
		"weak key":     {weak, crypto.ErrWeakKey},
		"no point":     {noPoint, crypto.ErrBadKey},
		"key not set":  {[]Voter{{ID: 1}}, crypto.ErrWeakKey},
		"last one bad": {[]Voter{good[0], good[1], {ID: 1, Key: good[2].Key}}, ErrVoters},
	} {
		_, err := NewConfiguration(crypto.ZIP215(), 0, c.voters)
		require.ErrorIs(t, err, c.want, name)
	}
	_, err := NewConfiguration(crypto.ZIP215(), 0, many)
	require.NoError(t, err, "64 voters are allowed")
}

func TestConfigurationKeepsItsOwnVoters(t *testing.T) {
	voters := votersOf(0, 2, 5, 64)
	c := configOf(t, 17, voters)
	voters[0].ID = 9
	require.Equal(t, Index(17), c.Entry())
	require.Equal(t, votersOf(0, 2, 5, 64), c.Voters())
	require.Equal(t, SetOf(2, 5, 64), c.Members())
	require.Equal(t, Size{3, 0, 2}, c.Size())
	require.Equal(t, []crypto.NodeID{2, 5, 64}, c.Keyring().IDs())
	for id := range 256 {
		want := id == 2 || id == 5 || id == 64
		require.Equal(t, want, c.Has(crypto.NodeID(id)), "node %d", id)
	}
}

// sparse returns n distinct ids that do not start at 1 where there is room.
func sparse(n int) []crypto.NodeID {
	ids := idsUpTo(MaxVoters)
	return ids[len(ids)-n:]
}

func TestRankCoversEachPositionOncePerTerm(t *testing.T) {
	keys := votersOf(0, idsUpTo(MaxVoters)...)
	for n := 1; n <= MaxVoters; n++ {
		c := configOf(t, 0, keys[MaxVoters-n:])
		ids := sparse(n)
		terms := []Term{math.MaxUint64, math.MaxUint64 - 1, math.MaxUint64 - Term(n), 1 << 63}
		for u := range 2*n + 2 {
			terms = append(terms, Term(u))
		}
		for _, u := range terms {
			seen := make([]bool, n)
			for pos, id := range ids {
				rank, ok := c.Rank(u, id)
				require.True(t, ok)
				require.False(t, seen[rank], "n=%d term=%d: rank %d twice", n, u, rank)
				seen[rank] = true
				require.Equal(t, uint64(pos), (uint64(u)%uint64(n)+uint64(rank))%uint64(n),
					"n=%d term=%d: voter at (t+r) mod N has rank r", n, u)
			}
		}
		_, ok := c.Rank(3, crypto.NodeID(MaxVoters-n))
		require.False(t, ok, "no voter, no rank")
	}
}

func TestEveryVoterLeadsTheRanksInTurn(t *testing.T) {
	c := configOf(t, 0, votersOf(0, idsUpTo(7)...))
	for start := Term(1); start < 30; start++ {
		var first Set
		for u := start; u < start+7; u++ {
			for _, v := range c.Voters() {
				if rank, _ := c.Rank(u, v.ID); rank == 0 {
					first = first.With(v.ID)
				}
			}
		}
		require.Equal(t, c.Members(), first)
	}
}

// history returns configurations at entries 0, 5, 6, 10 and 100.
func history(t *testing.T) (*Configurations, []*Configuration) {
	var list []*Configuration
	for k, entry := range []Index{0, 5, 6, 10, 100} {
		list = append(list, configOf(t, entry, votersOf(k*20, idsUpTo(4)...)))
	}
	cs := NewConfigurations(list[0])
	for _, c := range list[1:] {
		next, err := cs.With(c)
		require.NoError(t, err)
		cs = next
	}
	return cs, list
}

func TestN5ConfigurationIsTheLastEntryStrictlyBefore(t *testing.T) {
	cs, list := history(t)
	pick := func(inForce func(entry Index) bool) *Configuration {
		found := list[0]
		for _, c := range list[1:] {
			if inForce(c.Entry()) {
				found = c
			}
		}
		return found
	}
	indexes := []Index{math.MaxUint64, math.MaxUint64 - 1, 1 << 63}
	for i := range Index(130) {
		indexes = append(indexes, i)
	}
	for _, i := range indexes {
		strictly := pick(func(entry Index) bool { return entry < i })
		require.Same(t, strictly, cs.For(i), "for index %d", i)
		included := pick(func(entry Index) bool { return entry <= i })
		require.Same(t, included, cs.Behind(i), "behind index %d", i)
	}
	require.Same(t, list[4], cs.Latest())
	require.Same(t, list[0], cs.For(5), "a configuration does not judge its own entry")
	require.Same(t, list[1], cs.Behind(5), "but an election behind it")
}

func TestConfigurationsGrowWithoutChangingTheOld(t *testing.T) {
	cs, list := history(t)
	before := cs.Latest()
	longer, err := cs.With(configOf(t, 101, votersOf(200, 1)))
	require.NoError(t, err)
	other, err := cs.With(configOf(t, 102, votersOf(220, 1)))
	require.NoError(t, err)
	require.Same(t, before, cs.Latest())
	require.Equal(t, Index(101), longer.Latest().Entry(), "two heirs do not share memory")
	require.Equal(t, Index(102), other.Latest().Entry())
	for _, entry := range []Index{0, 5, 99, 100} {
		_, err := cs.With(configOf(t, entry, votersOf(240, 1)))
		require.ErrorIs(t, err, ErrHistory, "entry %d is not younger", entry)
	}
	_, err = NewConfigurations(list[0]).With(list[0])
	require.ErrorIs(t, err, ErrHistory)
}

// TestJointConfigurationIsCertifiedByItsVoters: the incoming ones may sign, and count only for the
// entry that closes it.
func TestJointConfigurationIsCertifiedByItsVoters(t *testing.T) {
	cluster := digestOf("cluster")
	keys := votersOf(0, idsUpTo(8)...)
	c, err := NewJoint(crypto.ZIP215(), 5, keys[:4], keys[3:])
	require.NoError(t, err)
	require.Equal(t, SetOf(1, 2, 3, 4), c.Members())
	require.Equal(t, SetOf(4, 5, 6, 7, 8), c.Incoming())
	tc := func(ids ...crypto.NodeID) error {
		st := Suspicion{Cluster: cluster, Term: 3}
		var sigs Collector
		for _, id := range ids {
			sigs.Add(id, Sign(testSigner(id, int(id)), st))
		}
		return (&TC{Term: 3, Signatures: sigs.Take(^Set(0))}).Verify(cluster, c)
	}
	require.NoError(t, tc(1, 2, 3))
	require.NoError(t, tc(1, 2, 4, 7))
	require.ErrorIs(t, tc(1, 2, 5, 6, 7, 8), ErrTooFew)
	require.ErrorIs(t, tc(5, 6, 7, 8), ErrTooFew)
	require.ErrorIs(t, tc(1, 2, 3, 9), ErrNotMember)
	require.True(t, c.Closes(SetOf(1, 2, 3, 5, 6, 7, 8)))
	require.True(t, c.Closes(SetOf(1, 2, 4, 5, 6, 7)), "who is in both counts twice")
	require.False(t, c.Closes(SetOf(1, 2, 3, 4, 5, 6)))
	require.False(t, c.Closes(SetOf(1, 2, 5, 6, 7, 8)))
	plain := configOf(t, 6, keys[:4])
	require.False(t, plain.Closes(SetOf(1, 2, 3, 4)), "nothing is open")
	other := slices.Clone(keys[3:])
	other[0].Key = votersOf(20, 4)[0].Key
	_, err = NewJoint(crypto.ZIP215(), 5, keys[:4], other)
	require.ErrorIs(t, err, ErrIncoming)
	_, err = NewJoint(crypto.ZIP215(), 5, keys[:4], nil)
	require.ErrorIs(t, err, ErrVoters)
}

func TestCommonVotersHaveOneKey(t *testing.T) {
	c := configOf(t, 1, votersOf(0, 1, 2, 3, 4))
	require.Equal(t, SetOf(1, 2, 3, 4), c.Common(c))
	require.Equal(t, SetOf(3, 4), c.Common(configOf(t, 2, votersOf(0, 3, 4, 5, 6))))
	mixed := slices.Concat(votersOf(0, 1, 2), votersOf(20, 3, 4))
	require.Equal(t, SetOf(1, 2), c.Common(configOf(t, 2, mixed)), "ids that came round")
}

func TestRepliesAreOfTheConfigurationOfTheirIndexOrALaterOne(t *testing.T) {
	cs, list := history(t)
	require.Same(t, list[1], cs.ForReply(6, 5))
	require.Same(t, list[4], cs.ForReply(6, 100), "voters of a later one have the results too")
	require.Nil(t, cs.ForReply(6, 0), "of an earlier one nobody has executed it")
	require.Nil(t, cs.ForReply(11, 6))
	require.Nil(t, cs.ForReply(6, 7), "there is none")
	require.Nil(t, cs.ForReply(6, 101))
}

// TestProofHoldsByTheOldestConfigurationThatKnowsTheKey has an id come round, with another key.
func TestProofHoldsByTheOldestConfigurationThatKnowsTheKey(t *testing.T) {
	cs, list := history(t)
	cluster := digestOf("cluster")
	proof := func(number int) *Evidence {
		signer := testSigner(3, number)
		vote := func(candidate crypto.NodeID) SignedVote {
			v := Vote{Cluster: cluster, Term: 9, Candidate: candidate}
			return SignedVote{Vote: v, Signer: 3, Sig: Sign(signer, v)}
		}
		return &Evidence{Votes: &VoteConflict{A: vote(1), B: vote(2)}}
	}
	for k, want := range list {
		by, err := cs.Accusing(cluster, proof(3+20*k))
		require.NoError(t, err)
		require.Same(t, want, by, "the key of entry %d", want.Entry())
	}
	stranger, nothing := proof(9), &Evidence{Votes: &VoteConflict{}}
	stranger.Votes.A.Signer, stranger.Votes.B.Signer = 9, 9
	nothing.Votes.A.Signer, nothing.Votes.B.Signer = 9, 9
	for name, c := range map[string]struct {
		proof *Evidence
		want  error
	}{
		"the key of another": {proof(4), crypto.ErrBadSignature},
		"of a stranger":      {stranger, crypto.ErrUnknownSigner},
		"no contradiction":   {nothing, ErrNoProof},
		"empty":              {&Evidence{}, ErrNoProof},
	} {
		_, err := cs.Accusing(cluster, c.proof)
		require.ErrorIs(t, err, c.want, name)
	}
	_, err := cs.Accusing(digestOf("other"), proof(3))
	require.ErrorIs(t, err, ErrNoProof)
	again, err := cs.With(configOf(t, 101, votersOf(80, idsUpTo(4)...)))
	require.NoError(t, err)
	by, err := again.Accusing(cluster, proof(83))
	require.NoError(t, err)
	require.Same(t, list[4], by, "the oldest with the key")
}
