package contestant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tangaroa/bench/load"
	"tangaroa/bftraft/node"
)

// Options say what cluster to start.
type Options struct {
	Nodes int    `json:"nodes"`
	Dir   string `json:"dir"` // empty, on a real disk
	// Outstanding is how many operations the client must be able to have under way.
	Outstanding int `json:"outstanding"`
	ValueBytes  int `json:"value_bytes"`
	// KillsLeader says that the leader will be killed while operations are under way.
	KillsLeader bool `json:"kills_leader,omitempty"`
	// Adversary is an attack for one of the nodes, "" for none: attacks of the package adversary
	// with a plus between them for ours, the name of a Fault for plain Raft.
	Adversary string `json:"adversary,omitempty"`
	// AsLeader makes the liar lead, if it can be made to.
	AsLeader bool `json:"as_leader,omitempty"`
}

// Counts are what the cluster has done so far, by name. What a contestant cannot count is absent.
type Counts map[string]float64

// The names of Counts.
const (
	Messages = "messages" // frames between nodes, and between nodes and clients
	Bytes    = "bytes"    // in them
	Signed   = "signed"   // signatures made, by nodes and client
	Verified = "verified" // signatures verified, by nodes
	Flushes  = "flushes"  // times that a node waited for its disk
	Syncs    = "syncs"    // flushes that the kernel was asked for; of a run made for counting
	Blocks   = "blocks"   // what was agreed on at once, counted on one node
	Repeats  = "repeats"  // requests that the client sent again
	Refusals = "refusals" // requests that a node refused
	Slowed   = "slowed"   // times that a node let another wait because it sent much of no use
)

// Cluster is a running contestant.
type Cluster interface {
	load.Store
	// Counts returns the counters; it may be slow.
	Counts() (Counts, error)
	// KillFollower and KillLeader stop one node as a crash would, as far as one process allows.
	KillFollower() error
	KillLeader() error
	// Sound returns nil if all nodes that should be alive are, and agree on what they hold.
	Sound(ctx context.Context) error
	Close() error
}

// Contestant is a way to replicate a store.
type Contestant struct {
	Name  string `json:"name"`  // as in flags
	Title string `json:"title"` // as in tables
	Does  string `json:"does"`
	// Byzantine says that it bears liars: it needs 3f+1 nodes and knows Options.Adversary.
	Byzantine bool `json:"byzantine"`
	// Shoes says that it is plain Raft on what ours stands on.
	Shoes bool `json:"shoes"`
	start func(context.Context, Options) (Cluster, error)
}

var contestants = []Contestant{
	{
		Name: "ours", Title: "Tangaroa", Byzantine: true, start: startBundled,
		Does: "operations that wait together are signed together by the client",
	},
	{
		Name: "single", Title: "Tangaroa, each operation signed", Byzantine: true, start: startSingle,
		Does: "each operation is signed by itself",
	},
	{
		Name: "plain", Title: "plain Raft in the same shoes", Shoes: true, start: startPlain,
		Does: "etcd's raft library on our p2p, journal, settings of Badger and kv; nothing is signed",
	},
	{
		Name: "bolt", Title: "hashicorp/raft + BoltDB", start: startBolt,
		Does: "hashicorp/raft with raft-boltdb/v2; Apply is called in the leader's process",
	},
	{
		Name: "wal", Title: "hashicorp/raft + raft-wal", start: startWAL,
		Does: "hashicorp/raft with raft-wal; Apply is called in the leader's process",
	},
	{
		Name: "etcd", Title: "etcd server", start: startEtcd,
		Does: "embedded servers as they come, and its own client over gRPC",
	},
}

// All returns the contestants in the order of tables.
func All() []Contestant { return slices.Clone(contestants) }

// Find returns the contestant of a name.
func Find(name string) (Contestant, error) {
	var names []string
	for _, c := range contestants {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return Contestant{}, fmt.Errorf("there is no contestant %q, only %v", name, names)
}

// Start starts all nodes and a client. The cluster answers when it returns.
func (c Contestant) Start(ctx context.Context, o Options) (Cluster, error) {
	switch {
	case o.Nodes < 1 || o.Nodes > 64:
		return nil, fmt.Errorf("%s: %d nodes", c.Name, o.Nodes)
	case o.Adversary != "" && !c.Byzantine && !c.Shoes:
		return nil, fmt.Errorf("%s has no liars", c.Name)
	}
	if err := realDisk(o.Dir); err != nil {
		return nil, err
	}
	if c.Byzantine || c.Shoes { // as bftnode does; the others run as they come
		node.TuneProcess(o.Nodes)
	}
	return c.start(ctx, o)
}

// ErrUnsound is returned, wrapped, by Cluster.Sound.
var ErrUnsound = errors.New("the cluster is not sound")

// poll asks until the answer is nil or time is up, and returns the last answer.
func poll(ctx context.Context, ask func() error) error {
	ticks := time.NewTicker(2 * time.Millisecond)
	defer ticks.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-ticks.C:
		}
	}
}
