package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

var owner = Identity{Cluster: crypto.Digest{9}, Node: 3, Key: crypto.PublicKey{4}}

// reopened opens a store of which Badger takes all: what is tested here is how it does.
func reopened(t *testing.T, dir string) (*Badger, bftraft.Restored, error) {
	t.Helper()
	s, err := Open(dir, Options{Identity: owner, MinFreeBytes: 1, Master: RunMaster()})
	if err != nil {
		return nil, bftraft.Restored{}, err
	}
	t.Cleanup(func() { _ = s.Close() })
	r, err := s.WithoutJournal().Load()
	return s, r, err
}

// begun makes a store with n blocks, each synced, and leaves it open.
func begun(t *testing.T, n int) (*Badger, bftraft.Position) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, CreateEncrypted(dir, owner, RunMaster()))
	s, r, err := reopened(t, dir)
	require.NoError(t, err)
	tip := r.Tip
	for range n {
		tip = extend(t, s, tip, 1)
	}
	return s, tip
}

func extend(t *testing.T, s *Badger, tip bftraft.Position, size int) bftraft.Position {
	t.Helper()
	b := bftraft.NewBlock(tip, []bftraft.Entry{{Kind: 1, Data: make([]byte, size)}})
	require.NoError(t, s.Save(&bftraft.Ready{Blocks: []*bftraft.Block{b}, MustSync: true}))
	return b.End()
}

// TestRaisedGuardIsThatOfTheBatch: a guard that Load has brought up is the one that the batch would
// have written itself, or the next start would refuse a store that is in order.
func TestRaisedGuardIsThatOfTheBatch(t *testing.T) {
	s, tip := begun(t, 1)
	path := filepath.Join(s.dir, guardFile)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	extend(t, s, tip, 1)
	want := s.guard.newest
	require.NoError(t, s.Close())
	require.NoError(t, os.WriteFile(path, before, 0o600))
	for range 2 {
		s, r, err := reopened(t, s.dir)
		require.NoError(t, err)
		require.EqualValues(t, 2, r.Tip.Index)
		require.Equal(t, want, s.guard.newest)
		require.NoError(t, s.Close())
	}
}

// TestLoadMendsASpoiltSlot: with one slot alone the next torn write would leave none.
func TestLoadMendsASpoiltSlot(t *testing.T) {
	for slot := range 2 {
		s, _ := begun(t, 2)
		want := s.guard.newest
		require.NoError(t, s.Close())
		path := filepath.Join(s.dir, guardFile)
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		raw[slot*slotBytes]++
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		var told bytes.Buffer
		warnings := &slog.HandlerOptions{Level: slog.LevelWarn}
		logger := slog.New(slog.NewTextHandler(&told, warnings))
		for range 2 {
			s, err = Open(s.dir, Options{
				Identity: owner, Master: RunMaster(), MinFreeBytes: 1, Logger: logger,
			})
			require.NoError(t, err)
			_, err = s.Load()
			require.NoError(t, err)
			require.NotEmpty(t, told.String(), "no word about the damage")
			require.NoError(t, s.Close())
		}
		require.Equal(t, 1, strings.Count(told.String(), "\n"), "it is still damaged: %s", &told)
		g, err := openGuard(path, func() (*wrappedKeys, *dataKeys, error) {
			return s.guard.wraps, s.seals.keys, nil
		})
		require.NoError(t, err)
		require.False(t, g.spoilt, "slot %d is still damaged", slot)
		require.Equal(t, want, g.newest)
		require.NoError(t, g.close())
	}
}

// TestLoadLeavesAnIntactGuardAlone: a start that signs nothing writes nothing.
func TestLoadLeavesAnIntactGuardAlone(t *testing.T) {
	s, _ := begun(t, 2)
	slot := s.guard.slot
	require.NoError(t, s.Close())
	s, _, err := reopened(t, s.dir)
	require.NoError(t, err)
	require.Equal(t, slot, s.guard.slot)
}

// TestCommitOffTheChainIsDamage: a commit certificate for another block, or beyond the end, is
// none that this store has ever taken.
func TestCommitOffTheChainIsDamage(t *testing.T) {
	for _, at := range []bftraft.Index{1, 2, 3} {
		s, tip := begun(t, 2)
		c := quorumcert.Commit{Term: 1, Index: at, Hash: crypto.Digest{1}}
		k := key(keyCommit, uint64(at), s.written.seq)
		require.NoError(t, s.commit([]op{{k, s.seals.seal(k, c.AppendTo(nil))}}))
		require.NoError(t, s.Close())
		_, _, err := reopened(t, s.dir)
		require.ErrorIs(t, err, ErrDamaged, "commit at %d, tip %d", at, tip.Index)
	}
}

// unsyncable puts a device in the place of Badger's directory: to flush it is an error.
func unsyncable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Symlink(os.DevNull, filepath.Join(dir, storeDir)))
	require.ErrorIs(t, syncDirectory(filepath.Join(dir, storeDir)), syscall.EINVAL)
	return dir
}

// TestNewFilesAreFlushedBeforeTheGuard: what the guard promises must not stand in a file that has
// no durable name yet.
func TestNewFilesAreFlushedBeforeTheGuard(t *testing.T) {
	s, tip := begun(t, 1)
	before := s.guard.newest
	dir := s.dir
	s.dir = unsyncable(t)
	b := bftraft.NewBlock(tip, []bftraft.Entry{{Kind: 1}})
	require.ErrorIs(t, s.Save(&bftraft.Ready{Blocks: []*bftraft.Block{b}, MustSync: true}),
		syscall.EINVAL)
	require.Equal(t, before, s.guard.newest, "the guard promises what may be lost")
	require.NoError(t, s.Close())
	_, r, err := reopened(t, dir)
	require.NoError(t, err)
	require.Equal(t, b.End(), r.Tip)
}

// TestDirectoryIsFlushedUnlessItIsUnchangedForLong: a change within one tick of the clock of files
// may follow another that was flushed, so its time alone does not show that nothing was begun.
func TestDirectoryIsFlushedUnlessItIsUnchangedForLong(t *testing.T) {
	s := &Badger{dir: t.TempDir()}
	path := filepath.Join(s.dir, storeDir)
	require.NoError(t, os.Mkdir(path, 0o700))
	for age, remembered := range map[time.Duration]bool{time.Hour: true, -time.Hour: false} {
		s.dirChanged = time.Time{}
		changed := time.Now().Add(-age).Truncate(time.Second)
		require.NoError(t, os.Chtimes(path, changed, changed))
		require.NoError(t, s.syncNewFiles())
		require.Equal(t, remembered, s.dirChanged.Equal(changed), "changed %v ago", age)
	}
	s.dir = unsyncable(t)
	require.ErrorIs(t, s.syncNewFiles(), syscall.EINVAL)
	info, err := os.Stat(filepath.Join(s.dir, storeDir))
	require.NoError(t, err)
	s.dirChanged = info.ModTime()
	require.NoError(t, s.syncNewFiles(), "what has not changed is not flushed again")
	s.dir = filepath.Join(s.dir, "gone")
	require.ErrorIs(t, s.syncNewFiles(), fs.ErrNotExist)
}

// TestDamagedTableIsNamedAndRefused changes what Badger reads of a table before it looks at any
// checksum. Badger would end the process.
func TestDamagedTableIsNamedAndRefused(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"length of the checksum": func(b []byte) []byte { b[len(b)-3] = 0x10; return b },
		"negative length":        func(b []byte) []byte { b[len(b)-4] = 0xff; return b },
		"index": func(b []byte) []byte {
			sum := int(binary.BigEndian.Uint32(b[len(b)-4:]))
			b[len(b)-4-sum-4-1] ^= 1
			return b
		},
		"all but nothing": func(b []byte) []byte { return b[:5] },
		"nothing":         func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			s, tip := begun(t, 3)
			extend(t, s, tip, 1<<10)
			require.NoError(t, s.Close())
			tables, err := filepath.Glob(filepath.Join(s.dir, storeDir, "*.sst"))
			require.NoError(t, err)
			require.NotEmpty(t, tables)
			raw, err := os.ReadFile(tables[0])
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(tables[0], damage(raw), 0o600))
			_, _, err = reopened(t, s.dir)
			require.ErrorIs(t, err, ErrDamaged)
			require.ErrorContains(t, err, filepath.Base(tables[0]))
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// TestUnfinishedBatchIsTakenAway leaves records of every kind that no state record has confirmed:
// a later batch of the same number must not find them.
func TestUnfinishedBatchIsTakenAway(t *testing.T) {
	s, _ := begun(t, 2)
	seq := s.written.seq + 1
	var left []op
	for _, k := range [][]byte{
		key(keyBlock, 7, seq), key(keyPart, seq, 7, 0), key(keyCommit, 7, seq),
		key(keyEvidence, seq, 0),
	} {
		left = append(left, op{k, s.seals.seal(k, []byte("anything"))})
	}
	require.NoError(t, s.commit(left))
	require.NoError(t, s.Close())
	s, r, err := reopened(t, s.dir)
	require.NoError(t, err)
	require.EqualValues(t, 2, r.Tip.Index)
	for _, o := range left {
		require.ErrorIs(t, s.view(func(txn *badger.Txn) error {
			_, err := get(txn, o.key)
			return err
		}), badger.ErrKeyNotFound, "a record of kind %c is still there", o.key[0])
	}
}

// TestTruncationIsRecordedOnlyWhileItIsUnderWay looks for its record between all steps of Saves
// that need many transactions: it is there from the state record on, until the deletions are done.
func TestTruncationIsRecordedOnlyWhileItIsUnderWay(t *testing.T) {
	for _, cut := range []bool{false, true} {
		s, tip := begun(t, 3)
		first, _ := s.Block(1)
		r := &bftraft.Ready{Truncated: cut, Truncate: 1, MustSync: true}
		if cut {
			tip = first.End()
		}
		for range 4 {
			b := bftraft.NewBlock(tip, []bftraft.Entry{{Kind: 1, Data: make([]byte, 600<<10)}})
			r.Blocks, tip = append(r.Blocks, b), b.End()
		}
		steps, err := s.Steps(r)
		require.NoError(t, err)
		seen := 0
		for _, step := range steps {
			require.NoError(t, step())
			err := s.view(func(txn *badger.Txn) error {
				_, err := get(txn, key(keyTrim))
				return err
			})
			if err == nil {
				seen++
			} else {
				require.ErrorIs(t, err, badger.ErrKeyNotFound)
			}
		}
		require.ErrorIs(t, s.view(func(txn *badger.Txn) error {
			_, err := get(txn, key(keyTrim))
			return err
		}), badger.ErrKeyNotFound)
		require.Equal(t, cut, seen == 1, "seen after %d steps", seen)
		require.NoError(t, s.Close())
		_, restored, err := reopened(t, s.dir)
		require.NoError(t, err)
		require.Equal(t, tip, restored.Tip)
	}
}

// TestTruncationOverADamagedRecordIsRefused: what it does not take away, it must not leave behind.
func TestTruncationOverADamagedRecordIsRefused(t *testing.T) {
	for name, k := range map[string][]byte{
		"short key": key(keyBlock, 2), "no header": key(keyBlock, 2, 1),
	} {
		s, _ := begun(t, 3)
		require.NoError(t, s.commit([]op{{k, []byte{1}}}))
		err := s.Save(&bftraft.Ready{Truncated: true, Truncate: 1, MustSync: true})
		require.ErrorIs(t, err, ErrDamaged, name)
		require.ErrorIs(t, s.Err(), ErrDamaged, name)
	}
}

// TestSaveThatSignsNothingLeavesTheGuardAlone counts the steps of a small Save: one transaction,
// and the guard only when something will be signed on it.
func TestSaveThatSignsNothingLeavesTheGuardAlone(t *testing.T) {
	s, tip := begun(t, 1)
	before := s.guard.newest
	for _, sync := range []bool{false, true} {
		b := bftraft.NewBlock(tip, []bftraft.Entry{{Kind: 1}})
		steps, err := s.Steps(&bftraft.Ready{Blocks: []*bftraft.Block{b}, MustSync: sync})
		require.NoError(t, err)
		want := 4 // space, transaction, directory, digest
		if sync {
			want++
		}
		require.Len(t, steps, want)
		for _, step := range steps {
			require.NoError(t, step())
		}
		require.Equal(t, sync, s.guard.newest != before)
		tip = b.End()
	}
}

// TestEvidenceOfManyBatchesKeepsItsOrder: pieces are told apart by batch and place in it.
func TestEvidenceOfManyBatchesKeepsItsOrder(t *testing.T) {
	s, _ := begun(t, 1)
	var want []quorumcert.Evidence
	for batch := range 3 {
		var r bftraft.Ready
		for i := range 1 + batch {
			e := quorumcert.Evidence{Votes: &quorumcert.VoteConflict{}}
			for _, v := range []*quorumcert.SignedVote{&e.Votes.A, &e.Votes.B} {
				v.Term, v.Candidate, v.Signer = bftraft.Term(batch), 1, bftraft.NodeID(1+i)
			}
			r.Evidence = append(r.Evidence, e)
		}
		want = append(want, r.Evidence...)
		r.MustSync = true
		require.NoError(t, s.Save(&r))
		require.NoError(t, s.Close())
		var restored bftraft.Restored
		var err error
		s, restored, err = reopened(t, s.dir)
		require.NoError(t, err)
		require.Equal(t, want, restored.Evidence)
	}
}

// TestPendingCommitsAscendInWhateverOrderTheyCame: reads look for them by halves.
func TestPendingCommitsAscendInWhateverOrderTheyCame(t *testing.T) {
	commit := func(i bftraft.Index, term bftraft.Term) *quorumcert.Commit {
		return &quorumcert.Commit{Index: i, Term: term}
	}
	var p pending
	for _, i := range []bftraft.Index{5, 2, 9, 4, 3, 8} {
		p.add(&bftraft.Ready{Commits: []*quorumcert.Commit{commit(i, 1)}})
	}
	p.add(&bftraft.Ready{Commits: []*quorumcert.Commit{commit(4, 2), commit(2, 2)}})
	require.Equal(t, []*quorumcert.Commit{
		commit(2, 2), commit(3, 1), commit(4, 2), commit(5, 1), commit(8, 1), commit(9, 1),
	}, p.commits)
}

// TestCloseWritesWhatWaits saves one thing at a time, of which no promise depends on any.
func TestCloseWritesWhatWaits(t *testing.T) {
	vote := quorumcert.SignedVote{Vote: quorumcert.Vote{Term: 1, Candidate: 1}, Signer: 1}
	proof := quorumcert.Evidence{Votes: &quorumcert.VoteConflict{A: vote, B: vote}}
	for name, ready := range map[string]func(*Badger, bftraft.Position) *bftraft.Ready{
		"nothing": func(*Badger, bftraft.Position) *bftraft.Ready { return &bftraft.Ready{} },
		"hard state": func(s *Badger, _ bftraft.Position) *bftraft.Ready {
			hard := s.written.hard
			hard.Term++
			return &bftraft.Ready{HardState: &hard}
		},
		"truncation": func(*Badger, bftraft.Position) *bftraft.Ready {
			return &bftraft.Ready{Truncated: true, Truncate: 1}
		},
		"block": func(_ *Badger, tip bftraft.Position) *bftraft.Ready {
			b := bftraft.NewBlock(tip, []bftraft.Entry{{Kind: 1}})
			return &bftraft.Ready{Blocks: []*bftraft.Block{b}}
		},
		"commit": func(_ *Badger, tip bftraft.Position) *bftraft.Ready {
			c := &quorumcert.Commit{Term: 1, Index: tip.Index, Hash: tip.Hash}
			return &bftraft.Ready{Commits: []*quorumcert.Commit{c}}
		},
		"evidence": func(*Badger, bftraft.Position) *bftraft.Ready {
			return &bftraft.Ready{Evidence: []quorumcert.Evidence{proof}}
		},
	} {
		s, tip := begun(t, 2)
		before := s.written.seq
		r := ready(s, tip)
		require.NoError(t, s.Save(r))
		require.Equal(t, before, s.written.seq, "%s: written before its time", name)
		waits := name != "nothing"
		require.Equal(t, !waits, s.pending.empty(), name)
		require.NoError(t, s.Close())
		s, restored, err := reopened(t, s.dir)
		require.NoError(t, err)
		require.Equal(t, waits, s.written.seq > before, name)
		require.Equal(t, len(r.Evidence), len(restored.Evidence), name)
		require.Equal(t, len(r.Commits) > 0, restored.Commit != nil, name)
	}
}

// TestWaitingBlocksEndWhereTheyEnd: the chain of a store is read the same before and after it is
// written, and nothing may cut a block in two or commit half of it.
func TestWaitingBlocksEndWhereTheyEnd(t *testing.T) {
	s, at := begun(t, 0)
	var blocks []*bftraft.Block
	for range 2 {
		blocks = append(blocks, bftraft.NewBlock(at, make([]bftraft.Entry, 3)))
		at = blocks[len(blocks)-1].End()
	}
	require.NoError(t, s.Save(&bftraft.Ready{Blocks: blocks}))
	for _, written := range []bool{false, true} {
		require.Equal(t, written, s.pending.empty())
		for i := range bftraft.Index(8) {
			hash, ok := s.endHash(i)
			require.Equal(t, i%3 == 0 && i < 7, ok, "index %d", i)
			if i > 0 && ok {
				require.Equal(t, blocks[i/3-1].Hash(), hash)
			}
			b, ok := s.Block(i)
			require.Equal(t, i > 0 && i < 7, ok)
			if ok {
				require.Equal(t, blocks[(i-1)/3].Raw(), b.Raw())
			}
		}
		require.NoError(t, s.flush(true))
	}
}

// TestNothingIsLeftOfATruncatedBlock: pieces of large blocks go with them, or the disk would fill.
func TestNothingIsLeftOfATruncatedBlock(t *testing.T) {
	s, tip := begun(t, 1)
	keep, large := tip, extend(t, s, tip, 2*partBytes)
	extend(t, s, large, 1)
	require.NoError(t, s.Save(&bftraft.Ready{
		Truncated: true, Truncate: keep.Index, MustSync: true,
	}))
	for kind, want := range map[byte]int{keyBlock: 1, keyPart: 0} {
		n := 0
		require.NoError(t, s.view(func(txn *badger.Txn) error {
			return s.eachKey(txn, kind, 0, func(*badger.Item) error { n++; return nil })
		}))
		require.Equal(t, want, n, "records of kind %c", kind)
	}
}

// TestWhatIsPackedFits goes over the edge of what Badger takes in one transaction, by count and by
// bytes: a group that it refuses would end the node.
func TestWhatIsPackedFits(t *testing.T) {
	s, _ := begun(t, 0)
	commits := func(ops []op) {
		packed := 0
		for _, group := range s.pack(ops) {
			require.NoError(t, s.commit(group), "%d of %d", len(group), len(ops))
			packed += len(group)
		}
		require.Equal(t, len(ops), packed)
	}
	most := int(s.db.MaxBatchCount())
	ops := make([]op, most+3)
	for i := range ops {
		ops[i] = op{key(keyPart, 1, 1, uint64(i)), []byte{1}}
	}
	for n := most - 4; n <= len(ops); n++ {
		commits(ops[:n])
	}
	half := int(s.db.MaxBatchSize()) / 2
	for n := half - 160; n <= half+20; n += 12 {
		commits([]op{
			{key(keyPart, 1, 1, 1), make([]byte, half)}, {key(keyPart, 1, 1, 2), make([]byte, n)},
		})
	}
}

// TestPendingIsFullByItemsOrBytes: what waits in memory is bounded.
func TestPendingIsFullByItemsOrBytes(t *testing.T) {
	for _, fill := range []func(p *pending, n int){
		func(p *pending, n int) { p.blocks = make([]*bftraft.Block, n) },
		func(p *pending, n int) { p.commits = make([]*quorumcert.Commit, n) },
		func(p *pending, n int) { p.evidence = make([]quorumcert.Evidence, n) },
		func(p *pending, n int) {
			p.blocks = make([]*bftraft.Block, n/3)
			p.commits = make([]*quorumcert.Commit, n/3)
			p.evidence = make([]quorumcert.Evidence, n-2*(n/3))
		},
		func(p *pending, n int) { p.bytes = maxPendingBytes - maxPendingItems + n },
	} {
		var p pending
		fill(&p, maxPendingItems-1)
		require.False(t, p.full())
		fill(&p, maxPendingItems)
		require.True(t, p.full())
	}
}

// TestMalformedRecordsAreDamage puts records there that no store writes.
func TestMalformedRecordsAreDamage(t *testing.T) {
	for name, make := range map[string]func(s *Badger) op{
		"a short key of a block": func(*Badger) op { return op{key(keyBlock, 7), []byte{1}} },
		"a short key of a part":  func(*Badger) op { return op{[]byte{keyPart, 1}, []byte{1}} },
		"a truncation sealed as something else": func(s *Badger) op {
			k := key(keyTrim)
			return op{k, s.seals.seal(key(keyState), key(keyTrim, 2, s.written.seq))}
		},
		"a second block in one place": func(s *Badger) op {
			b := bftraft.NewBlock(bftraft.Position{Hash: owner.Cluster}, []bftraft.Entry{{Kind: 2}})
			k := key(keyBlock, 1, s.written.seq)
			h := blockHeader{first: 1, hash: b.Hash()}
			return op{k, s.seals.sealBlock(h.encode(s.seals, k), k, b.Raw())}
		},
		"an identity of another format": func(s *Badger) op {
			raw := s.meta.encode()
			raw[0]++
			return op{key(keyMeta), raw}
		},
		"a short truncation": func(s *Badger) op {
			k := key(keyTrim)
			return op{k, s.seals.seal(k, key(keyTrim, 1))}
		},
		"a long truncation": func(s *Badger) op {
			k := key(keyTrim)
			return op{k, s.seals.seal(k, key(keyTrim, 2, s.written.seq, 1))}
		},
	} {
		s, _ := begun(t, 2)
		require.NoError(t, s.commit([]op{make(s)}))
		require.NoError(t, s.Close())
		_, _, err := reopened(t, s.dir)
		require.ErrorIs(t, err, ErrDamaged, name)
		require.True(t, MustNotSign(err), name)
	}
}

// TestWhatIsNoDamageDoesNotKeepFromSigning: the same store opens when the other process is gone, or
// the disk reads again.
func TestWhatIsNoDamageDoesNotKeepFromSigning(t *testing.T) {
	s, _ := begun(t, 1)
	require.NoError(t, s.Close())
	path := filepath.Join(s.dir, storeDir)
	d, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	require.NoError(t, syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
	_, _, err = reopened(t, s.dir)
	require.ErrorIs(t, err, ErrLocked, "Badger alone holds it")
	require.False(t, MustNotSign(err))
	require.NoError(t, syscall.Flock(int(d.Fd()), syscall.LOCK_UN))

	manifest := filepath.Join(path, badger.ManifestFilename)
	require.NoError(t, os.Rename(manifest, manifest+".kept"))
	require.NoError(t, os.Symlink(badger.ManifestFilename, manifest))
	_, _, err = reopened(t, s.dir)
	require.ErrorIs(t, err, syscall.ELOOP)
	require.False(t, MustNotSign(err))
	require.NoError(t, os.Rename(manifest+".kept", manifest))

	require.NoError(t, os.Rename(path, path+".kept"))
	require.NoError(t, os.Symlink(storeDir, path))
	_, _, err = reopened(t, s.dir)
	require.ErrorIs(t, err, syscall.ELOOP)
	require.False(t, MustNotSign(err))
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Rename(path+".kept", path))
	_, _, err = reopened(t, s.dir)
	require.NoError(t, err)
}

// TestWordsOfBadgerFitOneLine: they go into an error that is logged as one line.
func TestWordsOfBadgerFitOneLine(t *testing.T) {
	require.Equal(t, "first", oneLine(errors.New("\n  first\nsecond\nthird")))
	require.False(t, strings.Contains(oneLine("a\nb"), "b"))
}
