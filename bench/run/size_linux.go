package run

import (
	"io/fs"
	"syscall"
)

// blockBytes is the unit of Stat_t.Blocks.
const blockBytes = 512

func onDisk(info fs.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * blockBytes
	}
	return info.Size()
}
