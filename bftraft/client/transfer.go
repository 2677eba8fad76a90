package client

import (
	"context"
	"fmt"
	"time"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// Leadership is who leads which term.
type Leadership struct {
	Term   bftraft.Term
	Leader bftraft.NodeID
}

// leadershipPause is how long nodes are left alone between questions who leads.
const leadershipPause = 50 * time.Millisecond

// Leadership returns who leads the newest term about which f+1 nodes agree. It asks until there is
// one, or fails with ErrNoQuorum when ctx ends.
func (c *Client) Leadership(ctx context.Context) (Leadership, error) {
	return c.leadershipBeyond(ctx, 0, func() {})
}

// Transfer asks the leader to hand over, until another term has a leader, and returns both. The
// cluster listens to clients with the role admin only; others get ErrMayNotAdminister, or
// ErrNotAuthorised if they are none. It fails with ErrNoQuorum when ctx ends first: the leader may
// hand over yet.
func (c *Client) Transfer(ctx context.Context) (from, to Leadership, err error) {
	if _, err = c.Follow(ctx); err != nil {
		return from, to, err
	}
	switch client, is := c.Members().Client(c.public); {
	case !is:
		return from, to, fmt.Errorf("%w: %v", ErrNotAuthorised, c.public)
	case client.Role < bftraft.RoleAdmin:
		return from, to, fmt.Errorf("%w, which a transfer needs, but %v", ErrMayNotAdminister,
			client.Role)
	}
	if from, err = c.Leadership(ctx); err != nil {
		return from, to, err
	}
	to, err = c.leadershipBeyond(ctx, from.Term, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.link.Send(from.Leader, bftraft.ResignRequest(from.Term))
	})
	return from, to, err
}

// leadershipBeyond does something, and looks who leads a later term, again and again.
func (c *Client) leadershipBeyond(
	ctx context.Context, t bftraft.Term, do func(),
) (Leadership, error) {
	pause := time.NewTicker(leadershipPause)
	defer pause.Stop()
	for {
		do()
		one, cancel := context.WithTimeout(ctx, c.cfg.Late)
		_, reports := c.Status(one)
		cancel()
		if l := agreed(reports, c.config()); l.Term > t {
			return l, nil
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return Leadership{}, c.unanswered()
		case <-c.stop.Done():
			return Leadership{}, ErrClosed
		}
	}
}

// agreed returns the newest leadership that more than f voters name, the zero value for none.
func agreed(reports []NodeReport, by *quorumcert.Configuration) (newest Leadership) {
	votes := map[Leadership]int{}
	for _, r := range reports {
		if !by.Has(r.ID) || r.Status == nil || r.Status.Leader == 0 {
			continue
		}
		l := Leadership{r.Status.Term, r.Status.Leader}
		if votes[l]++; votes[l] > by.Size().F && l.Term > newest.Term {
			newest = l
		}
	}
	return newest
}
