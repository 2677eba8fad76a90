package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/adversary"
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// attackWorld is a cluster of n of which f or more lie, on a network that loses nothing. Leaders
// resign every second until the calm begins, so that everybody's turn comes. Several attacks of one
// member have a plus between them.
func attackWorld(n int, attack string, liars int) (*World, *reigns) {
	return attackWorldOf(false, n, attack, liars, uint64(n))
}

// attackWorldOf is attackWorld with real keys or fake ones, of any seed.
func attackWorldOf(
	keys bool, n int, attack string, liars int, seed uint64,
) (*World, *reigns) {
	o := quiet(seed)
	o.Nodes, o.Calm, o.RealKeys = n, 60_000, keys
	for i := range liars {
		// Node 2 has rank 0 in term 1.
		o.Liars = append(o.Liars, Liar{i + 2, strings.Split(attack, "+")})
	}
	plan := Plan(o)
	if baseOf(attack) == poison {
		// Node 1 misses so much that nobody has the log any more.
		o.Checkpoints, o.Keep, o.ChunkBytes = 4, 2, 256
		plan = append(plan, Fault{At: 500, Kind: KindIsolate, Node: 1, For: o.Chaos - 2000})
	}
	w := NewWorldOf(o, plan)
	r := &reigns{}
	for at := 10; at <= o.Chaos; at += 10 {
		w.later(at, func() { r.look(w) })
	}
	for at := 1000; at <= o.Chaos; at += 1000 {
		w.later(at, func() { r.turn(w) })
	}
	return w, r
}

// reigns are the times that liars were seen to lead, the terms that were ended, and those of liars
// that others ended.
type reigns struct {
	liars, ended, deposed int
	liar                  bftraft.Term // the newest term that a liar led
	term                  bftraft.Term // the newest of all
}

func (r *reigns) look(w *World) {
	for _, m := range w.nodes {
		s := m.proc.Core()
		if m.liar || s.Leader == 0 || s.Term < r.term {
			continue
		}
		if s.Term > r.term && r.liar == r.term && r.liar > 0 {
			r.deposed++
		}
		if r.term = s.Term; w.nodes[s.Leader-1].liar {
			r.liars++
			r.liar = s.Term
		}
	}
}

// isDeposed says whether a node does what costs it its office anyhow.
func isDeposed(m *member) bool {
	return slices.ContainsFunc(m.attacks, func(text string) bool {
		a, err := adversary.Find(baseOf(text))
		return err == nil && a.Deposed || text == "silent,to=one"
	})
}

// turn ends the term, in order, so that the turn of others comes.
func (r *reigns) turn(w *World) {
	for _, m := range w.nodes {
		if m.proc.Core().Leading && !isDeposed(m) {
			r.ended++
			m.proc.Resign()
			w.flush(m)
		}
	}
}

// TestEveryAttackIsEffectiveAndHarmless lets f members do one thing. While they do, and from then
// on, every invariant must hold, L1 among them: honest clients are served within the bound. And the
// attack must have taken place: it did what an honest core did not want done, was refused for one
// of the reasons that it names, was proven to everybody where it says so, and cost the liar its
// office.
func TestEveryAttackIsEffectiveAndHarmless(t *testing.T) {
	for _, a := range adversary.All() {
		for _, text := range variantsOf(a) {
			for _, n := range []int{4, 7, 10} {
				if n == 10 && text != a.Name {
					continue
				}
				t.Run(fmt.Sprint(text, "/", n), func(t *testing.T) {
					t.Parallel()
					f := quorumcert.ForNodes(n).F
					w, r := attackWorld(n, text, f)
					require.NoError(t, w.Run())
					requireEffect(t, w, r, a, text)
				})
			}
		}
	}
}

// requireEffect makes sure that the attack took place and what it came to.
func requireEffect(t *testing.T, w *World, r *reigns, a adversary.Attack, text string) {
	for _, m := range w.nodes {
		if m.liar {
			continue
		}
		s := m.proc.Core()
		leads := s.Leader != 0 && w.nodes[s.Leader-1].liar
		if a.Proven && text == a.Name {
			require.True(t, s.Faulty.Has(2), "node %d holds no proof", m.id)
			require.True(t, slices.ContainsFunc(m.proc.Convictions(), func(c bftraft.Conviction) bool {
				return c.Evidence.Culprit() == 2 && c.Index > 0
			}), "node %d has no proof in its log", m.id)
			require.False(t, leads, "a proven liar leads")
		}
	}
	refused := 0
	for _, d := range a.Drops {
		refused += w.watch.refused[d]
	}
	if len(a.Drops) > 0 && !passive[text] {
		require.Positive(t, refused, "%v", w.watch.refused)
	}
	if a.Deposed {
		// Nobody made it resign. It may have come to office again, and nobody waited for it then.
		require.Positive(t, r.liars, "it never led")
		require.Positive(t, r.deposed, "it was not deposed")
	}
	require.Positive(t, r.ended, "nobody else led")
	liar, harm := w.nodes[1], 0
	for _, m := range w.nodes {
		harm += m.harm[a.Name]
	}
	require.Positive(t, harm, "it did what an honest core would")
	switch a.Name {
	case "clinging":
		require.True(t, liar.proc.Core().Leading, "it stepped down")
		require.Positive(t, w.watch.refused[bftraft.Stale])
	case "leaky":
		require.Greater(t, int(liar.leaked), 10_000)
	}
}

// passive are those variants of an attack that leave nothing to be refused.
var passive = map[string]bool{
	"ackliar,how=claim":       true, // a claim of its own, which a quorum has to share
	"ackliar,how=some":        true, // acks kept back
	"ackliar,how=hash":        true, // acks of a block that nobody else has
	"hiddenlock,as=candidate": true, // nobody has a higher lock until it has led
	"poison,how=none":         true, // nothing is not wrong
}

// TestFalseRepliesOfMoreThanFFoolClients is the control of what clients believe: f+1 equal false
// replies are a lie that they cannot tell, and the observer sees it.
func TestFalseRepliesOfMoreThanFFoolClients(t *testing.T) {
	fooled := ""
	for seed := uint64(1); seed <= 5 && fooled == ""; seed++ {
		w, _ := attackWorld(4, "falsereply", 2)
		w.watch.blind = true
		if err := w.Run(); err != nil {
			fooled = err.Error()
		}
	}
	require.True(t, strings.HasPrefix(fooled, "B10") || strings.HasPrefix(fooled, "B14"), fooled)
}

// TestHonestClientsAreServedBesideDishonestOnes lets two clients attack in one way, from a cluster
// of honest members and from one with f liars.
func TestHonestClientsAreServedBesideDishonestOnes(t *testing.T) {
	for _, name := range rogueNames() {
		for _, n := range []int{4, 7, 10} {
			for _, liars := range []string{"", "starve"} {
				if liars != "" && n != 4 {
					continue
				}
				t.Run(fmt.Sprint(name, "/", n, liars), func(t *testing.T) {
					t.Parallel()
					o := quiet(uint64(n))
					o.Nodes, o.Calm, o.Rogues = n, 60_000, []string{name, name}
					if liars != "" {
						o.Liars = []Liar{{2, []string{liars}}}
					}
					w := NewWorld(o)
					require.NoError(t, w.Run())
					for _, r := range w.rogues {
						require.Greater(t, r.sent, 500)
					}
				})
			}
		}
	}
}
