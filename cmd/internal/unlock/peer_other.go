//go:build !linux

package unlock

import "net"

// trusted relies on the permissions of the socket where the other side cannot be asked for.
func trusted(*net.UnixConn) bool { return true }
