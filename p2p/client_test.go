package p2p

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

func serving(id int, clients ...int) Config {
	cfg := testConfig(id)
	cfg.Clients = func(k crypto.PublicKey) bool {
		for _, c := range clients {
			if testKey(c).Public() == k {
				return true
			}
		}
		return false
	}
	return cfg
}

func clientOf(t testing.TB, id int, nodes ...*party) *party {
	t.Helper()
	cfg := testConfig(id)
	for _, n := range nodes {
		cfg.Peers = append(cfg.Peers, n.peer())
	}
	return start(t, cfg)
}

func TestClientIsServedByAllNodes(t *testing.T) {
	for _, transport := range []string{TransportTCP, TransportQUIC} {
		t.Run(transport, func(t *testing.T) {
			one, two := serving(1, 101), serving(2, 101)
			one.Transport, two.Transport = transport, transport
			a, b := start(t, one), start(t, two)
			cfg := testConfig(101)
			cfg.Transport = transport
			cfg.Peers = []Peer{a.peer(), b.peer()}
			c := start(t, cfg)
			awaitLinks(t, c, 2)
			for _, n := range []*party{a, b} {
				require.True(t, c.Send(n.cfg.Self, Client, []byte("request")))
				e := take(t, n.frames)
				require.Equal(t, testKey(101).Public(), e.key)
				require.Equal(t, "request", string(e.frame))
				require.True(t, n.ReplyClient(e.conn, []byte("reply")))
				reply := take(t, c.frames)
				require.Equal(t, n.cfg.Self, reply.node)
				require.Equal(t, Client, reply.class)
				require.Equal(t, "reply", string(reply.frame))
			}
			require.False(t, c.Send(1, Consensus, []byte("x")), "not for clients")
		})
	}
}

func TestUnknownClientIsRefused(t *testing.T) {
	a := start(t, serving(1, 101))
	c := clientOf(t, 102, a)
	require.Eventually(t, func() bool { return a.Stats().Refused >= 2 }, patience,
		time.Millisecond)
	require.False(t, c.Send(1, Client, []byte("request")))
	require.Empty(t, c.ups, "never told that it is connected")
	require.Empty(t, a.frames)
	require.Zero(t, a.Stats().ClientConnects)
}

func TestConnectionsOfOneClientKeyAreToldApart(t *testing.T) {
	a := start(t, serving(1, 101))
	x, y := clientOf(t, 101, a), clientOf(t, 101, a)
	var conns []ConnID
	for _, c := range []*party{x, y} {
		awaitLinks(t, c, 1)
		require.True(t, c.Send(1, Client, []byte("hello")))
		conns = append(conns, take(t, a.frames).conn)
	}
	require.NotEqual(t, conns[0], conns[1])
	require.True(t, a.ReplyClient(conns[1], []byte("for y")))
	require.Equal(t, "for y", string(take(t, y.frames).frame))
	require.Equal(t, 2, a.ReplyKey(testKey(101).Public(), []byte("for both")))
	require.Equal(t, "for both", string(take(t, x.frames).frame))
	require.Equal(t, "for both", string(take(t, y.frames).frame))
	x.stop()
	require.Eventually(t, func() bool { return a.Stats().ClientConns == 1 }, patience,
		time.Millisecond)
	require.False(t, a.ReplyClient(conns[0], []byte("too late")))
	require.Equal(t, 1, a.ReplyKey(testKey(101).Public(), []byte("the other")))
	require.Equal(t, "the other", string(take(t, y.frames).frame))
	require.Zero(t, a.ReplyKey(testKey(102).Public(), []byte("nobody")))
}

func TestClientConnectionsAreBounded(t *testing.T) {
	for name, limit := range map[string]func(*Config){
		"in all":  func(cfg *Config) { cfg.MaxClientConns = 2 },
		"per key": func(cfg *Config) { cfg.MaxConnsPerClient = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := serving(1, 101)
			limit(&cfg)
			a := start(t, cfg)
			x, y := clientOf(t, 101, a), clientOf(t, 101, a)
			awaitLinks(t, x, 1)
			awaitLinks(t, y, 1)
			require.Eventually(t, func() bool { return a.Stats().ClientConns == 2 }, patience,
				time.Millisecond)
			z := clientOf(t, 101, a)
			require.Eventually(t, func() bool { return a.Stats().ClientsTurned > 1 }, patience,
				time.Millisecond)
			require.Equal(t, 2, a.Stats().ClientConns)
			require.Empty(t, z.ups)
			x.stop()
			require.Eventually(t, func() bool { return z.Send(1, Client, []byte("at last")) },
				patience, time.Millisecond)
			for string(take(t, a.frames).frame) != "at last" {
			}
		})
	}
}

func TestClientMayNotUseOtherClassesOrLargerFrames(t *testing.T) {
	consensus, client := preamble(Consensus), preamble(Client)
	for name, raw := range map[string][]byte{
		"class": consensus[:],
		"size":  append(client[:], 0, 0x20, 0, 1), // one byte above two MiB
	} {
		t.Run(name, func(t *testing.T) {
			a := start(t, serving(1, 101))
			c := clientOf(t, 101, a)
			awaitLinks(t, c, 1)
			require.False(t, c.Send(1, Client, make([]byte, c.cfg.MaxClientFrameBytes+1)))
			misbehave(t, c, 1, raw)
			require.Equal(t, crypto.NodeID(1), take(t, c.downs))
			require.Equal(t, uint64(1), a.Stats().ClientViolations)
		})
	}
}

// TestClientThatIsAdmittedNoMoreIsCutOff, at once, and comes back when it is admitted again.
func TestClientThatIsAdmittedNoMoreIsCutOff(t *testing.T) {
	var removed atomic.Bool
	cfg := testConfig(1)
	cfg.Clients = func(k crypto.PublicKey) bool {
		return k == testKey(102).Public() || k == testKey(101).Public() && !removed.Load()
	}
	a := start(t, cfg)
	c, stays := clientOf(t, 101, a), clientOf(t, 102, a)
	awaitLinks(t, c, 1)
	awaitLinks(t, stays, 1)
	removed.Store(true)
	a.Review()
	require.Equal(t, crypto.NodeID(1), take(t, c.downs))
	require.True(t, stays.Send(1, Client, []byte("still here")))
	require.Equal(t, testKey(102).Public(), take(t, a.frames).key)
	removed.Store(false)
	awaitLinks(t, c, 1)
}
