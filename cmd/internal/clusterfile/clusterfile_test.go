package clusterfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

func key(n byte) crypto.PublicKey { return crypto.KeyFromSeed([32]byte{n}).Public() }

func example() *File {
	f := &File{Genesis: bftraft.Genesis{
		Name: "example", Nonce: crypto.Digest{1, 2, 3}, Testnet: true,
		Clients:     []bftraft.Enrolled{{Name: "client1", Key: key(100)}},
		Admins:      []bftraft.Enrolled{{Name: "root", Key: key(101)}},
		AdminQuorum: 1,
	}}
	for id := crypto.NodeID(1); id <= 4; id++ {
		f.Genesis.Voters = append(f.Genesis.Voters,
			quorumcert.Voter{ID: id, Key: key(byte(id))})
	}
	f.Addresses = []NodeAddress{{1, "127.0.0.1:7001"}, {3, "[::1]:7003"}}
	return f
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestGenesisSurvivesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), GenesisName)
	require.NoError(t, SaveGenesis(path, example()))
	got, err := LoadGenesis(path)
	require.NoError(t, err)
	require.Equal(t, example(), got)
	require.Equal(t, "127.0.0.1:7001", got.Address(1))
	require.Empty(t, got.Address(2))
}

func TestAddressesAreNotPartOfTheCluster(t *testing.T) {
	moved := example()
	moved.Addresses = nil
	want, other := example().Genesis, moved.Genesis
	require.Equal(t, want.Hash(), other.Hash())
}

func TestSaveNeverWritesOver(t *testing.T) {
	path := write(t, "file", "precious")
	require.ErrorIs(t, SaveGenesis(path, example()), os.ErrExist)
	require.ErrorIs(t, SaveNode(path, &Node{}), os.ErrExist)
	require.ErrorIs(t, SaveClient(path, &Client{}), os.ErrExist)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "precious", string(text))
}

func TestGenesisIsReadStrictlyAndFieldsAreNamed(t *testing.T) {
	good, err := encodeGenesis(example())
	require.NoError(t, err)
	first := key(1).String()
	cases := []struct{ name, old, new, about string }{
		{"unknown field", `"testnet"`, `"testnett": 1, "testnet"`, "testnett"},
		{"wrong type", `"testnet": true`, `"testnet": "yes"`, "testnet"},
		{"bad nonce", `"nonce": "01`, `"nonce": "0`, "nonce"},
		{"bad key", first, first[1:], "nodes[0].key"},
		{"upper case key", first, strings.ToUpper(first), "nodes[0].key"},
		{"key twice", key(2).String(), first, "appears twice"},
		{"no id", `"id": 4,`, ``, "nodes[3].id"},
		{"id too large", `"id": 4,`, `"id": 300,`, "nodes.id"},
		{"bad address", "127.0.0.1:7001", "127.0.0.1", "nodes[0].address"},
		{"bad client", key(100).String(), "aa", "clients[0].key"},
		{"client without name", `"client1"`, `""`, "name of client 1"},
		{"bad admin", key(101).String(), "aa", "admins[0].key"},
		{"quorum of nobody", `"admin_quorum": 1`, `"admin_quorum": 2`, "admin quorum"},
		{"weak key", first, strings.Repeat("0", 64), "small order"},
	}
	for _, c := range cases {
		text := strings.Replace(string(good), c.old, c.new, 1)
		require.NotEqual(t, string(good), text, c.name)
		_, err := LoadGenesis(write(t, GenesisName, text))
		require.ErrorIs(t, err, ErrInvalid, c.name)
		require.Contains(t, err.Error(), c.about, c.name)
	}
	_, err = LoadGenesis(write(t, GenesisName, string(good)+"{}"))
	require.ErrorContains(t, err, "more text")
	_, err = LoadGenesis(write(t, GenesisName, strings.Repeat(" ", maxGenesisBytes+1)))
	require.ErrorContains(t, err, "longer than")
	_, err = LoadGenesis(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestPeersAreAllOthersWithTheirHints(t *testing.T) {
	peers := example().Peers(2)
	require.Len(t, peers, 3)
	require.Equal(t, []string{"127.0.0.1:7001"}, peers[0].Addrs)
	require.Equal(t, key(4), peers[2].Key)
	require.Len(t, example().Peers(0), 4)
	require.Empty(t, example().Peers(0)[1].Addrs)
}

func TestSettingsPathsAreRelativeToTheirFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, NodeName)
	absolute := filepath.Join(dir, "elsewhere")
	require.NoError(t, SaveNode(path, &Node{
		ID: 2, Genesis: "../genesis.json", Key: "key", Data: absolute, Listen: "127.0.0.1:0",
		Nodes: map[crypto.NodeID]string{1: "127.0.0.1:7001"},
	}))
	n, err := LoadNode(path)
	require.NoError(t, err)
	require.Equal(t, crypto.NodeID(2), n.ID)
	require.Equal(t, filepath.Join(filepath.Dir(dir), "genesis.json"), n.Genesis)
	require.Equal(t, filepath.Join(dir, "key"), n.Key)
	require.Equal(t, absolute, n.Data)
	require.Equal(t, "127.0.0.1:7001", n.Nodes[1])
}

func TestClientSettingsHaveDefaults(t *testing.T) {
	path := write(t, ClientName, "name: bob\n")
	c, err := LoadClient(path)
	require.NoError(t, err)
	dir := filepath.Dir(path)
	require.Equal(t, &Client{
		Genesis: filepath.Join(filepath.Dir(dir), GenesisName), Key: filepath.Join(dir, KeyName),
		Name: "bob", Security: "tls", Transport: "tcp",
	}, c)
	other := filepath.Join(t.TempDir(), ClientName)
	require.NoError(t, SaveClient(other, c))
	again, err := LoadClient(other)
	require.NoError(t, err)
	require.Equal(t, c, again)
}

func TestSettingsAreReadStrictlyAndFieldsAreNamed(t *testing.T) {
	cases := []struct{ text, about string }{
		{"listn: x\n", "listn"},
		{"id: one\n", "one"},
		{"nodes: {0: \"a:1\"}\n", "nodes: 0"},
		{"nodes: {1: nowhere}\n", "nodes: 1"},
		{"id: 1\n---\nid: 2\n", "more than one document"},
	}
	for _, c := range cases {
		_, err := LoadNode(write(t, NodeName, c.text))
		require.ErrorIs(t, err, ErrInvalid, c.text)
		require.Contains(t, err.Error(), c.about, c.text)
	}
	_, err := LoadClient(write(t, ClientName, "keys: x\n"))
	require.ErrorContains(t, err, "keys")
}
