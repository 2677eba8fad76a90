package replica

import (
	"errors"
	"fmt"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// What moves a state to who has lost touch with the log (K1). Times are in ticks.
const (
	// fetchWindow is how many parts are asked for at once, and so how many wait in memory at most.
	fetchWindow = 12
	// maxParts bounds the parts served to one peer within repeatTicks, and askedParts those that one
	// peer is asked for, which keeps well below that.
	maxParts, askedParts = 8, 4
	// firstPatience is how long a part may take before another peer is asked for it too, as long as
	// nothing is known of how long parts take; it follows that, between the two bounds.
	firstPatience, leastPatience, mostPatience = 50, 30, 1000
	// drySpan is for how long a state that too few serve is fetched from before its pace is judged,
	// and dryPace how long each of its parts may have taken then, at first.
	drySpan, dryPace, slowestPace = 3000, 100, 6000
	// keptAtOnce is how many chunks that an earlier process fetched are judged in a tick.
	keptAtOnce = 4
	// holdIdle is how long a snapshot is held after somebody last fetched of it, who may have to be
	// started again first, and holdMost how long at all.
	holdIdle = 1000
	holdMost = 120_000
)

// transfer is a state that this node fetches.
type transfer struct {
	since    uint64 // when manifests were last asked for
	answered bftraft.Set
	offers   [quorumcert.MaxVoters + 1]bftraft.Index // what each peer has, 0 for none
	found    []*bftraft.Manifest                     // those that proved right, one for an index
	tried    []bftraft.Index                         // those that came too slowly

	manifest *bftraft.Manifest // what is being fetched, nil while that is being looked for
	begun    bftraft.Position  // what storage has begun to take
	next     int               // the chunk that it takes next
	kept     int               // how many chunks it has from an earlier process, judged or not
	resumed  int               // how many of these were right
	parts    [fetchWindow]part // those from next on, by their number modulo the window
	restores bool              // the state machine has what storage has
	from     bftraft.Set       // who serves
	slow     bftraft.Set       // of them, who was overtaken by another: asked after the others
	turn     bftraft.NodeID    // who was asked last
	poisoned bftraft.Set       // who served what is not certified

	sent     [quorumcert.MaxVoters + 1]int // asked of each peer in these few ticks
	patience uint64                        // how long a part may take
	cameAt   uint64                        // when a part came last, or patience grew
	judgedAt uint64                        // when the pace was judged last,
	judged   int                           // at which chunk,
	pace     uint64                        // and what it must be, in ticks for a part
}

// part is a chunk on its way.
type part struct {
	asked bftraft.Set // who was asked, none for nobody
	began uint64      // when the first of them was
	since uint64      // when the last of them was
	data  []byte      // what came, nil before
}

// Transfer is how far a state has come that a node fetches, for want of the log.
type Transfer struct {
	// At is the index of the state, 0 while it is being looked for.
	At bftraft.Index
	// Done of Chunks chunks are here and verified, of these Kept since before this process began.
	Done, Chunks, Kept int
	// From are the peers that serve, Poisoned those that served what is not certified.
	From, Poisoned bftraft.Set
}

// Transfer returns how far the state has come that is being fetched, false when none is.
func (r *Replica) Transfer() (Transfer, bool) {
	t := r.transfer
	if t == nil {
		return Transfer{}, false
	}
	p := Transfer{Done: t.next, Kept: t.resumed, From: t.from, Poisoned: t.poisoned}
	if t.manifest != nil {
		p.At, p.Chunks = t.manifest.Stable.Index, t.manifest.Chunks()
	}
	return p, true
}

// tell sends a message that is signed as a whole.
func (r *Replica) tell(to bftraft.Set, class bftraft.Class, m bftraft.Message) {
	bftraft.SignMessage(r.cfg.Core.Signer, r.cluster, m)
	r.send(&bftraft.Outbound{To: to, Class: class, Msg: m})
}

// others returns all voters but this node.
func (r *Replica) others() bftraft.Set { return r.configs().Latest().Members().Without(r.id) }

// tickTransfer begins a transfer when the log cannot be continued, and gets one on that is held up.
func (r *Replica) tickTransfer() {
	t := r.transfer
	if t != nil && r.now%repeatTicks == 0 {
		t.sent = [quorumcert.MaxVoters + 1]int{}
	}
	if t != nil {
		t.from &= r.others() // whoever has left serves nobody
	}
	switch {
	case r.cfg.Checkpoints.Store == nil:
	case t == nil && r.now >= r.fetchAt && r.core.LacksLog():
		if r.taking != nil {
			r.giveUp() // what others have is newer
		}
		r.transfer = &transfer{pace: dryPace}
		r.look()
	case t == nil:
	case t.manifest == nil && !r.core.LacksLog(),
		t.manifest != nil && r.core.Commit().Index >= t.manifest.Stable.Index:
		r.endTransfer() // the log has come after all
	case t.manifest != nil && t.next < t.kept:
		r.judgeKept()
	case t.manifest != nil:
		r.hurry()
	case r.now-t.since >= r.core.Timeout():
		if !r.choose() {
			r.look()
		}
	}
}

// look asks who has which state, and above all that which has come in part.
func (r *Replica) look() {
	t := r.transfer
	at := r.partial()
	t.since, t.answered, t.manifest = r.now, t.poisoned, nil
	t.offers, t.from, t.slow, t.found = [quorumcert.MaxVoters + 1]bftraft.Index{}, 0, 0, nil
	for i := range t.parts {
		t.parts[i].asked = 0
	}
	r.tell(r.others()&^t.poisoned, bftraft.ClassConsensus,
		&bftraft.FetchState{At: at.Index, Part: bftraft.ManifestPart})
}

// partial returns the state of which storage has a part, be it from an earlier process.
func (r *Replica) partial() bftraft.Position {
	if r.transfer.begun.Index > 0 {
		return r.transfer.begun
	}
	left, _ := r.cfg.Checkpoints.Store.Unfinished()
	return left.At
}

// beginState has storage take a state, or go on with it.
func (r *Replica) beginState(at bftraft.Position) error {
	t, c := r.transfer, &r.cfg.Checkpoints
	t.next, t.kept, t.resumed, t.parts = 0, 0, 0, [fetchWindow]part{}
	r.beginRestore()
	if left, ok := c.Store.Unfinished(); ok && left.At == at {
		if err := c.Store.ResumeSnapshot(); err != nil {
			return err
		}
		t.begun, t.kept = at, left.Chunks
		return nil
	}
	if err := c.Store.BeginSnapshot(at); err != nil {
		return err
	}
	t.begun = at
	return nil
}

// judgeKept compares some chunks that an earlier process fetched with what is certified. What
// follows the first that is not right is fetched anew.
func (r *Replica) judgeKept() {
	t, c := r.transfer, &r.cfg.Checkpoints
	for range keptAtOnce {
		data, ok := c.Store.BegunChunk(t.next)
		if !ok || !t.manifest.Holds(t.next, data) && !mutant.On(mutant.M167) {
			if err := c.Store.CutSnapshot(t.next); err != nil {
				r.endTransfer()
				return
			}
			t.kept = t.next
			break
		}
		r.restoreChunk(data)
		t.next++
		r.stats.Resumed++
		if t.resumed = t.next; t.next == t.kept {
			break
		}
	}
	t.cameAt, t.judgedAt, t.judged = r.now, r.now, t.next
	r.askParts()
}

// endTransfer gives up what is being fetched; another attempt comes later, if it is needed.
func (r *Replica) endTransfer() {
	begun := r.transfer.begun.Index > 0
	r.abortRestore()
	r.transfer, r.fetchAt = nil, r.now+r.core.Timeout()
	if begun {
		_ = r.cfg.Checkpoints.Store.AbortSnapshot() // if that fails the storage says so
	}
}

// takePart takes in what a peer says it has, or a part of it. A part that is right is taken of
// whoever sends it; one that is wrong speaks against who was asked.
func (r *Replica) takePart(from bftraft.NodeID, m *bftraft.StatePart) bftraft.Drop {
	t := r.transfer
	switch {
	case t == nil, t.poisoned.Has(from):
		return bftraft.Unasked
	case m.Part == bftraft.ManifestPart:
		return r.takeManifest(from, m)
	case t.manifest == nil || m.At != t.manifest.Stable.Index && len(m.Data) > 0,
		t.next < t.kept, int64(m.Part) < int64(t.next), int64(m.Part) >= int64(t.next)+fetchWindow:
		return bftraft.Unasked
	}
	p := &t.parts[m.Part%fetchWindow]
	asked := p.asked.Has(from)
	switch {
	case p.data != nil:
		return bftraft.Duplicate
	case len(m.Data) == 0 && asked:
		t.from, p.asked = t.from.Without(from), 0 // it has let go of that state: ask the next at once
		r.askParts()
		return bftraft.Stale
	case !t.manifest.Holds(int(m.Part), m.Data) && asked:
		r.poisons(from)
		r.askParts()
		return bftraft.PoisonedState
	case !t.manifest.Holds(int(m.Part), m.Data):
		return bftraft.Unasked
	}
	p.data = m.Data
	t.slow |= p.asked.Without(from) & t.from
	t.cameAt = r.now
	if p.asked != 0 {
		took := r.now - p.began
		t.patience = min(max((t.patience+4*took)/2, leastPatience), mostPatience)
	}
	r.storeParts()
	return bftraft.Accepted
}

// poisons drops a peer that served what is not certified.
func (r *Replica) poisons(from bftraft.NodeID) {
	t := r.transfer
	t.poisoned, t.from = t.poisoned.With(from), t.from.Without(from)
	r.stats.Poisoned = r.stats.Poisoned.With(from)
	for i := range t.parts {
		t.parts[i].asked = t.parts[i].asked.Without(from)
	}
}

// takeManifest judges what a peer has by its certificates. Who has what is being fetched may join
// those who serve it.
func (r *Replica) takeManifest(from bftraft.NodeID, m *bftraft.StatePart) bftraft.Drop {
	t := r.transfer
	if t.answered.Has(from) {
		return bftraft.Unasked
	}
	t.answered = t.answered.With(from)
	drop := bftraft.Stale
	if len(m.Data) > 0 {
		drop = r.judgeManifest(from, m)
	}
	switch {
	case t.manifest != nil && t.offers[from] == t.manifest.Stable.Index:
		t.from = t.from.With(from)
	case t.manifest == nil && t.answered == r.others():
		r.choose()
	}
	return drop
}

func (r *Replica) judgeManifest(from bftraft.NodeID, m *bftraft.StatePart) bftraft.Drop {
	t := r.transfer
	manifest, ok := bftraft.DecodeManifest(m.Data)
	if !ok || !manifest.Verify(r.Verifier()) {
		r.poisons(from)
		return bftraft.PoisonedState
	}
	at := manifest.Stable.Index
	if at <= r.core.Commit().Index {
		return bftraft.Stale
	}
	t.offers[from] = at
	for _, other := range t.found {
		if other.Stable.Index == at {
			return bftraft.Accepted // the same: the certificate names its chunks
		}
	}
	t.found = append(t.found, manifest)
	return bftraft.Accepted
}

// choose goes on with the state that storage has begun to take, if anybody still has it and it did
// not come too slowly, and begins else with the one that most have, of these one that was not tried
// before, or the newest. It returns false if nobody has any.
func (r *Replica) choose() bool {
	t := r.transfer
	var best *bftraft.Manifest
	var most bftraft.Set
	highest := -1
	for _, m := range t.found {
		var have bftraft.Set
		for id := range t.offers {
			if t.offers[id] == m.Stable.Index {
				have = have.With(bftraft.NodeID(id))
			}
		}
		worth := 2 * have.Len()
		if !slices.Contains(t.tried, m.Stable.Index) {
			worth++
			if m.At() == r.partial() {
				worth = 2 * quorumcert.MaxVoters
			}
		}
		if worth > highest || worth == highest && m.Stable.Index > best.Stable.Index {
			best, most, highest = m, have, worth
		}
	}
	if best == nil {
		return false
	}
	if best.At() != t.begun {
		if err := r.beginState(best.At()); err != nil {
			r.endTransfer()
			return true
		}
	}
	t.manifest, t.from, t.patience = best, most, firstPatience
	t.cameAt, t.judgedAt, t.judged = r.now, r.now, t.next
	r.askParts()
	return true
}

// askParts asks for the parts of the window that nobody was asked for, the peers in turn.
func (r *Replica) askParts() {
	t := r.transfer
	if t.next < t.kept {
		return // what is there comes first
	}
	if t.from == 0 && t.next < t.manifest.Chunks() {
		r.look()
		return
	}
	for k := t.next; k < min(t.next+fetchWindow, t.manifest.Chunks()); k++ {
		if p := &t.parts[k%fetchWindow]; p.asked == 0 && p.data == nil {
			r.askPart(k)
		}
	}
}

// askPart asks one more peer for a part: the next in turn that was not asked for it, those that are
// slow after the others, and none for more than it serves.
func (r *Replica) askPart(k int) {
	t := r.transfer
	p := &t.parts[k%fetchWindow]
	among := t.from &^ p.asked
	if among&^t.slow != 0 {
		among &^= t.slow
	}
	for id := range t.sent {
		if t.sent[id] >= askedParts {
			among = among.Without(bftraft.NodeID(id))
		}
	}
	if among == 0 {
		return // another tick
	}
	if t.turn = among.Next(t.turn); t.turn == 0 {
		t.turn = among.Next(0)
	}
	if p.asked == 0 {
		p.began = r.now
	}
	p.asked, p.since = p.asked.With(t.turn), r.now
	t.sent[t.turn]++
	r.tell(quorumcert.SetOf(t.turn), bftraft.ClassConsensus,
		&bftraft.FetchState{At: t.begun.Index, Part: uint32(k)})
}

// hurry asks others for parts that take too long, and anew for what all were asked for. A state
// that no more than F serve, so perhaps only liars, is left for another if it comes too slowly.
func (r *Replica) hurry() {
	t := r.transfer
	if r.now-t.cameAt > t.patience {
		t.cameAt, t.patience = r.now, min(2*t.patience, mostPatience)
	}
	r.enlist()
	for k := t.next; k < min(t.next+fetchWindow, t.manifest.Chunks()); k++ {
		p := &t.parts[k%fetchWindow]
		if p.data != nil || p.asked == 0 || r.now-p.since < t.patience {
			continue
		}
		if p.asked&t.from == t.from {
			p.asked = 0
		}
		r.askPart(k)
	}
	r.askParts()
	if t.manifest == nil || r.now-t.judgedAt < max(drySpan, t.pace) {
		return
	}
	few := t.from.Len() <= r.configs().Latest().Size().F
	if few && uint64(t.next-t.judged)*t.pace < r.now-t.judgedAt {
		t.tried = append(t.tried, t.begun.Index)
		t.pace = min(2*t.pace, slowestPace)
		r.look()
		return
	}
	t.judgedAt, t.judged = r.now, t.next
}

// enlist asks those who do not serve, now and then, whether they have the state by now: when they
// were asked first there may have been no link to them yet, or they were still writing it. Whoever
// is left out makes the transfer slower, as each serves so many parts in a while and no more.
func (r *Replica) enlist() {
	t := r.transfer
	idle := r.others() &^ t.poisoned &^ t.from
	if idle == 0 || r.now-t.since < r.core.Timeout() {
		return
	}
	t.since = r.now
	r.askAgain(idle)
}

// askAgain asks peers, who may have answered before, which state they have.
func (r *Replica) askAgain(peers bftraft.Set) {
	r.transfer.answered &^= peers
	r.tell(peers, bftraft.ClassConsensus,
		&bftraft.FetchState{At: r.partial().Index, Part: bftraft.ManifestPart})
}

// storeParts gives storage the parts that follow each other, and asks for more.
func (r *Replica) storeParts() {
	t := r.transfer
	for p := &t.parts[t.next%fetchWindow]; p.data != nil; p = &t.parts[t.next%fetchWindow] {
		if err := r.cfg.Checkpoints.Store.AddChunk(p.data); err != nil {
			r.endTransfer()
			return
		}
		r.restoreChunk(p.data)
		*p = part{}
		t.next++
	}
	r.askParts()
}

// fetched says whether all of a state is here.
func (r *Replica) fetched() bool {
	t := r.transfer
	return t != nil && t.manifest != nil && t.next == t.manifest.Chunks() && t.next >= t.kept
}

// install puts the state that was fetched in the place of the log.
func (r *Replica) install() {
	c, m := &r.cfg.Checkpoints, r.transfer.manifest
	if !r.core.MayInstall(&m.Commit) {
		r.endTransfer()
		if err := r.core.Err(); err != nil {
			r.stop(err)
		}
		return
	}
	gate, err := r.Verifier().Following(m.Changes)
	if err != nil {
		r.endTransfer() // not those that were verified, when it began
		return
	}
	m.Changes = gate.ChangesUpTo(m.Stable.Index) // others may prove the same with other signatures
	if err := c.Store.FinishSnapshot(m.Encode()); err != nil {
		r.endTransfer()
		return
	}
	restored := r.transfer.restores
	r.transfer = nil
	hard := r.core.Install(&m.Commit, m.Changes)
	if err := c.Store.InstallSnapshot(hard, &m.Commit); err != nil {
		r.stop(fmt.Errorf("install state: %w", err))
		return
	}
	if err := r.adopt(m, restored); err != nil {
		r.stop(err)
		return
	}
	r.stats.Installed++
	r.previous = m.Stable.Index
	r.slack.rounds.arrived = r.slack.rounds.arrived[:0]
	r.prune()
}

// resume finishes what a crash may have cut short: the newest snapshot is beyond what is known to
// be committed here. Where the log leads there, what proves it committed is taken in; else the
// state takes the place of the log, as it was about to.
func resume(cfg *Config, r bftraft.Restored) (bftraft.Restored, error) {
	c := &cfg.Checkpoints
	if c.Store == nil {
		return r, nil
	}
	info, ok := c.Store.Snapshot()
	if !ok || info.At.Index == 0 {
		return r, nil
	}
	m, err := manifestOf(cfg, info)
	if err != nil {
		return r, err
	}
	r.Changes = slices.Concat(m.Changes, r.Changes) // perhaps it brought some that were not saved
	if r.Commit != nil && info.At.Index <= r.Commit.Index {
		return r, nil
	}
	hard := r.HardState.After(&m.Commit)
	if b, ok := cfg.Storage.Block(info.At.Index); ok && b.End() == info.At {
		save := &bftraft.Ready{
			HardState: &hard, Commits: []*quorumcert.Commit{&m.Commit}, MustSync: true,
		}
		if err := cfg.Storage.Save(save); err != nil {
			return r, fmt.Errorf("save: %w", err)
		}
		r.HardState, r.Commit = hard, &m.Commit
		return r, nil
	}
	if err := errors.Join(cfg.Storage.Err(), c.Store.InstallSnapshot(hard, &m.Commit)); err != nil {
		return r, fmt.Errorf("install state: %w", err)
	}
	return bftraft.Restored{
		HardState: hard, Base: info.At, Tip: info.At, Commit: &m.Commit, Evidence: r.Evidence,
		Changes: r.Changes,
	}, nil
}

// manifestOf returns the manifest of a snapshot, if it proves it.
func manifestOf(cfg *Config, info bftraft.SnapshotInfo) (*bftraft.Manifest, error) {
	m, ok := bftraft.DecodeManifest(info.Proof)
	if !ok || !m.Verify(cfg.Core.Verifier) || m.Chunks() != info.Chunks ||
		info.At != m.At() {
		return nil, ErrSnapshot
	}
	return m, nil
}
