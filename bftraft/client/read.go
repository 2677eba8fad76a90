package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client/judge"
	"tangaroa/quorumcert"
)

// ReadResult is the answer to a query.
type ReadResult struct {
	Value []byte        // what the state machine answered
	Index bftraft.Index // how far the furthest that vouches for it has executed
	// Nodes vouch for it: f+1 or more for a linearizable read, one for a stale one.
	Nodes quorumcert.Set
}

// call is a linearizable read that somebody waits for. The client's mutex guards it until done is
// closed.
type call struct {
	query  []byte
	alone  bool // its result needs an answer of its own
	tries  int
	asked  *reading // under way
	over   bool     // it has its result, or nobody waits any more
	result ReadResult
	err    error
	done   chan struct{}
}

func (l *call) end(result ReadResult, err error) {
	if l.over {
		return
	}
	l.over, l.result, l.err = true, result, err
	close(l.done)
}

// reading is a question that waits for answers. The client's mutex guards it.
type reading struct {
	judge.Question
	calls []*call            // one for each query, if there are tallies
	first *bftraft.ReadReply // the first answer, if there are none
	asks  quorumcert.Set     // nodes that owe an answer, now or once they can be reached
	news  chan struct{}      // holds one
}

// take counts a verified answer.
func (r *reading) take(reply *bftraft.ReadReply) {
	if r.Tallies == nil && r.first == nil {
		r.first = reply
	}
	r.Add(reply)
	r.asks = r.asks.Without(reply.Signer)
	r.wake()
}

// awaits says whether a call still waits for this question.
func (r *reading) awaits(l *call) bool { return !l.over && l.asked == r }

func (r *reading) wake() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// readWindow is how many questions with linearizable reads are under way at most. What comes
// meanwhile gathers, so that under load many reads share a question, and a node's signature answers
// them all.
const readWindow = 4

// Read answers a query with a result that is not older than any write that was complete before
// Read was called. It writes nothing to the log. ErrReadUnsettled means that what is read keeps
// changing, and that the caller should read through the log.
func (c *Client) Read(ctx context.Context, query []byte) (ReadResult, error) {
	if len(query) > bftraft.MaxOpBytes {
		return ReadResult{}, fmt.Errorf("%w: query of %d bytes", ErrTooLarge, len(query))
	}
	l := &call{query: query, done: make(chan struct{})}
	c.wait(l)
	select {
	case <-l.done:
	case <-ctx.Done():
		c.leave(l, fmt.Errorf("%w: %w", c.unanswered(), context.Cause(ctx)))
	}
	return l.result, l.err
}

// wait puts a call into the queue.
func (c *Client) wait(l *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.stop.Err() != nil {
		l.end(ReadResult{}, ErrClosed)
		return
	}
	if err := c.departed(); err != nil {
		l.end(ReadResult{}, err)
		return
	}
	c.calls = append(c.calls, l)
	c.question()
}

// leave ends a call for which nobody waits any more.
func (c *Client) leave(l *call, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.end(ReadResult{}, err)
	if r := l.asked; r != nil && !slices.ContainsFunc(r.calls, r.awaits) {
		delete(c.reads, r.Nonce)
		r.wake()
	}
}

// question asks what waits, as far as the window has room.
func (c *Client) question() {
	for c.asking < readWindow && c.stop.Err() == nil {
		c.calls = slices.DeleteFunc(c.calls, func(l *call) bool { return l.over })
		n := c.together()
		if n == 0 {
			return
		}
		calls := slices.Clone(c.calls[:n])
		c.calls = slices.Delete(c.calls, 0, n)
		c.asking++
		c.readers.Go(func() { c.read(calls) })
	}
}

// together is how many of the calls that wait fit into one question.
func (c *Client) together() (n int) {
	size := 0
	for _, l := range c.calls {
		size += len(l.query) + opOverhead
		full := n == c.cfg.BundleOps || size > c.cfg.BundleBytes || l.alone || c.calls[0].alone
		if n > 0 && full {
			break
		}
		n++
	}
	return n
}

// read asks all nodes under one nonce until each call has a result or has to be asked anew.
func (c *Client) read(calls []*call) {
	queries := make([][]byte, len(calls))
	for i, l := range calls {
		queries[i] = l.query
	}
	config := c.config()
	r := c.begin(&reading{
		Question: judge.Linearizable(config, queries...), calls: calls, asks: config.Members(),
	})
	c.mu.Lock()
	for _, l := range calls {
		l.asked = r
	}
	c.ask(r, c.reachable())
	late := c.pace.first()
	c.mu.Unlock()
	repeat := time.NewTimer(late)
	defer repeat.Stop()
	patience := time.NewTimer(c.cfg.ReadPatience)
	defer patience.Stop()
	for stuck := false; !c.advance(r, stuck); {
		select {
		case <-c.stop.Done():
			c.finish(r)
			return
		case <-r.news:
		case <-repeat.C:
			c.repeatRead(r)
			late = min(2*late, c.cfg.LateMax)
			repeat.Reset(late)
		case <-patience.C:
			stuck = c.stuck(r)
			patience.Reset(c.cfg.ReadPatience)
		}
	}
	c.finish(r)
}

// begin registers a question under a fresh nonce; nodes that come up are asked.
func (c *Client) begin(r *reading) *reading {
	r.news = make(chan struct{}, 1)
	rand.Read(r.Nonce[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads[r.Nonce] = r
	return r
}

func (c *Client) end(r *reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.reads, r.Nonce)
}

// finish makes room for the next question with linearizable reads.
func (c *Client) finish(r *reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.reads, r.Nonce)
	for _, l := range r.calls {
		if l.asked == r {
			l.end(ReadResult{}, ErrClosed) // no other reason is left
		}
	}
	c.asking--
	c.question()
}

// ask sends a question to nodes. The one answer that a stale read needs is asked of one at a time.
func (c *Client) ask(r *reading, to quorumcert.Set) {
	for id := to.Next(0); id != 0; id = to.Next(id) {
		if c.link.Send(id, r.Frame(id)) && r.Tallies == nil {
			r.asks = quorumcert.SetOf(id)
		}
	}
}

// repeatRead asks those again that have not answered at all. Those that wait for the read index
// have the question.
func (c *Client) repeatRead(r *reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ask(r, r.Unheard()&c.reachable())
}

// stuck says that the read index is known and still nobody agrees: a lock may have been given up.
func (c *Client) stuck(r *reading) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return r.Stuck()
}

// advance looks at what a question has come to, and asks those again that were behind. It is true
// when nobody waits for it any more. What is stuck is asked anew.
func (c *Client) advance(r *reading, stuck bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	var dissenters quorumcert.Set
	waiting, left := false, c.departed()
	for i, l := range r.calls {
		switch {
		case !r.awaits(l):
			continue
		case left != nil:
			l.end(ReadResult{}, left)
			continue
		}
		outcome := r.Outcome(i)
		if outcome != judge.Answered && r.Outdated(c.config()) {
			outcome = judge.Superseded
		}
		switch outcome {
		case judge.Answered:
			value, at, by, _ := r.Tallies[i].Result()
			dissenters |= r.Tallies[i].Dissenters()
			l.end(ReadResult{Value: bytes.Clone(value), Index: at, Nodes: by}, nil)
		case judge.Superseded:
			c.again(l, false) // under what the nodes are asked for meanwhile
		case judge.Unsettled:
			c.again(l, len(r.calls) > 1 && r.Tallies[i].Crowded())
		default:
			if waiting = waiting || !stuck; stuck {
				c.again(l, false)
			}
		}
	}
	if !waiting {
		delete(c.reads, r.Nonce)
	}
	c.blameReaders(dissenters)
	if !waiting {
		return true
	}
	if behind := r.Behind(); behind != 0 {
		r.asks |= behind
		c.ask(r, behind)
	}
	return false
}

// again asks a call anew, after a while. One whose result had no room beside those of others is
// asked alone, at once, and that is no try: it has not been answered yet.
func (c *Client) again(l *call, crowded bool) {
	l.asked = nil
	if crowded {
		l.alone = true
		c.calls = append(c.calls, l)
		c.question()
		return
	}
	if l.tries++; l.tries >= c.cfg.ReadTries {
		l.end(ReadResult{}, ErrReadUnsettled)
		return
	}
	c.readers.Go(func() {
		timer := time.NewTimer(time.Duration(l.tries) * readPause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.stop.Done():
		case <-l.done:
		}
		c.wait(l)
	})
}

// readPause is the pause before a read is asked for the second time; it grows with each.
const readPause = 5 * time.Millisecond

// blameReaders reports nodes that contradicted f+1 others, without the mutex that is held.
func (c *Client) blameReaders(nodes quorumcert.Set) {
	if nodes == 0 {
		return
	}
	var list []Dissent
	for id := nodes.Next(0); id != 0; id = nodes.Next(id) {
		list = append(list, Dissent{Node: id, Kind: DissentRead})
	}
	c.mu.Unlock()
	defer c.mu.Lock()
	c.report(list)
}

// ReadStale answers a query with the word of one node, which may be behind or lie. Nodes are asked
// one after the other until one answers.
func (c *Client) ReadStale(ctx context.Context, query []byte) (ReadResult, error) {
	var asked quorumcert.Set
	r := &reading{Question: judge.Question{Queries: [][]byte{query}}, asks: c.config().Members()}
	return c.readOne(ctx, r, c.cfg.Late,
		func(r *reading) {
			fresh := c.reachable() &^ asked
			if fresh == 0 {
				asked, fresh = 0, c.reachable()
			}
			if id := fresh.Next(0); id != 0 {
				asked = asked.With(id)
				c.ask(r, quorumcert.SetOf(id))
			}
		})
}

// longPoll is after how long a node is asked again that was to wait for an index.
const longPoll = 15 * time.Second

// ReadFrom answers a query with the word of one named node, once it has executed the index, or with
// what it has after about ten seconds. It is what watches are made of.
func (c *Client) ReadFrom(
	ctx context.Context, node bftraft.NodeID, least bftraft.Index, query []byte,
) (ReadResult, error) {
	only := quorumcert.SetOf(node)
	r := &reading{Question: judge.Question{Queries: [][]byte{query}, Least: least}, asks: only}
	return c.readOne(ctx, r, longPoll,
		func(r *reading) { c.ask(r, only&c.up) })
}

// readOne takes the first answer. What ask does, with the mutex held, is done at once and repeated.
func (c *Client) readOne(
	ctx context.Context, r *reading, every time.Duration, ask func(*reading),
) (ReadResult, error) {
	c.begin(r)
	defer c.end(r)
	repeat := time.NewTimer(0)
	defer repeat.Stop()
	for {
		if err := c.departed(); err != nil {
			return ReadResult{}, err
		}
		select {
		case <-ctx.Done():
			return ReadResult{}, fmt.Errorf("%w: %w", c.unanswered(), context.Cause(ctx))
		case <-c.stop.Done():
			return ReadResult{}, ErrClosed
		case <-r.news:
			c.mu.Lock()
			reply := r.first
			c.mu.Unlock()
			if reply == nil { // the members have changed, and an answer may have been judged in vain
				repeat.Reset(0)
				continue
			}
			return ReadResult{
				Value: reply.Results[0], Index: reply.Executed, Nodes: quorumcert.SetOf(reply.Signer),
			}, nil
		case <-repeat.C:
			c.mu.Lock()
			ask(r)
			c.mu.Unlock()
			repeat.Reset(every)
		}
	}
}
