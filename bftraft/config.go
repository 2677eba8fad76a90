package bftraft

import (
	"errors"
	"fmt"

	"tangaroa/crypto"
)

// ErrConfig is returned when a Config cannot work; the text names the field.
var ErrConfig = errors.New("protocol configuration is not valid")

// Config is what a Core is made with. Times are in ticks; the edge decides how long a tick is.
type Config struct {
	Cluster Digest
	Signer  crypto.Signer
	// Verifier is the gate of the cluster's genesis. The core judges by it, and by what changes make
	// of it, what was judged elsewhere before it knew of them.
	Verifier *Verifier
	// Seed makes the timeouts of this node differ from others'; it is not a secret.
	Seed uint64

	// HeartbeatTicks is the interval of heartbeats and of all retransmission (N6).
	HeartbeatTicks int
	// ElectionTicks is the election timeout before back-off and jitter; jitter adds up to half.
	ElectionTicks int
	// WindowTicks is the time each rank has to itself before the next may campaign (E3). It must
	// exceed the spread of a timeout certificate, one fetch and one round of votes.
	WindowTicks int
	// MaxBackoff caps the doubling of timeouts and windows (E6).
	MaxBackoff int
	// MaxInflight is the number of proposed blocks that may await their certificate.
	MaxInflight int
	// MaxUncommitted is the number of blocks beyond the commit index a node proposes or accepts,
	// and MaxUncommittedBytes their size.
	MaxUncommitted      int
	MaxUncommittedBytes int
}

// DefaultConfig returns settings for ticks of 10 ms and a network whose round trip, flush
// included, is well below 100 ms.
func DefaultConfig() Config {
	return Config{
		HeartbeatTicks:      10,
		ElectionTicks:       100,
		WindowTicks:         30,
		MaxBackoff:          4,
		MaxInflight:         2,
		MaxUncommitted:      64,
		MaxUncommittedBytes: 64 << 20,
	}
}

// Validate names the first field that cannot work.
func (c *Config) Validate() error {
	bad := ""
	switch {
	case c.Cluster.IsZero():
		bad = "Cluster"
	case c.Signer == nil:
		bad = "Signer"
	case c.Verifier == nil:
		bad = "Verifier"
	case c.HeartbeatTicks < 1:
		bad = "HeartbeatTicks"
	case c.ElectionTicks < 4*c.HeartbeatTicks:
		bad = "ElectionTicks (at least four heartbeats)"
	case c.WindowTicks < c.HeartbeatTicks:
		bad = "WindowTicks (at least one heartbeat)"
	case c.MaxBackoff < 0 || c.MaxBackoff > 16:
		bad = "MaxBackoff (0 to 16)"
	case c.MaxInflight < 1:
		bad = "MaxInflight"
	case c.MaxUncommitted < 2*c.MaxInflight || c.MaxUncommitted > 1024:
		bad = "MaxUncommitted (twice MaxInflight to 1024)"
	case c.MaxUncommittedBytes < 2*MaxBlockBytes:
		bad = "MaxUncommittedBytes (at least two blocks)"
	}
	if bad != "" {
		return fmt.Errorf("%w: %s", ErrConfig, bad)
	}
	return nil
}
