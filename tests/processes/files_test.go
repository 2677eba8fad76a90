//go:build linux

package processes

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/p2p"
	"tangaroa/quorumcert"
)

// The files of a test cluster, read as another program would read them: by their documented form.

const (
	genesisName = "genesis.json"
	nodeName    = "node.yaml"
	clientName  = "client.yaml"
	keyName     = "key"
	dataName    = "data"
)

// genesisFile is genesis.json.
type genesisFile struct {
	Name    string `json:"name"`
	Nonce   string `json:"nonce"`
	Testnet bool   `json:"testnet"`
	Nodes   []struct {
		ID      crypto.NodeID `json:"id"`
		Key     string        `json:"key"`
		Address string        `json:"address"`
	} `json:"nodes"`
	Clients []struct {
		Name string `json:"name"`
		Key  string `json:"key"`
	} `json:"clients"`
	Admins []struct {
		Name string `json:"name"`
		Key  string `json:"key"`
	} `json:"admins"`
	AdminQuorum int `json:"admin_quorum"`
	Upkeep      struct {
		CheckpointEntries uint64 `json:"checkpoint_entries"`
		CheckpointBytes   uint64 `json:"checkpoint_bytes"`
		History           uint64 `json:"history_revisions"`
	} `json:"upkeep"`
}

func readGenesis(t *testing.T, path string) *genesisFile {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	f := &genesisFile{}
	require.NoError(t, json.Unmarshal(text, f))
	return f
}

func (f *genesisFile) write(t *testing.T, path string) {
	t.Helper()
	text, err := json.Marshal(f)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o644))
}

// genesis returns what the file describes.
func (f *genesisFile) genesis(t *testing.T) *bftraft.Genesis {
	t.Helper()
	nonce, err := crypto.ParseDigest(f.Nonce)
	require.NoError(t, err)
	g := &bftraft.Genesis{
		Name: f.Name, Nonce: nonce, Testnet: f.Testnet, Upkeep: bftraft.Upkeep(f.Upkeep),
		AdminQuorum: f.AdminQuorum,
	}
	for _, n := range f.Nodes {
		g.Voters = append(g.Voters, quorumcert.Voter{ID: n.ID, Key: publicKey(t, n.Key)})
	}
	for _, e := range f.Admins {
		g.Admins = append(g.Admins, bftraft.Enrolled{Name: e.Name, Key: publicKey(t, e.Key)})
	}
	for _, e := range f.Clients {
		g.Clients = append(g.Clients, bftraft.Enrolled{Name: e.Name, Key: publicKey(t, e.Key)})
	}
	return g
}

func publicKey(t *testing.T, text string) crypto.PublicKey {
	t.Helper()
	key, err := crypto.ParsePublicKey(text)
	require.NoError(t, err)
	return key
}

// peers returns all nodes but one, zero for all.
func (f *genesisFile) peers(t *testing.T, but crypto.NodeID) []p2p.Peer {
	t.Helper()
	var peers []p2p.Peer
	for _, n := range f.Nodes {
		if n.ID != but {
			peers = append(peers,
				p2p.Peer{ID: n.ID, Key: publicKey(t, n.Key), Addrs: []string{n.Address}})
		}
	}
	return peers
}

// httpOf returns where a node serves its status.
func httpOf(t *testing.T, folder string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, nodeName))
	require.NoError(t, err)
	var s struct {
		HTTP string `yaml:"http"`
	}
	require.NoError(t, yaml.Unmarshal(text, &s))
	require.NotEmpty(t, s.HTTP)
	return s.HTTP
}

func readKey(t *testing.T, folder string) crypto.PrivateKey {
	t.Helper()
	key, err := crypto.ReadKeyFile(filepath.Join(folder, keyName), nil)
	require.NoError(t, err)
	return key
}
