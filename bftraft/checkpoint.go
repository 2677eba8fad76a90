package bftraft

import (
	"cmp"
	"slices"

	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// Certify says to which roots executing the log up to a committed block has led this node (K1).
// What a crash forgets of it the log tells again, so nothing has to be durable.
func (c *Core) Certify(cp quorumcert.Checkpoint) {
	if c.broken != nil || cp.Index > c.commit.Index || !c.configs().For(cp.Index).Has(c.id) {
		return
	}
	own := quorumcert.SignedCheckpoint{
		Checkpoint: cp, Signer: c.id, Sig: quorumcert.Sign(c.cfg.Signer, cp),
	}
	if c.keepCheckpoint(&own) != Accepted || c.isStable(cp.Index) {
		return
	}
	c.send(c.others(), ClassConsensus, &CheckpointVote{own})
	c.countCheckpoints(&own.Checkpoint)
}

// isStable says whether a checkpoint at index i would be of no more use.
func (c *Core) isStable(i Index) bool {
	return c.stable != nil && i <= c.stable.Index && i != c.wanted
}

// Want says at which index this node needs a certified checkpoint, because it writes that, though
// others may be further by then and certify newer ones; 0 for none (K1).
func (c *Core) Want(i Index) {
	if !mutant.On(mutant.M171) {
		c.wanted = i
	}
}

// onCheckpoint collects what others say. Who repeats itself beyond what is stable here has missed
// that.
func (c *Core) onCheckpoint(from NodeID, s *quorumcert.SignedCheckpoint) Drop {
	drop := c.keepCheckpoint(s)
	switch {
	case c.isStable(s.Index):
		if p := &c.peers[from]; drop == Duplicate && p.stableAt != c.now {
			p.stableAt = c.now
			c.sendOne(from, ClassConsensus, &StableCheckpoint{Stable: c.stable})
		}
		return Stale
	case drop == Accepted:
		c.countCheckpoints(&s.Checkpoint)
	}
	return drop
}

// keepCheckpoint keeps the highest checkpoints of each voter: it may be at the next one before the
// others have seen it at this one. One that this node wants stays whatever comes. The first at an
// index stays.
func (c *Core) keepCheckpoint(s *quorumcert.SignedCheckpoint) Drop {
	said := c.peers[s.Signer].checkpoints[:]
	for i := range said {
		switch {
		case said[i].Index != s.Index:
		case said[i].Checkpoint == s.Checkpoint:
			return Duplicate
		default:
			return Conflict
		}
	}
	least := 0
	if c.wanted > 0 && said[0].Index == c.wanted {
		least = 1
	}
	if s.Index < said[least].Index && s.Index != c.wanted {
		return Stale
	}
	said[least] = *s
	slices.SortFunc(said, func(a, b quorumcert.SignedCheckpoint) int {
		return cmp.Compare(a.Index, b.Index)
	})
	return Accepted
}

// countCheckpoints takes a checkpoint as stable once a quorum has said the same.
func (c *Core) countCheckpoints(cp *quorumcert.Checkpoint) {
	cfg := c.configs().For(cp.Index)
	st := &quorumcert.Stable{Checkpoint: *cp}
	voters := c.gate.holders(cfg, cfg.Members())
	for id := range c.peers {
		if !voters.Has(NodeID(id)) && !mutant.On(mutant.M159) {
			continue // learners, who should say nothing, and those who are to vote later
		}
		for _, s := range c.peers[id].checkpoints {
			if s.Checkpoint == *cp {
				st.Signers = st.Signers.With(NodeID(id))
				st.Sigs = append(st.Sigs, s.Sig)
			}
		}
	}
	need := cfg.Size().Q
	if mutant.On(mutant.M129) {
		need = cfg.Size().F + 1
	}
	if len(st.Sigs) >= need && c.believes(cp) {
		c.foundStable(st)
	}
}

// foundStable takes notice of a certified checkpoint that is of use.
func (c *Core) foundStable(st *quorumcert.Stable) {
	if c.wanted == st.Index {
		c.wanted = 0
	}
	if c.stable == nil || st.Index > c.stable.Index {
		c.stable = st
	}
	c.out.Stable = append(c.out.Stable, st)
}

// believes says whether a checkpoint may be taken on the word of its voters. One of before the
// newest change, whose voters may have lost their keys since, has to be what this node has said
// itself.
func (c *Core) believes(cp *quorumcert.Checkpoint) bool {
	own := func(s quorumcert.SignedCheckpoint) bool { return s.Checkpoint == *cp }
	return c.inForce(cp.Index) || slices.ContainsFunc(c.peers[c.id].checkpoints[:], own)
}

// onStable takes a certified checkpoint from who has one.
func (c *Core) onStable(st *quorumcert.Stable) Drop {
	if c.isStable(st.Index) || !c.believes(&st.Checkpoint) {
		return Stale
	}
	c.foundStable(st)
	return Accepted
}

// repeatCheckpoint repeats this node's checkpoints while they are not known to be stable (N6).
func (c *Core) repeatCheckpoint() {
	for _, own := range c.peers[c.id].checkpoints {
		if own.Index > 0 && !c.isStable(own.Index) {
			c.send(c.others(), ClassConsensus, &CheckpointVote{own})
		}
	}
}
