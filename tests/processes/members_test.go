//go:build linux

package processes

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/adversary"
	"tangaroa/crypto"
)

var rolling = flag.Duration("rolling", 12*time.Second,
	"how long the servers of a cluster are replaced under load, one by one")

// takenOut is with what a node ends that has been taken out of the cluster.
const takenOut = 11

// newcomer makes the key and the folder of a node that is to join, under the next id, and returns
// its public key and its address.
func (s shell) newcomer() (id crypto.NodeID, key, address string) {
	c := s.cluster
	id = c.all()[len(c.all())-1] + 1
	require.NoError(s.t, os.MkdirAll(c.folder(id), 0o700))
	made := run(s.t, "", "bftnode", "keygen", "--id", fmt.Sprint(id), "--out",
		c.path(fmt.Sprintf("node%d", id), keyName))
	require.Zero(s.t, made.code, made.err)
	var identity struct {
		Key string `json:"key"`
	}
	require.NoError(s.t, json.Unmarshal([]byte(made.out), &identity))
	base := freeRange(s.t, 1)
	address = net.JoinHostPort("127.0.0.1", strconv.Itoa(base+1))
	c.http[id] = net.JoinHostPort("127.0.0.1", strconv.Itoa(base+statusOffset+1))
	settings := fmt.Sprintf("id: %d\ngenesis: ../%s\nkey: %s\ndata: %s\nchanges: changes.pem\n"+
		"listen: %s\nhttp: %s\n", id, genesisName, keyName, dataName, address, c.http[id])
	require.NoError(s.t, os.WriteFile(c.path(fmt.Sprintf("node%d", id), nodeName),
		[]byte(settings), 0o600))
	c.file.Nodes = append(c.file.Nodes, c.file.Nodes[0])
	n := &c.file.Nodes[len(c.file.Nodes)-1]
	n.ID, n.Key, n.Address = id, identity.Key, address
	return id, identity.Key, address
}

// admits lets a new node in as a learner, and starts it with more arguments.
func (s shell) admits(args ...string) crypto.NodeID {
	c := s.cluster
	id, key, address := s.newcomer()
	admin := c.path("admin1", keyName)
	s.do(ok, "member", "add", "--key", key, "--address", address, "--admin", admin)
	s.do(ok, "member", "list", "--changes", c.path(fmt.Sprintf("node%d", id), "changes.pem"))
	made := run(s.t, "", "bftnode", "init", "--dir", c.folder(id))
	require.Zero(s.t, made.code, made.err)
	c.start(id, args...)
	return id
}

// replaces has a new node take the place of another, and returns its id. In the midst of it both
// are killed, and one that stays, in the order that rng decides, each when the last one is back. If
// the old one lies the new one does.
func (s shell) replaces(
	old, stays crypto.NodeID, lies map[crypto.NodeID][]string, rng *rand.Rand,
) crypto.NodeID {
	c := s.cluster
	id := s.admits(lies[old]...)
	if lie, ok := lies[old]; ok {
		lies[id] = lie
	}
	n := c.file.Nodes[len(c.file.Nodes)-1]
	done := make(chan said, 1)
	go func() {
		done <- run(s.t, "", "bftclient", "--config", s.config, "member", "replace", "--node",
			fmt.Sprint(old), "--key", n.Key, "--address", n.Address, "--admin",
			c.path("admin1", keyName))
	}()
	victims := []crypto.NodeID{old, stays, id}
	rng.Shuffle(len(victims), func(a, b int) { victims[a], victims[b] = victims[b], victims[a] })
	s.t.Logf("node %d for node %d, and killed are %v", id, old, victims)
	midst := 0
	for _, victim := range victims {
		if len(done) == 0 {
			midst++
		}
		c.nodes[victim].kill()
		again := c.start(victim, lies[victim]...)
		await(s.t, fmt.Sprintf("node %d to be back", victim), func() bool {
			status, ok := c.status(victim)
			return ok && status.Ready || !again.running()
		})
	}
	s.t.Logf("%d of them before the change was over", midst)
	require.Positive(s.t, midst)
	got := <-done
	require.Zero(s.t, got.code, got.err)
	return id
}

// knows lets a client start with a file of changes.
func (s shell) knows(changes string) {
	settings, err := os.OpenFile(s.config, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(s.t, err)
	_, err = fmt.Fprintln(settings, "changes:", changes)
	require.NoError(s.t, err)
	require.NoError(s.t, settings.Close())
}

// work has clients read, write and swap until they are stopped.
func (c *cluster) work(start uint64) (*record, func()) {
	r := &record{began: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	for k := 1; k <= historyClients; k++ {
		one := &caller{
			user: c.user(k), record: r, rng: rand.New(rand.NewPCG(start, uint64(k)+1)),
			name: fmt.Sprint(k), epoch: chaosEpoch,
		}
		callers.Go(func() { one.run(ctx) })
	}
	return r, func() {
		cancel()
		callers.Wait()
	}
}

// rollingLie is what the liar does all the time, whoever leads. It does something at once when it
// leads, but then it is caught, and leads no more.
const rollingLie = "forger"

// requireLies fails unless honest nodes refuse more of a liar's lies after something has been done
// than before, of a kind that no honest node can send.
func (c *cluster) requireLies(liar crypto.NodeID, something func()) {
	c.t.Helper()
	attack, err := adversary.Find(rollingLie)
	require.NoError(c.t, err)
	before := c.refused(attack, liar)
	something()
	await(c.t, fmt.Sprintf("a lie of node %d", liar), func() bool {
		return c.refused(attack, liar) > before
	})
	proofs := 0.0
	for _, id := range c.but(liar) {
		n, _ := c.metric(id, fmt.Sprintf(`bft_equivocations_total{peer="%d"}`, liar))
		proofs = max(proofs, n)
	}
	c.t.Logf("of liar %d %.0f messages were refused, and so many more: %.0f; proofs held: %.0f", liar,
		before, c.refused(attack, liar)-before, proofs)
}

// TestServersAreReplacedUnderLoad replaces each of four servers while clients work, and kills
// servers in the midst of it. One lies at any time: the one that takes the place of the liar is a
// liar, too. No write fails, the history is linearizable, what was taken out stops and says so, and
// neither memory nor disks grow.
func TestServersAreReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	start := *seed
	if start == 0 {
		start = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed=%d -rolling=%v", start, *rolling)
	rng := rand.New(rand.NewPCG(start, 1))
	c := newCluster(t, historyClients, "--checkpoint-entries", "2000", "--history", "2000")
	liar := crypto.NodeID(3)
	lies := map[crypto.NodeID][]string{
		liar: {"--adversary", "equivocate", "--adversary", rollingLie},
	}
	for _, id := range c.all() {
		c.start(id, lies[id]...)
	}
	c.awaitReady(c.but(liar)...)
	r, stop := c.work(start)
	defer stop()
	s, observer := shell{c, t, c.config(1)}, c.user(1)
	held := newGauge(c)
	members := c.all()
	for _, old := range c.all() {
		over := time.After(*rolling / 4)
		stays := members[1+rng.IntN(len(members)-1)]
		id := s.replaces(old, stays, lies, rng)
		require.Equal(t, takenOut, c.nodes[old].wait())
		again := run(t, "", "bftnode", "start", "--dir", c.folder(old))
		require.Equal(t, takenOut, again.code, "it stays away: %s", again.err)
		members = append(members[1:], id)
		if old == liar {
			liar = id
		}
		c.requireLies(liar, func() { held.until(over) })
	}
	held.look()
	goal := r.answered() + 20*historyClients
	awaitFor(t, recovery, "the new servers to serve", func() bool { return r.answered() >= goal })
	stop()
	require.NoError(t, r.failed)
	require.NoError(t, r.undone, "nobody was turned away, not even a read")
	require.LessOrEqual(t, r.unknown, historyClients, "only what was under way in the end")
	c.file.Nodes = c.file.Nodes[4:]
	observer.awaitSame(t, c.but(liar)...)
	for _, args := range [][]string{{"member", "list"}, {"get", "k"}, {"put", "k", "v"}, {"status"}} {
		got := s.try(append([]string{"--timeout", "1s"}, args...)...) // whoever it knows is gone
		require.Equal(t, noQuorum, got.code, got.err)
		require.Contains(t, got.err, "were replaced")
		require.Contains(t, got.err, `"changes: FILE" in client.yaml`)
		require.Equal(t, 1, strings.Count(got.err, "\n"), "one line: %q", got.err)
	}
	s.knows("../node8/changes.pem")
	require.Contains(t, s.do(ok, "member", "list"), "voter")
	held.requireFlat()
	t.Logf("%d operations, %d of unknown outcome", len(r.history), r.unknown)
	requireLinearizable(t, r.history)
	for _, id := range c.all() {
		c.nodes[id].signal(syscall.SIGTERM)
		require.Zero(t, c.nodes[id].wait())
	}
	for id := crypto.NodeID(1); id <= 8; id++ {
		got := run(t, "", "bftnode", "inspect", "--dir", c.folder(id), "--limit", "1")
		require.Zero(t, got.code, "what node %d has stored: %s", id, got.err)
	}
}
