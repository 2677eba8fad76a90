package sim

import (
	"errors"
	"fmt"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/bftraft/replica"
	"tangaroa/bftraft/store"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// limits of what replicas hold of a client are a quarter of those of clusters, or runs would end
// before anybody comes to them.
var limits = replica.Limits{
	Results: replica.MaxResults / 4, Outstanding: replica.MaxOutstanding / 4,
	Window: replica.Window / 4,
}

// member is one node: its disk outlives its process.
type member struct {
	id      bftraft.NodeID
	signer  crypto.Signer
	disk    *store.Memory
	proc    *replica.Replica // nil while it is down
	gate    *bftraft.Verifier
	core    *bftraft.Core // inside proc, of an honest node
	machine *kv.Machine
	boots   int
	booted  int // when its process was started
	dead    bool
	absent  bool // it has not joined yet,
	gone    bool // or has left
	robbed  bool // it was taken out, and its key is in other hands
	drift   int  // permille by which its clock is slow
	skew    int  // what that has added up to, in thousandths of a millisecond

	liar    bool
	attacks []string
	harm    map[string]int // by attack: messages and proposals changed, added or kept back
	leaked  int            // bytes handed to a third party
	images  []store.Image  // earlier disks of one that forgets

	stalled   bool
	late      int     // ticks that are held back, while its clock stands still
	lateUntil int     // until then
	backlog   []event // what came while it stood still
	busyUntil int     // while its disk flushes
	flushTime int     // milliseconds that each flush takes
	chunkTime int     // and each chunk of a snapshot, if that is longer
	chunksAt  int     // when all that were added will be on the disk
	flushes   int     // the boot that is about to flush what it has taken in

	saved      bftraft.HardState // an honest node's newest, and what a crash leaves of it
	durable    bftraft.HardState
	term       bftraft.Term
	left       []byte         // the frame that left last
	proven     quorumcert.Set // whom it holds proof against, and whom from the next Ready on
	finding    quorumcert.Set
	bowing     int // since when it follows one of them
	heard      map[bftraft.NodeID]heard
	committed  []*bftraft.Block // what its core has committed and it is about to execute
	ops        []bftraft.Index  // where the operations stand that it has just executed
	ranAt      bftraft.Index    // the entry it executed last
	ranOps     int              // operations of that entry
	first      store.Image      // its disk as it was made
	lock       lockWatch        // what its core is known to have locked, voted for and stored
	ticks      int              // that its process has seen
	answeredIn int              // the interval of ticks in which it
	answered   [65]int          // has answered the fetches of each node so often
	unreadable bool             // its disk fails to read
	failed     bool             // its disk has failed: it must say nothing more
	trap       trap
}

// trap is a crash that waits for a save.
type trap struct {
	set    bool
	saves  int // how many saves from now
	phase  int // 0 before it, 1 after it and before anything is sent, 2 after some was sent
	sends  int // in phase 2, how many frames still leave
	sprung bool
	down   int
	// executed is what the node had executed, and perhaps told clients, when it sprang.
	executed bftraft.Index
}

// party is who a leaky member leaks to.
type party struct {
	m      *member
	attack string
}

// Write implements io.Writer.
func (p *party) Write(b []byte) (int, error) {
	p.m.hurts(p.attack, 1)
	p.m.leaked += len(b)
	return len(b), nil
}

// errCrash ends a process in the middle of its work.
var errCrash = errors.New("crash")

// rememberedRequests is how many a node remembers as valid: few, so that it forgets some.
const rememberedRequests = 64

// boot starts a node's process on its disk.
func (w *World) boot(m *member) {
	m.machine = kv.New()
	m.gate = w.told(m).Remembering(bftraft.NewRecent(rememberedRequests))
	m.boots++
	m.booted, m.busyUntil, m.failed, m.unreadable, m.trap = w.now, 0, false, false, trap{}
	m.chunksAt = 0
	m.ops, m.ranAt, m.ranOps = m.ops[:0], 0, 0
	m.ticks, m.answered = 0, [65]int{}
	core := bftraft.DefaultConfig()
	core.Cluster, core.Signer = w.cluster, m.signer
	core.Verifier = m.gate
	core.Seed = w.opt.Seed
	cfg := replica.Config{
		Core: core, Storage: w.diskOf(m), Transport: &port{w, m}, Machine: &driven{m.machine, m},
		Wrap:   func(p replica.Protocol) replica.Protocol { return watch(w, m, p.(*bftraft.Core)) },
		Limits: limits,
	}
	cfg.Checkpoints = replica.Checkpoints{
		Every: bftraft.Index(w.opt.Checkpoints), ChunkBytes: w.opt.ChunkBytes,
		Keep: bftraft.Index(w.opt.Keep), Store: cfg.Storage.(replica.Snapshots),
	}
	if m.liar {
		w.corrupt(m, &cfg)
	} else {
		w.watch.restarts(m)
	}
	proc, err := replica.New(cfg)
	if errors.Is(err, replica.ErrLeft) {
		w.leaves(m)
		return
	}
	if err != nil {
		if !m.faulty() && !m.dead {
			w.watch.fail("D2", "node %d does not start again: %v", m.id, err)
		}
		if m.dead {
			w.watch.hit(stoLoss)
		}
		m.dead = true
		return
	}
	if m.dead {
		w.watch.fail("D4", "node %d starts on a disk that is damaged or not its own", m.id)
	}
	m.proc, m.gate = proc, proc.Verifier()
	w.watch.starts(m)
	w.at(1+int(mix(w.opt.Seed^uint64(m.id)<<32^uint64(m.boots))%tickMillis), event{
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
		m.proven, m.finding = proven(m.gate, &r), 0
	}
	return &watchedDisk{m.disk, w, m}
}

// proven returns who a node that starts holds proof against, of those that have a say by what it
// knows then (divergence 48).
func proven(gate *bftraft.Verifier, r *bftraft.Restored) (set bftraft.Set) {
	next, err := gate.Following(r.Changes)
	if err != nil {
		return 0 // nor does it start
	}
	for i := range r.Evidence {
		if id := r.Evidence[i].Culprit(); next.Members().Votes(id) {
			set = set.With(id)
		}
	}
	return set
}

// crash ends a node's process; of what was not flushed keep permille are there afterwards.
func (w *World) crash(m *member, keep int) {
	n := m.disk.Unsynced()
	kept := n * keep / 1000
	switch {
	case n == 0:
	case kept > 0 && kept < n:
		w.watch.hit(stoTorn)
	case kept == 0:
		w.watch.hit(stoLost)
	}
	if w.now-m.booted < 100 && m.boots > 1 {
		w.watch.hit(proBoot)
	}
	if len(m.backlog) > 0 || n > 0 || w.now < m.busyUntil || m.proc != nil && m.proc.Core().Leading {
		w.watch.hit(proCrash)
	}
	if m.lies(lyingDisk) && n > 0 {
		m.hurts(lyingDisk, 1)
		w.watch.hit(stoLie)
	}
	m.disk = m.disk.Crash(kept)
	w.forget(m)
	m.proc, m.stalled, m.backlog, m.lateUntil, m.late = nil, false, nil, 0, 0
	m.committed = nil
	m.trap = trap{}
}

func (w *World) restart(m *member) {
	if m.proc == nil && !m.dead && !m.absent && !m.gone {
		w.boot(m)
	}
}

// port is a node's socket.
type port struct {
	w *World
	m *member
}

// Send implements replica.Transport.
func (p *port) Send(to bftraft.NodeID, _ bftraft.Class, frame []byte) {
	m := p.m
	if m.trap.sprung && m.trap.phase == 2 {
		if m.trap.sends == 0 {
			return
		}
		m.trap.sends--
	}
	if !m.liar {
		p.w.watch.leaves(m, to, frame)
	}
	if to == m.id || int(to) > len(p.w.nodes) || to == 0 {
		return
	}
	p.w.transmit(int(m.id)-1, int(to)-1, frame, max(0, m.busyUntil-p.w.now))
}

// Reply implements replica.Transport.
func (p *port) Reply(to replica.ClientID, frame []byte) {
	if p.m.trap.sprung {
		return // it has crashed in the middle of sending
	}
	for i, c := range p.w.clients {
		if c.key.Public() == to.Key {
			p.w.toClient(p.m, i, frame, max(0, p.m.busyUntil-p.w.now))
		}
	}
}

// take gives a node what is for it, or keeps it while the node stands still.
func (m *member) take(w *World, e *event) {
	if m.proc == nil || e.kind == eventTick && e.boot != m.boots {
		return
	}
	if m.stalled {
		m.backlog = append(m.backlog, *e)
		return
	}
	if w.now < m.busyUntil {
		w.at(m.busyUntil-w.now, *e)
		return
	}
	if e.kind == eventTick && w.now < m.lateUntil {
		m.late++
		w.nextTick(m)
		return
	}
	defer func() {
		if m.unreadable && m.failed && recover() != nil {
			w.crash(m, 1000) // it fell over what it could not read, having said nothing
		}
	}()
	w.handleNode(m, e)
}

// nextTick plans a node's next tick by its own clock.
func (w *World) nextTick(m *member) {
	m.skew += tickMillis * m.drift
	step := tickMillis + m.skew/1000
	m.skew %= 1000
	w.at(step, event{kind: eventTick, node: int(m.id) - 1, boot: m.boots})
}

func (w *World) handleNode(m *member, e *event) {
	m.proc.At(uint64(1000 * (w.now - m.booted) / tickMillis))
	switch e.kind {
	case eventTick:
		if m.late > 0 {
			w.watch.hit(proLate)
		}
		for ; m.late > 0; m.late-- {
			m.ticks++
			m.proc.Tick()
		}
		m.ticks++
		m.proc.Tick()
		m.gate = m.proc.Verifier() // until now what comes may be judged by an older one
		w.nextTick(m)
	case eventFrame:
		w.deliver(m, w.nodes[e.from].id, e.frame)
	case eventFromClient:
		w.fromClient(m, e)
	}
	w.flushSoon(m)
}

// flushSoon flushes at once, or, where that takes long, together with what else has come by now: a
// node whose disk is slow takes in all that waits before it writes again.
func (w *World) flushSoon(m *member) {
	if m.flushTime == 0 {
		w.flush(m)
		return
	}
	if m.flushes == m.boots {
		return
	}
	m.flushes = m.boots
	w.at(0, event{kind: eventFault, do: func() {
		if m.flushes = 0; m.proc != nil && !m.stalled {
			w.flush(m)
		}
	}})
}

func (w *World) flush(m *member) {
	err := m.proc.Flush()
	switch {
	case m.trap.sprung:
		down := m.trap.down
		w.watch.hit(proPoint)
		w.watch.lastWords(m)
		w.crash(m, 0)
		w.at(down, event{kind: eventFault, do: func() { w.restart(m) }})
		return
	case errors.Is(err, replica.ErrLeft):
		w.watch.lastSteps(m)
		w.leaves(m)
		return
	case err != nil && m.failed:
		return
	case err != nil && !m.faulty():
		w.watch.fail("A5", "node %d stopped: %v", m.id, err)
	case errors.Is(err, replica.ErrForgot):
		return // an heir has its key, and it leaves undone what it was at
	}
	w.watch.looksAt(m)
}

func (w *World) deliver(m *member, from bftraft.NodeID, frame []byte) {
	switch frame[0] {
	case bftraft.FrameRequest:
		if req, err := m.gate.VerifyRequest(frame[1:]); err == nil {
			m.proc.Request(replica.ClientID{Key: req.Client}, from, req)
			w.watch.holdsOf(m, req.Client)
		}
	case bftraft.FrameReply:
		if reply, drop := m.gate.VerifyReply(from, frame); drop == bftraft.Accepted {
			m.proc.StepReply(from, reply)
		}
	default:
		v, drop := m.gate.Verify(from, frame)
		if drop == bftraft.Accepted {
			w.watch.passes(m, v.Message())
			w.watch.names(m, from, v.Message())
			drop = m.proc.Step(v)
			w.watch.notices(m, from, v.Message(), drop)
		}
		w.heir.judged(m, frame, drop)
		w.watch.dropped(m, from, frame, drop)
		if w.Log != nil {
			w.logFrame(m, from, frame, drop)
		}
	}
}

func (w *World) fromClient(m *member, e *event) {
	key := w.keyOfEnd(e.from)
	switch e.frame[0] {
	case bftraft.FrameRequest:
		req, err := m.gate.VerifyRequest(e.frame[1:])
		if err == nil && req.Client == key {
			m.proc.Request(replica.ClientID{Key: key, Conn: 1}, 0, req)
			w.watch.holdsOf(m, key)
		}
	case bftraft.FrameRead:
		read, err := bftraft.DecodeReadRequest(e.frame)
		if err == nil && m.gate.IsClient(key) {
			m.proc.Read(replica.ClientID{Key: key, Conn: 1}, read)
			w.watch.holdsOf(m, key)
		}
	case bftraft.FrameChanges:
		if number, err := bftraft.DecodeChangesRequest(e.frame); err == nil {
			(&port{w, m}).Reply(replica.ClientID{Key: key, Conn: 1}, m.gate.EncodeChanges(number))
		}
	}
}

// keyOfEnd returns the key behind a client's or rogue's connection.
func (w *World) keyOfEnd(i int) crypto.PublicKey {
	if i < len(w.clients) {
		return w.clients[i].key.Public()
	}
	return w.rogues[i-len(w.clients)].key.Public()
}

func (w *World) logFrame(m *member, from bftraft.NodeID, frame []byte, drop bftraft.Drop) {
	msg, d := bftraft.DecodeMessage(frame)
	if d != bftraft.Accepted {
		w.Log("%6d  %d->%d %d bytes %s", w.now, from, m.id, len(frame), drop)
		return
	}
	if bftraft.MessageName(msg) == "Status" && drop == bftraft.Accepted {
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
