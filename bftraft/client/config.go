package client

import (
	"fmt"
	"log/slog"
	"time"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/p2p"
)

// maxWindow is the largest window: a cluster remembers the last 128 results of a session, and the
// answer to a lost reply must be among them. It remembers 1 MiB of them at least; who expects
// larger results takes a window with which they stay below that.
const maxWindow = 128

// Config says which cluster, under which key, and the limits.
type Config struct {
	Genesis *bftraft.Genesis
	Key     crypto.PrivateKey // of a client that is enrolled

	// Changes are those that are known already; the client is shown those that came later.
	Changes []*bftraft.ChangeProof

	// Peers are the nodes of the genesis and where to find those for whom no change says so; New
	// needs them, NewWithLink does not. Addresses says where nodes are in any case, as "host:port".
	// Security and Transport are those of the nodes (see p2p.Config).
	Peers     []p2p.Peer
	Addresses map[bftraft.NodeID]string
	Security  string
	Transport string

	// Session numbers this client's requests among those of the same key. Later sessions should
	// have higher numbers. Zero stands for the time in nanoseconds. FirstSequence is that of the
	// first request; zero stands for 1. Both are set to repeat a request whose outcome is unknown.
	Session       uint64
	FirstSequence uint64

	// Window is the greatest number of requests that await their result, 1 to 128. A reply that is
	// lost can be had again as long as their results are no larger than 1 MiB together.
	Window int
	// BundleOps and BundleBytes bound the operations under one signature, and the queries of one
	// question.
	BundleOps   int
	BundleBytes int
	// QueueOps and QueueBytes bound the operations that wait to be sent.
	QueueOps   int
	QueueBytes int
	// CheckOp says what is wrong with an operation before it is signed; nil asks nobody. Nodes
	// refuse a request with an operation that their state machine refuses.
	CheckOp func(op []byte) error

	// Late is how long an answer may take before a request goes to all nodes, at least; four times
	// the usual time is allowed if that is longer. LateMax bounds the time between repetitions,
	// which doubles each time.
	Late    time.Duration
	LateMax time.Duration
	// Probe is the time in which 32 requests under way are shown to all nodes, so that they can time
	// their leader: what the leader alone knows of, it may serve as late as it likes. Negative is
	// never.
	Probe time.Duration
	// ReadTries is how often a linearizable read is asked anew before it is unsettled, and
	// ReadPatience how long one of them waits for nodes to execute as far as the read index.
	ReadTries    int
	ReadPatience time.Duration

	// OnDissent is told of every answer that differs from an accepted one or does not verify. It
	// must be quick. It may be called by several goroutines at once; nil is never called.
	OnDissent func(Dissent)
	Logger    *slog.Logger // of the links; nil discards
}

// DefaultConfig returns settings for a cluster that answers in well below 300 ms when all is well.
// Genesis, Key and Peers are left to the caller.
func DefaultConfig() Config {
	return Config{
		Security: p2p.SecurityTLS, Transport: p2p.TransportTCP,
		Window: 8, BundleOps: 512, BundleBytes: 512 << 10,
		QueueOps: 1 << 16, QueueBytes: 64 << 20,
		Late: 300 * time.Millisecond, LateMax: 2 * time.Second,
		Probe:     100 * time.Millisecond,
		ReadTries: 5, ReadPatience: 3 * time.Second,
	}
}

// Validate names the first field that cannot work.
func (c *Config) Validate() error {
	bad := ""
	switch {
	case c.Genesis == nil:
		bad = "Genesis"
	case c.Key.IsZero():
		bad = "Key"
	case c.Window < 1 || c.Window > maxWindow:
		bad = "Window (1 to 128)"
	case c.BundleOps < 1 || c.BundleOps > bftraft.MaxRequestOps:
		bad = "BundleOps (1 to 4096)"
	case c.BundleBytes < 1 || c.BundleBytes > bftraft.MaxRequestBytes-requestOverhead:
		bad = "BundleBytes (1 to 2 MiB)"
	case c.QueueOps < 1:
		bad = "QueueOps"
	case c.QueueBytes < 1:
		bad = "QueueBytes"
	case c.Late <= 0 || c.LateMax < c.Late:
		bad = "Late (positive, not above LateMax)"
	case c.ReadTries < 1:
		bad = "ReadTries"
	case c.ReadPatience <= 0:
		bad = "ReadPatience"
	}
	if bad != "" {
		return fmt.Errorf("%w: %s", ErrConfig, bad)
	}
	return nil
}

// requestOverhead is what the frame of a request has besides the operations, and opOverhead what
// each of them costs besides its bytes.
const (
	requestOverhead = 1 + 32 + 8 + 8 + 2 + 64
	opOverhead      = 4
)

// Dissent is one answer of a node that differs from what f+1 nodes vouch for, or does not verify.
type Dissent struct {
	Node bftraft.NodeID
	Kind DissentKind
	ID   RequestID // of the request, if it is about one
}

// DissentKind says in what way a node's answer was wrong.
type DissentKind string

// The kinds. None of them can be caused by an honest node on a sound link.
const (
	DissentReply   DissentKind = "reply"   // its reply to a request differs from the accepted one
	DissentRead    DissentKind = "read"    // its read contradicts f+1 others about the same state
	DissentInvalid DissentKind = "invalid" // what it sent is malformed or does not verify
)
