package client

import (
	"context"
	"slices"
	"time"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// NodeReport is what a node says about itself, if it answers.
type NodeReport struct {
	ID     bftraft.NodeID
	Up     bool                // it can be reached
	Status *bftraft.NodeStatus // nil: it did not answer
}

// survey collects one status of each node. The client's mutex guards it.
type survey struct {
	reports []NodeReport
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

// follow makes the survey one of voters. What those said that were asked before stays, unless they
// are gone.
func (v *survey) follow(voters []quorumcert.Voter, gone quorumcert.Set) {
	old := v.reports
	v.reports = nil
	for _, voter := range voters {
		r := NodeReport{ID: voter.ID}
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
	if !v.over && v.absent() == 0 {
		v.over = true
		close(v.done)
	}
}

// Status asks every voter for its status and returns when all have answered or ctx has ended. Each
// is one node's word, signed.
func (c *Client) Status(ctx context.Context) []NodeReport {
	v := &survey{done: make(chan struct{})}
	c.mu.Lock()
	v.follow(c.config().Voters(), 0)
	c.statuses = append(c.statuses, v)
	c.mu.Unlock()
	c.poll(ctx, v.done, func() { c.askStatus(v.absent() & c.reachable()) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statuses = slices.DeleteFunc(c.statuses, func(o *survey) bool { return o == v })
	for i := range v.reports {
		v.reports[i].Up = c.up.Has(v.reports[i].ID)
	}
	return v.reports
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
