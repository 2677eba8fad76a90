package sim

import (
	"fmt"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client/judge"
	"tangaroa/bftraft/kv"
	"tangaroa/quorumcert"
)

const (
	// readLateMillis is when nodes that owe an answer are asked again.
	readLateMillis = 400
	// readPatienceMillis is how long nodes may take to execute as far as the read index, before the
	// whole question is asked anew.
	readPatienceMillis = 3000
)

// read is a row of linearizable reads under one nonce (C3).
type read struct {
	judge.Question
	keys   []string // of the queries
	done   []bool   // which of them have their result
	since  int
	asked  int            // when the question was asked first, under its nonce
	sentAt int            // and when somebody was asked last
	owe    quorumcert.Set // nodes that owe an answer
	under  bftraft.Index  // the configuration by which it was asked
	after  bftraft.Index  // the highest index any client knew accepted when the read began
}

func (c *client) issueRead() {
	if c.w.calm && !c.mayWrite() {
		c.final++ // it asks for nothing else
	}
	c.read = &read{since: c.w.now, after: c.w.watch.accepted}
	for range c.random.between(1, 2) {
		c.read.keys = append(c.read.keys, fmt.Sprint("k", c.random.below(c.w.opt.Keys)))
	}
	c.askAnew(c.read)
}

// askAnew asks all for what has no result yet, under a fresh nonce.
func (c *client) askAnew(r *read) {
	var left []string
	var queries [][]byte
	for i, key := range r.keys {
		if r.done != nil && r.done[i] {
			continue
		}
		query, err := kv.EncodeQuery(kv.Range{Span: kv.One([]byte(key))})
		if err != nil {
			panic(err)
		}
		left, queries = append(left, key), append(queries, query)
	}
	c.reads++
	config := c.gate.Configurations().Latest()
	r.Question, r.under = judge.Linearizable(config, queries...), config.Entry()
	r.Nonce = nonce(c.index, c.reads)
	r.keys, r.done = left, make([]bool, len(left))
	r.asked, r.owe = c.w.now, config.Members()
	c.ask(r, r.owe)
}

func (c *client) ask(r *read, to quorumcert.Set) {
	r.sentAt = c.w.now
	for id := to.Next(0); id != 0; id = to.Next(id) {
		c.send(int(id)-1, r.Frame(id))
	}
}

func (c *client) tickRead() {
	r := c.read
	switch {
	case r == nil:
	case r.Outdated(c.gate.Configurations().Latest()):
		c.askAnew(r)
	case r.unsettled() || r.Stuck() && c.w.now-r.asked >= readPatienceMillis:
		c.w.watch.hit(seenAnew)
		c.askAnew(r)
	case c.w.now-r.sentAt >= readLateMillis:
		c.ask(r, r.owe)
		if c.w.opt.Moves > 0 { // perhaps all whom it asks have left
			c.send(c.random.below(len(c.w.nodes)), bftraft.ChangesRequest(c.gate.Members().Number))
		}
	}
}

// unsettled says that what is left to be read keeps changing.
func (r *read) unsettled() bool {
	for i := range r.keys {
		if !r.done[i] && r.Outcome(i) == judge.Unsettled {
			return true
		}
	}
	return false
}

func (c *client) onRead(from bftraft.NodeID, reply *bftraft.ReadReply) {
	r := c.read
	if r == nil || reply.Nonce != r.Nonce || !c.answers[from-1].Verify(reply, r.Queries) {
		return
	}
	r.Add(reply)
	if reply.Configuration <= r.under {
		r.owe = r.owe.Without(from) // else it is to show the newer one again, should that be lost
	}
	left := 0
	for i := range r.keys {
		switch {
		case r.done[i]:
		case r.Outcome(i) == judge.Answered:
			result, _, _, _ := r.Tallies[i].Result()
			r.done[i] = true
			c.w.watch.readAccepted(c, r, r.keys[i], result)
			c.w.watch.blames(c, r.Tallies[i].Dissenters())
		case r.Outcome(i) == judge.Superseded:
			if len(c.w.gates) == 1 {
				c.w.watch.fail("B14", "client %d is told of a configuration that there is not", c.index)
			}
			left++ // it will ask by the newer one
		default:
			left++
		}
	}
	if left == 0 {
		c.read = nil
		return
	}
	if behind := r.Behind(); behind != 0 {
		c.w.watch.hit(seenBehind)
		r.owe |= behind
		c.ask(r, behind)
	}
}
