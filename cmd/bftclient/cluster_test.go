package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/bftraft/node"
	"tangaroa/bftraft/replica"
	"tangaroa/bftraft/store"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/crypto"
	"tangaroa/p2p"
	"tangaroa/quorumcert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testKey(n byte) crypto.PrivateKey { return crypto.KeyFromSeed([32]byte{n, 'c'}) }

// adminSeed is that of the first of three administrators, of whom two decide.
const (
	clientSeed = 200
	adminSeed  = 210
)

// cluster is four real nodes in this process, over real sockets, and a client's folder.
type cluster struct {
	t      *testing.T
	dir    string
	config string // client.yaml
	nodes  []*member
}

type member struct {
	*node.Node
	stop context.CancelFunc
	done chan error
}

// liar wraps the transport of a node, to lie to clients.
type liar func(id bftraft.NodeID, frame []byte) []byte

type bentTransport struct {
	replica.Transport
	id   bftraft.NodeID
	bend liar
}

func (b bentTransport) Reply(to replica.ClientID, frame []byte) {
	b.Transport.Reply(to, b.bend(b.id, frame))
}

func testGenesis() bftraft.Genesis {
	g := bftraft.Genesis{
		Name: "demo", Nonce: crypto.Digest{1}, Testnet: true,
		Clients: []bftraft.Enrolled{{Name: "client1", Key: testKey(clientSeed).Public()}},
	}
	for id := byte(1); id <= 4; id++ {
		g.Voters = append(g.Voters,
			quorumcert.Voter{ID: bftraft.NodeID(id), Key: testKey(id).Public()})
	}
	for n := range 3 {
		g.Admins = append(g.Admins, bftraft.Enrolled{
			Name: fmt.Sprintf("admin%d", n+1), Key: testKey(adminSeed + byte(n)).Public(),
		})
	}
	g.AdminQuorum = 2
	return g
}

func startCluster(t *testing.T, bend liar) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir()}
	g := testGenesis()
	file := clusterfile.File{Genesis: g}
	var peers []p2p.Peer
	for _, v := range g.Voters {
		m := c.start(&g, v, bend)
		c.nodes = append(c.nodes, m)
		address := m.Addrs()[0]
		peers = append(peers, p2p.Peer{ID: v.ID, Key: v.Key, Addrs: []string{address}})
		file.Addresses = append(file.Addresses,
			clusterfile.NodeAddress{ID: v.ID, Address: address})
	}
	for i, m := range c.nodes {
		others := append(append([]p2p.Peer{}, peers[:i]...), peers[i+1:]...)
		require.NoError(t, m.SetPeers(others))
	}
	require.NoError(t, clusterfile.SaveGenesis(filepath.Join(c.dir, "genesis.json"), &file))
	c.config = c.addClient("client1", testKey(clientSeed))
	return c
}

func (c *cluster) start(g *bftraft.Genesis, v quorumcert.Voter, bend liar) *member {
	cfg := node.DefaultConfig()
	cfg.Genesis, cfg.ID, cfg.Key = g, v.ID, testKey(byte(v.ID))
	cfg.Storage = store.NewMemory(store.Identity{Cluster: g.Hash(), Node: v.ID, Key: v.Key})
	cfg.Machine, cfg.CheckOp = kv.New(), kv.CheckOp
	cfg.Network.Listen = []string{"127.0.0.1:0"}
	cfg.Network.MaxPeers = len(g.Voters)
	cfg.Grace = 0
	if bend != nil {
		cfg.Corrupt = func(r *replica.Config) error {
			r.Transport = bentTransport{r.Transport, v.ID, bend}
			return nil
		}
	}
	n, err := node.New(cfg)
	require.NoError(c.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{Node: n, stop: cancel, done: make(chan error, 1)}
	go func() { m.done <- n.Run(ctx) }()
	c.t.Cleanup(m.kill)
	select {
	case <-n.Started():
	case <-time.After(30 * time.Second):
		require.Fail(c.t, "node does not start")
	}
	return m
}

// kill stops a node and waits for its end. Doing it twice does nothing.
func (m *member) kill() {
	m.stop()
	if m.done != nil {
		<-m.done
		m.done = nil
	}
}

// addClient writes the folder of a client and returns its client.yaml.
func (c *cluster) addClient(name string, key crypto.PrivateKey) string {
	dir := filepath.Join(c.dir, name)
	require.NoError(c.t, os.Mkdir(dir, 0o755))
	require.NoError(c.t, crypto.WriteKeyFile(filepath.Join(dir, "key"), key, nil))
	path := filepath.Join(dir, "client.yaml")
	require.NoError(c.t, clusterfile.SaveClient(path, &clusterfile.Client{
		Genesis: filepath.Join("..", "genesis.json"), Key: "key", Name: name,
		Security: p2p.SecurityTLS, Transport: p2p.TransportTCP,
	}))
	return path
}

// said is what a command said and how it ended.
type said struct {
	code cli.Code
	out  string
	err  string
}

// runWith runs the program.
func runWith(t *testing.T, stdin string, args ...string) said {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), append([]string{"bftclient"}, args...),
		streams{in: strings.NewReader(stdin), out: &out, err: &errs})
	return said{code, out.String(), errs.String()}
}

// do runs a command against the cluster.
func (c *cluster) do(args ...string) said {
	c.t.Helper()
	return runWith(c.t, "", append([]string{"--config", c.config, "--timeout", "30s"}, args...)...)
}

// ok runs a command that must succeed, and returns what it printed.
func (c *cluster) ok(args ...string) string {
	c.t.Helper()
	s := c.do(args...)
	require.Equal(c.t, cli.OK, s.code, "%q: %s", args, s.err)
	require.Empty(c.t, s.err, "%q", args)
	return s.out
}

// stale reads a key with the word of one node until that node, which may be behind, has it.
func (c *cluster) stale(key string) (s said) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		s = c.do("get", key, "--read", "stale")
		return s.code != cli.NotFound
	}, 30*time.Second, time.Millisecond)
	return s
}

// json runs a command that must succeed with -o json.
func (c *cluster) json(into any, args ...string) {
	c.t.Helper()
	require.NoError(c.t, json.Unmarshal([]byte(c.ok(append(args, "-o", "json")...)), into))
}

func (c *cluster) fails(code cli.Code, about string, args ...string) said {
	c.t.Helper()
	s := c.do(args...)
	require.Equal(c.t, code, s.code, "%q: %s", args, s.err)
	require.Contains(c.t, s.err, about, "%q", args)
	require.Equal(c.t, 1, strings.Count(s.err, "\n"), "one line: %q", s.err)
	return s
}

// lines collects what a command prints while it runs.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	seen chan struct{} // gets one for each write
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.seen <- struct{}{}:
	default:
	}
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var errStuck = errors.New("it takes too long")

// await waits until what was printed contains the text.
func (l *lines) await(text string) error {
	late := time.After(30 * time.Second)
	for !strings.Contains(l.String(), text) {
		select {
		case <-l.seen:
		case <-late:
			return fmt.Errorf("%w: %q in %q", errStuck, text, l.String())
		}
	}
	return nil
}
