package p2p

import (
	"sync/atomic"
	"time"

	"tangaroa/crypto"
)

// counters are those of one class.
type counters struct {
	framesIn, bytesIn, framesOut, bytesOut, dropped atomic.Uint64
}

// tally counts for one node over all its links, or for all clients together.
type tally struct {
	classes                            [classCount]counters
	connects, dialFailures, violations atomic.Uint64
}

// ClassStats counts the frames of one class and the bytes in them, without framing. All but Queued
// only ever rise.
type ClassStats struct {
	FramesIn, BytesIn   uint64
	FramesOut, BytesOut uint64
	Dropped             uint64 // frames that Send refused
	Queued              int    // frames waiting now
}

// PeerStats is about one node.
type PeerStats struct {
	ID           crypto.NodeID
	Connected    bool
	LastReceived time.Time // zero while not connected
	Connects     uint64    // links made; one more than the reconnects
	DialFailures uint64
	Violations   uint64 // oversize or slow frames, alien streams: each ended a link
	Classes      [classCount]ClassStats
}

// Stats is a snapshot of all counters since the host was made.
type Stats struct {
	Peers            []PeerStats // ascending by node
	ClientConns      int         // connected now
	ClientConnects   uint64
	ClientViolations uint64
	ClientsTurned    uint64     // connections closed because there were too many
	Clients          ClassStats // all clients together
	Refused          uint64     // connections of strangers, refused after the handshake
}

// Stats returns a snapshot of the counters. It is cheap enough for every scrape of metrics.
func (h *Host) Stats() Stats {
	s := Stats{
		ClientConnects:   h.clients.connects.Load(),
		ClientViolations: h.clients.violations.Load(),
		Clients:          h.clients.classes[Client].snapshot(),
		ClientsTurned:    h.crowded.Load(),
		Refused:          h.refused.Load(),
	}
	for _, r := range h.peers.Load().all {
		s.Peers = append(s.Peers, r.stats())
	}
	for _, l := range h.clientLinks() {
		s.ClientConns++
		s.Clients.Queued += l.out[Client].queued()
	}
	return s
}

// clientLinks copies the list, because the lock of a queue is never taken under the host's.
func (h *Host) clientLinks() []*link {
	h.mu.Lock()
	defer h.mu.Unlock()
	links := make([]*link, 0, len(h.byConn))
	for _, l := range h.byConn {
		links = append(links, l)
	}
	return links
}

func (r *remote) stats() PeerStats {
	p := PeerStats{
		ID:           r.peer.ID,
		Connects:     r.count.connects.Load(),
		DialFailures: r.count.dialFailures.Load(),
		Violations:   r.count.violations.Load(),
	}
	l := r.current()
	if l != nil {
		p.Connected, p.LastReceived = true, r.host.at(l.heard.Load())
	}
	for class := range p.Classes {
		p.Classes[class] = r.count.classes[class].snapshot()
		if l != nil && l.out[class] != nil {
			p.Classes[class].Queued = l.out[class].queued()
		}
	}
	return p
}

func (c *counters) snapshot() ClassStats {
	return ClassStats{
		FramesIn: c.framesIn.Load(), BytesIn: c.bytesIn.Load(),
		FramesOut: c.framesOut.Load(), BytesOut: c.bytesOut.Load(),
		Dropped: c.dropped.Load(),
	}
}
