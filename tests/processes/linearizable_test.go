//go:build linux

package processes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"tangaroa/adversary"
	"tangaroa/bftraft/client"
	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
)

const (
	historyClients = 10
	historyKeys    = 5
	// historyPace is how often a client acts, so that the history stays within what can be checked.
	historyPace = 25 * time.Millisecond
	// historyPatience is how long a client waits before it calls an outcome unknown.
	historyPatience = 3 * time.Second
)

// record is a history in the making.
type record struct {
	began time.Time

	mu      sync.Mutex
	history []porcupine.Operation
	seen    int // reads that found a value
	swapped int
	unknown int
	failed  error // other than for want of an answer
	undone  error // the last for which nothing was done, or read, at all
}

func (r *record) now() int64 { return time.Since(r.began).Nanoseconds() }

// add takes down what came of a call. What was certainly not done is left out.
func (r *record) add(from int64, in call, out answer, err error) {
	to := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.history = append(r.history, at(from, to, in, out))
		if in.action == get && out.value != "" {
			r.seen++
		}
		if out.done {
			r.swapped++
		}
	case errors.Is(err, client.ErrUnknownOutcome):
		r.history = append(r.history, at(from, never, in, answer{}))
		r.unknown++
	case errors.Is(err, client.ErrNotSent), in.action == get:
		r.undone = err
	default:
		r.failed = err
	}
}

// caller is one client of the history.
type caller struct {
	user
	record *record
	rng    *rand.Rand
	name   string
	wrote  int
	known  [historyKeys]string // what it last knew of each key, to swap
	// epoch is after how long all use other keys, so that no history of a key grows long; never if 0.
	epoch time.Duration
	age   int64 // how many epochs are over
}

// key names a key of the present epoch.
func (c *caller) key(k int) string {
	if c.epoch == 0 {
		return fmt.Sprintf("k%d", k)
	}
	if age := c.record.now() / int64(c.epoch); age != c.age {
		c.age, c.known = age, [historyKeys]string{}
	}
	return fmt.Sprintf("k%d.%d", k, c.age)
}

// run acts until ctx ends.
func (c *caller) run(ctx context.Context) {
	pace := time.NewTicker(historyPace)
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		once, cancel := context.WithTimeout(context.Background(), historyPatience)
		c.act(once)
		cancel()
	}
}

// act does one thing, and after a write mostly looks at once whether it is there: that is when
// nodes are most likely not to have heard of it.
func (c *caller) act(ctx context.Context) {
	k := c.rng.IntN(historyKeys)
	in := call{key: c.key(k)}
	switch dice := c.rng.IntN(10); {
	case dice < 2:
		in.action = get
	case dice < 6 || c.known[k] == "":
		in.action, in.value = put, c.fresh()
	default:
		in.action, in.old, in.value = cas, c.known[k], c.fresh()
	}
	if c.do(ctx, k, in); in.action != get && c.rng.IntN(4) > 0 {
		c.do(ctx, k, call{action: get, key: in.key})
	}
}

// do asks and takes down the answer.
func (c *caller) do(ctx context.Context, k int, in call) {
	from := c.record.now()
	out, err := c.ask(ctx, in)
	c.record.add(from, in, out, err)
	switch {
	case err != nil:
	case in.action == put || out.done:
		c.known[k] = in.value
	default:
		c.known[k] = out.value
	}
}

// fresh returns a value that nobody has written.
func (c *caller) fresh() string {
	c.wrote++
	return fmt.Sprintf("%s.%d", c.name, c.wrote)
}

// ask asks the cluster.
func (c *caller) ask(ctx context.Context, in call) (answer, error) {
	key := []byte(in.key)
	out := answer{known: true}
	var kvs []kv.KV
	switch in.action {
	case get:
		found, err := c.read(ctx, kv.Range{Span: kv.One(key)})
		if err != nil {
			return out, err
		}
		kvs = found.KVs
	case put:
		_, err := c.apply(ctx, kv.Put{Key: key, Value: []byte(in.value)})
		return out, err
	case cas:
		result, err := c.apply(ctx,
			kv.CompareAndSwap(key, []byte(in.old), []byte(in.value)))
		if err != nil {
			return out, err
		}
		if out.done = result.Succeeded; !out.done {
			kvs = result.Ops[0].KVs
		}
	}
	if len(kvs) > 0 {
		out.value = string(kvs[0].Value)
	}
	return out, nil
}

func TestHistoryUnderKillsAndALiarIsLinearizable(t *testing.T) {
	const liar = crypto.NodeID(2) // it leads the first term
	start := *seed
	if start == 0 {
		start = uint64(time.Now().UnixNano())
	}
	t.Logf("faults and calls of -seed=%d", start)
	c := newCluster(t, historyClients)
	c.start(liar, "--adversary", "equivocate")
	for _, id := range c.but(liar) {
		c.start(id)
	}
	c.awaitReady(c.but(liar)...)
	r := &record{began: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	defer callers.Wait()
	defer cancel()
	for k := 1; k <= historyClients; k++ {
		one := &caller{
			user: c.user(k), record: r, rng: rand.New(rand.NewPCG(start, uint64(k))),
			name: fmt.Sprint(k),
		}
		callers.Go(func() { one.run(ctx) })
	}
	kills := c.killAround(rand.New(rand.NewPCG(start, 0)), c.but(liar), r)
	changes := c.leaderChanges(c.but(liar))
	equivocate, err := adversary.Find("equivocate")
	require.NoError(t, err)
	c.requireAttackSeen(equivocate, liar)
	cancel()
	callers.Wait()
	t.Logf("%d operations, %d unknown, %d reads saw a value, %d swaps, %d kills, term %d",
		len(r.history), r.unknown, r.seen, r.swapped, kills, changes)
	require.NoError(t, r.failed)
	// A history in which nothing happened proves nothing.
	seconds := int(duration.Seconds())
	require.Greater(t, len(r.history)-r.unknown, 20*seconds, "too few operations")
	require.Greater(t, r.seen, 2*seconds, "too few reads saw a value")
	require.Greater(t, r.swapped, seconds/2, "too few swaps")
	require.GreaterOrEqual(t, kills, max(2, seconds/10), "too few kills")
	require.GreaterOrEqual(t, changes, 2, "the leader never changed")
	requireLinearizable(t, r.history)
	c.awaitReady(c.but(liar)...)
	c.user(1).awaitSame(t, c.but(liar)...)
}

// killAround kills and restarts honest nodes, one at a time and mostly the leader, as long as the
// history runs. It returns how often. As one of four lies, nothing can be written while another
// is away.
func (c *cluster) killAround(rng *rand.Rand, honest []crypto.NodeID, r *record) (kills int) {
	c.t.Helper()
	for over := time.After(*duration); ; kills++ {
		c.moreHistory(r, 100)
		select {
		case <-over:
			return kills
		case <-time.After(time.Duration(rng.IntN(1000)) * time.Millisecond):
		}
		victim := honest[rng.IntN(len(honest))]
		if leader := c.leader(honest...); rng.IntN(2) == 0 {
			for _, id := range honest {
				if id == leader {
					victim = leader
				}
			}
		}
		c.nodes[victim].kill()
		if rng.IntN(2) == 0 { // long enough for the others to miss it
			<-time.After(time.Duration(rng.IntN(3000)) * time.Millisecond)
		}
		c.start(victim)
		c.awaitReady(victim)
	}
}

// moreHistory waits until so many more calls were answered.
func (c *cluster) moreHistory(r *record, n int) {
	c.t.Helper()
	count := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.history) - r.unknown
	}
	goal := count() + n
	await(c.t, fmt.Sprintf("%d more answers", n), func() bool { return count() >= goal })
}

// leaderChanges returns the newest term, which begins at one.
func (c *cluster) leaderChanges(ids []crypto.NodeID) (term int) {
	for _, id := range ids {
		if s, ok := c.status(id); ok {
			term = max(term, int(s.Term))
		}
	}
	return term
}
