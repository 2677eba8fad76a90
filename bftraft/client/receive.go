package client

import (
	"slices"
	"time"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// Frame is called by the link with a frame from a node.
func (c *Client) Frame(from bftraft.NodeID, frame []byte) {
	if len(frame) == 0 || !c.isMember(from) || quorumcert.Set(c.gone.Load()).Has(from) {
		return
	}
	ok, voter := false, c.config().Has(from)
	switch frame[0] {
	case bftraft.FrameReply:
		ok = c.takeReply(from, frame)
	case bftraft.FrameRefusal:
		ok = c.takeRefusal(from, frame)
	case bftraft.FrameReadReply:
		ok = c.takeReadReply(from, frame)
	case bftraft.FrameStatusReply:
		ok = c.takeStatus(from, frame)
	case bftraft.FrameEvidenceReply:
		ok = c.takeEvidence(from, frame)
	case bftraft.FrameChangesReply:
		ok = c.takeChanges(from, frame)
	case bftraft.FrameReadyReply:
		ok = c.takeReadiness(from, frame)
	}
	if !ok && voter { // what others say counts for nothing, and they may know themselves to be voters
		c.report([]Dissent{{Node: from, Kind: DissentInvalid}})
	}
}

// report counts answers that were wrong and tells the owner about them.
func (c *Client) report(list []Dissent) {
	c.mu.Lock()
	for _, d := range list {
		if n := c.stats.node(d.Node); n != nil {
			n.count(d.Kind)
		}
	}
	c.mu.Unlock()
	for _, d := range list {
		if c.cfg.OnDissent != nil {
			c.cfg.OnDissent(d)
		}
	}
}

// takeReply verifies a reply on the goroutine of its link and counts it.
func (c *Client) takeReply(from bftraft.NodeID, frame []byte) bool {
	r, err := bftraft.DecodeBlockReply(frame)
	if err != nil {
		return false
	}
	id := RequestID{r.Session, r.Sequence}
	if r.Client != c.cfg.Key.Public() || !c.awaits(id) {
		return true // another process under the same key waits for it, or nobody any more
	}
	if r.Signer == from && c.echoes(id, r) {
		return true
	}
	newest := c.Members().At.Index // before it is judged: it may have become known meanwhile
	if !c.judges.reply(from, r) {
		c.hears(from, r.Reply.Configuration)
		return r.Reply.Configuration > newest // it will be asked again
	}
	dissent, ok := c.countReply(id, r)
	if len(dissent) > 0 {
		c.report(dissent)
	}
	return ok
}

// echoes says whether a reply repeats what has been accepted. Nothing depends on who else says so,
// so its signature is not looked at.
func (c *Client) echoes(id RequestID, r *bftraft.BlockReply) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, tally := c.find(id)
	if tally == nil || !tally.Echoes(r) {
		return false
	}
	if n := c.stats.node(r.Signer); n != nil {
		n.Replies++
	}
	return true
}

// awaits says whether a request is in flight or settled lately.
func (c *Client) awaits(id RequestID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, tally := c.find(id)
	return tally != nil
}

// find returns the tally of a request, and its flight if it has no result yet.
func (c *Client) find(id RequestID) (*flight, *Tally) {
	for _, f := range c.flights {
		if f.id == id {
			return f, f.tally
		}
	}
	for _, t := range c.settled {
		if t != nil && t.Names(id.Session, id.Sequence) {
			return nil, t
		}
	}
	return nil, nil
}

func (c *Client) countReply(id RequestID, r *bftraft.BlockReply) (list []Dissent, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, tally := c.find(id)
	if tally == nil {
		return nil, true
	}
	if n := c.stats.node(r.Signer); n != nil {
		n.Replies++
	}
	verdict, answer := tally.Add(r)
	switch verdict {
	case Malformed:
		return nil, false
	case Dissents:
		return []Dissent{{Node: r.Signer, Kind: DissentReply, ID: id}}, true
	case Settled:
		differ := tally.Dissenters()
		for node := differ.Next(0); node != 0; node = differ.Next(node) {
			list = append(list, Dissent{Node: node, Kind: DissentReply, ID: id})
		}
		c.land(f, answer)
	}
	return list, true
}

// land takes a request that has its result out of the window.
func (c *Client) land(f *flight, a *Answer) {
	i := slices.Index(c.flights, f)
	c.flights = slices.Delete(c.flights, i, i+1)
	c.settled[c.oldest] = f.tally
	c.oldest = (c.oldest + 1) % len(c.settled)
	if a.Mine {
		f.settle(a)
	} else {
		f.fail(ErrOtherRequest)
	}
	if !f.repeated {
		c.pace.note(time.Since(f.began))
	}
	c.kick()
}

// takeRefusal counts a refusal. One node's word decides nothing, but the others are asked at once.
// A node that says that this is no client, of a request or of itself, is asked for what proves it.
func (c *Client) takeRefusal(from bftraft.NodeID, frame []byte) bool {
	r, err := bftraft.DecodeRefusal(frame)
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Code == bftraft.RefusedClient && c.link != nil {
		c.askForMore(from)
	}
	f, _ := c.find(RequestID{r.Session, r.Sequence})
	if f == nil || !f.sent.Has(from) || !c.config().Has(from) {
		return true
	}
	if n := c.stats.node(from); n != nil {
		n.Refusals++
	}
	verdict := f.refuse(from, r, c.config().Size().F)
	switch {
	case verdict.code != 0:
		c.giveUp(f, verdict)
	case passing(r.Code):
		f.postpone(time.Now(), c.pace.first())
	case !f.toAll:
		f.due = time.Now()
	}
	c.kick()
	return true
}

// giveUp ends a request that f+1 nodes refuse for good. If they have executed its sequence, those
// after it go on; else they wait in vain.
func (c *Client) giveUp(f *flight, why refusal) {
	i := slices.Index(c.flights, f)
	c.flights = slices.Delete(c.flights, i, i+1)
	f.fail(f.refused(why.code))
	if why.code != bftraft.RefusedExpired || !why.executed {
		c.breakSession(f)
	}
}

// takeStatus keeps a node's status.
func (c *Client) takeStatus(from bftraft.NodeID, frame []byte) bool {
	s, err := bftraft.DecodeNodeStatus(frame, c.cluster, c.Verifier().Keyring())
	if err != nil || s.From != from {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config().Has(from) {
		c.leaders.note(s)
	}
	for _, v := range c.statuses {
		v.take(s)
	}
	return true
}

// takeReadReply counts the answer to a read that is waiting for it.
func (c *Client) takeReadReply(from bftraft.NodeID, frame []byte) bool {
	r, err := bftraft.DecodeReadReply(frame)
	if err != nil {
		return false
	}
	queries, ok := c.queriesOf(r.Nonce)
	if !ok {
		return true // nobody waits for it any more
	}
	newest := c.Members().At.Index // before it is judged: it may have become known meanwhile
	valid := c.judges.read(from, r, queries)
	c.hears(from, r.Configuration)
	if !valid {
		return r.Configuration > newest // voters that are not known here may have certified its lock
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.stats.node(from); n != nil {
		n.Replies++
	}
	if reading := c.reads[r.Nonce]; reading != nil {
		reading.take(r)
	}
	return true
}

func (c *Client) queriesOf(nonce bftraft.Digest) ([][]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.reads[nonce]
	if r == nil {
		return nil, false
	}
	return r.Queries, true
}

// NodeStats is what one node has said.
type NodeStats struct {
	ID       bftraft.NodeID
	Up       bool   // it can be reached now
	Replies  uint64 // verified replies and answers, and echoes of what was accepted
	Refusals uint64
	Dissents uint64 // replies and reads that differ from what f+1 others vouch for
	Invalid  uint64 // frames that are malformed or do not verify
}

func (n *NodeStats) count(kind DissentKind) {
	if kind == DissentInvalid {
		n.Invalid++
		return
	}
	n.Dissents++
}

// Stats counts since the client was made.
type Stats struct {
	Requests uint64      // signed
	Ops      uint64      // operations in them
	Repeated uint64      // repetitions of requests that were late
	Busy     uint64      // repetitions of requests that a node had no room for
	Nodes    []NodeStats // of the members there are now, ascending by id
}

// follow counts for the nodes of another list. Those that are on both keep what they have.
func (s *Stats) follow(before, now []bftraft.Node) {
	list := make([]NodeStats, len(now))
	for i, n := range now {
		list[i].ID = n.ID
		for k, o := range before {
			if o.ID == n.ID && o.Key == n.Key {
				list[i] = s.Nodes[k]
			}
		}
	}
	s.Nodes = list
}

func (s *Stats) node(id crypto.NodeID) *NodeStats {
	for i := range s.Nodes {
		if s.Nodes[i].ID == id {
			return &s.Nodes[i]
		}
	}
	return nil
}

// Stats returns a snapshot of the counters.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Nodes = slices.Clone(c.stats.Nodes)
	for i := range s.Nodes {
		s.Nodes[i].Up = c.up.Has(s.Nodes[i].ID)
	}
	return s
}
