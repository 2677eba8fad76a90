//go:build linux

package processes

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
	"tangaroa/internal/notdone"
)

// mount puts a small file system in memory on a new folder.
func mount(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("tangaroa", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "size="+size)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		notdone.Skip(t, "only root may mount the small file system that this test fills")
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

// free returns how many bytes can still be written to a file system.
func free(t *testing.T, dir string) int {
	t.Helper()
	var fs syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &fs))
	return int(fs.Bavail) * int(fs.Bsize)
}

func TestNodeWithAFullDiskStopsSigning(t *testing.T) {
	t.Parallel()
	const victim = crypto.NodeID(3)
	disk := mount(t, "256m")
	c := newCluster(t, 1)
	data := filepath.Join(disk, dataName)
	require.NoError(t, os.CopyFS(data, os.DirFS(c.path("node3", dataName))))
	place := []string{"--data", data}
	for _, id := range c.but(victim) {
		c.start(id)
	}
	c.start(victim, place...)
	c.awaitReady(c.all()...)
	w := c.user(1).write(t, "w")
	w.more(20)
	// Somebody else fills the disk but for 1 MiB, with what does not compress.
	full := filepath.Join(disk, "full")
	require.NoError(t, os.WriteFile(full, garbage(free(t, disk)-1<<20), 0o600))
	require.Equal(t, 1, c.nodes[victim].wait(), "it ends with an error, not by a signal")
	w.more(50) // the others go on
	said, err := os.ReadFile(c.nodes[victim].log)
	require.NoError(t, err)
	require.Contains(t, string(said), "storage failed, so this node signs nothing more")
	require.Contains(t, string(said), "too little space on the disk")
	c.requireNobodySees(victim)

	require.NoError(t, os.Remove(full))
	c.start(victim, place...)
	w.more(10)
	c.awaitReady(victim)
	c.awaitCommit(victim, c.commit(c.but(victim)...))
	w.check()
	c.user(1).awaitSame(t, c.all()...)
}

func TestNodeOnADiskTooSmallDoesNotSign(t *testing.T) {
	t.Parallel()
	const victim = crypto.NodeID(3)
	disk := mount(t, "16m")
	c := newCluster(t, 1)
	data := filepath.Join(disk, dataName)
	require.NoError(t, os.CopyFS(data, os.DirFS(c.path("node3", dataName))))
	for _, id := range c.but(victim) {
		c.start(id)
	}
	p := c.start(victim, "--data", data)
	c.awaitReady(c.but(victim)...)
	w := c.user(1).write(t, "w")
	require.Equal(t, 1, p.wait(), "it ends with an error, not by a signal")
	said, err := os.ReadFile(p.log)
	require.NoError(t, err)
	require.Contains(t, string(said), "error:")
	t.Logf("%s", said)
	w.more(50)
	w.check()
}
