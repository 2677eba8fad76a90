package p2p

import (
	"slices"

	"github.com/libp2p/go-libp2p/core/network"

	"tangaroa/crypto"
)

// connected is called by the swarm before it accepts the first stream of a connection.
func (h *Host) connected(conn network.Conn) {
	if r := h.peers.Load().byPeer[conn.RemotePeer()]; r != nil {
		r.adopt(conn)
		return
	}
	key, ok := publicKey(conn.RemotePeer())
	if !ok || !h.admitsClient(key) || !h.adoptClient(conn, key) {
		_ = conn.Close()
	}
}

// disconnected is called by the swarm once for each connection, after connected.
func (h *Host) disconnected(conn network.Conn) {
	h.mu.Lock()
	l := h.links[conn]
	delete(h.links, conn)
	if l != nil && l.remote == nil {
		h.forgetClientLocked(l)
	}
	h.mu.Unlock()
	switch {
	case l == nil:
	case l.remote == nil:
		l.end()
	default:
		l.remote.lose(l)
	}
}

// serve is called by the swarm on a goroutine of its own for each inbound stream.
func (h *Host) serve(s network.Stream) {
	h.mu.Lock()
	l := h.links[s.Conn()]
	h.mu.Unlock()
	if l == nil || !h.enter() {
		_ = s.Reset()
		return
	}
	defer h.wg.Done()
	l.receive(s)
}

func (h *Host) addLink(l *link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.links[l.conn] = l
}

func (h *Host) admitsClient(key crypto.PublicKey) bool {
	return h.cfg.Clients != nil && h.cfg.Clients(key)
}

// Review closes the connections of clients that Config.Clients admits no more.
func (h *Host) Review() {
	h.mu.Lock()
	var gone []*link
	for key, links := range h.byClient {
		if !h.admitsClient(key) {
			gone = append(gone, links...)
		}
	}
	h.mu.Unlock()
	for _, l := range gone {
		h.log.Info("client is not admitted any more", "peer", l.key)
		_ = l.conn.Close()
	}
}

// adoptClient registers a client's connection unless there are too many.
func (h *Host) adoptClient(conn network.Conn, key crypto.PublicKey) bool {
	l := newLink(h, conn, key, &h.clients)
	l.receiveLimit = h.cfg.MaxClientFrameBytes
	l.carry(Client)
	h.mu.Lock()
	same := h.byClient[key]
	if h.closed || !h.admitsClient(key) || len(h.byConn) >= h.cfg.MaxClientConns ||
		len(same) >= h.cfg.MaxConnsPerClient {
		h.mu.Unlock()
		l.cancel()
		h.crowded.Add(1)
		return false
	}
	h.links[conn] = l
	h.byConn[l.id] = l
	h.byClient[key] = append(slices.Clip(same), l)
	h.mu.Unlock()
	h.clients.connects.Add(1)
	h.log.Debug("client connected", "peer", key, "addr", conn.RemoteMultiaddr())
	l.start()
	return true
}

func (h *Host) forgetClientLocked(l *link) {
	delete(h.byConn, l.id)
	var rest []*link
	for _, other := range h.byClient[l.key] {
		if other != l {
			rest = append(rest, other)
		}
	}
	if rest == nil {
		delete(h.byClient, l.key)
		return
	}
	h.byClient[l.key] = rest
}
