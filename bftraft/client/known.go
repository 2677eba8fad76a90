package client

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// known is what the client has been shown of the cluster's changes; it grows.
type known struct {
	gate atomic.Pointer[bftraft.Verifier]
}

// Configurations implements Known.
func (k *known) Configurations() *quorumcert.Configurations {
	return k.gate.Load().Configurations()
}

// ChangesUpTo implements Known.
func (k *known) ChangesUpTo(i bftraft.Index) []*bftraft.ChangeProof {
	return k.gate.Load().ChangesUpTo(i)
}

// Members returns who may do what, as far as the client has been shown. It proves itself: nobody's
// word was taken for it. See Follow.
func (c *Client) Members() *bftraft.Membership { return c.known.gate.Load().Members() }

// Verifier returns the gate behind all changes that the client has been shown.
func (c *Client) Verifier() *bftraft.Verifier { return c.known.gate.Load() }

// mayOnlyRead says whether this client's role, as far as is known, is to read.
func (c *Client) mayOnlyRead() bool {
	gate := c.known.gate.Load()
	return gate.IsClient(c.public) && !gate.MayWrite(c.public)
}

// departed returns ErrNotAuthorised for a client that a change has removed, which is for ever, and
// nil for others. The changes prove it: nobody's word was taken for it.
func (c *Client) departed() error {
	gate := c.Verifier()
	if gate.IsClient(c.public) || !gate.Members().Left(c.public) {
		return nil
	}
	return fmt.Errorf("%w any more: %v", ErrNotAuthorised, c.public)
}

// alone returns why nobody answers: a client that is not enrolled, as far as is known, and that no
// node lets in, is not authorised. Nor is one that a change has removed, though nodes that are
// behind still let it in. The mutex is held.
func (c *Client) alone(err error) error {
	if left := c.departed(); left != nil {
		return left
	}
	switch {
	case c.up == 0 && !c.Verifier().IsClient(c.public):
		return fmt.Errorf("%w, and no node lets it in: %v", ErrNotAuthorised, c.public)
	case c.up == 0 && len(c.cfg.Genesis.Admins) > 0:
		return fmt.Errorf("%w: %w", err, ErrOutdated)
	}
	return err
}

func (c *Client) unanswered() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.alone(ErrNoQuorum)
}

// followPause is how long a node has to show the changes that it knows, before it is asked again.
const followPause = 200 * time.Millisecond

// hears asks a node for the changes that its answer shows it to know.
func (c *Client) hears(from bftraft.NodeID, configuration bftraft.Index) {
	if configuration <= c.Members().At.Index {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.askForMore(from)
}

// askForMore asks a node for the changes behind those that are known, unless that was asked of it
// just now. The mutex is held.
func (c *Client) askForMore(from bftraft.NodeID) {
	if now := time.Now(); now.Sub(c.follows[from]) >= followPause {
		c.follows[from] = now
		c.link.Send(from, bftraft.ChangesRequest(c.Members().Number))
	}
}

// takeChanges takes in changes that prove themselves, asks for more if there may be any, and sends
// again what had its answers judged in vain.
func (c *Client) takeChanges(from bftraft.NodeID, frame []byte) bool {
	list, err := bftraft.DecodeChanges(frame)
	if err != nil {
		return false
	}
	for {
		before := c.known.gate.Load()
		after, err := before.Following(list)
		if err != nil {
			return false
		}
		switch {
		case len(list) == 0:
			c.upToDate(from)
			return true
		case after == before: // another was faster; perhaps this one knows more
			c.mu.Lock()
			defer c.mu.Unlock()
			if len(c.surveys)+len(c.statuses) > 0 {
				c.link.Send(from, bftraft.ChangesRequest(c.Members().Number))
			}
			return true
		}
		if c.known.gate.CompareAndSwap(before, after) {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.regroup()
	for _, f := range c.surveys {
		f.heard = 0
	}
	c.link.Send(from, bftraft.ChangesRequest(c.Members().Number))
	for _, f := range c.flights {
		f.due = time.Now()
	}
	for _, r := range c.reads {
		r.wake()
	}
	c.kick()
	return true
}

// following waits until a quorum knows of no more changes. The client's mutex guards it.
type following struct {
	heard quorumcert.Set
	over  bool
	done  chan struct{} // closed then
}

// upToDate takes notice of a node that knows of no changes but those that are known here.
func (c *Client) upToDate(from bftraft.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.statuses {
		v.current = v.current.With(from)
		v.finish()
	}
	for _, f := range c.surveys {
		f.heard = f.heard.With(from)
		if voters := f.heard & c.config().Members(); !f.over && voters.Len() >= c.config().Size().Q {
			f.over = true
			close(f.done)
		}
	}
}

// Follow asks all nodes for changes until a quorum has none that are new, and returns who may do
// what then. It fails with ErrNoQuorum when ctx ends first.
func (c *Client) Follow(ctx context.Context) (*bftraft.Membership, error) {
	f := &following{done: make(chan struct{})}
	c.mu.Lock()
	c.surveys = append(c.surveys, f)
	c.mu.Unlock()
	c.poll(ctx, f.done, func() { c.askChanges(c.up &^ f.heard) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.surveys = slices.DeleteFunc(c.surveys, func(o *following) bool { return o == f })
	if !f.over {
		return nil, c.alone(ErrNoQuorum)
	}
	return c.Members(), nil
}
