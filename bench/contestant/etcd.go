package contestant

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// etcdMember is one embedded server.
type etcdMember struct {
	server *embed.Etcd
	client string // where it serves clients
	dead   bool
}

// etcdCluster is the etcd server as it comes, behind its own client.
type etcdCluster struct {
	members []*etcdMember
	client  *clientv3.Client
	kills   bool // its leader will be killed
}

func startEtcd(ctx context.Context, o Options) (Cluster, error) {
	c := &etcdCluster{kills: o.KillsLeader}
	err := c.start(ctx, o)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *etcdCluster) start(ctx context.Context, o Options) error {
	configs, err := etcdConfigs(o)
	if err != nil {
		return err
	}
	var endpoints []string
	for _, cfg := range configs {
		server, err := embed.StartEtcd(cfg)
		if err != nil {
			return fmt.Errorf("start etcd: %w", err)
		}
		at := cfg.ListenClientUrls[0].String()
		endpoints = append(endpoints, at)
		c.members = append(c.members, &etcdMember{server: server, client: at})
	}
	for _, m := range c.members {
		select {
		case <-m.server.Server.ReadyNotify():
		case err := <-m.server.Err():
			return fmt.Errorf("etcd ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("etcd is not ready: %w", context.Cause(ctx))
		}
	}
	c.client, err = clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	return err
}

// etcdConfigs gives each server a place and a name and leaves the rest as it comes.
func etcdConfigs(o Options) ([]*embed.Config, error) {
	urls, err := freeURLs(2 * o.Nodes)
	if err != nil {
		return nil, err
	}
	var configs []*embed.Config
	var members []string
	for i := range o.Nodes {
		cfg := embed.NewConfig()
		cfg.Name = "node" + strconv.Itoa(i+1)
		cfg.Dir = filepath.Join(o.Dir, cfg.Name)
		peer, client := urls[2*i], urls[2*i+1]
		cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
		cfg.UnsafeNoFsync = false
		cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
		members = append(members, cfg.Name+"="+peer.String())
		configs = append(configs, cfg)
	}
	for _, cfg := range configs {
		cfg.InitialCluster = strings.Join(members, ",")
	}
	return configs, nil
}

// freeURLs returns addresses on which nobody listens: etcd must know them before it listens.
func freeURLs(n int) ([]url.URL, error) {
	var out []url.URL
	var errs []error
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		// All are open until the last is found, so that they differ.
		defer func() { errs = append(errs, l.Close()) }()
		out = append(out, url.URL{Scheme: "http", Host: l.Addr().String()})
	}
	return out, errors.Join(errs...)
}

// Put implements load.Store. Where a server dies, its client leaves it to the caller to try again.
func (c *etcdCluster) Put(ctx context.Context, key, value []byte) error {
	for {
		_, err := c.client.Put(ctx, string(key), string(value))
		if err == nil || !c.kills || ctx.Err() != nil {
			return err
		}
	}
}

// Get implements load.Store; reads of etcd are linearizable unless told otherwise.
func (c *etcdCluster) Get(ctx context.Context, key []byte) ([]byte, error) {
	got, err := c.client.Get(ctx, string(key))
	if err != nil {
		return nil, err
	}
	if len(got.Kvs) != 1 {
		return nil, fmt.Errorf("a read of one key gave %d", len(got.Kvs))
	}
	return got.Kvs[0].Value, nil
}

// Counts implements Cluster. The servers share the counters of the process.
func (c *etcdCluster) Counts() (Counts, error) {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		return nil, fmt.Errorf("read etcd's counters: %w", err)
	}
	sum := Counts{Signed: 0, Verified: 0}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case "etcd_disk_wal_fsync_duration_seconds", "etcd_disk_backend_commit_duration_seconds":
				sum[Flushes] += float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum, nil
}

func (c *etcdCluster) kill(leader bool) error {
	for _, m := range slices.Backward(c.members) {
		s := m.server.Server
		if !m.dead && (s.Leader() == s.MemberID()) == leader {
			m.dead = true
			s.HardStop()
			m.server.Close()
			return nil
		}
	}
	return errors.New("there is no such node to kill")
}

// KillFollower implements Cluster.
func (c *etcdCluster) KillFollower() error { return c.kill(false) }

// KillLeader implements Cluster.
func (c *etcdCluster) KillLeader() error { return c.kill(true) }

// Sound implements Cluster: all hold the same at the newest revision.
func (c *etcdCluster) Sound(ctx context.Context) error {
	return poll(ctx, func() error {
		var first *clientv3.HashKVResponse
		for i, m := range c.members {
			if m.dead {
				continue
			}
			select {
			case err := <-m.server.Err():
				return fmt.Errorf("%w: node %d fell over: %w", ErrUnsound, i+1, err)
			default:
			}
			got, err := c.client.HashKV(ctx, m.client, 0)
			switch {
			case err != nil:
				return err
			case first == nil:
				first = got
			case got.Hash != first.Hash || got.HashRevision != first.HashRevision:
				return fmt.Errorf("%w: node %d holds something else", ErrUnsound, i+1)
			}
		}
		return nil
	})
}

// Close implements Cluster.
func (c *etcdCluster) Close() error {
	var err error
	if c.client != nil {
		err = c.client.Close()
	}
	for _, m := range c.members {
		if !m.dead {
			m.server.Server.HardStop()
			m.server.Close()
		}
	}
	return err
}
