package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	ucli "github.com/urfave/cli/v2"
	"go.uber.org/goleak"

	"tangaroa/bftraft/kv"
	"tangaroa/bftraft/node"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/cmd/internal/unlock"
	"tangaroa/crypto"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// A process-wide goroutine of a library that Badger logs through.
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

// buffer is a bytes.Buffer for one who writes and one who reads.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// process is a command that runs in a goroutine of this process.
type process struct {
	out, errs buffer
	stop      context.CancelFunc
	ended     chan struct{}
	code      cli.Code // once ended is closed
}

// parsing is held while a command line is read: the library has one help flag for all programs of
// a process, and of those there is one everywhere but here.
var parsing sync.Mutex

func begin(t *testing.T, args ...string) *process {
	ctx, stop := context.WithCancel(context.Background())
	p := &process{stop: stop, ended: make(chan struct{})}
	app := newApp()
	app.Writer, app.ErrWriter = &p.out, &p.errs
	parsing.Lock()
	parsed := sync.OnceFunc(parsing.Unlock)
	for _, command := range app.Commands {
		command.Before = func(*ucli.Context) error {
			parsed()
			return nil
		}
	}
	go func() {
		defer close(p.ended)
		defer parsed()
		p.code = cli.Run(ctx, app, append([]string{"bftnode"}, args...))
	}()
	t.Cleanup(func() {
		stop()
		<-p.ended
	})
	return p
}

// run runs a command to its end.
func run(t *testing.T, args ...string) (code cli.Code, stdout, stderr string) {
	t.Helper()
	p := begin(t, args...)
	<-p.ended
	return p.code, p.out.String(), p.errs.String()
}

// mustRun runs a command that must succeed, and returns what it printed.
func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := run(t, args...)
	require.Equal(t, cli.OK, code, "%q: %s", args, errs)
	return out
}

// newTestnet writes a cluster of n nodes on free ports.
func newTestnet(t *testing.T, n string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "net")
	mustRun(t, "testnet", "--nodes", n, "--dir", dir, "--base-port", "0")
	return dir
}

func nodeDir(net string, id crypto.NodeID) string { return filepath.Join(net, nodeName(id)) }

// settingsOf returns the settings of a node as start would read them.
func settingsOf(t *testing.T, net string, id crypto.NodeID) *clusterfile.Node {
	t.Helper()
	s, err := clusterfile.LoadNode(filepath.Join(nodeDir(net, id), clusterfile.NodeName))
	require.NoError(t, err)
	return s
}

// await waits, without being told when, for what another goroutine brings about.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for limit := time.Now().Add(30 * time.Second); !holds(); <-ticks.C {
		require.True(t, time.Now().Before(limit), "never: %s", what)
	}
}

// statusIs waits until a node's own status is as wanted.
func statusIs(t *testing.T, net string, id crypto.NodeID, wanted func(*node.Status) bool) {
	t.Helper()
	address := settingsOf(t, net, id).HTTP
	await(t, "the wanted status", func() bool {
		s, err := fetchStatus(t.Context(), address, time.Second)
		return err == nil && wanted(s)
	})
}

// fill runs the only node of a cluster and has it execute operations for its client.
func fill(t *testing.T, net string, ops ...kv.Op) {
	t.Helper()
	m, stop := serve(t, net)
	for _, op := range ops {
		raw, err := kv.EncodeOp(op)
		require.NoError(t, err)
		_, err = m.node.Submit(t.Context(), raw)
		require.NoError(t, err)
	}
	stop()
}

// serve runs the only node of a cluster, with a client in it, until it is stopped.
func serve(t *testing.T, net string) (m *member, stop func()) {
	t.Helper()
	s := settingsOf(t, net, 1)
	s.Security, s.Transport, s.HTTP = "tls", "tcp", "off"
	m, err := identify(t.Context(), &unlock.Sources{}, s)
	require.NoError(t, err)
	log, err := newLogger(&clusterfile.Node{LogLevel: "error", LogFormat: "text"}, os.Stderr)
	require.NoError(t, err)
	require.NoError(t, m.open(log))
	key, err := crypto.ReadKeyFile(filepath.Join(net, "client1", clusterfile.KeyName), nil)
	require.NoError(t, err)
	cfg := m.config()
	cfg.Client = key
	m.node, err = node.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- m.run(ctx) }()
	return m, func() {
		cancel()
		require.NoError(t, <-ended)
	}
}
