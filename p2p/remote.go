package p2p

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
)

// remote is one other node, whether connected or not.
type remote struct {
	host   *Host
	peer   Peer
	pid    peer.ID
	addrs  []ma.Multiaddr
	ctx    context.Context // ends when the node is removed or the host closes
	cancel context.CancelFunc

	link  atomic.Pointer[link] // nil while there is none; changed under mu only
	count tally

	mu      sync.Mutex // serialises what replaces the link, and NodeUp and NodeDown with it
	removed bool
}

func newRemote(h *Host, p Peer) (*remote, error) {
	pid, err := peerID(p.Key)
	if err != nil {
		return nil, err
	}
	addrs, err := parseAddrs(p.Addrs, h.cfg.Transport)
	if err != nil {
		return nil, err
	}
	p.Addrs = slices.Clone(p.Addrs)
	r := &remote{host: h, peer: p, pid: pid, addrs: addrs}
	r.ctx, r.cancel = context.WithCancel(h.ctx)
	return r, nil
}

func (r *remote) same(p Peer) bool {
	return r.peer.ID == p.ID && r.peer.Key == p.Key && slices.Equal(r.peer.Addrs, p.Addrs)
}

// adopt makes conn the link to this node, or closes it when the link that exists stays.
func (r *remote) adopt(conn network.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.link.Load()
	if r.removed || r.host.ctx.Err() != nil || old != nil && !r.prefers(conn, old) {
		_ = conn.Close()
		return
	}
	l := newLink(r.host, conn, r.peer.Key, &r.count)
	l.remote = r
	if r.host.cfg.Self == 0 {
		l.sendLimit = r.host.cfg.MaxClientFrameBytes
		l.carry(Client)
	} else {
		l.carry(Consensus, Bulk, Client)
	}
	r.host.addLink(l)
	r.link.Store(l)
	if old != nil {
		r.down(old)
	}
	l.start()
}

// confirm is called when the other end has opened a stream. Only then is the link up: in a TLS
// handshake the dialling side is done before the other has judged its key.
func (r *remote) confirm(l *link) {
	if l.up.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.link.Load() != l || l.up.Load() {
		return
	}
	l.up.Store(true)
	r.count.connects.Add(1)
	r.host.log.Info("link up", "peer", r.peer.ID, "addr", l.conn.RemoteMultiaddr())
	r.host.handler.NodeUp(r.peer.ID)
}

// current returns the link if it is up.
func (r *remote) current() *link {
	if l := r.link.Load(); l != nil && l.up.Load() {
		return l
	}
	return nil
}

// prefers tells whether conn should replace the link old.
func (r *remote) prefers(conn network.Conn, old *link) bool {
	outbound := conn.Stat().Direction == network.DirOutbound
	simultaneous := time.Since(old.began) <= 2*r.host.cfg.DialTimeout
	return replaces(outbound, old.outbound, r.weDial(), simultaneous)
}

// replaces decides between a new connection and an older one, given which of them we dialled and
// whether we are the lower node. Two connections that were dialled at the same time from both ends
// must have the same fate at both ends: the one that the lower node dialled stays. In all other
// cases the newer one is right, because whoever dialled it had lost the older.
func replaces(outbound, oldOutbound, weDial, simultaneous bool) bool {
	if outbound == oldOutbound || !simultaneous {
		return true
	}
	return outbound == weDial
}

// weDial tells whether it is on us to dial first.
func (r *remote) weDial() bool { return r.host.cfg.Self < r.peer.ID }

// lose forgets a link whose connection has ended.
func (r *remote) lose(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.link.CompareAndSwap(l, nil) {
		r.down(l)
	}
}

func (r *remote) down(l *link) {
	l.end()
	_ = l.conn.Close()
	if l.up.Load() {
		r.host.log.Info("link down", "peer", r.peer.ID)
		r.host.handler.NodeDown(r.peer.ID)
	}
}

// remove ends the link for good.
func (r *remote) remove() {
	r.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removed = true
	if l := r.link.Swap(nil); l != nil {
		r.down(l)
	}
}

// keepConnected dials whenever there is no link. It runs until the node is removed.
func (r *remote) keepConnected() {
	pause := redial{min: r.host.cfg.RedialMin, max: r.host.cfg.RedialMax}
	wait := r.standby()
	for {
		if l := r.link.Load(); l != nil {
			select {
			case <-r.ctx.Done():
				return
			case <-l.ctx.Done():
			}
			if time.Since(l.began) >= r.host.cfg.SettleTimeout {
				pause.reset()
			}
			wait = r.standby() + pause.next()
		}
		if !sleep(r.ctx, wait) {
			return
		}
		if r.link.Load() != nil {
			continue
		}
		began := time.Now()
		if err := r.dial(); err != nil && r.ctx.Err() == nil {
			r.count.dialFailures.Add(1)
			r.host.log.Debug("dial failed", "peer", r.peer.ID, "err", err)
		}
		// An attempt that ran into its time-out has waited already.
		wait = max(pause.next()-time.Since(began), r.host.cfg.RedialMin)
	}
}

func (r *remote) standby() time.Duration {
	if r.weDial() {
		return 0
	}
	return r.host.cfg.StandbyDelay
}

// dial makes one attempt on the configured addresses, whatever the swarm may remember of others or
// of failures.
func (r *remote) dial() error {
	ctx, cancel := context.WithTimeout(r.ctx, r.host.cfg.DialTimeout)
	defer cancel()
	book := r.host.swarm.Peerstore()
	book.ClearAddrs(r.pid)
	book.AddAddrs(r.pid, r.addrs, peerstore.PermanentAddrTTL)
	r.host.swarm.Backoff().Clear(r.pid)
	_, err := r.host.swarm.DialPeer(ctx, r.pid)
	return err
}

// redial is the pause between attempts: doubling, capped, of which the second half is jitter so
// that nodes that lost each other at once do not return at once.
type redial struct {
	min, max, current time.Duration
}

func (b *redial) next() time.Duration {
	b.current = min(max(b.min, 2*b.current), b.max)
	return b.current/2 + rand.N(b.current/2+1)
}

func (b *redial) reset() { b.current = 0 }

// sleep is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
