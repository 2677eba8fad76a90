package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
	"tangaroa/p2p"
)

// Node is one member of the cluster. It is made by New and works while Run runs.
type Node struct {
	cfg      Config
	log      *slog.Logger
	verifier *bftraft.Verifier // of the genesis
	metrics  *metrics
	in       *inbound
	local    *submitter // nil without Config.Client

	begun   atomic.Bool
	started chan struct{} // closed once the network is up
	done    chan struct{} // closed when Run returns
	network Network       // may be read once started is closed
	web     net.Listener  // nil without Config.HTTP; likewise

	// seen is the newest picture of the node, replaced as a whole by the owner.
	seen    atomic.Pointer[Status]
	handler http.Handler

	// The rest belongs to the owner.
	replica *replica.Replica
	watch   watch
	awake   time.Time // since when it has owned its replica
}

// New judges the configuration and prepares a node. It opens nothing.
func New(cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := newMetrics(&cfg)
	gate, err := bftraft.NewVerifier(m.scheme(crypto.ZIP215()), cfg.Genesis)
	if err != nil {
		return nil, err
	}
	memory := &requestMemory{recent: bftraft.NewRecent(rememberedRequests)}
	verifier := gate.Remembering(memory)
	n := &Node{
		cfg: cfg, log: cfg.logger().With("node", cfg.ID), verifier: verifier, metrics: m,
		in: newInbound(&cfg, verifier, m), started: make(chan struct{}),
		done: make(chan struct{}),
	}
	n.fillIn()
	if err := n.cfg.Protocol.Validate(); err != nil {
		return nil, err
	}
	if err := n.cfg.Network.Validate(); err != nil {
		return nil, err
	}
	if !cfg.Client.IsZero() {
		n.local = newSubmitter(cfg.Client, verifier.Cluster())
	}
	n.seen.Store(n.picture(&bftraft.State{ID: cfg.ID}, 0))
	m.watchNode(n)
	n.handler = n.newHandler()
	return n, nil
}

// fillIn sets what follows from the identity.
func (n *Node) fillIn() {
	key := n.cfg.Key.Public()
	signer := crypto.NewSigner(n.cfg.ID, n.cfg.Key)
	p, w := &n.cfg.Protocol, &n.cfg.Network
	p.Cluster, p.Signer = n.verifier.Cluster(), signer
	p.Verifier = n.verifier
	if p.Seed == 0 {
		p.Seed = binary.BigEndian.Uint64(key[:])
	}
	w.Key, w.Self, w.Clients = n.cfg.Key, n.cfg.ID, n.isClient
	if w.Logger == nil {
		w.Logger = n.log
	}
	if n.cfg.NewNetwork == nil {
		n.cfg.NewNetwork = func(c p2p.Config, h p2p.Handler) (Network, error) {
			return p2p.New(c, h)
		}
	}
}

// Started is closed once the node has gone through its log and its network is up.
func (n *Node) Started() <-chan struct{} { return n.started }

// Addrs returns the addresses on which the node listens, once it has started, and nil before.
func (n *Node) Addrs() []string {
	select {
	case <-n.started:
		return n.network.Addrs()
	default:
		return nil
	}
}

// HTTPAddr returns the address of the status page, with the port chosen, once the node has
// started; "" before, and without Config.HTTP.
func (n *Node) HTTPAddr() string {
	select {
	case <-n.started:
	default:
		return ""
	}
	if n.web == nil {
		return ""
	}
	return n.web.Addr().String()
}

// SetPeers replaces the addresses of the other nodes once the node has started.
func (n *Node) SetPeers(peers []p2p.Peer) error {
	select {
	case <-n.started:
		return n.network.SetPeers(peers)
	default:
		return errors.New("node: has not started")
	}
}

// Status returns the newest picture of the node. It is at most a few ticks old.
func (n *Node) Status() Status { return *n.seen.Load() }

// Query asks this node's state machine. The answer is this node's alone and may be old; clients
// have reads that are neither.
func (n *Node) Query(ctx context.Context, query []byte) ([]byte, error) {
	var result []byte
	err := n.look(ctx, func(r *replica.Replica) { result = r.Machine().Query(query) })
	if err != nil {
		return nil, err
	}
	return result, nil
}

// look runs f on the goroutine that owns the replica.
func (n *Node) look(ctx context.Context, f func(*replica.Replica)) error {
	looked := make(chan struct{})
	a := ask{look: func(r *replica.Replica) { f(r); close(looked) }}
	select {
	case n.in.asks <- a:
	case <-ctx.Done():
		return ctx.Err()
	case <-n.done:
		return ErrStopped
	}
	select {
	case <-looked:
		return nil
	case <-n.done:
	}
	select {
	case <-looked:
		return nil
	default:
		return ErrStopped
	}
}

// Run is the node's life: it goes through the log, joins the others, and works until ctx ends or
// storage fails. It may be called once.
func (n *Node) Run(ctx context.Context) error {
	if !n.begun.CompareAndSwap(false, true) {
		return ErrStarted
	}
	defer close(n.done)
	if n.cfg.HTTP != "" {
		stop, err := n.serveHTTP()
		if err != nil {
			return err
		}
		defer stop()
	}
	network, err := n.cfg.NewNetwork(n.cfg.Network, n.in)
	if err != nil {
		return err
	}
	n.network, n.in.network = network, network
	err = n.load()
	if err == nil {
		err = n.work(ctx)
	}
	return errors.Join(err, network.Close())
}

// load makes the replica, which goes through its log.
func (n *Node) load() error {
	cfg := replica.Config{
		Core:      n.cfg.Protocol,
		Storage:   &timedStorage{Storage: n.cfg.Storage, metrics: n.metrics},
		Transport: &transport{network: n.network, metrics: n.metrics, local: n.local},
		Machine:   n.cfg.Machine, CheckOp: n.cfg.CheckOp, Progress: n.progress(),
	}
	cfg.Origin = n.cfg.Genesis.Origin
	if snapshots, ok := n.cfg.Storage.(replica.Snapshots); ok {
		u := &n.cfg.Genesis.Upkeep
		cfg.Checkpoints = replica.Checkpoints{
			Every: bftraft.Index(u.CheckpointEntries), Bytes: u.CheckpointBytes,
			Keep: math.MaxUint64, Store: snapshots,
		}
	}
	if n.cfg.Corrupt != nil {
		if err := n.cfg.Corrupt(&cfg); err != nil {
			return err
		}
	}
	r, err := replica.New(cfg)
	if err != nil {
		return fmt.Errorf("start replica: %w", err)
	}
	n.replica = r
	n.in.gate.Store(r.Verifier())
	n.watch.begin(n, time.Now())
	return nil
}

// progressEvery is how often a node says how far it has come at the start.
const progressEvery = 5 * time.Second

// progress returns what tells an operator that a long start goes on.
func (n *Node) progress() func(done, total bftraft.Index) {
	last := time.Now()
	return func(done, total bftraft.Index) {
		if now := time.Now(); now.Sub(last) >= progressEvery {
			last = now
			n.log.Info("executing the log again", "index", done, "of", total)
		}
	}
}

// work lets the network in and owns the replica until the end.
func (n *Node) work(ctx context.Context) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer n.in.wg.Wait()
	defer cancel()
	n.in.start(inner, n.cfg.Workers)
	if err := n.network.Start(inner); err != nil {
		return err
	}
	close(n.started)
	n.log.Info("node has started", "cluster", n.cfg.Genesis.Name, "index", n.replica.Executed().Index,
		"listen", n.network.Addrs(), "http", n.HTTPAddr())
	return n.own(ctx)
}

// The owner takes in at most so many inputs before it does what follows from them. Clients are
// given less, so that they cannot keep the protocol waiting.
const (
	stepsAtOnce = 256
	asksAtOnce  = 64
)

// own is the one goroutine that touches the replica.
func (n *Node) own(ctx context.Context) error {
	n.awake = time.Now()
	ticks := time.NewTicker(n.cfg.Tick)
	defer ticks.Stop()
	stop := ctx.Done()
	var deadline <-chan time.Time
	for {
		select {
		case <-ticks.C:
			n.tick()
		case s := <-n.in.steps:
			n.tellTime()
			n.step(&s)
		case a := <-n.in.asks:
			n.tellTime()
			n.answer(&a)
		case <-stop:
			if !n.handOver() {
				return nil
			}
			stop, deadline = nil, time.After(n.cfg.Grace)
		case <-deadline:
			return nil
		}
		n.drain()
		n.tellTime()
		if err := n.replica.Flush(); err != nil {
			return n.failed(err)
		}
		n.follow()
		if deadline != nil && n.succeeded() {
			return nil
		}
	}
}

// follow lets a change of who may do what count for what comes in from now on.
func (n *Node) follow() {
	gate := n.replica.Verifier()
	if gate == n.in.gate.Load() {
		return
	}
	n.in.gate.Store(gate)
	n.network.Review()
	m := gate.Members()
	n.log.Info("change in force", "number", m.Number, "index", m.At.Index, "clients", len(m.Clients),
		"admins", len(m.Admins))
}

// isClient says who may connect. The network asks on its own goroutines.
func (n *Node) isClient(key crypto.PublicKey) bool { return n.in.gate.Load().IsClient(key) }

func (n *Node) tick() {
	n.tellTime()
	n.replica.Tick()
	n.watch.look(n, time.Now())
}

// tellTime tells the replica the time.
func (n *Node) tellTime() {
	n.replica.At(uint64(1000 * time.Since(n.awake) / n.cfg.Tick))
}

// drain takes in what waits, so that one flush serves it all.
func (n *Node) drain() {
	for range stepsAtOnce {
		select {
		case s := <-n.in.steps:
			n.step(&s)
			continue
		default:
		}
		break
	}
	for range asksAtOnce {
		select {
		case a := <-n.in.asks:
			n.answer(&a)
			continue
		default:
		}
		break
	}
}

func (n *Node) step(s *step) {
	var drop bftraft.Drop
	if s.reply != nil {
		drop = n.replica.StepReply(s.from, s.reply)
	} else {
		drop = n.replica.Step(s.msg)
		n.watch.saw(s.msg.Message(), drop)
	}
	if drop != bftraft.Accepted {
		n.metrics.drop(s.from, drop)
		n.in.refused(s, drop)
	}
}

func (n *Node) answer(a *ask) {
	switch {
	case a.request != nil:
		n.replica.Request(a.client, a.from, a.request)
	case a.read != nil:
		n.replica.Read(a.client, a.read)
	case a.status:
		n.network.ReplyClient(p2p.ConnID(a.client.Conn), n.replica.NodeStatus())
	case a.proofs:
		n.network.ReplyClient(p2p.ConnID(a.client.Conn),
			bftraft.EncodeConvictions(n.replica.Convictions()))
	case a.resign > 0:
		if s := n.replica.Core(); s.Leading && s.Term == a.resign {
			n.log.Info("asked to hand over", "term", s.Term, "client", a.client.Key)
			n.replica.Resign()
		}
	case a.look != nil:
		a.look(n.replica)
	}
}

// handOver makes a leader ask for its successor. It is false when there is nobody to wait for.
func (n *Node) handOver() bool {
	if !n.replica.Core().Leading || len(n.cfg.Genesis.Voters) == 1 {
		return false
	}
	n.replica.Resign()
	return true
}

// succeeded says that somebody else leads.
func (n *Node) succeeded() bool {
	s := n.replica.Core()
	return s.Leader != 0 && s.Leader != n.cfg.ID
}

// failed says why the replica has stopped, in the words of this package.
func (n *Node) failed(err error) error {
	if errors.Is(err, bftraft.ErrBroken) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrStorage, err)
}
