package client

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// rememberedTallies is how many settled requests are remembered, to notice nodes that answer late
// and differ.
const rememberedTallies = 256

// Client sends operations to a cluster and accepts what f+1 voters vouch for.
type Client struct {
	cfg     Config
	cluster bftraft.Digest
	public  crypto.PublicKey
	known   known
	judges  judges
	link    Link
	wake    chan struct{} // something waits to be sent; holds one
	stop    context.Context
	cancel  context.CancelFunc
	stopped chan struct{} // closed when the goroutine has ended
	closing sync.Once
	readers sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	up         quorumcert.Set // members with a link
	nodes      []bftraft.Node // the members, as far as the fields here go by them
	relink     bool           // the link has not been told of them yet
	queue      []*Future      // waiting to be sent, in order
	queueBytes int
	flights    []*flight // sent or about to be, in order; as long as Window
	session    uint64
	next       uint64 // sequence of the next request
	pace       pace
	leaders    leaders
	asked      time.Time // when all were last asked for their status
	probeDue   time.Time // from when on all nodes may be shown again what is under way
	settled    [rememberedTallies]*Tally
	oldest     int     // place in settled to be taken next
	calls      []*call // linearizable reads that wait to be asked
	asking     int     // questions with such reads under way
	reads      map[bftraft.Digest]*reading
	statuses   []*survey
	proofs     []*proofs
	stats      Stats
	surveys    []*following
	canvasses  []*canvass
	follows    [quorumcert.MaxVoters + 1]time.Time // when each was last asked for changes

	// gone are the ids of nodes that are no members any more and may have links yet: what comes over
	// those is nobody's word, as another may have the id. It is changed with the mutex held.
	gone atomic.Uint64
}

// config is the newest configuration that is known.
func (c *Client) config() *quorumcert.Configuration { return c.known.Configurations().Latest() }

// New connects to all nodes of a cluster, and to those that come later. It returns at once:
// operations wait until nodes can be reached, and links that break are made again.
func New(cfg Config) (*Client, error) { return NewWithLink(cfg, DialHost(cfg)) }

// NewWithLink is New over a link of the caller's, which the client closes.
func NewWithLink(cfg Config, dial Dial) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	gate, err := bftraft.NewVerifier(crypto.ZIP215(), cfg.Genesis)
	if err == nil {
		gate, err = gate.Following(cfg.Changes)
	}
	if err != nil {
		return nil, err
	}
	public := cfg.Key.Public()
	if mayCome := len(cfg.Genesis.Admins) > 0; !mayCome && !gate.IsClient(public) {
		return nil, fmt.Errorf("%w: %v", ErrNotAuthorised, public)
	}
	c := &Client{
		cfg: cfg, public: public, cluster: gate.Cluster(), wake: make(chan struct{}, 1),
		stopped: make(chan struct{}), session: cfg.Session, next: max(1, cfg.FirstSequence),
		pace:     pace{late: cfg.Late, lateMax: cfg.LateMax},
		probeDue: time.Now().Add(cfg.Probe),
		reads:    make(map[bftraft.Digest]*reading),
	}
	if c.session == 0 {
		c.session = uint64(time.Now().UnixNano())
	}
	c.known.gate.Store(gate)
	c.judges.init(c.cluster, &c.known)
	c.nodes, c.relink = gate.Members().Nodes, gate.Members().Number > 0
	c.stats.follow(nil, c.nodes)
	c.stop, c.cancel = context.WithCancel(context.Background())
	link, err := dial(c)
	if err != nil {
		c.cancel()
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = link
	c.greet(c.up) // those that came up before the link was known here
	go c.run()
	return c, nil
}

// Close ends the client and returns when nothing of it runs any more. Operations on their way fail,
// with ErrUnknownOutcome if they were sent.
func (c *Client) Close() error {
	var err error
	c.closing.Do(func() {
		c.cancel()
		<-c.stopped
		c.mu.Lock()
		c.closed = true
		for _, f := range c.queue {
			f.fail(ErrClosed)
		}
		for _, f := range c.flights {
			if f.sent == 0 {
				f.fail(ErrClosed)
			} else {
				f.fail(f.unknown(ErrClosed))
			}
		}
		for _, l := range c.calls {
			l.end(ReadResult{}, ErrClosed)
		}
		c.queue, c.flights, c.calls = nil, nil, nil
		c.mu.Unlock()
		c.readers.Wait()
		err = c.link.Close()
	})
	return err
}

// Go submits an operation and returns at once. The operation must not be changed afterwards.
// Operations are executed in the order in which they were submitted.
func (c *Client) Go(op []byte) *Future { return c.submit(&Future{op: op}) }

// GoAlone is Go for an operation that shall have a signature of its own. It is for those with large
// results: the results of one request together are bounded (bftraft.MaxResultBytes), and the
// operations that exceed it have an empty one.
func (c *Client) GoAlone(op []byte) *Future { return c.submit(&Future{op: op, alone: true}) }

func (c *Client) submit(f *Future) *Future {
	f.done = make(chan struct{})
	if err := c.check(f.op); err != nil {
		f.fail(err)
		return f
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		f.fail(ErrClosed)
	case len(c.queue) >= c.cfg.QueueOps || c.queueBytes+f.cost() > c.cfg.QueueBytes:
		f.fail(ErrQueueFull)
	default:
		c.queue = append(c.queue, f)
		c.queueBytes += f.cost()
		c.kick()
	}
	return f
}

func (c *Client) check(op []byte) error {
	if len(op) > bftraft.MaxOpBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(op), bftraft.MaxOpBytes)
	}
	if err := c.departed(); err != nil {
		return err
	}
	if c.mayOnlyRead() {
		return ErrMayOnlyRead
	}
	if c.cfg.CheckOp != nil && !bftraft.IsChange(op) {
		return c.cfg.CheckOp(op)
	}
	return nil
}

// kick wakes the goroutine that sends.
func (c *Client) kick() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Submit submits an operation and waits for its result. If ctx ends first the error is ErrNotSent,
// and it did not happen, or ErrUnknownOutcome.
func (c *Client) Submit(ctx context.Context, op []byte) (Result, error) {
	return c.Wait(ctx, c.Go(op))
}

// Wait waits for an operation as Submit does. Once it has returned an error for an operation, that
// is final for all who wait for it.
func (c *Client) Wait(ctx context.Context, f *Future) (Result, error) {
	select {
	case <-f.Done():
	case <-ctx.Done():
		c.abandon(f, context.Cause(ctx))
	}
	return f.Result()
}

// abandon ends an operation for which nobody waits any more. If its request was sent it may still
// be executed: it stays in flight, because those after it wait for it.
func (c *Client) abandon(f *Future, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-f.done:
		return
	default:
	}
	if f.flight == nil {
		if i := slices.Index(c.queue, f); i >= 0 {
			c.queue = slices.Delete(c.queue, i, i+1)
			c.queueBytes -= f.cost()
		}
		f.fail(fmt.Errorf("%w: %w", c.alone(ErrNotSent), cause))
		return
	}
	flight := f.flight
	if last := len(c.flights) - 1; flight.frame != nil && flight.sent == 0 &&
		len(flight.futures) == 1 && last >= 0 && c.flights[last] == flight {
		// Nobody has seen it, and nothing follows it: its sequence can be given to another.
		c.flights = slices.Delete(c.flights, last, last+1)
		c.next--
		f.fail(fmt.Errorf("%w: %w", c.alone(ErrNotSent), cause))
		return
	}
	// Its place in the request remains, held by one that nobody waits for.
	flight.futures[slices.Index(flight.futures, f)] = &Future{done: make(chan struct{})}
	f.fail(flight.unknown(cause))
}
