//go:build linux

package processes

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// harm is one way to damage a file; false if the file has nothing to damage so.
type harm struct {
	name string
	do   func(raw []byte) ([]byte, bool)
}

// used is how many bytes there are before the zeroes with which Badger's files end.
func used(raw []byte) int { return len(bytes.TrimRight(raw, "\x00")) }

func harms() []harm {
	flip := func(tenth int) func(raw []byte) ([]byte, bool) {
		return func(raw []byte) ([]byte, bool) {
			n := used(raw)
			if n == 0 {
				return nil, false
			}
			raw[(n-1)*tenth/10] ^= 0x10
			return raw, true
		}
	}
	cut := func(keep func(n int) int) func(raw []byte) ([]byte, bool) {
		return func(raw []byte) ([]byte, bool) {
			n := used(raw)
			return raw[:keep(n)], n > 0
		}
	}
	page := func(fill byte) func(raw []byte) ([]byte, bool) {
		return func(raw []byte) ([]byte, bool) {
			at := used(raw) / 2 / 4096 * 4096
			whole := raw[at:min(at+4096, len(raw))]
			copy(whole, bytes.Repeat([]byte{fill}, len(whole)))
			return raw, len(whole) > 0
		}
	}
	return []harm{
		{"bit at the start", flip(0)}, {"bit in the middle", flip(5)}, {"bit at the end", flip(10)},
		{"page of zeroes", page(0)}, {"page of garbage", page(0xa7)},
		{"last byte cut", cut(func(n int) int { return n - 1 })},
		{"half cut", cut(func(n int) int { return n / 2 })},
		{"empty", cut(func(int) int { return 0 })},
		{"deleted", func([]byte) ([]byte, bool) { return nil, true }},
	}
}

// kinds are the files of a node, by pattern in its folder.
var kinds = []string{
	"data/store/*.mem", "data/store/*.sst", "data/store/*.vlog", "data/store/MANIFEST",
	"data/store/KEYREGISTRY", "data/store/DISCARD", "data/guard", "key", "node.yaml",
}

// patient is a node whose files are damaged, cell by cell. A cell that it survives is lived on
// with: going back to before it would make the node forget what it has signed.
type patient struct {
	*cluster
	id    crypto.NodeID
	place string // its folder as it is now
	cells int
}

// treat damages a copy of the node's folder, starts it there, and returns the outcome.
func (p *patient) treat(kind string, h harm) string {
	p.t.Helper()
	p.cells++
	broken := p.path(fmt.Sprintf("cell%d", p.cells))
	require.NoError(p.t, os.CopyFS(broken, os.DirFS(p.place)))
	require.NoError(p.t, os.Chmod(filepath.Join(broken, keyName), 0o600))
	files, err := filepath.Glob(filepath.Join(broken, kind))
	require.NoError(p.t, err)
	if len(files) == 0 {
		return "no such file"
	}
	victim := files[len(files)-1]
	raw, err := os.ReadFile(victim)
	require.NoError(p.t, err)
	raw, ok := h.do(raw)
	if !ok {
		return "nothing to damage"
	}
	require.NoError(p.t, os.Remove(victim))
	if h.name != "deleted" {
		require.NoError(p.t, os.WriteFile(victim, raw, 0o600))
	}
	log := p.path(fmt.Sprintf("cell%d.log", p.cells))
	run := spawn(p.t, log, "bftnode", "start", "--dir", broken)
	p.nodes[p.id] = run
	goal := p.commit(p.but(p.id)...)
	await(p.t, kind+" "+h.name, func() bool {
		s, up := p.status(p.id)
		return !run.running() || up && s.Ready && uint64(s.Applied) >= goal
	})
	if !run.running() {
		require.Positive(p.t, run.wait(), "%s, %s: a signal ended it", kind, h.name)
		why := requireClearEnd(p.t, run)
		return fmt.Sprintf("refused (%d): %s", run.code, shortened(why, broken))
	}
	run.kill()
	p.place = broken
	return "harmless"
}

// shortened is what a node said, without where its folder is.
func shortened(why, folder string) string {
	why = strings.ReplaceAll(why, folder+"/", "")
	return why[:min(len(why), 90)]
}

func TestCorruptFilesAreRefusedOrHarmless(t *testing.T) {
	const victim = crypto.NodeID(3)
	c := newCluster(t, 1)
	c.startAll()
	w := c.user(1).write(t, "w")
	w.more(50)
	c.nodes[victim].kill()
	p := &patient{cluster: c, id: victim, place: c.folder(victim)}
	require.Equal(t, "harmless", p.treat(kinds[0], harm{"nothing",
		func(raw []byte) ([]byte, bool) { return raw, true }}), "the control")
	type cell struct {
		kind string
		harm harm
	}
	var cells []cell
	for _, kind := range kinds {
		for _, h := range harms() {
			if kind == "node.yaml" && h.name != "empty" && h.name != "deleted" {
				continue // another address is another setting, not damage that can be seen
			}
			cells = append(cells, cell{kind, h})
		}
	}
	if !*diskLong {
		rng := rand.New(rand.NewPCG(max(*seed, 1), 1))
		rng.Shuffle(len(cells), func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
		cells = cells[:12]
	}
	var outcomes []string
	for _, at := range cells {
		outcome := p.treat(at.kind, at.harm)
		t.Logf("| %s | %s | %s |", at.kind, at.harm.name, outcome)
		outcomes = append(outcomes, outcome)
	}
	for _, kind := range []string{"refused", "harmless"} {
		require.True(t, slices.ContainsFunc(outcomes, func(o string) bool {
			return strings.HasPrefix(o, kind)
		}), "no damage was %s: it is not the damage that is tested", kind)
	}
	c.start(victim, "--dir", p.place)
	c.awaitReady(victim)
	w.more(10)
	w.check()
	w.user.awaitSame(t, c.all()...)
	c.requireNoProof()
}

// requireNoProof requires that no node holds proof against another.
func (c *cluster) requireNoProof() {
	c.t.Helper()
	for _, id := range c.all() {
		for _, other := range c.all() {
			n, ok := c.metric(id, fmt.Sprintf(`bft_equivocations_total{peer="%d"}`, other))
			require.False(c.t, ok && n > 0, "node %d holds proof against node %d", id, other)
		}
	}
}

// TestRolledBackNodeDoesNotHarmTheOthers puts a whole data directory back to an earlier day, guard
// and all. What is beside it shows that, and the node does not start. Put back with that as well,
// nothing on the node shows it: the others do, who hold what it has signed, and it stops for good.
func TestRolledBackNodeDoesNotHarmTheOthers(t *testing.T) {
	t.Parallel()
	const victim, away = crypto.NodeID(3), crypto.NodeID(1)
	c := newCluster(t, 1)
	c.startAll()
	w := c.user(1).write(t, "w")
	w.more(20)
	c.nodes[victim].kill()
	data, earlier := c.path("node3", dataName), c.path("earlier")
	require.NoError(t, os.CopyFS(earlier, os.DirFS(data)))
	c.start(victim)
	c.awaitReady(victim)
	c.nodes[away].kill()
	w.more(50) // which needs its acks
	c.nodes[victim].kill()
	c.start(away)
	require.NoError(t, os.RemoveAll(data))
	require.NoError(t, os.CopyFS(data, os.DirFS(earlier)))
	refused := func(why string) {
		t.Helper()
		got := run(t, "", "bftnode", "start", "--dir", c.folder(victim))
		require.Equal(t, mustNotSign, got.code, got.err)
		require.Contains(t, got.err, why)
		require.Contains(t, got.err, "bftclient member replace --node 3")
	}
	refused("used since with data that is not there any more")
	require.NoError(t, os.Remove(data+".starts"))
	refused("others hold what this node has signed")
	for _, id := range c.but(victim) {
		c.nodes[id].kill()
	}
	refused("others hold what this node has signed")
	for _, id := range c.but(victim) {
		c.start(id)
	}
	w.more(50)
	w.check()
	w.user.awaitSame(t, c.but(victim)...)
}
