//go:build !linux

package store

import "os"

// beginWriting is known to Linux alone.
func beginWriting(*os.File, int64, int64) error { return nil }
