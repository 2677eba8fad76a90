//go:build !linux

package store

import "errors"

// exchange is known to Linux alone.
func exchange(string, string) error { return errors.ErrUnsupported }
