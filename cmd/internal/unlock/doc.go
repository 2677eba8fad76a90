// Package unlock finds the unlock key of a key file that is locked, and makes new ones.
//
// # Contract
//
// The first source that is there counts: a file, the environment, a credential that systemd hands
// over, a socket at which somebody brings the key, a terminal at which somebody types it. A key
// from a socket or a terminal may be wrong and is asked for again; one from elsewhere may not.
// Nothing here is written to the disk but what WriteNew is told to.
//
// # Threads
//
// One goroutine uses a Sources.
package unlock
