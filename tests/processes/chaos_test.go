//go:build linux

package processes

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/adversary"
	"tangaroa/bftraft/kv"
	"tangaroa/bftraft/store"
	"tangaroa/crypto"
	"tangaroa/tests/chaos"
)

var chaosTime = flag.Duration("chaos", 2*time.Minute, "how long the faults of the chaos run last")

const (
	// chaosEpoch is how long the clients use the same keys, so that the history of each key stays
	// short enough to be decided.
	chaosEpoch = 4 * time.Second
	// recovery bounds how long a healed cluster may take to serve everybody again.
	recovery = 60 * time.Second
)

// twinID names the second process of the faulty node where processes are named by node.
const twinID = crypto.MaxNodeID

// storm is a cluster behind a net of proxies while a plan is carried out.
type storm struct {
	*cluster
	net    *chaos.Net
	plan   chaos.Plan
	liars  []adversary.Attack
	lies   adversary.Attack   // what the faulty node does now
	before float64            // what was refused of it for the same reasons before
	counts map[chaos.Kind]int // how often processes suffered it
	led    map[chaos.Kind]int // of which the victim led
	caught map[string]bool    // adversaries of whose messages something was refused
	linked int                // links between the twin and others
}

// newStorm writes the files of a cluster of which every node dials the others through the net.
func newStorm(t *testing.T, seed uint64) *storm {
	t.Helper()
	c := newCluster(t, historyClients)
	addresses := map[crypto.NodeID]string{}
	for _, n := range c.file.Nodes {
		addresses[n.ID] = n.Address
	}
	net, err := chaos.NewNet(addresses, seed)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, net.Close()) })
	for _, id := range c.all() {
		f, err := os.OpenFile(filepath.Join(c.folder(id), nodeName), os.O_APPEND|os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = fmt.Fprintln(f, "nodes:")
		require.NoError(t, err)
		for _, to := range c.but(id) {
			_, err = fmt.Fprintf(f, "  %d: %s\n", to, net.Address(chaos.Route{From: id, To: to}))
			require.NoError(t, err)
		}
		require.NoError(t, f.Close())
	}
	s := &storm{
		cluster: c, net: net, plan: chaos.NewPlan(seed, len(addresses), *chaosTime),
		counts: map[chaos.Kind]int{}, led: map[chaos.Kind]int{}, caught: map[string]bool{},
	}
	for _, a := range adversary.All() {
		if len(a.Drops) > 0 || a.Proven {
			s.liars = append(s.liars, a)
		}
	}
	return s
}

func (s *storm) honest() []crypto.NodeID { return s.but(s.plan.Faulty) }

// carryOut does what the plan says.
func (s *storm) carryOut() {
	s.t.Helper()
	for i, r := range s.plan.Rounds {
		s.t.Logf("round %d of %d: %v", i+1, len(s.plan.Rounds), r)
		s.round(r)
	}
	s.net.Heal()
}

// round carries out one round of the plan. After it all nodes run, the faulty one as well.
func (s *storm) round(r chaos.Round) {
	s.t.Helper()
	if r.Leader {
		r.Victim = s.honestLeader(r)
	}
	over := time.After(r.Hold)
	r.Apply(s.net, len(s.all()))
	switch r.Process {
	case chaos.Kill:
		s.nodes[r.Victim].kill()
	case chaos.Freeze:
		s.nodes[r.Victim].signal(syscall.SIGSTOP)
	case chaos.KillAll:
		s.killAll()
	case chaos.Liar:
		s.lie(r.Attack)
	case chaos.Twin:
		s.startTwin()
	}
	s.counts[r.Process]++
	s.waitOut(r, over)
	switch r.Process {
	case chaos.Kill:
		s.start(r.Victim)
	case chaos.Freeze:
		s.nodes[r.Victim].signal(syscall.SIGCONT)
	case chaos.Twin:
		s.nodes[twinID].kill()
		text, err := os.ReadFile(s.path("twin.log")) // of all twins so far
		require.NoError(s.t, err)
		s.linked = strings.Count(string(text), `msg="link up"`)
		if s.linked == 0 {
			s.t.Logf("the twin was not linked, and said %s", text)
		}
	}
	s.net.Heal()
	<-time.After(r.Rest)
	for _, id := range s.all() {
		require.True(s.t, s.nodes[id].running(), "node %d has ended", id)
	}
}

// waitOut waits until the time is over, watches, and strikes again where a fault is of a moment.
func (s *storm) waitOut(r chaos.Round, over <-chan time.Time) {
	again := time.NewTicker(300 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case <-over:
			return
		case <-again.C:
		}
		switch r.Net {
		case chaos.Cut, chaos.Corrupt, chaos.Refuse:
			r.Apply(s.net, len(s.all()))
		}
		switch {
		case r.Process == chaos.Freeze: // who is frozen would keep us waiting
		case s.lies.Name != "" && s.refused(s.lies, s.plan.Faulty) > s.before:
			s.caught[s.lies.Name] = true
		}
	}
}

// honestLeader is the leader, if an honest node knows an honest one, otherwise the planned victim.
func (s *storm) honestLeader(r chaos.Round) crypto.NodeID {
	for _, id := range s.honest() {
		st, ok := s.status(id)
		if ok && st.Leader != 0 && st.Leader != s.plan.Faulty {
			s.led[r.Process]++
			return st.Leader
		}
	}
	return r.Victim
}

// unabashed is an adversary that says what an honest node would. It goes on where an honest node
// stops: shown that its key signed twice, or what its disk does not know of any more.
const unabashed = "leaky"

// killAll kills all at once and starts them again, the faulty one without what it did.
func (s *storm) killAll() {
	s.t.Helper()
	for _, id := range s.all() {
		s.nodes[id].signal(syscall.SIGKILL)
	}
	for _, id := range s.all() {
		s.nodes[id].wait()
	}
	for _, id := range s.honest() {
		s.start(id)
	}
	s.start(s.plan.Faulty, "--adversary", unabashed)
	s.lies = adversary.Attack{}
}

// lie starts the faulty node again, with an adversary.
func (s *storm) lie(which int) {
	s.t.Helper()
	s.nodes[s.plan.Faulty].kill()
	s.lies = s.liars[which%len(s.liars)]
	s.before = s.refused(s.lies, s.plan.Faulty)
	s.t.Logf("node %d is now %s", s.plan.Faulty, s.lies.Name)
	s.start(s.plan.Faulty, "--adversary", s.lies.Name)
}

// startTwin runs the faulty node a second time, on a copy of its store and under the same key.
func (s *storm) startTwin() {
	s.t.Helper()
	id, folder := s.plan.Faulty, s.path("twin")
	s.nodes[id].kill()
	require.NoError(s.t, os.RemoveAll(folder))
	require.NoError(s.t, os.CopyFS(folder, os.DirFS(s.folder(id))))
	require.NoError(s.t, os.Chmod(filepath.Join(folder, keyName), 0o600))
	s.lies = adversary.Attack{}
	s.start(id, "--adversary", unabashed)
	s.nodes[twinID] = spawn(s.t, s.path("twin.log"), "bftnode", "start", "--dir", folder,
		"--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--adversary", unabashed)
}

// stop ends all nodes, the honest ones in order.
func (s *storm) stop() {
	s.t.Helper()
	for _, id := range s.honest() {
		s.nodes[id].signal(syscall.SIGTERM)
	}
	for _, id := range s.honest() {
		require.Zero(s.t, s.nodes[id].wait(), "node %d does not end well", id)
	}
	s.nodes[s.plan.Faulty].kill()
}

// histories replays the logs of the honest nodes, which have ended, and holds them against each
// other and against what the clients were told.
func (s *storm) histories(acked [][]byte) {
	s.t.Helper()
	g := s.file.genesis(s.t)
	var first *chaos.History
	for _, id := range s.honest() {
		log, err := store.Open(filepath.Join(s.folder(id), dataName), store.Options{
			Identity: store.Identity{
				Cluster: g.Hash(), Node: id, Key: readKey(s.t, s.folder(id)).Public(),
			}, ReadOnly: true, MinFreeBytes: 1,
		})
		require.NoError(s.t, err)
		h, err := chaos.Replay(g, log)
		require.NoError(s.t, err, "node %d", id)
		require.NoError(s.t, h.Holds(acked), "node %d", id)
		s.t.Logf("node %d: %d blocks, %d operations, %d certificates verified", id, len(h.Ends),
			len(h.Ops), h.Certificates)
		if first == nil {
			first = h
			requireReplayCanFail(s.t, g, log, h, acked)
		}
		require.NoError(s.t, first.Agree(h), "node %d", id)
		require.NoError(s.t, log.Close())
	}
}

// requireEffects fails if the storm was calm: then nothing was tested.
func (s *storm) requireEffects(r *record) {
	s.t.Helper()
	c, term := s.net.Counts(), s.leaderChanges(s.honest())
	s.t.Logf("network: %+v", c)
	s.t.Logf("processes: %v, of the leader: %v; caught: %v; links of twins: %d; term %d",
		s.counts, s.led, s.caught, s.linked, term)
	s.t.Logf("%d operations, %d of unknown outcome, %d reads saw a value, %d swaps",
		len(r.history), r.unknown, r.seen, r.swapped)
	kills, freezes := s.led[chaos.Kill], s.led[chaos.Freeze]
	effects := map[string]int{
		"latency": c.Delayed / 10, "slices": c.Sliced / 10, "loss and stalls": (c.Lost + c.Stalled) / 3,
		"cuts and refusals": (c.Cut + c.Refused) / 2, "leaders killed or frozen": kills + freezes,
		"an adversary or a twin": len(s.caught) + s.linked, "changes of leader": term / 3,
		"reads": r.seen / 50, "swaps": r.swapped / 10,
	}
	if *chaosTime >= time.Minute { // in less time chance may leave one of two out
		maps.Copy(effects, map[string]int{
			"loss": c.Lost / 3, "stalls": c.Stalled / 3, "cuts": c.Cut / 2,
			"refusals": c.Refused / 2, "corruption": c.Corrupted / 2, "the leader killed": kills,
			"the leader frozen": freezes, "an adversary": len(s.caught), "a twin": s.linked,
		})
	}
	for name, n := range effects {
		require.NotZero(s.t, n, "too little of: %s", name)
	}
	for _, kind := range chaos.ProcessKinds {
		require.NotZero(s.t, s.counts[kind], "there was no %s", kind)
	}
	require.Greater(s.t, len(r.history)-r.unknown, 5*int(chaosTime.Seconds()),
		"too few operations")
}

// acked returns the operations that were acknowledged as done.
func (r *record) acked(t *testing.T) (ops [][]byte) {
	t.Helper()
	for _, o := range r.history {
		in, out := o.Input.(call), o.Output.(answer)
		var op kv.Op = kv.Put{Key: []byte(in.key), Value: []byte(in.value)}
		switch {
		case !out.known || in.action == get || in.action == cas && !out.done:
			continue
		case in.action == cas:
			op = kv.CompareAndSwap([]byte(in.key), []byte(in.old), []byte(in.value))
		}
		raw, err := kv.EncodeOp(op)
		require.NoError(t, err)
		ops = append(ops, raw)
	}
	return ops
}

// answered counts the answers so far.
func (r *record) answered() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.history) - r.unknown
}

func TestChaosOfProcessesAndNetworkKeepsEveryPromise(t *testing.T) {
	start := *seed
	if start == 0 {
		start = uint64(time.Now().UnixNano())
	}
	t.Logf("chaos of -seed=%d -chaos=%v", start, *chaosTime)
	s := newStorm(t, start)
	t.Logf("%d rounds, node %d is faulty", len(s.plan.Rounds), s.plan.Faulty)
	s.startAll()
	r := &record{began: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	defer callers.Wait()
	defer cancel()
	for k := 1; k <= historyClients; k++ {
		one := &caller{
			user: s.user(k), record: r, rng: rand.New(rand.NewPCG(start, uint64(k))),
			name: fmt.Sprint(k), epoch: chaosEpoch,
		}
		callers.Go(func() { one.run(ctx) })
	}
	s.carryOut()
	goal, healed := r.answered()+20*historyClients, time.Now()
	awaitFor(t, recovery, "the healed cluster to serve", func() bool {
		return r.answered() >= goal
	})
	t.Logf("served again %d ms after healing", time.Since(healed).Milliseconds())
	cancel()
	callers.Wait()
	require.NoError(t, r.failed)
	s.user(1).awaitSame(t, s.honest()...)
	awaitFor(t, recovery, "connections with an altered byte to end", func() bool {
		return s.net.Counts().Survived == 0
	})
	s.requireEffects(r)
	s.stop()
	requireLinearizable(t, r.history)
	s.histories(r.acked(t))
}
