package node

import (
	"context"
	"slices"
	"sync"

	"tangaroa/crypto"
	"tangaroa/p2p"
)

// switchboard is a network in memory: it loses what is sent to who is not there, or has not the
// sender among its peers, or the other way round. It keeps order per sender, receiver and class.
type switchboard struct {
	mu      sync.Mutex
	ports   map[crypto.NodeID]*port
	cut     map[crypto.NodeID]bool
	replies map[crypto.PublicKey]chan []byte // what clients receive
	links   map[[2]*port]bool                // those who have each other among their peers
}

func newSwitchboard() *switchboard {
	return &switchboard{
		ports: map[crypto.NodeID]*port{}, cut: map[crypto.NodeID]bool{},
		replies: map[crypto.PublicKey]chan []byte{}, links: map[[2]*port]bool{},
	}
}

// relink tells ports whom they are linked with now and were not before. The lock is held.
func (s *switchboard) relink() {
	before := s.links
	s.links = map[[2]*port]bool{}
	for _, a := range s.ports {
		for _, b := range s.ports {
			if a == b || !a.admits(b) || !b.admits(a) {
				continue
			}
			s.links[[2]*port{a, b}] = true
			if !before[[2]*port{a, b}] {
				a.handler.NodeUp(b.id)
			}
		}
	}
}

// peersOf returns the peers of a node that is there.
func (s *switchboard) peersOf(id crypto.NodeID) []p2p.Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ports[id].peers
}

func (s *switchboard) isolate(id crypto.NodeID, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut[id] = on
}

// client connects a client's key and returns what nodes say to it.
func (s *switchboard) client(key crypto.PublicKey) chan []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies[key] = make(chan []byte, 1024)
	return s.replies[key]
}

// port is one node's end of the switchboard; it implements Network.
type port struct {
	board   *switchboard
	id      crypto.NodeID
	key     crypto.PublicKey
	handler p2p.Handler
	peers   []p2p.Peer // under the board's lock
	admit   func(crypto.PublicKey) bool
	shut    map[crypto.PublicKey]bool // whose connections it would have closed; under the lock
}

func (s *switchboard) network(c p2p.Config, h p2p.Handler) (Network, error) {
	return &port{
		board: s, id: c.Self, key: c.Key.Public(), handler: h, peers: c.Peers, admit: c.Clients,
		shut: map[crypto.PublicKey]bool{},
	}, nil
}

func (p *port) Start(context.Context) error {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	p.board.ports[p.id] = p
	p.board.relink()
	return nil
}

func (p *port) Close() error {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	delete(p.board.ports, p.id)
	p.board.relink()
	return nil
}

func (p *port) Send(to crypto.NodeID, class p2p.Class, frame []byte) bool {
	p.board.mu.Lock()
	other := p.board.ports[to]
	linked := other != nil && !p.board.cut[p.id] && !p.board.cut[to] && p.admits(other) &&
		other.admits(p)
	p.board.mu.Unlock()
	if !linked {
		return false
	}
	other.handler.FromNode(p.id, class, append([]byte(nil), frame...))
	return true
}

func (p *port) admits(other *port) bool {
	return slices.ContainsFunc(p.peers, func(peer p2p.Peer) bool {
		return peer.ID == other.id && peer.Key == other.key
	})
}

// clientConn is the connection of every client on the switchboard.
const clientConn p2p.ConnID = 7

func (p *port) ReplyClient(conn p2p.ConnID, frame []byte) bool {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	if conn != clientConn {
		return false
	}
	for _, c := range p.board.replies {
		c <- frame
	}
	return true
}

func (p *port) ReplyKey(key crypto.PublicKey, frame []byte) int {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	if c := p.board.replies[key]; c != nil {
		c <- frame
		return 1
	}
	return 0
}

func (p *port) SetPeers(peers []p2p.Peer) error {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	p.peers = peers
	p.board.relink()
	return nil
}

func (p *port) Review() {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	for key := range p.board.replies {
		p.shut[key] = p.shut[key] || !p.admit(key)
	}
}

func (p *port) Addrs() []string  { return []string{"memory"} }
func (p *port) Stats() p2p.Stats { return p2p.Stats{} }
