//go:build linux

package processes

import (
	"encoding/json"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/adversary"
	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// The longest pause for a change of leader is 3 s at the default timeouts. The tests share their
// machine with others, so they log what they measured and fail only far beyond.
const longestPause = 10 * time.Second

// fault is something that happens to one process, and its end.
type fault struct {
	name string
	do   func(c *cluster, id crypto.NodeID)
	undo func(c *cluster, id crypto.NodeID)
	hold time.Duration // at least so long
	// cause is what followers have against a leader to whom it happens; empty where that depends
	// on whether clients or the node itself miss it first.
	cause string
}

func restart(c *cluster, id crypto.NodeID) { c.start(id) }

func faults() []fault {
	return []fault{
		{"stopped", func(c *cluster, id crypto.NodeID) {
			c.nodes[id].signal(syscall.SIGTERM)
			require.Zero(c.t, c.nodes[id].wait(), "a node that is told to stop ends well")
		}, restart, 0, bftraft.CauseResigned.String()},
		{"killed", func(c *cluster, id crypto.NodeID) { c.nodes[id].kill() }, restart, 0, ""},
		{"frozen", func(c *cluster, id crypto.NodeID) {
			c.nodes[id].signal(syscall.SIGSTOP)
		}, func(c *cluster, id crypto.NodeID) {
			c.nodes[id].signal(syscall.SIGCONT)
		}, *freeze, ""},
	}
}

func TestWritesGoOnWithoutAnyOneNode(t *testing.T) {
	c := newCluster(t, 1)
	c.startAll()
	u := c.user(1)
	w := u.write(t, "w")
	var left []leftTerm
	for _, f := range faults() {
		for _, role := range []string{"leader", "follower"} {
			w.more(20)
			victim := c.leader(c.all()...)
			if role == "follower" {
				victim = c.but(victim)[0]
			}
			w.watch()
			if s, known := c.status(victim); role == "leader" && known {
				left = append(left, leftTerm{s.Term, victim, f.cause})
			}
			f.do(c, victim)
			over := time.After(f.hold)
			w.more(100)
			<-over
			w.more(20)
			pause := w.pause()
			t.Logf("%s %s (node %d): writes paused for %d ms", role, f.name, victim,
				pause.Milliseconds())
			require.Less(t, pause, longestPause, "%s %s", role, f.name)
			goal := c.commit(c.but(victim)...)
			f.undo(c, victim)
			c.awaitCommit(victim, goal)
			c.awaitReady(victim)
		}
	}
	w.check()
	u.awaitSame(t, c.all()...)
	c.requireTold(left)
}

// leftTerm is a term whose leader something happened to, and what its followers then have against
// it, or nothing where that depends on who notices first.
type leftTerm struct {
	term   quorumcert.Term
	leader crypto.NodeID
	cause  string
}

// requireTold ends all nodes, and looks for each term into the stores of all: one at least must
// tell why it was left, and by whose suspicions.
func (c *cluster) requireTold(left []leftTerm) {
	c.t.Helper()
	type began struct {
		Left *struct {
			Term   quorumcert.Term `json:"term"`
			Leader crypto.NodeID   `json:"leader"`
			Cause  string          `json:"cause"`
		} `json:"left"`
		Suspected []int  `json:"suspected_the_term_before"`
		Reason    string `json:"reason"`
	}
	var all []began
	for _, id := range c.all() {
		c.nodes[id].signal(syscall.SIGTERM)
		c.nodes[id].wait()
		var found struct {
			Terms []began `json:"terms"`
		}
		got := c.node(id, ok, "inspect", "--limit", "1", "-o", "json")
		require.NoError(c.t, json.Unmarshal([]byte(got.out), &found))
		all = append(all, found.Terms...)
	}
	for _, want := range left {
		at := slices.IndexFunc(all, func(b began) bool {
			return b.Left != nil && b.Left.Term == want.term && b.Left.Leader == want.leader &&
				(b.Left.Cause == want.cause || want.cause == "" && b.Left.Cause != "none") &&
				len(b.Suspected) >= 3
		})
		require.GreaterOrEqual(c.t, at, 0, "nobody tells why %+v ended", want)
		c.t.Logf("term %d: %s", want.term, all[at].Reason)
	}
}

func TestWritesGoOnUnderALiar(t *testing.T) {
	const liar = crypto.NodeID(2) // the first leader: position 1 has rank 0 in term 1
	for _, attack := range adversary.All() {
		t.Run(attack.Name, func(t *testing.T) {
			c := newCluster(t, 1)
			c.start(liar, "--adversary", attack.Name)
			for _, id := range c.but(liar) {
				c.start(id)
			}
			c.awaitReady(c.but(liar)...)
			u := c.user(1)
			w := u.write(t, "w")
			w.more(100)
			pause := w.pause()
			t.Logf("under %s writes paused for %d ms", attack.Name, pause.Milliseconds())
			require.Less(t, pause, longestPause)
			c.requireAttackSeen(attack, liar)
			w.check()
			u.awaitSame(t, c.but(liar)...)
		})
	}
}

// unrefused are the attacks of which nothing has to be refused in so short a time.
var unrefused = []string{
	"amnesiac", "equivocate", "hiddenlock", "hog", "twins", "voteall", // in the next election
	"poison", // of who serves states: see state_test.go
}

// requireAttackSeen makes sure that the attack took place and what was said about it.
func (c *cluster) requireAttackSeen(attack adversary.Attack, liar crypto.NodeID) {
	c.t.Helper()
	honest := c.but(liar)
	if len(attack.Drops) > 0 && !slices.Contains(unrefused, attack.Name) {
		await(c.t, "something to be refused", func() bool { return c.refused(attack, liar) > 0 })
	}
	if attack.Deposed {
		require.NotEqual(c.t, liar, c.leader(honest...), "it still leads")
	}
	switch attack.Name {
	case "equivocate":
		proofs := fmt.Sprintf(`bft_equivocations_total{peer="%d"}`, liar)
		for _, id := range honest {
			await(c.t, fmt.Sprintf("node %d to hold proof", id), func() bool {
				n, ok := c.metric(id, proofs)
				return ok && n > 0
			})
		}
	case "silent":
		for _, id := range honest {
			await(c.t, fmt.Sprintf("node %d to miss node %d", id, liar), func() bool {
				s, ok := c.status(id)
				for _, p := range s.Peers {
					if p.Node == liar && p.Silent {
						return ok
					}
				}
				return false
			})
		}
		require.NotEqual(c.t, liar, c.leader(honest...), "who is silent does not lead")
	}
}

// refused counts what honest nodes have refused of the liar for the reasons that the attack names.
func (c *cluster) refused(attack adversary.Attack, liar crypto.NodeID) (count float64) {
	for _, id := range c.but(liar) {
		for _, d := range attack.Drops {
			n, _ := c.metric(id, fmt.Sprintf(`bft_drops_total{peer="%d",reason="%s"}`, liar, d))
			count += n
		}
	}
	return count
}

func TestAllKilledAtOnceLoseNothingAcknowledged(t *testing.T) {
	const rounds, writers = 3, 4
	c := newCluster(t, writers)
	c.startAll()
	var all []*writer
	for k := 1; k <= writers; k++ {
		all = append(all, c.user(k).write(t, fmt.Sprintf("w%d", k)))
	}
	for range rounds {
		for _, w := range all {
			w.more(50)
		}
		for _, id := range c.all() {
			c.nodes[id].signal(syscall.SIGKILL)
		}
		for _, id := range c.all() {
			c.nodes[id].wait()
		}
		began := time.Now()
		c.startAll()
		t.Logf("all four are back after %d ms", time.Since(began).Milliseconds())
	}
	for _, w := range all {
		w.more(10)
	}
	for _, w := range all {
		w.check()
	}
	all[0].user.awaitSame(t, c.all()...)
}
