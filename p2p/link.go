package p2p

import (
	"bufio"
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"tangaroa/crypto"
)

// ConnID names one client connection of one Host; it is never used again for another.
type ConnID uint64

var errSilent = errors.New("p2p: link silent for too long")

// link is one connection to a node or a client, with all its streams. It ends with the connection.
type link struct {
	host     *Host
	conn     network.Conn
	remote   *remote // nil when the other end is a client
	key      crypto.PublicKey
	id       ConnID
	began    time.Time
	outbound bool // we dialled
	primary  Class
	count    *tally
	ctx      context.Context // ends with the link, after its owner has forgotten the link
	cancel   context.CancelFunc

	sendLimit, receiveLimit int // bytes of a frame

	out   [classCount]*outbox // nil for the classes that this link does not carry
	heard atomic.Int64        // when bytes last arrived, see Host.now
	up    atomic.Bool         // to a node: it has opened a stream, so it has accepted us
	check *time.Timer         // closes a link whose peer opens no primary stream

	mu sync.Mutex
	in [classCount]network.Stream // the newest inbound stream of each class
}

// newLink prepares a link; start gives it life.
func newLink(h *Host, conn network.Conn, key crypto.PublicKey, count *tally) *link {
	l := &link{
		host: h, conn: conn, key: key, id: ConnID(h.connIDs.Add(1)), count: count,
		began: time.Now(), outbound: conn.Stat().Direction == network.DirOutbound,
		sendLimit: h.cfg.MaxFrameBytes, receiveLimit: h.cfg.MaxFrameBytes,
	}
	l.ctx, l.cancel = context.WithCancel(h.ctx)
	l.heard.Store(h.now())
	return l
}

// carry lists the classes of the link; the first is the primary one.
func (l *link) carry(classes ...Class) {
	l.primary = classes[0]
	for _, c := range classes {
		l.out[c] = newOutbox(l, c, &l.count.classes[c])
	}
}

func (l *link) start() {
	l.out[l.primary].start()
	l.check = time.AfterFunc(l.host.cfg.ReadTimeout, func() {
		l.mu.Lock()
		absent := l.in[l.primary] == nil
		l.mu.Unlock()
		if absent {
			l.fail(errSilent)
		}
	})
}

// end frees what belongs to the link. The connection is closed, and its streams with it.
func (l *link) end() {
	l.cancel()
	l.check.Stop()
	for _, o := range l.out {
		if o != nil {
			o.close()
		}
	}
}

// fail closes the connection; Host.disconnected does the rest.
func (l *link) fail(err error) {
	if isViolation(err) {
		l.count.violations.Add(1)
	}
	if err != nil && l.ctx.Err() == nil {
		l.host.log.Debug("link failed", "peer", l.name(), "err", err)
	}
	_ = l.conn.Close()
}

// name is what logs call the other end: a node by its number, a client by its key.
func (l *link) name() any {
	if l.remote != nil {
		return l.remote.peer.ID
	}
	return l.key
}

func (l *link) send(class Class, frame []byte) bool {
	o := l.out[class]
	return o != nil && len(frame) > 0 && len(frame) <= l.sendLimit && o.push(frame)
}

// attach makes s the stream of its class, instead of an older one.
func (l *link) attach(class Class, s network.Stream) {
	l.mu.Lock()
	old := l.in[class]
	l.in[class] = s
	l.mu.Unlock()
	if old != nil {
		_ = old.Reset()
	}
}

func (l *link) attached(class Class, s network.Stream) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.in[class] == s
}

// receive reads one inbound stream to its end.
func (l *link) receive(s network.Stream) {
	class, err := l.accept(s)
	if err == nil {
		l.attach(class, s)
		if l.remote != nil {
			l.remote.confirm(l)
		}
		if err = l.readFrames(class, s); !l.attached(class, s) {
			_ = s.Reset()
			return
		}
	}
	_ = s.Reset()
	l.fail(err)
}

func (l *link) accept(s network.Stream) (Class, error) {
	if err := s.SetReadDeadline(time.Now().Add(l.host.cfg.ReadTimeout)); err != nil {
		return 0, err
	}
	class, err := readPreamble(s)
	switch {
	case err != nil:
		return 0, err
	case l.out[class] == nil:
		return 0, errClass
	}
	return class, s.SetProtocol(protocolID(class))
}

func (l *link) readFrames(class Class, s network.Stream) error {
	source := &source{link: l, stream: s}
	frames := frameReader{
		r: bufio.NewReaderSize(source, readBufferBytes), limit: l.receiveLimit,
		progress: source.frameMoved, done: source.frameDone,
	}
	count := &l.count.classes[class]
	for {
		frame, err := frames.next()
		if err != nil {
			return err
		}
		if frame == nil {
			continue
		}
		count.framesIn.Add(1)
		count.bytesIn.Add(uint64(len(frame)))
		if l.remote != nil {
			l.host.handler.FromNode(l.remote.peer.ID, class, frame)
		} else {
			l.host.handler.FromClient(l.key, l.id, frame)
		}
	}
}

const readBufferBytes = 16 << 10

// source reads a stream under two deadlines: bytes must arrive on the link (on any stream of it)
// within ReadTimeout, and a frame that has begun must move within FrameTimeout.
type source struct {
	link   *link
	stream network.Stream
	moved  int64 // when the current frame last moved, zero between frames
	due    int64 // the deadline that the stream has, zero for none
}

func (r *source) frameMoved() { r.moved = r.link.host.now() }
func (r *source) frameDone()  { r.moved = 0 }

// Read waits as long as the link is alive and the frame moves. A deadline that is too early only
// lets it look again, so one is set when there is none or it must be earlier, not for each read.
func (r *source) Read(p []byte) (int, error) {
	h := r.link.host
	for {
		due := r.link.heard.Load() + int64(h.cfg.ReadTimeout)
		if slow := r.moved + int64(h.cfg.FrameTimeout); r.moved != 0 && slow < due {
			due = slow
		}
		if r.due == 0 || due < r.due {
			r.due = due
			if err := r.stream.SetReadDeadline(h.at(due)); err != nil {
				return 0, err
			}
		}
		n, err := r.stream.Read(p)
		if n > 0 {
			r.link.heard.Store(h.now())
			return n, err
		}
		if err == nil || !isTimeout(err) {
			return 0, err
		}
		r.due = 0
		now := h.now()
		switch {
		case r.moved != 0 && now >= r.moved+int64(h.cfg.FrameTimeout):
			return 0, errSlowFrame
		case now >= r.link.heard.Load()+int64(h.cfg.ReadTimeout):
			return 0, errSilent
		}
	}
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}
