package replica

import (
	"bytes"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// slack measures how long requests wait that nothing keeps from being executed (E5b): a leader that
// serves everybody, but each as late as it may, starves nobody by the timer of a single request.
//
// Time is slack for a client while the next request of its session has waited for longer than the
// tolerance, unless blocks are full; of several sessions each has its part in that. That a block is
// on its way is no excuse: a slow leader sees to it that one always is, for each follower in turn.
// Such time fills a bucket of the client's that leaks slowly; one that is full is a reason to
// suspect the leader. If all clients had one in common it would fill wherever there are many: where
// waits differ one of them is always late.
//
// A round may take much less than a tick, so instants and spans are in parts of a tick, unless it
// says ticks. What is late is not looked for at ticks only: a leader could see to it that nothing
// is just then.
type slack struct {
	rounds  rounds
	office  uint64         // since when this leader has been known
	clients []*clientSlack // ascending by key; those with something in the bucket
	scale   uint64         // the timeout by which buckets were last measured, in ticks
	until   uint64         // tick up to which the leader is suspected of being slow, or 0
	spared  int            // ticks that did not count because this node had to catch up; leaks too
	blamed  bool           // the leader of an earlier term was, and no calm time has passed since
	blames  bool           // the leader of this one was
	calm    uint64         // tick since when nobody was

	// doublings of the tolerance: what no leader does better is not the leader's fault.
	doublings int
	doubled   bool // since the suspicion that goes on began
	alone     int  // doublings in this term because nobody shared a suspicion
}

// clientSlack is the slack of one client.
type clientSlack struct {
	key    crypto.PublicKey
	bucket uint64
	// waited is how long the next requests of its sessions waited in the tick that goes on, late for
	// how much of that they should not have. Those of several sessions add up.
	waited, late uint64
	longest      uint64 // how much of the tick the foremost waited, if it is late by far
	waits        bool   // some wait
	spent        bool   // one waits for too long that has added all it may
}

// of returns the slack of a client.
func (s *slack) of(key crypto.PublicKey) *clientSlack {
	i, found := slices.BinarySearchFunc(s.clients, key, func(c *clientSlack, k crypto.PublicKey) int {
		return bytes.Compare(c.key[:], k[:])
	})
	if !found {
		s.clients = slices.Insert(s.clients, i, &clientSlack{key: key})
	}
	return s.clients[i]
}

// tickParts is how many parts of a tick are told apart.
const tickParts = 1000

const (
	slackLeak         = 8              // the bucket loses one part in so many that are no slack
	slackIdleLeak     = 64             // the same while no request waits
	slackPerRequest   = 20 * tickParts // what one request may add, besides what leaks: it may be lost
	slackDoublings    = 14             // beyond the greatest patience, however fast rounds were
	slackByFar        = 8              // times the tolerance
	slackAlone        = 2              // of them for suspicions of one leader that nobody shares
	slackCalmTimeouts = 60             // after so many without suspicion the tolerance is halved
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
// since it and all before it have been here. Where messages take long a request waits for several
// rounds: nodes hear of it at different times, and a block is on its way. Where they take little it
// does not, but the clock and the processor are coarse.
func (r *Replica) tolerances() (brief, whole uint64) {
	const tenth = tickParts / 10
	usual := r.slack.rounds.usual(uint64(r.cfg.Core.HeartbeatTicks) * tickParts)
	brief = max(5*tenth, 13*usual/4-min(13*usual/4, 3*tenth))
	whole = max(brief, 2*usual+3*tenth, 15*usual/4-min(15*usual/4, 4*tenth))
	return brief << r.slack.doublings, whole << r.slack.doublings
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

// press looks for requests that should have been executed by now, and returns the client of whose
// requests the leader may lack some, if there is one: of those whose foremost request is late and
// was not sent to it for that, the one that is latest.
func (r *Replica) press() (push *outstanding) {
	brief, whole := r.tolerances()
	idle, full := len(r.core.Uncommitted()) == 0, r.full(whole)
	latest, began := uint64(0), r.clock-min(r.clock, tickParts)
	for _, o := range r.pool.clients {
		foremost := r.foremost(o)
		if foremost == nil {
			continue
		}
		c := r.slack.of(o.key)
		c.waits = true
		excused := full && !r.unordered(o, foremost, whole, idle)
		r.nexts(o, func(p *pending) {
			waited := r.clock - max(p.turn, began)
			late := min(r.late(p, brief, whole), waited)
			c.waited += waited
			switch {
			case late == 0 || excused:
			case p.slack >= r.mayAdd(p):
				c.spent = true
			default:
				c.late += late
				p.slack += late
				if p == foremost && r.late(p, brief, whole) > slackByFar*whole {
					c.longest = late
				}
			}
		})
		late := r.late(foremost, brief, whole)
		if late == 0 {
			o.pushed = 0
		}
		if late > latest && !excused && foremost.pushed != r.term {
			push, latest = o, late
		}
	}
	return push
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
	o, _, ok := r.pool.find(req.Client)
	if !ok || r.leader == 0 || r.leader == r.id || r.slack.until > 0 {
		return
	}
	i, ok := o.place(req.Session, req.Sequence)
	if !ok {
		return
	}
	p, c := o.requests[i], r.slack.of(req.Client)
	waited := r.clock - max(p.turn, r.ticked)
	c.waited += waited
	brief, whole := r.tolerances()
	if p.slack < r.mayAdd(p) && !r.full(whole) {
		c.late += min(r.late(p, brief, whole), waited)
	}
}

// firstPush is how many requests of a client are sent to the leader once the foremost is late, and
// nextPush so many times as many are once the next is late at once, too.
const (
	firstPush = 4
	nextPush  = 8
)

// push sends the leader requests of a client that can be executed, the foremost first. They went to
// it when they came, but all of that may have been lost, and one after the other they would keep an
// honest leader late for long.
func (r *Replica) push(o *outstanding) {
	o.pushed = min(max(nextPush*o.pushed, firstPush), MaxOutstanding)
	left := o.pushed
	send := func(p *pending) {
		if left > 0 && p.pushed != r.term {
			left--
			p.pushed = r.term
			r.forward(p.Request, quorumcert.SetOf(r.leader))
		}
	}
	send(r.foremost(o))
	r.admissible(o, send)
}

// pushAgain lets all requests but one, which is on its way, be sent to the leader once more: what
// was sent for being late may have been lost as well, and there may be much of it.
func (o *outstanding) pushAgain(but *pending) {
	o.pushed = 0
	for _, p := range o.requests {
		if p != but {
			p.pushed = 0
		}
	}
}

// spares says whether a tick does not count because this node has just had to catch up. A leader
// could keep all nodes catching up for ever: it sends each block late to another, which then finds
// it committed. So no more is spared in a row than a timeout, and after that one tick of eight.
func (r *Replica) spares() bool {
	s := &r.slack
	_, whole := r.tolerances()
	late := slices.ContainsFunc(s.clients, func(c *clientSlack) bool { return c.late > 0 })
	if late && r.behind(whole) && s.spared < int(r.core.Timeout()) {
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

// tickSlack lets one tick pass and says whether the leader is too slow.
func (r *Replica) tickSlack() bool {
	s := &r.slack
	timeout := r.core.Timeout()
	if r.leader == 0 || r.leader == r.id {
		s.clients, s.until = nil, 0
		return false
	}
	if s.until > 0 {
		if r.now < s.until {
			return true
		}
		s.clients, s.until = nil, 0
		if !s.doubled && s.alone < slackAlone {
			s.alone++
			s.doubt(r.now) // the others do not think so
		}
	}
	if timeout < s.scale { // what is much now was little then
		for _, c := range s.clients {
			c.bucket = c.bucket * timeout / s.scale
		}
	}
	s.scale = timeout
	push := r.press()
	spared := r.spares()
	if push != nil && !spared {
		r.push(push)
	}
	most := uint64(0)
	for _, c := range s.clients {
		c.fill(spared)
		most = max(most, c.bucket)
	}
	if most >= timeout*tickParts/2 {
		if s.doubled = s.blamed && !s.blames; s.doubled {
			s.doubt(r.now)
		}
		s.blames, s.calm = true, r.now
		s.clients, s.until = nil, r.now+timeout
		return true
	}
	s.clients = slices.DeleteFunc(s.clients, func(c *clientSlack) bool { return c.bucket == 0 })
	if r.now-s.calm >= slackCalmTimeouts*timeout {
		s.blamed, s.blames, s.calm = false, false, r.now
		s.doublings = max(0, s.doublings-1)
	}
	return false
}

// slack is how much of this tick was slack: what the sessions had of it on average. If it were what
// any of them had, who has many would always be late. But one that is late by far counts alone, or
// a leader could serve one of many sessions as late as it likes.
func (c *clientSlack) slack() uint64 {
	return max(c.late*tickParts/max(c.waited, tickParts), c.longest)
}

// fill adds the slack of one tick to the bucket, unless it is spared, and lets it leak in the rest
// of the tick.
func (c *clientSlack) fill(spared bool) {
	late := c.slack()
	if spared {
		late = 0
	}
	leak := (tickParts - late) / slackIdleLeak
	switch {
	case c.spent:
		leak = 0
	case c.waits || late > 0:
		leak = (tickParts - late) / slackLeak
	}
	c.bucket += late - min(leak, c.bucket+late)
	*c = clientSlack{key: c.key, bucket: c.bucket}
}

// newTerm forgets what the leader of the term before did, but that it was suspected. What this node
// doubted alone were its own eyes: if that outlived the term, a leader that is late to one follower
// after the other, just so that nobody shares a suspicion, made all patient for the next.
func (s *slack) newTerm() {
	s.blamed, s.blames = s.blamed || s.blames, false
	s.doublings -= min(s.alone, s.doublings)
	s.clients, s.until, s.alone = nil, 0, 0
	s.rounds.heard = nil
}

// doubt doubles the tolerance: another leader is no faster, or the others see no slow leader.
func (s *slack) doubt(now uint64) {
	most := slackDoublings
	if mutant.On(mutant.M191) {
		most = 8
	}
	s.doublings = min(s.doublings+1, most)
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
	if full && most < 2 || b.EndsChange() {
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
