package sim

import (
	"fmt"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// drawMembers decides how many nodes may join, and how often the members are changed.
func (o *Options) drawMembers(r *stream) {
	o.Spare, o.Moves = r.between(1, 8), r.between(100, 1200)
}

// drawLyingMembers has some of those who may join lie, and some liars lie about changes. Whoever
// draws the changes sees to it that no more than f of those who vote do; see someMoves.
func (o *Options) drawLyingMembers(r *stream) {
	for i := range o.Spare {
		if r.chance(250) {
			o.Liars = append(o.Liars, Liar{o.Nodes + i + 1, []string{drawAttack(r)}})
		}
	}
	second := func(l Liar) bool { return l.Node == 2 }
	if len(o.Liars) == 0 {
		o.Liars = append(o.Liars, Liar{Node: 2})
	}
	for i := range o.Liars {
		l, attack := &o.Liars[i], founding[r.below(len(founding))]
		switch {
		case len(l.Attacks) > 0 && !r.chance(600):
		case l.Node > o.Nodes:
			l.Attacks = append(l.Attacks, joining[r.below(len(joining))])
		case attack != hasty && attack != neverCloses:
			l.Attacks = append(l.Attacks, attack)
		default: // it has to lead, and not to be deposed for anything else
			l.Attacks = []string{attack}
			if !slices.ContainsFunc(o.Liars, second) {
				l.Node = 2 // which leads first
			}
		}
	}
}

// bad returns the nodes that lie, or that lose their disk at some time: all that are faulty.
func (w *World) bad() (set quorumcert.Set) {
	for _, l := range w.opt.Liars {
		set = set.With(bftraft.NodeID(l.Node))
	}
	for _, f := range w.plan {
		if f.Kind == KindLoss {
			set = set.With(bftraft.NodeID(f.Node))
		}
	}
	return set
}

// isMember says whether a node is a member by the newest change that anybody honest has committed.
func (w *World) isMember(m *member) bool {
	n, ok := w.verifier.Members().Node(m.signer.Public())
	return ok && n.ID == m.id
}

// answers says whether a node has to keep up and to agree with the others.
func (w *World) answers(m *member) bool { return !m.liar && !m.dead && w.isMember(m) }

// enter starts the nodes that a change has let in. They know of the cluster what their operators
// were given: the genesis, or all changes.
func (w *World) enter() {
	for _, m := range w.nodes {
		if m.absent && w.isMember(m) {
			m.absent = false
			w.watch.hit(seenJoined)
			w.boot(m)
		}
	}
}

// told returns what a node is told of the changes when it starts: nothing, as long as somebody whom
// it knows from before is still there, or else all.
func (w *World) told(m *member) *bftraft.Verifier {
	know := w.gates[0]
	if r, err := m.disk.Load(); err == nil {
		if v, err := know.Following(r.Changes); err == nil {
			know = v
		}
	}
	if w.hasFriend(m, know) {
		return w.gates[0]
	}
	return w.verifier
}

// hasFriend says whether somebody honest whom a node knows is still there.
func (w *World) hasFriend(m *member, know *bftraft.Verifier) bool {
	return slices.ContainsFunc(know.Members().Nodes, func(n bftraft.Node) bool {
		other := w.nodes[n.ID-1]
		return other != m && !other.liar && !other.dead && w.isMember(other)
	})
}

// tell restarts a node that knows nobody any more who is there: its operator hands it the changes.
func (w *World) tell(m *member) {
	if m.proc == nil || m.liar || !w.isMember(m) || w.hasFriend(m, m.proc.Verifier()) {
		return
	}
	w.crash(m, 0)
	w.restart(m)
}

func (w *World) tellAll() {
	for _, m := range w.nodes {
		w.tell(m)
	}
}

// leaves notes that a node has stopped because it is no member any more.
func (w *World) leaves(m *member) {
	if m.core != nil && !m.liar {
		w.learn(m.core.Verifier()) // perhaps a liar was the first to know, and told it
	}
	if !m.liar && w.isMember(m) {
		w.watch.fail("B11", "node %d leaves, and is a member", m.id)
	}
	w.watch.hit(seenLeft)
	m.proc, m.gone, m.committed = nil, true, nil
}

// tickMembers has the first client carry a change of the members now and then.
func (c *client) tickMembers() {
	w, every := c.w, c.w.opt.Moves
	m := w.verifier.Members()
	if c.index != 0 || every == 0 || w.calm || len(c.writes) >= 4 ||
		!m.Joint() && !c.random.chance(1000*clientTickMillis/every) {
		return
	}
	ch := &bftraft.Change{Number: m.Number + 1, Replaces: m.At}
	if m.Joint() {
		if !c.random.chance(100) {
			return
		}
		ch.Steps = []bftraft.ChangeStep{{Kind: bftraft.RollBack}}
	} else if ch.Steps = c.someMoves(m); len(ch.Steps) == 0 {
		return
	}
	for k := range adminQuorum {
		ch.Endorse(w.cluster, w.admins[k])
	}
	next, err := m.After(ch)
	if err != nil {
		w.watch.fail("B11", "a change of the members cannot be: %v", err)
		return
	}
	ready := 0
	for _, v := range next.Incoming {
		if word, ok := w.readyFor(w.nodes[v.ID-1], ch); ok {
			ch.AddReady(word)
			ready++
		}
	}
	if next.Joint() && ready < quorumcert.ForNodes(len(next.Incoming)).Q && !c.random.chance(100) {
		return
	}
	c.sendWrite(c.newRequest([][]byte{ch.Op()}), false)
}

// someMoves draws the steps of a change: it adds a learner, takes one away, or replaces some of the
// voters by learners. No more than f of those that would vote then are faulty.
func (c *client) someMoves(m *bftraft.Membership) []bftraft.ChangeStep {
	w := c.w
	var learners []bftraft.Node
	for _, n := range m.Nodes {
		if !m.Votes(n.ID) {
			learners = append(learners, n)
		}
	}
	if spare := w.nodes[m.Newest:]; len(spare) > 0 && (len(learners) == 0 || c.random.chance(400)) {
		var steps []bftraft.ChangeStep
		for _, n := range spare[:min(len(spare), c.random.between(1, 4))] {
			steps = append(steps, bftraft.ChangeStep{
				Kind: bftraft.AddNode, Name: fmt.Sprint("node", n.id), Key: n.signer.Public(),
			})
		}
		return steps
	}
	if len(learners) > 0 && c.random.chance(50) {
		n := learners[c.random.below(len(learners))]
		return []bftraft.ChangeStep{{Kind: bftraft.RemoveNode, Key: n.Key}}
	}
	var steps []bftraft.ChangeStep
	var voters quorumcert.Set
	stay, rise := c.random.below(1001), c.random.between(300, 1000)
	if len(learners) >= 4 && c.random.chance(400) {
		stay, rise = 0, 1000 // all are replaced at once
	}
	for _, v := range m.Voters {
		if c.random.chance(stay) {
			voters = voters.With(v.ID)
		} else {
			steps = append(steps, bftraft.ChangeStep{Kind: bftraft.RemoveNode, Key: v.Key})
		}
	}
	for _, n := range learners {
		if c.random.chance(rise) {
			voters = voters.With(n.ID)
			steps = append(steps, bftraft.ChangeStep{Kind: bftraft.Promote, Key: n.Key})
		}
	}
	size := quorumcert.ForNodes(voters.Len())
	if voters.Len() < 4 || (voters&w.bad()).Len() > size.F {
		return nil
	}
	return steps
}

// epoch is who votes from an entry on, by the committed log: a second reading (J1, J2).
type epoch struct {
	entry    bftraft.Index
	voters   quorumcert.Set
	incoming quorumcert.Set // of a joint one
	closes   bool           // its entry closes a joint one
	robbed   quorumcert.Set // whose key is in other hands, no more than f with those who are faulty
}

// quorumOf is the smallest number of n voters two sets of which share more than f.
func quorumOf(n int) int {
	f := 0
	for 3*(f+1)+1 <= n {
		f++
	}
	q := 0
	for 2*q < n+f+1 {
		q++
	}
	return q
}

func has(set, quorumOfIt quorumcert.Set) bool {
	return (set & quorumOfIt).Len() >= quorumOf(quorumOfIt.Len())
}

// before returns the epoch that judges an index: that of the last entry strictly before it (N5).
func (c *chart) before(i bftraft.Index) *epoch {
	k := len(c.epochs) - 1
	for k > 0 && c.epochs[k].entry >= i {
		k--
	}
	return &c.epochs[k]
}

// behind returns the epoch in force behind an index.
func (c *chart) behind(i bftraft.Index) *epoch { return c.before(i + 1) }

// most returns the largest f of any epoch so far.
func (c *chart) most() int {
	f := 0
	for i := range c.epochs {
		f = max(f, quorumcert.ForNodes(c.epochs[i].voters.Len()).F)
	}
	return f
}

// able says whether a set of honest signers and all the liars together can certify a position.
func (o *observer) able(at bftraft.Position, honest quorumcert.Set) bool {
	e := o.chart.before(at.Index)
	all := honest | o.lying | e.robbed
	if !has(all, e.voters) {
		return false
	}
	b := o.stored[at]
	return e.incoming == 0 || b == nil || !b.Closes() || has(all, e.incoming)
}

// ableAtAll says whether a set of honest nodes and all the liars are a quorum of any configuration.
func (o *observer) ableAtAll(honest quorumcert.Set) bool {
	for i := range o.chart.epochs {
		if e := &o.chart.epochs[i]; has(honest|o.lying|e.robbed, e.voters) {
			return true
		}
	}
	return false
}

// support is who voted for a candidate, and for which lock.
type support struct {
	voters quorumcert.Set
	lock   bftraft.Lock
}

// electable says whether the votes of honest nodes and of all the liars can elect (J3): those of
// the configuration behind the lock, or of both if that is a closing entry that its voters may not
// know to be committed.
func (o *observer) electable(s support) bool {
	at := positionOf(s.lock)
	before, behind := o.chart.before(at.Index), o.chart.behind(at.Index)
	all := s.voters | o.lying | before.robbed | behind.robbed
	if b := o.stored[at]; b != nil && b.Closes() && before.incoming != 0 {
		return behind.closes && behind.entry == at.Index && has(all, behind.voters) ||
			has(all, before.voters) && has(all, before.incoming)
	}
	return has(all, behind.voters)
}

// charted is a member in the chart: its id, and whether it votes.
type charted struct {
	id    bftraft.NodeID
	votes bool
}

// moves takes a step about a member, if it may be, and says which voters it leads to.
func (c *chart) moves(
	kind byte, key crypto.PublicKey, voters quorumcert.Set,
) (quorumcert.Set, bool) {
	n, there := c.nodes[key]
	switch {
	case kind == 7: // a learner joins
		if there || c.retired[key] {
			return voters, false
		}
		c.newest++
		c.nodes[key] = charted{id: c.newest}
	case kind == 8 && there && n.votes == voters.Has(n.id): // one leaves
		if n.votes {
			return voters.Without(n.id), true
		}
		delete(c.nodes, key)
		c.retired[key] = true
	case kind == 9 && there && !n.votes && !voters.Has(n.id): // a learner is to vote
		return voters.With(n.id), true
	default:
		return voters, false
	}
	return voters, true
}

// closes reads an entry that closes a joint configuration.
func (c *chart) closes() bool {
	last := c.epochs[len(c.epochs)-1]
	if last.incoming == 0 {
		return false
	}
	for key, n := range c.nodes {
		switch {
		case last.incoming.Has(n.id):
			c.nodes[key] = charted{n.id, true}
		case last.voters.Has(n.id):
			delete(c.nodes, key)
			c.retired[key] = true
		}
	}
	c.number++
	c.open = epoch{voters: last.incoming, closes: true}
	return true
}

// goodElsewhere says whether a frame that a node refuses passes the gate of some configuration that
// has been in force.
func (o *observer) goodElsewhere(
	m *member, from bftraft.NodeID, frame []byte, d bftraft.Drop,
) bool {
	if o.w.opt.Moves == 0 {
		return false
	}
	if d == bftraft.UnknownSender {
		return true
	}
	msg, _ := bftraft.DecodeMessage(frame)
	if d == bftraft.BadCertificate && msg != nil && o.convinces(msg) {
		return true
	}
	return slices.ContainsFunc(o.w.gates, func(g *bftraft.Verifier) bool {
		_, drop := g.Verify(from, frame)
		return drop == bftraft.Accepted
	})
}

// lastSteps takes notice of what a node has committed before it stops.
func (o *observer) lastSteps(m *member) {
	for _, b := range m.committed {
		if !m.liar {
			o.commits(m, b)
		}
	}
}
