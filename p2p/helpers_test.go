package p2p

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tangaroa/crypto"
)

// patience bounds every wait of these tests. It is no expectation: they wait for events.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// event is one call of the handler.
type event struct {
	node  crypto.NodeID
	key   crypto.PublicKey
	conn  ConnID
	class Class
	frame []byte
}

// recorder is a handler that hands everything to the test. It blocks its reader when the test does
// not take what it has, as a slow protocol would.
type recorder struct {
	frames   chan event
	ups      chan crypto.NodeID
	downs    chan crypto.NodeID
	finished chan struct{}
}

func newRecorder() *recorder {
	return &recorder{
		frames: make(chan event, 4), ups: make(chan crypto.NodeID, 1024),
		downs: make(chan crypto.NodeID, 1024), finished: make(chan struct{}),
	}
}

func (r *recorder) record(e event) {
	select {
	case r.frames <- e:
	case <-r.finished:
	}
}

func (r *recorder) FromNode(id crypto.NodeID, class Class, frame []byte) {
	r.record(event{node: id, class: class, frame: frame})
}

func (r *recorder) FromClient(key crypto.PublicKey, conn ConnID, frame []byte) {
	r.record(event{key: key, conn: conn, class: Client, frame: frame})
}

func (r *recorder) NodeUp(id crypto.NodeID)   { r.ups <- id }
func (r *recorder) NodeDown(id crypto.NodeID) { r.downs <- id }

// take waits for something to come from a channel.
func take[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		require.FailNow(t, "nothing came in time")
		panic("unreachable")
	}
}

func testKey(n int) crypto.PrivateKey {
	return crypto.KeyFromSeed([32]byte{byte(n), byte(n >> 8), 'k'})
}

// testConfig is that of node id, listening on a port that the system chooses. Identities above 100
// stand for clients.
func testConfig(id int) Config {
	cfg := DefaultConfig()
	cfg.Key = testKey(id)
	cfg.MaxPeers = 8
	if id < 100 {
		cfg.Self = crypto.NodeID(id)
		cfg.Listen = []string{"127.0.0.1:0"}
	}
	return cfg
}

// party is a host under test with its recorder.
type party struct {
	*Host
	*recorder
}

func start(t testing.TB, cfg Config) *party {
	t.Helper()
	r := newRecorder()
	return startWith(t, cfg, r, r)
}

// startWith starts a host whose handler is more than the recorder.
func startWith(t testing.TB, cfg Config, r *recorder, h Handler) *party {
	t.Helper()
	p := &party{recorder: r}
	var err error
	p.Host, err = New(cfg, h)
	require.NoError(t, err)
	require.NoError(t, p.Start(context.Background()))
	t.Cleanup(p.stop)
	return p
}

func (p *party) stop() {
	select {
	case <-p.finished:
	default:
		close(p.finished)
	}
	_ = p.Close()
}

// peer is how others know this host.
func (p *party) peer() Peer {
	return Peer{ID: p.cfg.Self, Key: p.cfg.Key.Public(), Addrs: p.Addrs()}
}

// introduce makes all nodes peers of each other and waits until every link is up.
func introduce(t testing.TB, nodes ...*party) {
	t.Helper()
	for _, n := range nodes {
		var others []Peer
		for _, other := range nodes {
			if other != n {
				others = append(others, other.peer())
			}
		}
		require.NoError(t, n.SetPeers(others))
	}
	for _, n := range nodes {
		awaitLinks(t, n, len(nodes)-1)
	}
}

func awaitLinks(t testing.TB, p *party, count int) {
	t.Helper()
	up := map[crypto.NodeID]bool{}
	for len(up) < count {
		select {
		case id := <-p.ups:
			up[id] = true
		case <-time.After(patience):
			require.FailNow(t, "links did not come up", "have %v", up)
		}
	}
}

func twoNodes(t testing.TB, tweak func(*Config)) (a, b *party) {
	t.Helper()
	one, two := testConfig(1), testConfig(2)
	tweak(&one)
	tweak(&two)
	a, b = start(t, one), start(t, two)
	introduce(t, a, b)
	return a, b
}

func asIs(*Config) {}

// sendUntil repeats a frame until one arrives: what is sent while links settle may be lost. It
// returns the frame that came.
func sendUntil(t testing.TB, from, to *party, class Class, frame []byte) {
	t.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		from.Send(to.cfg.Self, class, frame)
		select {
		case e := <-to.frames:
			if e.node == from.cfg.Self && e.class == class && slices.Equal(e.frame, frame) {
				return
			}
		case <-again.C:
		case <-deadline:
			require.FailNow(t, "frame did not arrive")
		}
	}
}

// proxy is a TCP line that can be cut, stopped and healed.
type proxy struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	open  map[net.Conn]bool
	cut   bool
	flow  chan struct{} // closed while bytes may pass
	ended chan struct{}

	bytesPerSecond int // no limit if zero
}

func newProxy(t testing.TB, target string, bytesPerSecond int) *proxy {
	t.Helper()
	var setup net.ListenConfig
	if bytesPerSecond > 0 { // a slow line has little memory of its own
		setup.Control = func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 32<<10)
			})
		}
	}
	listener, err := setup.Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{
		listener: listener, target: target, bytesPerSecond: bytesPerSecond, open: map[net.Conn]bool{},
		flow: make(chan struct{}), ended: make(chan struct{}),
	}
	close(p.flow)
	p.wg.Add(1)
	go p.run()
	t.Cleanup(func() {
		close(p.ended)
		_ = listener.Close()
		p.sever()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) run() {
	defer p.wg.Done()
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		if !p.admit(near) {
			_ = near.Close()
			continue
		}
		far, err := net.Dial("tcp", p.target)
		if err != nil || !p.admit(far) {
			_ = near.Close()
			continue
		}
		p.wg.Add(2)
		go p.carry(near, far)
		go p.carry(far, near)
	}
}

func (p *proxy) admit(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.cut {
		p.open[c] = true
	}
	return !p.cut
}

func (p *proxy) carry(from, to net.Conn) {
	defer p.wg.Done()
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 32<<10)
	if p.bytesPerSecond > 0 {
		buffer = buffer[:16<<10]
	}
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		p.mu.Lock()
		flow := p.flow
		p.mu.Unlock()
		select {
		case <-flow:
		case <-p.ended:
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
		if p.bytesPerSecond > 0 {
			line := time.NewTimer(time.Duration(n) * time.Second / time.Duration(p.bytesPerSecond))
			select {
			case <-line.C:
			case <-p.ended:
				return
			}
		}
	}
}

// sever closes all connections and refuses new ones.
func (p *proxy) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.open {
		_ = c.Close()
	}
	clear(p.open)
}

// stall keeps connections, and takes new ones, but lets no byte pass.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flow = make(chan struct{})
}

// heal undoes sever or stall.
func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
	select {
	case <-p.flow:
	default:
		close(p.flow)
	}
}

// proxied makes two nodes whose only way to each other leads through the proxy: the higher one does
// not know where the lower one is.
func proxied(t testing.TB, tweak func(*Config)) (a, b *party, line *proxy) {
	t.Helper()
	return proxiedAt(t, 0, tweak)
}

// proxiedAt is proxied over a line that carries so many bytes per second, or any number if zero.
func proxiedAt(
	t testing.TB, bytesPerSecond int, tweak func(*Config),
) (a, b *party, line *proxy) {
	t.Helper()
	one, two := testConfig(1), testConfig(2)
	tweak(&one)
	tweak(&two)
	a, b = start(t, one), start(t, two)
	line = newProxy(t, b.Addrs()[0], bytesPerSecond)
	there, back := b.peer(), a.peer()
	there.Addrs, back.Addrs = []string{line.addr()}, nil
	require.NoError(t, a.SetPeers([]Peer{there}))
	require.NoError(t, b.SetPeers([]Peer{back}))
	awaitLinks(t, a, 1)
	awaitLinks(t, b, 1)
	return a, b, line
}

func numbered(i, size int) []byte {
	return fmt.Appendf(make([]byte, 0, size+16), "%0*d", max(size, 8), i)
}

// awaitEnd reads a connection until the other end closes it.
func awaitEnd(t testing.TB, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	_, err := io.Copy(io.Discard, c)
	require.False(t, err != nil && isTimeout(err), "still open")
}
