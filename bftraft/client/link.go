package client

import (
	"context"
	"fmt"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/p2p"
	"tangaroa/quorumcert"
)

// Link carries frames to nodes. Send never blocks; frames may be lost. Close returns when the
// Receiver will not be called any more.
type Link interface {
	Send(to bftraft.NodeID, frame []byte) bool
	// SetNodes names all members there are from now on: links to others end, and links to new ones
	// are made. It is not called by what the link calls.
	SetNodes(list []bftraft.Node)
	Close() error
}

// Receiver is what a Link calls with what arrives: for one node in order, for several at once.
// The frame belongs to the callee.
type Receiver interface {
	Frame(from bftraft.NodeID, frame []byte)
	Up(id bftraft.NodeID)
	Down(id bftraft.NodeID)
}

// Dial makes the link of a client, which calls the receiver from then on, if not before.
type Dial func(Receiver) (Link, error)

// hostLink is the link over real sockets.
type hostLink struct {
	host *p2p.Host
	cfg  p2p.Config
	own  map[bftraft.NodeID]string // where the settings say that nodes are
}

// Send queues a frame for a node.
func (l hostLink) Send(to bftraft.NodeID, frame []byte) bool {
	return l.host.Send(to, p2p.Client, frame)
}

// SetNodes keeps the links to nodes that stay as they are. A node is looked for where the settings
// say and where the newest change does, or else where the genesis does: whoever answers must prove
// to have its key.
func (l hostLink) SetNodes(list []bftraft.Node) {
	var peers []p2p.Peer
	for _, n := range list {
		if p := (p2p.Peer{ID: n.ID, Key: n.Key}); l.takes(p) {
			p.Addrs = l.addresses(p, n.Address)
			peers = append(peers, p)
		}
	}
	_ = l.host.SetPeers(peers) // all of them were judged: only a host that is closed refuses them
}

// addresses returns where a node may be. One that cannot be used, which administrators may have
// mistyped, keeps nobody from the other nodes.
func (l hostLink) addresses(p p2p.Peer, changed string) []string {
	var usable []string
	for _, a := range []string{l.own[p.ID], changed} {
		if a != "" && !slices.Contains(usable, a) && l.cfg.CheckAddress(a) == nil {
			usable = append(usable, a)
		}
	}
	is := func(o p2p.Peer) bool { return o.Key == p.Key }
	if i := slices.IndexFunc(l.cfg.Peers, is); i >= 0 && len(usable) == 0 {
		return l.cfg.Peers[i].Addrs
	}
	return usable
}

// takes says whether the host can be given a peer.
func (l hostLink) takes(p p2p.Peer) bool {
	cfg := l.cfg
	cfg.Peers = []p2p.Peer{p}
	return cfg.Validate() == nil
}

// Close ends all connections.
func (l hostLink) Close() error { return l.host.Close() }

// hostHandler hands to a Receiver what a host receives.
type hostHandler struct{ to Receiver }

func (h hostHandler) FromNode(id crypto.NodeID, class p2p.Class, frame []byte) {
	if class == p2p.Client {
		h.to.Frame(id, frame)
	}
}

// FromClient never happens: a client admits none.
func (h hostHandler) FromClient(crypto.PublicKey, p2p.ConnID, []byte) {}

func (h hostHandler) NodeUp(id crypto.NodeID) { h.to.Up(id) }

func (h hostHandler) NodeDown(id crypto.NodeID) { h.to.Down(id) }

// DialHost connects to all nodes of the configuration and those that follow them, and goes on
// trying until Close. Of the settings it needs Key, Peers, Security, Transport and Logger.
func DialHost(cfg Config) Dial {
	return func(to Receiver) (Link, error) {
		if len(cfg.Peers) == 0 {
			return nil, fmt.Errorf("%w: Peers", ErrConfig)
		}
		hc := p2p.DefaultConfig()
		hc.Key, hc.Peers = cfg.Key, cfg.Peers
		hc.Security, hc.Transport = cfg.Security, cfg.Transport
		hc.Logger, hc.MaxPeers = cfg.Logger, quorumcert.MaxVoters
		l := hostLink{cfg: hc, own: cfg.Addresses}
		hc.Peers = slices.Clone(cfg.Peers)
		for i, p := range hc.Peers {
			hc.Peers[i].Addrs = l.addresses(p, "")
		}
		host, err := p2p.New(hc, hostHandler{to})
		if err != nil {
			return nil, err
		}
		if err := host.Start(context.Background()); err != nil {
			return nil, err
		}
		l.host = host
		return l, nil
	}
}
