package p2p

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// parties of the gate: a node that is a peer, an admitted client, and somebody else.
func gated(t *testing.T) (g *gater, node, client, stranger peer.ID) {
	t.Helper()
	name := func(n int) peer.ID {
		id, err := peerID(testKey(n).Public())
		require.NoError(t, err)
		return id
	}
	node, client, stranger = name(2), name(101), name(102)
	h := &Host{cfg: testConfig(1), log: slog.New(slog.DiscardHandler)}
	h.cfg.Clients = func(k crypto.PublicKey) bool { return k == testKey(101).Public() }
	h.peers.Store(&peerSet{byPeer: map[peer.ID]*remote{node: {}}})
	return &gater{host: h}, node, client, stranger
}

type anywhere struct{ network.ConnMultiaddrs }

func (anywhere) RemoteMultiaddr() ma.Multiaddr { return ma.StringCast("/ip4/127.0.0.1/tcp/1") }

// TestGateKnowsNodesBothWaysAndClientsInbound goes through everybody and every direction. Who is
// found where a node was dialled is judged as a node: a client's key is none.
func TestGateKnowsNodesBothWaysAndClientsInbound(t *testing.T) {
	g, node, client, stranger := gated(t)
	in, out := network.DirInbound, network.DirOutbound
	for _, test := range []struct {
		who     peer.ID
		dir     network.Direction
		admits  bool
		refused uint64
	}{
		{node, in, true, 0}, {node, out, true, 0},
		{client, in, true, 0}, {client, out, false, 0},
		{stranger, in, false, 1}, {stranger, out, false, 1},
		{"no name of a key", in, false, 2},
	} {
		require.Equal(t, test.admits, g.InterceptSecured(test.dir, test.who, anywhere{}))
		require.Equal(t, test.refused, g.host.refused.Load(), "counted as a stranger")
	}
	require.True(t, g.InterceptPeerDial(node))
	require.False(t, g.InterceptPeerDial(client))
	require.False(t, g.InterceptPeerDial(stranger))
	g.host.cfg.Clients = nil
	require.False(t, g.InterceptSecured(in, client, anywhere{}), "nil admits none")
}

// knocks opens inbound connections, each from the next address, until one is refused.
func knocks(t *testing.T, limits network.ResourceManager, from func(int) string) int {
	t.Helper()
	for n := range 10000 {
		scope, err := limits.OpenConnection(network.DirInbound, true, ma.StringCast(from(n)))
		if err != nil {
			return n
		}
		defer scope.Done()
	}
	return -1
}

// TestPlacesOfOneNetworkAreExact: an IPv4 address, and an IPv6 network that one customer is given,
// may take so many places and not one more; loopback is like every other.
func TestPlacesOfOneNetworkAreExact(t *testing.T) {
	for _, c := range []struct{ what, from string }{
		{"an IPv4 address", "/ip4/192.0.2.1/tcp/%d"},
		{"loopback", "/ip4/127.0.0.1/tcp/%d"},
		{"an IPv6 network", "/ip6/2001:db8:0:1:%x::1/tcp/1"},
	} {
		for _, places := range []int{1, 3} {
			cfg := testConfig(1)
			cfg.MaxConnsPerIP = places
			limits, err := newResourceManager(&cfg)
			require.NoError(t, err)
			got := knocks(t, limits, func(n int) string { return fmt.Sprintf(c.from, n+1) })
			require.Equal(t, places, got, c.what)
			require.NoError(t, limits.Close())
		}
	}
}

// TestPlacesInHandshakeAreTwiceThoseOfOneAddress: nobody alone can take them all, and together
// they are bounded by the places there are at all.
func TestPlacesInHandshakeAreTwiceThoseOfOneAddress(t *testing.T) {
	for _, c := range []struct{ perIP, clients, peers, want int }{
		{3, 10, 2, 6},
		{1000, 10, 2, 2 * (10 + 2*connsPerNode)},
	} {
		cfg := testConfig(1)
		cfg.MaxConnsPerIP, cfg.MaxClientConns, cfg.MaxPeers = c.perIP, c.clients, c.peers
		limits, err := newResourceManager(&cfg)
		require.NoError(t, err)
		got := knocks(t, limits, func(n int) string {
			return fmt.Sprintf("/ip4/192.0.%d.%d/tcp/1", n/200, n%200)
		})
		require.Equal(t, c.want, got)
		require.NoError(t, limits.Close())
	}
}

func TestEveryConnectionHasRoomForItsStreams(t *testing.T) {
	l := limitsFor(3, 5)
	require.EqualValues(t, 15, l.StreamsInbound)
	require.EqualValues(t, 15, l.StreamsOutbound)
	require.EqualValues(t, 30, l.Streams)
	require.EqualValues(t, 3, l.Conns)
	require.EqualValues(t, 3, l.ConnsInbound)
	require.EqualValues(t, 3, l.ConnsOutbound)
	require.EqualValues(t, 3, l.FD)
	require.EqualValues(t, 30*streamWindowBytes, l.Memory)
}

// TestQueueAndFrameLimitsAreExact fills a queue whose writer never runs.
func TestQueueAndFrameLimitsAreExact(t *testing.T) {
	h := &Host{cfg: testConfig(1), closed: true}
	h.cfg.Queues[Bulk] = QueueLimit{Frames: 3, Bytes: 10}
	l := &link{host: h, sendLimit: 8}
	fill := func(sizes ...int) (taken []int) {
		l.out[Bulk] = newOutbox(l, Bulk, &counters{})
		for _, n := range sizes {
			if l.send(Bulk, make([]byte, n)) {
				taken = append(taken, n)
			}
		}
		require.Equal(t, len(taken), l.out[Bulk].queued())
		return taken
	}
	require.Equal(t, []int{1, 1, 1}, fill(1, 1, 1, 1), "frames")
	require.Equal(t, []int{8, 2}, fill(8, 3, 2, 1), "bytes")
	require.Equal(t, []int{8}, fill(0, 9, 8), "of one frame")
	require.False(t, l.send(Consensus, []byte{1}), "a class that the link does not carry")
	o := l.out[Bulk]
	o.release(1, 8)
	require.True(t, o.push(make([]byte, 10)), "what was written makes room")
	require.Len(t, o.take(nil), 2)
	o.close()
	require.False(t, o.push([]byte{1}), "the link has ended")
	require.Zero(t, o.queued())
}

// still is a stream on which nothing comes before any deadline.
type still struct{ network.Stream }

func (still) SetReadDeadline(time.Time) error { return nil }
func (still) Read([]byte) (int, error)        { return 0, os.ErrDeadlineExceeded }

// TestSilenceIsNoViolationButAFrameThatStandsStillIs: who is cut off did nothing wrong.
func TestSilenceIsNoViolationButAFrameThatStandsStillIs(t *testing.T) {
	h := &Host{cfg: testConfig(1), epoch: time.Now().Add(-time.Hour)}
	for _, c := range []struct {
		what          string
		heard, moving bool // lately
		begun         bool
		want          error
	}{
		{"nothing at all", false, false, false, errSilent},
		{"nothing in the middle of a frame", false, true, true, errSilent},
		{"other streams only", true, false, true, errSlowFrame},
	} {
		l := &link{host: h}
		source := &source{link: l, stream: still{}}
		if c.heard {
			l.heard.Store(h.now())
		}
		if c.begun {
			source.moved = 1
		}
		if c.moving {
			source.frameMoved()
		}
		_, err := source.Read(make([]byte, 1))
		require.ErrorIs(t, err, c.want, c.what)
		require.Equal(t, c.want == errSlowFrame, isViolation(err))
	}
}

// TestAccountOfAQueueComesOutEven writes a batch that is taken off in parts: what is taken off
// twice would let the queue grow beyond its limit.
func TestAccountOfAQueueComesOutEven(t *testing.T) {
	h := &Host{cfg: testConfig(1), closed: true}
	l := &link{host: h, sendLimit: growBytes}
	o := newOutbox(l, Bulk, &counters{})
	l.out[Bulk] = o
	const frames, each = 7, growBytes / 2
	for range frames {
		require.True(t, o.push(make([]byte, each)))
	}
	require.NoError(t, o.writeBatch(bufio.NewWriter(io.Discard), o.take(nil)))
	require.Zero(t, o.frames)
	require.Zero(t, o.bytes)
	require.EqualValues(t, frames, o.count.framesOut.Load())
	require.EqualValues(t, frames*each, o.count.bytesOut.Load())
	require.False(t, h.reply(l, []byte("a class that it does not carry")))
	require.EqualValues(t, 1, h.clients.classes[Client].dropped.Load())
}
