package adversary

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// aware is a core that goes by another gate than the one it began with.
type aware struct {
	replica.Protocol
	gate *bftraft.Verifier
}

func (a aware) Verifier() *bftraft.Verifier { return a.gate }

// TestLiarFollowsTheMembers aims at those who have a say now, not at those of the genesis.
func TestLiarFollowsTheMembers(t *testing.T) {
	gate := func(ids ...bftraft.NodeID) *bftraft.Verifier {
		g := &bftraft.Genesis{Name: "test", Nonce: crypto.Digest{1}}
		for _, id := range ids {
			key := crypto.KeyFromSeed([32]byte{byte(id)}).Public()
			g.Voters = append(g.Voters, quorumcert.Voter{ID: id, Key: key})
		}
		v, err := bftraft.NewVerifier(crypto.ZIP215(), g)
		require.NoError(t, err)
		return v
	}
	o := Options{}
	o.Core.Cluster = crypto.Digest{1}
	o.Core.Signer = crypto.NewSigner(5, crypto.KeyFromSeed([32]byte{5}))
	o.Core.Verifier = gate(1, 2, 3, 4)
	l, err := Wrap(o)
	require.NoError(t, err)
	require.Equal(t, quorumcert.SetOf(1, 2, 3, 4), l.env.Others(), "before there is a core")
	l.Core(aware{gate: gate(4, 5, 6, 7)})
	require.Equal(t, quorumcert.SetOf(4, 6, 7), l.env.Others())
}
