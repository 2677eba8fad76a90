package replica

import (
	"tangaroa/bftraft"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// slack measures how long requests wait that nothing keeps from being ordered (E5): a leader that
// serves everybody, but each as late as it may, starves nobody by the timer of a single request.
//
// A tick is slack when some client's lowest request has waited for longer than the tolerance and
// stands in no block, though none is on its way, or one that was not full has passed it over. Such
// ticks fill a bucket that leaks slowly; a full bucket is a reason to suspect the leader.
type slack struct {
	bucket int
	until  uint64 // tick up to which the leader is suspected of being slow, 0 while it is not
	blamed bool   // the leader of an earlier term was, and no calm time has passed since
	calm   uint64 // tick since when nobody was

	// doublings of the tolerance: what no leader does better is not the leader's fault.
	doublings int
}

const (
	slackTolerance    = 3  // ticks
	slackLeak         = 8  // ticks in which the bucket loses one
	slackPerRequest   = 20 // ticks that one request may add: it may be lost on its way
	slackDoublings    = 6
	slackCalmTimeouts = 60 // after so many timeouts without suspicion the tolerance is halved
)

func (s *slack) tolerance() uint64 { return slackTolerance << s.doublings }

// pressing returns the first request that should have been ordered by now, nil for none.
func (r *Replica) pressing() *pending {
	looked, idle := false, false
	for _, o := range r.pool.clients {
		p := r.lowest(o)
		if p == nil || p.Session != o.watchedSession || p.Sequence != o.watchedSequence ||
			r.now-o.since <= r.slack.tolerance() || p.placed == r.term ||
			p.slack >= slackPerRequest {
			continue
		}
		if !looked {
			looked, idle = true, len(r.core.Uncommitted()) == 0
		}
		if idle || p.passed == r.term {
			return p
		}
	}
	return nil
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
	if p := r.pressing(); p != nil {
		if p.slack == 0 {
			r.forward(p.Request, quorumcert.SetOf(r.leader))
		}
		p.slack++
		s.bucket++
	} else if s.bucket > 0 && r.now%slackLeak == 0 {
		s.bucket--
	}
	if s.bucket >= int(timeout/2) && !mutant.On(mutant.M92) {
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
	waits := false
	for _, o := range r.pool.clients {
		waits = waits || o.watchedSequence != 0 && r.now-o.since > r.slack.tolerance()
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
	if len(b.Raw()) > r.cfg.BlockBytes/2 || len(b.Entries()) > bftraft.MaxBlockEntries/2 {
		return
	}
	for _, o := range r.pool.clients {
		p := r.lowest(o)
		if p != nil && p.placed != r.term && r.now-o.since > r.slack.tolerance() {
			p.passed = r.term
		}
	}
}
