package bftraft

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// pinnedGenesis is the hash of wireGenesis. It changes only with the layout, and then every
// cluster is another one.
const pinnedGenesis = "23c480a31f4b8351728dce1cf318916a9950c5aeb1d574e8106819ea0556737e"

func TestGenesisHashIsPinned(t *testing.T) {
	require.Equal(t, pinnedGenesis, wireGenesis().Hash().String(), "of %s",
		hex.EncodeToString(wireGenesis().Encode()))
}

// genesisChanges returns one change of each field.
func genesisChanges() map[string]func(g *Genesis) {
	key := wireKey(99).Public()
	return map[string]func(g *Genesis){
		"name":        func(g *Genesis) { g.Name = "wirf" },
		"longer name": func(g *Genesis) { g.Name = "wire\x01" },
		"nonce":       func(g *Genesis) { g.Nonce[31] = 1 },
		"testnet":     func(g *Genesis) { g.Testnet = true },
		"voter id":    func(g *Genesis) { g.Voters[3].ID = 5 },
		"voter key":   func(g *Genesis) { g.Voters[2].Key = key },
		"voter less":  func(g *Genesis) { g.Voters = g.Voters[:3] },
		"voter more": func(g *Genesis) {
			g.Voters = append(g.Voters, quorumcert.Voter{ID: 5, Key: key})
		},
		"client name":     func(g *Genesis) { g.Clients[0].Name = "alicf" },
		"client key":      func(g *Genesis) { g.Clients[1].Key = key },
		"client less":     func(g *Genesis) { g.Clients = g.Clients[:1] },
		"client more":     func(g *Genesis) { g.Clients = append(g.Clients, Enrolled{"eve", key}) },
		"clients swapped": func(g *Genesis) { slices.Reverse(g.Clients) },
		"no clients":      func(g *Genesis) { g.Clients = nil },
		"admin name":      func(g *Genesis) { g.Admins[0].Name = "toor" },
		"admin key":       func(g *Genesis) { g.Admins[0].Key = key },
		"admin more":      func(g *Genesis) { g.Admins = append(g.Admins, Enrolled{"eve", key}) },
		"no admins":       func(g *Genesis) { g.Admins, g.AdminQuorum = nil, 0 },
		"client as admin": func(g *Genesis) {
			g.Admins = append(g.Admins, g.Clients[1])
			g.Clients = g.Clients[:1]
		},
		"checkpoint entries": func(g *Genesis) { g.Upkeep.CheckpointEntries++ },
		"checkpoint bytes":   func(g *Genesis) { g.Upkeep.CheckpointBytes++ },
		"origin": func(g *Genesis) {
			g.Origin = Origin{Digest{1}, Position{1, Digest{2}}, Digest{3}}
		},
		"another origin": func(g *Genesis) {
			g.Origin = Origin{Digest{1}, Position{1, Digest{2}}, Digest{4}}
		},
		"history": func(g *Genesis) { g.Upkeep.History++ },
		"admin quorum": func(g *Genesis) {
			g.Admins, g.AdminQuorum = append(g.Admins, Enrolled{"eve", key}), 2
		},
	}
}

func TestEveryFieldOfTheGenesisChangesTheCluster(t *testing.T) {
	seen := map[Digest]string{wireGenesis().Hash(): "the original"}
	for name, change := range genesisChanges() {
		g := wireGenesis()
		change(g)
		_, err := g.Configuration(crypto.ZIP215())
		require.NoError(t, err, "%s: still a cluster", name)
		require.Empty(t, seen[g.Hash()], "%s does not change the hash", name)
		seen[g.Hash()] = name
		require.Equal(t, g.Hash(), g.Hash())
	}
}

func TestGenesisEncodingIsCanonical(t *testing.T) {
	want := wireGenesis().Encode()
	g := wireGenesis()
	g.Voters = slices.Clone(g.Voters)
	require.Equal(t, want, g.Encode())
	empty := wireGenesis()
	empty.Clients = nil
	other := wireGenesis()
	other.Clients = []Enrolled{}
	require.Equal(t, empty.Encode(), other.Encode(), "no clients are no clients")
}

func TestGenesisRefusalsNameTheField(t *testing.T) {
	long := strings.Repeat("x", 256)
	key := wireKey(99).Public()
	for name, k := range map[string]struct {
		spoil func(g *Genesis)
		word  string
	}{
		"no name":         {func(g *Genesis) { g.Name = "" }, "name"},
		"long name":       {func(g *Genesis) { g.Name = long }, "name"},
		"no nonce":        {func(g *Genesis) { g.Nonce = Digest{} }, "nonce"},
		"no voters":       {func(g *Genesis) { g.Voters = nil }, "voters"},
		"too many voters": {func(g *Genesis) { g.Voters = make([]quorumcert.Voter, 65) }, "voters"},
		"many clients": {func(g *Genesis) { g.Clients = make([]Enrolled, maxGenesisNames+1) },
			"clients"},
		"many admins": {func(g *Genesis) { g.Admins = make([]Enrolled, maxGenesisNames+1) },
			"admin"},
		"quorum too high":  {func(g *Genesis) { g.AdminQuorum = 2 }, "admin quorum"},
		"quorum negative":  {func(g *Genesis) { g.AdminQuorum = -1 }, "admin quorum"},
		"quorum of nobody": {func(g *Genesis) { g.AdminQuorum = 0 }, "admin quorum"},
		"nameless client":  {func(g *Genesis) { g.Clients[1].Name = "" }, "client 2"},
		"longwinded admin": {func(g *Genesis) { g.Admins[0].Name = long }, "admin 1"},
		"client's key twice": {func(g *Genesis) { g.Clients[1].Key = g.Clients[0].Key },
			`client "bob"`},
		"client's name twice": {func(g *Genesis) { g.Clients[1].Name = "alice" }, `client "alice"`},
		"admin's key twice": {func(g *Genesis) {
			g.Admins = append(g.Admins, Enrolled{"eve", g.Admins[0].Key})
		}, `admin "eve"`},
		"admin's name twice": {func(g *Genesis) {
			g.Admins = append(g.Admins, Enrolled{"root", key})
		}, `admin "root"`},
	} {
		g := wireGenesis()
		k.spoil(g)
		err := g.Validate()
		require.ErrorIs(t, err, ErrGenesis, name)
		require.ErrorContains(t, err, k.word, name)
		_, err = NewVerifier(crypto.ZIP215(), g)
		require.ErrorIs(t, err, ErrGenesis, name)
	}
	require.NoError(t, wireGenesis().Validate())
}

func TestGenesisWithUnusableKeysIsRefused(t *testing.T) {
	weak, noPoint, unset := crypto.PublicKey{0: 1}, crypto.PublicKey{0: 2}, crypto.PublicKey{}
	first, order := wireKey(1).Public(), quorumcert.ErrVoters
	voter := func(g *Genesis, at int, key crypto.PublicKey) { g.Voters[at].Key = key }
	for name, k := range map[string]struct {
		spoil func(g *Genesis)
		want  error
		word  string
	}{
		"weak voter":    {func(g *Genesis) { voter(g, 2, weak) }, crypto.ErrWeakKey, "node 3"},
		"voter unset":   {func(g *Genesis) { voter(g, 2, unset) }, crypto.ErrWeakKey, "node 3"},
		"no point":      {func(g *Genesis) { voter(g, 3, noPoint) }, crypto.ErrBadKey, "node 4"},
		"two voters":    {func(g *Genesis) { voter(g, 3, first) }, crypto.ErrDuplicateKey, "node 4"},
		"one voter":     {func(g *Genesis) { g.Voters[1].ID = 1 }, order, "voters"},
		"voters astray": {func(g *Genesis) { slices.Reverse(g.Voters) }, order, "voters"},
		"voter zero":    {func(g *Genesis) { g.Voters[0].ID = 0 }, order, "voters"},
		"voter 65":      {func(g *Genesis) { g.Voters[3].ID = 65 }, order, "voters"},
		"weak client":   {func(g *Genesis) { g.Clients[1].Key = weak }, crypto.ErrWeakKey, `"bob"`},
		"bad client":    {func(g *Genesis) { g.Clients[1].Key = noPoint }, crypto.ErrBadKey, `"bob"`},
		"weak admin":    {func(g *Genesis) { g.Admins[0].Key = weak }, crypto.ErrWeakKey, `"root"`},
	} {
		g := wireGenesis()
		k.spoil(g)
		_, err := NewVerifier(crypto.ZIP215(), g)
		require.ErrorIs(t, err, ErrGenesis, name)
		require.ErrorIs(t, err, k.want, name)
		require.ErrorContains(t, err, k.word, name)
	}
}

func TestGenesisOfSixtyFourVotersAndManyClientsIsFine(t *testing.T) {
	g := wireGenesis()
	g.Voters = nil
	for id := 1; id <= quorumcert.MaxVoters; id++ {
		voter := quorumcert.Voter{ID: NodeID(id), Key: wireKey(id + 100).Public()}
		g.Voters = append(g.Voters, voter)
	}
	g.Clients = nil
	for n := range 50 {
		g.Clients = append(g.Clients, Enrolled{fmt.Sprint("client", n), wireKey(n + 170).Public()})
	}
	c, err := g.Configuration(crypto.ZIP215())
	require.NoError(t, err)
	require.Equal(t, quorumcert.Size{N: 64, F: 21, Q: 43}, c.Size())
	require.Equal(t, Index(0), c.Entry())
}
