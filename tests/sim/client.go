package sim

import (
	"fmt"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client/judge"
	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// client is an honest client: it judges by the code of the client library (package judge) and has
// links and a clock of its own. A request goes to one node first and to all when that takes long.
type client struct {
	w        *World
	index    int
	key      clientKey
	replies  []judge.Replies // of each node, by position
	answers  []judge.Reads
	session  uint64
	sequence uint64 // of the newest request
	writes   []*write
	read     *read
	reads    int // questions asked
	acked    int
	random   *stream
	issued   int
	final    int               // writes issued after the healing
	gate     *bftraft.Verifier // what it has been shown of changes
	strays   uint64
	// loop, if set, is what it does instead, at each tick and after each answer.
	loop func()
	took func(ms int) // with loop; is told how long each answer took
}

// write is a request on its way.
type write struct {
	request *bftraft.Request
	tally   *judge.Tally
	since   int
	sentAt  int
	sends   int
	height  bftraft.Index // what was committed when it was last sent
	after   bftraft.Index // the highest index any client knew accepted when it began
}

// clientTickMillis is how often a client looks whether it has something to do.
const clientTickMillis = 50

func newClient(w *World, i int, key clientKey) *client {
	return &client{w: w, index: i, key: key, session: 1,
		random: newStream(w.opt.Seed, fmt.Sprint("client", i))}
}

// listen makes the judges of what nodes say, once the cluster has its name.
func (c *client) listen() {
	c.gate = c.w.verifier
	for _, m := range c.w.nodes {
		c.replies = append(c.replies, judge.NewReplies(c.w.cluster, c, m.id))
		c.answers = append(c.answers, judge.NewReads(c.w.cluster, c, m.id))
	}
}

func (c *client) tick() {
	c.w.at(clientTickMillis, event{kind: eventClientTick, node: c.index})
	if c.loop != nil {
		c.loop()
		return
	}
	if !c.w.calm || c.final < 3 {
		switch {
		case !c.mayWrite():
			c.tickStray()
		case len(c.writes) < 4 && c.random.chance(300):
			c.issueWrite()
		}
		c.tickChanges()
		c.tickMembers()
		if c.read == nil && c.enrolled() && c.random.chance(100) {
			c.issueRead()
		}
	}
	for _, wr := range c.writes {
		if c.w.now-wr.sentAt >= 400 {
			c.sendWrite(wr, true)
		}
	}
	c.tickRead()
}

func (c *client) issueWrite() { c.sendWrite(c.newWrite(), false) }

// newWrite makes the next request and expects its answer.
func (c *client) newWrite() *write {
	if c.w.calm {
		c.final++
	}
	return c.newRequest(c.someOps(c.sequence + 1))
}

// someOps draws operations, whose values tell the client and the sequence of the request.
func (c *client) someOps(sequence uint64) [][]byte {
	var ops [][]byte
	key := fmt.Sprint("k", c.random.below(c.w.opt.Keys))
	for i := range c.random.between(1, 3) {
		op, err := kv.EncodeOp(kv.Put{
			Key: []byte(key), Value: fmt.Appendf(nil, "%d/%d/%d", c.index, sequence, i),
		})
		if err != nil {
			panic(err)
		}
		ops = append(ops, op)
	}
	return ops
}

// newRequest makes the next request of operations and expects its answer.
func (c *client) newRequest(ops [][]byte) *write {
	c.sequence++
	c.issued++
	req := bftraft.SignRequest(c.w.cluster, c.key, c.session, c.sequence, ops)
	wr := &write{
		request: req, since: c.w.now, after: c.w.watch.accepted,
		tally: judge.NewTally(c.w.cluster, c, req),
	}
	c.writes = append(c.writes, wr)
	return wr
}

func (c *client) sendWrite(wr *write, all bool) {
	wr.sentAt, wr.height = c.w.now, c.w.watch.highest
	wr.sends++
	frame := bftraft.RequestFrame(wr.request.Raw())
	first := c.random.below(len(c.w.nodes))
	for i := range c.w.nodes {
		if all || i == first {
			c.send(i, frame)
		}
	}
}

func (c *client) send(node int, frame []byte) {
	c.w.fromEnd(endOfClient(c.index), c.index, node, frame)
}

func (c *client) receive(from bftraft.NodeID, frame []byte) {
	switch frame[0] {
	case bftraft.FrameReply:
		r, err := bftraft.DecodeBlockReply(frame)
		switch {
		case err != nil:
		case c.replies[from-1].Verify(r):
			c.onReply(from, r)
		default:
			c.hears(from, r.Reply.Configuration)
		}
	case bftraft.FrameReadReply:
		if r, err := bftraft.DecodeReadReply(frame); err == nil {
			c.hears(from, r.Configuration)
			c.onRead(from, r)
		}
	case bftraft.FrameChangesReply:
		c.learns(frame)
	}
}

// onReply has each request that waits judge whether the reply is about it.
func (c *client) onReply(from bftraft.NodeID, r *bftraft.BlockReply) {
	waiting := c.writes
	for _, wr := range waiting {
		c.w.shows(c, wr, from, r)
		verdict, answer := wr.tally.Add(r)
		if verdict != judge.Settled {
			continue
		}
		c.acked++
		i := slices.Index(c.writes, wr)
		c.writes = append(c.writes[:i:i], c.writes[i+1:]...)
		c.w.watch.writeAccepted(c, wr, answer)
		c.w.watch.blames(c, wr.tally.Dissenters())
		if c.loop != nil {
			c.took(c.w.now - wr.since)
			c.loop()
		}
	}
}

// shows shows everybody, as a receipt, the reply of one liar alone: nobody may believe it.
func (w *World) shows(c *client, wr *write, from bftraft.NodeID, r *bftraft.BlockReply) {
	if !w.nodes[from-1].liar || !wr.tally.Names(r.Session, r.Sequence) {
		return
	}
	proof := quorumcert.Receipt{Reply: r.Reply}
	proof.Signers, proof.Sigs = quorumcert.SetOf(from), []crypto.Signature{r.Sig}
	w.watch.receipt(c, wr, judge.NewReceipt(wr.request, &judge.Answer{Reply: r, Proof: proof}))
}
