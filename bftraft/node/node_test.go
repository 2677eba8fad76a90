package node

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tangaroa/adversary"
	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/crypto"
	"tangaroa/p2p"
	"tangaroa/quorumcert"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sum is a state machine: it adds up what it is given.
type sum struct{ total uint64 }

func (s *sum) Apply(_ uint64, op []byte) []byte {
	s.total += uint64(len(op))
	return s.Query(nil)
}
func (s *sum) Query([]byte) []byte      { return binary.BigEndian.AppendUint64(nil, s.total) }
func (s *sum) Digest() crypto.Digest    { return crypto.Hash(crypto.DomainState, s.Query(nil)) }
func (s *sum) Snapshot(io.Writer) error { return nil }
func (s *sum) Restore(io.Reader) error  { return nil }

func seeded(n byte) crypto.PrivateKey { return crypto.KeyFromSeed([32]byte{n}) }

// clientKey is that of the client enrolled in every test, adminKey that of the administrator, and
// ownKey(id) that of node id's Submit.
func clientKey() crypto.PrivateKey              { return seeded(100) }
func adminKey() crypto.PrivateKey               { return seeded(99) }
func ownKey(id crypto.NodeID) crypto.PrivateKey { return seeded(150 + byte(id)) }

func testGenesis(n int) *bftraft.Genesis {
	g := &bftraft.Genesis{
		Name: "test", Nonce: crypto.Digest{1}, Testnet: true,
		Clients: []bftraft.Enrolled{{Name: "client", Key: clientKey().Public()}},
		Admins:  []bftraft.Enrolled{{Name: "admin", Key: adminKey().Public()}}, AdminQuorum: 1,
	}
	for id := crypto.NodeID(1); int(id) <= n; id++ {
		g.Voters = append(g.Voters,
			quorumcert.Voter{ID: id, Key: seeded(byte(id)).Public()})
		g.Clients = append(g.Clients,
			bftraft.Enrolled{Name: nodeLabel(id), Key: ownKey(id).Public()})
	}
	return g
}

func nodeLabel(id crypto.NodeID) string { return "node" + label(id) }

// running is a node in a goroutine of its own.
type running struct {
	*Node
	id    crypto.NodeID
	disk  *store.Memory
	stop  context.CancelFunc
	ended chan struct{}
	err   error // once ended is closed
}

func testConfig(g *bftraft.Genesis, id crypto.NodeID, disk *store.Memory) Config {
	cfg := DefaultConfig()
	cfg.Genesis, cfg.ID, cfg.Key, cfg.Client = g, id, seeded(byte(id)), ownKey(id)
	cfg.Storage, cfg.Machine, cfg.Workers = disk, &sum{}, 2
	return cfg
}

func newDisk(g *bftraft.Genesis, id crypto.NodeID) *store.Memory {
	return store.NewMemory(store.Identity{
		Cluster: g.Hash(), Node: id, Key: seeded(byte(id)).Public(),
	})
}

func launch(t *testing.T, cfg Config, disk *store.Memory) *running {
	n, err := New(cfg)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Node: n, id: cfg.ID, disk: disk, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.err = n.Run(ctx)
	}()
	return r
}

// end stops a node and returns what Run returned.
func (r *running) end() error {
	r.stop()
	<-r.ended
	return r.err
}

// onBoard runs a test with n nodes on a switchboard, in a bubble where time is free.
func onBoard(t *testing.T, n int, test func(t *testing.T, b *switchboard, nodes []*running)) {
	synctest.Test(t, func(t *testing.T) {
		b, g := newSwitchboard(), testGenesis(n)
		var nodes []*running
		for id := crypto.NodeID(1); int(id) <= n; id++ {
			nodes = append(nodes, launchOn(t, b, g, id, newDisk(g, id)))
			timer := time.NewTimer(2 * time.Millisecond) // clocks do not tick together
			<-timer.C
		}
		test(t, b, nodes)
		for _, r := range nodes {
			r.stop()
		}
		for _, r := range nodes {
			<-r.ended
		}
	})
}

func launchOn(
	t *testing.T, b *switchboard, g *bftraft.Genesis, id crypto.NodeID, disk *store.Memory,
) *running {
	cfg := testConfig(g, id, disk)
	cfg.NewNetwork = b.network
	return launch(t, cfg, disk)
}

// within lets fake time pass until the condition holds.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); {
		require.True(t, time.Now().Before(deadline), "not within %v: %s", limit, what)
		timer := time.NewTimer(5 * time.Millisecond)
		<-timer.C
	}
}

// agreedLeader returns the leader that all of the nodes know, 0 if they know different ones.
func agreedLeader(nodes []*running) crypto.NodeID {
	leader := nodes[0].Status().Leader
	for _, r := range nodes {
		if s := r.Status(); s.Leader != leader || !s.Ready {
			return 0
		}
	}
	return leader
}

func without(nodes []*running, id crypto.NodeID) []*running {
	var out []*running
	for _, r := range nodes {
		if r.id != id {
			out = append(out, r)
		}
	}
	return out
}

func submit(t *testing.T, r *running, ops ...[]byte) [][]byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	results, err := r.Submit(ctx, ops...)
	require.NoError(t, err)
	return results
}

func TestOperationsSubmittedAnywhereAreExecutedEverywhere(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, _ *switchboard, nodes []*running) {
		for i, r := range nodes {
			results := submit(t, r, []byte("four"), []byte("six..."))
			require.Len(t, results, 2)
			require.EqualValues(t, 10*(i+1), binary.BigEndian.Uint64(results[1]))
		}
		within(t, time.Second, "all execute all", func() bool {
			for _, r := range nodes {
				if r.Status().Executed != 8 {
					return false
				}
			}
			return true
		})
		total, err := nodes[3].Query(context.Background(), nil)
		require.NoError(t, err)
		require.EqualValues(t, 40, binary.BigEndian.Uint64(total))
	})
}

func TestManySubmissionsAtOnceAreAllExecutedOnce(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, _ *switchboard, nodes []*running) {
		const many = 300
		errs := make(chan error, many)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for i := range many {
			go func() {
				_, err := nodes[i%4].Submit(ctx, []byte{1})
				errs <- err
			}()
		}
		for range many {
			require.NoError(t, <-errs)
		}
		within(t, time.Second, "all execute all", func() bool {
			return nodes[0].Status().Executed == many && nodes[3].Status().Executed == many
		})
	})
}

func TestSubmissionsAboveWhatAReplicaTakesInWaitForRoom(t *testing.T) {
	onBoard(t, 1, func(t *testing.T, _ *switchboard, nodes []*running) {
		const many = 12 // of 1 MiB each, where 8 MiB are taken in
		op := make([]byte, 1<<20)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		errs := make(chan error, many)
		for range many {
			go func() {
				_, err := nodes[0].Submit(ctx, op)
				errs <- err
			}()
		}
		for range many {
			require.NoError(t, <-errs)
		}
		_, err := nodes[0].Submit(context.Background(), make([]byte, bftraft.MaxOpBytes+1))
		require.ErrorIs(t, err, ErrRefused)
		submit(t, nodes[0], []byte("the next sequence is not missing"))
	})
}

func TestLeaderThatIsToldToStopHandsOver(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, _ *switchboard, nodes []*running) {
		within(t, 10*time.Second, "a leader", func() bool { return agreedLeader(nodes) != 0 })
		leader := agreedLeader(nodes)
		start := time.Now()
		require.NoError(t, nodes[leader-1].end())
		require.Less(t, time.Since(start), time.Second, "it knew its successor before its grace ended")
		rest := without(nodes, leader)
		within(t, 300*time.Millisecond, "a successor, before any timeout", func() bool {
			next := agreedLeader(rest)
			return next != 0 && next != leader
		})
		for _, r := range rest {
			require.Equal(t, map[bftraft.Cause]int{bftraft.CauseResigned: 1}, r.changes())
		}
		submit(t, rest[0], []byte("goes on"))
	})
}

// changes returns how often a node saw the leader change, by cause, without zeros.
func (r *running) changes() map[bftraft.Cause]int {
	out := map[bftraft.Cause]int{}
	for _, cause := range bftraft.Causes() {
		if n := countOf(r.metrics.changes.WithLabelValues(cause.String())); n > 0 {
			out[cause] = n
		}
	}
	return out
}

func TestEquivocatingLeaderIsNamedToTheOperator(t *testing.T) {
	const liar = crypto.NodeID(2) // leads the first term
	synctest.Test(t, func(t *testing.T) {
		b, g := newSwitchboard(), testGenesis(4)
		var nodes []*running
		var logged [5]journal
		for id := crypto.NodeID(1); id <= 4; id++ {
			disk := newDisk(g, id)
			cfg := testConfig(g, id, disk)
			cfg.NewNetwork = b.network
			cfg.Logger = slog.New(slog.NewTextHandler(&logged[id], nil))
			if id == liar {
				cfg.Corrupt = adversary.Corrupt([]adversary.Spec{{Name: "equivocate"}}, 1, nil)
			}
			nodes = append(nodes, launch(t, cfg, disk))
			defer nodes[id-1].end()
		}
		within(t, 10*time.Second, "a leader", func() bool { return agreedLeader(nodes) != 0 })
		require.Equal(t, liar, agreedLeader(nodes))
		submit(t, nodes[0], []byte("bait"))
		honest := without(nodes, liar)
		within(t, 10*time.Second, "an honest leader", func() bool {
			leader := agreedLeader(honest)
			return leader != 0 && leader != liar
		})
		for _, r := range honest {
			s := r.Status()
			require.Equal(t, []int{int(liar)}, s.Faulty)
			require.Equal(t, "two_acks", s.Evidence[0].Kind)
			require.Equal(t, 1, r.changes()[bftraft.CauseProof])
			require.Equal(t, 1, strings.Count(logged[r.id].String(),
				`level=WARN msg="voter is proven faulty" node=`+label(r.id)+" peer=2"))
		}
		submit(t, nodes[0], []byte("goes on"))
	})
}

func TestFollowerThatIsToldToStopDoesSoAtOnce(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, _ *switchboard, nodes []*running) {
		within(t, 10*time.Second, "a leader", func() bool { return agreedLeader(nodes) != 0 })
		follower := without(nodes, agreedLeader(nodes))[0]
		start := time.Now()
		require.NoError(t, follower.end())
		require.Zero(t, time.Since(start))
	})
}

func TestSilentLeaderIsReplacedAndComesBack(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, b *switchboard, nodes []*running) {
		within(t, 10*time.Second, "a leader", func() bool { return agreedLeader(nodes) != 0 })
		leader := agreedLeader(nodes)
		b.isolate(leader, true)
		rest := without(nodes, leader)
		within(t, 3*time.Second, "another leader", func() bool {
			next := agreedLeader(rest)
			return next != 0 && next != leader
		})
		suspected := rest[0].changes()
		require.Equal(t, 1, suspected[bftraft.CauseSilence]+suspected[bftraft.CauseOthers])
		submit(t, rest[0], []byte("without it"))
		within(t, 3*time.Second, "the lost one knows", func() bool {
			return !nodes[leader-1].Status().Ready
		})
		b.isolate(leader, false)
		within(t, 3*time.Second, "it is back", func() bool {
			s := nodes[leader-1].Status()
			return s.Ready && s.Executed == 1
		})
	})
}

func TestStorageFailureStopsTheNodeAndItsSigningAndNobodyElse(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, _ *switchboard, nodes []*running) {
		within(t, 10*time.Second, "a leader", func() bool { return agreedLeader(nodes) != 0 })
		broken := nodes[agreedLeader(nodes)-1]
		failure := errors.New("the disk is on fire")
		broken.disk.FailNext(failure, false)
		rest := without(nodes, broken.id)
		submit(t, rest[0], []byte("one"))
		<-broken.ended
		require.ErrorIs(t, broken.err, ErrStorage)
		require.ErrorIs(t, broken.err, failure)
		submit(t, rest[1], []byte("two"))
		_, err := broken.Submit(context.Background(), []byte("x"))
		require.ErrorIs(t, err, ErrStopped)
		_, err = broken.Query(context.Background(), nil)
		require.ErrorIs(t, err, ErrStopped)
	})
}

func TestNodeThatMustNotSignDoesNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := newSwitchboard(), testGenesis(4)
		disk := newDisk(g, 1)
		disk.DamageGuard(0)
		disk.DamageGuard(1)
		r := launchOn(t, b, g, 1, disk)
		<-r.ended
		require.ErrorIs(t, r.err, store.ErrGuardDamaged)
		require.True(t, store.MustNotSign(r.err))
		require.Empty(t, b.ports, "it never joined the network")
	})
}

func TestRestartedNodeGoesOnFromItsDisk(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, b *switchboard, nodes []*running) {
		submit(t, nodes[0], []byte("before"))
		require.NoError(t, nodes[3].end())
		submit(t, nodes[0], []byte("meanwhile"))
		again := launchOn(t, b, testGenesis(4), 4, nodes[3].disk.Crash(0))
		within(t, 5*time.Second, "it has caught up", func() bool {
			s := again.Status()
			return s.Ready && s.Applied == 2
		})
		require.NoError(t, again.end())
	})
}

func TestRunWorksOnce(t *testing.T) {
	onBoard(t, 1, func(t *testing.T, _ *switchboard, nodes []*running) {
		submit(t, nodes[0], []byte("alone"))
		require.ErrorIs(t, nodes[0].Run(context.Background()), ErrStarted)
	})
}

func TestConfigNamesTheFieldThatIsWrong(t *testing.T) {
	g := testGenesis(4)
	cases := []struct {
		about string
		spoil func(*Config)
	}{
		{"Genesis", func(c *Config) { c.Genesis = nil }},
		{"Key", func(c *Config) { c.Key = crypto.PrivateKey{} }},
		{"Key", func(c *Config) { c.Key = seeded(98) }},
		{"ID", func(c *Config) { c.ID = 9 }},
		{"Client", func(c *Config) { c.Client = seeded(98) }},
		{"Storage", func(c *Config) { c.Storage = nil }},
		{"Machine", func(c *Config) { c.Machine = nil }},
		{"Tick", func(c *Config) { c.Tick = 0 }},
		{"Grace", func(c *Config) { c.Grace = -1 }},
		{"PeerQueue", func(c *Config) { c.PeerQueue.Bytes = 1 }},
		{"ClientQueue", func(c *Config) { c.ClientQueue = p2p.QueueLimit{} }},
		{"MaxClientQueueBytes", func(c *Config) { c.MaxClientQueueBytes = 1 }},
		{"Workers", func(c *Config) { c.Workers = 0 }},
		{"HeartbeatTicks", func(c *Config) { c.Protocol.HeartbeatTicks = 0 }},
		{"Security", func(c *Config) { c.Network.Security = "hope" }},
	}
	for _, c := range cases {
		cfg := testConfig(g, 1, newDisk(g, 1))
		c.spoil(&cfg)
		_, err := New(cfg)
		require.ErrorContains(t, err, c.about)
	}
}
