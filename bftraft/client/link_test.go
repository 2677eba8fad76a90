package client

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/p2p"
)

// TestNodeIsLookedForWhereSettingsAndChangesSay judges each address by itself.
func TestNodeIsLookedForWhereSettingsAndChangesSay(t *testing.T) {
	cfg := p2p.DefaultConfig()
	cfg.Key, cfg.Security, cfg.Transport = clientKey(), p2p.SecurityTLS, p2p.TransportTCP
	cfg.Peers = []p2p.Peer{
		{ID: 1, Key: testKey(1).Public(), Addrs: []string{"one.example:1"}},
		{ID: 2, Key: testKey(2).Public()},
	}
	l := hostLink{cfg: cfg, own: map[bftraft.NodeID]string{9: "proxy:9", 10: "no address"}}
	for name, c := range map[string]struct {
		id       bftraft.NodeID
		key      byte
		enrolled string
		want     []string
	}{
		"as the genesis says": {7, 1, "", []string{"one.example:1"}},
		"moved":               {7, 1, "two.example:1", []string{"two.example:1"}},
		"from the change":     {7, 2, "two.example:1", []string{"two.example:1"}},
		"new":                 {7, 5, "five.example:1", []string{"five.example:1"}},
		"nowhere":             {7, 5, "", nil},
		"mistyped":            {7, 5, "five.example", nil},
		"mistyped and known":  {7, 1, "one.example:x:y", []string{"one.example:1"}},
		"set":                 {9, 1, "", []string{"proxy:9"}},
		"set, and moved":      {9, 1, "two.example:1", []string{"proxy:9", "two.example:1"}},
		"set to where it is":  {9, 5, "proxy:9", []string{"proxy:9"}},
		"set wrongly":         {10, 1, "", []string{"one.example:1"}},
	} {
		// Ids come round and keys do not, so that only the key tells whom the genesis means.
		p := p2p.Peer{ID: c.id, Key: testKey(c.key).Public()}
		require.Equal(t, c.want, l.addresses(p, c.enrolled), name)
	}
	require.True(t, l.takes(p2p.Peer{ID: 7, Key: testKey(7).Public()}))
	require.False(t, l.takes(p2p.Peer{ID: 7, Key: clientKey().Public()}), "it is our own key")
}

// TestHostLinkGoesByTheNodesItIsToldOf has one among them that cannot be.
func TestHostLinkGoesByTheNodesItIsToldOf(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Key = clientKey()
	cfg.Peers = []p2p.Peer{{ID: 1, Key: testKey(1).Public()}}
	made, err := DialHost(cfg)(&Client{})
	require.NoError(t, err)
	l := made.(hostLink)
	known := func() (ids []bftraft.NodeID) {
		for _, p := range l.host.Stats().Peers {
			ids = append(ids, p.ID)
		}
		return ids
	}
	require.Equal(t, []bftraft.NodeID{1}, known())
	var many []bftraft.Node
	for id := byte(10); id < 40; id++ {
		many = append(many, bftraft.Node{ID: bftraft.NodeID(id), Key: testKey(id).Public()})
	}
	many = append(many, bftraft.Node{ID: 41, Key: clientKey().Public()})
	l.SetNodes(many)
	require.Len(t, known(), 30)
	l.SetNodes([]bftraft.Node{{ID: 5, Key: testKey(5).Public()}})
	require.Equal(t, []bftraft.NodeID{5}, known())
	require.NoError(t, l.Close())
	l.SetNodes(nil)
}
