package bftraft

import (
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// Room says whether this node leads and may propose another block now: the blocks on their way
// are fewer than the window, and so are those not yet committed.
func (c *Core) Room() bool {
	return c.room() && (!c.closingDue() || mutant.On(mutant.M161))
}

func (c *Core) room() bool {
	if !c.leading() || c.resigned || c.broken != nil || !c.holdsBase() || c.silenced() ||
		c.changing() || !c.electionConfig().Has(c.id) && !mutant.On(mutant.M149) ||
		c.commit.Index < c.gate.members.At.Index && !mutant.On(mutant.M157) {
		return false
	}
	certified, inflight := c.startTip, 0
	if c.lock.Term == c.term {
		certified = c.lock.Index
	} else if c.startTip > c.commit.Index || mutant.On(mutant.M162) {
		inflight = 1 // the log of earlier terms is proposed as one, unless all is committed
	}
	uncommitted, bytes := 0, 0
	for k := len(c.log.tail) - 1; k >= 0 && c.log.tail[k].Last() > c.commit.Index; k-- {
		uncommitted++
		bytes += len(c.log.tail[k].raw)
		if c.log.tail[k].Last() > certified {
			inflight++
		}
	}
	return inflight < c.cfg.MaxInflight && uncommitted < c.cfg.MaxUncommitted &&
		bytes < c.cfg.MaxUncommittedBytes
}

// Propose makes the next block of entries, which the caller has checked by the rule of B2: see
// Verifier.Entry. Behind a change the proof that it is committed comes first; it may stand alone
// there. Propose must be called only while Room says so. The block is made durable, acked and sent
// by the next Ready.
func (c *Core) Propose(entries []Entry) {
	if !c.room() {
		panic("bftraft: proposal without room")
	}
	if c.provesChange() && !mutant.On(mutant.M139) {
		changes := c.gate.changes
		proof := commitEntry(&changes[len(changes)-1].Commit)
		entries = append([]Entry{proof}, entries...)
	}
	b := NewBlock(c.log.tip, entries)
	c.log.append([]*Block{b})
	c.out.Blocks = append(c.out.Blocks, b)
	c.propose(b.End(), b)
}

func (c *Core) propose(at Position, b *Block) {
	c.toAck = append(c.toAck, proposal{at, b})
}

// makeAcks signs what is to be acked in this Ready: one ack a block, in order (N2). The mark is
// durable, with the entries and the lock the ack claims, before it is sent.
func (c *Core) makeAcks() {
	for len(c.toAck) > 0 {
		p := c.toAck[0]
		c.toAck = c.toAck[1:]
		if c.election == nil || c.broken != nil || c.silenced() || !c.votes() {
			continue
		}
		c.makeAck(p)
	}
	c.toAck = nil
}

func (c *Core) makeAck(p proposal) {
	if c.mark.Term == c.term && p.at.Index < c.mark.Index {
		panic("bftraft: an ack below the mark")
	}
	c.mark, c.dirty = Lock{Term: c.term, Index: p.at.Index, Hash: p.at.Hash}, true
	c.lastAck = c.signAck(p.at)
	c.out.MustSync = c.out.MustSync || !mutant.On(mutant.M14)
	ack := c.lastAck
	if !c.leading() {
		c.send(c.others(), ClassConsensus, &AppendEntriesResponse{Ack: ack})
	} else {
		m := &AppendEntries{Ack: ack}
		if p.block != nil {
			m.Blocks = []*Block{p.block}
		}
		if c.others()&^c.ecShown != 0 {
			m.Election, m.BaseQC = c.election, c.baseQC
			c.ecShown = c.others()
		}
		c.send(c.others(), ClassConsensus, m)
	}
	c.storeAck(&ack)
	c.certify(p.at)
}

// signAck signs the ack of a position with the highest index certified in this term that the
// statement can carry.
func (c *Core) signAck(at Position) quorumcert.SignedAck {
	a := quorumcert.Ack{Cluster: c.cluster, Term: c.term, Index: at.Index, Hash: at.Hash}
	switch {
	case c.lock.Term == c.term && mutant.On(mutant.M87):
		a.Certified = c.lock.Index
	case c.lock.Term == c.term:
		a.Certified = min(c.lock.Index, at.Index)
	}
	return quorumcert.SignedAck{Ack: a, Signer: c.id, Sig: quorumcert.Sign(c.cfg.Signer, a)}
}

// announce says that a lock was taken: with the next block's ack if one is on its way, otherwise
// in an ack of its own (N3).
func (c *Core) announce() {
	if c.election == nil || c.broken != nil || c.lock.Term != c.term || !c.holdsBase() ||
		c.silenced() || !c.votes() {
		return
	}
	if c.log.below(c.lock.Index) && c.mark.Term != c.term {
		return // what it says is in a state; an ack of the log will say more
	}
	said := c.lastAck.Term == c.term && c.lastAck.Certified >= c.lock.Index
	onItsWay := c.mark.Term == c.term && c.mark.Index > c.lock.Index && !c.announceNow
	if said || onItsWay || mutant.On(mutant.M89) {
		return
	}
	c.announceNow = false
	at := Position{c.lock.Index, c.lock.Hash}
	if c.mark.Term == c.term && c.mark.Index > at.Index {
		at = Position{c.mark.Index, c.mark.Hash}
	}
	c.mark, c.dirty = Lock{Term: c.term, Index: at.Index, Hash: at.Hash}, true
	c.lastAck = c.signAck(at)
	c.out.MustSync = c.out.MustSync || !mutant.On(mutant.M14)
	ack := c.lastAck
	c.send(c.others(), ClassConsensus, &AppendEntriesResponse{Ack: ack})
	c.storeAck(&ack)
}

func (c *Core) onAppend(from NodeID, m *AppendEntries) Drop {
	a := &m.Ack
	if a.Term < c.term {
		c.repair(from)
		return Stale
	}
	if m.Election != nil && m.Election.Term == a.Term && m.Election.Leader == from {
		c.learnElection(m.Election, m.BaseQC)
	}
	switch {
	case c.broken != nil:
		return Conflict
	case a.Term > c.term:
		return FutureTerm
	case c.election == nil:
		c.sendStatus(from)
		return NoElection
	case c.election.Leader != from && !mutant.On(mutant.M77):
		return NotLeader
	}
	c.leaderSeen = c.now
	if drop := c.collectAck(a, m.Blocks); drop == Conflict || c.settled(a.Index) {
		return drop
	}
	return c.follow(m.Blocks, a)
}

// follow goes along with a proposal of the leader: blocks, which may be empty, end at what its
// ack names. This is section 5 of docs/PROTOCOL.md.
func (c *Core) follow(blocks []*Block, a *quorumcert.SignedAck) Drop {
	at := Position{a.Index, a.Hash}
	if c.log.contains(at) {
		return c.ackProposal(at)
	}
	if at.Index <= c.commit.Index && !mutant.On(mutant.M24) {
		return Conflict
	}
	rest := c.beyond(blocks)
	if len(rest) == 0 || !c.log.contains(rest[0].Before()) {
		return c.seek(rest, at, nil, a)
	}
	return c.accept(rest, a)
}

// accept takes the blocks up to what the leader's ack names, and acks it. A block that may not
// stand there is proof against the leader (A6).
func (c *Core) accept(blocks []*Block, a *quorumcert.SignedAck) Drop {
	blocks, drop := c.admit(blocks)
	switch {
	case drop == InvalidEntry:
		c.faulty = c.faulty.With(a.Signer)
		return drop
	case drop != Accepted:
		return drop
	case a.Term != c.term || c.election == nil:
		return Stale // what proves a change was of a later term
	}
	if len(blocks) > 0 {
		if drop := c.acceptBlocks(blocks); drop != Accepted {
			return drop
		}
	}
	return c.ackProposal(Position{a.Index, a.Hash})
}

// acceptBlocks replaces the suffix by blocks of the leader. What results must contain the base of
// its election (A2); a lock of an earlier term whose entries go becomes that base. One whose
// entries are in a state, below the log, stays: it may be of this term.
func (c *Core) acceptBlocks(blocks []*Block) Drop {
	at, base := blocks[0].Before(), c.election.Base
	if !c.roomFor(at.Index, blocks) {
		return TooFarAhead
	}
	keepsBase := base.Index <= at.Index && c.holdsBase()
	for _, b := range blocks {
		is := b.End() == Position{base.Index, base.Hash}
		if is && b.Closes() && !(c.electedOnClosing(c.election) && c.baseQC != nil &&
			c.configs().For(base.Index).Closes(c.baseQC.Signers)) {
			return BadBase // of the old voters alone
		}
		keepsBase = keepsBase || is
	}
	if !keepsBase && !mutant.On(mutant.M79) {
		return BadBase
	}
	if drop := c.replaceSuffix(blocks); drop != Accepted {
		return drop
	}
	gone := c.lockLacksEntries() && !c.log.below(c.lock.Index)
	if gone || base.Higher(c.lock) || mutant.On(mutant.M80) {
		c.lockBase()
	}
	c.recount()
	return Accepted
}

// ackProposal acks a position on the chain that the leader proposed.
func (c *Core) ackProposal(at Position) Drop {
	switch base := c.election.Base; {
	case (at.Index < base.Index || !c.holdsBase()) && !mutant.On(mutant.M78):
		return BadBase
	case c.silenced():
		return Conflict
	case c.mark.Term == c.term && at.Index <= c.mark.Index:
		return Duplicate
	case len(c.toAck) > 0 && at.Index <= c.toAck[len(c.toAck)-1].at.Index:
		return Duplicate
	}
	if c.election.Base.Higher(c.lock) {
		c.lockBase()
	}
	if c.lock.Term == c.term && c.lock.Index > at.Index {
		return Stale // more than this is certified: the announcement of the lock acks it all
	}
	c.toAck = append(c.toAck, proposal{at: at})
	return Accepted
}
