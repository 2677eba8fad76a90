package clusterfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/p2p"
	"tangaroa/quorumcert"
)

// ErrInvalid is returned when a file can be read but does not say what it must; the text names the
// file and the field.
var ErrInvalid = errors.New("file is not valid")

// maxGenesisBytes bounds a genesis file: 64 nodes and the most clients a genesis may have.
const maxGenesisBytes = 8 << 20

// NodeAddress says where a node is thought to be, as "host:port". It is a hint: whoever answers
// there must prove that it has the node's key.
type NodeAddress struct {
	ID      crypto.NodeID
	Address string
}

// File is a genesis with the hints that travel with it.
type File struct {
	Genesis   bftraft.Genesis
	Addresses []NodeAddress // at most one per voter, in the order of the voters
}

// genesisText, nodeText and nameText are the JSON form.
type genesisText struct {
	Name        string     `json:"name"`
	Nonce       string     `json:"nonce"`
	Testnet     bool       `json:"testnet"`
	Nodes       []nodeText `json:"nodes"`
	Clients     []nameText `json:"clients"`
	Admins      []nameText `json:"admins"`
	AdminQuorum int        `json:"admin_quorum"`
	Upkeep      upkeepText `json:"upkeep"`
	// Origin is the state of another cluster that this one begins with.
	Origin *originText `json:"origin,omitempty"`
}

type originText struct {
	Cluster crypto.Digest    `json:"cluster"`
	Index   quorumcert.Index `json:"index"`
	Hash    crypto.Digest    `json:"hash"`
	State   crypto.Digest    `json:"state_root"`
}

type upkeepText struct {
	CheckpointEntries uint64 `json:"checkpoint_entries"`
	CheckpointBytes   uint64 `json:"checkpoint_bytes"`
	History           uint64 `json:"history_revisions"`
}

type nodeText struct {
	ID      crypto.NodeID `json:"id"`
	Key     string        `json:"key"`
	Address string        `json:"address,omitempty"`
}

type nameText struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// LoadGenesis reads a genesis file and judges it: the fields, the keys, the addresses. What it
// returns describes a cluster.
func LoadGenesis(path string) (*File, error) {
	text, err := readBounded(path, maxGenesisBytes)
	if err != nil {
		return nil, fmt.Errorf("read genesis: %w", err)
	}
	f, err := decodeGenesis(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, path, err)
	}
	return f, nil
}

// SaveGenesis writes a genesis file after judging it as LoadGenesis would. It refuses to write over
// an existing file.
func SaveGenesis(path string, f *File) error {
	text, err := encodeGenesis(f)
	if err != nil {
		return err
	}
	if _, err := decodeGenesis(text); err != nil {
		return fmt.Errorf("%w: genesis: %w", ErrInvalid, err)
	}
	if err := writeNew(path, text); err != nil {
		return fmt.Errorf("write genesis: %w", err)
	}
	return nil
}

func decodeGenesis(text []byte) (*File, error) {
	var raw genesisText
	if err := decodeJSON(text, &raw); err != nil {
		return nil, err
	}
	nonce, err := crypto.ParseDigest(raw.Nonce)
	if err != nil {
		return nil, fmt.Errorf("nonce: %w", err)
	}
	f := &File{Genesis: bftraft.Genesis{
		Name: raw.Name, Nonce: nonce, Testnet: raw.Testnet, AdminQuorum: raw.AdminQuorum,
		Upkeep: bftraft.Upkeep{
			CheckpointEntries: raw.Upkeep.CheckpointEntries,
			CheckpointBytes:   raw.Upkeep.CheckpointBytes, History: raw.Upkeep.History,
		},
	}}
	if o := raw.Origin; o != nil {
		f.Genesis.Origin = bftraft.Origin{
			Cluster: o.Cluster, At: bftraft.Position{Index: o.Index, Hash: o.Hash}, State: o.State,
		}
	}
	for i, n := range raw.Nodes {
		field := fmt.Sprintf("nodes[%d]", i)
		if err := f.addNode(field, n); err != nil {
			return nil, err
		}
	}
	if f.Genesis.Clients, err = enrolled("clients", raw.Clients); err != nil {
		return nil, err
	}
	if f.Genesis.Admins, err = enrolled("admins", raw.Admins); err != nil {
		return nil, err
	}
	if _, err := f.Genesis.Configuration(crypto.ZIP215()); err != nil {
		return nil, err
	}
	return f, nil
}

// decodeJSON reads one value and nothing after it.
func decodeJSON(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("there is more text after the end")
	}
	return nil
}

func (f *File) addNode(field string, n nodeText) error {
	if !n.ID.Valid() {
		return fmt.Errorf("%s.id: %w", field, crypto.ErrBadID)
	}
	key, err := crypto.ParsePublicKey(n.Key)
	if err != nil {
		return fmt.Errorf("%s.key: %w", field, err)
	}
	f.Genesis.Voters = append(f.Genesis.Voters, quorumcert.Voter{ID: n.ID, Key: key})
	if n.Address == "" {
		return nil
	}
	if err := checkAddress(n.Address); err != nil {
		return fmt.Errorf("%s.address: %w", field, err)
	}
	f.Addresses = append(f.Addresses, NodeAddress{ID: n.ID, Address: n.Address})
	return nil
}

func enrolled(field string, list []nameText) ([]bftraft.Enrolled, error) {
	var out []bftraft.Enrolled
	for i, e := range list {
		key, err := crypto.ParsePublicKey(e.Key)
		if err != nil {
			return nil, fmt.Errorf("%s[%d].key: %w", field, i, err)
		}
		out = append(out, bftraft.Enrolled{Name: e.Name, Key: key})
	}
	return out, nil
}

// checkAddress accepts "host:port" and multiaddrs, which p2p judges when it listens or dials.
func checkAddress(a string) error {
	if strings.HasPrefix(a, "/") {
		return nil
	}
	_, _, err := net.SplitHostPort(a)
	return err
}

func encodeGenesis(f *File) ([]byte, error) {
	g := &f.Genesis
	raw := genesisText{
		Name: g.Name, Nonce: g.Nonce.String(), Testnet: g.Testnet, AdminQuorum: g.AdminQuorum,
		Upkeep: upkeepText{
			g.Upkeep.CheckpointEntries, g.Upkeep.CheckpointBytes, g.Upkeep.History,
		},
		Nodes: []nodeText{}, Clients: texts(g.Clients), Admins: texts(g.Admins),
	}
	if o := &g.Origin; *o != (bftraft.Origin{}) {
		raw.Origin = &originText{o.Cluster, o.At.Index, o.At.Hash, o.State}
	}
	for _, v := range g.Voters {
		raw.Nodes = append(raw.Nodes,
			nodeText{ID: v.ID, Key: v.Key.String(), Address: f.Address(v.ID)})
	}
	text, err := json.MarshalIndent(raw, "", "  ")
	return append(text, '\n'), err
}

func texts(list []bftraft.Enrolled) []nameText {
	out := []nameText{}
	for _, e := range list {
		out = append(out, nameText{Name: e.Name, Key: e.Key.String()})
	}
	return out
}

// Address returns the hint for a node, or "" if there is none.
func (f *File) Address(id crypto.NodeID) string {
	for _, a := range f.Addresses {
		if a.ID == id {
			return a.Address
		}
	}
	return ""
}

// Peers returns all voters but self (zero leaves nobody out) in the form p2p wants, in ascending
// order, with the hints. A node without any dials us.
func (f *File) Peers(self crypto.NodeID) []p2p.Peer {
	var peers []p2p.Peer
	for _, v := range f.Genesis.Voters {
		if v.ID == self {
			continue
		}
		p := p2p.Peer{ID: v.ID, Key: v.Key}
		if address := f.Address(v.ID); address != "" {
			p.Addrs = []string{address}
		}
		peers = append(peers, p)
	}
	return peers
}
