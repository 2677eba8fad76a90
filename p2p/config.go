package p2p

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"tangaroa/crypto"
)

// Class separates traffic that must not wait for other traffic: each has a stream of its own.
type Class uint8

// The classes, in the order of their urgency.
const (
	Consensus Class = iota // acks, votes, blocks; its stream carries the keep-alive between nodes
	Bulk                   // catch-up and state transfer
	Client                 // requests and replies; the only class on a client's connection

	classCount = 3
)

// String returns the name used in protocol names, logs and metrics.
func (c Class) String() string {
	switch c {
	case Consensus:
		return "consensus"
	case Bulk:
		return "bulk"
	case Client:
		return "client"
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// Security names the handshake and cipher of a TCP connection. QUIC has TLS 1.3 built in.
const (
	SecurityTLS   = "tls"   // TLS 1.3; the faster one where the processor has AES instructions
	SecurityNoise = "noise" // Noise XX with ChaCha20-Poly1305
)

// Transport names what carries a connection.
const (
	TransportTCP  = "tcp"  // one TCP connection, streams by yamux
	TransportQUIC = "quic" // QUIC version 1 over UDP; Security is ignored
)

// Peer is another node and where to find it.
type Peer struct {
	ID  crypto.NodeID
	Key crypto.PublicKey
	// Addrs are tried together, the first to answer wins. Each is "host:port" or a multiaddr
	// that fits the transport. Empty means that the peer dials us.
	Addrs []string
}

// QueueLimit bounds what may wait for one stream, frames being written included.
type QueueLimit struct {
	Frames int
	Bytes  int
}

// Config says who we are, who may connect, and the limits. All limits must be positive.
type Config struct {
	Key  crypto.PrivateKey // our identity, the node's or the client's own key
	Self crypto.NodeID     // our node identity; zero for a client

	// Listen are the addresses to accept connections on, "host:port" or multiaddr; port 0 lets
	// the system choose (see Host.Addrs). A client has none.
	Listen []string
	// Peers are the other nodes. They can be changed later by Host.SetPeers.
	Peers []Peer
	// Clients tells which client keys may connect to this node; nil admits none. It is called
	// during handshakes, concurrently.
	Clients func(crypto.PublicKey) bool

	Security  string // SecurityTLS or SecurityNoise; the same on all nodes and clients
	Transport string // TransportTCP or TransportQUIC; likewise

	// MaxPeers bounds SetPeers and is what the resource limits are derived from. Zero stands
	// for twice the number of Peers, at least 8.
	MaxPeers          int
	MaxClientConns    int // client connections accepted at the same time
	MaxConnsPerClient int // of which with one key
	MaxConnsPerIP     int // connections, established or in handshake, with one address

	MaxFrameBytes       int // largest frame between nodes, and from a node to a client
	MaxClientFrameBytes int // largest frame that a node takes from a client

	// Queues bound what waits to be sent, indexed by Class: per peer, and for Client also per
	// client connection. Bytes must admit the largest frame.
	Queues [classCount]QueueLimit

	DialTimeout   time.Duration // one attempt to connect, all handshakes included
	ReadTimeout   time.Duration // a link silent for so long is closed
	KeepAlive     time.Duration // idle time after which an empty frame is sent
	FrameTimeout  time.Duration // longest wait for 64 KiB of a frame that has begun
	WriteTimeout  time.Duration // longest time a write of 64 KiB may take
	RedialMin     time.Duration // first pause between two attempts to connect
	RedialMax     time.Duration // longest pause
	StandbyDelay  time.Duration // how long the higher of two nodes waits for the lower to dial
	SettleTimeout time.Duration // a link that lasted so long resets the redial pause

	Logger *slog.Logger // nil discards
}

// DefaultConfig returns the limits and time-outs for a cluster of up to 64 nodes whose round trips
// are below 300 ms. Key, Self, Listen, Peers and Clients are left to the caller. TLS is the
// default because it was measured to be the faster: on two shared cores with AES instructions it
// carried 1.2 (small frames) to 1.4 times (large ones) what Noise did (BenchmarkThroughput).
func DefaultConfig() Config {
	return Config{
		Security:            SecurityTLS,
		Transport:           TransportTCP,
		MaxClientConns:      256,
		MaxConnsPerClient:   32,
		MaxConnsPerIP:       512,
		MaxFrameBytes:       8 << 20,
		MaxClientFrameBytes: 2 << 20,
		Queues: [classCount]QueueLimit{
			Consensus: {Frames: 8192, Bytes: 32 << 20},
			Bulk:      {Frames: 64, Bytes: 32 << 20},
			Client:    {Frames: 4096, Bytes: 16 << 20},
		},
		DialTimeout:   1500 * time.Millisecond,
		ReadTimeout:   2500 * time.Millisecond,
		KeepAlive:     500 * time.Millisecond,
		FrameTimeout:  10 * time.Second,
		WriteTimeout:  10 * time.Second,
		RedialMin:     50 * time.Millisecond,
		RedialMax:     time.Second,
		StandbyDelay:  500 * time.Millisecond,
		SettleTimeout: time.Second,
	}
}

// ErrConfig is returned, wrapped with the name of the field, when a Config cannot be used.
var ErrConfig = errors.New("p2p: invalid configuration")

func invalid(field, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrConfig, field, fmt.Sprintf(format, args...))
}

// Validate reports the first field that cannot be used, by name.
func (c *Config) Validate() error {
	if c.Key.IsZero() {
		return invalid("Key", "is missing")
	}
	if err := c.validateRole(); err != nil {
		return err
	}
	if c.Security != SecurityTLS && c.Security != SecurityNoise {
		return invalid("Security", "%q is neither tls nor noise", c.Security)
	}
	if c.Transport != TransportTCP && c.Transport != TransportQUIC {
		return invalid("Transport", "%q is neither tcp nor quic", c.Transport)
	}
	if err := c.validateLimits(); err != nil {
		return err
	}
	if err := c.validateTimes(); err != nil {
		return err
	}
	for _, a := range c.Listen {
		if _, err := parseAddr(a, c.Transport); err != nil {
			return invalid("Listen", "%v", err)
		}
	}
	return c.validatePeers(c.Peers)
}

func (c *Config) validateRole() error {
	switch {
	case c.Self == 0 && len(c.Listen) > 0:
		return invalid("Listen", "a client does not listen")
	case c.Self == 0 && c.Clients != nil:
		return invalid("Clients", "a client has no clients")
	case c.Self != 0 && !c.Self.Valid():
		return invalid("Self", "%d is not between 1 and %d", c.Self, crypto.MaxNodeID)
	}
	return nil
}

func (c *Config) validateLimits() error {
	limits := []struct {
		field string
		value int
	}{
		{"MaxClientConns", c.MaxClientConns},
		{"MaxConnsPerClient", c.MaxConnsPerClient},
		{"MaxConnsPerIP", c.MaxConnsPerIP},
		{"MaxFrameBytes", c.MaxFrameBytes},
		{"MaxClientFrameBytes", c.MaxClientFrameBytes},
	}
	for _, l := range limits {
		if l.value <= 0 {
			return invalid(l.field, "%d is not positive", l.value)
		}
	}
	switch {
	case c.MaxPeers < 0:
		return invalid("MaxPeers", "%d is negative", c.MaxPeers)
	case c.MaxFrameBytes > maxFrameCeiling:
		return invalid("MaxFrameBytes", "%d is above %d", c.MaxFrameBytes, maxFrameCeiling)
	case c.MaxClientFrameBytes > c.MaxFrameBytes:
		return invalid("MaxClientFrameBytes", "%d is above MaxFrameBytes", c.MaxClientFrameBytes)
	}
	for class, q := range c.Queues {
		if q.Frames <= 0 || q.Bytes < c.MaxFrameBytes {
			return invalid("Queues", "%v: must admit one frame of MaxFrameBytes", Class(class))
		}
	}
	return nil
}

func (c *Config) validateTimes() error {
	times := []struct {
		field string
		value time.Duration
	}{
		{"DialTimeout", c.DialTimeout}, {"ReadTimeout", c.ReadTimeout},
		{"KeepAlive", c.KeepAlive}, {"FrameTimeout", c.FrameTimeout},
		{"WriteTimeout", c.WriteTimeout}, {"RedialMin", c.RedialMin},
		{"RedialMax", c.RedialMax}, {"StandbyDelay", c.StandbyDelay},
		{"SettleTimeout", c.SettleTimeout},
	}
	for _, t := range times {
		if t.value <= 0 {
			return invalid(t.field, "%v is not positive", t.value)
		}
	}
	switch {
	case c.KeepAlive > c.ReadTimeout/2:
		return invalid("KeepAlive", "%v is more than half of ReadTimeout", c.KeepAlive)
	case c.RedialMin > c.RedialMax:
		return invalid("RedialMin", "%v is above RedialMax", c.RedialMin)
	}
	return nil
}

// validatePeers judges a list of peers, the configured one or one given to SetPeers.
func (c *Config) validatePeers(peers []Peer) error {
	if len(peers) > c.maxPeers() {
		return invalid("Peers", "%d is more than MaxPeers", len(peers))
	}
	ids := make(map[crypto.NodeID]bool)
	keys := map[crypto.PublicKey]bool{c.Key.Public(): true}
	for _, p := range peers {
		switch {
		case !p.ID.Valid():
			return invalid("Peers", "%d is not between 1 and %d", p.ID, crypto.MaxNodeID)
		case p.ID == c.Self:
			return invalid("Peers", "node %d is this node", p.ID)
		case ids[p.ID]:
			return invalid("Peers", "node %d is listed twice", p.ID)
		case keys[p.Key]:
			return invalid("Peers", "the key of node %d is another's or our own", p.ID)
		}
		ids[p.ID], keys[p.Key] = true, true
		if _, err := peerID(p.Key); err != nil {
			return invalid("Peers", "node %d: %v", p.ID, err)
		}
		if _, err := parseAddrs(p.Addrs, c.Transport); err != nil {
			return invalid("Peers", "node %d: %v", p.ID, err)
		}
	}
	return nil
}

// CheckAddress says what is wrong with an address of a peer, nil if it can be used.
func (c *Config) CheckAddress(address string) error {
	_, err := parseAddrs([]string{address}, c.Transport)
	return err
}

func (c *Config) maxPeers() int {
	if c.MaxPeers > 0 {
		return c.MaxPeers
	}
	return max(8, 2*len(c.Peers))
}

func (c *Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}
