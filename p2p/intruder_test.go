package p2p

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// stranger is an ordinary libp2p host with everything that libp2p does by itself.
func stranger(t *testing.T, key crypto.PrivateKey) host.Host {
	t.Helper()
	private, err := privateKey(key)
	require.NoError(t, err)
	h, err := libp2p.New(libp2p.Identity(private), libp2p.NoListenAddrs, libp2p.DisableMetrics(),
		libp2p.ResourceManager(&network.NullResourceManager{}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// countStreams counts the streams that reach the stream handler of p.
func countStreams(p *party) *atomic.Int64 {
	var count atomic.Int64
	p.swarm.SetStreamHandler(func(s network.Stream) {
		count.Add(1)
		p.serve(s)
	})
	return &count
}

func knock(t *testing.T, from host.Host, at *party) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	info := peer.AddrInfo{ID: at.swarm.LocalPeer(), Addrs: at.swarm.ListenAddresses()}
	if err := from.Connect(ctx, info); err != nil {
		return err
	}
	_, err := from.NewStream(ctx, info.ID, "/tangaroa/consensus/1")
	return err
}

func TestStrangerIsRefusedBeforeAnyStream(t *testing.T) {
	for _, transport := range []string{TransportTCP, TransportQUIC} {
		t.Run(transport, func(t *testing.T) {
			cfg := testConfig(1)
			cfg.Transport = transport
			cfg.Clients = func(k crypto.PublicKey) bool { return k == testKey(101).Public() }
			a := start(t, cfg)
			streams := countStreams(a)
			require.Error(t, knock(t, stranger(t, testKey(99)), a))
			require.Eventually(t, func() bool {
				return a.Stats().Refused > 0 && len(a.swarm.Conns()) == 0
			}, patience, time.Millisecond)
			require.Zero(t, streams.Load())
			require.Empty(t, a.frames)
			require.Empty(t, a.ups)
		})
	}
}

func TestKnownKeyThatSpeaksAnotherProtocolIsDisconnected(t *testing.T) {
	cfg := testConfig(1)
	cfg.Clients = func(k crypto.PublicKey) bool { return k == testKey(101).Public() }
	a := start(t, cfg)
	require.Error(t, knock(t, stranger(t, testKey(101)), a))
	require.Eventually(t, func() bool {
		s := a.Stats()
		return s.ClientConns == 0 && s.ClientViolations > 0
	}, patience, time.Millisecond)
	require.Empty(t, a.frames)
}

// misbehave opens another stream on the link from the liar to its victim and writes raw bytes.
func misbehave(t *testing.T, liar *party, to crypto.NodeID, raw []byte) network.Stream {
	t.Helper()
	l := liar.linkTo(to)
	require.NotNil(t, l)
	s, err := l.conn.NewStream(context.Background())
	require.NoError(t, err)
	_, err = s.Write(raw)
	require.NoError(t, err)
	return s
}

func TestViolationOfTheFramingEndsTheLink(t *testing.T) {
	bulk := preamble(Bulk)
	huge := binary.BigEndian.AppendUint32(bulk[:], 1<<31)
	for name, raw := range map[string][]byte{
		"oversize":        append(huge, "body"...),
		"garbage":         []byte("GET / HTTP/1.1\r\n\r\n"),
		"unknown class":   {'T', 'G', framingVersion, classCount},
		"unknown version": {'T', 'G', framingVersion + 1, byte(Bulk)},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := twoNodes(t, asIs)
			misbehave(t, b, 1, raw)
			require.Equal(t, crypto.NodeID(2), take(t, a.downs))
			require.Equal(t, uint64(1), a.Stats().Peers[0].Violations)
			require.Empty(t, a.frames)
			require.Equal(t, crypto.NodeID(2), take(t, a.ups), "it is dialled again")
		})
	}
}

func TestSlowFrameEndsTheLink(t *testing.T) {
	a, b := twoNodes(t, func(cfg *Config) { cfg.FrameTimeout = 200 * time.Millisecond })
	bulk := preamble(Bulk)
	half := append(binary.BigEndian.AppendUint32(bulk[:], 100), "but less comes"...)
	misbehave(t, b, 1, half)
	require.Equal(t, crypto.NodeID(2), take(t, a.downs), "though keep-alives go on")
	require.Equal(t, uint64(1), a.Stats().Peers[0].Violations)
}

func TestStreamThatNeverBeginsEndsTheLink(t *testing.T) {
	a, b := twoNodes(t, func(cfg *Config) {
		cfg.ReadTimeout, cfg.KeepAlive = 400*time.Millisecond, 100*time.Millisecond
	})
	misbehave(t, b, 1, []byte("T"))
	require.Equal(t, crypto.NodeID(2), take(t, a.downs))
}

func TestNewerStreamReplacesTheOlder(t *testing.T) {
	a, b := twoNodes(t, asIs)
	sendUntil(t, b, a, Consensus, []byte("on the first"))
	first := preamble(Consensus)
	raw := append(first[:], framed(t, []byte("on the second"))...)
	misbehave(t, b, 1, raw)
	for string(take(t, a.frames).frame) != "on the second" {
	}
	require.Equal(t, crypto.NodeID(2), take(t, a.downs), "who still writes to the first learns it")
}

func TestSilentLinkIsClosed(t *testing.T) {
	one, two := testConfig(1), testConfig(2)
	one.ReadTimeout, one.KeepAlive = 300*time.Millisecond, 100*time.Millisecond
	two.ReadTimeout, two.KeepAlive = time.Hour, 30*time.Minute
	a, b := start(t, one), start(t, two)
	introduce(t, a, b)
	require.Equal(t, crypto.NodeID(2), take(t, a.downs))
}

// mute is a node that connects and opens no stream.
func mute(t *testing.T, id int, victim *party) {
	t.Helper()
	h := &Host{cfg: testConfig(id), log: slog.New(slog.DiscardHandler)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.peers.Store(&peerSet{})
	require.NoError(t, h.buildSwarm())
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	r, err := newRemote(h, victim.peer())
	require.NoError(t, err)
	h.peers.Store(&peerSet{byPeer: map[peer.ID]*remote{r.pid: r}})
	require.NoError(t, r.dial())
}

func TestPeerThatOpensNoStreamIsDisconnected(t *testing.T) {
	cfg := testConfig(1)
	cfg.ReadTimeout, cfg.KeepAlive = 300*time.Millisecond, 100*time.Millisecond
	a := start(t, cfg)
	require.NoError(t, a.SetPeers([]Peer{{ID: 2, Key: testKey(2).Public()}}))
	came, went := make(chan network.Conn, 8), make(chan network.Conn, 8)
	a.swarm.Notify(&network.NotifyBundle{
		ConnectedF:    func(_ network.Network, c network.Conn) { came <- c },
		DisconnectedF: func(_ network.Network, c network.Conn) { went <- c },
	})
	mute(t, 2, a)
	require.Equal(t, take(t, came), take(t, went))
	require.Empty(t, a.ups, "it was never up")
}

func TestIdleLinkStays(t *testing.T) {
	a, _ := twoNodes(t, func(cfg *Config) {
		cfg.ReadTimeout, cfg.KeepAlive = 600*time.Millisecond, 50*time.Millisecond
	})
	link := a.linkTo(2)
	began := link.heard.Load()
	require.Eventually(t, func() bool { // three time-outs long nothing but keep-alives
		return link.heard.Load()-began > int64(3*a.cfg.ReadTimeout)
	}, patience, 10*time.Millisecond)
	require.Empty(t, a.downs)
	require.Zero(t, a.Stats().Peers[0].Classes[Consensus].FramesIn)
}

func TestConnectionsOfOneAddressAreBounded(t *testing.T) {
	const allowed = 4
	cfg := testConfig(1)
	cfg.MaxConnsPerIP = allowed
	cfg.DialTimeout = 2 * patience // no connection ends because its handshake takes too long
	a := start(t, cfg)
	var open []net.Conn
	for range allowed + 3 {
		c, err := net.Dial("tcp", a.Addrs()[0])
		require.NoError(t, err)
		defer c.Close()
		open = append(open, c)
	}
	for _, c := range open[allowed:] {
		awaitEnd(t, c)
	}
	require.NoError(t, open[0].SetReadDeadline(time.Now().Add(time.Millisecond)))
	greeting := make([]byte, 64)
	n, err := open[0].Read(greeting)
	require.True(t, n > 0 || isTimeout(err), "the first connection is still being served")
}
