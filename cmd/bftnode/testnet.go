package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// layout says what a test cluster is to look like.
type layout struct {
	dir            string
	name           string
	nodes, clients int
	admins         int
	host           string
	ports          []int // for each node two: its own, and that of its status
	encrypt        bool  // what the nodes store
	upkeep         bftraft.Upkeep
	made           *bftraft.Genesis // what write made
}

// The ports of a test cluster: node k listens on base+k and serves its status on base+100+k.
const (
	defaultBasePort = 7100
	statusOffset    = 100
)

// maxTestClients bounds how many keys testnet makes.
const maxTestClients = 1000

func testnetCommand() *ucli.Command {
	return &ucli.Command{
		Name: "testnet", Usage: "write a whole cluster for tests, ready to start",
		Description: `Example:  bftnode testnet --nodes 4 --clients 2 --dir /tmp/net
The keys of all members lie in one folder, so this is for tests. For a real cluster see
keygen, genesis and init.`,
		Flags: append(upkeepFlags(),
			&ucli.IntFlag{Name: "nodes", Value: 4, Usage: "how many, 1 to 64, `N`"},
			&ucli.IntFlag{Name: "clients", Value: 1, Usage: "how many, `C`"},
			&ucli.IntFlag{Name: "admins", Value: 1,
				Usage: "how many, who all must sign for changes, `A`"},
			&ucli.StringFlag{Name: "dir", Required: true, Usage: "a new folder, `DIR`"},
			&ucli.StringFlag{Name: "name", Value: "testnet", Usage: "of the cluster, `NAME`"},
			&ucli.StringFlag{Name: "host", Value: "127.0.0.1",
				Usage: "the address of all nodes, `HOST`"},
			&ucli.IntFlag{Name: "base-port", Value: defaultBasePort,
				Usage: "node k listens on base+k, its status on base+100+k; " +
					"0 takes ports that are free, `P`"},
			encryptFlag()),
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 0, 0); err != nil {
				return err
			}
			l := layout{
				dir: c.String("dir"), name: c.String("name"), nodes: c.Int("nodes"),
				clients: c.Int("clients"), host: c.String("host"), encrypt: c.Bool("encrypt"),
				upkeep: upkeepOf(c), admins: c.Int("admins"),
			}
			if err := l.choosePorts(c.Int("base-port")); err != nil {
				return err
			}
			if err := l.write(); err != nil {
				return err
			}
			list := l.commands()
			list.Warning = warn(c, l.made)
			return cli.Print(c, list, l.print)
		},
	}
}

// choosePorts gives every node its two ports.
func (l *layout) choosePorts(base int) error {
	if l.nodes < 1 || l.nodes > quorumcert.MaxVoters {
		return cli.Errorf(cli.Usage, "a cluster has 1 to 64 nodes")
	}
	if base == 0 {
		var err error
		if l.ports, err = freePorts(l.host, 2*l.nodes); err != nil {
			return fmt.Errorf("find free ports: %w", err)
		}
		return nil
	}
	if base < 0 || base+statusOffset+l.nodes > 65535 {
		return cli.Errorf(cli.Usage, "base-port %d leaves no room for %d nodes", base, l.nodes)
	}
	for k := 1; k <= l.nodes; k++ {
		l.ports = append(l.ports, base+k, base+statusOffset+k)
	}
	return nil
}

// write makes the folder. What it made so far stays when it fails half-way: it says so.
func (l *layout) write() error {
	if l.clients < 0 || l.clients > maxTestClients || l.admins < 0 || l.admins > maxTestClients {
		return cli.Errorf(cli.Usage, "a test cluster has up to %d clients or administrators",
			maxTestClients)
	}
	if entries, err := os.ReadDir(l.dir); err == nil && len(entries) > 0 {
		return cli.Errorf(cli.Usage, "%s is not empty", l.dir)
	}
	f := &clusterfile.File{Genesis: bftraft.Genesis{
		Name: l.name, Testnet: true, Upkeep: l.upkeep,
	}}
	l.made = &f.Genesis
	rand.Read(f.Genesis.Nonce[:])
	for k := 1; k <= l.nodes; k++ {
		if err := l.writeNode(f, crypto.NodeID(k)); err != nil {
			return fmt.Errorf("write test cluster: %w", err)
		}
	}
	for k := 1; k <= l.clients; k++ {
		if err := l.writeClient(f, "client"+strconv.Itoa(k)); err != nil {
			return fmt.Errorf("write test cluster: %w", err)
		}
	}
	for k := 1; k <= l.admins; k++ {
		if err := l.writeAdmin(f, "admin"+strconv.Itoa(k)); err != nil {
			return fmt.Errorf("write test cluster: %w", err)
		}
	}
	if err := clusterfile.SaveGenesis(l.genesis(), f); err != nil {
		return fmt.Errorf("write test cluster: %w", err)
	}
	for _, v := range f.Genesis.Voters {
		id := store.Identity{Cluster: f.Genesis.Hash(), Node: v.ID, Key: v.Key}
		if err := l.writeStore(id); err != nil {
			return fmt.Errorf("write test cluster: %w", err)
		}
	}
	return nil
}

func (l *layout) writeStore(id store.Identity) error {
	var master crypto.SecretKey
	if l.encrypt {
		var err error
		master, err = addMaster(filepath.Join(l.node(id.Node), clusterfile.KeyName), nil,
			crypto.GenerateSecretKey())
		if err != nil {
			return err
		}
	}
	return store.CreateEncrypted(filepath.Join(l.node(id.Node), clusterfile.DataName), id, master)
}

func (l *layout) genesis() string { return filepath.Join(l.dir, clusterfile.GenesisName) }

func (l *layout) node(id crypto.NodeID) string { return filepath.Join(l.dir, nodeName(id)) }

func (l *layout) at(port int) string { return net.JoinHostPort(l.host, strconv.Itoa(port)) }

func (l *layout) writeNode(f *clusterfile.File, id crypto.NodeID) error {
	key, err := writeKey(l.node(id))
	if err != nil {
		return err
	}
	port, status := l.ports[2*(int(id)-1)], l.ports[2*(int(id)-1)+1]
	f.Genesis.Voters = append(f.Genesis.Voters, quorumcert.Voter{ID: id, Key: key.Public()})
	f.Addresses = append(f.Addresses, clusterfile.NodeAddress{ID: id, Address: l.at(port)})
	return clusterfile.SaveNode(filepath.Join(l.node(id), clusterfile.NodeName),
		&clusterfile.Node{
			ID: id, Genesis: filepath.Join("..", clusterfile.GenesisName),
			Key: clusterfile.KeyName, Data: clusterfile.DataName, Listen: l.at(port),
			HTTP: net.JoinHostPort("127.0.0.1", strconv.Itoa(status)),
		})
}

func (l *layout) writeAdmin(f *clusterfile.File, name string) error {
	key, err := writeKey(filepath.Join(l.dir, name))
	if err != nil {
		return err
	}
	g := &f.Genesis
	g.Admins = append(g.Admins, bftraft.Enrolled{Name: name, Key: key.Public()})
	g.AdminQuorum = len(g.Admins)
	return nil
}

func (l *layout) writeClient(f *clusterfile.File, name string) error {
	dir := filepath.Join(l.dir, name)
	key, err := writeKey(dir)
	if err != nil {
		return err
	}
	f.Genesis.Clients = append(f.Genesis.Clients,
		bftraft.Enrolled{Name: name, Key: key.Public()})
	return clusterfile.SaveClient(filepath.Join(dir, clusterfile.ClientName),
		&clusterfile.Client{
			Genesis: filepath.Join("..", clusterfile.GenesisName), Key: clusterfile.KeyName,
			Name: name, Security: "tls", Transport: "tcp",
		})
}

// writeKey makes a folder with a new key in it.
func writeKey(dir string) (crypto.PrivateKey, error) {
	key := crypto.GenerateKey()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return key, err
	}
	return key, crypto.WriteKeyFile(filepath.Join(dir, clusterfile.KeyName), key, nil)
}

// commandList is what to run next.
type commandList struct {
	Genesis string   `json:"genesis"`
	Start   []string `json:"start"`
	Try     []string `json:"try"`
	Warning string   `json:"warning,omitempty"`
}

func (l *layout) commands() commandList {
	out := commandList{Genesis: l.genesis()}
	for k := 1; k <= l.nodes; k++ {
		out.Start = append(out.Start, "bftnode start --dir "+l.node(crypto.NodeID(k)))
	}
	if l.clients > 0 {
		out.Try = clientCommands(l.dir)
	}
	out.Try = append(out.Try, "bftnode status --dir "+l.node(1))
	return out
}

func clientCommands(dir string) []string {
	config := filepath.Join(dir, "client1", clusterfile.ClientName)
	return []string{
		"bftclient --config " + config + " put greeting hello",
		"bftclient --config " + config + " get greeting",
		"bftclient --config " + config + " status",
	}
}

func (l *layout) print(w io.Writer) {
	list := l.commands()
	fmt.Fprintf(w, "Wrote %d nodes and %d clients to %s.\n\nStart each node in a terminal of "+
		"its own:\n", l.nodes, l.clients, l.dir)
	for _, s := range list.Start {
		fmt.Fprintln(w, "  "+s)
	}
	fmt.Fprintln(w, "\nThen try:")
	for _, s := range list.Try {
		fmt.Fprintln(w, "  "+s)
	}
}

// freePorts returns ports that were free a moment ago.
func freePorts(host string, n int) ([]int, error) {
	var ports []int
	var held []net.Listener
	var err error
	for len(ports) < n && err == nil {
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err == nil {
			held = append(held, l)
			ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		}
	}
	for _, l := range held {
		err = errors.Join(err, l.Close())
	}
	return ports, err
}
