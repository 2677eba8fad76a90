package client

import (
	"fmt"
	"slices"
	"time"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// run signs and sends what waits, and repeats what is late, until Close.
func (c *Client) run() {
	defer close(c.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		c.tellLink()
		for c.launch() {
		}
		timer.Reset(c.repeatLate())
		select {
		case <-c.stop.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
	}
}

// launch signs and sends one request with what waits, if the window has room. While it is full
// operations gather, so that under load many share a signature.
func (c *Client) launch() bool {
	if c.stop.Err() != nil {
		return false
	}
	c.mu.Lock()
	f, ops := c.board()
	c.mu.Unlock()
	if f == nil {
		return false
	}
	request := bftraft.SignRequest(c.cluster, c.cfg.Key, f.id.Session, f.id.Sequence, ops)
	frame := bftraft.RequestFrame(request.Raw())
	tally := NewTally(c.cluster, &c.known, request)

	c.mu.Lock()
	defer c.mu.Unlock()
	f.request, f.frame, f.tally, f.began = request, frame, tally, time.Now()
	c.stats.Requests++
	c.stats.Ops += uint64(len(ops))
	f.due = f.began.Add(c.pace.first())
	c.send(f, false)
	c.probeWhenDue(f.began)
	return true
}

// probeRequests is how many requests may be shown to all nodes in the time of Config.Probe, and
// probeBytes how much of them to each node: what is shown is sent, forwarded and compared by all,
// and should be a part of all requests of a busy client. What is left of one such time is saved up.
const (
	probeRequests = 32
	probeBytes    = 128 << 10
)

// probeWhenDue shows all nodes what is under way, if there is something that not all have been
// shown and it was not too much lately. It returns whether it did, and when to look again. A leader
// hears which requests others know of, since they forward them, and could serve those at once and
// hold up the rest until it is shown. So a client that is served slowly shows each request at once.
func (c *Client) probeWhenDue(now time.Time) (probed bool, wait time.Duration) {
	if c.cfg.Probe < 0 || !slices.ContainsFunc(c.flights, c.unshown) {
		return false, c.cfg.LateMax
	}
	if left := c.probeDue.Sub(now); left > 0 {
		return false, left
	}
	shown, size := c.probe()
	cost := max(c.cfg.Probe*time.Duration(shown)/probeRequests,
		c.cfg.Probe*time.Duration(size)/probeBytes)
	if saved := now.Add(-c.cfg.Probe); c.probeDue.Before(saved) {
		c.probeDue = saved
	}
	if c.probeDue = c.probeDue.Add(cost); shown == 0 {
		c.probeDue = now.Add(c.cfg.Probe) // what is under way before it is large
	}
	return true, max(c.probeDue.Sub(now), time.Millisecond)
}

// unshown says whether some node that can be reached has not been sent a request.
func (c *Client) unshown(f *flight) bool { return f.frame != nil && c.reachable()&^f.sent != 0 }

// probe shows all nodes what is under way, from the oldest on: a node can time only what follows
// without a gap on what has been executed, and the newest waits longest for a leader that takes one
// at a time. It returns how many requests were news to somebody, and their size.
func (c *Client) probe() (shown, size int) {
	looked := 0
	for _, f := range c.flights {
		looked += len(f.frame)
		if f.frame == nil || looked > probeBytes && f != c.flights[0] {
			break
		}
		all, before := c.reachable(), f.sent
		f.reach |= all
		for id := all.Next(0); id != 0; id = all.Next(id) {
			if !before.Has(id) {
				c.sendTo(f, id)
			}
		}
		if f.sent != before {
			shown, size = shown+1, size+len(f.frame)
		}
	}
	return shown, size
}

// room says that another request may be sent. The window counts from the oldest one without a
// result, so that the cluster still remembers the results of all in it. A session that was given up
// empties first.
func (c *Client) room() bool {
	if len(c.flights) == 0 {
		return true
	}
	oldest := c.flights[0].id
	return oldest.Session == c.session && c.next < oldest.Sequence+uint64(c.cfg.Window)
}

// board takes operations from the queue into a new flight.
func (c *Client) board() (*flight, [][]byte) {
	if len(c.queue) == 0 || !c.room() {
		return nil, nil
	}
	f := &flight{id: RequestID{c.session, c.next}}
	var ops [][]byte
	size, n := 0, 0
	for _, future := range c.queue {
		full := n == c.cfg.BundleOps || size+future.cost() > c.cfg.BundleBytes || future.alone
		if n > 0 && full {
			break
		}
		future.flight = f
		f.futures, ops = append(f.futures, future), append(ops, future.op)
		size += future.cost()
		if n++; future.alone {
			break
		}
	}
	clear(c.queue[:n])
	c.queue = c.queue[n:]
	c.queueBytes -= size
	c.next++
	c.flights = append(c.flights, f)
	return f, ops
}

// send sends a flight to all, or to the leader, or to anybody who may forward it while no leader is
// known.
func (c *Client) send(f *flight, all bool) {
	up := c.reachable()
	f.reach |= up
	if all {
		for id := up.Next(0); id != 0; id = up.Next(id) {
			c.sendTo(f, id)
		}
		return
	}
	to := c.leaders.best(c.config().Size().F)
	if !up.Has(to) {
		to = up.Next(0)
	}
	if to != 0 {
		c.sendTo(f, to)
	}
}

func (c *Client) sendTo(f *flight, id bftraft.NodeID) {
	if c.link.Send(id, f.frame) {
		f.sent = f.sent.With(id)
	}
}

// repeatLate sends what is late to all nodes, and asks them who leads. It returns when there will
// be something to do again.
func (c *Client) repeatLate() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	wait := c.cfg.LateMax
	late := false
	for _, f := range c.flights {
		if f.frame == nil {
			continue
		}
		if left := f.due.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		pause := c.pace.first()
		if f.retry {
			f.retry, f.repeated = false, true
			f.due = now.Add(pause)
			wait = min(wait, pause)
			c.stats.Busy++
			c.send(f, f.toAll)
			continue
		}
		late = true
		if f.sent != 0 {
			f.repeated, f.toAll = true, true
			c.stats.Repeated++
			pause = c.pace.next(now.Sub(f.began))
		}
		f.due = now.Add(pause)
		wait = min(wait, pause)
		c.send(f, f.toAll)
	}
	// No new request for a while means no answer for a while: perhaps another leads.
	probed, next := c.probeWhenDue(now)
	if (late || probed) && now.Sub(c.asked) >= c.pace.first() {
		c.asked = now
		c.askStatus(c.reachable())
	}
	return min(wait, next)
}

// askStatus asks nodes for their status.
func (c *Client) askStatus(to quorumcert.Set) {
	frame := []byte{bftraft.FrameStatus}
	for id := to.Next(0); id != 0; id = to.Next(id) {
		c.link.Send(id, frame)
	}
}

// greet asks nodes that came up for their status, and for changes if there may be any: who knows
// only of members that are gone learns of the others from the first that is not.
func (c *Client) greet(to quorumcert.Set) {
	c.askStatus(to & c.config().Members())
	if len(c.cfg.Genesis.Admins) > 0 {
		c.askChanges(to)
	}
}

// askChanges asks nodes for the changes behind those that are known.
func (c *Client) askChanges(to quorumcert.Set) {
	frame := bftraft.ChangesRequest(c.Members().Number)
	for id := to.Next(0); id != 0; id = to.Next(id) {
		c.link.Send(id, frame)
	}
}

// Up is called by the link when a node can be reached. What was sent before may be lost.
func (c *Client) Up(id bftraft.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isMember(id) || c.closed {
		return
	}
	c.up = c.up.With(id)
	if c.link == nil {
		return // New will ask
	}
	c.greet(quorumcert.SetOf(id))
	if !c.config().Has(id) {
		return
	}
	for _, f := range c.flights {
		// Nodes that could not be reached when they executed a request have told nobody. So
		// as long as they may be needed, they get it when they come up, and answer again.
		if f.frame != nil && (f.toAll || f.sent.Has(id) || f.reach.Len() < c.config().Size().Q) {
			f.reach = f.reach.With(id)
			c.sendTo(f, id)
		}
	}
	for _, r := range c.reads {
		if r.asks.Has(id) {
			c.ask(r, quorumcert.SetOf(id))
		}
	}
}

// Down is called by the link when a node cannot be reached any more. What went to it alone goes to
// all now: it may have been the leader. Or it may be no member any more: the others are asked, or
// one after the other would go, and a client that has nothing to ask for knew nobody in the end.
func (c *Client) Down(id bftraft.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = c.up.Without(id)
	c.leaders.forget(id)
	if c.link != nil && !c.closed {
		c.greet(c.up)
	}
	for _, f := range c.flights {
		if f.frame != nil && f.sent.Has(id) && !f.toAll {
			f.due = time.Now()
			c.kick()
		}
	}
}

// breakSession gives up the session after a request in it that will never be executed: those
// after it wait for it in vain. Later operations go under a new session.
func (c *Client) breakSession(f *flight) {
	kept := c.flights[:0]
	for _, other := range c.flights {
		if other.id.Session == f.id.Session && other.id.Sequence > f.id.Sequence {
			other.fail(other.unknown(fmt.Errorf("request %v before it was refused", f.id)))
			continue
		}
		kept = append(kept, other)
	}
	clear(c.flights[len(kept):])
	c.flights = kept
	if c.session == f.id.Session {
		c.session = max(c.session+1, uint64(time.Now().UnixNano()))
		c.next = 1
	}
}
