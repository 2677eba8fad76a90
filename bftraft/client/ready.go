package client

import (
	"context"
	"slices"
	"time"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// readyPatience is how long those are waited for that a quorum can do without. A change that more
// have signed shows more clearly whom it can rely on.
const readyPatience = time.Second

// readyReasons say what a node's answer means for people.
var readyReasons = map[bftraft.ReadyCode]string{
	bftraft.ReadyBehind: "it does not keep up with the log yet",
	bftraft.ReadyStale:  "the change does not follow the configuration that it knows",
	bftraft.ReadyNot:    "it says that it would not vote",
}

// canvass collects who is ready for a change. The client's mutex guards what answers are.
type canvass struct {
	change  bftraft.Digest
	voters  []quorumcert.Voter
	answers map[bftraft.NodeID]*bftraft.Readiness // the newest of each
	over    bool
	done    chan struct{} // closed when all have answered, or enough for long enough
}

// ready returns the words of those that are ready, ascending by key.
func (v *canvass) ready() []bftraft.Endorsement {
	ch := &bftraft.Change{}
	for _, r := range v.answers {
		if r.Code == bftraft.ReadyYes {
			ch.AddReady(r.Word)
		}
	}
	return ch.Ready
}

func (v *canvass) enough() bool { return len(v.ready()) >= quorumcert.ForNodes(len(v.voters)).Q }

func (v *canvass) finish() {
	if !v.over {
		v.over = true
		close(v.done)
	}
}

// ReadyFor asks all nodes that would vote behind a change whether they are ready to, and returns
// the signatures of those that are, and for the others why not. It returns when all have answered,
// when the others have had some time once a quorum is ready, or when ctx ends. Without a quorum the
// error is bftraft.ErrChangeNotReady. A change that leaves the voters as they are needs nobody's
// word.
func (c *Client) ReadyFor(
	ctx context.Context, ch *bftraft.Change,
) (ready []bftraft.Endorsement, why map[bftraft.NodeID]string, err error) {
	next, err := c.Members().After(ch)
	if err != nil || !next.Joint() {
		return nil, nil, err
	}
	v := &canvass{
		change: ch.Digest(c.cluster), voters: next.Incoming, done: make(chan struct{}),
		answers: map[bftraft.NodeID]*bftraft.Readiness{},
	}
	frame, began := bftraft.ReadyRequest(ch), time.Now()
	c.mu.Lock()
	c.canvasses = append(c.canvasses, v)
	c.mu.Unlock()
	c.poll(ctx, v.done, func() {
		if v.enough() && time.Since(began) >= readyPatience {
			v.finish()
			return
		}
		for _, n := range v.voters {
			if v.answers[n.ID] == nil && c.up.Has(n.ID) {
				c.link.Send(n.ID, frame)
			}
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.canvasses = slices.DeleteFunc(c.canvasses, func(o *canvass) bool { return o == v })
	if why = c.unready(v); !v.enough() {
		err = bftraft.ErrChangeNotReady
	}
	return v.ready(), why, err
}

// unready says why those are not ready that have not said that they are.
func (c *Client) unready(v *canvass) map[bftraft.NodeID]string {
	why := map[bftraft.NodeID]string{}
	for _, n := range v.voters {
		switch r := v.answers[n.ID]; {
		case r != nil && r.Code != bftraft.ReadyYes:
			why[n.ID] = readyReasons[r.Code]
		case r == nil && c.up.Has(n.ID):
			why[n.ID] = "it has not answered"
		case r == nil:
			why[n.ID] = "it cannot be reached"
		}
	}
	return why
}

// takeReadiness counts a node's answer. Its word is verified on the goroutine of its link.
func (c *Client) takeReadiness(from bftraft.NodeID, frame []byte) bool {
	r, err := bftraft.DecodeReadiness(frame)
	if err != nil {
		return false
	}
	nodes := c.Members().Nodes
	i := slices.IndexFunc(nodes, func(n bftraft.Node) bool { return n.ID == from })
	if i < 0 || r.Code == bftraft.ReadyYes && !signedReady(nodes[i].Key, r) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.canvasses {
		asked := func(n quorumcert.Voter) bool { return n.ID == from }
		if v.change != r.Change || !slices.ContainsFunc(v.voters, asked) {
			continue
		}
		if v.answers[from] = r; len(v.answers) == len(v.voters) {
			v.finish()
		}
	}
	return true
}

// signedReady says whether a word is that of the node with a key.
func signedReady(key crypto.PublicKey, r *bftraft.Readiness) bool {
	scheme := crypto.ZIP215()
	verifier, err := scheme.Expand(key)
	return err == nil && r.Word.Key == key && scheme.VerifyAll([]crypto.Check{{
		Key: verifier, Domain: crypto.DomainReadyToVote, Msg: r.Change[:], Sig: r.Word.Sig,
	}})
}
