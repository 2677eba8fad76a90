package replica

import (
	"slices"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// slack measures how long requests wait that nothing keeps from being executed (E5b): a leader that
// serves everybody, but each as late as it may, starves nobody by the timer of a single request.
//
// A tick is slack when some client's foremost request has waited for longer than the tolerance,
// unless blocks are full. That a block is on its way is no excuse: a slow leader sees to it that
// one always is, for each follower in turn. Such ticks fill a bucket that leaks slowly; a full
// bucket is a reason to suspect the leader.
type slack struct {
	rounds rounds
	office uint64 // tick since when this leader has been known
	bucket int
	scale  uint64 // the timeout by which the bucket was last measured
	until  uint64 // tick up to which the leader is suspected of being slow, 0 while it is not
	spared int    // ticks that did not count because this node had to catch up; leaks too
	blamed bool   // the leader of an earlier term was, and no calm time has passed since
	calm   uint64 // tick since when nobody was

	// doublings of the tolerance: what no leader does better is not the leader's fault.
	doublings int
}

const (
	slackTolerance    = 3  // ticks, at least; more where rounds take long
	slackLeak         = 8  // ticks in which the bucket loses one while requests wait
	slackIdleLeak     = 64 // the same while none does
	slackPerRequest   = 20 // ticks that one request may add, besides what leaks: it may be lost
	slackDoublings    = 6
	slackCalmTimeouts = 60 // after so many timeouts without suspicion the tolerance is halved
)

// tolerances are how long, in ticks, a request may wait to be ordered, and to be executed.
func (r *Replica) tolerances() (tight, wide uint64) {
	usual := r.slack.rounds.usual(uint64(r.cfg.Core.HeartbeatTicks))
	return max(slackTolerance, 2+usual) << r.slack.doublings,
		max(slackTolerance, 2+2*usual) << r.slack.doublings
}

// rounds is what a node has seen of how fast the cluster works, whoever leads.
type rounds struct {
	newest  [16]uint64 // ticks from a block's arrival to its commit
	next    int        // the place of the next one in newest
	count   int
	arrived []arrival // blocks that are not committed yet, ascending
	fullAt  uint64    // tick at which a block came that was more than half full, 0 for never
	behind  uint64    // tick at which this node last had to catch up, 0 for never
}

type arrival struct {
	at   bftraft.Position
	tick uint64
}

// usual is the lower quartile of what the newest blocks took, or what is assumed as long as there
// are few. A leader that sends blocks to some earlier than to the others makes rounds look long,
// but for each block only to fewer than would make a quorum with the liars.
func (s *rounds) usual(assumed uint64) uint64 {
	if s.count < 4 {
		return assumed
	}
	sorted := s.newest
	slices.Sort(sorted[:s.count])
	return sorted[s.count/4]
}

// saw notes what one Ready says about how fast blocks become committed.
func (r *Replica) saw(ready *bftraft.Ready) {
	s := &r.slack.rounds
	if ready.Truncated {
		s.arrived = slices.DeleteFunc(s.arrived, func(a arrival) bool {
			return a.at.Index > ready.Truncate
		})
	}
	for _, b := range ready.Blocks {
		r.placed(b)
		s.arrived = append(s.arrived, arrival{b.End(), r.now})
		if r.fills(b) {
			s.fullAt = r.now
		}
	}
	for _, b := range ready.Committed {
		k := slices.IndexFunc(s.arrived, func(a arrival) bool { return a.at == b.End() })
		if k < 0 {
			continue
		}
		switch came := s.arrived[k].tick; {
		case r.leader != r.id && slices.Contains(ready.Blocks, b):
			s.behind = r.now
		case came >= r.slack.office:
			s.newest[s.next] = r.now - came
			s.next = (s.next + 1) % len(s.newest)
			s.count = min(s.count+1, len(s.newest))
		}
		s.arrived = slices.Delete(s.arrived, 0, k+1)
	}
}

// fills says whether a block is more than half full: what it leaves out may not have fitted.
func (r *Replica) fills(b *bftraft.Block) bool {
	return len(b.Raw()) > r.cfg.BlockBytes/2 || len(b.Entries()) > bftraft.MaxBlockEntries/2
}

// behind says whether this node has just had to catch up: it does not know then how long others
// have waited.
func (r *Replica) behind(tolerance uint64) bool {
	s := &r.slack.rounds
	return s.behind > 0 && r.now-s.behind <= max(tolerance, uint64(r.cfg.Core.HeartbeatTicks))
}

// full says whether the leader works at capacity.
func (r *Replica) full(tolerance uint64) bool {
	s := &r.slack.rounds
	return s.fullAt > 0 && r.now-s.fullAt <= tolerance
}

// pressed is what a tick finds among the requests that wait.
type pressed struct {
	first *pending // one that should have been ordered, or executed, by now, and counts
	waits bool     // some wait
	spent bool     // one waits for too long that has added all it may
}

// pressing looks for requests that should have been ordered, or executed, by now.
func (r *Replica) pressing() (found pressed) {
	tight, wide := r.tolerances()
	looked, idle, full := false, false, false
	for _, o := range r.pool.clients {
		p := r.foremost(o)
		if p == nil {
			continue
		}
		o.makeReady(p, r.now)
		found.waits = true
		waited := r.now - max(p.ready, r.slack.office)
		if found.first != nil || waited <= tight {
			continue
		}
		if p.slack >= slackPerRequest+int(waited/slackLeak) {
			found.spent = true
			continue
		}
		if !looked {
			looked, idle, full = true, len(r.core.Uncommitted()) == 0, r.full(wide)
		}
		if r.unordered(o, p, tight, idle) || !full && r.unexecuted(o, p, wide) {
			found.first = p
		}
	}
	if r.spares(wide, found.first != nil) {
		found.first = nil
	}
	return found
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
	return watched && r.now-o.since > tolerance && p.placed != r.term &&
		(idle || p.passed == r.term)
}

// unexecuted says whether it has waited too long for its execution, whatever is on its way. Who
// has more outstanding than nodes have room for may have to wait.
func (r *Replica) unexecuted(o *outstanding, p *pending, tolerance uint64) bool {
	full := len(o.requests) >= r.pool.limits.Outstanding
	return !full && r.now-max(p.ready, r.slack.office) > tolerance
}

// makeReady notes since when the leader could have ordered requests: the foremost, and those that
// follow it without a gap. So those count that a slow leader orders one by one, and those do not
// for which their client kept back the ones before them.
func (o *outstanding) makeReady(first *pending, now uint64) {
	at, _ := o.place(first.Session, first.Sequence)
	for k, p := range o.requests[at:] {
		if p.Session != first.Session || p.Sequence != first.Sequence+uint64(k) {
			return
		}
		if p.ready == 0 {
			p.ready = now
		}
	}
}

// tickSlack lets one tick pass and says whether the leader is too slow.
func (r *Replica) tickSlack() bool {
	s := &r.slack
	timeout := r.core.Timeout()
	if r.leader == 0 || r.leader == r.id {
		s.bucket, s.until = 0, 0
		return false
	}
	if s.until > 0 {
		if r.now < s.until {
			return true
		}
		s.bucket, s.until = 0, 0
		s.doubt(r.now) // the others do not think so
	}
	if timeout < s.scale { // what is much now was little then
		s.bucket = s.bucket * int(timeout) / int(s.scale)
	}
	s.scale = timeout
	now := r.pressing()
	if p := now.first; p != nil {
		if p.slack == 0 {
			r.forward(p.Request, quorumcert.SetOf(r.leader))
		}
		p.slack++
		s.bucket++
	} else if s.bucket > 0 && !now.spent &&
		(now.waits && r.now%slackLeak == 0 || r.now%slackIdleLeak == 0) {
		s.bucket--
	}
	if s.bucket >= int(timeout/2) {
		if s.blamed {
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

// doubt doubles the tolerance: another leader is no faster, or the others see no slow leader.
func (s *slack) doubt(now uint64) {
	s.doublings = min(s.doublings+1, slackDoublings)
	s.calm = now
}

// placed notes which of the pressing requests a new block holds, and which it passes over although
// it had room for them.
func (r *Replica) placed(b *bftraft.Block) {
	if len(r.pool.clients) == 0 || r.leader == 0 || r.leader == r.id {
		return
	}
	tolerance, _ := r.tolerances()
	waits := false
	for _, o := range r.pool.clients {
		waits = waits || o.watchedSequence != 0 && r.now-o.since > tolerance
	}
	if !waits {
		return
	}
	for _, e := range b.Entries() {
		req, err := bftraft.DecodeRequest(e.Data)
		if err != nil {
			continue
		}
		if o, _, ok := r.pool.find(req.Client); ok {
			if i, ok := o.place(req.Session, req.Sequence); ok {
				o.requests[i].placed = r.term
			}
		}
	}
	if r.fills(b) {
		return
	}
	for _, o := range r.pool.clients {
		p := r.foremost(o)
		if p != nil && p.placed != r.term && r.now-o.since > tolerance {
			p.passed = r.term
		}
	}
}
