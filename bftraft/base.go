package bftraft

import (
	"slices"

	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// MayDropLog says whether the log up to a position may go, in favour of a certified checkpoint that
// the caller holds there or beyond it (K1). It must be committed, and the node's lock so high, or
// nobody might hold a certificate of what others need. What this node acked last in its term stays,
// so that it still knows after a restart whether its chain contains that.
func (c *Core) MayDropLog(upTo Position) bool {
	switch {
	case c.broken != nil || upTo.Index <= c.log.base.Index || !c.log.contains(upTo):
		return false
	case upTo.Index > c.commit.Index,
		(upTo.Index > c.lock.Index || c.lockLacksEntries()) && !mutant.On(mutant.M135):
		return false
	case c.mark.Term == c.term && upTo.Index > c.mark.Index && !c.silenced():
		return false
	}
	return len(c.toAck) == 0 || upTo.Index <= c.toAck[0].at.Index
}

// DropLog takes notice that storage has let go of the log up to a position that may go.
func (c *Core) DropLog(upTo Position) {
	c.log.drop(upTo)
	if g := c.gather; g != nil && (g.target.Index <= upTo.Index || c.log.below(g.next.Index)) {
		c.gather = nil
	}
	c.assertInvariants()
}

// Floor returns the highest block end at or below index i, or the log's base.
func (c *Core) Floor(i Index) Position { return c.log.floor(i) }

// Base returns where this node's log begins.
func (c *Core) Base() Position { return c.log.base }

// CommitOf returns the commit certificate of a committed block end on the chain, nil if there is
// none any more: one of a later block proves the earlier ones with the headers between.
func (c *Core) CommitOf(at Position) *quorumcert.Commit {
	cc := c.commitAtOrAbove(at.Index)
	if cc == nil || at.Index <= c.log.base.Index && cc.Index != at.Index || !c.log.contains(at) {
		return nil
	}
	switch configs := c.configs(); {
	case cc.Index == at.Index:
		return cc
	case configs.For(cc.Index) != configs.For(at.Index):
		return nil // it is judged by another configuration: the right one could not be read
	}
	of := *cc
	of.Index, of.Hash = at.Index, at.Hash
	of.Headers = slices.Concat(headers(c.log.between(at.Index, cc.Index)), cc.Headers)
	return &of
}

// LacksLog says whether this node needs a state: f+1 voters say that the log behind what is
// committed here is gone, so an honest one does. What fewer say keeps nobody from asking others.
func (c *Core) LacksLog() bool {
	cfg := c.configs().Latest()
	gone := 0
	for _, v := range cfg.Voters() {
		if v.ID != c.id && c.peers[v.ID].status.Base > c.commit.Index {
			gone++
		}
	}
	return gone > cfg.Size().F || gone > 0 && mutant.On(mutant.M136)
}

// MayInstall says whether a state at a position that is certified and proven committed by cc may
// take the place of this node's log: it is beyond what is committed here, and not on the chain.
// Where it is on the chain already, it tells that this is committed. A lock that contradicts it is
// proof that more than f are faulty (A5).
func (c *Core) MayInstall(cc *quorumcert.Commit) bool {
	if c.broken != nil || cc.Index <= c.commit.Index {
		return false
	}
	if c.log.contains(Position{cc.Index, cc.Hash}) {
		c.learnCommit(cc)
		return false
	}
	if c.lock.Index >= cc.Index && c.lock.Term >= cc.Term {
		if c.inForce(cc.Index) {
			c.halt()
		}
		return false
	}
	return true
}

// Install puts a state at a position proven committed in the place of the log, where MayInstall
// allows it, takes in the changes that it brings, which were verified, and returns the hard state
// that storage must install along with it, before anything else. No Step or Tick may have come
// since the last Advance.
//
// Whether what this node acked in its term lies on that chain it cannot say, so it acks no more in
// this term, unless its lock of the term of the commit shows it: certificates of one term lie on
// one chain (K1).
func (c *Core) Install(cc *quorumcert.Commit, changes []*ChangeProof) HardState {
	at := Position{cc.Index, cc.Hash}
	c.learn(changes)
	if cc.Term > c.term {
		c.enterTerm(cc.Term, TermProof{Commit: cc})
	}
	marked := c.mark.Term == c.term && !c.silenced()
	shown := marked && c.lock.Term == c.term && cc.Term == c.term && c.lock.Index >= c.mark.Index
	c.log = chain{genesis: c.log.genesis, base: at, tip: at, reader: c.log.reader}
	c.gather, c.toAck = nil, nil
	c.commit, c.commitTerm, c.commitCert = at, cc.Term, cc
	c.decidedAt, c.blamed = c.now, 0
	c.recallCommit(cc)
	if shown || marked && mutant.On(mutant.M137) {
		c.mark = Lock{Term: c.term, Index: at.Index, Hash: at.Hash}
		c.lastAck = c.signAck(at)
	} else if marked {
		c.hush()
	}
	c.recount()
	c.dirty = true
	c.assertInvariants()
	return c.hardState()
}

// Convict tells the core of proofs that came with a state, at the start or when it was installed.
func (c *Core) Convict(proofs []quorumcert.Evidence) {
	for _, e := range proofs {
		c.hold(e)
	}
}

// Shows returns how far another voter has lately shown that it has committed.
func (c *Core) Shows(id NodeID) Index { return c.peers[id].status.Commit.Index }

// Remember tells the core of the certified checkpoint that storage held at the start.
func (c *Core) Remember(st *quorumcert.Stable) {
	if !c.isStable(st.Index) {
		c.stable = st
	}
}
