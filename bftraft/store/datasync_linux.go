package store

import (
	"os"
	"syscall"
)

// datasync flushes what was written to f, without the times of the file.
func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return err
		}
	}
}
