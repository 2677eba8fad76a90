package bftraft

import (
	"slices"

	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// gather collects, aside from the log, the blocks that lead from the own chain to a target whose
// hash is known: a leader's proposal (A2), or a certificate (N3, E4). It goes backwards, so each
// block is checked against a hash that is already trusted.
type gather struct {
	target Position
	qc     *quorumcert.QC        // certifies the target, if that is why it is wanted
	ack    *quorumcert.SignedAck // the leader's ack of the target, if it is known
	blocks []*Block              // follow each other and end at the target
	bytes  int
	next   Position // the end of the block wanted now
	asked  NodeID
	tries  int // requests without an answer
	beats  int // heartbeat intervals since it began
}

// maxGatherTries is the number of requests without an answer after which a target is given up;
// whoever wants it will name it again.
const maxGatherTries = 12

// seek starts to gather towards a proposal of the leader, or extends the present gathering.
func (c *Core) seek(
	blocks []*Block, at Position, qc *quorumcert.QC, a *quorumcert.SignedAck,
) Drop {
	return c.seekFrom(c.election.Leader, blocks, at, qc, a)
}

func (c *Core) seekFrom(
	from NodeID, blocks []*Block, at Position, qc *quorumcert.QC, a *quorumcert.SignedAck,
) Drop {
	g := c.gather
	switch {
	case g == nil:
	case g.target != at && g.qc != nil && g.ack == nil && !c.wantsLock(g.qc):
		// Another leads by now.
	case g.target != at && g.qc == nil && (qc != nil || a != nil && g.ack == nil):
		// A certificate goes before a proposal, and both before a position that is merely acked.
	case g.target == at:
		if g.qc == nil {
			g.qc = qc
		}
		if g.ack == nil {
			g.ack = a
		}
		return MissingBlocks
	case qc == nil && len(blocks) > 0 && blocks[0].Before() == g.target:
		if !c.gatherFits(g, blocks) {
			return TooFarAhead
		}
		g.blocks = append(g.blocks, blocks...)
		g.target, g.ack, g.qc = at, a, nil
		return MissingBlocks
	case qc == nil || g.qc != nil && !qc.Lock.Higher(g.qc.Lock):
		return MissingBlocks
	}
	g = &gather{target: at, qc: qc, ack: a, next: at, asked: from}
	if len(blocks) > 0 && c.gatherFits(g, blocks) {
		g.blocks = append(g.blocks, blocks...)
		g.next = blocks[0].Before()
	}
	c.gather = g
	c.ask()
	return MissingBlocks
}

// gatherFits says whether blocks may be held aside, and counts them.
func (c *Core) gatherFits(g *gather, blocks []*Block) bool {
	bytes := g.bytes
	for _, b := range blocks {
		bytes += len(b.raw)
	}
	if len(g.blocks)+len(blocks) > 2*c.cfg.MaxUncommitted || bytes > 2*c.cfg.MaxUncommittedBytes {
		return false
	}
	g.bytes = bytes
	return true
}

func (c *Core) ask() {
	g := c.gather
	c.sendOne(g.asked, ClassConsensus, &FetchChain{Target: g.next, Above: c.commit.Index})
}

// askAgain asks the next peer for what is still missing.
func (c *Core) askAgain() {
	g := c.gather
	if g == nil {
		return
	}
	if c.log.contains(g.next) {
		c.tryGathered()
		return
	}
	if g.tries++; g.tries > maxGatherTries {
		c.gather = nil
		if g.qc != nil && c.pending == g.qc {
			c.pending = nil // nobody hands its entries out: a lower one may be of more use
		}
		for id := range c.peers {
			c.peers[id].fetched = Position{}
		}
		return
	}
	if g.beats++; g.beats > 1 {
		g.asked = c.nextPeer(g.asked) // even if it answers: perhaps one block at a time
	}
	c.ask()
}

// nextPeer goes round the other voters.
func (c *Core) nextPeer(id NodeID) NodeID {
	others := c.others()
	if next := others.Next(id); next != 0 {
		return next
	}
	return others.Next(0)
}

// seekUnknown looks for a position that a peer acked in this term and that is not on this node's
// chain: a block that never came, or the other half of an equivocation. It takes the peers in
// turn, so that one who acks what does not exist keeps the others waiting once only.
func (c *Core) seekUnknown() {
	if c.gather != nil || c.election == nil {
		return
	}
	id := c.soughtOf
	for range c.others().Len() {
		id = c.nextPeer(id)
		p := &c.peers[id]
		if len(p.acks) == 0 {
			continue
		}
		a := &p.acks[len(p.acks)-1]
		at := Position{a.Index, a.Hash}
		if a.Index <= c.commit.Index || at == p.fetched || c.log.contains(at) {
			continue
		}
		c.soughtOf, p.fetched = id, at
		c.seekFrom(id, nil, at, nil, c.leaderAck(at))
		return
	}
}

// leaderAck returns the leader's ack of a position, if this node holds it.
func (c *Core) leaderAck(at Position) *quorumcert.SignedAck {
	if c.election == nil {
		return nil
	}
	acks := c.peers[c.election.Leader].acks
	if i, found := findAck(acks, at.Index); found && acks[i].Hash == at.Hash {
		a := acks[i]
		return &a
	}
	return nil
}

// maxAnswerBytes and maxAnswerBlocks bound the blocks in one answer; a single block may exceed
// the bytes.
const (
	maxAnswerBytes  = 1 << 20
	maxAnswerBlocks = 256
)

// serve counts a fetch against its sender's share of this interval, in number and bytes.
func (c *Core) serve(from NodeID) bool {
	p := &c.peers[from]
	p.served++
	return mutant.On(mutant.M118) ||
		p.served <= maxServed && p.servedBytes < maxServedBytes
}

func (c *Core) onFetchChain(from NodeID, m *FetchChain) Drop {
	if !c.serve(from) || m.Target.Index == 0 || !c.log.contains(m.Target) {
		return Unserved
	}
	// Who shows that it has committed so far has the blocks up to there.
	above := max(m.Above, c.peers[from].status.Commit.Index)
	answer := &Chain{LeaderAck: c.leaderAck(m.Target)}
	size := 0
	var back []*Block
	for i := m.Target.Index; i > above && len(back) < maxAnswerBlocks; {
		b, ok := c.log.covering(i)
		if !ok || len(back) > 0 && size+len(b.raw) > maxAnswerBytes {
			break
		}
		size += len(b.raw)
		back = append(back, b)
		i = b.First() - 1
	}
	if len(back) == 0 {
		return Unserved
	}
	c.peers[from].servedBytes += size
	for i := len(back) - 1; i >= 0; i-- {
		answer.Blocks = append(answer.Blocks, back[i])
	}
	c.sendOne(from, ClassBulk, answer)
	return Accepted
}

func (c *Core) onChain(from NodeID, m *Chain) Drop {
	g := c.gather
	if m.LeaderAck != nil && m.LeaderAck.Term == c.term {
		if c.collectAck(m.LeaderAck, m.Blocks) == Conflict {
			return Conflict
		}
	}
	if g == nil || len(m.Blocks) == 0 || m.Blocks[len(m.Blocks)-1].End() != g.next {
		return Unasked
	}
	if g.ack == nil && m.LeaderAck != nil && c.election != nil && m.LeaderAck.Term == c.term &&
		m.LeaderAck.Signer == c.election.Leader && m.LeaderAck.Hash == g.target.Hash {
		g.ack = m.LeaderAck
	}
	rest := c.beyond(m.Blocks)
	if !c.gatherFits(g, rest) {
		c.gather = nil
		return TooFarAhead
	}
	g.blocks = append(append([]*Block(nil), rest...), g.blocks...)
	if len(g.blocks) == 0 {
		c.gather = nil
		return Duplicate
	}
	g.next, g.tries, g.asked = g.blocks[0].Before(), 0, from
	drop := c.tryGathered()
	invalid := func(b *Block) bool { return b.checked == entriesInvalid }
	if drop == InvalidEntry && !slices.ContainsFunc(m.Blocks, invalid) {
		return Accepted // the bad block came before, of somebody else
	}
	return drop
}

// tryGathered puts what was gathered on the chain once it is connected, else asks for more.
func (c *Core) tryGathered() Drop {
	g := c.gather
	switch {
	case g.target.Index <= c.log.base.Index, c.log.below(g.next.Index):
		c.gather = nil // the log has been dropped that far, or a state has come: nobody can say
		return Stale
	case c.log.contains(g.next):
		c.gather = nil
		return c.install(g)
	case g.next.Index <= c.commit.Index:
		c.gather = nil
		if g.qc != nil && g.qc.Term >= c.commitTerm && c.inForce(g.target.Index) {
			c.halt()
		}
		return Conflict
	}
	c.ask()
	return Accepted
}

// install replaces the suffix by what was gathered, in one durable step.
func (c *Core) install(g *gather) Drop {
	blocks := c.beyond(g.blocks)
	if g.ack != nil && g.ack.Term == c.term && c.election != nil && !mutant.On(mutant.M92) {
		return c.accept(blocks, g.ack)
	}
	if g.qc == nil || !c.wantsLock(g.qc) || !g.qc.Lock.Higher(c.lock) {
		return Unasked
	}
	members := c.gate.members
	blocks, drop := c.admit(blocks)
	switch {
	case drop != Accepted:
		return drop
	case c.gate.members != members && !mutant.On(mutant.M165):
		return Stale // the certificate was judged before this node knew of the change
	}
	if len(blocks) > 0 {
		if !c.roomFor(blocks[0].First()-1, blocks) {
			return TooFarAhead // what of it is committed comes first
		}
		if drop := c.replaceSuffix(blocks); drop != Accepted {
			return drop
		}
	}
	if c.full(g.target, g.qc.Signers) || mutant.On(mutant.M156) {
		c.setLock(g.qc.Lock, g.qc)
	}
	c.recount()
	c.candidateLockRose()
	return Accepted
}

// overdueBeats is the number of heartbeat intervals after which a commit index that a peer showed
// should have been reached, in whatever way.
const overdueBeats = 4

// overdue says whether this node has long been below a commit index that p showed.
func (c *Core) overdue(p *peer) bool {
	if p.goal <= c.commit.Index {
		p.kept = p.goal > 0 || p.status.Term > 0 && p.status.Commit.Index <= c.commit.Index
		p.goal, p.goalAt = p.status.Commit.Index, c.now
	}
	late := p.goal > c.commit.Index &&
		c.now-p.goalAt >= overdueBeats*uint64(c.cfg.HeartbeatTicks)
	p.kept = p.kept && !late
	return late
}

// KeepsUp says whether this node reaches in time what a quorum of the voters, itself included if it
// is one, show to be committed: it may become a voter (J2).
func (c *Core) KeepsUp() bool {
	cfg, keeps := c.configs().Latest(), 0
	for _, v := range cfg.Voters() {
		p := &c.peers[v.ID]
		if v.ID == c.id || !c.overdue(p) && p.kept {
			keeps++
		}
	}
	return keeps >= cfg.Size().Q && c.broken == nil
}

// askCommitted asks somebody who shows a higher commit index for what leads there, unless this
// node got on by itself since the last interval. Who showed it long ago is asked even so: another
// may be handing out one block at a time.
func (c *Core) askCommitted() {
	stuck := c.commit.Index == c.lastAskedCommit
	c.lastAskedCommit = c.commit.Index
	id := c.catchUpPeer
	for range c.others().Len() {
		id = c.nextPeer(id)
		p := &c.peers[id]
		if p.status.Base > c.commit.Index {
			continue // its log begins later
		}
		if c.overdue(p) || stuck && p.status.Commit.Index > c.commit.Index {
			c.catchUpPeer = id
			c.sendOne(id, ClassConsensus, &FetchCommitted{After: c.commit})
			return
		}
	}
}

func (c *Core) onFetchCommitted(from NodeID, m *FetchCommitted) Drop {
	p := &c.peers[from]
	if mutant.On(mutant.M47) || m.After.Index >= c.commit.Index || !c.serve(from) ||
		!c.log.contains(m.After) {
		return Unserved
	}
	// Who has been answered has no use for the same, nor who shows that it has it.
	if m.After == p.servedAfter || m.After.Index < p.status.Commit.Index {
		return Unserved
	}
	p.servedAfter = m.After
	answer := &Committed{LockQC: c.lockQC}
	size := 0
	end := m.After.Index
	for end < c.commit.Index && len(answer.Blocks) < maxAnswerBlocks {
		b, ok := c.log.covering(end + 1)
		if !ok || len(answer.Blocks) > 0 && size+len(b.raw) > maxAnswerBytes {
			break
		}
		size += len(b.raw)
		answer.Blocks = append(answer.Blocks, b)
		if end = b.Last(); b.EndsChange() {
			break // what lies beyond is for those to judge who know of it
		}
	}
	answer.Commit = c.commitAtOrAbove(end)
	// Where a certificate stands at a block's end, the answer ends there: the receiver can then
	// store it and help others in turn.
	for k := len(answer.Blocks); k > 0; k-- {
		at := answer.Blocks[k-1].Last()
		if cc := c.commitAtOrAbove(at); cc != nil && cc.Index == at {
			answer.Blocks, answer.Commit, end = answer.Blocks[:k], cc, at
			break
		}
	}
	if answer.Commit == nil || len(answer.Blocks) == 0 {
		return Unserved
	}
	if c.lock.Index > end && c.gate.members.At.Index >= end {
		answer.LockQC = nil // it lies beyond a change
	}
	c.peers[from].servedBytes += size
	answer.Bridge = headers(c.log.between(end, answer.Commit.Index))
	c.sendOne(from, ClassBulk, answer)
	return Accepted
}

// commitAtOrAbove returns the commit certificate of the lowest index at or above i.
func (c *Core) commitAtOrAbove(i Index) *quorumcert.Commit {
	if cc, ok := c.log.reader.Commit(i); ok {
		return cc
	}
	if c.commitCert != nil && c.commitCert.Index >= i {
		return c.commitCert
	}
	return nil
}

// onCommitted takes in blocks that are proven committed: catch-up. They are kept, never acked.
func (c *Core) onCommitted(from NodeID, m *Committed) Drop {
	c.recallCommit(m.Commit)
	c.recallQC(m.LockQC)
	if m.Commit.Term > c.term {
		c.enterTerm(m.Commit.Term, TermProof{Commit: m.Commit})
	}
	if len(m.Blocks) == 0 {
		return c.learnCommit(m.Commit)
	}
	end := m.Blocks[len(m.Blocks)-1].End()
	if end.Index <= c.commit.Index {
		return Duplicate
	}
	if drop := c.crossesChange(m); drop != Accepted {
		return drop
	}
	if rest := c.beyond(m.Blocks); len(rest) > 0 {
		at := rest[0].Before()
		if c.unprovenChange(at) {
			return MissingBlocks // first the change itself, which this node asks for from its commit on
		}
		if at.Index < c.commit.Index && c.log.contains(at) {
			if c.inForce(m.Commit.Index) {
				c.halt() // a certified commit that goes another way from below this node's own
			}
			return Conflict
		}
		if drop := c.takeCommitted(rest, m.Commit.Term); drop != Accepted {
			return drop
		}
		c.recount()
	}
	if c.commitTo(end, m.Commit); c.broken != nil {
		return Conflict
	}
	if qc := m.LockQC; qc != nil && qc.Lock.Higher(c.lock) && qc.Term <= c.term &&
		c.log.contains(Position{qc.Index, qc.Hash}) && c.lockLacksEntries() &&
		c.full(Position{qc.Index, qc.Hash}, qc.Signers) {
		c.setLock(qc.Lock, qc)
	}
	if c.peers[from].status.Commit.Index > c.commit.Index {
		c.sendOne(from, ClassConsensus, &FetchCommitted{After: c.commit})
	}
	return Accepted
}

// crossesChange refuses blocks that go on beyond a change, and one that is not itself proven
// committed: by which configuration the certificate is to be judged would not be known (J5).
func (c *Core) crossesChange(m *Committed) Drop {
	for k, b := range m.Blocks {
		last := k == len(m.Blocks)-1
		if b.EndsChange() && (!last || m.Commit.Index != b.Last() || !atItsEnd(m.Commit)) ||
			b.Closes() && !c.configs().For(b.Last()).Closes(m.Commit.Signers) {
			return BadCertificate
		}
	}
	return Accepted
}
