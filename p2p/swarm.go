package p2p

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	lcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/gologshim"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	lyamux "github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-yamux/v5"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"
)

func protocolID(c Class) protocol.ID {
	return protocol.ID(fmt.Sprintf("/tangaroa/%s/%d", c, framingVersion))
}

// buildSwarm puts together the few parts of libp2p that we use. There is no libp2p host on top:
// what it would add (identify, ping, address discovery, protocol negotiation) is what a cluster
// that knows its members has no use for.
func (h *Host) buildSwarm() error {
	key, err := privateKey(h.cfg.Key)
	if err != nil {
		return fmt.Errorf("p2p: reading our key: %w", err)
	}
	self, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return fmt.Errorf("p2p: naming our key: %w", err)
	}
	book, err := pstoremem.NewPeerstore()
	if err != nil {
		return fmt.Errorf("p2p: making the address book: %w", err)
	}
	limits, err := newResourceManager(&h.cfg)
	if err != nil {
		return fmt.Errorf("p2p: setting resource limits: %w", err)
	}
	h.closers = append(h.closers, book.Close, limits.Close)
	gate := &gater{host: h}
	h.swarm, err = swarm.NewSwarm(self, book, eventbus.NewBus(),
		swarm.WithConnectionGater(gate),
		swarm.WithResourceManager(limits),
		swarm.WithDialTimeout(h.cfg.DialTimeout),
		swarm.WithDialTimeoutLocal(h.cfg.DialTimeout),
		swarm.WithDialRanker(swarm.NoDelayDialRanker),
		// Few failures would make these stop dialling addresses of a whole kind.
		swarm.WithUDPBlackHoleSuccessCounter(nil),
		swarm.WithIPv6BlackHoleSuccessCounter(nil),
	)
	if err != nil {
		return fmt.Errorf("p2p: making the swarm: %w", err)
	}
	if err := book.AddPrivKey(self, key); err != nil {
		return fmt.Errorf("p2p: storing our key: %w", err)
	}
	carrier, err := h.newTransport(key, gate, limits)
	if err != nil {
		return fmt.Errorf("p2p: making transport %s: %w", h.cfg.Transport, err)
	}
	return h.swarm.AddTransport(carrier)
}

func (h *Host) newTransport(
	key lcrypto.PrivKey, gate connmgr.ConnectionGater, limits network.ResourceManager,
) (transport.Transport, error) {
	if h.cfg.Transport == TransportQUIC {
		return h.newQUIC(key, gate, limits)
	}
	muxers := []upgrader.StreamMuxer{{ID: lyamux.ID, Muxer: h.newMuxer()}}
	security, err := newSecurity(h.cfg.Security, key, muxers)
	if err != nil {
		return nil, err
	}
	up, err := upgrader.New([]sec.SecureTransport{security}, muxers, nil, limits, gate,
		upgrader.WithAcceptTimeout(2*h.cfg.DialTimeout))
	if err != nil {
		return nil, err
	}
	// Without reuseport a second process cannot listen on our address, and connections that both
	// ends dial at once do not collide.
	return tcp.NewTCPTransport(up, limits, nil,
		tcp.DisableReuseport(), tcp.WithConnectionTimeout(h.cfg.DialTimeout))
}

func newSecurity(
	name string, key lcrypto.PrivKey, muxers []upgrader.StreamMuxer,
) (sec.SecureTransport, error) {
	if name == SecurityNoise {
		return noise.New(noise.ID, key, muxers)
	}
	return libp2ptls.New(libp2ptls.ID, key, muxers)
}

// newMuxer sets yamux up for a handful of long-lived streams.
//
// The window of a stream is also what bulk may put in front of consensus on a slow line, because
// one connection sends in order. It starts at 256 KiB and doubles while it is used up within four
// round trips. The round trip is measured once, on the idle connection: measured again beside a
// long transfer it would include our own queue, and the window would grow with it.
func (h *Host) newMuxer() network.Multiplexer {
	c := yamux.DefaultConfig()
	c.LogOutput = io.Discard
	c.ReadBufSize = 0         // the security layer buffers
	c.EnableKeepAlive = false // ours is a frame
	c.MeasureRTTInterval = measureOnce
	c.AcceptBacklog = maxStreams
	c.MaxIncomingStreams = maxStreams
	c.MaxStreamWindowSize = streamWindowBytes
	c.MaxMessageSize = messageBytes
	c.ConnectionWriteTimeout = h.cfg.WriteTimeout
	return (*lyamux.Transport)(c)
}

// measureOnce is longer than any connection lasts.
const measureOnce = 10 * 365 * 24 * time.Hour

func (h *Host) newQUIC(
	key lcrypto.PrivKey, gate connmgr.ConnectionGater, limits network.ResourceManager,
) (transport.Transport, error) {
	var reset quic.StatelessResetKey
	var token quic.TokenGeneratorKey
	seed := h.cfg.Key.Seed()
	if err := derive(seed[:], "tangaroa quic stateless reset", reset[:]); err != nil {
		return nil, err
	}
	if err := derive(seed[:], "tangaroa quic token", token[:]); err != nil {
		return nil, err
	}
	conns, err := quicreuse.NewConnManager(reset, token,
		quicreuse.ConnContext(func(
			ctx context.Context, info *quic.ClientInfo,
		) (context.Context, error) {
			return admitQUIC(ctx, info, limits)
		}),
		quicreuse.VerifySourceAddress(func(addr net.Addr) bool {
			return limits.VerifySourceAddress(addr)
		}),
	)
	if err != nil {
		return nil, err
	}
	h.closers = append([]func() error{conns.Close}, h.closers...)
	return libp2pquic.NewTransport(key, conns, nil, gate, limits)
}

// admitQUIC counts an inbound QUIC connection from its first packet on. An address that cannot be
// read is judged without.
func admitQUIC(
	ctx context.Context, info *quic.ClientInfo, limits network.ResourceManager,
) (context.Context, error) {
	addr, err := quicreuse.ToQuicMultiaddr(info.RemoteAddr, quic.Version1)
	if err != nil {
		addr = nil
	}
	scope, err := limits.OpenConnection(network.DirInbound, false, addr)
	if err != nil {
		return ctx, err
	}
	ctx = network.WithConnManagementScope(ctx, scope)
	context.AfterFunc(ctx, scope.Done)
	return ctx, nil
}

// derive fills out from the seed. The keys must survive a restart, so that peers learn from the
// first packet that their old connection is gone.
func derive(seed []byte, purpose string, out []byte) error {
	bytes, err := hkdf.Key(sha256.New, seed, nil, purpose, len(out))
	if err != nil {
		return err
	}
	copy(out, bytes)
	return nil
}

// gater refuses everybody but the configured nodes and the admitted clients, at the moment when
// the handshake has shown who it is.
type gater struct{ host *Host }

// InterceptPeerDial admits dialling to configured nodes only.
func (g *gater) InterceptPeerDial(p peer.ID) bool {
	return g.host.peers.Load().byPeer[p] != nil
}

// InterceptAddrDial admits every address: they come from the configuration.
func (g *gater) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }

// InterceptAccept leaves counting by address to the resource manager.
func (g *gater) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured judges the key that the handshake has proven.
func (g *gater) InterceptSecured(
	dir network.Direction, p peer.ID, addrs network.ConnMultiaddrs,
) bool {
	if g.host.peers.Load().byPeer[p] != nil {
		return true
	}
	if dir == network.DirInbound {
		if key, ok := publicKey(p); ok && g.host.admitsClient(key) {
			return true
		}
		g.host.refused.Add(1)
		g.host.log.Debug("stranger refused", "peer", p, "addr", addrs.RemoteMultiaddr())
	}
	return false
}

// InterceptUpgraded has nothing to add.
func (g *gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) {
	return true, 0
}

// LibraryLog sends what libp2p itself has to say, in the whole process, to a handler instead of
// standard error. It is for main functions, to be called before the first Host is made; lines at
// level error come up even when listeners are closed in good order.
func LibraryLog(handler slog.Handler) { gologshim.SetDefaultHandler(handler) }
