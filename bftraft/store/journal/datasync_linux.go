package journal

import (
	"os"
	"syscall"
)

// Datasync flushes what was written to f, without the times of the file.
func Datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return err
		}
	}
}
