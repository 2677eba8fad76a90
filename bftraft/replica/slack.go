package replica

import (
	"slices"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// slack measures how long requests wait that nothing keeps from being executed (E5b): a leader that
// serves everybody, but each as late as it may, starves nobody by the timer of a single request.
//
// Time is slack while some client's foremost request has waited for longer than the tolerance,
// unless blocks are full. That a block is on its way is no excuse: a slow leader sees to it that
// one always is, for each follower in turn. Such time fills a bucket that leaks slowly; a full
// bucket is a reason to suspect the leader.
//
// A round may take much less than a tick, so instants and spans are in parts of a tick, unless it
// says ticks. What is late is not looked for at ticks only: a leader could see to it that nothing
// is just then.
type slack struct {
	rounds rounds
	office uint64 // since when this leader has been known
	bucket uint64
	scale  uint64 // the timeout by which the bucket was last measured, in ticks
	until  uint64 // tick up to which the leader is suspected of being slow, 0 while it is not
	spared int    // ticks that did not count because this node had to catch up; leaks too
	blamed bool   // the leader of an earlier term was, and no calm time has passed since
	calm   uint64 // tick since when nobody was

	served  uint64 // how much of this tick was slack until requests were executed
	counted uint64 // up to when that has been counted

	// doublings of the tolerance: what no leader does better is not the leader's fault.
	doublings int
	doubled   bool // since the suspicion that goes on began
	alone     int  // doublings in this term because nobody shared a suspicion
}

// tickParts is how many parts of a tick are told apart.
const tickParts = 1000

const (
	slackLeak         = 8              // the bucket loses one part in so many that are no slack
	slackIdleLeak     = 64             // the same while no request waits
	slackPerRequest   = 20 * tickParts // what one request may add, besides what leaks: it may be lost
	slackDoublings    = 8
	slackAlone        = 2  // of them for suspicions of one leader that nobody shares
	slackCalmTimeouts = 60 // after so many timeouts without suspicion the tolerance is halved
)

// At tells the replica the time, in thousandths of a tick since a moment that stays the same. It
// runs on where ticks are late or left out. Without it the time moves by ticks.
func (r *Replica) At(clock uint64) { r.clock = max(r.clock, clock) }

// tickClock lets a tick begin.
func (r *Replica) tickClock() {
	if r.clock == r.ticked {
		r.clock += tickParts
	}
	r.now, r.ticked = r.now+1, r.clock
}

// tolerances are how long a request may wait once the one before it is executed, and how long
// since it and all before it have been here. A node may hear of it before the leader does, by what
// a message takes, and so a third of three rounds; of a round, some part is its own work.
func (r *Replica) tolerances() (brief, whole uint64) {
	usual := r.slack.rounds.usual(uint64(r.cfg.Core.HeartbeatTicks) * tickParts)
	return max(tickParts/2, 3*usual-min(3*usual, tickParts/10)) << r.slack.doublings,
		max(2*usual+tickParts/2, 3*usual) << r.slack.doublings
}

// behind says whether this node has just had to catch up: it does not know then how long others
// have waited.
func (r *Replica) behind(tolerance uint64) bool {
	s := &r.slack.rounds
	heartbeat := uint64(r.cfg.Core.HeartbeatTicks) * tickParts
	return s.behind > 0 && r.clock-s.behind <= max(tolerance, heartbeat)
}

// full says whether the leader works at capacity.
func (r *Replica) full(tolerance uint64) bool {
	s := &r.slack.rounds
	return s.fullAt > 0 && r.clock-s.fullAt <= tolerance
}

// pressed is what a tick finds among the requests that wait.
type pressed struct {
	first *pending // the one that has been late for longest in this tick, of those that count
	late  uint64   // for how long
	waits bool     // some wait
	spent bool     // one waits for too long that has added all it may
}

// pressing looks for requests that should have been ordered, or executed, by now.
func (r *Replica) pressing() (found pressed) {
	brief, whole := r.tolerances()
	idle, full := len(r.core.Uncommitted()) == 0, r.full(whole)
	for _, o := range r.pool.clients {
		p := r.foremost(o)
		if p == nil {
			continue
		}
		found.waits = true
		late := min(r.late(p, brief, whole), tickParts)
		if late <= found.late || !r.unordered(o, p, whole, idle) && (full || r.crowded(o)) {
			continue
		}
		if p.slack >= r.mayAdd(p) {
			found.spent = true
			continue
		}
		found.first, found.late = p, late
	}
	if r.spares(whole, found.first != nil || r.slack.served > 0) {
		found.first, found.late, r.slack.served = nil, 0, 0
	}
	return found
}

// late is for how long a request has waited for longer than it should.
func (r *Replica) late(p *pending, brief, whole uint64) uint64 {
	office := r.slack.office
	due := min(max(p.turn, office)+brief, max(p.ready, office)+whole)
	return r.clock - min(due, r.clock)
}

// mayAdd is how much slack one request may add: it may be lost.
func (r *Replica) mayAdd(p *pending) uint64 {
	return slackPerRequest + (r.clock-max(p.ready, r.slack.office))/slackLeak
}

// serves counts the slack that ends because a request is about to be executed.
func (r *Replica) serves(req *bftraft.Request) {
	s := &r.slack
	o, _, ok := r.pool.find(req.Client)
	if !ok || r.leader == 0 || r.leader == r.id {
		return
	}
	i, ok := o.place(req.Session, req.Sequence)
	if !ok {
		return
	}
	p := o.requests[i]
	brief, whole := r.tolerances()
	clock, late := r.clock, r.late(p, brief, whole)
	late = min(late, clock-max(s.counted, r.ticked))
	if late == 0 || p.slack >= r.mayAdd(p) || r.full(whole) || r.crowded(o) {
		return
	}
	s.served += late
	s.counted = clock
}

// spares says whether a tick does not count because this node has just had to catch up. A leader
// could keep all nodes catching up for ever: it sends each block late to another, which then finds
// it committed. So no more is spared in a row than a timeout, and after that one tick of eight.
func (r *Replica) spares(tolerance uint64, late bool) bool {
	s := &r.slack
	if late && r.behind(tolerance) && s.spared < int(r.core.Timeout()) {
		s.spared++
		return true
	}
	if s.spared > 0 && r.now%slackLeak == 0 {
		s.spared--
	}
	return false
}

// unordered says whether a client's foremost request has waited for longer than the tolerance and
// stands in no block, though none is on its way, or one that was not full has passed it over.
func (r *Replica) unordered(o *outstanding, p *pending, tolerance uint64, idle bool) bool {
	watched := p.Session == o.watchedSession && p.Sequence == o.watchedSequence
	return watched && (r.now-o.since)*tickParts > tolerance && p.placed != r.term &&
		(idle || p.passed == r.term)
}

// crowded says whether a client has as much outstanding as nodes have room for: some may wait.
func (r *Replica) crowded(o *outstanding) bool {
	return len(o.requests) >= r.pool.limits.Outstanding
}

// tickSlack lets one tick pass and says whether the leader is too slow.
func (r *Replica) tickSlack() bool {
	s := &r.slack
	timeout := r.core.Timeout()
	if r.leader == 0 || r.leader == r.id {
		s.bucket, s.until, s.served = 0, 0, 0
		return false
	}
	if s.until > 0 {
		if r.now < s.until {
			return true
		}
		s.bucket, s.until = 0, 0
		if !s.doubled && s.alone < slackAlone {
			s.alone++
			s.doubt(r.now) // the others do not think so
		}
	}
	if timeout < s.scale { // what is much now was little then
		s.bucket = s.bucket * timeout / s.scale
	}
	s.scale = timeout
	r.fill(r.pressing())
	if s.bucket >= timeout*tickParts/2 {
		if s.doubled = s.blamed; s.doubled {
			s.doubt(r.now)
		}
		s.blamed, s.calm = true, r.now
		s.bucket, s.until = 0, r.now+timeout
		return true
	}
	if r.now-s.calm >= slackCalmTimeouts*timeout {
		s.blamed, s.calm = false, r.now
		s.doublings = max(0, s.doublings-1)
	}
	return false
}

// fill adds the slack of one tick to the bucket, and lets it leak in the rest of the tick.
func (r *Replica) fill(now pressed) {
	s := &r.slack
	if p := now.first; p != nil {
		if p.slack == 0 {
			r.forward(p.Request, quorumcert.SetOf(r.leader))
		}
		p.slack += now.late
	}
	late := min(max(now.late, s.served), tickParts)
	s.served = 0
	leak := (tickParts - late) / slackIdleLeak
	switch {
	case now.spent:
		leak = 0
	case now.waits || late > 0:
		leak = (tickParts - late) / slackLeak
	}
	s.bucket += late - min(leak, s.bucket+late)
}

// newTerm forgets what the leader of the term before did.
func (s *slack) newTerm() {
	s.bucket, s.until, s.served, s.alone = 0, 0, 0, 0
	s.rounds.heard = nil
}

// doubt doubles the tolerance: another leader is no faster, or the others see no slow leader.
func (s *slack) doubt(now uint64) {
	s.doublings = min(s.doublings+1, slackDoublings)
	s.calm = now
}

// placed notes which of the pressing requests a new block holds, and which it passes over although
// it had room for them. One that is full has none, unless it holds several of another client:
// leaders take clients in turn.
func (r *Replica) placed(b *bftraft.Block, full bool) {
	if len(r.pool.clients) == 0 || r.leader == 0 || r.leader == r.id {
		return
	}
	_, tolerance := r.tolerances()
	late := func(o *outstanding) bool {
		return o.watchedSequence != 0 && (r.now-o.since)*tickParts > tolerance
	}
	if !slices.ContainsFunc(r.pool.clients, late) {
		return
	}
	most := r.placeAll(b)
	if full && most < 2 {
		return
	}
	for _, o := range r.pool.clients {
		if !late(o) {
			continue
		}
		if p := r.foremost(o); p != nil && p.placed != r.term {
			p.passed = r.term
		}
	}
}

// placeAll notes which requests a block holds, and returns how many are of one client at most.
func (r *Replica) placeAll(b *bftraft.Block) (most int) {
	of := make(map[crypto.PublicKey]int)
	for _, e := range b.Entries() {
		req, err := bftraft.DecodeRequest(e.Data)
		if err != nil {
			continue
		}
		of[req.Client]++
		most = max(most, of[req.Client])
		if o, _, ok := r.pool.find(req.Client); ok {
			if i, ok := o.place(req.Session, req.Sequence); ok {
				o.requests[i].placed = r.term
			}
		}
	}
	return most
}
