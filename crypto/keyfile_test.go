package crypto

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/internal/notdone"
)

var rewrite = flag.Bool("rewrite", false, "write the golden key files anew")

// say returns a passphrase function that says the word.
func say(word string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(word), nil }
}

// goldenKey is what the golden files hold.
func goldenKey() PrivateKey { return KeyFromSeed([32]byte{1, 2, 3}) }

// goldenMaster is what those hold that have a master key.
func goldenMaster() SecretKey { return NewSecretKey([32]byte{10, 11, 12}) }

func goldenFiles() map[string][]byte {
	return map[string][]byte{
		"testdata/plain.key": plainKeyFile(goldenKey()),
		"testdata/sealed.key": sealedKeyFile(goldenKey(), []byte("correct horse"),
			[saltBytes]byte{4, 5, 6}, [nonceBytes]byte{7, 8, 9}),
		"testdata/plain-master.key": KeyFile{
			Signing: goldenKey(), Master: goldenMaster(),
		}.encode(random{}),
		"testdata/sealed-master.key": KeyFile{
			Signing: goldenKey(), Master: goldenMaster(), Passphrase: []byte("correct horse"),
		}.encode(random{[saltBytes]byte{13, 14, 15}, [nonceBytes]byte{16, 17, 18}}),
	}
}

func TestKeyFilesOfTodayStayReadable(t *testing.T) {
	for name, text := range goldenFiles() {
		if *rewrite {
			require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
			require.NoError(t, os.WriteFile(name, text, 0o644))
		}
		golden, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, string(golden), string(text))
		k, err := openKeys(golden, say("correct horse"))
		require.NoError(t, err)
		require.Equal(t, goldenKey().Seed(), k.Signing.Seed())
		require.Equal(t, strings.Contains(name, "master"), !k.Master.IsZero(), name)
		if !k.Master.IsZero() {
			require.Equal(t, goldenMaster().Bytes(), k.Master.Bytes())
		}
	}
}

func TestKeyFileGivesTheKeyBack(t *testing.T) {
	for _, word := range []string{"", "x", "correct horse"} {
		path := filepath.Join(t.TempDir(), "node.key")
		k := GenerateKey()
		require.NoError(t, WriteKeyFile(path, k, []byte(word)))
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
		got, err := ReadKeyFile(path, say(word))
		require.NoError(t, err)
		require.Equal(t, k.Seed(), got.Seed())
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, string(text), k.Public().String())
		require.Equal(t, word == "", strings.Contains(string(text), "Cipher: none\n"))
		seed := k.Seed()
		require.NotContains(t, string(text), fmt.Sprintf("%x", seed))
	}
}

func TestGeneratedKeysDiffer(t *testing.T) {
	require.NotEqual(t, GenerateKey().Seed(), GenerateKey().Seed())
}

func TestSealingTwiceGivesDifferentFiles(t *testing.T) {
	dir := t.TempDir()
	headers := map[string]bool{}
	find := regexp.MustCompile(`(?m)^(Salt|Nonce): .*$`)
	for _, name := range []string{"a", "b"} {
		path := filepath.Join(dir, name)
		require.NoError(t, WriteKeyFile(path, goldenKey(), []byte("word")))
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, header := range find.FindAllString(string(text), -1) {
			headers[header] = true
		}
	}
	require.Len(t, headers, 4)
}

func TestKeyFileIsNeverOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	require.NoError(t, WriteKeyFile(path, goldenKey(), nil))
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	require.ErrorIs(t, WriteKeyFile(path, GenerateKey(), nil), os.ErrExist)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.ErrorIs(t, WriteKeyFile(filepath.Join(path+".d", "x"), GenerateKey(), nil),
		os.ErrNotExist)
}

func TestKeyFileOpenToOthersIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	require.NoError(t, WriteKeyFile(path, goldenKey(), nil))
	for bit := os.FileMode(1); bit <= 0o40; bit <<= 1 {
		require.NoError(t, os.Chmod(path, 0o600|bit))
		_, err := ReadKeyFile(path, nil)
		require.ErrorIs(t, err, ErrKeyFilePermissions)
		require.ErrorContains(t, err, "chmod 600 "+path)
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		require.NoError(t, os.Chmod(path, mode))
		_, err := ReadKeyFile(path, nil)
		require.NoError(t, err)
	}
}

func TestPassphraseIsAskedOnlyForSealedFiles(t *testing.T) {
	files := goldenFiles()
	plain, sealed := files["testdata/plain.key"], files["testdata/sealed.key"]
	_, err := openKeyFile(plain, func() ([]byte, error) {
		require.Fail(t, "asked for the passphrase of a plain file")
		return nil, nil
	})
	require.NoError(t, err)
	_, err = openKeyFile(sealed, nil)
	require.ErrorIs(t, err, ErrPassphraseNeeded)
	none := errors.New("no terminal")
	_, err = openKeyFile(sealed, func() ([]byte, error) { return nil, none })
	require.ErrorIs(t, err, none)
	for _, word := range []string{"", "correct hors", "Correct horse"} {
		_, err = openKeyFile(sealed, say(word))
		require.ErrorIs(t, err, ErrWrongPassphrase)
	}
}

// The passphrase is right, so only the damage can be what is found.
func TestDamagedKeyFileIsRefused(t *testing.T) {
	for name, text := range goldenFiles() {
		refused := func(damaged []byte, what string, at int) {
			k, err := openKeyFile(damaged, say("correct horse"))
			require.ErrorIs(t, err, ErrKeyFileDamaged, "%s, %s %d", name, what, at)
			require.True(t, k.IsZero())
		}
		for i := range text {
			flipped := bytes.Clone(text)
			flipped[i] ^= 1
			refused(flipped, "flip", i)
			refused(text[:i], "cut", i)
			refused(append(bytes.Clone(text[:i]), text[i+1:]...), "hole", i)
		}
		refused(append(bytes.Clone(text), '\n'), "longer", 1)
		refused(append([]byte("\n"), text...), "longer", 2)
		refused(append(bytes.Clone(text), text...), "twice", 2)
		refused(bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), "line ends", 0)
	}
}

// remade is a file whose checksum fits its changed contents.
func remade(change func(*keyFile)) []byte {
	seed := goldenKey().Seed()
	f := keyFile{
		public: goldenKey().Public(),
		sealed: true,
		argon:  argonCost{passes: 1, memory: 8, threads: 1},
		body:   append(seed[:], make([]byte, 16)...),
	}
	change(&f)
	return f.encode()
}

func TestKeyFileWithWrongContentsIsRefused(t *testing.T) {
	cases := []struct {
		name   string
		change func(*keyFile)
		want   error
	}{
		{"fine but for the seal", func(*keyFile) {}, ErrWrongPassphrase},
		{"no passes", func(f *keyFile) { f.argon.passes = 0 }, ErrKeyFileDamaged},
		{"many passes", func(f *keyFile) { f.argon.passes = 33 }, ErrKeyFileDamaged},
		{"no memory", func(f *keyFile) { f.argon.memory = 0 }, ErrKeyFileDamaged},
		{"all memory", func(f *keyFile) { f.argon.memory = 1<<20 + 1 }, ErrKeyFileDamaged},
		{"no threads", func(f *keyFile) { f.argon.threads = 0 }, ErrKeyFileDamaged},
		{"many threads", func(f *keyFile) { f.argon.threads = 65 }, ErrKeyFileDamaged},
		{"short body", func(f *keyFile) { f.body = f.body[1:] }, ErrKeyFileDamaged},
		{"long plain body", func(f *keyFile) { f.sealed = false }, ErrKeyFileDamaged},
		{"another seed", func(f *keyFile) {
			f.sealed, f.body = false, make([]byte, 32)
		}, ErrKeyFileDamaged},
		{"key of another", func(f *keyFile) {
			*f = keyFile{public: GenerateKey().Public(), body: f.body[:32]}
		}, ErrKeyFileDamaged},
	}
	for _, c := range cases {
		_, err := openKeyFile(remade(c.change), say("word"))
		require.ErrorIs(t, err, c.want, c.name)
	}
	text := string(plainKeyFile(goldenKey()))
	for _, other := range []string{
		strings.Replace(text, "Version: 1", "Version: 2", 1),
		strings.ReplaceAll(text, "TANGAROA", "SOMEBODY"),
		strings.Replace(text, "Cipher: none", "Cipher: rot13", 1),
	} {
		_, err := openKeyFile([]byte(other), nil)
		require.ErrorIs(t, err, ErrKeyFileDamaged)
	}
}

func TestReadKeyFileRefusesOtherFiles(t *testing.T) {
	dir := t.TempDir()
	_, err := ReadKeyFile(filepath.Join(dir, "missing"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = ReadKeyFile(dir, nil)
	require.ErrorIs(t, err, ErrKeyFileDamaged)
	long := filepath.Join(dir, "long")
	require.NoError(t, os.WriteFile(long, make([]byte, maxKeyFile+1), 0o600))
	_, err = ReadKeyFile(long, nil)
	require.ErrorIs(t, err, ErrKeyFileDamaged)
	require.ErrorContains(t, err, "longer")
}

func FuzzKeyFile(f *testing.F) {
	for _, text := range goldenFiles() {
		f.Add(text)
	}
	f.Add(remade(func(*keyFile) {}))
	f.Add([]byte("-----BEGIN TANGAROA PRIVATE KEY-----\n-----END TANGAROA PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := decodeKeyFile(text)
		if err != nil {
			require.ErrorIs(t, err, ErrKeyFileDamaged)
			return
		}
		require.Equal(t, string(text), string(file.encode()))
		require.LessOrEqual(t, file.argon.memory, uint32(maxArgonMemory))
		require.LessOrEqual(t, file.argon.passes, uint32(maxArgonTime))
	})
}

func TestDirectoryThatCannotBeFlushedIsAnError(t *testing.T) {
	require.NoError(t, syncDirectory(t.TempDir()))
	require.ErrorIs(t, syncDirectory(os.DevNull), syscall.EINVAL)
	require.ErrorIs(t, syncDirectory(filepath.Join(t.TempDir(), "gone")), os.ErrNotExist)
}

// TestCostsOfManyDigitsAreReadBack: a file made with other costs than today's stays readable.
func TestCostsOfManyDigitsAreReadBack(t *testing.T) {
	want := keyFile{
		public: goldenKey().Public(), sealed: true, body: make([]byte, 48),
		argon: argonCost{passes: maxArgonTime, memory: maxArgonMemory, threads: maxArgonThreads},
	}
	got, err := decodeKeyFile(want.encode())
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, beyond := range []argonCost{
		{maxArgonTime + 1, 1, 1}, {1, maxArgonMemory + 1, 1}, {1, 1, maxArgonThreads + 1},
		{0, 1, 1}, {1, 0, 1}, {1, 1, 0},
	} {
		want.argon = beyond
		_, err = decodeKeyFile(want.encode())
		require.ErrorIs(t, err, ErrKeyFileDamaged, "%v", beyond)
	}
}

// TestWrittenKeyFileHasNoDirtyPage maps the file to see its pages: the kernel keeps them for who
// reads the file, so nothing else shows a missing flush.
func TestWrittenKeyFileHasNoDirtyPage(t *testing.T) {
	const tmpfsMagic = 0x01021994
	dir := t.TempDir()
	var fs syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &fs))
	_, err := os.Stat("/proc/self/smaps")
	if fs.Type == tmpfsMagic || err != nil {
		notdone.Skip(t, "TMPDIR is in memory, or the kernel does not show pages")
	}
	dirty := func(name string, write func(path string)) string {
		path := filepath.Join(dir, name)
		write(path)
		f, err := os.Open(path)
		require.NoError(t, err)
		defer func() { require.NoError(t, f.Close()) }()
		b, err := syscall.Mmap(int(f.Fd()), 0, 100, syscall.PROT_READ, syscall.MAP_SHARED)
		require.NoError(t, err)
		defer func() { require.NoError(t, syscall.Munmap(b)) }()
		require.NotZero(t, b[0], "the page is in memory")
		smaps, err := os.ReadFile("/proc/self/smaps")
		require.NoError(t, err)
		_, mine, found := strings.Cut(string(smaps), path)
		require.True(t, found)
		mine, _, _ = strings.Cut(mine, "VmFlags")
		return regexp.MustCompile(`(?m)^(Shared|Private)_Dirty: +[1-9].*$`).FindString(mine)
	}
	require.Empty(t, dirty("node.key", func(path string) {
		require.NoError(t, WriteKeyFile(path, goldenKey(), nil))
	}))
	if dirty("control", func(path string) {
		require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte{1}, 200), 0o600))
	}) == "" {
		t.Log("the control was flushed already: a file system that writes through")
	}
}
