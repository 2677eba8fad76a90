package client

import (
	"context"
	"fmt"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/p2p"
)

// Link carries frames to nodes. Send never blocks; frames may be lost. Close returns when the
// Receiver will not be called any more.
type Link interface {
	Send(to bftraft.NodeID, frame []byte) bool
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
type hostLink struct{ host *p2p.Host }

// Send queues a frame for a node.
func (l hostLink) Send(to bftraft.NodeID, frame []byte) bool {
	return l.host.Send(to, p2p.Client, frame)
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

// DialHost connects to all nodes of the configuration, and goes on trying until Close. Of the
// settings it needs Key, Peers, Security, Transport and Logger.
func DialHost(cfg Config) Dial {
	return func(to Receiver) (Link, error) {
		if len(cfg.Peers) == 0 {
			return nil, fmt.Errorf("%w: Peers", ErrConfig)
		}
		hc := p2p.DefaultConfig()
		hc.Key, hc.Peers = cfg.Key, cfg.Peers
		hc.Security, hc.Transport = cfg.Security, cfg.Transport
		hc.Logger = cfg.Logger
		host, err := p2p.New(hc, hostHandler{to})
		if err != nil {
			return nil, err
		}
		if err := host.Start(context.Background()); err != nil {
			return nil, err
		}
		return hostLink{host}, nil
	}
}
