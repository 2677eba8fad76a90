package p2p

import (
	"crypto/rand"
	"io"
	"testing"
	"time"

	lcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

func TestValidateNamesTheField(t *testing.T) {
	other := Peer{ID: 2, Key: testKey(2).Public(), Addrs: []string{"127.0.0.1:1"}}
	for _, c := range []struct {
		field string
		spoil func(*Config)
	}{
		{"Key", func(c *Config) { c.Key = crypto.PrivateKey{} }},
		{"Listen", func(c *Config) { c.Self = 0 }},
		{"Listen", func(c *Config) { c.Listen = []string{"127.0.0.1"} }},
		{"Listen", func(c *Config) { c.Listen = []string{"/ip4/127.0.0.1/udp/1/quic-v1"} }},
		{"Self", func(c *Config) { c.Self = 65 }},
		{"Clients", func(c *Config) {
			c.Self, c.Listen = 0, nil
			c.Clients = func(crypto.PublicKey) bool { return true }
		}},
		{"Security", func(c *Config) { c.Security = "none" }},
		{"Transport", func(c *Config) { c.Transport = "udp" }},
		{"MaxClientConns", func(c *Config) { c.MaxClientConns = 0 }},
		{"MaxConnsPerClient", func(c *Config) { c.MaxConnsPerClient = -1 }},
		{"MaxConnsPerIP", func(c *Config) { c.MaxConnsPerIP = 0 }},
		{"MaxFrameBytes", func(c *Config) { c.MaxFrameBytes = 2 << 30 }},
		{"MaxClientFrameBytes", func(c *Config) { c.MaxClientFrameBytes = 9 << 20 }},
		{"MaxPeers", func(c *Config) { c.MaxPeers = -1 }},
		{"Queues", func(c *Config) { c.Queues[Bulk].Frames = 0 }},
		{"Queues", func(c *Config) { c.Queues[Client].Bytes = 1 << 20 }},
		{"DialTimeout", func(c *Config) { c.DialTimeout = 0 }},
		{"KeepAlive", func(c *Config) { c.KeepAlive = c.ReadTimeout }},
		{"RedialMin", func(c *Config) { c.RedialMin = time.Minute }},
		{"MaxFrameBytes", func(c *Config) { c.MaxFrameBytes = 0 }},
		{"MaxFrameBytes", func(c *Config) {
			c.MaxFrameBytes = maxFrameCeiling + 1
			for i := range c.Queues {
				c.Queues[i].Bytes = 2 * maxFrameCeiling
			}
		}},
		{"MaxClientFrameBytes", func(c *Config) { c.MaxClientFrameBytes = 0 }},
		{"MaxClientFrameBytes", func(c *Config) { c.MaxClientFrameBytes = c.MaxFrameBytes + 1 }},
		{"Queues", func(c *Config) { c.Queues[Consensus].Bytes = c.MaxFrameBytes - 1 }},
		{"ReadTimeout", func(c *Config) { c.ReadTimeout = 0 }},
		{"KeepAlive", func(c *Config) { c.KeepAlive = 0 }},
		{"KeepAlive", func(c *Config) { c.KeepAlive = c.ReadTimeout/2 + 1 }},
		{"FrameTimeout", func(c *Config) { c.FrameTimeout = -1 }},
		{"WriteTimeout", func(c *Config) { c.WriteTimeout = 0 }},
		{"RedialMin", func(c *Config) { c.RedialMin = 0 }},
		{"RedialMin", func(c *Config) { c.RedialMin = c.RedialMax + 1 }},
		{"RedialMax", func(c *Config) { c.RedialMax = 0 }},
		{"StandbyDelay", func(c *Config) { c.StandbyDelay = 0 }},
		{"SettleTimeout", func(c *Config) { c.SettleTimeout = 0 }},
		{"Peers", func(c *Config) { c.Peers = []Peer{other, {ID: 2, Key: testKey(3).Public()}} }},
		{"Peers", func(c *Config) { c.Peers = []Peer{other, {ID: 3, Key: other.Key}} }},
		{"Peers", func(c *Config) { c.Peers = []Peer{{ID: 0, Key: other.Key}} }},
		{"Peers", func(c *Config) { c.Peers = make([]Peer, 9) }},
		{"Peers", func(c *Config) { c.Peers = []Peer{{ID: 1, Key: other.Key}} }},
		{"Peers", func(c *Config) { c.Peers = []Peer{{ID: 65, Key: other.Key}} }},
		{"Peers", func(c *Config) { c.Peers = []Peer{{ID: 2, Key: c.Key.Public()}} }},
		{"Peers", func(c *Config) {
			c.Peers = []Peer{{ID: 2, Key: other.Key, Addrs: []string{"127.0.0.1:65536"}}}
		}},
	} {
		cfg := testConfig(1)
		cfg.Peers = []Peer{other}
		require.NoError(t, cfg.Validate())
		c.spoil(&cfg)
		err := cfg.Validate()
		require.ErrorIs(t, err, ErrConfig)
		require.ErrorContains(t, err, ": "+c.field+": ")
		_, err = New(cfg, newRecorder())
		require.ErrorIs(t, err, ErrConfig)
	}
}

// TestLimitsMayBeReachedButNotPassed sets what Validate compares to the last value that is allowed.
func TestLimitsMayBeReachedButNotPassed(t *testing.T) {
	for name, edge := range map[string]func(*Config){
		"highest node": func(c *Config) { c.Self = crypto.MaxNodeID },
		"highest peer": func(c *Config) { c.Peers[0].ID = crypto.MaxNodeID },
		"as many peers as places": func(c *Config) {
			c.MaxPeers = 1
		},
		"largest frame": func(c *Config) {
			c.MaxFrameBytes = maxFrameCeiling
			for i := range c.Queues {
				c.Queues[i] = QueueLimit{Frames: 1, Bytes: maxFrameCeiling}
			}
		},
		"client's frames as large": func(c *Config) { c.MaxClientFrameBytes = c.MaxFrameBytes },
		"half the read time-out":   func(c *Config) { c.KeepAlive = c.ReadTimeout / 2 },
		"constant redial pause":    func(c *Config) { c.RedialMin = c.RedialMax },
		"smallest limits": func(c *Config) {
			c.MaxClientConns, c.MaxConnsPerClient, c.MaxConnsPerIP = 1, 1, 1
			c.MaxFrameBytes, c.MaxClientFrameBytes = 1, 1
		},
		"shortest times": func(c *Config) {
			c.DialTimeout, c.FrameTimeout, c.WriteTimeout = 1, 1, 1
			c.ReadTimeout, c.KeepAlive = 2, 1
			c.RedialMin, c.StandbyDelay, c.SettleTimeout = 1, 1, 1
		},
	} {
		cfg := testConfig(1)
		cfg.Peers = []Peer{{ID: 2, Key: testKey(2).Public()}}
		edge(&cfg)
		require.NoError(t, cfg.Validate(), name)
	}
}

func TestPlacesForPeersFollowTheirNumber(t *testing.T) {
	for peers, want := range map[int]int{0: 8, 4: 8, 5: 10, 63: 126} {
		c := Config{Peers: make([]Peer, peers)}
		require.Equal(t, want, c.maxPeers())
		c.MaxPeers = 3
		require.Equal(t, 3, c.maxPeers())
	}
}

func TestAddressesAreReadInBothForms(t *testing.T) {
	for _, c := range []struct{ in, transport, want string }{
		{"127.0.0.1:80", TransportTCP, "/ip4/127.0.0.1/tcp/80"},
		{"[::1]:80", TransportTCP, "/ip6/::1/tcp/80"},
		{":80", TransportTCP, "/ip4/0.0.0.0/tcp/80"},
		{"node1.example:80", TransportTCP, "/dns/node1.example/tcp/80"},
		{"127.0.0.1:80", TransportQUIC, "/ip4/127.0.0.1/udp/80/quic-v1"},
		{"/dns4/node1.example/tcp/80", TransportTCP, "/dns4/node1.example/tcp/80"},
	} {
		m, err := parseAddr(c.in, c.transport)
		require.NoError(t, err)
		require.Equal(t, c.want, m.String())
	}
	for _, in := range []string{"", "80", "host", "a:b", "1.2.3.4:99999", "/ip4/1.2.3.4", "/x"} {
		_, err := parseAddr(in, TransportTCP)
		require.Error(t, err, in)
	}
}

func TestIdentityIsThePublicKey(t *testing.T) {
	key := testKey(1)
	id, err := peerID(key.Public())
	require.NoError(t, err)
	back, ok := publicKey(id)
	require.True(t, ok)
	require.Equal(t, key.Public(), back)
	private, err := privateKey(key)
	require.NoError(t, err)
	require.True(t, id.MatchesPrivateKey(private))
}

// TestOtherKindsOfKeysAreNobody: a key of another kind must not be cut down to one of ours.
func TestOtherKindsOfKeysAreNobody(t *testing.T) {
	for _, generate := range []func(io.Reader) (lcrypto.PrivKey, lcrypto.PubKey, error){
		lcrypto.GenerateSecp256k1Key, lcrypto.GenerateECDSAKeyPair,
	} {
		_, public, err := generate(rand.Reader)
		require.NoError(t, err)
		id, err := peer.IDFromPublicKey(public)
		require.NoError(t, err)
		key, ok := publicKey(id)
		require.False(t, ok)
		require.True(t, key.IsZero())
	}
	_, ok := publicKey("no name of a key")
	require.False(t, ok)
}

func TestBothEndsKeepTheConnectionThatTheLowerNodeDialled(t *testing.T) {
	for _, weDial := range []bool{true, false} {
		lower, higher := weDial, !weDial // the connection is outbound for who dialled it
		require.True(t, replaces(lower, higher, weDial, true))
		require.False(t, replaces(higher, lower, weDial, true))
		for _, outbound := range []bool{true, false} {
			require.True(t, replaces(outbound, outbound, weDial, true), "dialled again")
			require.True(t, replaces(outbound, !outbound, weDial, false), "the old one is lost")
		}
	}
}

func TestRedialPauseDoublesToTheCap(t *testing.T) {
	pause := redial{min: 50 * time.Millisecond, max: time.Second}
	for _, full := range []time.Duration{50, 100, 200, 400, 800, 1000, 1000} {
		d := pause.next()
		require.GreaterOrEqual(t, d, full*time.Millisecond/2)
		require.LessOrEqual(t, d, full*time.Millisecond)
	}
	pause.reset()
	require.LessOrEqual(t, pause.next(), 50*time.Millisecond)
}
