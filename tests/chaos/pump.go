package chaos

import (
	"context"
	"net"
	"sync"
	"time"
)

// A pump holds at most pieceBytes × queuedPieces bytes that are on their way. Beyond that the
// sender waits, as with TCP.
const (
	pieceBytes   = 16 << 10
	queuedPieces = 256
)

// piece is some bytes, and when they may arrive at the earliest.
type piece struct {
	bytes []byte
	due   time.Time
}

// pump carries the bytes of a route on one connection, in order. When it ends, so does the
// connection.
func (n *Net) pump(p *pair, r Route, from, to net.Conn) {
	ctx, cancel := context.WithCancel(n.ctx)
	queue := make(chan piece, queuedPieces)
	var writer sync.WaitGroup
	writer.Go(func() {
		n.deliver(ctx, p, r, to, queue)
		cancel() // so that the reader ends, wherever it waits
		_ = p.close()
	})
	n.collect(ctx, r, from, queue)
	if !n.stalled(r) {
		close(queue) // the rest is still delivered
	} else {
		cancel()
	}
	writer.Wait()
	cancel()
}

// collect reads until the connection ends, and decides when each piece arrives.
func (n *Net) collect(ctx context.Context, r Route, from net.Conn, queue chan<- piece) {
	var last time.Time
	for {
		buf := make([]byte, pieceBytes)
		read, err := from.Read(buf)
		if read > 0 {
			due := time.Now().Add(n.delay(r))
			if due.Before(last) {
				due = last
			}
			last = due
			select {
			case queue <- piece{buf[:read], due}:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// delay draws how late a piece is to be.
func (n *Net) delay(r Route) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.weather[r]
	late := w.Latency
	if w.Jitter > 0 {
		late += time.Duration(n.rng.Int64N(int64(w.Jitter)))
	}
	if late > 0 {
		n.counts.Delayed++
	}
	if w.Loss > 0 && n.rng.Float64() < w.Loss {
		late += w.Hold
		n.counts.Lost++
	}
	return late
}

// deliver writes what is due until the queue or the connection ends.
func (n *Net) deliver(ctx context.Context, p *pair, r Route, to net.Conn, queue <-chan piece) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var next piece
		var ok bool
		select {
		case next, ok = <-queue:
		case <-ctx.Done():
			return
		}
		if !ok {
			return
		}
		if wait := time.Until(next.due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		if !n.pass(ctx, r) || n.write(p, r, to, next.bytes) != nil {
			return
		}
	}
}

func (n *Net) stalled(r Route) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.weather[r].Stall
}

// pass waits while the route is stalled; false if the connection has ended meanwhile.
func (n *Net) pass(ctx context.Context, r Route) bool {
	for waited := false; ; waited = true {
		n.mu.Lock()
		stall, changed := n.weather[r].Stall, n.changed
		if stall && !waited {
			n.counts.Stalled++
		}
		n.mu.Unlock()
		if !stall {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// write writes the bytes, altered and in slices if the weather says so.
func (n *Net) write(p *pair, r Route, to net.Conn, bytes []byte) error {
	n.mu.Lock()
	if n.corrupt[r] {
		delete(n.corrupt, r)
		bytes[n.rng.IntN(len(bytes))] ^= 1 << n.rng.IntN(8)
		p.altered = true
		n.counts.Corrupted++
	}
	slice := n.weather[r].Slice
	n.counts.Bytes += len(bytes)
	if slice > 0 && len(bytes) > slice {
		n.counts.Sliced++
	}
	n.mu.Unlock()
	for len(bytes) > 0 {
		size := len(bytes)
		if slice > 0 {
			size = min(size, slice)
		}
		if _, err := to.Write(bytes[:size]); err != nil {
			return err
		}
		bytes = bytes[size:]
	}
	return nil
}
