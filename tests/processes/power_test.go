//go:build linux

package processes

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
	"tangaroa/internal/notdone"
)

// loopDisk is an ext4 file system on an image. What it has not flushed is not in the image.
type loopDisk struct{ image, dir string }

func mountImage(t *testing.T, image string) loopDisk {
	t.Helper()
	d := loopDisk{image, t.TempDir()}
	out, err := exec.Command("mount", "-o", "loop,commit=300", image, d.dir).CombinedOutput()
	if err != nil {
		notdone.Skip(t, "no image can be mounted: %s", bytes.TrimSpace(out))
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(d.dir, syscall.MNT_DETACH)) })
	return d
}

func newLoopDisk(t *testing.T) loopDisk {
	t.Helper()
	tools(t, "mkfs.ext4", "mount", "cp")
	image := filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 1<<30))
	out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return mountImage(t, image)
}

// loss runs a cluster on one disk, takes the power from all nodes at once, and starts them from
// what was on the disk. It returns how many acknowledged writes are lost of how many, or that a
// node must not sign any more.
func loss(t *testing.T, lying bool) (lost, acked int, refused bool) {
	t.Helper()
	disk := newLoopDisk(t)
	c := newCluster(t, 1)
	place := func(d loopDisk, id crypto.NodeID) string {
		return filepath.Join(d.dir, filepath.Base(c.folder(id)))
	}
	for _, id := range c.all() {
		data := filepath.Join(c.folder(id), dataName)
		require.NoError(t, os.CopyFS(place(disk, id), os.DirFS(data)))
	}
	syscall.Sync() // the stores as they were made are on the disk
	for _, id := range c.all() {
		if lying {
			c.startInjected(id, syncs+":retval=0", "--data", place(disk, id))
		} else {
			c.start(id, "--data", place(disk, id))
		}
	}
	c.awaitReady(c.all()...)
	w := c.user(1).write(t, "w")
	w.more(150)
	for _, id := range c.all() {
		if lying {
			c.nodes[id].killTraced()
		} else {
			c.nodes[id].kill()
		}
	}
	w.end()
	w.mu.Lock()
	acked = w.acked
	w.mu.Unlock()
	after := filepath.Join(t.TempDir(), "after")
	out, err := exec.Command("cp", "--sparse=always", disk.image, after).CombinedOutput()
	require.NoError(t, err, "%s", out)
	disk = mountImage(t, after)
	for _, id := range c.all() {
		got := run(t, "", "bftnode", "inspect", "--dir", c.folder(id), "--data", place(disk, id))
		if lying && got.code == mustNotSign {
			return 0, acked, true
		}
		require.Zero(t, got.code, got.err)
		c.start(id, "--data", place(disk, id))
	}
	c.awaitReady(c.all()...)
	held := c.user(1).list(t, "w/")
	for n := range acked {
		if _, ok := held[w.key(n)]; !ok {
			lost++
		}
	}
	return lost, acked, false
}

func TestPowerLossLosesNothingAcknowledged(t *testing.T) {
	lost, acked, _ := loss(t, false)
	t.Logf("of %d acknowledged writes %d are lost", acked, lost)
	require.Zero(t, lost, "of %d", acked)
}

// TestPowerLossIsSeen is the control: on disks that only say that they have synced, the same must
// lose what was acknowledged.
func TestPowerLossIsSeen(t *testing.T) {
	tools(t, "strace", "setpriv")
	lost, acked, refused := loss(t, true)
	t.Logf("of %d acknowledged writes %d are lost; refused: %v", acked, lost, refused)
	require.True(t, refused || lost > 0, "a power loss that takes nothing tests nothing")
}
