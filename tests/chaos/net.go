package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"tangaroa/crypto"
)

// Route is one direction between two nodes: what From says to To, whoever dialled.
type Route struct{ From, To crypto.NodeID }

// Weather is what happens to the bytes of a route. The zero value lets all through at once.
type Weather struct {
	Latency, Jitter time.Duration // each piece is late by Latency and up to Jitter more
	// Loss is the chance of a piece to be held back by Hold, and all behind it: what loss does to
	// a stream. Bytes of a TCP connection cannot be lost otherwise.
	Loss  float64
	Hold  time.Duration
	Slice int  // longest write in bytes; 0 writes pieces as they came
	Stall bool // nothing passes until the weather changes
	// Refuse ends new connections at once, whoever of the two dials.
	Refuse bool
}

// Counts says what the weather has done. Each counts effects, not intentions.
type Counts struct {
	Connections int // made between nodes
	Bytes       int // carried
	Delayed     int // pieces that came late by latency
	Lost        int // pieces held back as if lost
	Sliced      int // writes that were cut short
	Stalled     int // pieces that had to wait for a stall to end
	Cut         int // connections closed by Cut
	Refused     int // connections that were not let through
	Corrupted   int // bytes altered by Corrupt
	Survived    int // connections that carried an altered byte and are still open
}

// Net holds one listener for each ordered pair of nodes, through which the first dials the second.
type Net struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	rng       *rand.Rand
	addresses map[Route]string
	listeners []net.Listener
	weather   map[Route]Weather
	corrupt   map[Route]bool // the next byte of the route is to be altered
	changed   chan struct{}  // closed when the weather changes, and replaced
	open      map[*pair]bool
	counts    Counts
}

// pair is a connection through us: dialled is towards the node that was dialled.
type pair struct {
	route            Route // of who dialled
	dialler, dialled net.Conn
	altered          bool // guarded by Net.mu
}

func (p *pair) close() error { return errors.Join(p.dialler.Close(), p.dialled.Close()) }

// NewNet listens on loopback for every ordered pair of the nodes, whose own addresses are given.
// The seed decides jitter and loss.
func NewNet(nodes map[crypto.NodeID]string, seed uint64) (*Net, error) {
	n := &Net{
		rng: rand.New(rand.NewPCG(seed, 1)), addresses: map[Route]string{},
		weather: map[Route]Weather{}, corrupt: map[Route]bool{},
		changed: make(chan struct{}), open: map[*pair]bool{},
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	for from := range nodes {
		for to, address := range nodes {
			if from == to {
				continue
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, errors.Join(err, n.Close())
			}
			route := Route{from, to}
			n.listeners = append(n.listeners, l)
			n.addresses[route] = l.Addr().String()
			n.wg.Go(func() { n.accept(l, route, address) })
		}
	}
	return n, nil
}

// Address is where From of the route has to dial to reach To.
func (n *Net) Address(r Route) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addresses[r]
}

// Set changes the weather of a route.
func (n *Net) Set(r Route, w Weather) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.weather[r] = w
	n.wakeLocked()
}

// Heal makes the weather good everywhere. What was held back passes.
func (n *Net) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.weather)
	clear(n.corrupt)
	n.wakeLocked()
}

func (n *Net) wakeLocked() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// Cut closes the connections between two nodes.
func (n *Net) Cut(r Route) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range n.open {
		if p.route == r || p.route == (Route{r.To, r.From}) {
			_ = p.close()
			n.counts.Cut++
		}
	}
}

// Corrupt flips one bit of what next passes on a route.
func (n *Net) Corrupt(r Route) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.corrupt[r] = true
}

// Counts returns what the weather has done so far.
func (n *Net) Counts() Counts {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.counts
	for p := range n.open {
		if p.altered {
			c.Survived++
		}
	}
	return c
}

// Close ends all connections and waits for all goroutines.
func (n *Net) Close() error {
	n.cancel()
	n.mu.Lock()
	n.closed = true
	var err error
	for _, l := range n.listeners {
		err = errors.Join(err, l.Close())
	}
	n.listeners = nil
	for p := range n.open {
		_ = p.close() // either end may have closed it
	}
	n.mu.Unlock()
	n.wg.Wait()
	return err
}

// accept serves one listener until it is closed.
func (n *Net) accept(l net.Listener, r Route, address string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		if n.refuses(r) {
			_ = conn.Close()
			continue
		}
		n.wg.Go(func() { n.carry(conn, r, address) })
	}
}

func (n *Net) refuses(r Route) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	refuse := n.weather[r].Refuse || n.weather[Route{r.To, r.From}].Refuse
	if refuse {
		n.counts.Refused++
	}
	return refuse
}

// carry is the life of one connection.
func (n *Net) carry(dialler net.Conn, r Route, address string) {
	var d net.Dialer
	dialled, err := d.DialContext(n.ctx, "tcp", address)
	if err != nil {
		_ = dialler.Close()
		return
	}
	p := &pair{route: r, dialler: dialler, dialled: dialled}
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		_ = p.close()
		return
	}
	n.open[p] = true
	n.counts.Connections++
	n.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { n.pump(p, r, dialler, dialled) })
	both.Go(func() { n.pump(p, Route{r.To, r.From}, dialled, dialler) })
	both.Wait()
	_ = p.close()
	n.mu.Lock()
	delete(n.open, p)
	n.mu.Unlock()
}
