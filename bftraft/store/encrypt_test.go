package store_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/bftraft/store/storetest"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// TestEverythingHoldsEncrypted runs all tests of this package again, on encrypted stores.
func TestEverythingHoldsEncrypted(t *testing.T) {
	if os.Getenv(store.EnvEncrypted) != "" {
		require.FileExists(t, filepath.Join(create(t), "keys"), "this run is not encrypted")
		return
	}
	require.NoFileExists(t, filepath.Join(create(t), "keys"))
	cmd := exec.Command(os.Args[0], "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), store.EnvEncrypted+"=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestEverythingHoldsEncrypted")
	require.Contains(t, string(out), "--- PASS: TestBadgerPassesSuite")
}

var master = crypto.NewSecretKey([32]byte{7, 7, 7})

func withKey(k crypto.SecretKey) store.Options {
	o := small(storetest.Identity)
	o.Master = k
	return o
}

// encryptedStore makes a store with a small block, a large one in parts, commit certificates,
// evidence, and a snapshot for which the first block was dropped, and leaves it closed.
func encryptedStore(t *testing.T, k crypto.SecretKey, text string) (string, storetest.Model) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, store.CreateEncrypted(dir, storetest.Identity, k))
	s, err := store.Open(dir, withKey(k))
	require.NoError(t, err)
	_, err = s.Load()
	require.NoError(t, err)
	m := storetest.NewModel(storetest.Identity.Cluster)
	for _, size := range []int{1, 2000, 700 << 10} {
		data := bytes.Repeat([]byte(text), size/len(text)+1)
		b := bftraft.NewBlock(m.Tip(), []bftraft.Entry{{Kind: bftraft.EntryRequest, Data: data}})
		hard := m.Hard
		hard.Mark = quorumcert.Lock{Term: 1, Index: b.Last(), Hash: b.Hash()}
		hard.Lock = hard.Mark
		r := &bftraft.Ready{
			HardState: &hard, Blocks: []*bftraft.Block{b}, MustSync: true,
			Commits: []*quorumcert.Commit{{
				Term: 1, Index: b.Last(), Hash: b.Hash(), Acks: []quorumcert.AckedAt{},
				Signatures: quorumcert.Signatures{Sigs: []crypto.Signature{}},
			}},
			Evidence: []quorumcert.Evidence{{Votes: conflict()}},
		}
		require.NoError(t, s.Save(r))
		m = m.After(r)
	}
	m = m.With(snapshotAt(m.Tip(), text))
	take(t, s, m.Snapshot)
	require.NoError(t, s.FinishSnapshot(m.Snapshot.Proof))
	first := m.Blocks[0].End()
	require.NoError(t, s.DropLog(first))
	require.NoError(t, s.Close())
	return dir, m.Dropped(first)
}

// holds opens the store and requires that it has what the model has.
func holds(t *testing.T, dir string, k crypto.SecretKey, m storetest.Model) {
	t.Helper()
	s, err := store.Open(dir, withKey(k))
	require.NoError(t, err)
	r, err := s.Load()
	require.NoError(t, err)
	m.Check(t, s, r)
	require.NoError(t, s.Close())
}

// contents is every file with all its bytes.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, file := range filesOf(t, dir) {
		raw, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		sum := sha256.Sum256(raw)
		all[file] = hex.EncodeToString(sum[:])
	}
	return all
}

// TestNothingOfWhatIsStoredIsReadable looks for a text, a block's hash and a signature's bytes in
// every file; where nothing is encrypted it finds them all.
func TestNothingOfWhatIsStoredIsReadable(t *testing.T) {
	const canary = "canary 4f1d sings "
	for _, k := range []crypto.SecretKey{{}, master} {
		dir, m := encryptedStore(t, k, canary)
		tip := m.Tip().Hash
		seen := map[string]bool{}
		for _, file := range filesOf(t, dir) {
			raw, err := os.ReadFile(filepath.Join(dir, file))
			require.NoError(t, err)
			for name, what := range map[string][]byte{
				"text": []byte(canary), "hash": tip[:], "first": []byte("canary 4f1d"),
			} {
				if bytes.Contains(raw, what) {
					seen[name+" in "+strings.Split(file, "/")[1]] = true
				}
			}
		}
		if k.IsZero() {
			require.Equal(t, map[string]bool{
				"text in store": true, "first in store": true, "hash in store": true,
				"hash in guard": true, "hash in snapshots": true,
				"text in snapshots": true, "first in snapshots": true,
				"text in journal": true, "first in journal": true,
			}, seen)
		} else {
			require.Empty(t, seen)
		}
		holds(t, dir, k, m)
	}
}

// TestStoreOfAnotherKeyIsRefusedAndLeftAlone: no key, a wrong one, that of another node; and keys
// that are damaged, missing, or of another store.
func TestStoreOfAnotherKeyIsRefusedAndLeftAlone(t *testing.T) {
	wrong := crypto.NewSecretKey([32]byte{8})
	stranger := withKey(master)
	stranger.Identity.Node++
	for name, test := range map[string]struct {
		master crypto.SecretKey // of the store
		o      store.Options
		change func(dir string)
		want   error
	}{
		"no key":     {master, withKey(crypto.SecretKey{}), nil, store.ErrNeedsKey},
		"wrong key":  {master, withKey(wrong), nil, store.ErrWrongKey},
		"other node": {master, stranger, nil, store.ErrWrongIdentity},
		"plain":      {crypto.SecretKey{}, withKey(master), nil, store.ErrNotEncrypted},
		"lost": {master, withKey(master), func(dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "keys")))
		}, store.ErrMissing},
		"of a store made anew": {master, withKey(master), func(dir string) {
			other, _ := encryptedStore(t, master, "other")
			raw, err := os.ReadFile(filepath.Join(other, "keys"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "keys"), raw, 0o600))
		}, store.ErrWrongIdentity},
		"replaced by a plain store": {master, withKey(master), func(dir string) {
			plain, _ := encryptedStore(t, crypto.SecretKey{}, "plain")
			require.NoError(t, os.RemoveAll(dir))
			require.NoError(t, os.Rename(plain, dir))
		}, store.ErrNotEncrypted},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := encryptedStore(t, test.master, "text")
			if test.change != nil {
				test.change(dir)
			}
			before := contents(t, dir)
			_, err := store.Open(dir, test.o)
			require.ErrorIs(t, err, test.want)
			require.NotContains(t, err.Error(), "\n")
			err = store.RotateMaster(dir, test.o, wrong, func() error {
				require.Fail(t, "changed the key of a store that it cannot open")
				return nil
			})
			require.ErrorIs(t, err, test.want)
			require.Equal(t, before, contents(t, dir))
		})
	}
}

func TestEveryByteOfTheKeysCounts(t *testing.T) {
	dir, m := encryptedStore(t, master, "text")
	path := filepath.Join(dir, "keys")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	before := contents(t, filepath.Join(dir, "store"))
	for at := range whole {
		for _, changed := range [][]byte{
			append(append(bytes.Clone(whole[:at]), whole[at]^1), whole[at+1:]...),
			whole[:at],
		} {
			require.NoError(t, os.WriteFile(path, changed, 0o600))
			_, err := store.Open(dir, withKey(master))
			require.ErrorIs(t, err, store.ErrDamaged, "byte %d", at)
		}
	}
	require.Equal(t, before, contents(t, filepath.Join(dir, "store")))
	require.NoError(t, os.WriteFile(path, whole, 0o600))
	holds(t, dir, master, m)
}

// TestRecordsCannotChangePlaces: each is bound to the key it stands under.
func TestRecordsCannotChangePlaces(t *testing.T) {
	for _, kind := range []byte{'b', 'c', 'd', 'e'} {
		dir, _ := encryptedStore(t, master, "text")
		s, err := store.Open(dir, withKey(master))
		require.NoError(t, err)
		_, err = s.Load()
		require.NoError(t, err)
		var last []byte
		require.NoError(t, s.Change(kind, 0, func(v []byte) []byte { last = v; return v }))
		require.NoError(t, s.Change(kind, 1, func([]byte) []byte { return last }))
		require.NoError(t, s.Close())
		s, err = store.Open(dir, withKey(master))
		require.NoError(t, err)
		_, loaded := s.Load()
		s.Commit(2)
		require.True(t, store.MustNotSign(loaded) || store.MustNotSign(s.Err()), "%c", kind)
		require.NoError(t, s.Close())
	}
}

// TestMasterKeyIsChangedWhateverCrashComes stops after each step; the store opens with the key
// that is installed then, and with that alone once it has been loaded.
func TestMasterKeyIsChangedWhateverCrashComes(t *testing.T) {
	next := crypto.NewSecretKey([32]byte{9})
	whole, m := encryptedStore(t, master, "text")
	last := 0
	for crash := 0; crash <= last; crash++ {
		dir := filepath.Join(t.TempDir(), "data")
		copyTree(t, whole, dir)
		installed := master
		steps, done, err := store.MasterSteps(dir, withKey(master), next, func() error {
			installed = next
			return nil
		})
		require.NoError(t, err)
		last = len(steps)
		for _, step := range steps[:crash] {
			require.NoError(t, step())
		}
		done()
		holds(t, dir, installed, m)
		other := next
		if installed.Name() == next.Name() {
			other = master
		}
		_, err = store.Open(dir, withKey(other))
		require.ErrorIs(t, err, store.ErrWrongKey, "after %d steps and a start", crash)
		require.NoError(t, store.RotateMaster(dir, withKey(installed), other,
			func() error { return nil }))
		holds(t, dir, other, m)
	}
	require.Greater(t, last, 5)
}

// TestStoreIsEncryptedWhateverCrashComes stops after each step. The store opens as the one it was,
// or as the one it shall be; and once it was called again, nothing is left to read.
func TestStoreIsEncryptedWhateverCrashComes(t *testing.T) {
	const canary = "canary 0b7e sings "
	whole, m := encryptedStore(t, crypto.SecretKey{}, canary)
	last, changed := 0, 0
	for crash := 0; crash <= last; crash++ {
		parent := t.TempDir()
		dir := filepath.Join(parent, "data")
		copyTree(t, whole, dir)
		installed := false
		steps, done, err := store.EncryptSteps(dir, withKey(master), func() error {
			installed = true
			return nil
		})
		require.NoError(t, err)
		last = len(steps)
		for _, step := range steps[:crash] {
			require.NoError(t, step())
		}
		require.NoError(t, done())
		now := crypto.SecretKey{}
		if _, err := os.Stat(filepath.Join(dir, "keys")); err == nil {
			require.True(t, installed, "encrypted with a key that nobody has")
			now = master
			changed++
		}
		holds(t, dir, now, m)
		require.NoError(t, store.Encrypt(dir, withKey(master), func() error { return nil }))
		holds(t, dir, master, m)
		require.NoError(t, store.Encrypt(dir, withKey(master), func() error {
			require.Fail(t, "encrypted twice")
			return nil
		}))
		for _, file := range filesOf(t, parent) {
			raw, err := os.ReadFile(filepath.Join(parent, file))
			require.NoError(t, err)
			require.NotContains(t, string(raw), canary, file)
		}
		entries, err := os.ReadDir(parent)
		require.NoError(t, err)
		require.Len(t, entries, 1)
	}
	require.Positive(t, changed)
	require.Less(t, changed, last)
}

func TestStoreThatIsInUseOrDamagedIsNotEncrypted(t *testing.T) {
	never := func() error {
		require.Fail(t, "installed a key for a store that stays as it is")
		return nil
	}
	dir, _ := encryptedStore(t, crypto.SecretKey{}, "text")
	s, err := store.Open(dir, withKey(crypto.SecretKey{}))
	require.NoError(t, err)
	require.ErrorIs(t, store.Encrypt(dir, withKey(master), never), store.ErrLocked)
	_, err = s.Load()
	require.NoError(t, err)
	require.NoError(t, s.Change('c', 0, func(v []byte) []byte { v[0] ^= 1; return v }))
	require.NoError(t, s.Close())
	require.ErrorIs(t, store.Encrypt(dir, withKey(master), never), store.ErrDamaged)
	require.NoDirExists(t, dir+".new")
	require.ErrorIs(t, store.Encrypt(dir+"x", withKey(master), never), store.ErrMissing)
	dir, _ = encryptedStore(t, master, "text")
	err = store.Encrypt(dir, withKey(crypto.NewSecretKey([32]byte{8})), never)
	require.ErrorIs(t, err, store.ErrWrongKey)
}

// TestDataKeyIsChangedWhateverCrashComes stops after each step, with and without the rewriting, and
// once more in the middle of it.
func TestDataKeyIsChangedWhateverCrashComes(t *testing.T) {
	whole, m := encryptedStore(t, master, "text")
	for _, rewrite := range []bool{false, true} {
		last := 0
		for crash := 0; crash <= last; crash++ {
			dir := filepath.Join(t.TempDir(), "data")
			copyTree(t, whole, dir)
			s, err := store.Open(dir, withKey(master))
			require.NoError(t, err)
			_, err = s.Load()
			require.NoError(t, err)
			steps, err := s.DataKeySteps(rewrite)
			require.NoError(t, err)
			last = len(steps)
			for _, step := range steps[:crash] {
				require.NoError(t, step())
			}
			image := filepath.Join(t.TempDir(), "data")
			copyTree(t, dir, image)
			require.NoError(t, s.Close())
			holds(t, image, master, m)
			holds(t, dir, master, m)
		}
		require.Greater(t, last, 3)
	}
}

// TestRewrittenStoreNeedsItsNewestKeyAlone: no record is left of the old keys, which are gone; and
// without the rewriting they are not.
func TestRewrittenStoreNeedsItsNewestKeyAlone(t *testing.T) {
	dir, m := encryptedStore(t, master, "text")
	s, err := store.Open(dir, withKey(master))
	require.NoError(t, err)
	require.Panics(t, func() { _ = s.RotateDataKey(false) }, "before it is loaded")
	_, err = s.Load()
	require.NoError(t, err)
	require.NoError(t, s.RotateDataKey(false))
	require.NoError(t, s.RotateDataKey(false))
	require.Equal(t, []uint32{1, 2, 3}, s.Epochs())
	require.Equal(t, map[uint32]bool{1: true}, epochsOf(t, s))
	require.NoError(t, s.BeginSnapshot(m.Snapshot.At))
	require.Panics(t, func() { _ = s.RotateDataKey(true) }, "under a snapshot that is begun")
	require.NoError(t, s.AbortSnapshot())
	more := bftraft.NewBlock(m.Tip(), []bftraft.Entry{{Kind: 1, Data: []byte("more")}})
	r := &bftraft.Ready{Blocks: []*bftraft.Block{more}, MustSync: true}
	require.NoError(t, s.WithoutJournal().Save(r))
	m = m.After(r)
	require.Equal(t, map[uint32]bool{1: true, 3: true}, epochsOf(t, s))
	require.NoError(t, s.RotateDataKey(true))
	require.Equal(t, []uint32{4}, s.Epochs())
	require.Equal(t, map[uint32]bool{4: true}, epochsOf(t, s))
	m.CheckReads(t, s)
	require.NoError(t, s.Close())
	s, err = store.Open(dir, withKey(master))
	require.NoError(t, err)
	require.False(t, s.GuardSpoilt(), "a slot is under a key that is gone")
	require.NoError(t, s.Close())
	holds(t, dir, master, m)
}

// epochsOf is under which data keys the records in Badger are, and the snapshot.
func epochsOf(t *testing.T, s *store.Badger) map[uint32]bool {
	t.Helper()
	all, err := s.RecordEpochs()
	require.NoError(t, err)
	all[s.SnapshotEpoch()] = true
	return all
}

func TestStoreHasRoomForSoManyDataKeys(t *testing.T) {
	dir, m := encryptedStore(t, master, "text")
	s, err := store.Open(dir, withKey(master))
	require.NoError(t, err)
	_, err = s.Load()
	require.NoError(t, err)
	for range store.MaxDataKeys - 2 {
		require.NoError(t, s.RotateDataKey(false))
	}
	require.NoError(t, s.Close())
	s, err = store.Open(dir, withKey(master))
	require.NoError(t, err)
	_, err = s.Load()
	require.NoError(t, err)
	require.ErrorIs(t, s.RotateDataKey(false), store.ErrManyKeys)
	require.NoError(t, s.Err(), "the store goes on")
	require.NoError(t, s.RotateDataKey(true))
	require.Len(t, s.Epochs(), 1)
	require.NoError(t, s.Close())
	holds(t, dir, master, m)
}

func TestKeysOfAPlainOrReadOnlyStoreAreNotChanged(t *testing.T) {
	dir, _ := encryptedStore(t, crypto.SecretKey{}, "text")
	s, err := store.Open(dir, withKey(crypto.SecretKey{}))
	require.NoError(t, err)
	_, err = s.Load()
	require.NoError(t, err)
	require.ErrorIs(t, s.RotateDataKey(true), store.ErrNotEncrypted)
	require.NoError(t, s.Close())
	require.ErrorIs(t, store.RotateMaster(dir, withKey(crypto.SecretKey{}), master, nil),
		store.ErrNotEncrypted)
	dir, _ = encryptedStore(t, master, "text")
	o := withKey(master)
	o.ReadOnly = true
	s, err = store.Open(dir, o)
	require.NoError(t, err)
	require.ErrorIs(t, s.RotateDataKey(false), store.ErrReadOnly)
	require.ErrorIs(t, store.RotateMaster(dir, withKey(master), master, nil), store.ErrLocked)
	require.NoError(t, s.Close())
}
