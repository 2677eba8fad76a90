package node

import (
	"sync"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/p2p"
)

// queue holds frames of one peer and class until they are verified.
type queue struct {
	limit p2p.QueueLimit
	ready chan struct{} // holds a token while frames wait

	mu     sync.Mutex
	frames [][]byte
	bytes  int
}

func newQueue(limit p2p.QueueLimit) *queue {
	return &queue{limit: limit, ready: make(chan struct{}, 1)}
}

// push takes a frame in; it is false when there is no room.
func (q *queue) push(frame []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.frames) >= q.limit.Frames || q.bytes+len(frame) > q.limit.Bytes {
		return false
	}
	q.frames = append(q.frames, frame)
	q.bytes += len(frame)
	signal(q.ready)
	return true
}

// take returns all that waits. The caller gives back a slice it no longer needs.
func (q *queue) take(spare [][]byte) [][]byte {
	clear(spare)
	q.mu.Lock()
	defer q.mu.Unlock()
	frames := q.frames
	q.frames, q.bytes = spare[:0], 0
	return frames
}

func (q *queue) depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.frames)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// source is who a client's frame came from: the client's own connection, or the node that forwarded
// it.
type source struct {
	node crypto.NodeID
	key  crypto.PublicKey // zero if node is set
}

// clientFrame is a frame on its way to a worker.
type clientFrame struct {
	source source
	conn   p2p.ConnID // zero if a node forwarded it
	frame  []byte
}

// fairQueue holds what clients sent, and serves the sources in turn, so that a flood by some does
// not make others wait.
type fairQueue struct {
	limit    p2p.QueueLimit // of each source
	maxBytes int            // of all
	ready    chan struct{}  // holds a token while frames wait

	mu     sync.Mutex
	lines  map[source]*line // those with something in them
	turns  []*line          // the same, in the order in which they are served
	bytes  int
	frames int
}

// line is what waits of one source.
type line struct {
	source source
	frames []clientFrame
	bytes  int
}

func newFairQueue(limit p2p.QueueLimit, maxBytes int) *fairQueue {
	return &fairQueue{
		limit: limit, maxBytes: maxBytes, ready: make(chan struct{}, 1),
		lines: make(map[source]*line),
	}
}

// push takes a frame in; it is false when there is no room.
func (q *fairQueue) push(f clientFrame) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := len(f.frame)
	l := q.lines[f.source]
	if q.bytes+size > q.maxBytes || l == nil && size > q.limit.Bytes ||
		l != nil && (len(l.frames) >= q.limit.Frames || l.bytes+size > q.limit.Bytes) {
		return false
	}
	if l == nil {
		l = &line{source: f.source}
		q.lines[f.source] = l
		q.turns = append(q.turns, l)
	}
	l.frames = append(l.frames, f)
	l.bytes += size
	q.bytes += size
	q.frames++
	signal(q.ready)
	return true
}

// pop returns up to limit frames, one of each source in turn. The caller gives back a slice that it
// no longer needs.
func (q *fairQueue) pop(spare []clientFrame, limit int) []clientFrame {
	clear(spare)
	frames := spare[:0]
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.turns) > 0 && len(frames) < limit {
		frames = append(frames, q.next())
	}
	if len(q.turns) > 0 {
		signal(q.ready) // another worker may have work
	}
	return frames
}

// next takes a frame of the source whose turn it is. There is one.
func (q *fairQueue) next() clientFrame {
	l := q.turns[0]
	q.turns[0] = nil
	q.turns = q.turns[1:]
	f := l.frames[0]
	l.frames[0] = clientFrame{}
	l.frames = l.frames[1:]
	l.bytes -= len(f.frame)
	q.bytes -= len(f.frame)
	q.frames--
	if len(l.frames) > 0 {
		q.turns = append(q.turns, l)
	} else {
		delete(q.lines, l.source)
	}
	return f
}

func (q *fairQueue) depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.frames
}

// forgers are the sources that have sent a request with a signature that does not hold. There are
// no more of them than enrolled clients and nodes.
type forgers struct {
	mu   sync.Mutex
	list map[source]struct{}
}

func (f *forgers) has(s source) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.list[s]
	return ok
}

func (f *forgers) add(s source) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.list == nil {
		f.list = make(map[source]struct{})
	}
	f.list[s] = struct{}{}
}

// requestMemory is a memory of valid requests for several goroutines.
type requestMemory struct {
	mu     sync.Mutex
	recent *bftraft.Recent
}

// rememberedRequests is how many: what a busy cluster orders within about a second.
const rememberedRequests = 16 << 10

// Knows reports whether the request is remembered as valid.
func (m *requestMemory) Knows(d bftraft.SignedDigest) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.recent.Knows(d)
}

// Keep remembers a valid request.
func (m *requestMemory) Keep(d bftraft.SignedDigest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recent.Keep(d)
}
