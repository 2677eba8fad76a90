package replica

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// Limits of what a node holds for clients until it is executed. They bound memory per enrolled
// client, whatever it sends.
const (
	// MaxOutstanding is the number of requests held of one client that it sent here itself, and of
	// those that each other node forwards.
	MaxOutstanding = 256
	// MaxOutstandingBytes is the size of so many; one largest request always fits.
	MaxOutstandingBytes = 8 << 20
)

// pool holds requests until they are executed: the leader proposes from it, clients in turn; the
// others watch with it that the leader does (E5).
type pool struct {
	clients []*outstanding // ascending by key; only those with something in it
	turn    crypto.PublicKey
	gate    *bftraft.Verifier // whose clients they are
	limits  Limits
}

// outstanding is what is held of one client, ascending by session and sequence.
type outstanding struct {
	key      crypto.PublicKey
	requests []*pending
	bytes    int
	// watched is the foremost request and since when it has been that, in this term.
	watchedSession, watchedSequence uint64
	since                           uint64
	asked                           uint64 // when others were last asked about such a request
	pushed                          int    // how many the leader was last sent because they were late
	// line is what may go into the block that is being made, and taken how much of it does.
	line  []inLine
	taken int
}

type pending struct {
	*bftraft.Request
	since    uint64         // when it came, in parts of a tick
	proposed bftraft.Term   // the term in which this node, as leader, put it into a block
	from     bftraft.NodeID // the node that forwarded it, 0 for none
	pushed   bftraft.Term   // the term in which it was sent to the leader because it was late
	// placed is the term in which a block was stored that holds it, passed the one in which a
	// block that had room for it did not; slack is how long it waited for no reason.
	placed, passed bftraft.Term
	slack          uint64 // in parts of a tick
	// ready is since when it and all before it in its session have been here, in parts of a tick;
	// while one is missing, since when it has been. turn is since when it follows, in its session,
	// what was executed.
	ready, turn uint64
	// replies of nodes that say they have executed it; f+1 equal ones end its timer.
	replies [quorumcert.MaxVoters]*quorumcert.Reply
}

func newPool(l Limits) *pool { return &pool{limits: l} }

func (p *pool) find(key crypto.PublicKey) (*outstanding, int, bool) {
	i, found := slices.BinarySearchFunc(p.clients, key,
		func(o *outstanding, k crypto.PublicKey) int { return bytes.Compare(o.key[:], k[:]) })
	if !found {
		return nil, i, false
	}
	return p.clients[i], i, true
}

func (o *outstanding) place(session, sequence uint64) (int, bool) {
	return slices.BinarySearchFunc(o.requests, sequence, func(p *pending, seq uint64) int {
		switch {
		case p.Session < session || p.Session == session && p.Sequence < seq:
			return -1
		case p.Session > session || p.Sequence > seq:
			return 1
		}
		return 0
	})
}

// add takes a request in. It returns false when too much of the client's is outstanding, and
// whether the request is new. What each node forwards has the room that it has there: nodes watch
// over it, and a client could else fill the leader and have it deposed over what it shows to the
// rest (E5).
func (p *pool) add(r *bftraft.Request, from bftraft.NodeID, clock uint64) (fits, fresh bool) {
	o, i, ok := p.find(r.Client)
	if !ok {
		o = &outstanding{key: r.Client}
		p.clients = slices.Insert(p.clients, i, o)
	}
	at, found := o.place(r.Session, r.Sequence)
	if found {
		return true, false
	}
	if !o.fits(len(r.Raw()), from, p.limits.Outstanding) && !mutant.On(mutant.M55) {
		return false, false
	}
	q := &pending{Request: r, from: from, since: clock, ready: clock, turn: clock}
	o.requests = slices.Insert(o.requests, at, q)
	o.bytes += len(r.Raw())
	return true, true
}

// fits says whether there is room for a request of so many bytes among those that came from a node,
// or from the client itself (0).
func (o *outstanding) fits(size int, from bftraft.NodeID, limit int) bool {
	if len(o.requests) < limit && o.bytes+size <= MaxOutstandingBytes {
		return true
	}
	count, held := 0, 0
	for _, p := range o.requests {
		if p.from == from {
			count++
			held += len(p.Raw())
		}
	}
	return count == 0 || count < limit && held+size <= MaxOutstandingBytes
}

// executed takes a request out, and with it whatever of its session is at or below its sequence.
// The one after it has been ready for as long as that one was, at most.
func (p *pool) executed(r *bftraft.Request, clock uint64) {
	o, i, ok := p.find(r.Client)
	if !ok {
		return
	}
	ready := clock
	o.requests = slices.DeleteFunc(o.requests, func(q *pending) bool {
		gone := q.Session == r.Session && q.Sequence <= r.Sequence
		if gone {
			o.bytes -= len(q.Raw())
		}
		if gone && q.Sequence == r.Sequence {
			ready = q.ready
		}
		return gone
	})
	if next, ok := o.place(r.Session, r.Sequence+1); ok {
		q := o.requests[next]
		q.ready, q.turn = max(q.ready, ready), clock
	}
	if len(o.requests) == 0 {
		p.clients = slices.Delete(p.clients, i, i+1)
	}
}

// again lets a request be proposed once more: a lying leader put it before those it follows.
func (p *pool) again(r *bftraft.Request) {
	if o, _, ok := p.find(r.Client); ok {
		if i, ok := o.place(r.Session, r.Sequence); ok {
			o.requests[i].proposed, o.requests[i].placed = 0, 0
		}
	}
}

// Request takes in a client's verified request, from the client itself or forwarded by a node
// (from other than 0), and returns why it is refused, if it is.
func (r *Replica) Request(client ClientID, from bftraft.NodeID, req *bftraft.Request) {
	if r.stopped != nil {
		return
	}
	last, ok := r.sessions.last(req.Client, req.Session)
	switch {
	case !ok:
		r.refuse(client, from, req, bftraft.RefusedExpired, last)
		return
	case req.Sequence <= last:
		r.repeat(client, from, req, last)
		return
	case !r.Verifier().MayWrite(req.Client): // not any more
		r.refuse(client, from, req, bftraft.RefusedRole, last)
		return
	case req.Sequence > last+r.pool.limits.Window && !mutant.On(mutant.M56):
		r.refuse(client, from, req, bftraft.RefusedWindow, last)
		return
	case !r.worthOrdering(req):
		r.refuse(client, from, req, bftraft.RefusedMalformed, last)
		return
	}
	fits, fresh := r.pool.add(req, from, r.clock)
	for !fits && r.makeRoom(req, from) {
		fits, fresh = r.pool.add(req, from, r.clock)
	}
	switch {
	case !fits:
		r.refuse(client, from, req, bftraft.RefusedBusy, last)
	case fresh && from == 0:
		r.forward(req, quorumcert.SetOf(r.leader))
	}
}

// makeRoom takes a request out that cannot be executed as things stand, for one that can, of those
// that came the same way. It returns false if there is none. Nodes forget what cannot be executed
// at different times, so a client could else leave the leader no room for what others hold.
func (r *Replica) makeRoom(req *bftraft.Request, from bftraft.NodeID) bool {
	o, _, ok := r.pool.find(req.Client)
	if !ok {
		return false
	}
	last, _ := r.sessions.last(req.Client, req.Session)
	can := make(map[*pending]bool, len(o.requests))
	follows := req.Sequence == last+1
	r.admissible(o, func(p *pending) {
		can[p] = true
		follows = follows || p.Session == req.Session && p.Sequence+1 == req.Sequence
	})
	if !follows {
		return false
	}
	for i := len(o.requests) - 1; i >= 0; i-- {
		if p := o.requests[i]; p.from == from && !can[p] {
			o.bytes -= len(p.Raw())
			o.requests = slices.Delete(o.requests, i, i+1)
			return true
		}
	}
	return false
}

func (r *Replica) worthOrdering(req *bftraft.Request) bool {
	if r.cfg.CheckOp == nil || bftraft.IsChange(req.Ops[0]) {
		return true
	}
	for _, op := range req.Ops {
		if r.cfg.CheckOp(op) != nil {
			return false
		}
	}
	return true
}

// maxRepeats bounds the answers to one node's questions for what was executed (E5), each of which
// costs a signature, within repeatTicks.
const (
	maxRepeats  = 64
	repeatTicks = 10
)

// repeat answers a request that was executed before.
func (r *Replica) repeat(
	client ClientID, from bftraft.NodeID, req *bftraft.Request, last uint64,
) {
	if r.checkStorage(); r.stopped != nil {
		return
	}
	if from != 0 {
		if r.repeats[from]++; r.repeats[from] > maxRepeats {
			return // it will ask again
		}
	}
	frame := r.answerAgain(req)
	switch {
	case frame == nil:
		r.refuse(client, from, req, bftraft.RefusedExpired, last)
	case from != 0:
		r.cfg.Transport.Send(from, classOf(frame), frame)
	default:
		r.cfg.Transport.Reply(client, frame)
	}
}

func (r *Replica) refuse(
	client ClientID, from bftraft.NodeID, req *bftraft.Request,
	code bftraft.RefusalCode, last uint64,
) {
	r.stats.Refused++
	if from != 0 {
		return // the node that forwarded it has its own opinion
	}
	r.Refuse(client, &bftraft.Refusal{
		Session: req.Session, Sequence: req.Sequence, Code: code, Executed: last,
	})
}

// Refuse tells a client why a request of its is not taken in.
func (r *Replica) Refuse(client ClientID, refusal *bftraft.Refusal) {
	r.cfg.Transport.Reply(client, refusal.Encode())
}

// smallFrameBytes is the size up to which a client's frame may share the stream of acks and votes.
const smallFrameBytes = 64 << 10

// classOf keeps what is large off the stream of acks and votes.
func classOf(frame []byte) bftraft.Class {
	if len(frame) > smallFrameBytes {
		return bftraft.ClassBulk
	}
	return bftraft.ClassConsensus
}

func (r *Replica) forward(req *bftraft.Request, to bftraft.Set) {
	if to = to.Without(r.id); to == 0 {
		return
	}
	frame := bftraft.RequestFrame(req.Raw())
	for id := to.Next(0); id != 0; id = to.Next(id) {
		r.cfg.Transport.Send(id, classOf(frame), frame)
	}
}

// StepReply takes in a reply that Verifier.VerifyReply let through: another node's word about a
// request that this node asked about. Once f+1 voters say that it was executed, this node is merely
// behind, and the leader is not to blame (E5).
func (r *Replica) StepReply(from bftraft.NodeID, reply *bftraft.BlockReply) bftraft.Drop {
	o, _, ok := r.pool.find(reply.Client)
	if !ok {
		return bftraft.Unasked
	}
	i, ok := o.place(reply.Session, reply.Sequence)
	if !ok {
		return bftraft.Unasked
	}
	p := o.requests[i]
	p.replies[from-1] = &reply.Reply
	equal := 0
	for _, other := range p.replies {
		if other != nil && *other == reply.Reply {
			equal++
		}
	}
	if equal > r.configs().For(reply.Reply.Index).Size().F && !mutant.On(mutant.M105) {
		r.pool.executed(p.Request, r.clock)
	}
	return bftraft.Accepted
}

// watchLeader notices that term or leader have changed: timers start again (E5), and what is
// outstanding goes to the new leader.
func (r *Replica) watchLeader() {
	term, leader := r.core.Term(), r.core.Leader()
	if term == r.term && leader == r.leader {
		return
	}
	newTerm := term != r.term
	if newTerm {
		r.slack.newTerm()
		r.evidence.offered = 0
	}
	r.slack.office = r.clock
	r.term, r.leader = term, leader
	for _, o := range r.pool.clients {
		if newTerm {
			o.since = r.now
		}
		for _, p := range o.requests {
			if newTerm {
				p.slack = 0
			}
			r.forward(p.Request, quorumcert.SetOf(leader))
		}
	}
	if leader == r.id {
		r.markProposed()
	}
}

// markProposed notes, as a new leader, what stands in the log already and waits to be committed.
func (r *Replica) markProposed() {
	for _, b := range r.core.Uncommitted() {
		for _, e := range b.Entries() {
			r.evidence.stands(e)
			req, err := bftraft.DecodeRequest(e.Data)
			if err != nil {
				continue
			}
			if o, _, ok := r.pool.find(req.Client); ok {
				if i, ok := o.place(req.Session, req.Sequence); ok {
					o.requests[i].proposed = r.term
				}
			}
		}
	}
}

// tickPool runs the timers of E5: one for each client, for its foremost request only.
func (r *Replica) tickPool() {
	waited := uint64(0)
	if r.now%repeatTicks == 0 {
		clear(r.repeats[:])
		clear(r.parts[:])
	}
	if r.now%pruneTicks == 0 {
		r.prune()
	}
	for _, o := range r.pool.clients {
		p := r.foremost(o)
		if p == nil {
			o.watchedSequence = 0
			continue
		}
		if p.Session != o.watchedSession || p.Sequence != o.watchedSequence {
			o.watchedSession, o.watchedSequence, o.since = p.Session, p.Sequence, r.now
		}
		if r.now-max(o.since, o.asked) >= r.core.Timeout() {
			// Perhaps this node is behind; perhaps the leader never got it (E5). What asks may be
			// lost like anything else, so it is said again: a leader that was away for a while
			// would otherwise be suspected for ever of what it never heard of.
			o.asked = r.now
			o.pushAgain(p)
			r.forward(p.Request, r.configs().Latest().Members())
		}
		if !mutant.On(mutant.M41) {
			waited = max(waited, r.now-o.since)
		}
	}
	slow := r.tickSlack() && !mutant.On(mutant.M119)
	r.core.SetWaiting(waited)
	r.core.SetSlow(slow && r.leader != r.id)
}

// pruneTicks is how often prune looks, and abandonedTimeouts how long a request may wait for those
// before it in its session, in election timeouts.
const (
	pruneTicks        = 100
	abandonedTimeouts = 16
)

// prune forgets requests that cannot be executed: those of sessions that are no longer accepted,
// and those that have long waited for a sequence that never came.
func (r *Replica) prune() {
	limit := abandonedTimeouts * r.core.Timeout() * tickParts
	for _, o := range r.pool.clients {
		first := r.foremost(o)
		o.requests = slices.DeleteFunc(o.requests, func(p *pending) bool {
			last, ok := r.sessions.last(p.Client, p.Session)
			follows := first != nil && p.Session == first.Session
			gone := !ok || p.Sequence <= last || !follows && p.Sequence != last+1 &&
				r.clock-p.since > limit
			if gone {
				o.bytes -= len(p.Raw())
			}
			return gone
		})
	}
	r.pool.clients = slices.DeleteFunc(r.pool.clients,
		func(o *outstanding) bool { return len(o.requests) == 0 })
}

// foremost returns the request of a client whose turn it is to be executed, if it is here: of those
// that follow, in their sessions, what was executed, the one that has been here longest. If it were
// that of the lowest session, a leader could starve all others as long as that one goes on.
func (r *Replica) foremost(o *outstanding) (first *pending) {
	r.nexts(o, func(p *pending) {
		if first == nil || p.since < first.since {
			first = p
		}
	})
	return first
}

// nexts calls a function with each of the client's requests that follow, in their sessions, what
// was executed.
func (r *Replica) nexts(o *outstanding, each func(p *pending)) {
	executed, _, _ := r.sessions.client(o.key)
	for i := 0; i < len(o.requests); {
		p := o.requests[i]
		last, ok := executed.last(p.Session)
		next := i
		if p.Sequence <= last {
			next, _ = o.place(p.Session, last+1)
		}
		if ok && next < len(o.requests) {
			if q := o.requests[next]; q.Session == p.Session && q.Sequence == last+1 {
				each(q)
			}
		}
		i = o.endOf(i)
	}
}

// endOf returns where the session of the request at i ends.
func (o *outstanding) endOf(i int) int {
	session := o.requests[i].Session
	if i++; i == len(o.requests) || o.requests[i].Session != session {
		return i
	}
	end, _ := o.place(session, math.MaxUint64)
	for end < len(o.requests) && o.requests[end].Session == session {
		end++
	}
	return end
}

// proposeNext makes the next block, if this node leads, there is room, and something to order.
func (r *Replica) proposeNext() {
	r.watchLeader()
	if gate := r.Verifier(); gate != r.pool.gate {
		r.pool.keep(gate)
	}
	if r.leader != r.id || len(r.pool.clients) == 0 && !r.evidence.waits(r.Verifier()) {
		return
	}
	for r.core.Room() {
		entries := r.nextEntries()
		if len(entries) == 0 {
			return
		}
		r.core.Propose(entries)
	}
}

// nextEntries takes clients in turn, one request at a time, so that a flood by some does not
// starve the others (E5), until the block is full or nothing is left.
func (r *Replica) nextEntries() []bftraft.Entry {
	entries := r.evidence.next(r.Verifier())
	size := 0
	for _, e := range entries {
		size += len(e.Data)
	}
	start, _ := slices.BinarySearchFunc(r.pool.clients, r.pool.turn,
		func(o *outstanding, k crypto.PublicKey) int { return bytes.Compare(o.key[:], k[:]) })
	waiting := slices.Concat(r.pool.clients[start:], r.pool.clients[:start])
	for _, o := range waiting {
		r.lineUp(o)
	}
	for len(waiting) > 0 {
		left := waiting[:0]
		for _, o := range waiting {
			if o.taken == len(o.line) {
				continue
			}
			p := o.line[o.taken].pending
			cost := len(p.Raw()) + 5
			if len(entries) > 0 && size+cost > r.cfg.BlockBytes ||
				len(entries) == bftraft.MaxBlockEntries-1 { // one is left for what proves a change
				r.pool.turn = o.key
				return entries
			}
			p.proposed = r.term
			entry := r.Verifier().Entry(p.Request)
			entries = append(entries, entry)
			size += cost
			o.taken++
			if entry.Kind == bftraft.EntryConfiguration {
				r.pool.turn = o.key
				return entries // a change ends its block (J1)
			}
			left = append(left, o)
		}
		waiting = left
	}
	return entries
}

// inLine is a request that may be proposed, and since when it and all before it in its session have
// been here.
type inLine struct {
	*pending
	since uint64
}

// lineUp puts the client's requests that continue, in their sessions, what was executed and
// proposed into the order in which they are to be proposed: those of several sessions as they came,
// so that none waits for ever for the others. It looks at each request once: a client may fill its
// share with requests that wait for others.
func (r *Replica) lineUp(o *outstanding) {
	o.line, o.taken = o.line[:0], 0
	var since uint64
	r.admissible(o, func(p *pending) {
		if first := len(o.line) == 0 || o.line[len(o.line)-1].Session != p.Session; first {
			since = 0
		}
		if p.proposed != r.term {
			since = max(since, p.since)
			o.line = append(o.line, inLine{p, since})
		}
	})
	slices.SortStableFunc(o.line, func(a, b inLine) int { return cmp.Compare(a.since, b.since) })
}

// admissible calls a function with each of the client's requests that continue, in their sessions,
// what was executed, by session and sequence.
func (r *Replica) admissible(o *outstanding, each func(p *pending)) {
	executed, _, _ := r.sessions.client(o.key)
	var next uint64
	var accepted bool
	for i, p := range o.requests {
		if i == 0 || p.Session != o.requests[i-1].Session {
			next, accepted = executed.last(p.Session)
			next++
		}
		if accepted && p.Sequence == next { // else a gap: the rest of this session must wait
			next++
			each(p)
		}
	}
}
