package p2p

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	"tangaroa/crypto"
)

// Handler receives what arrives. Its methods are called on the goroutines that read, several at a
// time, in order per peer and class; they must be quick and must not call SetPeers or Close.
// The frame belongs to the callee.
type Handler interface {
	// FromNode is called with a frame from another node, or, at a client, from a node.
	FromNode(id crypto.NodeID, class Class, frame []byte)
	// FromClient is called with a frame from a client. The connection is where to reply to.
	FromClient(key crypto.PublicKey, conn ConnID, frame []byte)
	// NodeUp is called when a link to a node was made and the node has accepted it: frames sent
	// before are lost.
	NodeUp(id crypto.NodeID)
	// NodeDown is called when that link has ended.
	NodeDown(id crypto.NodeID)
}

// Errors of Host.
var (
	// ErrClosed is returned when the host has been closed.
	ErrClosed = errors.New("p2p: host is closed")
	// ErrStarted is returned by Start when it has been called before.
	ErrStarted = errors.New("p2p: host was started before")
)

// Host is one end of all links of a node or client. It is made by New, works from Start until
// Close, and may be used by any number of goroutines.
type Host struct {
	cfg     Config
	handler Handler
	log     *slog.Logger
	swarm   *swarm.Swarm
	closers []func() error // what lies below the swarm, in the order of closing
	epoch   time.Time      // origin of now
	ctx     context.Context
	cancel  context.CancelFunc
	connIDs atomic.Uint64
	refused atomic.Uint64 // strangers
	crowded atomic.Uint64 // clients above the limits
	clients tally

	// peers is replaced as a whole, under mu, so that Send needs no lock.
	peers atomic.Pointer[peerSet]

	closing sync.Once
	setting sync.Mutex     // held by SetPeers
	wg      sync.WaitGroup // goroutines that we started or serve

	mu       sync.Mutex
	started  bool
	closed   bool // no goroutine may be added to wg any more
	links    map[network.Conn]*link
	byConn   map[ConnID]*link             // client links
	byClient map[crypto.PublicKey][]*link // the same, in the order in which they came
}

// peerSet is an immutable list of the other nodes.
type peerSet struct {
	byNode [crypto.MaxNodeID + 1]*remote
	byPeer map[peer.ID]*remote
	all    []*remote // ascending by node
}

// New prepares a host; it opens no socket before Start.
func New(cfg Config, h Handler) (*Host, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	host := &Host{
		cfg: cfg, handler: h, log: cfg.logger(), epoch: time.Now(),
		links:    make(map[network.Conn]*link),
		byConn:   make(map[ConnID]*link),
		byClient: make(map[crypto.PublicKey][]*link),
	}
	host.cfg.MaxPeers = cfg.maxPeers()
	host.ctx, host.cancel = context.WithCancel(context.Background())
	host.peers.Store(&peerSet{})
	if err := host.buildSwarm(); err != nil {
		host.cancel()
		return nil, errors.Join(err, host.closeLower())
	}
	host.swarm.Notify(&network.NotifyBundle{
		ConnectedF:    func(_ network.Network, c network.Conn) { host.connected(c) },
		DisconnectedF: func(_ network.Network, c network.Conn) { host.disconnected(c) },
	})
	host.swarm.SetStreamHandler(host.serve)
	return host, nil
}

// Start listens and begins to dial. The host closes when ctx ends. If it fails the host is closed.
func (h *Host) Start(ctx context.Context) error {
	if err := h.begin(); err != nil {
		return err
	}
	for _, a := range h.cfg.Listen {
		addr, err := parseAddr(a, h.cfg.Transport)
		if err == nil {
			err = h.swarm.AddListenAddr(addr)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("p2p: listening on %s: %w", a, err), h.Close())
		}
	}
	if err := h.SetPeers(h.cfg.Peers); err != nil {
		return errors.Join(err, h.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = h.Close() })
	context.AfterFunc(h.ctx, func() { stop() })
	return nil
}

func (h *Host) begin() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return ErrClosed
	case h.started:
		return ErrStarted
	}
	h.started = true
	return nil
}

// Close ends all links and waits until every goroutine of the host has ended. Frames still queued
// are lost.
func (h *Host) Close() error {
	var err error
	h.closing.Do(func() {
		h.mu.Lock()
		h.closed = true
		h.mu.Unlock()
		h.cancel()
		err = errors.Join(h.swarm.Close(), h.closeLower())
		h.wg.Wait()
	})
	return err
}

func (h *Host) closeLower() error {
	var errs []error
	for _, closeOne := range h.closers {
		errs = append(errs, closeOne())
	}
	return errors.Join(errs...)
}

// Addrs returns the addresses on which the host listens, as "host:port", with the ports chosen.
func (h *Host) Addrs() []string {
	var addrs []string
	for _, m := range h.swarm.ListenAddresses() {
		addrs = append(addrs, hostPort(m))
	}
	return addrs
}

// SetPeers replaces the list of the other nodes. Links to nodes that stay as they were are not
// touched; nodes that left are disconnected and refused from now on. It must not be called by a
// Handler.
func (h *Host) SetPeers(peers []Peer) error {
	if err := h.cfg.validatePeers(peers); err != nil {
		return err
	}
	peers = slices.Clone(peers)
	slices.SortFunc(peers, func(a, b Peer) int { return int(a.ID) - int(b.ID) })
	h.setting.Lock()
	defer h.setting.Unlock()
	if h.ctx.Err() != nil {
		return ErrClosed
	}
	old := h.peers.Load()
	next := &peerSet{byPeer: make(map[peer.ID]*remote)}
	for _, p := range peers {
		r := old.byNode[p.ID]
		if r == nil || !r.same(p) {
			var err error
			if r, err = newRemote(h, p); err != nil {
				return err
			}
		}
		next.byNode[p.ID], next.byPeer[r.pid] = r, r
		next.all = append(next.all, r)
	}
	for _, r := range old.all {
		if next.byNode[r.peer.ID] != r {
			r.remove()
		}
	}
	h.peers.Store(next)
	for _, r := range next.all {
		if old.byNode[r.peer.ID] != r && len(r.addrs) > 0 {
			h.spawn(r.keepConnected)
		}
	}
	return nil
}

// Send queues a frame for a node. It never blocks. It is false when the frame was dropped: the node
// is unknown or not connected, its queue is full, or the frame is empty or above the limit. The
// frame must not be changed afterwards.
func (h *Host) Send(to crypto.NodeID, class Class, frame []byte) bool {
	if !to.Valid() || class >= classCount {
		return false
	}
	r := h.peers.Load().byNode[to]
	if r == nil {
		return false
	}
	if l := r.current(); l != nil && l.send(class, frame) {
		return true
	}
	r.count.classes[class].dropped.Add(1)
	return false
}

// SendMany queues the same frame for several nodes, without copying it, and returns how many queues
// took it.
func (h *Host) SendMany(to []crypto.NodeID, class Class, frame []byte) int {
	sent := 0
	for _, id := range to {
		if h.Send(id, class, frame) {
			sent++
		}
	}
	return sent
}

// ReplyClient queues a frame for one client connection. It is false when the connection has ended,
// its queue is full, or the frame is empty or above the limit.
func (h *Host) ReplyClient(conn ConnID, frame []byte) bool {
	h.mu.Lock()
	l := h.byConn[conn]
	h.mu.Unlock()
	return l != nil && h.reply(l, frame)
}

// ReplyKey queues a frame for every connection of a client and returns how many queues took it.
func (h *Host) ReplyKey(key crypto.PublicKey, frame []byte) int {
	h.mu.Lock()
	links := h.byClient[key] // never changed in place
	h.mu.Unlock()
	sent := 0
	for _, l := range links {
		if h.reply(l, frame) {
			sent++
		}
	}
	return sent
}

func (h *Host) reply(l *link, frame []byte) bool {
	if l.send(Client, frame) {
		return true
	}
	h.clients.classes[Client].dropped.Add(1)
	return false
}

// Drop closes the link to a node, if there is one, and so starts redialling. It is for a protocol
// that hears nothing sensible from the node though the link is alive.
func (h *Host) Drop(id crypto.NodeID) {
	if l := h.linkTo(id); l != nil {
		l.fail(nil)
	}
}

// LastReceived returns when bytes, keep-alives included, last arrived from a node; zero when it is
// not connected.
func (h *Host) LastReceived(id crypto.NodeID) time.Time {
	if l := h.linkTo(id); l != nil {
		return h.at(l.heard.Load())
	}
	return time.Time{}
}

func (h *Host) linkTo(id crypto.NodeID) *link {
	if !id.Valid() {
		return nil
	}
	if r := h.peers.Load().byNode[id]; r != nil {
		return r.current()
	}
	return nil
}

// now is a monotonic clock that fits an atomic.
func (h *Host) now() int64 { return int64(time.Since(h.epoch)) }

// at turns a reading of now into a time.
func (h *Host) at(now int64) time.Time { return h.epoch.Add(time.Duration(now)) }

// spawn runs f on a goroutine that Close waits for; it is false when the host is closed.
func (h *Host) spawn(f func()) bool {
	if !h.enter() {
		return false
	}
	go func() {
		defer h.wg.Done()
		f()
	}()
	return true
}

func (h *Host) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.wg.Add(1)
	return true
}
