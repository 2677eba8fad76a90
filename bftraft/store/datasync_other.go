//go:build !linux

package store

import "os"

// datasync flushes what was written to f.
func datasync(f *os.File) error { return f.Sync() }
