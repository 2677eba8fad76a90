package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// beginWriting lets the kernel begin to write a part of f to the disk, without waiting for it, so
// that not all of a large file is left for the flush at its end.
func beginWriting(f *os.File, from, n int64) error {
	for {
		err := unix.SyncFileRange(int(f.Fd()), from, n, unix.SYNC_FILE_RANGE_WRITE)
		switch err {
		case unix.EINTR:
			continue
		case unix.ENOSYS, unix.EINVAL, unix.ESPIPE: // not on every file system
			return nil
		}
		return err
	}
}
