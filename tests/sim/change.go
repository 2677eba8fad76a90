package sim

import (
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// administrators and adminQuorum are how many sign for changes, and how many must.
const (
	administrators = 3
	adminQuorum    = 2
)

// drawChanges decides how often clients come, go and change their roles, and how many of those who
// are there are not enrolled in the beginning.
func (o *Options) drawChanges(r *stream) {
	o.Changes, o.Late = r.between(200, 3000), r.between(1, 3)
}

// learn takes notice of the changes that a node knows to be committed.
func (w *World) learn(v *bftraft.Verifier) {
	known := len(w.gates) - 1
	for _, p := range v.Changes()[min(known, len(v.Changes())):] {
		next, err := w.verifier.After(p)
		if err != nil {
			w.watch.fail("B11", "a change is committed that does not follow: %v", err)
			return
		}
		w.verifier, w.gates = next, append(w.gates, next)
		w.watch.hit(seenChange)
		w.enter()
		if w.calm { // it was under way when the chaos ended
			w.later(5000, w.tellAll)
		}
		for _, c := range w.clients {
			c.follows()
		}
	}
}

// gateBefore returns the gate that judges a block.
func (w *World) gateBefore(b *bftraft.Block) *bftraft.Verifier {
	k := len(w.gates) - 1
	for w.gates[k].Members().At.Index >= b.First() && k > 0 {
		k--
	}
	return w.gates[k]
}

// mayWrite says whether a client's requests are ordered, as far as the world knows.
func (c *client) mayWrite() bool { return c.w.verifier.MayWrite(c.key.Public()) }

// enrolled says whether a client's questions are answered, as far as the world knows.
func (c *client) enrolled() bool { return c.w.verifier.IsClient(c.key.Public()) }

// follows gives up what a client that may not write any more was waiting for. Should it write again
// it begins anew: what it waited for may have been executed.
func (c *client) follows() {
	if !c.enrolled() {
		c.read = nil
	}
	if c.mayWrite() || c.sequence == 0 {
		return
	}
	if len(c.writes) > 0 {
		c.w.watch.hit(seenRevoked)
	}
	c.writes, c.sequence = nil, 0
	c.session++
}

// Configurations implements judge.Known: what the client has been shown.
func (c *client) Configurations() *quorumcert.Configurations {
	return c.gate.Configurations()
}

// ChangesUpTo implements judge.Known.
func (c *client) ChangesUpTo(i bftraft.Index) []*bftraft.ChangeProof {
	return c.gate.ChangesUpTo(i)
}

// hears asks a node for changes that its answer shows it to know.
func (c *client) hears(from bftraft.NodeID, configuration bftraft.Index) {
	if configuration > c.gate.Members().At.Index {
		c.send(int(from)-1, bftraft.ChangesRequest(c.gate.Members().Number))
	}
}

// learns takes in changes that prove themselves.
func (c *client) learns(frame []byte) {
	list, err := bftraft.DecodeChanges(frame)
	if err != nil {
		return
	}
	if next, err := c.gate.Following(list); err == nil {
		c.gate = next
	}
}

// tickChanges has the first client carry a change now and then. Some are made for what was in force
// before, and some lack a signature: they are executed and change nothing.
func (c *client) tickChanges() {
	every := c.w.opt.Changes
	if c.index != 0 || every == 0 || c.w.calm || len(c.writes) >= 4 ||
		!c.random.chance(1000*clientTickMillis/every) {
		return
	}
	base := c.w.verifier
	if n := len(c.w.gates); n > 1 && c.random.chance(150) {
		base = c.w.gates[c.random.below(n-1)]
	}
	m := base.Members()
	ch := &bftraft.Change{Number: m.Number + 1, Replaces: m.At}
	for range c.random.between(1, 2) {
		ch.Steps = append(ch.Steps, c.someStep(m))
	}
	for k := range adminQuorum {
		if k == 0 || !c.random.chance(100) {
			ch.Endorse(c.w.cluster, c.w.admins[(int(ch.Number)+k)%administrators])
		}
	}
	c.sendWrite(c.newRequest([][]byte{ch.Op()}), false)
}

// someStep draws a step about a client other than the first: now and then one that cannot be taken.
func (c *client) someStep(m *bftraft.Membership) bftraft.ChangeStep {
	if len(c.w.clients) < 2 || c.random.chance(100) {
		k := c.w.keyOf(uint64(3000 + c.random.below(8))).Public()
		return bftraft.ChangeStep{Kind: bftraft.AddClient, Key: k, Name: fmt.Sprint("x", k),
			Role: bftraft.RoleRead}
	}
	other := c.w.clients[1+c.random.below(len(c.w.clients)-1)]
	key, role := other.key.Public(), bftraft.Role(c.random.between(1, 3))
	_, there := m.Client(key)
	switch {
	case !there:
		return bftraft.ChangeStep{Kind: bftraft.AddClient, Key: key, Role: role,
			Name: fmt.Sprint("late", other.index)}
	case c.random.chance(300):
		return bftraft.ChangeStep{Kind: bftraft.RemoveClient, Key: key}
	}
	return bftraft.ChangeStep{Kind: bftraft.SetRole, Key: key, Role: role}
}

// tickStray has a client that may not write try to, under sessions of which it expects nothing.
func (c *client) tickStray() {
	if c.w.calm || !c.random.chance(50) {
		return
	}
	c.strays++
	req := bftraft.SignRequest(c.w.cluster, c.key, 1<<40+c.strays, 1, c.someOps(1))
	c.send(c.random.below(len(c.w.nodes)), bftraft.RequestFrame(req.Raw()))
}

// chart is who may do what by the committed log, written from the protocol's text and sharing no
// code with what the nodes go by (J1, J2, J5, J6).
type chart struct {
	at      bftraft.Index // up to where the log has been read
	number  uint64
	place   bftraft.Position // the end of the newest change's block
	epochs  []epoch          // of each change, the genesis first
	open    epoch            // what the change that was read last leads to
	newest  bftraft.NodeID   // the id that was given last
	nodes   map[crypto.PublicKey]charted
	roles   map[crypto.PublicKey]byte
	retired map[crypto.PublicKey]bool
	admins  map[crypto.PublicKey]crypto.Verifier
}

func newChart(w *World) *chart {
	c := &chart{
		place: bftraft.Position{Hash: w.cluster}, roles: make(map[crypto.PublicKey]byte),
		nodes:   make(map[crypto.PublicKey]charted),
		retired: make(map[crypto.PublicKey]bool), admins: make(map[crypto.PublicKey]crypto.Verifier),
	}
	first := epoch{}
	for _, v := range w.genesis.Voters {
		first.voters = first.voters.With(v.ID)
		c.nodes[v.Key] = charted{v.ID, true}
		c.newest = v.ID
	}
	c.epochs = []epoch{first}
	for _, e := range w.genesis.Clients {
		c.roles[e.Key] = 3
	}
	for _, k := range w.admins {
		v, err := w.scheme.Expand(k.Public())
		if err != nil {
			panic(err)
		}
		c.admins[k.Public()] = v
	}
	return c
}

// configurationOf returns the entry of the change strictly before an index (N5), 0 for the genesis.
func (c *chart) configurationOf(i bftraft.Index) bftraft.Index { return c.before(i).entry }

// charts is B11: it reads what has been committed, and holds it to the rules of changes.
func (o *observer) charts() {
	for c := o.chart; c.at < o.highest; {
		b := o.next(c.at)
		if b == nil || b.First() != c.at+1 {
			return
		}
		entries := b.Entries()
		behind := c.place.Index > 0 && b.First() == c.place.Index+1
		for i, e := range entries {
			last := i == len(entries)-1
			why := ""
			switch {
			case (e.Kind == bftraft.EntryCommit) != (behind && i == 0):
				why = "a proof of a change stands where it does not belong, or lacks where it does"
			case e.Kind == bftraft.EntryCommit && !c.committed(e.Data):
				why = "a proof of a change by too few of its voters"
			case e.Kind == bftraft.EntryRequest && c.roles[carrierOf(e.Data)] < 2:
				why = "a request of a client that may not write"
			case e.Kind == bftraft.EntryConfiguration && (!last || !c.takes(o.w, e.Data)):
				why = "a change that may not come into force"
			case e.Kind == bftraft.EntryClosing && (!last || len(e.Data) > 0 || !c.closes()):
				why = "an entry that closes what is not open"
			}
			if why != "" {
				o.fail("B11", "entry %d is committed: %s", b.First()+bftraft.Index(i), why)
				return
			}
		}
		if b.EndsChange() {
			c.place, c.open.entry = b.End(), b.Last()
			c.epochs = append(c.epochs, c.open)
			o.sees(&c.open)
		}
		c.at = b.Last()
	}
}

// committed says whether a proof of the newest change holds a quorum of those who voted before it,
// and, where it closed a joint configuration, one of those who vote behind it.
func (c *chart) committed(data []byte) bool {
	cc, s := &quorumcert.Commit{}, cryptobyte.String(data)
	if !quorumcert.ReadCommit(&s, cc) {
		return false
	}
	last := len(c.epochs) - 1
	before, now := &c.epochs[last-1], &c.epochs[last]
	return has(cc.Signers, before.voters) && (!now.closes || has(cc.Signers, now.voters))
}

// sees notes what kind of configuration has come into force.
func (o *observer) sees(e *epoch) {
	before := &o.chart.epochs[len(o.chart.epochs)-2]
	if e.voters&^before.voters&o.lying != 0 {
		o.hit(seenLiarVotes)
	}
	switch {
	case e.incoming != 0:
		o.hit(seenJoint)
	case e.closes:
		o.hit(seenClosed)
		if e.voters&before.voters == 0 {
			o.hit(seenBlueGreen)
		}
	case before.incoming != 0:
		o.hit(seenRolledBack)
	}
}

// carrierOf returns the key that stands first in a request.
func carrierOf(raw []byte) (k crypto.PublicKey) {
	copy(k[:], raw)
	return k
}

// takes reads a change from the bytes of its request and takes its steps, if it may.
func (c *chart) takes(w *World, raw []byte) bool {
	const mark = "tangaroa change 1\x00"
	head := len(crypto.PublicKey{}) + 8 + 8 + 2 + 4
	if len(raw) < head+len(mark)+50 || c.roles[carrierOf(raw)] != 3 {
		return false
	}
	body := raw[head+len(mark):]
	number := be(body[:8])
	var hash crypto.Digest
	copy(hash[:], body[16:48])
	if number != c.number+1 || be(body[8:16]) != uint64(c.place.Index) || hash != c.place.Hash {
		return false
	}
	now := *c
	now.roles, now.retired, now.nodes = clone(c.roles), clone(c.retired), clone(c.nodes)
	now.number = number
	at, ok := now.takesSteps(body)
	if !ok {
		return false
	}
	signed := crypto.Hash(crypto.DomainChange, w.cluster[:], body[:at])
	endorsers := c.signers(body, &at, crypto.DomainChange, signed, func(k crypto.PublicKey) (
		crypto.Verifier, bool) {
		v, ok := c.admins[k]
		return v, ok
	})
	ready := c.signers(body, &at, crypto.DomainReadyToVote, signed, func(k crypto.PublicKey) (
		crypto.Verifier, bool) {
		v, err := w.scheme.Expand(k)
		n, there := now.nodes[k]
		return v, err == nil && there && now.open.incoming.Has(n.id)
	})
	if n := now.open.incoming.Len(); n > 0 && len(ready) < quorumOf(n) ||
		len(endorsers) < adminQuorum || at != len(body)-64 {
		return false
	}
	*c = now
	return true
}

// takesSteps takes the steps of a change and returns where they end.
func (c *chart) takesSteps(body []byte) (at int, ok bool) {
	at = 50
	last := c.epochs[len(c.epochs)-1]
	steps, voters := be(body[48:50]), last.voters
	rollBack := body[at] == 11
	if rollBack != (last.incoming != 0) || rollBack && steps > 1 {
		return 0, false
	}
	for range steps {
		kind, name := body[at], int(body[at+1])
		var key crypto.PublicKey
		copy(key[:], body[at+2+name:])
		role := body[at+2+name+32]
		at += 2 + name + 32 + 3
		_, there := c.roles[key]
		switch {
		case kind >= 7:
			if voters, ok = c.moves(kind, key, voters); !ok && !rollBack {
				return 0, false
			}
		case (kind == 1) == there || kind == 1 && c.retired[key]:
			return 0, false
		case kind == 2:
			delete(c.roles, key)
			c.retired[key] = true
		default:
			c.roles[key] = role
		}
	}
	c.open = epoch{voters: last.voters}
	if voters != last.voters {
		c.open.incoming = voters
	}
	return at, true
}

// signers reads a list of signatures of one text, and returns who signed: nobody, if one is not
// that of somebody who may.
func (c *chart) signers(
	body []byte, at *int, d crypto.Domain, text crypto.Digest,
	keyOf func(crypto.PublicKey) (crypto.Verifier, bool),
) map[crypto.PublicKey]bool {
	signers := make(map[crypto.PublicKey]bool)
	n := int(body[*at])
	*at++
	for range n {
		one := body[*at:]
		*at += 96
		key := carrierOf(one)
		v, ok := keyOf(key)
		if !ok || !v.Verify(d, text[:], crypto.Signature(one[32:96])) {
			return nil
		}
		signers[key] = true
	}
	return signers
}

func be(b []byte) (n uint64) {
	for _, x := range b {
		n = n<<8 | uint64(x)
	}
	return n
}

func clone[V any](m map[crypto.PublicKey]V) map[crypto.PublicKey]V {
	c := make(map[crypto.PublicKey]V, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// goesBy is B11 of a node at rest: it knows all changes, and who may do what by them.
func (o *observer) goesBy(m *member) {
	members := m.proc.Verifier().Members()
	same := members.Number == o.chart.number && members.At == o.chart.place &&
		len(members.Clients) == len(o.chart.roles) && slices.IsSortedFunc(members.Clients,
		func(a, b bftraft.Client) int { return slices.Compare(a.Key[:], b.Key[:]) })
	for _, c := range members.Clients {
		same = same && o.chart.roles[c.Key] == byte(c.Role)
	}
	now := o.chart.epochs[len(o.chart.epochs)-1]
	same = same && setOf(members.Voters) == now.voters && setOf(members.Incoming) == now.incoming &&
		len(members.Nodes) == len(o.chart.nodes)
	for _, n := range members.Nodes {
		same = same && o.chart.nodes[n.Key].id == n.ID
	}
	if !same {
		o.fail("B11", "node %d goes by change %d at %d, and the log by %d at %d", m.id,
			members.Number, members.At.Index, o.chart.number, o.chart.place.Index)
	}
}

func setOf(voters []quorumcert.Voter) (set quorumcert.Set) {
	for _, v := range voters {
		set = set.With(v.ID)
	}
	return set
}
