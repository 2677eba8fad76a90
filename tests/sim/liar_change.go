package sim

import (
	"slices"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// The liars that know of changes of the voters, and the one that lies about checkpoints. They are
// drawn where there are any.
const (
	hasty       = "hasty"        // as leader it closes a change before the new voters keep up
	neverCloses = "never-closes" // as leader it does not hear the new voters, so that it never may
	twoClosings = "two-closings" // it proposes, and acks, a closing entry and something else there
	secretive   = "secretive"    // it tells nobody of changes, and never says that it is ready
	eager       = "says-ready"   // it always says that it is ready to vote
	falseState  = "false-state"  // it signs checkpoints of states that are not so
)

// turncoats lists those that know of changes, joining those of them who need not lead, and founding
// what voters of the genesis do: what takes a leader has an effect in some of the runs only.
var (
	turncoats = []string{hasty, neverCloses, twoClosings, secretive, eager}
	joining   = []string{twoClosings, secretive, eager}
	founding  = []string{hasty, hasty, neverCloses, neverCloses, neverCloses, twoClosings, secretive}
)

// members is what the liar knows of who votes.
func (l *liar) members() *bftraft.Membership { return l.Protocol.Verifier().Members() }

// leads says whether the liar leads while the voters are being changed.
func (l *liar) leads() bool { return l.members().Joint() && l.Protocol.Leader() == l.m.id }

// closesSoon ends a block with the entry that closes the change, whatever the new voters have
// acked. Its own core has another block there: it follows when the others have certified this one.
func (l *liar) closesSoon(o bftraft.Outbound) []bftraft.Outbound {
	m, ok := o.Msg.(*bftraft.AppendEntries)
	if !ok || !l.leads() || len(m.Blocks) != 1 || m.Blocks[0].EndsChange() {
		return []bftraft.Outbound{o}
	}
	b := m.Blocks[0]
	entries := append(slices.Clone(b.Entries()), bftraft.Entry{Kind: bftraft.EntryClosing})
	other := bftraft.NewBlock(b.Before(), entries)
	o.Msg = &bftraft.AppendEntries{
		Blocks: []*bftraft.Block{other}, Election: m.Election, BaseQC: m.BaseQC,
		Ack: l.acks(m.Ack.Ack, other),
	}
	return []bftraft.Outbound{o}
}

// overhears says whether a message is an ack of somebody who is to vote only: who does not hear
// them need not close the change, and can go on serving requests. After the healing it hears them.
func (l *liar) overhears(v bftraft.Verified) bool {
	_, is := v.Message().(*bftraft.AppendEntriesResponse)
	cfg := l.Protocol.Verifier().Configurations().Latest()
	return is && l.leads() && !l.w.calm && !cfg.Has(v.From())
}

// closesTwice tells some of those to whom it proposes a block, or acks one, while the voters are
// being changed, that another stands in its place: one that closes the change, where the block does
// not, and one that does not where it does.
func (l *liar) closesTwice(o bftraft.Outbound) []bftraft.Outbound {
	if !l.members().Joint() || l.random.chance(500) {
		return []bftraft.Outbound{o}
	}
	some := bftraft.Set(l.random.next()) & o.To
	lie := bftraft.Outbound{To: some, Class: o.Class}
	switch m := o.Msg.(type) {
	case *bftraft.AppendEntries:
		if len(m.Blocks) != 1 {
			return []bftraft.Outbound{o}
		}
		other := l.otherClosing(m.Blocks[0])
		lie.Msg = &bftraft.AppendEntries{
			Blocks: []*bftraft.Block{other}, Election: m.Election, BaseQC: m.BaseQC,
			Ack: l.acks(m.Ack.Ack, other),
		}
	case *bftraft.AppendEntriesResponse:
		b, ok := l.m.disk.Block(m.Ack.Index)
		if !ok || b.Last() != m.Ack.Index || b.Hash() != m.Ack.Hash {
			return []bftraft.Outbound{o}
		}
		lie.Msg = &bftraft.AppendEntriesResponse{Ack: l.acks(m.Ack.Ack, l.otherClosing(b))}
	default:
		return []bftraft.Outbound{o}
	}
	l.w.watch.hit(seenTwoClosings)
	o.To &^= some
	return []bftraft.Outbound{o, lie}
}

// otherClosing returns a block in the place of another, of which one closes the change.
func (l *liar) otherClosing(b *bftraft.Block) *bftraft.Block {
	var entries []bftraft.Entry
	for _, e := range b.Entries() {
		if e.Kind == bftraft.EntryRequest || e.Kind == bftraft.EntryCommit {
			entries = append(entries, e)
		}
	}
	if !b.Closes() || len(entries) == 0 || l.random.chance(500) {
		entries = append(entries, bftraft.Entry{Kind: bftraft.EntryClosing})
	}
	if other := bftraft.NewBlock(b.Before(), entries); other.Hash() != b.Hash() {
		return other
	}
	return bftraft.NewBlock(b.Before(), append(entries, entries[len(entries)-1]))
}

// acks signs an ack for another block than one that it is about.
func (l *liar) acks(a quorumcert.Ack, b *bftraft.Block) quorumcert.SignedAck {
	a.Index, a.Hash, a.Certified = b.Last(), b.Hash(), min(a.Certified, b.Last())
	return quorumcert.SignedAck{Ack: a, Signer: l.m.id, Sig: quorumcert.Sign(l.m.signer, a)}
}

// hides keeps back all that tells of changes but what it proposes.
func (l *liar) hides(o bftraft.Outbound) []bftraft.Outbound {
	switch m := o.Msg.(type) {
	case *bftraft.Changes:
		return nil
	case *bftraft.Committed:
		for _, b := range m.Blocks {
			if b.EndsChange() {
				return nil
			}
		}
	}
	return []bftraft.Outbound{o}
}

// falsifies signs for another state than the one that it has.
func (l *liar) falsifies(o bftraft.Outbound) []bftraft.Outbound {
	m, ok := o.Msg.(*bftraft.CheckpointVote)
	if !ok {
		return []bftraft.Outbound{o}
	}
	cp := m.Checkpoint.Checkpoint
	cp.State = crypto.Hash(crypto.DomainState, []byte("false"))
	o.Msg = &bftraft.CheckpointVote{Checkpoint: quorumcert.SignedCheckpoint{
		Checkpoint: cp, Signer: l.m.id, Sig: quorumcert.Sign(l.m.signer, cp),
	}}
	return []bftraft.Outbound{o}
}

// readyFor returns a node's word that it is ready for a change, if it gives it.
func (w *World) readyFor(m *member, ch *bftraft.Change) (bftraft.Endorsement, bool) {
	switch {
	case m.lies(secretive):
		m.hurts(secretive, 1)
		return bftraft.Endorsement{}, false
	case m.lies(eager):
		m.hurts(eager, 1)
		return bftraft.SignReady(w.cluster, ch, m.signer.(nodeSigner).clientKey), true
	case m.proc == nil || m.stalled:
		return bftraft.Endorsement{}, false
	}
	r, err := bftraft.DecodeReadiness(m.proc.ReadyFor(ch))
	if err != nil || r.Code != bftraft.ReadyYes {
		return bftraft.Endorsement{}, false
	}
	return r.Word, true
}
