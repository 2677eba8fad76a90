package storetest

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/quorumcert"
)

var snapshotTests = []test{
	{"SnapshotIsThereWhenFinished", snapshotIsThereWhenFinished},
	{"UnfinishedSnapshotIsGoneOnWith", unfinishedIsGoneOnWith},
	{"UnfinishedSnapshotIsForgottenForAnother", unfinishedIsForgotten},
	{"DroppedLogBeginsBehindTheBase", droppedLogBeginsBehindTheBase},
	{"LogIsDroppedOnlyBehindSnapshotCommitAndLock", logIsDroppedOnlyBehind},
	{"InstalledSnapshotTakesThePlaceOfTheChain", installedTakesThePlace},
	{"SnapshotIsInstalledOnlyWhereNothingIsLost", installedOnlyWhereNothingIsLost},
	{"SnapshotIsNotInstalledOverALaterLockOrCommit", notInstalledOverLater},
	{"SnapshotOffWhatIsCommittedIsRefused", snapshotOffCommittedIsRefused},
	{"CrashAtEveryCallAboutSnapshots", crashAtEveryCall},
	{"DamagedSnapshotMustNotSign", damagedSnapshotMustNotSign},
	{"BaseWithoutItsSnapshotMustNotSign", baseWithoutSnapshotMustNotSign},
	{"StoreBeforeADropMustNotSign", storeBeforeADropMustNotSign},
	{"ClosedStoreTakesNoSnapshot", closedStoreTakesNoSnapshot},
	{"HeldSnapshotStaysBesideNewerOnes", heldSnapshotStays},
	{"LockOfAChainThatWasGivenUpStays", lockGivenUpStays},
}

// Snapshot returns some snapshot at a position.
func (g *Generator) Snapshot(at bftraft.Position) *Snapshot {
	s := &Snapshot{At: at, Proof: g.bytes(g.rng.IntN(300))}
	for range g.rng.IntN(5) {
		size := 1 + g.rng.IntN(5000)
		if g.Large && g.chance(20) {
			size = bftraft.MaxChunkBytes - g.rng.IntN(3)
		}
		s.Chunks = append(s.Chunks, g.bytes(size))
	}
	return s
}

// take gives a snapshot to a store.
func take(t *testing.T, s Store, snapshot *Snapshot) {
	t.Helper()
	require.NoError(t, s.BeginSnapshot(snapshot.At))
	for _, chunk := range snapshot.Chunks {
		require.NoError(t, s.AddChunk(chunk))
	}
	require.NoError(t, s.FinishSnapshot(snapshot.Proof))
}

// committed saves a block for each name, with a lock and a commit certificate at its end.
func committed(t *testing.T, s Store, m Model, names ...string) Model {
	t.Helper()
	g := NewGenerator(1)
	for _, name := range names {
		entries := []bftraft.Entry{{Kind: bftraft.EntryRequest, Data: []byte(name)}, {Kind: 1}}
		b := bftraft.NewBlock(m.Tip(), entries)
		hard := m.Hard
		hard.Lock = quorumcert.Lock{Term: hard.Term, Index: b.Last(), Hash: b.Hash()}
		hard.Mark, hard.LockQC = hard.Lock, g.qc(hard.Lock)
		r := &bftraft.Ready{
			HardState: &hard, Blocks: []*bftraft.Block{b}, MustSync: true,
			Commits: []*quorumcert.Commit{g.commit(b.End())},
		}
		require.NoError(t, s.Save(r))
		m = m.After(r)
	}
	return m
}

// reopen closes the store, and sees that it holds what the model has when it is open again.
func reopen(t *testing.T, d Disk, s Store, m Model) Store {
	t.Helper()
	m.CheckReads(t, s)
	require.NoError(t, s.Close())
	s, r := open(t, d)
	m.Check(t, s, r)
	return s
}

func snapshotIsThereWhenFinished(t *testing.T, d Disk) {
	g := NewGenerator(2)
	s, _ := open(t, d)
	m := committed(t, s, NewModel(Identity.Cluster), "a", "b", "c")
	require.NoError(t, s.AbortSnapshot(), "there is none")
	require.ErrorIs(t, s.AddChunk([]byte{1}), store.ErrNoSnapshot)
	require.ErrorIs(t, s.FinishSnapshot(nil), store.ErrNoSnapshot)

	require.NoError(t, s.BeginSnapshot(m.end(1)))
	require.NoError(t, s.AddChunk([]byte("forgotten")))
	m.CheckReads(t, s)
	require.NoError(t, s.AbortSnapshot())
	require.ErrorIs(t, s.AddChunk([]byte{1}), store.ErrNoSnapshot)
	s = reopen(t, d, s, m)

	require.NoError(t, s.BeginSnapshot(m.end(3)))
	_, err := s.Load()
	require.NoError(t, err)
	require.ErrorIs(t, s.AddChunk([]byte{1}), store.ErrNoSnapshot, "forgotten by Load")
	require.NoError(t, s.BeginSnapshot(m.end(3)))
	require.NoError(t, s.AddChunk([]byte("forgotten as well")))
	snapshot := &Snapshot{At: m.end(2), Proof: g.bytes(store.MaxSnapshotProofBytes)}
	for _, size := range []int{1, bftraft.MaxChunkBytes, 70000} {
		snapshot.Chunks = append(snapshot.Chunks, g.bytes(size))
	}
	require.NoError(t, s.BeginSnapshot(snapshot.At))
	for _, chunk := range snapshot.Chunks {
		for _, size := range []int{0, bftraft.MaxChunkBytes + 1} {
			require.ErrorIs(t, s.AddChunk(make([]byte, size)), store.ErrSnapshotSize)
		}
		given := append(bytes.Clone(chunk), "beyond"...)
		require.NoError(t, s.AddChunk(given[:len(chunk)]))
		require.Equal(t, "beyond", string(given[len(chunk):]), "wrote to the caller's memory")
		clear(given)
	}
	long := make([]byte, store.MaxSnapshotProofBytes+1)
	require.ErrorIs(t, s.FinishSnapshot(long), store.ErrSnapshotSize)
	m.CheckReads(t, s)
	require.NoError(t, s.FinishSnapshot(snapshot.Proof))
	require.ErrorIs(t, s.FinishSnapshot(snapshot.Proof), store.ErrNoSnapshot)
	m = m.With(snapshot)
	s = reopen(t, d, s, m)

	for _, next := range []*Snapshot{
		{At: m.end(2), Chunks: [][]byte{[]byte("same place")}}, // replaces the one of its place
		{At: m.end(3), Proof: []byte("no chunks")},             // and this the older one
	} {
		require.NoError(t, s.BeginSnapshot(m.end(3)))
		require.NoError(t, s.AddChunk([]byte("unfinished")))
		take(t, s, next)
		m = m.With(next)
		s = reopen(t, d, s, m)
	}
	require.NoError(t, s.Close())
}

func droppedLogBeginsBehindTheBase(t *testing.T, d Disk) {
	g := NewGenerator(2)
	s, _ := open(t, d)
	m := committed(t, s, NewModel(Identity.Cluster), "a", "b", "c", "d", "e")
	r := &bftraft.Ready{Blocks: []*bftraft.Block{bftraft.NewBlock(m.Tip(), g.entries())}}
	require.NoError(t, s.Save(r), "waits, and is there after the drop")
	m = m.After(r)
	m = m.With(g.Snapshot(m.end(4)))
	take(t, s, m.Snapshot)
	require.NoError(t, s.DropLog(m.end(0)), "there is nothing to drop")
	for _, k := range []int{2, 0, 1, 0, 1} { // of those that are left
		at := m.end(k)
		require.NoError(t, s.DropLog(at))
		m = m.Dropped(at)
		s = reopen(t, d, s, m)
		m = committed(t, s, m, "more")
		truncate := &bftraft.Ready{Truncated: true, Truncate: m.Tip().Index, MustSync: true}
		require.NoError(t, s.Save(truncate))
		s = reopen(t, d, s, m)
	}
	require.Equal(t, m.Snapshot.At, m.Base)
	genesis := bftraft.NewBlock(bftraft.Position{Hash: Identity.Cluster}, g.entries())
	below := &bftraft.Ready{
		Truncated: true, Truncate: 0, Blocks: []*bftraft.Block{genesis}, MustSync: true,
	}
	require.ErrorIs(t, s.Save(below), store.ErrUnlinked)
	require.NoError(t, s.Close())
	s, restored := open(t, d)
	m.Check(t, s, restored)
	require.NoError(t, s.Close())
}

// refuse requires that a call is refused for the caller's fault, and that nothing is changed.
func refuse(t *testing.T, s Store, m Model, err error, why string) {
	t.Helper()
	require.ErrorIs(t, err, store.ErrUnlinked, why)
	require.NoError(t, s.Err(), why)
	m.CheckReads(t, s)
}

func logIsDroppedOnlyBehind(t *testing.T, d Disk) {
	g := NewGenerator(2)
	s, _ := open(t, d)
	m := committed(t, s, NewModel(Identity.Cluster), "a", "b", "c")
	refuse(t, s, m, s.DropLog(m.end(1)), "there is no snapshot")
	require.NoError(t, s.BeginSnapshot(m.end(2)))
	refuse(t, s, m, s.DropLog(m.end(1)), "it is not finished")
	m = m.With(g.Snapshot(m.end(2)))
	take(t, s, m.Snapshot)
	other := m.end(1)
	other.Hash[0]++
	refuse(t, s, m, s.DropLog(other), "of another chain")
	b := m.Blocks[0]
	refuse(t, s, m, s.DropLog(bftraft.Position{Index: b.First(), Hash: b.Hash()}), "in a block")
	refuse(t, s, m, s.DropLog(m.end(3)), "beyond the snapshot")
	refuse(t, s, m, s.DropLog(bftraft.Position{Index: 99, Hash: b.Hash()}), "beyond the tip")
	require.NoError(t, s.DropLog(m.end(1)))
	genesis := m.end(0)
	m = m.Dropped(m.end(1))
	refuse(t, s, m, s.DropLog(genesis), "below the base")
	s = reopen(t, d, s, m)

	next := bftraft.NewBlock(m.Tip(), g.entries())
	r := &bftraft.Ready{Blocks: []*bftraft.Block{next}, MustSync: true}
	require.NoError(t, s.Save(r))
	m = m.After(r).With(g.Snapshot(next.End()))
	take(t, s, m.Snapshot)
	refuse(t, s, m, s.DropLog(next.End()), "beyond commit and lock")
	commit := &bftraft.Ready{Commits: []*quorumcert.Commit{g.commit(next.End())}, MustSync: true}
	require.NoError(t, s.Save(commit))
	m = m.After(commit)
	refuse(t, s, m, s.DropLog(next.End()), "beyond the lock")
	hard := m.Hard
	hard.Lock = quorumcert.Lock{Term: hard.Term, Index: next.Last(), Hash: next.Hash()}
	lock := &bftraft.Ready{HardState: &hard} // waits
	require.NoError(t, s.Save(lock))
	m = m.After(lock)
	require.NoError(t, s.DropLog(next.End()))
	m = m.Dropped(next.End())
	s = reopen(t, d, s, m)

	far := bftraft.Position{Index: next.Last() + 9, Hash: next.Hash()}
	m = committed(t, s, m, "f").With(g.Snapshot(far))
	take(t, s, m.Snapshot)
	refuse(t, s, m, s.DropLog(m.end(1)), "the snapshot is not of this chain")
	require.NoError(t, s.Close())
}

// fetched returns a hard state and a commit certificate with which a snapshot can be installed.
func fetched(g *Generator, m Model, at bftraft.Position) (bftraft.HardState, *quorumcert.Commit) {
	hard := m.Hard
	hard.Term += 2
	hard.Vote = bftraft.VoteRecord{}
	hard.Lock = quorumcert.Lock{Term: hard.Term - 1, Index: at.Index, Hash: at.Hash}
	hard.LockQC = g.qc(hard.Lock)
	hard.Proof = bftraft.TermProof{TC: &quorumcert.TC{Term: hard.Term - 1}}
	hard.Proof.TC.Signatures = g.signatures()
	return hard, g.commit(at)
}

func installedTakesThePlace(t *testing.T, d Disk) {
	g := NewGenerator(2)
	s, _ := open(t, d)
	m := NewModel(Identity.Cluster)
	for round, beyond := range []bftraft.Index{9, 1, 0} { // of the tip; at 0 it is another chain
		for range 3 { // of which nothing is committed
			r := &bftraft.Ready{
				Blocks:   []*bftraft.Block{bftraft.NewBlock(m.Tip(), g.entries())},
				Evidence: []quorumcert.Evidence{g.evidence()}, MustSync: round%2 == 0,
			}
			require.NoError(t, s.Save(r))
			m = m.After(r)
		}
		at := bftraft.Position{Index: m.Tip().Index + beyond}
		if beyond == 0 {
			at.Index = m.Blocks[m.floor()+1].First() // in the middle of a block of ours, or at its end
		}
		copy(at.Hash[:], g.bytes(32))
		m = m.With(g.Snapshot(at))
		take(t, s, m.Snapshot)
		m.CheckReads(t, s)
		hard, commit := fetched(g, m, at)
		require.NoError(t, s.InstallSnapshot(hard, commit))
		m = m.Installed(hard, commit)
		s = reopen(t, d, s, m)
		require.Equal(t, at, m.Tip())
		m = committed(t, s, m, "goes on", "and on")
		s = reopen(t, d, s, m)
	}
	require.NoError(t, s.Close())
}

func installedOnlyWhereNothingIsLost(t *testing.T, d Disk) {
	g := NewGenerator(2)
	s, _ := open(t, d)
	m := committed(t, s, NewModel(Identity.Cluster), "a", "b")
	hard, commit := fetched(g, m, m.Tip())
	require.ErrorIs(t, s.InstallSnapshot(hard, commit), store.ErrNoSnapshot)
	m = m.With(g.Snapshot(m.Tip()))
	take(t, s, m.Snapshot)
	refuse(t, s, m, s.InstallSnapshot(hard, commit), "it is on the chain")
	r := &bftraft.Ready{MustSync: true, HardState: &bftraft.HardState{}}
	*r.HardState = m.Hard
	r.HardState.Term, r.HardState.Mark.Term = 5, 5
	r.HardState.Vote = bftraft.VoteRecord{Candidate: 3, Lock: m.Hard.Lock}
	r.HardState.Forgot = true
	require.NoError(t, s.Save(r))
	m = m.After(r)
	at := bftraft.Position{Index: m.Tip().Index + 5, Hash: m.Blocks[0].Hash()}
	m = m.With(g.Snapshot(at))
	take(t, s, m.Snapshot)
	for why, change := range map[string]func(h *bftraft.HardState, c *quorumcert.Commit){
		"term":          func(h *bftraft.HardState, _ *quorumcert.Commit) { h.Term = 4 },
		"mark":          func(h *bftraft.HardState, _ *quorumcert.Commit) { h.Mark.Index-- },
		"mark's term":   func(h *bftraft.HardState, _ *quorumcert.Commit) { h.Mark.Term-- },
		"forgot":        func(h *bftraft.HardState, _ *quorumcert.Commit) { h.Forgot = false },
		"no vote":       func(h *bftraft.HardState, _ *quorumcert.Commit) { h.Term = 5 },
		"lock's hash":   func(h *bftraft.HardState, _ *quorumcert.Commit) { h.Lock.Hash[1]++ },
		"later lock":    func(h *bftraft.HardState, _ *quorumcert.Commit) { h.Lock.Index++ },
		"unknown lock":  func(h *bftraft.HardState, _ *quorumcert.Commit) { h.Lock.Index-- },
		"commit's hash": func(_ *bftraft.HardState, c *quorumcert.Commit) { c.Hash[1]++ },
		"lower commit":  func(_ *bftraft.HardState, c *quorumcert.Commit) { c.Index-- },
		"later commit":  func(_ *bftraft.HardState, c *quorumcert.Commit) { c.Index++ },
		"another vote": func(h *bftraft.HardState, _ *quorumcert.Commit) {
			h.Term, h.Vote.Candidate = 5, 2
		},
	} {
		hard, commit := fetched(g, m, at)
		change(&hard, commit)
		refuse(t, s, m, s.InstallSnapshot(hard, commit), why)
	}
	hard, _ = fetched(g, m, at)
	refuse(t, s, m, s.InstallSnapshot(hard, nil), "no commit")
	hard, commit = fetched(g, m, at)
	hard.Term, hard.Vote = 5, m.Hard.Vote
	hard.Lock, hard.LockQC = m.Hard.Lock, m.Hard.LockQC // as it was, below the snapshot
	require.NoError(t, s.InstallSnapshot(hard, commit))
	m = m.Installed(hard, commit)
	s = reopen(t, d, s, m)
	refuse(t, s, m, s.InstallSnapshot(hard, commit), "it is installed")
	require.NoError(t, s.Close())
}

// lockedAhead saves a committed block and three more, with a lock of term 1 at the end of the last.
func lockedAhead(t *testing.T, s Store, g *Generator) (Model, *bftraft.Block) {
	t.Helper()
	m := committed(t, s, NewModel(Identity.Cluster), "a")
	r := &bftraft.Ready{MustSync: true}
	for tip := m.Tip(); len(r.Blocks) < 3; tip = r.Blocks[len(r.Blocks)-1].End() {
		r.Blocks = append(r.Blocks, bftraft.NewBlock(tip, g.entries()))
	}
	hard, last := m.Hard, r.Blocks[2]
	hard.Lock = quorumcert.Lock{Term: 1, Index: last.Last(), Hash: last.Hash()}
	r.HardState = &hard
	require.NoError(t, s.Save(r))
	return m.After(r), last
}

// notInstalledOverLater has a chain of its own: first its lock is beyond the snapshot, then it is
// committed beyond it, and last the snapshot is of what is not committed yet.
func notInstalledOverLater(t *testing.T, d Disk) {
	g := NewGenerator(2)
	s, _ := open(t, d)
	m, last := lockedAhead(t, s, g)
	at := bftraft.Position{Index: last.First() - 1, Hash: m.Blocks[0].Hash()}
	m = m.With(g.Snapshot(at))
	take(t, s, m.Snapshot)
	hard, commit := fetched(g, m, at)
	hard.Lock = m.Hard.Lock
	refuse(t, s, m, s.InstallSnapshot(hard, commit), "the lock is beyond")
	refuse(t, s, m, s.DropLog(m.end(1)), "for a snapshot of another chain")

	ours := m.With(g.Snapshot(last.End()))
	take(t, s, ours.Snapshot)
	hard, commit = fetched(g, ours, last.End())
	refuse(t, s, ours, s.InstallSnapshot(hard, commit), "it is on the chain")
	refuse(t, s, ours, s.DropLog(last.End()), "beyond the commit")

	ahead := bftraft.Position{Index: last.Last() + 1, Hash: at.Hash}
	m = ours.With(g.Snapshot(ahead))
	take(t, s, m.Snapshot)
	m = committed(t, s, m, "b", "c")
	hard, commit = fetched(g, m, ahead)
	refuse(t, s, m, s.InstallSnapshot(hard, commit), "what is committed is beyond")
	s = reopen(t, d, s, m)
	require.NoError(t, s.Close())
}

func snapshotOffCommittedIsRefused(t *testing.T, d Disk) {
	g := NewGenerator(2)
	s, _ := open(t, d)
	m := committed(t, s, NewModel(Identity.Cluster), "a", "b", "c")
	off := m.end(2)
	off.Hash[0]++
	inside := bftraft.Position{Index: m.Blocks[1].First(), Hash: m.Blocks[1].Hash()}
	refuse(t, s, m, s.BeginSnapshot(bftraft.Position{Hash: Identity.Cluster}), "of the genesis")
	refuse(t, s, m, s.BeginSnapshot(off), "of another chain than the committed one")
	refuse(t, s, m, s.BeginSnapshot(inside), "in a block")
	require.ErrorIs(t, s.AddChunk([]byte{1}), store.ErrNoSnapshot)
	m = m.With(g.Snapshot(m.end(2)))
	take(t, s, m.Snapshot)
	refuse(t, s, m, s.BeginSnapshot(m.end(1)), "older than the finished one")
	require.NoError(t, s.DropLog(m.end(2)))
	m = m.Dropped(m.end(2))
	refuse(t, s, m, s.BeginSnapshot(off), "off the base")

	ahead := bftraft.Position{Index: m.Tip().Index + 2, Hash: off.Hash}
	require.NoError(t, s.BeginSnapshot(ahead))
	m = committed(t, s, m, "d")
	refuse(t, s, m, s.FinishSnapshot(nil), "another was committed meanwhile")
	require.NoError(t, s.AbortSnapshot())
	s = reopen(t, d, s, m)
	require.NoError(t, s.Close())
}

// dropped makes a store whose chain begins behind its first block, and leaves it closed.
func dropped(t *testing.T, d Disk, drop bool) Model {
	t.Helper()
	s, _ := open(t, d)
	m := committed(t, s, NewModel(Identity.Cluster), "a", "b", "c")
	m = m.With(&Snapshot{At: m.end(2), Chunks: [][]byte{NewGenerator(1).bytes(3000)}})
	take(t, s, m.Snapshot)
	if drop {
		require.NoError(t, s.DropLog(m.end(1)))
		m = m.Dropped(m.end(1))
	}
	require.NoError(t, s.Close())
	return m
}

func damagedSnapshotMustNotSign(t *testing.T, d Disk) {
	dropped(t, d, false)
	d.DamageSnapshot()
	require.ErrorIs(t, refused(t, d, Identity), store.ErrDamaged)
}

// baseWithoutSnapshotMustNotSign takes the snapshot away while the log is whole, which is harmless,
// and when it is not.
func baseWithoutSnapshotMustNotSign(t *testing.T, d Disk) {
	m := dropped(t, d, false).With(nil)
	d.LoseSnapshot()
	s, r := open(t, d)
	m.Check(t, s, r)
	m = m.With(NewGenerator(1).Snapshot(m.end(2)))
	take(t, s, m.Snapshot)
	require.NoError(t, s.DropLog(m.end(1)))
	require.NoError(t, s.Close())
	d.LoseSnapshot()
	require.ErrorIs(t, refused(t, d, Identity), store.ErrDamaged)
}

// storeBeforeADropMustNotSign: a drop, or an installation, moves the guard like a synced Save.
func storeBeforeADropMustNotSign(t *testing.T, d Disk) {
	m := dropped(t, d, false)
	putBack := d.Copy()
	s, _ := open(t, d)
	require.NoError(t, s.DropLog(m.end(1)))
	require.NoError(t, s.Close())
	putBack()
	require.ErrorIs(t, refused(t, d, Identity), store.ErrBehindGuard)
}

func closedStoreTakesNoSnapshot(t *testing.T, d Disk) {
	m := dropped(t, d, true)
	s, _ := open(t, d)
	require.NoError(t, s.BeginSnapshot(m.end(1)))
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.BeginSnapshot(m.end(1)), store.ErrClosed)
	require.ErrorIs(t, s.AddChunk([]byte{1}), store.ErrClosed)
	require.ErrorIs(t, s.FinishSnapshot(nil), store.ErrClosed)
	require.ErrorIs(t, s.AbortSnapshot(), store.ErrClosed)
	require.ErrorIs(t, s.DropLog(m.end(1)), store.ErrClosed)
	require.ErrorIs(t, s.InstallSnapshot(m.Hard, m.Commits[0]), store.ErrClosed)
	_, ok := s.Snapshot()
	require.False(t, ok)
	_, ok = s.SnapshotChunk(0)
	require.False(t, ok)
}

// checkHeld sees that a snapshot is held, nil for none.
func checkHeld(t *testing.T, s Store, want *Snapshot) {
	t.Helper()
	info, ok := s.HeldSnapshot()
	require.Equal(t, want != nil, ok)
	if want == nil {
		_, ok = s.HeldChunk(0)
		require.False(t, ok)
		return
	}
	require.Equal(t, want.At, info.At)
	require.Equal(t, len(want.Chunks), info.Chunks)
	require.Equal(t, string(want.Proof), string(info.Proof))
	for k, chunk := range want.Chunks {
		got, ok := s.HeldChunk(k)
		require.True(t, ok)
		require.Equal(t, chunk, got)
	}
	_, ok = s.HeldChunk(len(want.Chunks))
	require.False(t, ok)
}

func heldSnapshotStays(t *testing.T, d Disk) {
	g := NewGenerator(3)
	s, _ := open(t, d)
	m := committed(t, s, NewModel(Identity.Cluster), "a", "b", "c", "d")
	require.ErrorIs(t, s.HoldSnapshot(), store.ErrNoSnapshot)
	checkHeld(t, s, nil)
	take1 := func(k int) *Snapshot {
		m = m.With(g.Snapshot(m.end(k)))
		take(t, s, m.Snapshot)
		m.CheckReads(t, s)
		return m.Snapshot
	}
	first := take1(1)
	require.NoError(t, s.HoldSnapshot())
	checkHeld(t, s, first)
	take1(2)
	checkHeld(t, s, first)
	third := take1(3)
	checkHeld(t, s, first)
	require.NoError(t, s.HoldSnapshot(), "the newest takes its place")
	checkHeld(t, s, third)
	require.NoError(t, s.ReleaseSnapshot())
	require.NoError(t, s.ReleaseSnapshot())
	checkHeld(t, s, nil)
	m.CheckReads(t, s)
	require.NoError(t, s.HoldSnapshot())
	take1(4)
	checkHeld(t, s, third)
	s = reopen(t, d, s, m)
	checkHeld(t, s, nil)
	require.NoError(t, s.Close())
}

// lockGivenUpStays has a lock beyond the snapshot, on a chain that the commit of a later term has
// ended.
func lockGivenUpStays(t *testing.T, d Disk) {
	g := NewGenerator(4)
	s, _ := open(t, d)
	m, last := lockedAhead(t, s, g)
	for _, at := range []bftraft.Position{
		{Index: last.First() - 1, Hash: m.Blocks[0].Hash()},
		{Index: last.Last(), Hash: m.Blocks[0].Hash()},
	} {
		m = m.With(g.Snapshot(at))
		take(t, s, m.Snapshot)
		hard, commit := fetched(g, m, at)
		hard.Lock, hard.LockQC = m.Hard.Lock, m.Hard.LockQC
		refuse(t, s, m, s.InstallSnapshot(hard, commit), "the commit is of its own term")
		commit.Term = 2
		other := hard
		other.Lock.Index++
		refuse(t, s, m, s.InstallSnapshot(other, commit), "it is not the lock there was")
		if at.Index == last.Last() {
			require.NoError(t, s.InstallSnapshot(hard, commit))
			m = m.Installed(hard, commit)
		}
	}
	s = reopen(t, d, s, m)
	require.NoError(t, s.Close())
}
