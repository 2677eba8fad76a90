//go:build linux

package processes

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLeakyMemberHasNoPlaintextOfSealedValues seals a value while a member tells all that it hears
// and stores: neither in what it tells nor in any file of any node or of the client is the value.
// One that is not sealed is the control: it is in both.
func TestLeakyMemberHasNoPlaintextOfSealedValues(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	leak := filepath.Join(t.TempDir(), "leak")
	c.start(1, "--adversary", "leaky,to="+leak)
	for _, id := range c.but(1) {
		c.start(id)
	}
	c.awaitReady(c.all()...)
	s := shell{c, t, c.config(1)}
	keys := t.TempDir()
	alice := filepath.Join(keys, "alice")
	s.do(ok, "seal-keygen", alice)

	sealed, open := "sealed-"+rand.Text(), "open-"+rand.Text()
	receipts := c.path("receipts")
	require.NoError(t, os.Mkdir(receipts, 0o700))
	s.do(ok, "put", "key/sealed", sealed, "--seal", alice+".pub",
		"--receipt", filepath.Join(receipts, "sealed"))
	s.do(ok, "put", "key/open", open, "--receipt", filepath.Join(receipts, "open"))
	s.do(ok, "cas", "key/sealed", sealed, sealed+"2", "-i", alice, "--seal", alice+".pub")
	require.Equal(t, sealed+"2\n", s.do(ok, "get", "key/sealed", "-i", alice))
	require.Equal(t, open+"\n", s.do(ok, "get", "key/open"))
	s.do(ok, "range", "key/")

	for _, id := range c.all() {
		c.nodes[id].signal(syscall.SIGTERM)
		require.Zero(t, c.nodes[id].wait())
	}
	told, err := os.ReadFile(leak)
	require.NoError(t, err)
	var heard bytes.Buffer
	for line := range strings.Lines(string(told)) {
		words := strings.Fields(line)
		frame, err := hex.DecodeString(words[len(words)-1])
		require.NoError(t, err)
		heard.Write(frame)
	}
	require.Contains(t, heard.String(), open, "the control")
	require.NotContains(t, heard.String(), sealed)
	require.Contains(t, heard.String(), "key/sealed", "keys are not sealed")
	with, without := c.filesWith(open), c.filesWith(sealed)
	require.GreaterOrEqual(t, len(with), len(c.all()), "the control: %v", with)
	require.Empty(t, without)
}

// filesWith lists the cluster's files that contain a text.
func (c *cluster) filesWith(text string) (paths []string) {
	c.t.Helper()
	err := filepath.WalkDir(c.path(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			paths = append(paths, path)
		}
		return err
	})
	require.NoError(c.t, err)
	return paths
}
