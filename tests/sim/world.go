package sim

import (
	"encoding/binary"
	"fmt"
	"runtime/debug"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
	"tangaroa/tests/fake"
)

// tickMillis is how long a tick of a node lasts in virtual time.
const tickMillis = 10

// World is one simulated cluster with its clients, network, faults and observer.
type World struct {
	opt      Options
	plan     []Fault
	genesis  *bftraft.Genesis
	cluster  crypto.Digest
	verifier *bftraft.Verifier   // behind the newest change that anybody honest has committed
	gates    []*bftraft.Verifier // all of these, that of the genesis first
	admins   []clientKey
	nodes    []*member // nodes[i] has id i+1
	clients  []*client
	rogues   []*rogue
	heir     *heir // nil: nobody has the keys of those who left
	watch    *observer
	scheme   crypto.Scheme

	now    int // milliseconds
	events eventHeap
	order  uint64
	net    *network
	calm   bool
	again  bool // all nodes have been restarted at the end
	over   int  // when to end, once all is at rest; 0 before
	armed  []Fault
	trace  uint64 // rolling hash of all that happened
	// Log, if set, is told of each event: for reading one seed.
	Log func(format string, args ...any)
}

// Violation is a broken invariant: its id, when, and what was seen.
type Violation struct {
	Invariant string
	At        int // milliseconds of virtual time
	Detail    string
}

// Error implements error.
func (v *Violation) Error() string {
	return fmt.Sprintf("%s broken at %d ms: %s", v.Invariant, v.At, v.Detail)
}

func (w *World) at(delay int, e event) {
	w.order++
	e.at, e.order = w.now+delay, w.order
	w.events.push(e)
}

// NewWorld builds the cluster of o with the faults that its seed draws, all nodes up.
func NewWorld(o Options) *World { return NewWorldOf(o, Plan(o)) }

// NewWorldOf builds the cluster of o with the given faults, all nodes up.
func NewWorldOf(o Options, plan []Fault) *World {
	w := &World{opt: o, plan: plan, net: newNetwork(o)}
	w.makeGenesis()
	w.watch = newObserver(w)
	w.net.watch = w.watch
	for i, m := range w.nodes {
		m.disk = store.NewMemory(w.identity(m))
		m.first = m.disk.Image()
		if len(o.Drift) > i && o.Drift[i] != 0 {
			m.drift = o.Drift[i]
			w.watch.hit(proDrift)
		}
		if !m.absent {
			w.boot(m)
		}
	}
	if o.SlowDisk > 0 {
		w.nodes[int(o.Seed%uint64(o.Nodes))].flushTime = o.SlowDisk
	}
	if o.Heir > 0 {
		w.heir = newHeir(w)
		w.later(o.Heir, w.heir.tick)
	}
	w.schedule()
	return w
}

func (w *World) identity(m *member) store.Identity {
	return store.Identity{Cluster: w.cluster, Node: m.id, Key: m.signer.Public()}
}

// keyOf makes the k-th key of the seed: nodes from 0, clients from 1000, rogues from 2000.
func (w *World) keyOf(k uint64) clientKey {
	if w.opt.RealKeys {
		return realKey(w.opt.Seed, k)
	}
	return w.scheme.(*fake.Scheme).Key(w.opt.Seed, k)
}

// makeGenesis makes the keys of all, nodes and clients without processes, and who they trust.
func (w *World) makeGenesis() {
	o := w.opt
	w.scheme = fake.NewScheme()
	if o.RealKeys {
		w.scheme = crypto.ZIP215()
	}
	g := &bftraft.Genesis{Name: "sim", Testnet: true}
	g.Nonce = crypto.Hash(crypto.DomainMessage, []byte(fmt.Sprint(o.Seed)))
	for i := range o.Nodes + o.Spare {
		m := &member{id: bftraft.NodeID(i + 1), absent: i >= o.Nodes}
		m.signer = nodeSigner{w.keyOf(uint64(i)), m.id}
		w.nodes = append(w.nodes, m)
		if m.absent {
			continue
		}
		g.Voters = append(g.Voters, quorumcert.Voter{ID: m.id, Key: m.signer.Public()})
	}
	for _, l := range o.Liars {
		m := w.nodes[l.Node-1]
		m.liar, m.attacks = true, l.Attacks
	}
	enrol := func(name string, key clientKey) {
		g.Clients = append(g.Clients, bftraft.Enrolled{Name: name, Key: key.Public()})
	}
	for i := range o.Clients + o.Late {
		w.clients = append(w.clients, newClient(w, i, w.keyOf(uint64(1000+i))))
		if i < o.Clients {
			enrol(fmt.Sprintf("client%d", i+1), w.clients[i].key)
		}
	}
	for i := range min(o.Changes+o.Moves, 1) * administrators {
		w.admins = append(w.admins, w.keyOf(uint64(4000+i)))
		g.AdminQuorum = adminQuorum
		g.Admins = append(g.Admins, bftraft.Enrolled{
			Name: fmt.Sprint("admin", i), Key: w.admins[i].Public(),
		})
	}
	for i, name := range o.Rogues {
		w.rogues = append(w.rogues, newRogue(w, i, name, w.keyOf(uint64(2000+i))))
		enrol(fmt.Sprintf("rogue%d", i+1), w.rogues[i].key)
	}
	v, err := bftraft.NewVerifier(w.scheme, g)
	if err != nil {
		panic(err)
	}
	w.genesis, w.cluster, w.verifier, w.gates = g, g.Hash(), v, []*bftraft.Verifier{v}
	for _, c := range w.clients {
		c.listen()
	}
}

// Run lets the world go on until it ends or an invariant is broken, which it returns as a
// *Violation. A failed assertion of a node about itself is a broken invariant too: "assert".
func (w *World) Run() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Violation{"assert", w.now, fmt.Sprintf("%v\n%s", p, debug.Stack())}
		}
	}()
	end := w.opt.Chaos + w.opt.Calm
	for len(w.events) > 0 && w.watch.err == nil {
		e := w.events.pop()
		if e.at > end || w.atRest() && w.finish(e.at, &end) {
			break
		}
		w.now = e.at
		w.note(&e)
		w.handle(&e)
	}
	if w.watch.err == nil {
		w.watch.atEnd()
	}
	if w.watch.err != nil {
		return w.watch.err
	}
	return nil
}

// atRest says whether everything asked for after the healing is done.
func (w *World) atRest() bool { return w.calm && (w.over > 0 || w.watch.settled()) }

// finish is what becomes of a world that has come to rest: it may be watched for a while, and all
// its nodes may be restarted to see whether they come back to where they were. It returns whether
// the world ends before the given moment.
func (w *World) finish(at int, end *int) bool {
	switch {
	case w.over == 0 && w.opt.Settled > 0:
		w.over = w.now + w.opt.Settled
		*end = w.over + 2*w.opt.Calm
		w.watch.restsFrom()
		return false
	case w.over > 0 && at < w.over:
		return false
	case w.over > 0:
		w.watch.restedUntil()
		w.over, w.opt.Settled = 0, 0
		return w.finish(at, end)
	case w.opt.Again && !w.again:
		w.again = true
		*end = w.now + w.watch.recovery()
		w.restartAll()
		return false
	}
	return true
}

// note makes the event part of the trace: two runs of a seed must have the same.
func (w *World) note(e *event) {
	h := mix(w.trace ^ uint64(e.at)<<20 ^ uint64(e.kind)<<16 ^ uint64(e.node)<<8 ^ uint64(e.from))
	w.trace = mix(h ^ e.hash)
}

func (w *World) handle(e *event) {
	switch e.kind {
	case eventFault:
		e.do()
		return
	case eventClientTick:
		w.clients[e.node].tick()
		return
	case eventRogueTick:
		w.rogues[e.node].tick()
		return
	case eventToClient:
		if e.node < len(w.clients) {
			w.clients[e.node].receive(w.nodes[e.from].id, e.frame)
		}
		return
	case eventFrame:
		if e.at < w.net.dark {
			w.watch.hit(netPhase)
			return
		}
		w.net.arrived(e.from, e.node, e.sent)
		if w.heir != nil {
			w.heir.asked(e)
		}
	}
	w.nodes[e.node].take(w, e)
}

// transmit puts a frame on the link between two nodes.
func (w *World) transmit(from, to int, frame []byte, wait int) {
	if len(frame) == 0 {
		return
	}
	hash := digest(frame)
	w.carry(from, to, frame, hash, wait)
	if other := w.net.also[to]; other > 0 && other-1 != from {
		w.watch.hit(netRoute)
		w.carry(from, other-1, frame, hash, wait)
	}
}

func (w *World) carry(from, to int, frame []byte, hash uint64, wait int) {
	for _, delay := range w.net.fate(w.now, from, to, hash, len(frame), w.calm) {
		w.at(wait+delay, event{
			kind: eventFrame, node: to, from: from, sent: w.now + wait, hash: hash, frame: frame,
		})
	}
}

// fromEnd puts a client's frame on its link to a node.
func (w *World) fromEnd(end, client, node int, frame []byte) {
	hash := digest(frame)
	for _, delay := range w.net.fate(w.now, end, node, hash, len(frame), w.calm) {
		w.at(delay, event{
			kind: eventFromClient, node: node, from: client, hash: hash, frame: frame,
		})
	}
}

// toClient puts a node's frame on its link to a client.
func (w *World) toClient(m *member, client int, frame []byte, wait int) {
	hash, from := digest(frame), int(m.id)-1
	for _, delay := range w.net.fate(w.now, from, endOfClient(client), hash, len(frame), w.calm) {
		w.at(wait+delay,
			event{kind: eventToClient, node: client, from: from, hash: hash, frame: frame})
	}
}

// nonce makes a client's k-th nonce.
func nonce(client, k int) crypto.Digest {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(client))
	binary.BigEndian.PutUint64(b[8:], uint64(k))
	return crypto.Hash(crypto.DomainRead, b[:])
}
