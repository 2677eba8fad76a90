//go:build !linux

package journal

import "os"

// Datasync flushes what was written to f.
func Datasync(f *os.File) error { return f.Sync() }
