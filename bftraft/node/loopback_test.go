package node

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/p2p"
)

// journal collects log lines.
type journal struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines.String()
}

// onLoopback starts n nodes on real sockets, on ports the system chooses.
func onLoopback(t *testing.T, n int, adapt func(*Config)) []*running {
	g := testGenesis(n)
	var nodes []*running
	var peers []p2p.Peer
	for id := crypto.NodeID(1); int(id) <= n; id++ {
		disk := newDisk(g, id)
		cfg := testConfig(g, id, disk)
		cfg.Network.Listen, cfg.HTTP = []string{"127.0.0.1:0"}, "127.0.0.1:0"
		cfg.Network.MaxPeers = n
		if adapt != nil {
			adapt(&cfg)
		}
		r := launch(t, cfg, disk)
		t.Cleanup(func() { require.NoError(t, r.end()) })
		select {
		case <-r.Started():
		case <-r.ended:
			require.NoError(t, r.err)
		}
		nodes = append(nodes, r)
		peers = append(peers, p2p.Peer{ID: id, Key: cfg.Key.Public(), Addrs: r.Addrs()})
	}
	for i, r := range nodes {
		others := append(append([]p2p.Peer{}, peers[:i]...), peers[i+1:]...)
		require.NoError(t, r.SetPeers(others))
	}
	return nodes
}

func get(t *testing.T, r *running, path string) (int, string) {
	t.Helper()
	response, err := http.Get("http://" + r.HTTPAddr() + path)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

func TestFourNodesOnRealSocketsServeStatusAndMetrics(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	var logged journal
	nodes := onLoopback(t, 4, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		c.Pprof = c.ID == 1
	})
	submit(t, nodes[2], []byte("over real sockets"))
	within(t, 20*time.Second, "all are ready and have executed", func() bool {
		for _, r := range nodes {
			if s := r.Status(); !s.Ready || s.Executed != 1 {
				return false
			}
		}
		return true
	})
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/status", "/debug/pprof/"} {
		code, _ := get(t, nodes[0], path)
		require.Equal(t, http.StatusOK, code, path)
	}
	code, _ := get(t, nodes[1], "/debug/pprof/")
	require.Equal(t, http.StatusNotFound, code, "profiles are served on request")

	_, body := get(t, nodes[0], "/status")
	var s Status
	require.NoError(t, json.Unmarshal([]byte(body), &s))
	require.EqualValues(t, 1, s.Node)
	require.EqualValues(t, 1, s.Commit)
	require.Len(t, s.Peers, 3)
	require.Equal(t, RoleVoter, s.Role)
	require.Contains(t, body, `"joint": false`)
	require.Equal(t, RoleVoter, s.Peers[2].Role)

	_, metrics := get(t, nodes[0], "/metrics")
	for _, name := range []string{
		"bft_term 1", "bft_leader 2", "bft_commit_index 1", "bft_applied_index 1",
		`bft_leader_changes_total{cause="silence"} 0`, `bft_equivocations_total{peer="3"} 0`,
		`bft_drops_total{peer="2",reason="bad_signature"} 0`, "bft_signatures_verified_total",
		"bft_signatures_rejected_total 0", "bft_save_seconds_count",
		"bft_turn_seconds_count", "bft_commit_seconds_count 1",
		`bft_queue_depth{class="consensus",peer="2"}`, `bft_connected{peer="4"} 1`,
	} {
		require.Contains(t, metrics, name)
	}
	require.Equal(t, 4, strings.Count(logged.String(), "leader is known"), logged.String())
	require.NotContains(t, logged.String(), "WARN")
	require.NotContains(t, logged.String(), "ERROR")
}

func TestNodeAloneIsAliveAndNotReady(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	g := testGenesis(4)
	disk := newDisk(g, 1)
	cfg := testConfig(g, 1, disk)
	cfg.Network.Listen, cfg.HTTP = []string{"127.0.0.1:0"}, "127.0.0.1:0"
	r := launch(t, cfg, disk)
	<-r.Started()
	code, _ := get(t, r, "/livez")
	require.Equal(t, http.StatusOK, code)
	code, why := get(t, r, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, "no leader is known\n", why)
	require.NoError(t, r.end())
}

func TestAddressInUseEndsRun(t *testing.T) {
	nodes := onLoopback(t, 1, nil)
	for _, spoil := range []func(*Config){
		func(c *Config) { c.Network.Listen = nodes[0].Addrs() },
		func(c *Config) { c.HTTP = nodes[0].HTTPAddr() },
	} {
		g := testGenesis(1)
		disk := newDisk(g, 1)
		cfg := testConfig(g, 1, disk)
		cfg.Network.Listen = []string{"127.0.0.1:0"}
		spoil(&cfg)
		n, err := New(cfg)
		require.NoError(t, err)
		require.Error(t, n.Run(context.Background()))
	}
}

func TestDropsAndCausesHaveMetricsFromTheStart(t *testing.T) {
	g := testGenesis(4)
	n, err := New(testConfig(g, 1, newDisk(g, 1)))
	require.NoError(t, err)
	families, err := n.metrics.registry.Gather()
	require.NoError(t, err)
	series := map[string]int{}
	for _, f := range families {
		series[f.GetName()] = len(f.GetMetric())
	}
	require.Equal(t, 3*len(bftraft.Drops()), series["bft_drops_total"])
	require.Equal(t, len(bftraft.Causes()), series["bft_leader_changes_total"])
	require.Equal(t, 3, series["bft_equivocations_total"])
}
