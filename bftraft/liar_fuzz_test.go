package bftraft

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// FuzzStepWithOneLiar lets bytes choose what one voter of four says to the three honest others,
// which of all frames arrive and in what order, when time passes and when power goes. The liar has
// its own key and what it was sent, no more. Then no honest core may panic, stop, or refuse another
// honest one's message as a lie; no two may commit different blocks; none may sign two acks for a
// place, be proven faulty, or leave a term that no honest core suspects.
func FuzzStepWithOneLiar(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 16 {
		f.Add(someBytes(rng, 100+rng.IntN(700)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1024 {
			t.Skip("long enough")
		}
		newLiarRun(t, data).run()
	})
}

// The same without a fuzzer's help, for every run of the tests.
func TestHonestCoresStandOneLiarWhateverItSigns(t *testing.T) {
	rng, seed := seededRand(t)
	committed, moved, proven := 0, 0, 0
	for k := range 100 {
		data := someBytes(rng, 200+rng.IntN(1400))
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Fatalf("repeat with -seed %d, run %d: %v", seed, k, p)
				}
			}()
			r := newLiarRun(t, data)
			r.run()
			committed += len(r.chain)
			moved += int(r.terms) - 1
			for _, m := range r.members {
				proven += len(m.disk.evidence)
			}
		}()
	}
	require.Greater(t, committed, 100, "the cores hardly commit: the runs show little")
	require.Greater(t, moved, 50, "the terms hardly move")
	require.Greater(t, proven, 30, "the liar is hardly ever caught: it hardly lies")
}

func someBytes(rng *rand.Rand, n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return data
}

// liarRun is three honest cores, a core under the liar's key that the liar lets speak as it likes,
// and the bytes that drive them.
type liarRun struct {
	*chaos
	data       []byte
	suspicions []*Suspect
	suspected  []Set // by term: the honest that suspected it
	terms      Term  // the highest term of an honest core
	dumb       bool  // the liar's own core is not heard
	shy        bool  // the liar signs nothing that would prove it one
}

func newLiarRun(t testing.TB, data []byte) *liarRun {
	r := &liarRun{data: data}
	h := newHarness(t, 4, func(c *Config) { c.MaxUncommitted = 8 })
	r.chaos = &chaos{harness: h, calm: true}
	r.liar, r.shy = NodeID(1+r.next(4)), r.next(2) == 0
	h.node(r.liar).honest = false
	r.lies = &liar{c: r.chaos, id: r.liar, signer: fakeSigner{r.liar}, term: 1}
	r.lies.places = []Position{{0, r.cluster}}
	r.lies.locks = []lockProof{{Lock{Hash: r.cluster}, nil}}
	h.route, h.heard = r.carryAll, r.judge
	return r
}

// carryAll shows every frame to whom it concerns and queues it.
func (r *liarRun) carryAll(f frame) {
	r.lies.overhear(f)
	if m, ok := f.msg.(*Suspect); ok {
		for len(r.suspected) <= int(m.Term) {
			r.suspected = append(r.suspected, 0)
		}
		if f.from != r.liar {
			r.suspected[m.Term] = r.suspected[m.Term].With(f.from)
		}
		if f.to == r.liar {
			r.suspicions = bounded(r.suspicions, m)
		}
	}
	if f.from == r.liar && r.dumb {
		return
	}
	r.put(f)
	if len(r.flying) > 600 {
		r.flying = append(r.flying[:0], r.flying[100:]...)
	}
}

// next returns a number below n.
func (r *liarRun) next(n int) int {
	if len(r.data) == 0 {
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return int(b) % n
}

func (r *liarRun) run() {
	r.step(12) // a leader of the first term, mostly
	for len(r.data) > 0 {
		r.act()
		r.check()
	}
	r.blameless()
}

func (r *liarRun) act() {
	switch r.next(16) {
	case 0, 1:
		r.step(1 + r.next(8))
	case 2: // one clock runs ahead
		m := r.node(NodeID(1 + r.next(4)))
		for range 1 + r.next(60) {
			r.let(m, func() { m.core.Tick() })
		}
	case 3:
		if f, some := r.takeOne(); some {
			r.deliverOne(f)
		}
	case 4:
		r.takeOne()
	case 5, 6:
		r.deliverAll()
	case 7:
		for _, m := range r.members {
			r.let(m, func() {
				if m.core.Room() {
					m.core.Propose([]Entry{r.entry("op"), r.entry("op")}[:1+r.next(2)])
				}
			})
		}
	case 8:
		m := r.node(NodeID(1 + r.next(4)))
		r.crash(m, r.next(4))
		r.start(m)
	case 9:
		m := r.node(NodeID(1 + r.next(4)))
		r.let(m, func() { m.core.starve(r.next(2) == 0) })
		r.dumb = r.next(2) == 0
	default:
		r.lie()
	}
}

// let has a core do something, and then what it asks for. The liar's own core may find its state
// impossible, for it is not alone with its key.
func (r *liarRun) let(m *member, do func()) {
	defer func() {
		if m.honest {
			return
		}
		if p := recover(); p != nil {
			m.core = nil
		}
	}()
	if m.core != nil {
		do()
		r.work(m)
	}
}

func (r *liarRun) step(ticks int) {
	for range ticks {
		r.now++
		r.deliverAll()
		for _, m := range r.members {
			r.let(m, func() { m.core.Tick() })
		}
	}
}

// deliverAll delivers what is under way, not what it gives rise to.
func (r *liarRun) deliverAll() {
	flying := r.flying
	r.flying = nil
	for _, f := range flying {
		r.deliverOne(f)
	}
}

func (r *liarRun) deliverOne(f frame) {
	m := r.node(f.to)
	r.let(m, func() { r.hand(f) })
}

func (r *liarRun) takeOne() (frame, bool) {
	if len(r.flying) == 0 {
		return frame{}, false
	}
	k := r.next(len(r.flying))
	f := r.flying[k]
	r.flying = append(r.flying[:k:k], r.flying[k+1:]...)
	return f, true
}

// check holds the honest cores to what acks, votes and commits, which the harness watches, do not
// show: blame, bounded memory, and terms that move by suspicions of the honest only (E2).
func (r *liarRun) check() {
	for _, m := range r.members {
		if !m.honest {
			continue
		}
		c := m.core
		require.Zero(r.t, c.faulty.Without(r.liar), "node %d blames %v", m.id, c.faulty)
		limit := 2 * c.cfg.MaxUncommitted
		require.LessOrEqual(r.t, len(c.Uncommitted()), limit, "blocks beyond the commit index")
		if c.gather != nil {
			require.LessOrEqual(r.t, len(c.gather.blocks), limit, "blocks gathered aside")
		}
		for ; r.terms < c.term; r.terms++ {
			var by Set
			if int(r.terms) < len(r.suspected) {
				by = r.suspected[r.terms]
			}
			require.True(r.t, r.terms == 0 || by.Len() >= 2,
				"node %d is in term %d, and only %v of the honest suspected the one before", m.id,
				r.terms+1, by)
		}
	}
}

// lie sends something that the liar made up to some of the others: signed as it should be, or
// altered in a byte after it was encoded, and signed again where the whole is signed.
func (r *liarRun) lie() {
	m := r.forged()
	if m == nil {
		return
	}
	e, whole := m.(envelope)
	if whole {
		SignMessage(r.lies.signer, r.cluster, m)
	}
	raw := Encode(m)
	if r.next(12) == 0 {
		end := len(raw)
		if whole {
			end -= len(e.envelope().Sig)
		}
		raw[(r.next(256)<<8+r.next(256))%end] ^= 1 << r.next(8)
		if whole {
			digest := messageDigest(r.cluster, raw[:end])
			sig := r.lies.signer.Sign(crypto.DomainMessage, digest[:])
			copy(raw[end:], sig[:])
		}
	}
	to := r.next(16)
	for _, o := range r.members {
		if o.honest && to>>(o.id-1)&1 == 1 {
			r.put(frame{from: r.liar, to: o.id, msg: m, raw: raw})
		}
	}
}
