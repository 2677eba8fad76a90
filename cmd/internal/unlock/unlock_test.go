package unlock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tangaroa/crypto"
	"tangaroa/internal/notdone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// locked makes a key file that opens with the word, and a file with that word in it.
func locked(t *testing.T, word string) (path, wordFile string) {
	t.Helper()
	dir := t.TempDir()
	path, wordFile = filepath.Join(dir, "key"), filepath.Join(dir, "word")
	require.NoError(t, crypto.WriteKeyFile(path, crypto.GenerateKey(), []byte(word)))
	require.NoError(t, os.WriteFile(wordFile, []byte("from a file\r\n"), 0o600))
	return path, wordFile
}

// TestFirstSourceThereIsCounts takes them away one by one.
func TestFirstSourceThereIsCounts(t *testing.T) {
	path, file := locked(t, "x")
	credentials := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(credentials, CredentialName),
		[]byte("from systemd\n"), 0o600))
	s := &Sources{File: file, Text: "from the environment", Credentials: credentials}
	tried := func() (got string) {
		err := s.Try(t.Context(), path, func(key []byte) error {
			got = string(key)
			return nil
		})
		require.NoError(t, err)
		return got
	}
	require.Equal(t, "from a file", tried())
	s.File = ""
	require.Equal(t, "from the environment", tried())
	s.Text = ""
	require.Equal(t, "from systemd", tried())
	s.Credentials = t.TempDir()
	never := func([]byte) error { return errors.New("tried a key that was not given") }
	require.ErrorIs(t, s.Try(t.Context(), path, never), ErrNone, "other credentials, no terminal")
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer null.Close()
	s.Terminal = null
	require.ErrorIs(t, s.Try(t.Context(), path, never), ErrNone)
	s.File = file + "none"
	require.ErrorIs(t, s.Try(t.Context(), path, never), os.ErrNotExist, "a file that is named counts")
	require.NoError(t, os.WriteFile(file, []byte("\n"), 0o600))
	s.File = file
	require.ErrorIs(t, s.Try(t.Context(), path, never), ErrEmpty)
}

func TestKeyFileThatIsNotLockedNeedsNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	want := crypto.GenerateKey()
	require.NoError(t, crypto.WriteKeyFile(path, want, nil))
	got, err := (&Sources{File: "nowhere"}).Open(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, want.Seed(), got.Signing.Seed())
	_, err = (&Sources{}).Open(t.Context(), path+"x")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// waiting opens a locked file with a key from a socket, and returns how that ends.
func waiting(t *testing.T, ctx context.Context, path, socket string) (ended chan error) {
	t.Helper()
	told, tell := io.Pipe()
	s := &Sources{Socket: socket, Prompt: tell}
	ended = make(chan error, 1)
	go func() {
		k, err := s.Open(ctx, path)
		if err == nil && k.Signing.IsZero() {
			err = errors.New("opened without a key")
		}
		_ = tell.Close()
		ended <- err
	}()
	line := make([]byte, 1000)
	n, err := told.Read(line)
	require.NoError(t, err)
	require.Contains(t, string(line[:n]), socket)
	go func() { _, _ = io.Copy(io.Discard, told) }()
	return ended
}

func TestKeyIsBroughtThroughASocket(t *testing.T) {
	path, _ := locked(t, "right")
	socket := filepath.Join(t.TempDir(), "s")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	require.NoError(t, err)
	stale.SetUnlinkOnClose(false)
	require.NoError(t, stale.Close())
	require.FileExists(t, socket, "what a killed process leaves")

	ended := waiting(t, t.Context(), path, socket)
	info, err := os.Stat(socket)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	_, err = (&Sources{Socket: socket, Prompt: io.Discard}).Open(t.Context(), path)
	require.ErrorContains(t, err, "another process waits")
	visitor, err := net.Dial("unix", socket)
	require.NoError(t, err)
	require.NoError(t, visitor.Close())
	require.ErrorIs(t, Send(t.Context(), socket, []byte("wrong")), ErrRefused)
	require.NoError(t, Send(t.Context(), socket, []byte("right")))
	require.NoError(t, <-ended)
	require.NoFileExists(t, socket)
	require.ErrorIs(t, Send(t.Context(), socket, []byte("right")), os.ErrNotExist)
}

func TestNodeThatIsStoppedWaitsNoMore(t *testing.T) {
	path, _ := locked(t, "right")
	ctx, stop := context.WithCancel(t.Context())
	ended := waiting(t, ctx, path, filepath.Join(t.TempDir(), "s"))
	stop()
	require.ErrorIs(t, <-ended, context.Canceled)
}

// terminal returns the two ends of one.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		notdone.Skip(t, "there is no /dev/ptmx")
	}
	t.Cleanup(func() { _ = person.Close() })
	var zero, number int32
	for request, arg := range map[uintptr]*int32{
		syscall.TIOCSPTLCK: &zero, syscall.TIOCGPTN: &number,
	} {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, person.Fd(), request,
			uintptr(unsafe.Pointer(arg)))
		require.Zero(t, errno)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		notdone.Skip(t, "there is no /dev/pts")
	}
	t.Cleanup(func() { _ = program.Close() })
	return person, program
}

// typist types a line whenever it is prompted, and keeps what was said to it.
type typist struct {
	mu    sync.Mutex
	said  bytes.Buffer
	lines []string
	to    *os.File
}

func (p *typist) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said.Write(b)
	if strings.HasPrefix(string(b), "Unlock key of ") && len(p.lines) > 0 {
		_, err := p.to.WriteString(p.lines[0] + "\n")
		p.lines = p.lines[1:]
		return len(b), err
	}
	return len(b), nil
}

func TestPersonMayMistypeTwice(t *testing.T) {
	path, _ := locked(t, "right")
	for _, test := range []struct {
		lines []string
		want  error
	}{
		{[]string{"right"}, nil},
		{[]string{"wrong", "Right", "right"}, nil},
		{[]string{"wrong", "wrong", "wrong", "right"}, crypto.ErrWrongPassphrase},
	} {
		person, program := terminal(t)
		typed := &typist{lines: test.lines, to: person}
		_, err := (&Sources{Terminal: program, Prompt: typed}).Open(t.Context(), path)
		require.ErrorIs(t, err, test.want)
		require.NotContains(t, typed.said.String(), "right", "the key is shown")
		require.Contains(t, typed.said.String(), path)
	}
}

func TestNewKeysDifferAndAreKeptForTheirOwner(t *testing.T) {
	a, b := NewKey(), NewKey()
	require.NotEqual(t, a, b)
	require.Len(t, a, len(prefix)+52)
	path := filepath.Join(t.TempDir(), "k")
	require.NoError(t, WriteNew(path, a))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	got, err := ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, a, got)
	require.ErrorIs(t, WriteNew(path, b), os.ErrExist)
}
