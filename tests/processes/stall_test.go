//go:build linux

package processes

import (
	"encoding/json"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

var (
	stallState = flag.Int("state", 8, "MiB of state of which the test of stalls takes checkpoints")
	stallNodes = flag.Int("stall-nodes", 4, "how many nodes share this machine in the test of stalls")
	stallNone  = flag.Bool("stall-control", false, "take no checkpoints, to compare with")
	stallTurn  = flag.Float64("turn", 1, "seconds, a bucket of bft_turn_seconds: the longest turn")
)

// turns are how many turns a node took, how many of them were longer than the longest may be, and
// how often it waited for its disk for about as long.
type turns struct{ all, long, flushes float64 }

func (c *cluster) turns(id crypto.NodeID) turns {
	c.t.Helper()
	of := c.metrics(id)
	brief, ok := of[fmt.Sprintf(`bft_turn_seconds_bucket{le="%v"}`, *stallTurn)]
	require.True(c.t, ok, "no bucket ends at %v", *stallTurn)
	all, flushes := of["bft_turn_seconds_count"], of["bft_save_seconds_count"]
	for end := .0001; end < 2**stallTurn; end *= 2 {
		if n, ok := of[fmt.Sprintf(`bft_save_seconds_bucket{le="%v"}`, end)]; ok && end >= *stallTurn {
			flushes -= n
		}
	}
	return turns{all, all - brief, flushes}
}

// checkpointAll waits until all nodes keep a newer checkpoint, or would where none are taken, under
// a steady load of which no operation may fail, and returns the longest that one took.
func (c *cluster) checkpointAll() (longest float64) {
	c.t.Helper()
	before := map[crypto.NodeID]uint64{}
	at := func(id crypto.NodeID) uint64 {
		s, ok := c.status(id)
		require.True(c.t, ok)
		return uint64(s.Checkpoint)
	}
	for _, id := range c.all() {
		before[id] = at(id)
	}
	deadline := time.Now().Add(patience + time.Duration(*stallState)*250*time.Millisecond)
	control := time.Now().Add(time.Second + time.Duration(*stallState)*75*time.Millisecond)
	for left := c.all(); len(left) > 0; {
		if *stallNone && time.Now().After(control) {
			break
		}
		require.True(c.t, time.Now().Before(deadline), "no newer checkpoint of nodes %v", left)
		got := run(c.t, "", "bftclient", "--config", c.config(1), "load", "-o", "json",
			"--duration", "1s", "--rate", "200", "--single", "--keys", "100")
		require.Zero(c.t, got.code, got.err)
		var report struct {
			Errors  uint64 `json:"errors"`
			Latency struct {
				Max float64 `json:"max"`
			} `json:"latency_ms"`
		}
		require.NoError(c.t, json.Unmarshal([]byte(got.out), &report))
		require.Zero(c.t, report.Errors, got.out)
		longest = max(longest, report.Latency.Max)
		if id := left[0]; at(id) > before[id] {
			left = left[1:]
		}
	}
	return longest
}

// TestCheckpointsHoldUpNobody has nodes take checkpoints of a state under load: whatever comes in
// meanwhile waits for no turn that is long.
func TestCheckpointsHoldUpNobody(t *testing.T) {
	every := "400"
	if *stallNone {
		every = "0"
	}
	c := newCluster(t, 1, "--nodes", fmt.Sprint(*stallNodes), "--checkpoint-entries", every,
		"--checkpoint-bytes", "0", "--history", "100")
	c.startAll()
	const size = 64 << 10
	keys := *stallState << 20 / size
	lasts := 2*time.Second + time.Duration(*stallState)*time.Second/8
	written := c.loadFor(lasts, "--outstanding", "16", "--size", fmt.Sprint(size),
		"--keys", fmt.Sprint(keys))
	state := min(written, keys) * size >> 20
	require.GreaterOrEqual(t, 2*state, *stallState, "this machine is too slow for such a state")
	c.checkpointAll() // what was begun while the state was made
	before := map[crypto.NodeID]turns{}
	for _, id := range c.all() {
		before[id] = c.turns(id)
	}
	for range 2 {
		longest := c.checkpointAll()
		t.Logf("%d MiB of state, no operation took longer than %.1f ms", state, longest)
	}
	for _, id := range c.all() {
		was, is := before[id], c.turns(id)
		t.Logf("node %d: %.0f turns, %.0f of them longer than %v s, and as long %.0f flushes", id,
			is.all-was.all, is.long-was.long, *stallTurn, is.flushes-was.flushes)
		require.Zero(t, is.long-was.long, "node %d was busy for too long", id)
	}
}
