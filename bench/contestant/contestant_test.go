package contestant

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// patience is how long anything may take on a busy machine.
const patience = time.Minute

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, name string, o Options) Cluster {
	t.Helper()
	c, err := Find(name)
	require.NoError(t, err)
	o.Dir, o.Outstanding, o.ValueBytes = t.TempDir(), 8, 128
	cluster, err := c.Start(within(t), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Close()) })
	return cluster
}

func fill(t *testing.T, c Cluster, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		require.NoError(t, c.Put(within(t), fmt.Appendf(nil, "key%d", i), make([]byte, 128)))
	}
}

func TestEveryContestantOutlivesItsLeader(t *testing.T) {
	for _, c := range All() {
		t.Run(c.Name, func(t *testing.T) {
			cluster := start(t, c.Name, Options{Nodes: 4, KillsLeader: true})
			fill(t, cluster, 0, 20)
			got, err := cluster.Get(within(t), []byte("key7"))
			require.NoError(t, err)
			require.Len(t, got, 128)
			require.NoError(t, cluster.Sound(within(t)))
			before, err := cluster.Counts()
			require.NoError(t, err)

			require.NoError(t, cluster.KillLeader())
			fill(t, cluster, 20, 30)
			require.NoError(t, cluster.Sound(within(t)))
			after, err := cluster.Counts()
			require.NoError(t, err)
			require.Positive(t, before[Flushes], "it is durable")
			if c.Name != "etcd" {
				require.GreaterOrEqual(t, before[Messages], 20*3.0, "a write goes to all others")
				require.Greater(t, before[Bytes], 20*3*128.0)
			}
			require.Greater(t, after[Flushes], 0.0)
		})
	}
}

func TestCrashTolerantOnesRunWithThreeAndOneOfThemDead(t *testing.T) {
	for _, c := range All() {
		if c.Byzantine {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			cluster := start(t, c.Name, Options{Nodes: 3})
			fill(t, cluster, 0, 5)
			require.NoError(t, cluster.KillFollower())
			fill(t, cluster, 5, 10)
			require.NoError(t, cluster.Sound(within(t)))
		})
	}
}

func TestLiarsAreStartedWhereTheyCanBe(t *testing.T) {
	for _, f := range Faults() {
		t.Run(f.Name, func(t *testing.T) {
			ours := start(t, "ours", Options{Nodes: 4, Adversary: f.Ours, AsLeader: f.Leads})
			fill(t, ours, 0, 10)
			require.NoError(t, ours.Sound(within(t)), "the honest agree whatever one member does")
			start(t, "plain", Options{Nodes: 4, Adversary: f.Name})
		})
	}
	etcd, err := Find("etcd")
	require.NoError(t, err)
	_, err = etcd.Start(within(t), Options{Nodes: 4, Adversary: "silent"})
	require.ErrorContains(t, err, "no liars")
}

func TestDirectoryInMemoryIsRefused(t *testing.T) {
	const inMemory = "/dev/shm"
	if _, err := os.Stat(inMemory); err != nil {
		t.Skip("there is no directory in memory here")
	}
	require.ErrorContains(t, realDisk(inMemory), "nothing would be durable")
	require.NoError(t, realDisk(t.TempDir()))
}

func TestNodesThatHoldDifferentThingsAreUnsound(t *testing.T) {
	c := start(t, "wal", Options{Nodes: 3}).(*hashiCluster)
	fill(t, c, 0, 3)
	require.NoError(t, c.Sound(within(t)))
	c.members[1].fsm.Apply(&raft.Log{Type: raft.LogCommand, Data: []byte("\x00\x01kv")})
	soon, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.Sound(soon), ErrUnsound)
}

func TestMapIsRestoredFromItsSnapshot(t *testing.T) {
	f := &hashiMap{values: map[string][]byte{"a": []byte("b")}}
	snapshot, err := f.Snapshot()
	require.NoError(t, err)
	r, w := io.Pipe()
	go func() { _ = snapshot.Persist(sink{w}) }()
	again := &hashiMap{}
	require.NoError(t, again.Restore(r))
	require.Equal(t, f.digest(), again.digest())
}

// sink is a snapshot's file that is a pipe.
type sink struct{ *io.PipeWriter }

func (sink) ID() string      { return "a pipe" }
func (s sink) Cancel() error { return s.Close() }

func TestLeakIsReadFromItsHex(t *testing.T) {
	on := &atomic.Bool{}
	lie, err := plainLie("leaky", on, io.Discard)
	require.NoError(t, err)
	require.NotNil(t, lie)
	_, err = plainLie("kindness", on, io.Discard)
	require.Error(t, err)
	c := &cluster{}
	frame := append([]byte("secret:"), make([]byte, 12)...)
	_, err = fmt.Fprintf(hexEar{&c.ear}, "from 1 %x\n", frame)
	require.NoError(t, err)
	require.Equal(t, 1, c.ear.Count())
}
