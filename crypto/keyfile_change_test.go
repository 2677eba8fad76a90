package crypto

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/internal/notdone"
)

func writeGolden(t *testing.T, word string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, WriteKeyFile(path, goldenKey(), []byte(word)))
	return path
}

func TestChangedKeyFileHoldsWhatItWasChangedTo(t *testing.T) {
	path := writeGolden(t, "")
	was := ""
	for _, want := range []KeyFile{
		{Master: goldenMaster()},
		{Master: goldenMaster(), Passphrase: []byte("one")},
		{Master: NewSecretKey([32]byte{9}), Passphrase: []byte("two")},
		{Passphrase: []byte("two")},
		{},
	} {
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, ChangeKeyFile(path, say(was), func(k *KeyFile) error {
			k.Master, k.Passphrase = want.Master, want.Passphrase
			return nil
		}))
		was = string(want.Passphrase)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NotEqual(t, before, after)
		got, err := ReadKeys(path, say(was))
		require.NoError(t, err)
		require.Equal(t, goldenKey().Seed(), got.Signing.Seed())
		require.Equal(t, want.Master.String(), got.Master.String())
		require.Equal(t, was, string(got.Passphrase))
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
		k, err := ReadKeyFile(path, say(was))
		require.NoError(t, err)
		require.Equal(t, goldenKey().Seed(), k.Seed(), "one who wants the signing key only")
	}
	require.Len(t, filesIn(t, filepath.Dir(path)), 1)
}

func filesIn(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	return entries
}

// TestKeyFileThatIsNotChangedStaysToTheByte: a wrong passphrase, or second thoughts.
func TestKeyFileThatIsNotChangedStaysToTheByte(t *testing.T) {
	path := writeGolden(t, "right")
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	no := errors.New("second thoughts")
	require.ErrorIs(t, ChangeKeyFile(path, say("wrong"), func(*KeyFile) error {
		require.Fail(t, "opened with a wrong passphrase")
		return nil
	}), ErrWrongPassphrase)
	require.ErrorIs(t, ChangeKeyFile(path, nil, nil), ErrPassphraseNeeded)
	require.ErrorIs(t, ChangeKeyFile(path, say("right"), func(*KeyFile) error { return no }), no)
	require.Panics(t, func() {
		_ = ChangeKeyFile(path, say("right"), func(k *KeyFile) error {
			k.Signing = GenerateKey()
			return nil
		})
	})
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Len(t, filesIn(t, filepath.Dir(path)), 1)
}

// TestCrashInAChangeLeavesOneKeyFileOrTheOther stops after each step, and lets the next process
// change the file again.
func TestCrashInAChangeLeavesOneKeyFileOrTheOther(t *testing.T) {
	after := KeyFile{Signing: goldenKey(), Master: goldenMaster()}
	all := len(replacement(nil, "", nil))
	changed := 0
	for crash := range all + 1 {
		path := writeGolden(t, "")
		f, err := lockKeyFile(path)
		require.NoError(t, err)
		for _, step := range replacement(f, path, after.encode(random{}))[:crash] {
			require.NoError(t, step())
		}
		require.NoError(t, f.Close())
		got, err := ReadKeys(path, nil)
		require.NoError(t, err, "after %d steps", crash)
		require.Equal(t, goldenKey().Seed(), got.Signing.Seed())
		if !got.Master.IsZero() {
			changed++
		} else {
			require.Zero(t, changed, "step %d took the change back", crash)
		}
		again := NewSecretKey([32]byte{42})
		require.NoError(t, ChangeKeyFile(path, nil, func(k *KeyFile) error {
			k.Master = again
			return nil
		}))
		got, err = ReadKeys(path, nil)
		require.NoError(t, err)
		require.Equal(t, again.Bytes(), got.Master.Bytes())
		require.Len(t, filesIn(t, filepath.Dir(path)), 1, "a crash left a file behind")
	}
	require.Positive(t, changed)
	require.Less(t, changed, all+1)
}

// TestTwoChangesAtOnceAreBothMade: each sees what the one before it left.
func TestTwoChangesAtOnceAreBothMade(t *testing.T) {
	path := writeGolden(t, "")
	const each = 20
	done := make(chan error, 2)
	for range 2 {
		go func() {
			var err error
			for range each {
				err = errors.Join(err, ChangeKeyFile(path, nil, func(k *KeyFile) error {
					var count [32]byte
					if !k.Master.IsZero() {
						count = k.Master.Bytes()
					}
					count[0]++
					k.Master = NewSecretKey(count)
					return nil
				}))
			}
			done <- err
		}()
	}
	require.NoError(t, errors.Join(<-done, <-done))
	k, err := ReadKeys(path, nil)
	require.NoError(t, err)
	require.EqualValues(t, 2*each, k.Master.Bytes()[0])
}

// TestReplacedKeyFileIsWiped: its bytes go, unless somebody has another name for them.
func TestReplacedKeyFileIsWiped(t *testing.T) {
	for _, linked := range []bool{false, true} {
		path := writeGolden(t, "")
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		old, err := os.Open(path)
		require.NoError(t, err)
		defer old.Close()
		if linked {
			require.NoError(t, os.Link(path, path+".kept"))
		}
		require.NoError(t, ChangeKeyFile(path, nil, func(k *KeyFile) error {
			k.Passphrase = []byte("word")
			return nil
		}))
		text := make([]byte, len(before))
		_, err = old.ReadAt(text, 0)
		require.NoError(t, err)
		if linked {
			require.Equal(t, before, text)
		} else {
			require.Equal(t, make([]byte, len(before)), text)
		}
	}
}

// TestChangedKeyFileKeepsItsOwner: root locks the keys of a node that runs as somebody else.
func TestChangedKeyFileKeepsItsOwner(t *testing.T) {
	if os.Getuid() != 0 {
		notdone.Skip(t, "only root can give files away")
	}
	path := writeGolden(t, "")
	require.NoError(t, os.Chown(path, 1234, 2345))
	require.NoError(t, ChangeKeyFile(path, nil, func(k *KeyFile) error {
		k.Master = goldenMaster()
		return nil
	}))
	info, err := os.Stat(path)
	require.NoError(t, err)
	owner := info.Sys().(*syscall.Stat_t)
	require.EqualValues(t, 1234, owner.Uid)
	require.EqualValues(t, 2345, owner.Gid)
	require.Equal(t, os.FileMode(0o600), info.Mode())
}
