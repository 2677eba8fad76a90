package client

import (
	"context"
	"slices"
	"time"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// NodeReport is what a member says about itself, if it answers.
type NodeReport struct {
	ID     bftraft.NodeID
	Up     bool                // it can be reached
	Status *bftraft.NodeStatus // nil: it did not answer
}

// survey collects one status of each member. The client's mutex guards it.
type survey struct {
	reports []NodeReport
	current quorumcert.Set // who knows of no members but these
	fixed   bool           // nobody knows of others, as there is nobody to change them
	over    bool
	done    chan struct{} // closed when nobody is missing
}

func (v *survey) take(s *bftraft.NodeStatus) {
	for i := range v.reports {
		if v.reports[i].ID == s.From && v.reports[i].Status == nil {
			v.reports[i].Status = s
		}
	}
	v.finish()
}

// follow makes the survey one of these members. What those said that were asked before stays,
// unless they are gone; whether they know of still others is asked again.
func (v *survey) follow(members []bftraft.Node, gone quorumcert.Set) {
	old := v.reports
	v.reports, v.current = nil, 0
	for _, n := range members {
		r := NodeReport{ID: n.ID}
		for _, o := range old {
			if o.ID == r.ID && !gone.Has(o.ID) {
				r = o
			}
		}
		v.reports = append(v.reports, r)
	}
	v.finish()
}

func (v *survey) finish() {
	if !v.over && v.absent() == 0 && v.stale() == 0 {
		v.over = true
		close(v.done)
	}
}

// Status asks every member, whether it has a say or not, for its status. It returns who is a
// member and the reports in the same order, when all have answered and none knows of other members,
// or when ctx has ended. Each status is one node's word, signed.
func (c *Client) Status(ctx context.Context) (*bftraft.Membership, []NodeReport) {
	v := &survey{fixed: len(c.cfg.Genesis.Admins) == 0, done: make(chan struct{})}
	c.mu.Lock()
	v.follow(c.nodes, 0)
	c.statuses = append(c.statuses, v)
	c.mu.Unlock()
	c.poll(ctx, v.done, func() {
		c.askStatus(v.absent() & c.up)
		c.askChanges(v.stale() & c.up)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statuses = slices.DeleteFunc(c.statuses, func(o *survey) bool { return o == v })
	members := c.Members()
	v.follow(members.Nodes, quorumcert.Set(c.gone.Load()))
	for i := range v.reports {
		v.reports[i].Up = c.up.Has(v.reports[i].ID)
	}
	return members, v.reports
}

// poll asks, with the mutex held, now and again and again, until it is done, ctx ends, or Close.
func (c *Client) poll(ctx context.Context, done <-chan struct{}, ask func()) {
	repeat := time.NewTimer(0)
	defer repeat.Stop()
	for {
		select {
		case <-done:
			return
		case <-ctx.Done():
			return
		case <-c.stop.Done():
			return
		case <-repeat.C:
			c.mu.Lock()
			ask()
			c.mu.Unlock()
			repeat.Reset(c.cfg.Late)
		}
	}
}

// absent returns the nodes that have not answered.
func (v *survey) absent() quorumcert.Set {
	var absent quorumcert.Set
	for _, r := range v.reports {
		if r.Status == nil {
			absent = absent.With(r.ID)
		}
	}
	return absent
}

// stale returns the nodes that have not said that they know of no other members.
func (v *survey) stale() quorumcert.Set {
	var stale quorumcert.Set
	for _, r := range v.reports {
		if !v.fixed && !v.current.Has(r.ID) {
			stale = stale.With(r.ID)
		}
	}
	return stale
}
