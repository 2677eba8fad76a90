//go:build linux

package processes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft/node"
	"tangaroa/crypto"
)

// cluster is a test cluster as "bftnode testnet" makes it, and the processes of its nodes.
type cluster struct {
	t     *testing.T
	dir   string
	file  *genesisFile
	nodes map[crypto.NodeID]*process // those that were started; the newest of each
	http  map[crypto.NodeID]string   // where their status is
}

// web asks nodes for their status; what does not answer at once counts as silent.
var web = &http.Client{
	Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
}

// newCluster writes the files of a cluster of four nodes, with more flags of testnet.
func newCluster(t *testing.T, clients int, flags ...string) *cluster {
	t.Helper()
	c := &cluster{
		t: t, dir: filepath.Join(t.TempDir(), "net"), nodes: map[crypto.NodeID]*process{},
		http: map[crypto.NodeID]string{},
	}
	args := []string{"testnet", "--nodes", "4", "--clients", strconv.Itoa(clients),
		"--dir", c.dir, "--base-port", strconv.Itoa(freeRange(t, 4))}
	made := run(t, "", "bftnode", append(args, flags...)...)
	require.Zero(t, made.code, made.err)
	c.file = readGenesis(t, c.path(genesisName))
	for _, id := range c.all() {
		c.http[id] = httpOf(t, c.folder(id))
	}
	return c
}

// Ports are given out in slots: nodes listen on base+1 and so on, and serve their status 100 ports
// above. They are below those that the system gives to connections, so that a node that starts
// again gets its own back.
const (
	lowestPort, highestPort = 10000, 31000
	statusOffset            = 100
	slotNodes               = 10
	portSlots               = (highestPort - lowestPort) / (2 * slotNodes)
)

// portSlot is the slot given out last. Tests run side by side, so none is given out twice, even if
// nobody listens there yet.
var portSlot atomic.Uint32

func init() { portSlot.Store(rand.Uint32N(portSlots)) }

// freeRange returns a base port with which testnet finds all ports free.
func freeRange(t *testing.T, nodes int) int {
	t.Helper()
	require.LessOrEqual(t, nodes, slotNodes)
	free := func(base int) bool {
		for k := 1; k <= nodes; k++ {
			for _, port := range []int{base + k, base + statusOffset + k} {
				l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
				if err != nil {
					return false
				}
				_ = l.Close()
			}
		}
		return true
	}
	for range portSlots {
		slot := int(portSlot.Add(1) % portSlots)
		const inRow = statusOffset / slotNodes
		base := lowestPort + slot/inRow*2*statusOffset + slot%inRow*slotNodes
		if free(base) {
			return base
		}
	}
	require.FailNow(t, "no range of free ports")
	return 0
}

func (c *cluster) all() []crypto.NodeID {
	var ids []crypto.NodeID
	for _, n := range c.file.Nodes {
		ids = append(ids, n.ID)
	}
	return ids
}

// but returns all nodes except one.
func (c *cluster) but(left crypto.NodeID) []crypto.NodeID {
	var ids []crypto.NodeID
	for _, id := range c.all() {
		if id != left {
			ids = append(ids, id)
		}
	}
	return ids
}

func (c *cluster) folder(id crypto.NodeID) string {
	return c.path(fmt.Sprintf("node%d", id))
}

func (c *cluster) config(client int) string {
	return c.path(fmt.Sprintf("client%d", client), clientName)
}

// path names a file in the cluster's folder.
func (c *cluster) path(elements ...string) string {
	return filepath.Join(append([]string{c.dir}, elements...)...)
}

// start starts a node, again if need be, with more arguments than its folder.
func (c *cluster) start(id crypto.NodeID, args ...string) *process {
	c.t.Helper()
	args = append([]string{"start", "--dir", c.folder(id)}, args...)
	p := spawn(c.t, c.path(fmt.Sprintf("node%d.log", id)), "bftnode", args...)
	if len(c.nodes) == 0 {
		c.t.Cleanup(func() {
			if c.t.Failed() {
				c.tell() // before they are ended
			}
		})
	}
	c.nodes[id] = p
	return p
}

func (c *cluster) startAll() {
	c.t.Helper()
	for _, id := range c.all() {
		c.start(id)
	}
	c.awaitReady(c.all()...)
}

func (c *cluster) awaitReady(ids ...crypto.NodeID) {
	c.t.Helper()
	for _, id := range ids {
		await(c.t, fmt.Sprintf("node %d to be ready", id), func() bool {
			require.True(c.t, c.nodes[id].running(), "node %d has ended", id)
			_, err := c.fetch(id, "/readyz")
			return err == nil
		})
	}
}

// fetch gets a page from a node's status address.
func (c *cluster) fetch(id crypto.NodeID, page string) ([]byte, error) {
	got, err := web.Get("http://" + c.http[id] + page)
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(io.LimitReader(got.Body, 1<<22))
	if err == nil && got.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", got.Status, text)
	}
	return text, err
}

// status returns what a node says of itself; false if it says nothing.
func (c *cluster) status(id crypto.NodeID) (node.Status, bool) {
	var s node.Status
	text, err := c.fetch(id, "/status")
	return s, err == nil && json.Unmarshal(text, &s) == nil
}

// metric returns one line of a node's metrics; false if there is no such line or no answer.
func (c *cluster) metric(id crypto.NodeID, series string) (float64, bool) {
	all := c.metrics(id)
	v, ok := all[series]
	return v, ok
}

// metrics returns what a node says of itself at one moment, nil if it says nothing.
func (c *cluster) metrics(id crypto.NodeID) map[string]float64 {
	text, err := c.fetch(id, "/metrics")
	if err != nil {
		return nil
	}
	all := map[string]float64{}
	for line := range bytes.Lines(text) {
		series, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte("} "))
		if len(value) > 0 {
			series = append(series, '}')
		} else {
			series, value, _ = bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		}
		if v, err := strconv.ParseFloat(string(value), 64); err == nil {
			all[string(series)] = v
		}
	}
	return all
}

// leader returns whom most of the nodes take for the leader of the newest term they know of.
func (c *cluster) leader(ids ...crypto.NodeID) crypto.NodeID {
	c.t.Helper()
	var leader crypto.NodeID
	await(c.t, "a leader", func() bool {
		words := map[crypto.NodeID]int{}
		for _, id := range ids {
			if s, ok := c.status(id); ok && s.Leader != 0 {
				words[s.Leader]++
			}
		}
		for id, n := range words {
			if 2*n > len(ids) {
				leader = id
			}
		}
		return leader != 0
	})
	return leader
}

// commit returns the highest commit index among nodes.
func (c *cluster) commit(ids ...crypto.NodeID) (highest uint64) {
	for _, id := range ids {
		if s, ok := c.status(id); ok {
			highest = max(highest, uint64(s.Commit))
		}
	}
	return highest
}

// awaitCommit waits until a node has executed as far as an index.
func (c *cluster) awaitCommit(id crypto.NodeID, index uint64) {
	c.t.Helper()
	await(c.t, fmt.Sprintf("node %d to execute up to %d", id, index), func() bool {
		require.True(c.t, c.nodes[id].running(), "node %d has ended", id)
		s, ok := c.status(id)
		return ok && uint64(s.Applied) >= index
	})
}

// tell shows the end of what the nodes said.
func (c *cluster) tell() {
	for _, id := range c.all() {
		text, err := os.ReadFile(c.path(fmt.Sprintf("node%d.log", id)))
		if err != nil {
			continue
		}
		const shown = 3000
		c.t.Logf("node %d said last:\n%s", id, text[max(0, len(text)-shown):])
		if s, err := c.fetch(id, "/status"); err == nil {
			c.t.Logf("node %d: %s", id, s)
		}
	}
}
