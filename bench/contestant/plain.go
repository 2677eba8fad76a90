package contestant

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"

	"tangaroa/bench/attack"
	"tangaroa/bench/plainraft"
	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
	"tangaroa/p2p"
)

// plainCluster is plain Raft in the same shoes.
type plainCluster struct {
	nodes  []*plainraft.Node
	dead   map[*plainraft.Node]bool
	client *plainraft.Client

	// Of a cluster with a liar: which of nodes it is, and what makes each lie.
	lies      bool
	liar      int
	on        []*atomic.Bool
	ear       attack.Ear
	firstTerm uint64
}

func startPlain(ctx context.Context, o Options) (Cluster, error) {
	p2p.LibraryLog(slog.DiscardHandler)
	c := &plainCluster{dead: map[*plainraft.Node]bool{}}
	client := crypto.GenerateKey()
	err := c.start(o, client)
	if err == nil {
		err = poll(ctx, c.ready)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.choose(o.AsLeader)
	return c, nil
}

func (c *plainCluster) start(o Options, client crypto.PrivateKey) error {
	var voters []crypto.NodeID
	var peers []p2p.Peer
	for i := range o.Nodes {
		voters = append(voters, crypto.NodeID(i+1))
	}
	for _, id := range voters {
		key := crypto.GenerateKey()
		on := &atomic.Bool{}
		lie, err := plainLie(o.Adversary, on, &c.ear)
		if err != nil {
			return err
		}
		c.on, c.lies = append(c.on, on), lie != nil
		n, err := plainraft.New(plainraft.Config{
			ID: id, Key: key, Voters: voters, Client: client.Public(), Lie: lie,
			Dir: filepath.Join(o.Dir, "node"+strconv.Itoa(int(id))),
		})
		if err != nil {
			return err
		}
		if err := n.Start(); err != nil {
			return err
		}
		c.nodes = append(c.nodes, n)
		peers = append(peers, p2p.Peer{ID: id, Key: key.Public(), Addrs: n.Addrs()})
	}
	for i, n := range c.nodes {
		others := append(append([]p2p.Peer{}, peers[:i]...), peers[i+1:]...)
		if err := n.SetPeers(others); err != nil {
			return err
		}
	}
	var err error
	c.client, err = plainraft.NewClient(client, peers)
	return err
}

func (c *plainCluster) ready() error {
	if !c.client.Connected() {
		return errors.New("the client does not reach all nodes")
	}
	for _, n := range c.nodes {
		if n.Leader() == 0 {
			return fmt.Errorf("node %d knows no leader", n.ID())
		}
	}
	return nil
}

// Put implements load.Store.
func (c *plainCluster) Put(ctx context.Context, key, value []byte) error {
	op, err := kv.EncodeOp(kv.Put{Key: key, Value: value})
	if err != nil {
		return err
	}
	got, err := c.client.Submit(ctx, op)
	if err != nil {
		return err
	}
	result, err := kv.DecodeResult(got)
	if err != nil {
		return err
	}
	return result.Code.Err()
}

// Get implements load.Store.
func (c *plainCluster) Get(ctx context.Context, key []byte) ([]byte, error) {
	query, err := kv.EncodeQuery(kv.Range{Span: kv.One(key)})
	if err != nil {
		return nil, err
	}
	got, err := c.client.Read(ctx, query)
	if err != nil {
		return nil, err
	}
	return oneValue(got)
}

// Counts implements Cluster.
func (c *plainCluster) Counts() (Counts, error) {
	messages, bytes := c.client.Counts()
	sum := Counts{Signed: 0, Verified: 0, Messages: float64(messages), Bytes: float64(bytes)}
	for _, n := range c.nodes {
		sum[Messages] += float64(n.Frames.Load())
		sum[Bytes] += float64(n.Bytes.Load())
		sum[Flushes] += float64(n.Saves.Load())
		sum[Blocks] = max(sum[Blocks], float64(n.Blocks.Load()))
	}
	return sum, nil
}

func (c *plainCluster) leader() crypto.NodeID {
	newest, leader := uint64(0), crypto.NodeID(0)
	for _, n := range c.nodes {
		if !c.dead[n] && n.Leader() != 0 && n.Term() >= newest {
			newest, leader = n.Term(), n.Leader()
		}
	}
	return leader
}

// KillFollower implements Cluster.
func (c *plainCluster) KillFollower() error {
	leader := c.leader()
	for _, n := range slices.Backward(c.nodes) {
		if !c.dead[n] && n.ID() != leader {
			c.dead[n] = true
			return n.Stop()
		}
	}
	return errors.New("there is no follower to kill")
}

// KillLeader implements Cluster.
func (c *plainCluster) KillLeader() error {
	leader := c.leader()
	for _, n := range c.nodes {
		if !c.dead[n] && n.ID() == leader {
			c.dead[n] = true
			return n.Stop()
		}
	}
	return errors.New("there is no leader to kill")
}

// Sound implements Cluster.
func (c *plainCluster) Sound(ctx context.Context) error {
	return poll(ctx, func() error {
		var first crypto.Digest
		for _, n := range c.nodes {
			if c.dead[n] {
				continue
			}
			var d crypto.Digest
			err := n.Look(ctx, func(m *kv.Machine) { d = m.Digest() })
			switch {
			case err != nil:
				return fmt.Errorf("%w: %w", ErrUnsound, err)
			case first.IsZero():
				first = d
			case d != first:
				return fmt.Errorf("%w: node %d holds something else", ErrUnsound, n.ID())
			}
		}
		return nil
	})
}

// Close implements Cluster.
func (c *plainCluster) Close() error {
	var errs []error
	if c.client != nil {
		errs = append(errs, c.client.Close())
	}
	for _, n := range c.nodes {
		if !c.dead[n] {
			// What becomes of nodes that meet a liar is told by Traces.
			if err := n.Stop(); !c.lies {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
