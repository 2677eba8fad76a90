package contestant

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"tangaroa/adversary"
	"tangaroa/bench/attack"
	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/bftraft/kv"
	"tangaroa/bftraft/node"
	"tangaroa/bftraft/replica"
	"tangaroa/bftraft/store"
	"tangaroa/crypto"
	"tangaroa/p2p"
	"tangaroa/quorumcert"
)

// singleWindow is the most that one session may have outstanding with one operation under each
// signature: nodes remember so many results of a session. They hold twice as many requests of a
// client key, executed ones that are not answered yet among them, so each session has its own key.
const singleWindow = 128

// firstLeader leads the first term that has a leader.
const firstLeader crypto.NodeID = 2

// member is one of our nodes.
type member struct {
	id      crypto.NodeID
	node    *node.Node
	store   *store.Badger
	machine *kv.Machine
	cancel  context.CancelFunc
	ended   chan struct{}
	err     error // once ended is closed
	dead    bool  // was killed on purpose
	liar    bool
	counts  memberCounts
}

// memberCounts are counted between a replica and what it stands on.
type memberCounts struct {
	signed, saves, frames, bytes, blocks atomic.Uint64
	// cut makes the node mute, as a crash would.
	cut atomic.Bool
}

// cluster is ours.
type cluster struct {
	genesis *bftraft.Genesis
	members []*member
	clients []*client.Client
	next    atomic.Uint64
	// dissents counts answers that differ or do not verify.
	dissents  atomic.Uint64
	ear       attack.Ear // to which a leaky member tells
	firstTerm quorumcert.Term
}

func startBundled(ctx context.Context, o Options) (Cluster, error) {
	return startOurs(ctx, o, 1, func(*client.Config) {})
}

func startSingle(ctx context.Context, o Options) (Cluster, error) {
	sessions := (o.Outstanding + singleWindow - 1) / singleWindow
	return startOurs(ctx, o, sessions, func(c *client.Config) {
		c.BundleOps, c.Window = 1, min(o.Outstanding, singleWindow)
	})
}

// startOurs starts nodes and so many sessions, each of a client of its own.
func startOurs(
	ctx context.Context, o Options, sessions int, adapt func(*client.Config),
) (Cluster, error) {
	p2p.LibraryLog(slog.DiscardHandler)
	c := &cluster{}
	nodeKeys, clientKeys := c.enrol(o.Nodes, sessions)
	err := c.startMembers(o, nodeKeys)
	if err == nil {
		err = c.connect(o, clientKeys, adapt)
	}
	if err == nil {
		err = c.ready(ctx)
	}
	if err == nil {
		c.firstTerm = c.members[0].node.Status().Term
	}
	if err == nil && o.AsLeader && o.Adversary != "" {
		c.crown(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *cluster) enrol(nodes, clients int) (nodeKeys, clientKeys []crypto.PrivateKey) {
	c.genesis = &bftraft.Genesis{Name: "bench", Nonce: crypto.Digest{1}, Testnet: true}
	for i := range nodes {
		k := crypto.GenerateKey()
		nodeKeys = append(nodeKeys, k)
		c.genesis.Voters = append(c.genesis.Voters,
			quorumcert.Voter{ID: crypto.NodeID(i + 1), Key: k.Public()})
	}
	for i := range clients {
		k := crypto.GenerateKey()
		clientKeys = append(clientKeys, k)
		c.genesis.Clients = append(c.genesis.Clients,
			bftraft.Enrolled{Name: "client" + strconv.Itoa(i), Key: k.Public()})
	}
	return nodeKeys, clientKeys
}

func (c *cluster) startMembers(o Options, keys []crypto.PrivateKey) error {
	specs, err := specsOf(o.Adversary)
	if err != nil {
		return err
	}
	for i, key := range keys {
		liar := specs != nil && (crypto.NodeID(i+1) == firstLeader) == o.AsLeader && !c.lied()
		m := &member{id: crypto.NodeID(i + 1), machine: kv.New(), liar: liar}
		dir := filepath.Join(o.Dir, "node"+strconv.Itoa(i+1))
		id := store.Identity{Cluster: c.genesis.Hash(), Node: m.id, Key: key.Public()}
		if err := store.Create(dir, id); err != nil {
			return err
		}
		if m.store, err = store.Open(dir, store.Options{Identity: id}); err != nil {
			return err
		}
		cfg := node.DefaultConfig()
		cfg.Genesis, cfg.ID, cfg.Key = c.genesis, m.id, key
		cfg.Storage, cfg.Machine, cfg.CheckOp = m.store, m.machine, kv.CheckOp
		cfg.Network.Listen, cfg.HTTP = []string{"127.0.0.1:0"}, "127.0.0.1:0"
		cfg.Network.MaxPeers = len(keys)
		cfg.Corrupt, cfg.Grace = m.watch, 0
		if liar {
			lie := adversary.Corrupt(specs, 1, hexEar{&c.ear})
			cfg.Corrupt = func(r *replica.Config) error { return errors.Join(m.watch(r), lie(r)) }
		}
		if err := m.start(cfg); err != nil {
			return errors.Join(err, m.store.Close())
		}
		c.members = append(c.members, m)
	}
	return c.introduce()
}

// specsOf reads attacks with a plus between them.
func specsOf(text string) ([]adversary.Spec, error) {
	if text == "" {
		return nil, nil
	}
	var specs []adversary.Spec
	for word := range strings.SplitSeq(text, "+") {
		spec, err := adversary.Parse(word)
		if err != nil {
			return nil, err
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// start runs the node until it listens.
func (m *member) start(cfg node.Config) (err error) {
	if m.node, err = node.New(cfg); err != nil {
		return err
	}
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background())
	m.ended = make(chan struct{})
	go func() {
		defer close(m.ended)
		m.err = m.node.Run(ctx)
	}()
	select {
	case <-m.node.Started():
		return nil
	case <-m.ended:
		return fmt.Errorf("node %d: %w", m.id, m.err)
	}
}

// introduce tells everybody where the others listen.
func (c *cluster) introduce() error {
	peers := c.peers()
	for i, m := range c.members {
		others := append(append([]p2p.Peer{}, peers[:i]...), peers[i+1:]...)
		if err := m.node.SetPeers(others); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) peers() []p2p.Peer {
	var peers []p2p.Peer
	for i, m := range c.members {
		key := c.genesis.Voters[i].Key
		peers = append(peers, p2p.Peer{ID: m.id, Key: key, Addrs: m.node.Addrs()})
	}
	return peers
}

func (c *cluster) connect(
	o Options, keys []crypto.PrivateKey, adapt func(*client.Config),
) error {
	peers := c.peers()
	for i, key := range keys {
		cfg := client.DefaultConfig()
		cfg.Genesis, cfg.Key, cfg.Peers = c.genesis, key, peers
		cfg.Session = uint64(i + 1)
		cfg.QueueOps = max(cfg.QueueOps, o.Outstanding)
		cfg.QueueBytes = max(cfg.QueueBytes, o.Outstanding*(o.ValueBytes+64))
		cfg.OnDissent = func(client.Dissent) { c.dissents.Add(1) }
		adapt(&cfg)
		one, err := client.New(cfg)
		if err != nil {
			return err
		}
		c.clients = append(c.clients, one)
	}
	return nil
}

// ready waits until all are connected and have a leader.
func (c *cluster) ready(ctx context.Context) error {
	return poll(ctx, func() error {
		for _, m := range c.members {
			if s := m.node.Status(); !s.Ready && !m.liar {
				return fmt.Errorf("node %d is not ready: %s", m.id, s.NotReady)
			}
		}
		for _, cl := range c.clients {
			for _, n := range cl.Stats().Nodes {
				if !n.Up {
					return fmt.Errorf("a client does not reach node %d", n.ID)
				}
			}
		}
		return nil
	})
}

// crownTimeout is how long the liar may take to lead, if it can: some lies keep it from that.
const crownTimeout = 2 * time.Second

// crown waits until the liar leads. It is the first in line.
func (c *cluster) crown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, crownTimeout)
	defer cancel()
	_ = poll(ctx, func() error {
		for _, m := range c.members {
			if !m.liar && m.node.Status().Leader == firstLeader {
				return nil
			}
		}
		return errors.New("the liar does not lead")
	})
}

// Put implements load.Store.
func (c *cluster) Put(ctx context.Context, key, value []byte) error {
	op, err := kv.EncodeOp(kv.Put{Key: key, Value: value})
	if err != nil {
		return err
	}
	got, err := c.session().Submit(ctx, op)
	if err != nil {
		return err
	}
	result, err := kv.DecodeResult(got.Value)
	if err != nil {
		return err
	}
	return result.Code.Err()
}

// session returns the next one in turn.
func (c *cluster) session() *client.Client {
	return c.clients[c.next.Add(1)%uint64(len(c.clients))]
}

// Get implements load.Store.
func (c *cluster) Get(ctx context.Context, key []byte) ([]byte, error) {
	query, err := kv.EncodeQuery(kv.Range{Span: kv.One(key)})
	if err != nil {
		return nil, err
	}
	got, err := c.session().Read(ctx, query)
	if err != nil {
		return nil, err
	}
	return oneValue(got.Value)
}

// oneValue returns the value in the answer to a question for one key.
func oneValue(got []byte) ([]byte, error) {
	answer, err := kv.DecodeQueryResult(got)
	if err != nil {
		return nil, err
	}
	r, ok := answer.(kv.RangeResult)
	if !ok || len(r.KVs) != 1 {
		return nil, fmt.Errorf("a read of one key gave %T", answer)
	}
	return r.KVs[0].Value, nil
}

// KillFollower implements Cluster.
func (c *cluster) KillFollower() error {
	leader := c.leader()
	for i := len(c.members) - 1; i >= 0; i-- {
		if m := c.members[i]; !m.dead && !m.liar && m.id != leader {
			return m.kill()
		}
	}
	return errors.New("there is no follower to kill")
}

// KillLeader implements Cluster.
func (c *cluster) KillLeader() error {
	leader := c.leader()
	for _, m := range c.members {
		if m.id == leader && !m.dead {
			return m.kill()
		}
	}
	return errors.New("there is no leader to kill")
}

// leader returns whom most of the living follow.
func (c *cluster) leader() crypto.NodeID {
	var votes [crypto.MaxNodeID + 1]int
	best := crypto.NodeID(0)
	for _, m := range c.members {
		if m.dead {
			continue
		}
		l := m.node.Status().Leader
		if votes[l]++; l != 0 && (best == 0 || votes[l] > votes[best]) {
			best = l
		}
	}
	return best
}

// Close implements Cluster.
func (c *cluster) Close() error {
	var errs []error
	for _, cl := range c.clients {
		errs = append(errs, cl.Close())
	}
	for _, m := range c.members {
		if m.cancel != nil {
			m.cancel()
		}
	}
	for _, m := range c.members {
		if m.ended != nil {
			<-m.ended
			if !m.dead {
				errs = append(errs, m.err, m.store.Close())
			}
		}
	}
	http.DefaultClient.CloseIdleConnections()
	return errors.Join(errs...)
}

// Sound implements Cluster: the honest and living have executed as far and hold the same.
func (c *cluster) Sound(ctx context.Context) error {
	if n := c.dissents.Load(); n > 0 && !c.lied() {
		return fmt.Errorf("%w: %d answers differ or do not verify", ErrUnsound, n)
	}
	return poll(ctx, func() error {
		var first *node.Status
		for _, m := range c.members {
			if m.dead || m.liar {
				continue
			}
			select {
			case <-m.ended:
				return fmt.Errorf("%w: node %d fell over: %w", ErrUnsound, m.id, m.err)
			default:
			}
			s := m.node.Status()
			if first == nil {
				first = &s
			}
			if s.Applied != first.Applied || s.Applied != s.Commit {
				return fmt.Errorf("%w: node %d is at %d of %d", ErrUnsound, m.id, s.Applied, s.Commit)
			}
		}
		return c.sameState(ctx)
	})
}

func (c *cluster) lied() bool {
	for _, m := range c.members {
		if m.liar {
			return true
		}
	}
	return false
}

// sameState compares what the nodes read as all their keys.
func (c *cluster) sameState(ctx context.Context) error {
	query, err := kv.EncodeQuery(kv.Range{Span: kv.All(), Limit: 100})
	if err != nil {
		return err
	}
	var first []byte
	for _, m := range c.members {
		if m.dead || m.liar {
			continue
		}
		got, err := m.node.Query(ctx, query)
		switch {
		case err != nil:
			return err
		case first == nil:
			first = got
		case string(got) != string(first):
			return fmt.Errorf("%w: node %d holds something else", ErrUnsound, m.id)
		}
	}
	return nil
}
