package node

import (
	"sync"
	"time"

	"tangaroa/bftraft"
)

// What one peer may have this node do for nothing. A unit is about one signature to verify, so that
// a peer which only wastes time gets about a tenth of a processor.
const (
	budgetUnit  = 500 * time.Microsecond // in which a peer earns one unit
	budgetBurst = 500 * time.Millisecond // for how long it may save them up
)

// budget bounds the work that a peer causes by what is of no use. What serves the protocol costs it
// nothing: an honest peer has as much verified as there is to agree on. Who has overspent is not
// refused but made to wait, behind its own queue, which drops what it cannot hold. So a flood takes
// its share of the processor and no more, and the flooder delays itself alone.
type budget struct {
	mu   sync.Mutex
	paid time.Time // until when what was spent has been earned
}

// spend takes units out.
func (b *budget) spend(units int, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if saved := now.Add(-budgetBurst); b.paid.Before(saved) {
		b.paid = saved
	}
	b.paid = b.paid.Add(time.Duration(units) * budgetUnit)
}

// wait is how long the peer has to wait before it is heard again.
func (b *budget) wait(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(0, b.paid.Sub(now))
}

// The costs of a frame, in units: at most one signature in certUnitBytes as far as certificates go,
// and one for so many bytes to be hashed.
const (
	certBytes     = 4096
	certUnitBytes = 96
	hashUnitBytes = 40_000
)

func costOf(frame []byte) int {
	return 1 + min(len(frame), certBytes)/certUnitBytes + len(frame)/hashUnitBytes
}

// atOnce says whether a valid message costs its sender in any case: what peers say about
// themselves, or ask, rather than agree on. Honest peers say little of that, once in a heartbeat.
func atOnce(m bftraft.Message) bool {
	switch m.(type) {
	case *bftraft.AppendEntries, *bftraft.AppendEntriesResponse, *bftraft.RequestVoteResponse,
		*bftraft.Chain, *bftraft.Committed, *bftraft.StatePart:
		return false
	}
	return true
}

// refusedCost is what a valid message costs that the protocol had no use for. Some of that is in
// the nature of things: the acks of the slowest come when a quorum has been counted.
func refusedCost(d bftraft.Drop, cost int) int {
	switch {
	case d == bftraft.Accepted:
		return 0
	case d < bftraft.FaultySender:
		return 1
	}
	return cost
}
