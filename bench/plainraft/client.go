package plainraft

import (
	"context"
	"errors"
	"sync"
	"time"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/p2p"
)

// The bundles of the client are those of ours: so many under way, so much in each.
const (
	window      = 8
	bundleOps   = 512
	bundleBytes = 512 << 10
	late        = 300 * time.Millisecond
)

// ErrClosed is returned when the client has been closed.
var ErrClosed = errors.New("plainraft: the client is closed")

// Client sends operations and queries to the leader, in bundles.
type Client struct {
	host   *p2p.Host
	voters []crypto.NodeID
	wake   chan struct{}
	stop   context.CancelFunc
	ended  chan struct{}

	mu       sync.Mutex
	leader   crypto.NodeID
	up       map[crypto.NodeID]bool
	next     uint64
	lanes    [2]lane // writes and reads
	bundles  map[uint64]*bundle
	closed   bool
	messages uint64
	bytes    uint64
}

// lane is what waits of one kind.
type lane struct {
	queue []*call
	under int // bundles under way
}

// call is one operation or query.
type call struct {
	op     []byte
	done   chan struct{}
	result []byte
	err    error
}

// bundle is what was sent together.
type bundle struct {
	kind  byte
	frame []byte
	calls []*call
	sent  time.Time
}

// NewClient connects to all nodes.
func NewClient(key crypto.PrivateKey, peers []p2p.Peer) (*Client, error) {
	c := &Client{
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
		up: map[crypto.NodeID]bool{}, bundles: map[uint64]*bundle{},
	}
	for _, p := range peers {
		c.voters = append(c.voters, p.ID)
	}
	w := p2p.DefaultConfig()
	w.Key, w.Peers = key, peers
	var err error
	if c.host, err = p2p.New(w, clientHandler{c}); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	if err := c.host.Start(ctx); err != nil {
		stop()
		return nil, err
	}
	go c.run(ctx)
	return c, nil
}

// Close ends the client; what is under way fails.
func (c *Client) Close() error {
	c.stop()
	<-c.ended
	c.mu.Lock()
	c.closed = true
	for i := range c.lanes {
		fail(c.lanes[i].queue)
		c.lanes[i].queue = nil
	}
	for _, b := range c.bundles {
		fail(b.calls)
	}
	clear(c.bundles)
	c.mu.Unlock()
	return c.host.Close()
}

func fail(calls []*call) {
	for _, one := range calls {
		one.err = ErrClosed
		close(one.done)
	}
}

// Connected says that the client reaches all nodes.
func (c *Client) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.up) == len(c.voters)
}

// Counts returns how many frames the client has sent, and the bytes in them.
func (c *Client) Counts() (messages, bytes uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.messages, c.bytes
}

// Submit puts an operation into the log and returns its result.
func (c *Client) Submit(ctx context.Context, op []byte) ([]byte, error) {
	return c.do(ctx, frameWrite, op)
}

// Read asks a question whose answer is not older than any write that was complete before.
func (c *Client) Read(ctx context.Context, query []byte) ([]byte, error) {
	return c.do(ctx, frameRead, query)
}

func (c *Client) do(ctx context.Context, kind byte, op []byte) ([]byte, error) {
	one := &call{op: op, done: make(chan struct{})}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	l := &c.lanes[kind-frameWrite]
	l.queue = append(l.queue, one)
	c.mu.Unlock()
	c.kick()
	select {
	case <-one.done:
		return one.result, one.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *Client) kick() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run sends what waits while there is room, and again what is late.
func (c *Client) run(ctx context.Context) {
	defer close(c.ended)
	ticks := time.NewTicker(late / 4)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
			c.sendNew()
		case <-ticks.C:
			c.sendLate()
		}
	}
}

func (c *Client) sendNew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.lanes {
		l := &c.lanes[i]
		for len(l.queue) > 0 && l.under < window {
			n, size := 0, 0
			for n < len(l.queue) && n < bundleOps && (n == 0 || size < bundleBytes) {
				size += len(l.queue[n].op) + 4
				n++
			}
			b := &bundle{kind: byte(i) + frameWrite, calls: l.queue[:n:n], sent: time.Now()}
			l.queue = l.queue[n:]
			l.under++
			c.next++
			ops := make([][]byte, n)
			for k, one := range b.calls {
				ops[k] = one.op
			}
			b.frame = encodeList(b.kind, c.next, ops)
			c.bundles[c.next] = b
			c.send(b)
		}
	}
}

// send sends a bundle to the leader, or to any node as long as none is known.
func (c *Client) send(b *bundle) {
	to := c.leader
	if to == 0 || !c.up[to] {
		for _, v := range c.voters {
			if c.up[v] {
				to = v
				break
			}
		}
	}
	b.sent = time.Now()
	c.messages++
	c.bytes += uint64(len(b.frame))
	c.host.Send(to, p2p.Client, b.frame)
}

// sendLate sends again, to the next node if the leader does not answer.
func (c *Client) sendLate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	moved := false
	for _, b := range c.bundles {
		if time.Since(b.sent) < late {
			continue
		}
		if !moved {
			c.leader, moved = c.after(c.leader), true
		}
		c.send(b)
	}
}

// after returns the next node that can be reached.
func (c *Client) after(id crypto.NodeID) crypto.NodeID {
	at := 0
	for i, v := range c.voters {
		if v == id {
			at = i
		}
	}
	for i := range c.voters {
		if v := c.voters[(at+1+i)%len(c.voters)]; c.up[v] {
			return v
		}
	}
	return id
}

// clientHandler takes in answers.
type clientHandler struct{ c *Client }

func (h clientHandler) FromNode(id crypto.NodeID, _ p2p.Class, frame []byte) {
	h.c.heard(id, frame)
}

func (clientHandler) FromClient(crypto.PublicKey, p2p.ConnID, []byte) {}

func (h clientHandler) NodeUp(id crypto.NodeID) {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	h.c.up[id] = true
}

func (h clientHandler) NodeDown(id crypto.NodeID) {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	delete(h.c.up, id)
}

func (c *Client) heard(from crypto.NodeID, frame []byte) {
	kind, sequence, rest, err := decodeHead(frame)
	if err != nil || len(frame) > bftraft.MaxFrameBytes {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok := c.bundles[sequence]
	if !ok {
		return
	}
	switch kind {
	case frameLeader:
		c.redirected(b, rest)
	case frameAnswer:
		results, err := decodeList(rest)
		if err != nil || len(results) != len(b.calls) {
			return
		}
		c.leader = from
		delete(c.bundles, sequence)
		c.lanes[b.kind-frameWrite].under--
		for i, one := range b.calls {
			one.result = results[i]
			close(one.done)
		}
		c.kick()
	}
}

// redirected sends a bundle to whom its addressee takes for the leader; when it knows none, the
// bundle waits until it is late.
func (c *Client) redirected(b *bundle, rest []byte) {
	if len(rest) != 1 {
		return
	}
	if to := crypto.NodeID(rest[0]); to != 0 && to != c.leader {
		c.leader = to
		c.send(b)
	}
}
