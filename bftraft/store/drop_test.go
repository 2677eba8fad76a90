package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// grown saves n blocks of a size in one batch, with the lock and a commit certificate for each.
func grown(t *testing.T, s *Badger, n, size int) bftraft.Position {
	t.Helper()
	r := &bftraft.Ready{HardState: &bftraft.HardState{}, MustSync: true}
	tip := s.tip
	for range n {
		b := bftraft.NewBlock(tip, []bftraft.Entry{{Kind: 1, Data: make([]byte, size)}})
		tip = b.End()
		r.Blocks = append(r.Blocks, b)
		r.Commits = append(r.Commits, &quorumcert.Commit{Index: tip.Index, Hash: tip.Hash})
	}
	*r.HardState = s.written.hard
	r.HardState.Lock = quorumcert.Lock{Term: 1, Index: tip.Index, Hash: tip.Hash}
	require.NoError(t, s.Save(r))
	return tip
}

func conflictOf(signer bftraft.NodeID) quorumcert.Evidence {
	v := quorumcert.SignedVote{Vote: quorumcert.Vote{Term: 1, Candidate: 1}, Signer: signer}
	return quorumcert.Evidence{Votes: &quorumcert.VoteConflict{A: v, B: v}}
}

func snapped(t *testing.T, s *Badger, at bftraft.Position) {
	t.Helper()
	require.NoError(t, s.BeginSnapshot(at))
	require.NoError(t, s.AddChunk([]byte("state")))
	require.NoError(t, s.FinishSnapshot(nil))
}

func (s *Badger) count(t *testing.T, kind byte) int {
	t.Helper()
	n := 0
	require.NoError(t, s.view(func(txn *badger.Txn) error {
		return s.eachKey(txn, kind, 0, func(*badger.Item) error { n++; return nil })
	}))
	return n
}

// sweepAll takes away slice after slice, and says how many there were.
func sweepAll(t *testing.T, s *Badger) (slices int) {
	t.Helper()
	for ; s.sweeper.left(); slices++ {
		require.NoError(t, s.sweepSlice())
	}
	return slices
}

// TestRecordsBelowTheBaseGoInSlices drops more than one slice holds. At the end nothing is left,
// and nothing more is looked for.
func TestRecordsBelowTheBaseGoInSlices(t *testing.T) {
	s, _ := begun(t, 0)
	s.haltSweeping()
	grown(t, s, 3, 2*partBytes) // each in three parts
	upTo := grown(t, s, 2*sweepRecords, 1)
	grown(t, s, 5, 1)
	snapped(t, s, upTo)
	left := func() int {
		return s.count(t, keyBlock) + s.count(t, keyPart) + s.count(t, keyCommit)
	}
	before := left()
	require.Equal(t, 2*(2*sweepRecords+8)+3*3, before)
	require.NoError(t, s.DropLog(upTo))
	require.Equal(t, before, left(), "DropLog took something away itself")
	require.True(t, s.sweeper.left())
	for s.sweeper.left() {
		require.NoError(t, s.sweepSlice())
		now := left()
		require.LessOrEqual(t, now, before)
		require.GreaterOrEqual(t, now, before-sweepRecords-8)
		before = now
	}
	require.Equal(t, 5+6, before, "blocks beyond the base, and commits with its own")
	require.Zero(t, s.count(t, keyPart))
	seq := s.written.seq
	require.NoError(t, s.DropLog(upTo))
	require.Equal(t, seq, s.written.seq, "wrote for nothing")
	require.False(t, s.sweeper.left())
}

// TestWhatIsBelowTheBaseGoesByAndBy: nobody has to call for it, and what is saved meanwhile is
// neither lost nor waits.
func TestWhatIsBelowTheBaseGoesByAndBy(t *testing.T) {
	s, _ := begun(t, 0)
	upTo := grown(t, s, 4*sweepRecords, 1)
	snapped(t, s, upTo)
	require.NoError(t, s.DropLog(upTo))
	for range 50 {
		grown(t, s, 1, 1)
	}
	s.sweeper.wg.Wait()
	require.NoError(t, s.Err())
	require.False(t, s.sweeper.left())
	require.NoError(t, s.flush(true))
	require.Equal(t, 50, s.count(t, keyBlock))
	require.Equal(t, 51, s.count(t, keyCommit))
}

// TestLargeRecordsBelowTheBaseGoAFewAtATime: Badger reads all of a record to go over it.
func TestLargeRecordsBelowTheBaseGoAFewAtATime(t *testing.T) {
	const size, perSlice = 256 << 10, sweepBytes / (256 << 10)
	s, _ := begun(t, 0)
	s.haltSweeping()
	var upTo bftraft.Position
	for range 5 {
		upTo = grown(t, s, perSlice/2, size)
	}
	snapped(t, s, upTo)
	require.NoError(t, s.DropLog(upTo))
	left := s.count(t, keyBlock)
	require.Equal(t, 5*perSlice/2, left)
	for left > 0 {
		require.NoError(t, s.sweepSlice())
		now := s.count(t, keyBlock)
		require.InDelta(t, max(left-perSlice, 0), now, 1)
		require.Less(t, now, left)
		left = now
	}
	sweepAll(t, s)
}

// TestNothingIsSweptBeforeTheBaseIsDurable: a crash would find the old one, and no log behind it.
func TestNothingIsSweptBeforeTheBaseIsDurable(t *testing.T) {
	s, _ := begun(t, 0)
	s.haltSweeping()
	upTo := grown(t, s, 10, 1)
	snapped(t, s, upTo)
	require.NoError(t, s.dropping(upTo))
	require.NoError(t, s.sweepSlice())
	require.Equal(t, 10, s.count(t, keyBlock))
	require.NoError(t, s.flush(true))
	sweepAll(t, s)
	require.Zero(t, s.count(t, keyBlock))
}

// TestFullDiskOnlyPutsOffSweeping: who writes is told of it, and nobody else.
func TestFullDiskOnlyPutsOffSweeping(t *testing.T) {
	s, _ := begun(t, 0)
	s.haltSweeping()
	upTo := grown(t, s, 10, 1)
	snapped(t, s, upTo)
	require.NoError(t, s.DropLog(upTo))
	free := s.options.MinFreeBytes
	s.options.MinFreeBytes = 1 << 62
	s.resumeSweeping()
	require.NoError(t, s.DropLog(upTo))
	s.sweeper.wg.Wait()
	require.NoError(t, s.Err())
	require.Equal(t, 10, s.count(t, keyBlock))
	s.options.MinFreeBytes = free
	require.NoError(t, s.DropLog(upTo))
	s.sweeper.wg.Wait()
	require.NoError(t, s.Err())
	require.Zero(t, s.count(t, keyBlock))
}

// TestDropGoesOnWithTheNextDrop: to a higher base, also beside a batch that took many
// transactions.
func TestDropGoesOnWithTheNextDrop(t *testing.T) {
	s, _ := begun(t, 0)
	s.haltSweeping()
	upTo := grown(t, s, sweepRecords, 1)
	next := grown(t, s, sweepRecords, 1)
	snapped(t, s, next)
	require.NoError(t, s.DropLog(upTo))
	require.NoError(t, s.sweepSlice())
	require.True(t, s.sweeper.left())
	require.NoError(t, s.DropLog(next))
	require.NoError(t, s.sweepSlice())
	require.True(t, s.sweeper.left())
	grown(t, s, 4, 600<<10)
	sweepAll(t, s)
	require.Equal(t, 4, s.count(t, keyBlock))
	require.Equal(t, 5, s.count(t, keyCommit))
}

// TestNothingIsLeftOfWhatWaitedAndIsDropped: it is swept as well, though it was never read.
func TestNothingIsLeftOfWhatWaitedAndIsDropped(t *testing.T) {
	s, _ := begun(t, 0)
	b := bftraft.NewBlock(s.tip, []bftraft.Entry{{Kind: 1}})
	c := bftraft.NewBlock(b.End(), []bftraft.Entry{{Kind: 1}})
	hard := s.written.hard
	hard.Lock = quorumcert.Lock{Term: 1, Index: 2, Hash: c.Hash()}
	require.NoError(t, s.Save(&bftraft.Ready{
		Blocks: []*bftraft.Block{b, c}, HardState: &hard,
		Commits: []*quorumcert.Commit{{Index: 1, Hash: b.Hash()}, {Index: 2, Hash: c.Hash()}},
	}))
	snapped(t, s, c.End())
	require.False(t, s.pending.empty())
	require.NoError(t, s.DropLog(c.End()))
	s.sweeper.wg.Wait()
	require.Zero(t, s.count(t, keyBlock))
	require.Equal(t, 1, s.count(t, keyCommit))
}

// TestPartsGoBeforeTheBlockThatNamesThem: deletions that do not fit into one transaction may be cut
// short between any two, and parts are found by their block alone.
func TestPartsGoBeforeTheBlockThatNamesThem(t *testing.T) {
	s, _ := begun(t, 0)
	at := grown(t, s, 3, 2*partBytes)
	truncated, err := s.beyond(0, s.written.seq+1)
	require.NoError(t, err)
	snapped(t, s, at)
	swept, _, err := s.below(swept{}, uint64(at.Index), loadQuota)
	require.NoError(t, err)
	for name, cut := range map[string][]op{"truncated": truncated, "swept": swept} {
		named, parts := map[uint64]bool{}, 0
		for _, o := range cut {
			switch o.key[0] {
			case keyBlock:
				last, _ := number(o.key, 0)
				named[last] = true
			case keyPart:
				last, _ := number(o.key, 1)
				require.False(t, named[last], "%s: the block at %d went first", name, last)
				parts++
			}
		}
		require.Len(t, named, 3, name)
		require.Equal(t, 9, parts, name)
	}
}

// TestNothingLiesBelowTheBase: neither a lock nor a commit, be the records there still or not.
func TestNothingLiesBelowTheBase(t *testing.T) {
	for _, there := range []bool{false, true} {
		s, _ := begun(t, 0)
		s.haltSweeping()
		first := grown(t, s, 1, 1)
		upTo := grown(t, s, 10, 1)
		snapped(t, s, upTo)
		require.NoError(t, s.DropLog(upTo))
		if !there {
			sweepAll(t, s)
		}
		require.Equal(t, there, s.count(t, keyBlock) > 0)
		_, ok := s.endHash(first.Index)
		require.False(t, ok)
		require.NoError(t, s.Err())
		hard := s.written.hard
		hard.Lock = quorumcert.Lock{Term: 2, Index: first.Index, Hash: first.Hash}
		require.ErrorIs(t, s.Save(&bftraft.Ready{HardState: &hard}), ErrUnlinked)
	}
}

// TestSweepingOutrunsWriting: who writes large batches takes away as much, and more.
func TestSweepingOutrunsWriting(t *testing.T) {
	s, _ := begun(t, 0)
	s.haltSweeping()
	upTo := grown(t, s, 3000, 1)
	snapped(t, s, upTo)
	require.NoError(t, s.DropLog(upTo))
	for range 2 {
		require.True(t, s.sweeper.left())
		grown(t, s, 700, 1)
		require.NoError(t, s.sweepSlice())
	}
	require.False(t, s.sweeper.left())
	require.Equal(t, 1400, s.count(t, keyBlock))
}

// TestLoadTakesAwayWhatIsBelowTheBase: a start has forgotten how far it was.
func TestLoadTakesAwayWhatIsBelowTheBase(t *testing.T) {
	s, _ := begun(t, 0)
	s.haltSweeping()
	upTo := grown(t, s, 2*sweepRecords, 1)
	snapped(t, s, upTo)
	require.NoError(t, s.DropLog(upTo))
	require.NoError(t, s.sweepSlice())
	require.True(t, s.sweeper.left())
	require.NoError(t, s.Close())
	s, r, err := reopened(t, s.dir)
	require.NoError(t, err)
	require.Equal(t, upTo, r.Base)
	require.Equal(t, upTo, r.Tip)
	require.Zero(t, s.count(t, keyBlock))
	require.Equal(t, 1, s.count(t, keyCommit))
	require.False(t, s.sweeper.left())
}

// TestInstallationLeavesNothingOfTheOldChain: neither below the snapshot nor beyond it, nor of what
// waited; all but evidence.
func TestInstallationLeavesNothingOfTheOldChain(t *testing.T) {
	s, _ := begun(t, 0)
	grown(t, s, 3, 1)
	tip := s.tip
	for range 6 {
		tip = extend(t, s, tip, 2*partBytes)
	}
	waits := bftraft.NewBlock(tip, []bftraft.Entry{{Kind: 1}})
	require.NoError(t, s.Save(&bftraft.Ready{
		Blocks: []*bftraft.Block{waits}, Evidence: []quorumcert.Evidence{conflictOf(4)},
	}))
	require.False(t, s.pending.empty())
	at := bftraft.Position{Index: 6, Hash: crypto.Digest{6}}
	snapped(t, s, at)
	hard := s.written.hard
	hard.Term, hard.Lock = 4, quorumcert.Lock{Term: 3, Index: 6, Hash: at.Hash}
	c := &quorumcert.Commit{Term: 3, Index: 6, Hash: at.Hash}
	require.NoError(t, s.InstallSnapshot(hard, c))
	require.Equal(t, s.written.seq, s.guard.newest.seq, "the guard was not raised")
	require.Equal(t, at, s.guard.newest.tip)
	require.Equal(t, bftraft.Term(4), s.guard.newest.term)
	s.sweeper.wg.Wait()
	for kind, want := range map[byte]int{
		keyBlock: 0, keyPart: 0, keyCommit: 1, keyEvidence: 1, keyTrim: 0,
	} {
		require.Equal(t, want, s.count(t, kind), "records of kind %c", kind)
	}
	require.NoError(t, s.Close())
	_, r, err := reopened(t, s.dir)
	require.NoError(t, err)
	require.Equal(t, at, r.Base)
	require.Equal(t, at, r.Tip)
	require.Len(t, r.Evidence, 1)
}

// TestDamageBelowTheBaseIsRefused: what cannot be read is not taken for what may go.
func TestDamageBelowTheBaseIsRefused(t *testing.T) {
	for name, k := range map[string][]byte{
		"no header": key(keyBlock, 1, 1), "short key": key(keyBlock, 1),
		"short key of a commit": key(keyCommit, 1),
	} {
		s, _ := begun(t, 0)
		upTo := grown(t, s, 3, 1)
		snapped(t, s, upTo)
		require.NoError(t, s.commit([]op{{k, []byte{1}}}))
		require.NoError(t, s.DropLog(upTo), name)
		s.sweeper.wg.Wait()
		require.ErrorIs(t, s.Err(), ErrDamaged, name)
		require.NoError(t, s.Close())
		_, _, err := reopened(t, s.dir)
		require.ErrorIs(t, err, ErrDamaged, name)
	}
}

// TestSpaceOfADroppedLogComesBack writes much more than it keeps. Badger compacts in its own time,
// so the end of that is waited for.
func TestSpaceOfADroppedLogComesBack(t *testing.T) {
	const window, total = 4 << 20, 192 << 20
	s, _ := begun(t, 0)
	for written := 0; written < total; written += window {
		at := grown(t, s, 8, window/8)
		snapped(t, s, at)
		require.NoError(t, s.DropLog(at))
	}
	s.sweeper.wg.Wait()
	require.False(t, s.sweeper.left())
	bytes := func() int64 {
		sum := int64(0)
		tables, err := filepath.Glob(filepath.Join(s.dir, storeDir, "*.sst"))
		require.NoError(t, err)
		for _, name := range tables {
			info, err := os.Stat(name)
			if err == nil {
				sum += info.Size()
			}
		}
		return sum
	}
	require.Eventually(t, func() bool { return bytes() < total/2 }, time.Minute, time.Second/50)
}
