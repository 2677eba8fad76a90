package sim

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/adversary"
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

var (
	paceWhole  = flag.Bool("pace", false, "measure the pace under every variant of every attack")
	paceReport = flag.String("pace-report", "", "write the paces into this document")
)

// closedWindow is how many requests a client in a closed loop keeps outstanding. In the time
// of probeMillis so many as probeRequests are shown to all nodes as they are sent; all get what
// has waited for lateMillis at least.
const (
	closedWindow  = 4
	probeMillis   = 100
	probeRequests = 32
	lateMillis    = 300
	lateMost      = 2000
)

// closed drives a client in a closed loop, in the manner of the client library: each request goes
// to the leader, to the others too unless there are too many, and whatever is late to all.
type closed struct {
	c     *client
	usual int    // milliseconds an answer takes, smoothed
	due   int    // when more may be shown, in parts of probeMillis
	shown uint64 // the newest sequence among what was
}

func (l *closed) loop() {
	c := l.c
	for len(c.writes) < closedWindow {
		l.send(c.newWrite(), false)
		l.show()
	}
	l.show()
	for _, wr := range c.writes {
		wait := min(max(lateMillis, 4*l.usual), lateMost)
		if wr.sends > 1 {
			wait = min(max(wait, wr.sentAt-wr.since), lateMost)
		}
		if c.w.now-wr.sentAt >= wait {
			l.send(wr, true)
		}
	}
}

// show shows what is under way to those who have not seen it, unless that was much lately.
func (l *closed) show() {
	now := l.c.w.now * probeRequests
	if l.due > now {
		return
	}
	l.due = max(l.due, now-probeMillis*probeRequests)
	leader := l.c.w.leaderOfMost()
	for _, wr := range l.c.writes {
		if wr.request.Sequence <= l.shown {
			continue
		}
		l.shown = wr.request.Sequence
		l.due += probeMillis
		for i, m := range l.c.w.nodes {
			if m.id != leader {
				l.c.send(i, bftraft.RequestFrame(wr.request.Raw()))
			}
		}
	}
}

func (l *closed) took(ms int) { l.usual += (ms - l.usual) / 8 }

func (l *closed) send(wr *write, all bool) {
	w := l.c.w
	wr.sentAt, wr.height = w.now, w.watch.highest
	wr.sends++
	frame := bftraft.RequestFrame(wr.request.Raw())
	leader := w.leaderOfMost()
	for i, m := range w.nodes {
		if all || m.id == leader {
			l.c.send(i, frame)
		}
	}
}

// leaderOfMost is the leader that most nodes name.
func (w *World) leaderOfMost() bftraft.NodeID {
	votes := make([]int, len(w.nodes)+1)
	for _, m := range w.nodes {
		if m.proc != nil {
			votes[m.proc.Core().Leader]++
		}
	}
	votes[0] = 0
	return bftraft.NodeID(slices.Index(votes, slices.Max(votes)))
}

// course is a run to be measured: a cluster under load, in which nothing fails but what it names.
type course struct {
	nodes   int
	attack  string // of f members, the first leader among them; "" for none
	delay   int    // the most that a message takes, in milliseconds
	flush   int    // what a flush takes, in milliseconds
	slow    int    // how many disks are as slow as that, the first leader's first
	length  int    // milliseconds; the second half is measured
	clients int    // 0 for two
	rogue   string // what a dishonest client does besides; "" for none
	seed    uint64 // 0 for the number of nodes
	adjust  func(*Options)
}

func (c course) world() *World {
	o := quiet(cmp.Or(c.seed, uint64(c.nodes)))
	o.Nodes, o.Clients = c.nodes, cmp.Or(c.clients, 2)
	o.MaxDelay, o.Chaos = c.delay, 2*c.length
	if c.rogue != "" {
		o.Rogues = []string{c.rogue}
	}
	if c.adjust != nil {
		c.adjust(&o)
	}
	for i := range quorumcert.ForNodes(c.nodes).F {
		if c.attack != "" {
			o.Liars = append(o.Liars, Liar{i + 2, []string{c.attack}})
		}
	}
	w := NewWorld(o)
	for i := range c.slow {
		w.nodes[(i+1)%c.nodes].flushTime = c.flush
	}
	return w
}

// run returns how many requests clients had answered in the second half.
func (c course) run(t *testing.T) (int, *World) {
	w := c.world()
	return c.drive(t, w), w
}

// drive does so in a world that was made already.
func (c course) drive(t *testing.T, w *World) int {
	half := 0
	for _, one := range w.clients {
		l := &closed{c: one}
		one.loop, one.took = l.loop, l.took
	}
	w.later(c.length/2, func() { half = w.answered() })
	for len(w.events) > 0 && w.watch.err == nil && w.now < c.length {
		e := w.events.pop()
		w.now = e.at
		w.handle(&e)
	}
	require.NoError(t, w.watch.failure())
	require.Positive(t, half, "nothing was served in the first half")
	return w.answered() - half
}

func (w *World) answered() int {
	done := 0
	for _, c := range w.clients {
		done += c.acked
	}
	return done
}

// failure is the invariant that was broken, if one was.
func (o *observer) failure() error {
	if o.err != nil {
		return o.err
	}
	return nil
}

// paced is L6: an attack leaves the cluster at least half its pace.
func (o *observer) paced(done, whole int) {
	if 2*done < whole {
		o.fail("L6", "%d of %d requests were served", done, whole)
	}
}

// pace is how fast a cluster is under an attack, as a share of what it is without.
type pace struct {
	attack string
	nodes  int
	share  int // percent
	terms  int
	leader string
}

// TestNoAttackHoldsTheClusterUnderHalfItsPace is L6: whatever f members do, the first leader among
// them, once they have been deposed clients are served at least half as fast as without them.
// With -pace all variants of all attacks are measured, in larger clusters and for longer.
func TestNoAttackHoldsTheClusterUnderHalfItsPace(t *testing.T) {
	attacks, sizes, length := append(attackNames(), hardest...), []int{4}, 12_000
	if *paceWhole {
		attacks, sizes, length = allVariants(), []int{4, 7}, 24_000
	}
	whole := make(map[int]int)
	for _, n := range sizes {
		c := course{nodes: n, delay: 10, length: length}
		whole[n], _ = c.run(t)
	}
	var mu sync.Mutex
	var paces []pace
	t.Run("under", func(t *testing.T) {
		for _, n := range sizes {
			for _, a := range append(attacks, slowDisks) {
				t.Run(fmt.Sprint(a, "/", n), func(t *testing.T) {
					t.Parallel()
					p := measure(t, a, n, length, whole[n])
					mu.Lock()
					defer mu.Unlock()
					paces = append(paces, p)
				})
			}
		}
	})
	if *paceReport != "" && !t.Failed() {
		reportPaces(t, paces)
	}
}

// TestNoAttackHoldsAFastNetworkUnderHalfItsPace is the same where a round takes much less than a
// tick, as on a loopback: a leader that is slow by a tick is slow by several rounds.
func TestNoAttackHoldsAFastNetworkUnderHalfItsPace(t *testing.T) {
	for _, clients := range []int{1, 2} {
		c := course{nodes: 4, delay: 1, length: 6_000, clients: clients}
		whole, _ := c.run(t)
		for _, attack := range append([]string{"slow", "drag,ticks=1", "drag,ticks=2",
			"drag,how=rotate,ticks=2", "hold,ticks=1", "hold,ticks=3", "stuff",
			"drip", "drip,each=3"}, hardest...) {
			t.Run(fmt.Sprint(attack, "/", clients), func(t *testing.T) { c.under(t, attack, whole) })
		}
	}
}

// TestNoAttackHoldsALoneClientUnderHalfItsPace is the same where there is one client: a leader that
// serves it just in time has nobody else to be measured by.
func TestNoAttackHoldsALoneClientUnderHalfItsPace(t *testing.T) {
	c := course{nodes: 4, delay: 10, length: 12_000, clients: 1}
	whole, _ := c.run(t)
	for _, attack := range append([]string{"slow,permille=1000", "slow,permille=1800", "slow", "drag",
		"starve", "idleboss", "barequorum"}, hardest...) {
		t.Run(attack, func(t *testing.T) { c.under(t, attack, whole) })
	}
}

// under runs the course under an attack, and requires half of the pace there was without.
func (c course) under(t *testing.T, attack string, whole int) {
	t.Parallel()
	c.attack = attack
	done, w := c.run(t)
	t.Logf("%d %%, %d terms", 100*done/whole, w.watch.highTerm)
	w.watch.paced(done, whole)
	require.NoError(t, w.watch.failure())
}

// TestNoAttackHoldsManyClientsUnderHalfTheirPace is the same where there are many: each has its own
// measure of how late it is served.
func TestNoAttackHoldsManyClientsUnderHalfTheirPace(t *testing.T) {
	for _, delay := range []int{10, 40} {
		c := course{nodes: 4, delay: delay, length: 6_000, clients: 12}
		whole, _ := c.run(t)
		for _, attack := range append([]string{"slow", "starve", "hold,ticks=3"}, hardest...) {
			t.Run(fmt.Sprint(attack, "/", delay), func(t *testing.T) { c.under(t, attack, whole) })
		}
	}
}

// hardest are leaders that are slow by little.
var hardest = []string{"slow,permille=20", "drag,ticks=3", "drag,how=rotate,ticks=5",
	"hold,ticks=8", "hold,how=pair"}

// slowDisks stands for f honest nodes, the first leader among them, with disks that take 100 ms for
// each flush.
const slowDisks = "(slow disks)"

func measure(t *testing.T, attack string, n, length, whole int) pace {
	c := course{nodes: n, attack: attack, delay: 10, length: length}
	if attack == slowDisks {
		c.attack, c.flush, c.slow = "", 100, quorumcert.ForNodes(n).F
	}
	done, w := c.run(t)
	p := pace{attack, n, 100 * done / whole, int(w.watch.highTerm), "honest"}
	if leader := w.leaderOfMost(); w.nodes[leader-1].liar {
		p.leader = "liar"
	}
	w.watch.paced(done, whole)
	require.NoError(t, w.watch.failure(), "terms %d, leader %s", p.terms, p.leader)
	return p
}

// allVariants lists every attack with every word of its options, and with some numbers for those
// that slow the cluster down.
func allVariants() []string {
	all := slices.Clone(ownAttacks)
	for _, a := range adversary.All() {
		all = append(all, variantsOf(a)...)
	}
	all = append(all,
		"slow,permille=1800", "slow,permille=300", "slow,permille=100", "slow,permille=50",
		"slow,permille=30", "slow,permille=20", "slow,permille=10",
		"drag,ticks=2", "drag,ticks=3", "drag,ticks=4", "drag,ticks=5", "drag,ticks=30",
		"drag,ticks=100", "drag,how=odd,ticks=3", "drag,how=odd,ticks=30", "drag,how=rotate,ticks=3",
		"drag,how=rotate,ticks=5", "drag,how=rotate,ticks=30", "hold,ticks=2", "hold,ticks=8",
		"hold,ticks=30", "hold,how=pair,ticks=8", "stuff,every=5", "stuff,every=100",
		"drip,each=2", "drip,each=3", "drip,each=4", "drip,each=8")
	slices.Sort(all)
	return slices.Compact(all)
}

func reportPaces(t *testing.T, paces []pace) {
	const from, to = "<!-- pace -->\n", "<!-- end of pace -->"
	slices.SortFunc(paces, func(a, b pace) int {
		return strings.Compare(a.attack, b.attack)*100 + a.nodes - b.nodes
	})
	rows := "| attack | n | pace | terms | leads in the end |\n|---|---|---|---|---|\n"
	for _, p := range paces {
		name := "`" + p.attack + "`"
		rows += fmt.Sprintf("| %s | %d | %d %% | %d | %s |\n", name, p.nodes, p.share, p.terms,
			p.leader)
	}
	old, err := os.ReadFile(*paceReport)
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(old), from)
	require.True(t, ok, "%s has no place for the report", *paceReport)
	_, tail, ok := strings.Cut(rest, to)
	require.True(t, ok, "%s has no place for the report", *paceReport)
	require.NoError(t, os.WriteFile(*paceReport, []byte(head+from+rows+to+tail), 0o644))
}

// TestCorrectLeaderStaysInOfficeUnderLoad is the other side of L6: where nothing is wrong nobody is
// deposed, however slow messages and disks are within what the settings assume; and where disks are
// slower than that, all alike, nodes find out soon that no leader does better.
func TestCorrectLeaderStaysInOfficeUnderLoad(t *testing.T) {
	for _, delay := range []int{1, 3, 10, 20, 40} {
		for flush, most := range map[int]int{0: 1, 5: 1, 30: 1, 100: 3} {
			for _, n := range []int{4, 7} {
				if n == 7 && delay%10 > 0 {
					continue
				}
				t.Run(fmt.Sprint(delay, "/", flush, "/", n), func(t *testing.T) {
					t.Parallel()
					length := min(12_000, 4_000+800*delay) // the faster the more there is to do
					c := course{nodes: n, delay: delay, flush: flush, slow: n, length: length}
					_, w := c.run(t)
					require.LessOrEqual(t, int(w.watch.highTerm), most)
				})
			}
		}
	}
}

// TestCorrectLeaderStaysInOfficeWithManyClients is the same where waits differ most, and there are
// many: one of them is always late.
func TestCorrectLeaderStaysInOfficeWithManyClients(t *testing.T) {
	for _, delay := range []int{20, 40} {
		for _, clients := range []int{1, 8, 20} {
			for seed := range uint64(3) {
				t.Run(fmt.Sprint(delay, "/", clients, "/", seed), func(t *testing.T) {
					t.Parallel()
					c := course{
						nodes: 4, delay: delay, length: 20_000, clients: clients, seed: seed + 1,
					}
					_, w := c.run(t)
					require.EqualValues(t, 1, w.watch.highTerm)
				})
			}
		}
	}
}

// TestDishonestClientsDeposeNobody is L7 for what a client can do alone: whatever it sends, and to
// whom, an honest leader stays in office, and the others are served.
func TestDishonestClientsDeposeNobody(t *testing.T) {
	for delay, length := range map[int]int{1: 3_000, 10: 12_000, 40: 20_000} {
		c := course{nodes: 4, delay: delay, length: length}
		whole, _ := c.run(t)
		for _, name := range rogueNames() {
			t.Run(fmt.Sprint(name, "/", delay), func(t *testing.T) {
				t.Parallel()
				c := c
				c.rogue = name
				done, w := c.run(t)
				require.EqualValues(t, 1, w.watch.highTerm)
				require.Greater(t, w.rogues[0].sent, length/100)
				w.watch.paced(done, whole)
				require.NoError(t, w.watch.failure())
			})
		}
	}
}
