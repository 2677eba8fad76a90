package bftraft

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func init() {
	if flag.Lookup("seed") == nil {
		flag.Uint64("seed", 0, "seed of the random tests; 0 takes a fixed one")
	}
	flag.Int("chaos", 0, "number of seeds of the chaos test; 0 takes a fixed one")
}

// chaos is a cluster in a network that loses, doubles, delays and reorders, whose nodes lose power
// at any point, with one voter that does what it likes.
type chaos struct {
	*harness
	rng  *rand.Rand
	liar NodeID // 0 for none
	lies *liar

	loss, double float64
	delay        int
	blocked      [16][16]bool
	downUntil    [16]uint64
	crashes      float64
	calm         bool // the network is healed, nobody crashes any more

	grewAt [16]uint64
	grewTo [16]Index
	terms  [16]Term
}

func newChaos(t testing.TB, seed uint64) *chaos {
	c := &chaos{rng: rand.New(rand.NewPCG(seed, 7))}
	n := 4
	if c.rng.IntN(6) == 0 {
		n = 7
	}
	c.harness = newHarnessOf(t, changing(n), func(cfg *Config) {
		cfg.Seed += seed * 100
		cfg.MaxInflight = 1 + c.rng.IntN(3)
		cfg.MaxUncommitted = 8 + c.rng.IntN(16)
	})
	c.loss = []float64{0, 0.02, 0.1, 0.3}[c.rng.IntN(4)]
	c.double = []float64{0, 0.05, 0.2}[c.rng.IntN(3)]
	c.delay = []int{1, 3, 10, 40}[c.rng.IntN(4)]
	c.crashes = []float64{0, 0.002, 0.01}[c.rng.IntN(3)]
	if c.rng.IntN(8) > 0 {
		c.liar = NodeID(1 + c.rng.IntN(n))
		c.lies = newLiar(c)
	}
	c.route, c.heard, c.cut = c.carry, c.judge, c.powerCut
	return c
}

// carry decides about a frame on its way.
func (c *chaos) carry(f frame) {
	copies := 1
	if c.lies != nil {
		c.lies.overhear(f)
		if f.from == c.liar && c.lies.withholds(f) {
			return
		}
	}
	if !c.calm {
		if c.blocked[f.from][f.to] || c.rng.Float64() < c.loss {
			copies--
		}
		if c.rng.Float64() < c.double {
			copies++
		}
	}
	for range copies {
		f.due = c.now + 1 + uint64(c.rng.IntN(2))
		if !c.calm {
			f.due = c.now + 1 + uint64(c.rng.IntN(c.delay))
			if c.rng.IntN(50) == 0 {
				f.due += uint64(c.rng.IntN(300))
			}
		}
		if f.to == c.liar && c.twin != nil {
			f.twin = c.rng.IntN(2) == 0
			c.put(f)
			f.twin = !f.twin
		}
		c.put(f)
	}
}

// judge holds honest nodes to sending each other nothing that looks like a lie.
func (c *chaos) judge(r received) {
	if !c.honest(r.from) || !c.honest(r.to) {
		return
	}
	switch r.drop {
	case FaultySender, Malformed, Oversize, WrongSender, UnknownSender, BadSignature,
		BadCertificate, VoidAck, BrokenChain, InvalidEntry, NoProof:
		require.Fail(c.t, "an honest message was refused", "%d->%d %s: %v", r.from, r.to,
			MessageName(r.msg), r.drop)
	}
}

func (c *chaos) honest(id NodeID) bool { return id != c.liar }

func (c *chaos) powerCut(m *member) cutPoint {
	if c.calm || c.rng.Float64() >= c.crashes {
		return cutNever
	}
	c.downUntil[m.id] = c.now + 1 + uint64(c.rng.IntN(100))
	return cutPoint(1 + c.rng.IntN(3))
}

// weather changes the partition now and then.
func (c *chaos) weather() {
	if c.rng.IntN(60) != 0 {
		return
	}
	kind := c.rng.IntN(3)
	side := c.rng.IntN(1 << len(c.members))
	for a := range c.members {
		for b := range c.members {
			apart := side>>a&1 != side>>b&1
			one := c.rng.IntN(4) == 0
			c.blocked[a+1][b+1] = kind == 1 && apart || kind == 2 && one
		}
	}
}

func (c *chaos) everybody() []*member {
	if c.twin == nil {
		return c.members
	}
	return append(append([]*member(nil), c.members...), c.twin)
}

// step lets one tick pass: frames come in any order, some together before a Ready is done.
func (c *chaos) step() {
	c.now++
	if !c.calm {
		c.weather()
	}
	var due, later []frame
	for _, f := range c.flying {
		if f.due <= c.now {
			due = append(due, f)
		} else {
			later = append(later, f)
		}
	}
	c.flying = later
	c.rng.Shuffle(len(due), func(i, k int) { due[i], due[k] = due[k], due[i] })
	for _, f := range due {
		c.handSafely(f)
		if c.rng.IntN(3) > 0 {
			c.work(c.receiver(f))
		}
	}
	for _, m := range c.everybody() {
		switch {
		case m.core != nil:
			m.core.Tick()
			c.watch(m)
			c.work(m)
		case c.now >= c.downUntil[m.id] || c.calm:
			c.start(m)
		}
		if m.core != nil && c.rng.IntN(3) == 0 && m.core.Room() {
			m.core.Propose(c.someEntries(m.core.Verifier()))
			c.work(m)
		}
	}
	if c.lies != nil {
		c.lies.act()
	}
}

// someEntries returns requests of clients that may write by what the gate of a node knows, and
// sometimes a change behind them.
func (c *chaos) someEntries(v *Verifier) []Entry {
	var entries []Entry
	for range 1 + c.rng.IntN(3) {
		client := pick(c.rng, v.Members().Clients)
		if client.Role < RoleWrite {
			continue
		}
		c.seq++
		entries = append(entries, SignRequest(c.cluster, fakeHolder(client.Key[0]), 1, c.seq,
			[][]byte{[]byte("op")}).Entry())
	}
	if len(entries) == 0 || c.rng.IntN(8) == 0 {
		entries = append(entries, c.change(v, c.someStep(v.Members())))
	}
	return entries
}

// someStep returns a step that can be taken: the client that carries changes stays.
func (c *chaos) someStep(m *Membership) ChangeStep {
	for {
		client := pick(c.rng, m.Clients)
		switch n := byte(1 + c.rng.IntN(190)); {
		case c.rng.IntN(2) == 0 || len(m.Clients) == 1:
			if _, there := m.Client(fakePublic(n)); !there && !m.retired(fakePublic(n)) {
				return enrols(n, Role(1+c.rng.IntN(3)))
			}
		case client.Key[0] == fakeClient:
		case c.rng.IntN(2) == 0:
			return removes(client.Key[0])
		default:
			return ChangeStep{Kind: SetRole, Key: client.Key, Role: Role(1 + c.rng.IntN(3))}
		}
	}
}

// handSafely delivers a frame. A core of the dishonest voter shares its key with another one, and
// may well find its own state impossible.
func (c *chaos) handSafely(f frame) {
	m := c.receiver(f)
	defer func() {
		if m.honest {
			return
		}
		if p := recover(); p != nil {
			m.core = nil
		}
	}()
	c.hand(f)
}

// watch plays the replica's part in E5: somebody always waits for something to be committed.
func (c *chaos) watch(m *member) {
	id, core := m.id, m.core
	if core.Commit().Index > c.grewTo[id] || core.Term() != c.terms[id] {
		c.grewTo[id], c.grewAt[id], c.terms[id] = core.Commit().Index, c.now, core.Term()
	}
	core.SetWaiting(c.now - c.grewAt[id])
}

func (c *chaos) run(ticks int) {
	for range ticks {
		c.step()
	}
}

// heal ends all faults but the liar's.
func (c *chaos) heal() {
	c.calm = true
	c.blocked = [16][16]bool{}
}

// settle runs until all honest nodes have committed some blocks more than any had.
func (c *chaos) settle(limit int) int {
	var goal Index
	for _, m := range c.members {
		if m.honest && m.core != nil {
			goal = max(goal, m.core.Commit().Index)
		}
	}
	goal += 6
	for k := range limit {
		if c.allRunning() && c.allCommitted(goal) {
			return k
		}
		c.step()
	}
	return limit
}

func (c *chaos) allRunning() bool {
	for _, m := range c.members {
		if m.honest && m.core == nil {
			return false
		}
	}
	return true
}

// blameless checks that evidence names the liar only, and holds.
func (c *chaos) blameless() {
	for _, m := range c.members {
		if !m.honest {
			continue
		}
		for _, e := range m.disk.evidence {
			require.Equal(c.t, c.liar, e.Culprit(), "node %d accuses an honest one", m.id)
			require.NoError(c.t, e.Verify(c.cluster, c.gate.Configurations().Latest()))
		}
		if m.core != nil {
			faulty := m.core.State().Faulty
			require.Zero(c.t, faulty.Without(c.liar), "node %d blames %v", m.id, faulty)
		}
	}
}

const settleTicks = 8000

func runChaos(t *testing.T, seed uint64) int {
	defer func() {
		if t.Failed() {
			t.Logf("repeat with -run %s -seed %d", t.Name(), seed)
		}
	}()
	c := newChaos(t, seed)
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("seed %d, liar %d: %v\n%s", seed, c.liar, p, c.picture())
		}
	}()
	c.run(300 + c.rng.IntN(500))
	c.heal()
	took := c.settle(settleTicks)
	c.blameless()
	require.Less(t, took, settleTicks, "seed %d: no progress after healing\n%s", seed, c.picture())
	return took
}

func TestChaosNeverBreaksAgreementAndEnds(t *testing.T) {
	seeds := flag.Lookup("chaos").Value.(flag.Getter).Get().(int)
	first := uint64(1)
	if seeds == 0 {
		seeds = 40
	}
	if s := flag.Lookup("seed").Value.(flag.Getter).Get().(uint64); s != 0 {
		first, seeds = s, 1
	}
	worst := 0
	for seed := first; seed < first+uint64(seeds); seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			worst = max(worst, runChaos(t, seed))
		})
	}
	t.Logf("seeds %d to %d; slowest recovery %d ticks", first, first+uint64(seeds)-1, worst)
}

// pick returns one of list, which must not be empty.
func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

// bounded appends to a list of which only the newest are kept.
func bounded[T any](list []T, x T) []T {
	if len(list) >= 40 {
		list = append(list[:0], list[10:]...)
	}
	return append(list, x)
}
