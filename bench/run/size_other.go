//go:build !linux

package run

import "io/fs"

func onDisk(info fs.FileInfo) int64 { return info.Size() }
