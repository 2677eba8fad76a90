package sim

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"runtime/debug"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/bftraft/replica"
	"tangaroa/bftraft/store"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// tickMillis is how long a tick of a node lasts in virtual time.
const tickMillis = 10

// World is one simulated cluster with its clients, network, faults and observer.
type World struct {
	opt      Options
	genesis  *bftraft.Genesis
	cluster  crypto.Digest
	verifier *bftraft.Verifier
	nodes    []*member // nodes[i] has id i+1
	clients  []*client
	watch    *observer
	scheme   crypto.Scheme

	now    int // milliseconds
	events eventHeap
	order  uint64
	net    *network
	faults *stream
	calm   bool
	trace  uint64 // rolling hash of all that happened
	// Log, if set, is told of each event: for reading one seed.
	Log func(format string, args ...any)
}

// member is one node: its disk outlives its process.
type member struct {
	id      bftraft.NodeID
	signer  crypto.Signer
	disk    *store.Memory
	proc    *replica.Replica // nil while it is down
	machine *kv.Machine
	liar    bool
	boots   int
	stalled bool
	backlog []event           // what came while it stood still
	saved   bftraft.HardState // an honest node's newest, and what a crash leaves of it
	durable bftraft.HardState
	images  []store.Image // an amnesiac's earlier disks
	blocked bool          // it must not sign: only a liar's disk may come to that
}

type eventKind uint8

const (
	eventTick eventKind = iota
	eventFrame
	eventToClient
	eventFromClient
	eventClientTick
	eventFault
)

type event struct {
	at    int
	order uint64
	kind  eventKind
	node  int // index of the node, or of the client for client events
	from  int // index of the sender
	boot  int // ticks belong to a boot
	frame []byte
	do    func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *eventHeap) Push(x any) { *h = append(*h, x.(event)) }

// Pop implements heap.Interface.
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return e
}

func (w *World) at(delay int, e event) {
	w.order++
	e.at, e.order = w.now+delay, w.order
	heap.Push(&w.events, e)
}

// NewWorld builds the cluster of o, all nodes up.
func NewWorld(o Options) *World {
	w := &World{opt: o, net: newNetwork(o), faults: newStream(o.Seed, "faults")}
	fake := newFakeScheme()
	w.scheme = fake
	if o.RealKeys {
		w.scheme = crypto.ZIP215()
	}
	g := &bftraft.Genesis{Name: "sim", Testnet: true}
	g.Nonce = crypto.Hash(crypto.DomainMessage, []byte(fmt.Sprint(o.Seed)))
	for i := range o.Nodes {
		m := &member{id: bftraft.NodeID(i + 1)}
		m.signer = fakeSigner{m.id, fake.key(o.Seed, uint64(i))}
		if o.RealKeys {
			m.signer = crypto.NewSigner(m.id, realKey(o.Seed, uint64(i)))
		}
		w.nodes = append(w.nodes, m)
		g.Voters = append(g.Voters, quorumcert.Voter{ID: m.id, Key: m.signer.Public()})
	}
	for i := range o.Clients {
		var key bftraft.RequestSigner = fake.key(o.Seed, uint64(1000+i))
		if o.RealKeys {
			key = realKey(o.Seed, uint64(1000+i))
		}
		w.clients = append(w.clients, newClient(w, i, key))
		g.Clients = append(g.Clients, bftraft.Enrolled{
			Name: fmt.Sprintf("client%d", i+1), Key: key.Public(),
		})
	}
	v, err := bftraft.NewVerifier(w.scheme, g)
	if err != nil {
		panic(err)
	}
	w.genesis, w.cluster, w.verifier = g, g.Hash(), v
	if o.Liar != "" {
		w.nodes[newStream(o.Seed, "liar").below(o.Nodes)].liar = true
	}
	w.watch = newObserver(w)
	for _, m := range w.nodes {
		m.disk = store.NewMemory(store.Identity{
			Cluster: w.cluster, Node: m.id, Key: m.signer.Public(),
		})
		w.boot(m)
	}
	w.schedule()
	return w
}

// boot starts a node's process on its disk.
func (w *World) boot(m *member) {
	m.machine = kv.New()
	m.boots++
	core := bftraft.DefaultConfig()
	core.Cluster, core.Signer = w.cluster, m.signer
	core.Configurations = w.verifier.Configurations()
	core.Seed = w.opt.Seed
	cfg := replica.Config{
		Core: core, Storage: w.diskOf(m), Transport: &port{w, m}, Machine: m.machine,
		Wrap: func(p replica.Protocol) replica.Protocol {
			if m.liar {
				return newLiar(w, m, p)
			}
			return &watched{Protocol: p, w: w, m: m}
		},
	}
	if !m.liar {
		w.watch.restarts(m)
	}
	proc, err := replica.New(cfg)
	if err != nil {
		if !m.liar {
			w.watch.fail("D2", "node %d does not start again: %v", m.id, err)
		}
		m.blocked = true
		return
	}
	m.proc = proc
	w.at(w.faults.between(1, tickMillis), event{
		kind: eventTick, node: int(m.id) - 1, boot: m.boots,
	})
}

// diskOf returns the disk as the node gets it.
func (w *World) diskOf(m *member) replica.Storage {
	if m.liar {
		return m.disk
	}
	if r, err := m.disk.Load(); err == nil {
		m.saved, m.durable = r.HardState, r.HardState
	}
	return &watchedDisk{m.disk, w, m}
}

// crash ends a node's process; of what was not synced a part may be there afterwards.
func (w *World) crash(m *member) {
	m.disk = m.disk.Crash(w.faults.below(m.disk.Unsynced() + 1))
	if m.liar && w.opt.Liar == "amnesiac" {
		w.forget(m)
	}
	m.proc, m.stalled, m.backlog = nil, false, nil
}

// forget puts an amnesiac's disk back to what it was at some earlier crash, guard and all: nothing
// on the node itself can show it.
func (w *World) forget(m *member) {
	m.images = append(m.images, m.disk.Image())
	if k := w.faults.below(len(m.images)); w.faults.chance(700) {
		m.disk = m.disk.Restore(m.images[k], true)
		w.watch.count("amnesia")
	}
}

// port is a node's socket.
type port struct {
	w *World
	m *member
}

// Send implements replica.Transport.
func (p *port) Send(to bftraft.NodeID, _ bftraft.Class, frame []byte) {
	if !p.m.liar {
		p.w.watch.leaves(p.m, frame)
	}
	p.w.transmit(int(p.m.id)-1, int(to)-1, frame)
}

// Reply implements replica.Transport.
func (p *port) Reply(to replica.ClientID, frame []byte) {
	for i, c := range p.w.clients {
		if c.key.Public() == to.Key {
			p.w.at(p.w.net.delay(int(p.m.id)-1, 100+i),
				event{kind: eventToClient, node: i, from: int(p.m.id) - 1, frame: frame})
		}
	}
}

func (w *World) transmit(from, to int, frame []byte) {
	for _, delay := range w.net.fate(from, to, w.calm) {
		w.at(delay, event{kind: eventFrame, node: to, from: from, frame: frame})
	}
}

// Run lets the world go on until it ends or an invariant is broken, which it returns. A failed
// assertion of a node about itself is a broken invariant too.
func (w *World) Run() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("assertion failed at %d ms: %v\n%s", w.now, p, debug.Stack())
		}
	}()
	end := w.opt.Chaos + w.opt.Calm
	for len(w.events) > 0 && w.watch.err == nil {
		e := heap.Pop(&w.events).(event)
		if e.at > end || w.done() {
			break
		}
		w.now = e.at
		w.note(e)
		if e.kind == eventFrame && e.at < w.net.dark {
			continue
		}
		w.handle(e)
	}
	if w.watch.err == nil {
		w.watch.atEnd()
	}
	return w.watch.err
}

// note makes the event part of the trace: two runs of a seed must have the same.
func (w *World) note(e event) {
	h := mix(w.trace ^ uint64(e.at)<<20 ^ uint64(e.kind)<<16 ^ uint64(e.node)<<8 ^ uint64(e.from))
	for i := 0; i+8 <= len(e.frame); i += 8 {
		h = (h ^ binary.BigEndian.Uint64(e.frame[i:])) * 0x100000001b3
	}
	w.trace = mix(h ^ uint64(len(e.frame)))
}

// done ends the calm early once everything has come to rest.
func (w *World) done() bool { return w.calm && w.watch.settled() }

func (w *World) handle(e event) {
	switch e.kind {
	case eventFault:
		e.do()
		return
	case eventClientTick:
		w.clients[e.node].tick()
		return
	case eventToClient:
		w.clients[e.node].receive(w.nodes[e.from].id, e.frame)
		return
	}
	m := w.nodes[e.node]
	if m.proc == nil || e.kind == eventTick && e.boot != m.boots {
		return
	}
	if m.stalled {
		m.backlog = append(m.backlog, e)
		return
	}
	w.handleNode(m, e)
}

func (w *World) handleNode(m *member, e event) {
	switch e.kind {
	case eventTick:
		m.proc.Tick()
		w.at(tickMillis, event{kind: eventTick, node: e.node, boot: e.boot})
	case eventFrame:
		w.deliver(m, w.nodes[e.from].id, e.frame)
	case eventFromClient:
		w.fromClient(m, e)
	}
	w.flush(m)
}

func (w *World) flush(m *member) {
	if err := m.proc.Flush(); err != nil && !m.liar {
		w.watch.fail("A5", "node %d stopped: %v", m.id, err)
	}
	w.watch.looksAt(m)
}

func (w *World) deliver(m *member, from bftraft.NodeID, frame []byte) {
	switch frame[0] {
	case bftraft.FrameRequest:
		if req, err := w.verifier.VerifyRequest(frame[1:]); err == nil {
			m.proc.Request(replica.ClientID{Key: req.Client}, from, req)
		}
	case bftraft.FrameReply:
		if reply, drop := w.verifier.VerifyReply(from, frame); drop == bftraft.Accepted {
			m.proc.StepReply(from, reply)
		}
	default:
		v, drop := w.verifier.Verify(from, frame)
		if drop == bftraft.Accepted {
			drop = m.proc.Step(v)
		}
		w.watch.dropped(m, from, drop)
		if w.Log != nil {
			w.logFrame(m, from, frame, drop)
		}
	}
}

func (w *World) fromClient(m *member, e event) {
	key := w.clients[e.from].key.Public()
	switch e.frame[0] {
	case bftraft.FrameRequest:
		if req, err := w.verifier.VerifyRequest(e.frame[1:]); err == nil {
			m.proc.Request(replica.ClientID{Key: key, Conn: 1}, 0, req)
		}
	case bftraft.FrameRead:
		if read, err := bftraft.DecodeReadRequest(e.frame); err == nil {
			m.proc.Read(replica.ClientID{Key: key, Conn: 1}, read)
		}
	}
}

func (w *World) logFrame(m *member, from bftraft.NodeID, frame []byte, drop bftraft.Drop) {
	msg, d := bftraft.DecodeMessage(frame)
	if d != bftraft.Accepted {
		return
	}
	name := bftraft.MessageName(msg)
	if name == "Status" && drop == bftraft.Accepted {
		return
	}
	w.Log("%6d  %d->%d %s %s", w.now, from, m.id, describe(msg), drop)
}

// describe renders a message for the log of one seed.
func describe(m bftraft.Message) string {
	switch m := m.(type) {
	case *bftraft.AppendEntries:
		return fmt.Sprintf("Append t=%d end=%d/%s c=%d blocks=%d ec=%v", m.Ack.Term, m.Ack.Index,
			m.Ack.Hash.Short(), m.Ack.Certified, len(m.Blocks), m.Election != nil)
	case *bftraft.AppendEntriesResponse:
		return fmt.Sprintf("Ack t=%d %d/%s c=%d", m.Ack.Term, m.Ack.Index, m.Ack.Hash.Short(),
			m.Ack.Certified)
	case *bftraft.RequestVote:
		return fmt.Sprintf("RequestVote t=%d lock=%d,%d", m.Term, m.Lock.Term, m.Lock.Index)
	case *bftraft.RequestVoteResponse:
		return fmt.Sprintf("Vote t=%d for %d lock=%d,%d", m.Vote.Term, m.Vote.Candidate,
			m.Vote.Lock.Term, m.Vote.Lock.Index)
	case *bftraft.Suspect:
		return fmt.Sprintf("Suspect t=%d", m.Term)
	case *bftraft.Status:
		return fmt.Sprintf("Status t=%d leader=%d tip=%d lock=%d,%d commit=%d", m.Term, m.Leader,
			m.Tip.Index, m.Lock.Term, m.Lock.Index, m.Commit.Index)
	}
	return bftraft.MessageName(m)
}
