package node

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
	"tangaroa/p2p"
)

// Errors of Node.
var (
	// ErrConfig is returned, wrapped with the name of the field, when a Config cannot be used.
	ErrConfig = errors.New("node: invalid configuration")
	// ErrStorage is returned by Run when storage failed: the node signs nothing more.
	ErrStorage = errors.New("storage failed, so this node signs nothing more")
	// ErrStarted is returned by Run when it has been called before.
	ErrStarted = errors.New("node: was run before")
	// ErrStopped is returned when the node has stopped.
	ErrStopped = errors.New("node: has stopped")
	// ErrNoClient is returned by Submit when Config.Client is not set.
	ErrNoClient = errors.New("node: has no client key to submit with")
	// ErrRefused is returned by Submit when the operation is not worth ordering.
	ErrRefused = errors.New("operation was refused")
	// ErrForgotten is returned by Submit when the operation was executed but its result is no
	// longer remembered.
	ErrForgotten = errors.New("operation was executed, but its result is no longer remembered")
)

// Config is what a Node is made with.
type Config struct {
	// Genesis says who was in the cluster at its birth, and Changes what became of that, oldest
	// first: as far as this node is told at its start, the rest it learns. ID and Key say which
	// member this node is.
	Genesis *bftraft.Genesis
	Changes []*bftraft.ChangeProof
	ID      crypto.NodeID
	Key     crypto.PrivateKey

	// Storage and Machine belong to the node while Run runs; closing Storage is for the caller.
	Storage replica.Storage
	Machine replica.StateMachine
	// CheckOp, if set, says whether an operation is worth ordering, a courtesy to clients. It is
	// called concurrently.
	CheckOp func(op []byte) error
	// Client, if set, is an enrolled client's key with which Submit signs. No other process may
	// use the same key with Submit at the same time.
	Client crypto.PrivateKey

	// Network is passed to p2p.New, with Key, Self, Clients, MaxPeers and Logger filled in. The peers
	// are the members, whom changes replace; Peers says by key where to find those for whom neither
	// Addresses nor a change does.
	Network p2p.Config
	// Addresses says where nodes are, as "host:port". It goes before what changes say.
	Addresses map[crypto.NodeID]string
	// NewNetwork replaces p2p.New, for simulations and tests.
	NewNetwork func(p2p.Config, p2p.Handler) (Network, error)

	// Protocol holds the times of the protocol in ticks; Cluster, Signer, Configurations and Seed
	// are filled in. Tick is how long one is.
	Protocol bftraft.Config
	Tick     time.Duration
	// Grace is how long a leader that is told to stop waits for its successor.
	Grace time.Duration

	// PeerQueue bounds what waits to be verified of one peer and class, and ClientQueue what
	// waits of one client. A node holds at most twice that for each.
	PeerQueue, ClientQueue p2p.QueueLimit
	// MaxClientQueueBytes bounds what waits of all clients together.
	MaxClientQueueBytes int
	// Workers verify what clients send; at least one.
	Workers int

	// HTTP is where status and metrics are served, "host:port"; empty for nowhere. Whoever can
	// reach it can read it, so it should be a loopback address. Pprof adds profiles.
	HTTP  string
	Pprof bool

	// Logger takes what an operator acts on; nil discards.
	Logger *slog.Logger

	// Corrupt, if set, may change what the replica is made with: it is how tests and adversaries
	// stand between the replica and its core and transport.
	Corrupt func(*replica.Config) error
}

// DefaultConfig returns limits and times for a network whose round trips, flushes included, are
// well below 100 ms. Genesis, ID, Key, Storage, Machine, and the peers and addresses of Network
// are left to the caller.
func DefaultConfig() Config {
	network := p2p.DefaultConfig()
	network.MaxFrameBytes = bftraft.MaxFrameBytes
	network.MaxClientFrameBytes = 1 + bftraft.MaxRequestBytes
	return Config{
		Network:             network,
		Protocol:            bftraft.DefaultConfig(),
		Tick:                10 * time.Millisecond,
		Grace:               time.Second,
		PeerQueue:           p2p.QueueLimit{Frames: 4096, Bytes: 32 << 20},
		ClientQueue:         p2p.QueueLimit{Frames: 256, Bytes: 8 << 20},
		MaxClientQueueBytes: 256 << 20,
		Workers:             max(1, runtime.GOMAXPROCS(0)),
	}
}

// Validate names the first field that cannot be used.
func (c *Config) Validate() error {
	if err := c.validateFields(); err != nil {
		return err
	}
	_, _, err := c.gates(crypto.ZIP215())
	return err
}

// validateFields judges each field by itself.
func (c *Config) validateFields() error {
	switch {
	case c.Genesis == nil:
		return invalid("Genesis", "is missing")
	case c.Key.IsZero():
		return invalid("Key", "is missing")
	case c.Storage == nil:
		return invalid("Storage", "is missing")
	case c.Machine == nil:
		return invalid("Machine", "is missing")
	case c.Tick <= 0:
		return invalid("Tick", "%v is not positive", c.Tick)
	case c.Grace < 0:
		return invalid("Grace", "%v is negative", c.Grace)
	case c.PeerQueue.Frames < 1 || c.PeerQueue.Bytes < bftraft.MaxFrameBytes:
		return invalid("PeerQueue", "must admit the largest frame")
	case c.ClientQueue.Frames < 1 || c.ClientQueue.Bytes <= bftraft.MaxRequestBytes:
		return invalid("ClientQueue", "must admit the largest request")
	case c.MaxClientQueueBytes < c.ClientQueue.Bytes:
		return invalid("MaxClientQueueBytes", "is below ClientQueue.Bytes")
	case c.Workers < 1:
		return invalid("Workers", "%d is not positive", c.Workers)
	}
	for id, address := range c.Addresses {
		if err := c.Network.CheckAddress(address); err != nil {
			return invalid("Addresses", "node %d: %v", id, err)
		}
	}
	u := &c.Genesis.Upkeep
	_, keeps := c.Storage.(replica.Snapshots)
	if !keeps && (u.CheckpointEntries > 0 || u.CheckpointBytes > 0 ||
		c.Genesis.Origin != (bftraft.Origin{})) {
		return invalid("Storage", "keeps no snapshots, and the genesis asks for checkpoints")
	}
	return nil
}

// gates returns what judges by the genesis alone, and by all changes that the node is told of. It
// is an error if that does not let the node take part.
func (c *Config) gates(s crypto.Scheme) (genesis, told *bftraft.Verifier, err error) {
	if genesis, err = bftraft.NewVerifier(s, c.Genesis); err != nil {
		return nil, nil, err
	}
	if told, err = genesis.Following(c.Changes); err != nil {
		return nil, nil, invalid("Changes", "%v", err)
	}
	return genesis, told, c.validateIdentity(genesis, told.Members())
}

// validateIdentity holds ID and keys against the members.
func (c *Config) validateIdentity(genesis *bftraft.Verifier, m *bftraft.Membership) error {
	if !c.Client.IsZero() {
		if _, enrolled := m.Client(c.Client.Public()); !enrolled {
			return invalid("Client", "key %s is not enrolled", c.Client.Public())
		}
	}
	key := c.Key.Public()
	if m.Left(key) {
		return fmt.Errorf("%w: Key: %w", ErrConfig, departure(genesis, c.Changes, key))
	}
	for _, n := range m.Nodes {
		switch {
		case n.ID == c.ID && n.Key == key:
			return nil
		case n.ID == c.ID:
			return invalid("Key", "node %d has key %s, not %s", c.ID, n.Key, key)
		}
	}
	return invalid("ID", "there is no node %d; if it has joined, Changes must say so", c.ID)
}

func invalid(field, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrConfig, field, fmt.Sprintf(format, args...))
}

func (c *Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}
