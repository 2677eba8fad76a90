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
	"sync"
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
	genesis  *bftraft.Verifier // judges by the genesis alone,
	verifier *bftraft.Verifier // and by the changes that the node was told of at its start
	metrics  *metrics
	in       *inbound
	local    *submitter // nil without Config.Client

	begun   atomic.Bool
	started chan struct{} // closed once the network is up
	done    chan struct{} // closed when Run returns
	network Network       // may be read once started is closed
	web     net.Listener  // nil without Config.HTTP; likewise
	relink  chan struct{} // holds a token while links are to follow a change

	linking sync.Mutex // held while the network is told of its peers, which may take a while

	whereMu   sync.Mutex
	addresses map[crypto.PublicKey][]string // where this node was told that others are
	guests    map[crypto.PublicKey]guest    // who has left

	dismissed dismissed // clients that have left

	// seen is the newest picture of the node, replaced as a whole by the owner.
	seen    atomic.Pointer[Status]
	handler http.Handler

	// The rest belongs to the owner.
	replica *replica.Replica
	storage *informedStorage
	watch   watch
	turns   turns
	awake   time.Time // since when it has owned its replica
}

// New judges the configuration and prepares a node. It opens nothing.
func New(cfg Config) (*Node, error) {
	if err := cfg.validateFields(); err != nil {
		return nil, err
	}
	m := newMetrics()
	genesis, told, err := cfg.gates(m.scheme(crypto.ZIP215()))
	if err != nil {
		return nil, err
	}
	memory := &requestMemory{recent: bftraft.NewRecent(rememberedRequests)}
	verifier := told.Remembering(memory)
	n := &Node{
		cfg: cfg, log: cfg.logger().With("node", cfg.ID),
		genesis: genesis.Remembering(memory), verifier: verifier, metrics: m,
		in: newInbound(&cfg, verifier, m), started: make(chan struct{}),
		done: make(chan struct{}), relink: make(chan struct{}, 1),
		addresses: addressesOf(cfg.Network.Peers), guests: make(map[crypto.PublicKey]guest),
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
	n.turns = turns{log: n.log, seconds: m.turn}
	n.seen.Store(n.picture(&bftraft.State{ID: cfg.ID}, 0, verifier.Members()))
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
	p.Verifier = n.genesis // changes come out of storage: their place in the log counts
	if p.Seed == 0 {
		p.Seed = binary.BigEndian.Uint64(key[:])
	}
	w.Key, w.Self, w.Clients = n.cfg.Key, n.cfg.ID, n.isClient
	w.MaxPeers = int(crypto.MaxNodeID)
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
	out := &transport{metrics: n.metrics, local: n.local}
	if err := n.load(out); err != nil {
		return err
	}
	n.cfg.Network.Peers, _ = n.peers()
	network, err := n.cfg.NewNetwork(n.cfg.Network, n.in)
	if err != nil {
		return err
	}
	n.network, n.in.network, out.network = network, network, network
	return errors.Join(n.work(ctx), network.Close())
}

// load makes the replica, which goes through its log. It sends nothing before it is flushed.
func (n *Node) load(out replica.Transport) error {
	n.storage = &informedStorage{Storage: n.cfg.Storage, told: n.cfg.Changes}
	cfg := replica.Config{
		Core:      n.cfg.Protocol,
		Storage:   &timedStorage{Storage: n.storage, metrics: n.metrics, turns: &n.turns},
		Transport: out,
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
	switch {
	case errors.Is(err, replica.ErrLeft):
		return departure(n.genesis, n.storage.known, n.cfg.Key.Public())
	case err != nil:
		return fmt.Errorf("start replica: %w", err)
	}
	n.replica = r
	n.in.follow(r.Verifier())
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
	if err := n.replica.Flush(); err != nil {
		return n.failed(err) // it must not sign, and nobody is to hear of it
	}
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer n.in.wg.Wait()
	defer cancel()
	n.in.start(inner, n.cfg.Workers)
	n.in.wg.Go(func() { n.keepLinks(inner) })
	if err := n.network.Start(inner); err != nil {
		return err
	}
	close(n.started)
	n.warnOverridden(&bftraft.Membership{}, n.in.gate.Load().Members())
	n.log.Info("node has started", "cluster", n.cfg.Genesis.Name, "index", n.replica.Executed().Index,
		"role", n.seen.Load().Role, "listen", n.network.Addrs(), "http", n.HTTPAddr())
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
	n.awake, n.turns.stored = time.Now(), 0
	ticks := time.NewTicker(n.cfg.Tick)
	defer ticks.Stop()
	stop := ctx.Done()
	var deadline <-chan time.Time
	for {
		var began time.Time
		select {
		case <-ticks.C:
			began = n.tellTime()
			n.tick()
		case s := <-n.in.steps:
			began = n.tellTime()
			n.step(&s)
		case a := <-n.in.asks:
			began = n.tellTime()
			n.answer(&a)
		case id := <-n.in.ups:
			began = n.tellTime()
			n.greet(id)
		case <-stop:
			began = n.tellTime()
			if !n.handOver() {
				return nil
			}
			stop, deadline = nil, time.After(n.cfg.Grace)
		case <-deadline:
			return nil
		}
		n.drain()
		tookIn := n.tellTime()
		if err := n.replica.Flush(); err != nil {
			return n.failed(err)
		}
		n.follow()
		n.turns.end(began, tookIn, time.Now())
		if deadline != nil && n.succeeded() {
			return nil
		}
	}
}

func (n *Node) tick() {
	n.replica.Tick()
	n.watch.look(n, time.Now())
}

// tellTime tells the replica the time, and returns it.
func (n *Node) tellTime() time.Time {
	now := time.Now()
	n.replica.At(uint64(1000 * now.Sub(n.awake) / n.cfg.Tick))
	return now
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
	case a.ready != nil:
		n.network.ReplyClient(p2p.ConnID(a.client.Conn), n.replica.ReadyFor(a.ready))
	case a.look != nil:
		a.look(n.replica)
	}
}

// handOver makes a leader ask for its successor. It is false when there is nobody to wait for.
func (n *Node) handOver() bool {
	if !n.replica.Core().Leading || len(n.replica.Verifier().Members().Voters) == 1 {
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
	switch {
	case errors.Is(err, bftraft.ErrBroken), errors.Is(err, replica.ErrAccused),
		errors.Is(err, replica.ErrForgot):
		return err
	case errors.Is(err, replica.ErrLeft):
		left := departure(n.genesis, n.replica.Verifier().Changes(), n.cfg.Key.Public())
		n.log.Info("this node was taken out of the cluster", "number", left.Change,
			"index", left.Entry)
		return left
	}
	return fmt.Errorf("%w: %w", ErrStorage, err)
}
