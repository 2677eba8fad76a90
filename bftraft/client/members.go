package client

import (
	"context"
	"time"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// isMember says whether a node is a member, as far as is known: a voter or not.
func (c *Client) isMember(id bftraft.NodeID) bool {
	for _, n := range c.Members().Nodes {
		if n.ID == id {
			return true
		}
	}
	return false
}

// reachable returns the voters with a link. Requests and reads are theirs alone.
func (c *Client) reachable() quorumcert.Set { return c.up & c.config().Members() }

// regroup goes by the members that are known now. An id may come round: what its holder said that
// is gone is no word of the one that has it next. What was sent stays sent, as those who are gone
// may have forwarded it. The mutex is held.
func (c *Client) regroup() {
	members := c.Members()
	var gone quorumcert.Set
	for _, n := range c.nodes {
		if now, ok := members.Node(n.Key); !ok || now.ID != n.ID {
			gone = gone.With(n.ID)
		}
	}
	c.gone.Store(c.gone.Load() | uint64(gone))
	c.up &^= gone
	for id := gone.Next(0); id != 0; id = gone.Next(id) {
		c.leaders.forget(id)
		for _, f := range c.flights {
			f.refusals[id] = refusal{}
			f.reach = f.reach.Without(id)
		}
	}
	for _, v := range c.statuses {
		v.follow(members.Nodes, gone)
	}
	for _, p := range c.proofs {
		p.heard &^= gone
	}
	c.follows = [len(c.follows)]time.Time{} // what comes next may come at once
	c.stats.follow(c.nodes, members.Nodes)
	c.nodes, c.relink = members.Nodes, true
}

// tellLink names the members to the link when they have changed. It is not done where they become
// known, as the link waits for those it calls.
func (c *Client) tellLink() {
	c.mu.Lock()
	due, nodes := c.relink, c.nodes
	c.relink = false
	c.mu.Unlock()
	if !due {
		return
	}
	c.link.SetNodes(nodes)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.relink {
		c.gone.Store(0)
	}
}

// awaitPause is how long nodes are left alone between questions for changes.
const awaitPause = 100 * time.Millisecond

// AwaitMembers follows the changes, as Follow does, until what they led to is as is wanted. It
// fails with ErrNoQuorum when ctx ends first.
func (c *Client) AwaitMembers(
	ctx context.Context, wanted func(*bftraft.Membership) bool,
) (*bftraft.Membership, error) {
	pause := time.NewTicker(awaitPause)
	defer pause.Stop()
	for {
		members, err := c.Follow(ctx)
		if err != nil || wanted(members) {
			return members, err
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil, c.unanswered()
		case <-c.stop.Done():
			return nil, ErrClosed
		}
	}
}
