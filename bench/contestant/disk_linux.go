package contestant

import (
	"fmt"
	"syscall"
)

// The magic numbers of file systems in memory, as in statfs(2).
const (
	tmpfsMagic = 0x01021994
	ramfsMagic = 0x858458f6
)

// realDisk refuses a directory in memory, where a flush costs nothing.
func realDisk(dir string) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("ask for the file system of %s: %w", dir, err)
	}
	if kind := uint32(fs.Type); kind == tmpfsMagic || kind == ramfsMagic {
		return fmt.Errorf("%s is in memory, so nothing would be durable: choose another with --data",
			dir)
	}
	return nil
}
