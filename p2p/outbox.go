package p2p

import (
	"bufio"
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

const writeBufferBytes = 16 << 10

// outbox is the bounded queue of one class on one link, and the goroutine that writes it.
type outbox struct {
	link  *link
	class Class
	limit QueueLimit
	count *counters
	wake  chan struct{} // holds one token when there may be something to take

	mu      sync.Mutex
	waiting [][]byte // not yet taken by the writer
	frames  int      // waiting and being written
	bytes   int      // of those
	running bool     // the writer was started, which happens with the first frame
	closed  bool     // the link has ended: nothing is accepted, no writer is started
}

func newOutbox(l *link, class Class, count *counters) *outbox {
	limit := l.host.cfg.Queues[class]
	return &outbox{
		link: l, class: class, limit: limit, count: count, wake: make(chan struct{}, 1),
	}
}

// push queues a frame, or drops it when the queue is full or the link has ended.
func (o *outbox) push(frame []byte) bool {
	o.mu.Lock()
	if o.closed || o.frames >= o.limit.Frames || o.bytes+len(frame) > o.limit.Bytes {
		o.mu.Unlock()
		return false
	}
	o.waiting = append(o.waiting, frame)
	o.frames++
	o.bytes += len(frame)
	o.startLocked()
	o.mu.Unlock()
	o.signal()
	return true
}

// start runs the writer, so that the stream exists before there is a frame for it.
func (o *outbox) start() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.startLocked()
	}
}

func (o *outbox) startLocked() {
	if !o.running {
		o.running = o.link.host.spawn(o.run)
	}
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take returns all that waits, in order, and gives the queue an empty slice to go on with.
func (o *outbox) take(spare [][]byte) [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	batch := o.waiting
	o.waiting = spare
	return batch
}

// release takes written frames off the account.
func (o *outbox) release(frames, bytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.frames -= frames
		o.bytes -= bytes
	}
}

func (o *outbox) queued() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.frames
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.waiting, o.frames, o.bytes = nil, 0, 0
}

// run owns the stream until the link ends. Any error ends the link.
func (o *outbox) run() {
	stream, err := o.open()
	if err == nil {
		err = o.write(stream)
		_ = stream.Reset()
	}
	o.link.fail(err)
}

func (o *outbox) open() (network.Stream, error) {
	ctx, cancel := context.WithTimeout(o.link.ctx, o.link.host.cfg.WriteTimeout)
	defer cancel()
	stream, err := o.link.conn.NewStream(ctx)
	if err != nil {
		return nil, err
	}
	if err := stream.SetProtocol(protocolID(o.class)); err != nil {
		_ = stream.Reset()
		return nil, err
	}
	return stream, nil
}

func (o *outbox) write(stream network.Stream) error {
	cfg := &o.link.host.cfg
	paced := &pacedWriter{stream: stream, timeout: cfg.WriteTimeout}
	w := bufio.NewWriterSize(paced, writeBufferBytes)
	first := preamble(o.class)
	if _, err := w.Write(first[:]); err != nil {
		return err
	}
	var keepAlive <-chan time.Time
	timer := time.NewTimer(cfg.KeepAlive)
	defer timer.Stop()
	if o.class == o.link.primary {
		keepAlive = timer.C
		if err := w.Flush(); err != nil {
			return err
		}
	}
	var spare [][]byte
	for {
		select {
		case <-o.link.ctx.Done():
			return nil
		case <-o.wake:
			batch := o.take(spare)
			if err := o.writeBatch(w, batch); err != nil {
				return err
			}
			clear(batch)
			spare = batch[:0]
		case <-keepAlive:
			if err := writeFrame(w, nil); err != nil {
				return err
			}
			if err := w.Flush(); err != nil {
				return err
			}
		}
		timer.Reset(cfg.KeepAlive)
	}
}

// writeBatch writes what was queued together with as few writes to the stream as the buffer
// allows. A frame is off the account once it has left the buffer, at the latest with the flush.
func (o *outbox) writeBatch(w *bufio.Writer, batch [][]byte) error {
	frames, bytes := 0, 0
	for _, frame := range batch {
		if err := writeFrame(w, frame); err != nil {
			return err
		}
		frames++
		bytes += len(frame)
		if bytes >= growBytes {
			o.written(frames, bytes)
			frames, bytes = 0, 0
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	o.written(frames, bytes)
	return nil
}

func (o *outbox) written(frames, bytes int) {
	o.release(frames, bytes)
	o.count.framesOut.Add(uint64(frames))
	o.count.bytesOut.Add(uint64(bytes))
}

// pacedWriter gives each growBytes a deadline of their own, so that a large frame on a slow line
// may take its time while a line that stands still is noticed: after timeout, or a quarter more, as
// a deadline costs more than what most writes write and so serves those of a quarter of that time.
type pacedWriter struct {
	stream  network.Stream
	timeout time.Duration
	due     time.Time // the deadline
}

func (p *pacedWriter) Write(b []byte) (int, error) {
	total := 0
	for len(b) > 0 {
		part := b[:min(len(b), growBytes)]
		if now := time.Now(); p.due.Sub(now) < p.timeout {
			p.due = now.Add(p.timeout + p.timeout/4)
			if err := p.stream.SetWriteDeadline(p.due); err != nil {
				return total, err
			}
		}
		n, err := p.stream.Write(part)
		total += n
		if err != nil {
			return total, err
		}
		b = b[len(part):]
	}
	return total, nil
}
