package p2p

import (
	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
)

const (
	// maxStreams bounds the streams of one connection in one direction: one per class, and as
	// many while they are replaced.
	maxStreams = 4 * classCount
	// connsPerNode leaves room for connections dialled from both ends at once, and for old ones
	// that have not ended.
	connsPerNode = 8
	// streamWindowBytes is what may be under way on one stream: 40 MB/s at 100 ms round trip.
	streamWindowBytes = 4 << 20
	// messageBytes is what one stream may put on the connection before another has its turn.
	messageBytes = 16 << 10
)

// newResourceManager derives every limit from the size of the cluster and the number of clients.
// Nothing depends on the memory or the open-files limit of the machine.
func newResourceManager(cfg *Config) (network.ResourceManager, error) {
	nodeConns := connsPerNode * cfg.MaxPeers
	conns := nodeConns + cfg.MaxClientConns
	// One address alone cannot take all the places of connections still in their handshake.
	handshakes := 2 * min(cfg.MaxConnsPerIP, conns)
	limits := rcmgr.PartialLimitConfig{
		System:      limitsFor(conns+handshakes, maxStreams),
		Transient:   limitsFor(handshakes, maxStreams),
		PeerDefault: limitsFor(max(connsPerNode, cfg.MaxConnsPerClient), maxStreams),
		Conn:        limitsFor(1, maxStreams),
		Stream:      limitsFor(1, 1),
		// What nobody may use: we have no allow list.
		AllowlistedSystem:    blocked,
		AllowlistedTransient: blocked,
	}
	limits.ProtocolDefault = limits.System
	limits.ProtocolPeerDefault = limits.PeerDefault
	limits.ServiceDefault = limits.System
	limits.ServicePeerDefault = limits.PeerDefault
	perIP := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: cfg.MaxConnsPerIP}}
	perIP6 := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 64, ConnCount: cfg.MaxConnsPerIP}}
	return rcmgr.NewResourceManager(
		rcmgr.NewFixedLimiter(limits.Build(rcmgr.ConcreteLimitConfig{})),
		rcmgr.WithMetricsDisabled(),
		// Loopback is treated like every other address.
		rcmgr.WithNetworkPrefixLimit([]rcmgr.NetworkPrefixLimit{}, []rcmgr.NetworkPrefixLimit{}),
		rcmgr.WithLimitPerSubnet(perIP, perIP6),
		// The default (one connection in five seconds) would forbid redialling; the limits on
		// connections in handshake are enough.
		rcmgr.WithConnRateLimiters(&rate.Limiter{}),
	)
}

var blocked = rcmgr.ResourceLimits{
	Streams: rcmgr.BlockAllLimit, StreamsInbound: rcmgr.BlockAllLimit,
	StreamsOutbound: rcmgr.BlockAllLimit, Conns: rcmgr.BlockAllLimit,
	ConnsInbound: rcmgr.BlockAllLimit, ConnsOutbound: rcmgr.BlockAllLimit,
	FD: rcmgr.BlockAllLimit, Memory: rcmgr.BlockAllLimit64,
}

// limitsFor allows so many connections with so many streams each in either direction, each stream
// with its full window.
func limitsFor(conns, streams int) rcmgr.ResourceLimits {
	each := rcmgr.LimitVal(conns * streams)
	return rcmgr.ResourceLimits{
		Streams: 2 * each, StreamsInbound: each, StreamsOutbound: each,
		Conns: rcmgr.LimitVal(conns), ConnsInbound: rcmgr.LimitVal(conns),
		ConnsOutbound: rcmgr.LimitVal(conns), FD: rcmgr.LimitVal(conns),
		Memory: rcmgr.LimitVal64(2*each) * streamWindowBytes,
	}
}
