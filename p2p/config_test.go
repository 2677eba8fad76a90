package p2p

import (
	"testing"
	"time"

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
		{"Peers", func(c *Config) { c.Peers = []Peer{other, other} }},
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
