package sim

import (
	"fmt"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// client is an honest client, written apart from the client library: it sends to one node first
// and to all when that takes long, believes f+1 equal signed replies, and reads as C3 says.
type client struct {
	w        *World
	index    int
	key      clientKey
	session  uint64
	sequence uint64 // of the newest request
	writes   []*write
	read     *read
	reads    int
	acked    int
	random   *stream
	issued   int
	final    int // writes issued after the healing
	// loop, if set, is what it does instead, at each tick and after each answer.
	loop func()
	took func(ms int) // with loop; is told how long each answer took
}

// write is a request on its way.
type write struct {
	request *bftraft.Request
	digest  crypto.Digest
	key     string
	since   int
	sentAt  int
	replies map[bftraft.NodeID]quorumcert.Reply
	results map[bftraft.NodeID]string
	sends   int
	height  bftraft.Index // what was committed when it was last sent
	after   bftraft.Index // the highest index any client knew accepted when it began
}

type read struct {
	nonce   crypto.Digest
	key     string
	query   []byte
	since   int
	sentAt  int
	min     bftraft.Index
	floor   kv.Revision // the newest accepted write of the key when it began
	replies map[bftraft.NodeID]*bftraft.ReadReply
}

// clientTickMillis is how often a client looks whether it has something to do.
const clientTickMillis = 50

func newClient(w *World, i int, key clientKey) *client {
	return &client{w: w, index: i, key: key, session: 1,
		random: newStream(w.opt.Seed, fmt.Sprint("client", i))}
}

func (c *client) tick() {
	c.w.at(clientTickMillis, event{kind: eventClientTick, node: c.index})
	if c.loop != nil {
		c.loop()
		return
	}
	if !c.w.calm || c.final < 3 {
		if len(c.writes) < 4 && c.random.chance(300) {
			c.issueWrite()
		}
		if c.read == nil && c.random.chance(100) {
			c.issueRead()
		}
	}
	for _, wr := range c.writes {
		if c.w.now-wr.sentAt >= 400 {
			c.sendWrite(wr, true)
		}
	}
	if r := c.read; r != nil && c.w.now-r.sentAt >= 400 {
		c.sendRead(r)
	}
}

func (c *client) issueWrite() { c.sendWrite(c.newWrite(), false) }

// newWrite makes the next request and expects its answer.
func (c *client) newWrite() *write {
	c.sequence++
	c.issued++
	if c.w.calm {
		c.final++
	}
	var ops [][]byte
	key := fmt.Sprint("k", c.random.below(c.w.opt.Keys))
	for i := range c.random.between(1, 3) {
		op, err := kv.EncodeOp(kv.Put{
			Key: []byte(key), Value: fmt.Appendf(nil, "%d/%d/%d", c.index, c.sequence, i),
		})
		if err != nil {
			panic(err)
		}
		ops = append(ops, op)
	}
	req := bftraft.SignRequest(c.w.cluster, c.key, c.session, c.sequence, ops)
	wr := &write{
		request: req, digest: req.Digest(c.w.cluster), key: key, since: c.w.now,
		replies: make(map[bftraft.NodeID]quorumcert.Reply),
		results: make(map[bftraft.NodeID]string), after: c.w.watch.accepted,
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

func (c *client) issueRead() {
	c.reads++
	key := fmt.Sprint("k", c.random.below(c.w.opt.Keys))
	query, err := kv.EncodeQuery(kv.Range{Span: kv.One([]byte(key))})
	if err != nil {
		panic(err)
	}
	c.read = &read{
		nonce: nonce(c.index, c.reads), key: key, query: query, since: c.w.now,
		floor: c.w.watch.written[key], replies: make(map[bftraft.NodeID]*bftraft.ReadReply),
	}
	c.sendRead(c.read)
}

func (c *client) sendRead(r *read) {
	r.sentAt = c.w.now
	question := bftraft.ReadRequest{Nonce: r.nonce, MinIndex: r.min, Queries: [][]byte{r.query}}
	frame := question.Encode()
	for i := range c.w.nodes {
		c.send(i, frame)
	}
}

func (c *client) receive(from bftraft.NodeID, frame []byte) {
	switch frame[0] {
	case bftraft.FrameReply:
		if r, err := bftraft.DecodeBlockReply(frame); err == nil && r.Signer == from {
			c.onReply(from, r)
		}
	case bftraft.FrameReadReply:
		if r, err := bftraft.DecodeReadReply(frame); err == nil && r.Signer == from {
			c.onRead(from, r)
		}
	}
}

func (c *client) onReply(from bftraft.NodeID, r *bftraft.BlockReply) {
	for i, wr := range c.writes {
		if wr.request.Sequence != r.Sequence || r.Session != c.session || r.Request != wr.digest ||
			r.Verify(c.w.cluster, c.w.verifier.Configurations()) != nil {
			continue
		}
		wr.replies[from], wr.results[from] = r.Reply, fmt.Sprintf("%x", r.Results)
		same := 0
		for id, other := range wr.replies {
			if other == r.Reply && wr.results[id] == wr.results[from] {
				same++
			}
		}
		if same > quorumcert.ForNodes(len(c.w.nodes)).F {
			c.acked++
			c.writes = append(c.writes[:i:i], c.writes[i+1:]...)
			c.w.watch.served(wr, r)
			c.w.watch.writeAccepted(c, wr, r)
			if c.loop != nil {
				c.took(c.w.now - wr.since)
				c.loop()
			}
		}
		return
	}
}

func (c *client) onRead(from bftraft.NodeID, reply *bftraft.ReadReply) {
	r := c.read
	if r == nil || reply.Nonce != r.nonce ||
		reply.Verify(c.w.cluster, c.w.verifier.Configurations(), [][]byte{r.query}) != nil {
		return
	}
	r.replies[from] = reply
	size := quorumcert.ForNodes(len(c.w.nodes))
	if len(r.replies) < size.Q {
		return
	}
	for _, m := range c.w.nodes {
		if p := r.replies[m.id]; p != nil {
			r.min = max(r.min, p.Lock.Index)
		}
	}
	for _, m := range c.w.nodes {
		same := 0
		for _, other := range c.w.nodes {
			a, b := r.replies[m.id], r.replies[other.id]
			if a != nil && b != nil && a.Executed >= r.min && b.Executed >= r.min &&
				string(a.Results[0]) == string(b.Results[0]) {
				same++
			}
		}
		if same > size.F {
			c.w.watch.readAccepted(c, r, r.replies[m.id].Results[0])
			c.read = nil
			return
		}
	}
}
