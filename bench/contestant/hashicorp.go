package contestant

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	raftwal "github.com/hashicorp/raft-wal"

	"tangaroa/crypto"
)

// logAndStable is a store of hashicorp/raft, as both of its kinds come.
type logAndStable interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

// hashiMember is a node of hashicorp/raft.
type hashiMember struct {
	raft      *raft.Raft
	fsm       *hashiMap
	log       *countingLog
	transport *raft.NetworkTransport
	stream    *countingStream
	dead      bool
	killed    chan struct{} // closed when it is dead
}

// hashiCluster is hashicorp/raft as it is embedded: Apply is called in the leader's process.
type hashiCluster struct {
	members []*hashiMember
	leader  atomic.Pointer[hashiMember]
	kills   bool // its leader will be killed
}

func startBolt(ctx context.Context, o Options) (Cluster, error) {
	return startHashicorp(ctx, o, func(dir string) (logAndStable, error) {
		return raftboltdb.New(raftboltdb.Options{
			Path: filepath.Join(dir, "raft.db"), NoSync: false,
		})
	})
}

func startWAL(ctx context.Context, o Options) (Cluster, error) {
	return startHashicorp(ctx, o, func(dir string) (logAndStable, error) {
		return raftwal.Open(dir) // it always syncs
	})
}

func startHashicorp(
	ctx context.Context, o Options, open func(dir string) (logAndStable, error),
) (Cluster, error) {
	c := &hashiCluster{kills: o.KillsLeader}
	var servers []raft.Server
	err := func() error {
		for i := range o.Nodes {
			id := raft.ServerID(strconv.Itoa(i + 1))
			m, err := startHashiMember(id, filepath.Join(o.Dir, "node"+string(id)), open)
			if err != nil {
				return err
			}
			c.members = append(c.members, m)
			servers = append(servers, raft.Server{ID: id, Address: m.transport.LocalAddr()})
		}
		first := c.members[0].raft.BootstrapCluster(raft.Configuration{Servers: servers})
		return first.Error()
	}()
	if err == nil {
		err = poll(ctx, c.findLeader)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func startHashiMember(
	id raft.ServerID, dir string, open func(string) (logAndStable, error),
) (*hashiMember, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	quiet := hclog.NewNullLogger()
	disk, err := open(dir)
	if err != nil {
		return nil, err
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, 1, quiet)
	if err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	stream, err := listenCounting()
	if err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	transport := raft.NewNetworkTransportWithLogger(stream, 3, 10*time.Second, quiet)
	m := &hashiMember{
		stream: stream,
		fsm:    &hashiMap{values: map[string][]byte{}}, transport: transport,
		log: &countingLog{logAndStable: disk}, killed: make(chan struct{}),
	}
	cfg := raft.DefaultConfig()
	cfg.LocalID, cfg.Logger = id, quiet
	// Its users raise this where load is high, so that entries travel together.
	cfg.MaxAppendEntries, cfg.BatchApplyCh = 1024, true
	m.raft, err = raft.NewRaft(cfg, m.fsm, m.log, m.log, snapshots, transport)
	if err != nil {
		return nil, errors.Join(err, transport.Close(), disk.Close())
	}
	return m, nil
}

func (c *hashiCluster) findLeader() error {
	for _, m := range c.members {
		if !m.dead && m.raft.State() == raft.Leader {
			c.leader.Store(m)
			return nil
		}
	}
	return errors.New("there is no leader")
}

// Put implements load.Store.
func (c *hashiCluster) Put(ctx context.Context, key, value []byte) error {
	op := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(key)+len(value)), uint16(len(key)))
	op = append(append(op, key...), value...)
	return c.asLeader(ctx, func(m *hashiMember) error {
		future := m.raft.Apply(op, 10*time.Second)
		if err := c.await(future, m); err != nil {
			return err
		}
		if err, ok := future.Response().(error); ok {
			return err
		}
		return nil
	})
}

// await waits for a future. Those that a leader has not looked at when it is shut down never end.
func (c *hashiCluster) await(f raft.ApplyFuture, m *hashiMember) error {
	if !c.kills {
		return f.Error()
	}
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-m.killed:
		return raft.ErrRaftShutdown
	}
}

// Get implements load.Store: the leader makes sure that it leads, then reads its own state.
func (c *hashiCluster) Get(ctx context.Context, key []byte) ([]byte, error) {
	var value []byte
	err := c.asLeader(ctx, func(m *hashiMember) error {
		if err := m.raft.VerifyLeader().Error(); err != nil {
			return err
		}
		value = m.fsm.get(key)
		return nil
	})
	return value, err
}

// asLeader finds the new leader when the old one is gone.
func (c *hashiCluster) asLeader(ctx context.Context, do func(*hashiMember) error) error {
	for {
		err := do(c.leader.Load())
		switch {
		case err == nil:
			return nil
		case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost),
			errors.Is(err, raft.ErrRaftShutdown):
		default:
			return err
		}
		if err := poll(ctx, c.findLeader); err != nil {
			return err
		}
	}
}

// Counts implements Cluster.
func (c *hashiCluster) Counts() (Counts, error) {
	sum := Counts{Signed: 0, Verified: 0}
	for _, m := range c.members {
		sum[Flushes] += float64(m.log.flushes.Load())
		sum[Messages] += float64(m.stream.messages.Load())
		sum[Bytes] += float64(m.stream.bytes.Load())
		sum[Blocks] = max(sum[Blocks], float64(m.fsm.batches.Load()))
	}
	return sum, nil
}

// KillFollower implements Cluster.
func (c *hashiCluster) KillFollower() error {
	for _, m := range slices.Backward(c.members) {
		if m != c.leader.Load() && !m.dead {
			return m.kill()
		}
	}
	return errors.New("there is no follower to kill")
}

// KillLeader implements Cluster.
func (c *hashiCluster) KillLeader() error { return c.leader.Load().kill() }

// kill closes the sockets first, so that nothing is handed over.
func (m *hashiMember) kill() error {
	m.dead = true
	err := errors.Join(m.transport.Close(), m.raft.Shutdown().Error(), m.log.Close())
	close(m.killed)
	return err
}

// Sound implements Cluster.
func (c *hashiCluster) Sound(ctx context.Context) error {
	return poll(ctx, func() error {
		var first crypto.Digest
		for i, m := range c.members {
			if m.dead {
				continue
			}
			if m.raft.State() == raft.Shutdown {
				return fmt.Errorf("%w: node %d fell over", ErrUnsound, i+1)
			}
			d := m.fsm.digest()
			if first.IsZero() {
				first = d
			}
			if d != first {
				return fmt.Errorf("%w: node %d holds something else", ErrUnsound, i+1)
			}
		}
		return nil
	})
}

// Close implements Cluster.
func (c *hashiCluster) Close() error {
	var errs []error
	for _, m := range c.members {
		if !m.dead {
			errs = append(errs, m.raft.Shutdown().Error(), m.transport.Close(), m.log.Close())
		}
	}
	return errors.Join(errs...)
}

// countingLog counts what waits for the disk.
type countingLog struct {
	logAndStable
	flushes atomic.Uint64
}

// StoreLogs stores several entries with one flush.
func (l *countingLog) StoreLogs(logs []*raft.Log) error {
	l.flushes.Add(1)
	return l.logAndStable.StoreLogs(logs)
}

// StoreLog stores one.
func (l *countingLog) StoreLog(log *raft.Log) error {
	l.flushes.Add(1)
	return l.logAndStable.StoreLog(log)
}

// IsMonotonic says what the store below says: without it, raft-wal could not be told.
func (l *countingLog) IsMonotonic() bool {
	m, ok := l.logAndStable.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

// hashiMap is the state machine: a map in memory.
type hashiMap struct {
	batches atomic.Uint64
	mu      sync.Mutex
	values  map[string][]byte
}

// Apply implements raft.FSM.
func (f *hashiMap) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM.
func (f *hashiMap) ApplyBatch(logs []*raft.Log) []any {
	f.batches.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]any, len(logs))
	for i, l := range logs {
		if l.Type == raft.LogCommand {
			out[i] = f.apply(l.Data)
		}
	}
	return out
}

func (f *hashiMap) apply(op []byte) any {
	if len(op) < 2 || len(op) < 2+int(binary.BigEndian.Uint16(op)) {
		return errors.New("an operation is malformed")
	}
	n := 2 + int(binary.BigEndian.Uint16(op))
	f.values[string(op[2:n])] = op[n:]
	return nil
}

func (f *hashiMap) get(key []byte) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.values[string(key)]
}

func (f *hashiMap) digest() crypto.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all [][]byte
	for _, k := range slices.Sorted(maps.Keys(f.values)) {
		all = append(all, []byte(k), f.values[k])
	}
	return crypto.Hash(crypto.DomainState, all...)
}

// Snapshot implements raft.FSM. A run is too short for one to be due.
func (f *hashiMap) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return hashiSnapshot{maps.Clone(f.values)}, nil
}

// Restore implements raft.FSM.
func (f *hashiMap) Restore(r io.ReadCloser) error {
	values, err := readMap(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.values = values
	return errors.Join(err, r.Close())
}
