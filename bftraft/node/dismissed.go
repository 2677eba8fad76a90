package node

import (
	"sync"
	"time"

	"tangaroa/bftraft"
	"tangaroa/crypto"
)

// dismissed are the clients that changes have removed just now. They stay connected for as long as
// a farewell takes: what proves to them that they have left is on its way then. Nothing else that
// they ask is answered.
type dismissed struct {
	mu    sync.Mutex
	until map[crypto.PublicKey]time.Time
}

// has says whether a client may be connected still. The network asks on its own goroutines.
func (d *dismissed) has(key crypto.PublicKey) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Before(d.until[key])
}

// note takes notice of the clients that a change has removed, and returns them.
func (d *dismissed) note(old, next *bftraft.Membership) (left []crypto.PublicKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	until := time.Now().Add(farewell)
	for _, c := range old.Clients {
		if _, is := next.Client(c.Key); is {
			continue
		}
		if d.until == nil {
			d.until = make(map[crypto.PublicKey]time.Time)
		}
		d.until[c.Key], left = until, append(left, c.Key)
	}
	return left
}

// review forgets those whose time is over, and returns when the next one's is, zero for never.
func (d *dismissed) review() (next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for key, until := range d.until {
		switch {
		case !now.Before(until):
			delete(d.until, key)
		case next.IsZero() || until.Before(next):
			next = until
		}
	}
	return next
}

// isClient says who may connect. The network asks on its own goroutines.
func (n *Node) isClient(key crypto.PublicKey) bool {
	return n.in.gate.Load().IsClient(key) || n.dismissed.has(key)
}

// tellDismissed tells clients that have left that there is a reason to ask for the changes. To be
// refused proves nothing to them; what they are shown then does.
func (n *Node) tellDismissed(left []crypto.PublicKey) {
	refusal := bftraft.Refusal{Code: bftraft.RefusedClient}
	for _, key := range left {
		n.network.ReplyKey(key, refusal.Encode())
	}
}

// mayAsk says whether what a client sends is looked at. One that has left asks for the changes.
func mayAsk(gate *bftraft.Verifier, f *clientFrame) bool {
	return f.source.node != 0 || gate.IsClient(f.source.key) ||
		f.frame[0] == bftraft.FrameRequest ||
		f.frame[0] == bftraft.FrameChanges && gate.Members().Left(f.source.key)
}
