package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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

// errAskAnew says that a question should be asked anew, under a fresh nonce.
var errAskAnew = errors.New("ask anew")

// reading is a question that waits for answers. The client's mutex guards it.
type reading struct {
	judge.Question
	first *bftraft.ReadReply // the first answer, if there is no tally
	asks  quorumcert.Set     // nodes that owe an answer, now or once they can be reached
	news  chan struct{}      // holds one
}

// take counts a verified answer.
func (r *reading) take(reply *bftraft.ReadReply) {
	if r.Tally == nil {
		if r.first == nil {
			r.first = reply
		}
	} else {
		r.Tally.Add(reply)
	}
	r.asks = r.asks.Without(reply.Signer)
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// Read answers a query with a result that is not older than any write that was complete before
// Read was called. It writes nothing to the log. ErrReadUnsettled means that what is read keeps
// changing, and that the caller should read through the log.
func (c *Client) Read(ctx context.Context, query []byte) (ReadResult, error) {
	if len(query) > bftraft.MaxOpBytes {
		return ReadResult{}, fmt.Errorf("%w: query of %d bytes", ErrTooLarge, len(query))
	}
	for try := range c.cfg.ReadTries {
		if try > 0 && !pause(ctx, time.Duration(try)*5*time.Millisecond) {
			return ReadResult{}, fmt.Errorf("%w: %w", ErrNoQuorum, context.Cause(ctx))
		}
		result, err := c.readOnce(ctx, query)
		if !errors.Is(err, errAskAnew) {
			return result, err
		}
	}
	return ReadResult{}, ErrReadUnsettled
}

// pause is false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
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

// ask sends a question to nodes. The one answer that a stale read needs is asked of one at a time.
func (c *Client) ask(r *reading, to quorumcert.Set) {
	for id := to.Next(0); id != 0; id = to.Next(id) {
		if c.link.Send(id, r.Frame(id)) && r.Tally == nil {
			r.asks = quorumcert.SetOf(id)
		}
	}
}

// readOnce asks all nodes under one nonce until a result stands.
func (c *Client) readOnce(ctx context.Context, query []byte) (ReadResult, error) {
	r := c.begin(&reading{
		Question: judge.Question{Query: query, Tally: judge.NewReadTally(c.config)},
		asks:     c.config.Members(),
	})
	defer c.end(r)
	c.mu.Lock()
	c.ask(r, c.up)
	late := c.pace.first()
	c.mu.Unlock()
	repeat := time.NewTimer(late)
	defer repeat.Stop()
	patience := time.NewTimer(c.cfg.ReadPatience)
	defer patience.Stop()
	for {
		select {
		case <-ctx.Done():
			return ReadResult{}, fmt.Errorf("%w: %w", ErrNoQuorum, context.Cause(ctx))
		case <-c.stop.Done():
			return ReadResult{}, ErrClosed
		case <-r.news:
		case <-repeat.C:
			c.repeatRead(r)
			late = min(2*late, c.cfg.LateMax)
			repeat.Reset(late)
		case <-patience.C:
			if c.stuck(r) {
				return ReadResult{}, errAskAnew
			}
			patience.Reset(c.cfg.ReadPatience)
		}
		if result, done, err := c.advance(r); done {
			return result, err
		}
	}
}

// repeatRead asks those again that have not answered at all. Those that wait for the read index
// have the question.
func (c *Client) repeatRead(r *reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ask(r, r.Tally.Unheard()&c.up)
}

// stuck says that the read index is known and still nobody agrees: a lock may have been given up.
func (c *Client) stuck(r *reading) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return r.Stuck()
}

// advance looks at what a read has come to, and asks those again that were behind.
func (c *Client) advance(r *reading) (result ReadResult, done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.Outcome() {
	case judge.Answered:
		value, at, by, _ := r.Tally.Result()
		c.blameReaders(r.Tally.Dissenters())
		return ReadResult{Value: value, Index: at, Nodes: by}, true, nil
	case judge.Superseded:
		return result, true, ErrNewerConfiguration
	case judge.Unsettled:
		return result, true, errAskAnew
	}
	if behind := r.Behind(); behind != 0 {
		r.asks |= behind
		c.ask(r, behind)
	}
	return result, false, nil
}

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
	r := &reading{Question: judge.Question{Query: query}, asks: c.config.Members()}
	return c.readOne(ctx, r, c.cfg.Late,
		func(r *reading) {
			fresh := c.up &^ asked
			if fresh == 0 {
				asked, fresh = 0, c.up
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
	r := &reading{Question: judge.Question{Query: query, Least: least}, asks: only}
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
		select {
		case <-ctx.Done():
			return ReadResult{}, fmt.Errorf("%w: %w", ErrNoQuorum, context.Cause(ctx))
		case <-c.stop.Done():
			return ReadResult{}, ErrClosed
		case <-r.news:
			c.mu.Lock()
			reply := r.first
			c.mu.Unlock()
			return ReadResult{
				Value: reply.Result, Index: reply.Executed, Nodes: quorumcert.SetOf(reply.Signer),
			}, nil
		case <-repeat.C:
			c.mu.Lock()
			ask(r)
			c.mu.Unlock()
			repeat.Reset(every)
		}
	}
}
