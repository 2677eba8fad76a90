package main

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/bftraft/node"
	"tangaroa/bftraft/store"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/p2p"
)

// join starts node id, which the cluster has let in at address, as its operator would.
func (c *cluster) join(id byte, address string) {
	path := c.at("changes" + string('0'+rune(id)))
	c.ok("member", "list", "--changes", path)
	text, err := os.ReadFile(path)
	require.NoError(c.t, err)
	g := testGenesis()
	cfg := node.DefaultConfig()
	cfg.Changes, err = clusterfile.DecodeChanges(text)
	require.NoError(c.t, err)
	cfg.Genesis, cfg.ID, cfg.Key = &g, bftraft.NodeID(id), testKey(id)
	cfg.Storage = store.NewMemory(store.Identity{
		Cluster: g.Hash(), Node: cfg.ID, Key: cfg.Key.Public(),
	})
	cfg.Machine, cfg.CheckOp = kv.New(), kv.CheckOp
	cfg.Network.Listen = []string{address}
	f, err := clusterfile.LoadGenesis(c.at("genesis.json"))
	require.NoError(c.t, err)
	cfg.Network.Peers = f.Peers(0)
	cfg.Grace = 0
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
	c.nodes = append(c.nodes, m)
}

// free returns an address that nobody listens at.
func free(t *testing.T) string {
	cfg := p2p.DefaultConfig()
	cfg.Key, cfg.Self, cfg.Listen = testKey(99), 64, []string{"127.0.0.1:0"}
	cfg.Security, cfg.Transport = p2p.SecurityTLS, p2p.TransportTCP
	h, err := p2p.New(cfg, nil)
	require.NoError(t, err)
	require.NoError(t, h.Start(t.Context()))
	defer h.Close()
	return h.Addrs()[0]
}

// TestAllVotersAreReplacedWhileAWatchGoesOn ends with nobody of the genesis but one.
func TestAllVotersAreReplacedWhileAWatchGoesOn(t *testing.T) {
	c := startCluster(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	out, errs := &lines{seen: make(chan struct{}, 1)}, &lines{seen: make(chan struct{}, 1)}
	watched := make(chan cli.Code, 1)
	go func() {
		watched <- run(ctx, []string{"bftclient", "-c", c.config, "watch", "all/"},
			streams{out: out, err: errs})
	}()
	require.NoError(t, errs.await("watching"))
	c.ok("put", "all/a", "1", "--receipt", c.at("receipt0"))
	require.NoError(t, out.await("all/a"))
	receipts := []string{c.at("receipt0")}
	for k := byte(1); k <= 3; k++ {
		address := free(t)
		key := testKey(4 + k).Public().String()
		flags := c.signed(0, 1)
		s := c.member(append([]string{"add", "--key", key, "--address", address}, flags...)...)
		require.Equal(t, cli.OK, s.code, s.err)
		c.join(4+k, address)
		if k > 1 {
			s = c.member(append([]string{"replace", "--node", string('0' + rune(k)), "--key", key,
				"--address", address}, flags...)...)
			require.Equal(t, cli.OK, s.code, s.err)
			receipts = append(receipts, c.at("receipt"+string('0'+rune(k))))
			c.ok("put", "all/b", string('0'+rune(k)), "--receipt", receipts[len(receipts)-1])
			require.NoError(t, out.await("all/b = "+string('0'+rune(k))))
			continue
		}
		var joined clusterStatus
		c.json(&joined, "status")
		require.Len(t, joined.Nodes, 5)
		require.True(t, joined.Nodes[4].Answers, "under its own key")
		require.Equal(t, "learner", joined.Nodes[4].Role)
		s = c.member(append([]string{"promote", "--node", "5"}, flags...)...)
		require.Equal(t, cli.OK, s.code, s.err)
		s = c.member(append([]string{"remove", "--node", "1"}, flags...)...)
		require.Equal(t, cli.OK, s.code, s.err)
	}
	var list memberList
	c.json(&list, "member", "list")
	require.Len(t, list.Nodes, 4)
	for _, m := range c.nodes[:3] {
		m.kill()
	}
	receipts = append(receipts, c.at("last"))
	c.ok("put", "all/c", "1", "--receipt", c.at("last"))
	changes, _ := c.changes("changes")
	c.proofsVerifyOffline(receipts, changes)
	c.attackFollowsTheMembers()
	require.NoError(t, out.await("all/c"))
	var status clusterStatus
	c.json(&status, "status")
	require.Equal(t, 4, status.Healthy)
	cancel()
	require.Equal(t, cli.OK, <-watched, errs.String())
}

// attackFollowsTheMembers has but one node of the genesis left, which shows an attacker the others:
// its requests get to all, and are answered by more than that one.
func (c *cluster) attackFollowsTheMembers() {
	var report attackReport
	c.json(&report, "attack", "equivocator", "--duration", "3s", "--every", "5ms")
	require.Greater(c.t, report.Sent, 2*report.Unsent, "three of four would have no link")
}
