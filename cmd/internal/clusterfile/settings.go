package clusterfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"

	"tangaroa/crypto"
)

// The names of files and folders in a cluster that bftnode wrote.
const (
	GenesisName = "genesis.json" // beside the folders of nodes and clients
	NodeName    = "node.yaml"    // settings of a node
	ClientName  = "client.yaml"  // settings of a client
	KeyName     = "key"          // private key of either
	DataName    = "data"         // store and guard of a node
)

// maxSettingsBytes bounds a YAML file, which one person has written by hand.
const maxSettingsBytes = 1 << 20

// Node is the settings of one node. A field left out of the file is zero, and the command decides
// what it stands for; LoadNode does not.
type Node struct {
	ID crypto.NodeID `yaml:"id"` // which node we are

	Genesis string `yaml:"genesis"` // path
	Key     string `yaml:"key"`     // path of the private key
	Data    string `yaml:"data"`    // folder of the store and the guard
	Listen  string `yaml:"listen"`  // "host:port" for nodes and clients

	// Changes is the path of a file of what became of the genesis: see LoadChanges.
	Changes string `yaml:"changes,omitempty"`

	// PassphraseFile holds the passphrase of the key, if it is encrypted.
	PassphraseFile string `yaml:"passphrase_file,omitempty"`
	// UnlockKeyFile holds the unlock key of a key that was locked; it counts before PassphraseFile.
	UnlockKeyFile string `yaml:"unlock_key_file,omitempty"`
	// UnlockSocket is the path of a socket at which a locked node waits for its unlock key.
	UnlockSocket string `yaml:"unlock_socket,omitempty"`

	HTTP      string `yaml:"http,omitempty"`       // status and metrics; "off" for none
	Pprof     bool   `yaml:"pprof,omitempty"`      // serve profiles beside the metrics
	Security  string `yaml:"security,omitempty"`   // tls or noise
	Transport string `yaml:"transport,omitempty"`  // tcp or quic
	LogLevel  string `yaml:"log_level,omitempty"`  // debug, info, warn or error
	LogFormat string `yaml:"log_format,omitempty"` // text or json
	Adversary string `yaml:"adversary,omitempty"`  // how to misbehave, in a testnet

	// Nodes are addresses to use instead of the hints in the genesis, and of those in changes.
	Nodes map[crypto.NodeID]string `yaml:"nodes,omitempty"`
}

// Client is the settings of one client.
type Client struct {
	Genesis   string `yaml:"genesis"`             // path
	Changes   string `yaml:"changes,omitempty"`   // path of a file of changes: see LoadChanges
	Key       string `yaml:"key"`                 // path of the private key
	Name      string `yaml:"name,omitempty"`      // as in the genesis; for people
	Security  string `yaml:"security,omitempty"`  // tls or noise; must be the nodes'
	Transport string `yaml:"transport,omitempty"` // tcp or quic; must be the nodes'

	// Nodes are addresses to use before those in changes and the hints in the genesis.
	Nodes map[crypto.NodeID]string `yaml:"nodes,omitempty"`
}

// LoadNode reads node.yaml and makes its paths independent of the working folder.
func LoadNode(path string) (*Node, error) {
	var n Node
	if err := loadYAML(path, &n); err != nil {
		return nil, err
	}
	resolve(path, &n.Genesis, &n.Key, &n.Data, &n.PassphraseFile, &n.UnlockKeyFile,
		&n.UnlockSocket, &n.Changes)
	if err := checkOverrides(path, n.Nodes); err != nil {
		return nil, err
	}
	return &n, nil
}

// LoadClient reads client.yaml and makes its paths independent of the working folder. Genesis and
// key default to ../genesis.json and key beside the file, which is where bftnode puts them; the
// security and transport to tls and tcp.
func LoadClient(path string) (*Client, error) {
	c := Client{
		Genesis: filepath.Join("..", GenesisName), Key: KeyName, Security: "tls", Transport: "tcp",
	}
	if err := loadYAML(path, &c); err != nil {
		return nil, err
	}
	resolve(path, &c.Genesis, &c.Key, &c.Changes)
	if err := checkOverrides(path, c.Nodes); err != nil {
		return nil, err
	}
	return &c, nil
}

// SaveNode writes node.yaml as it is. It refuses to write over an existing file.
func SaveNode(path string, n *Node) error { return saveYAML(path, n) }

// SaveClient writes client.yaml as it is. It refuses to write over an existing file.
func SaveClient(path string, c *Client) error { return saveYAML(path, c) }

func checkOverrides(path string, nodes map[crypto.NodeID]string) error {
	for id, address := range nodes {
		if !id.Valid() {
			return fmt.Errorf("%w: %s: nodes: %d: %w", ErrInvalid, path, id, crypto.ErrBadID)
		}
		if err := checkAddress(address); err != nil {
			return fmt.Errorf("%w: %s: nodes: %d: %w", ErrInvalid, path, id, err)
		}
	}
	return nil
}

// resolve makes paths that are relative to the file's folder usable from anywhere.
func resolve(file string, paths ...*string) {
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(file), *p)
		}
	}
}

func loadYAML(path string, into any) error {
	text, err := readBounded(path, maxSettingsBytes)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, path, err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %s: there is more than one document in it", ErrInvalid, path)
	}
	return nil
}

func saveYAML(path string, from any) error {
	text, err := yaml.Marshal(from)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	if err := writeNew(path, text); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%w: %s is longer than %d bytes", ErrInvalid, path, limit)
	}
	return text, nil
}

// writeNew creates a file that others may read; nothing secret goes through here.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
