package contestant

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"tangaroa/bench/attack"
	"tangaroa/bench/plainraft"
	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
)

// Fault is one of the three of the mission, as each kind of cluster meets it.
type Fault struct {
	Name  string // as in Options.Adversary of plain Raft
	Does  string
	Ours  string // likewise, of ours
	Leads bool   // the liar leads
}

// Faults are the three.
func Faults() []Fault {
	return []Fault{
		{"leaky", "a follower tells a third party all it hears, and uses what it heard again",
			"leaky+replay", false},
		{"disruptive", "a follower wants elections all the time",
			"terminflation+votestorm+suspectspam", false},
		{"badboss", "the leader tells lies to clients, and to each follower something else",
			"equivocate+earlycommit+falsereply", true},
	}
}

// hexEar reads what our leaky member tells: lines that end with a frame in hex.
type hexEar struct{ ear *attack.Ear }

func (h hexEar) Write(line []byte) (int, error) {
	words := strings.Fields(string(line))
	if len(words) > 0 {
		if frame, err := hex.DecodeString(words[len(words)-1]); err == nil {
			_, _ = h.ear.Write(frame)
		}
	}
	return len(line), nil
}

// HonestGet implements attack.Store.
func (c *cluster) HonestGet(ctx context.Context, key []byte) ([][]byte, error) {
	query, err := kv.EncodeQuery(kv.Range{Span: kv.One(key)})
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for _, m := range c.members {
		if m.dead || m.liar || m.hasEnded() {
			continue
		}
		got, err := m.node.Query(ctx, query)
		if err != nil {
			return nil, err
		}
		value, err := valueOrNothing(got)
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}

// valueOrNothing is oneValue for a key that may not be there.
func valueOrNothing(got []byte) ([]byte, error) {
	answer, err := kv.DecodeQueryResult(got)
	if err != nil {
		return nil, err
	}
	r, ok := answer.(kv.RangeResult)
	switch {
	case !ok:
		return nil, fmt.Errorf("a read of one key gave %T", answer)
	case len(r.KVs) == 0:
		return nil, nil
	}
	return r.KVs[0].Value, nil
}

func (m *member) hasEnded() bool {
	select {
	case <-m.ended:
		return true
	default:
		return false
	}
}

// Lie implements attack.Store; our liars lie from the first moment.
func (c *cluster) Lie(bool) {}

// Traces implements attack.Store.
func (c *cluster) Traces() attack.Traces {
	t := attack.Traces{Leaked: c.ear.Count()}
	liar := crypto.NodeID(0)
	for _, m := range c.members {
		if m.liar {
			liar = m.id
		}
	}
	for _, m := range c.members {
		switch {
		case m.dead || m.liar:
			continue
		case m.hasEnded():
			t.Fallen++
			continue
		}
		s := m.node.Status()
		t.LeaderChanges = max(t.LeaderChanges, int(s.Term)-int(c.firstTerm))
		t.Proofs = max(t.Proofs, len(s.Evidence))
		t.Refused += m.dropsOf(liar)
	}
	return t
}

// dropsOf sums what a node has refused of another, as its page tells.
func (m *member) dropsOf(peer crypto.NodeID) int {
	page, err := m.page()
	if err != nil {
		return 0
	}
	return int(sumOf(page, `bft_drops_total{peer="`+strconv.Itoa(int(peer))+`"`))
}

// plainLie returns the lie of a name for one node of plain Raft, nil for none.
func plainLie(name string, on *atomic.Bool, ear io.Writer) (plainraft.Lie, error) {
	truthful := plainraft.Truthful{On: on}
	switch name {
	case "":
		return nil, nil
	case "leaky":
		return &plainraft.Leaky{Truthful: truthful, Sink: ear}, nil
	case "disruptive":
		return &plainraft.Disruptive{Truthful: truthful}, nil
	case "badboss":
		return &plainraft.BadBoss{Truthful: truthful}, nil
	}
	return nil, fmt.Errorf("plain Raft knows no fault %q", name)
}

// choose says who lies: the leader, or the last of the others.
func (c *plainCluster) choose(leads bool) {
	leader := c.leader()
	for i, n := range c.nodes {
		if (n.ID() == leader) == leads {
			c.liar = i
		}
	}
	c.firstTerm = c.nodes[c.liar].Term()
}

// HonestGet implements attack.Store.
func (c *plainCluster) HonestGet(ctx context.Context, key []byte) ([][]byte, error) {
	query, err := kv.EncodeQuery(kv.Range{Span: kv.One(key)})
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for i, n := range c.nodes {
		if c.dead[n] || c.lies && i == c.liar || ended(n) {
			continue
		}
		var got []byte
		if err := n.Look(ctx, func(m *kv.Machine) { got = m.Query(query) }); err != nil {
			return nil, err
		}
		value, err := valueOrNothing(got)
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}

func ended(n *plainraft.Node) bool {
	select {
	case <-n.Ended():
		return true
	default:
		return false
	}
}

// Lie implements attack.Store.
func (c *plainCluster) Lie(on bool) {
	if c.lies {
		c.on[c.liar].Store(on)
	}
}

// Traces implements attack.Store. Plain Raft refuses nothing and proves nothing.
func (c *plainCluster) Traces() attack.Traces {
	t := attack.Traces{Leaked: c.ear.Count()}
	for i, n := range c.nodes {
		if c.lies && i == c.liar {
			continue
		}
		if ended(n) {
			t.Fallen++
		}
		t.LeaderChanges = max(t.LeaderChanges, int(n.Term())-int(c.firstTerm))
	}
	return t
}
