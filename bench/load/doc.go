// Package load drives a replicated key-value store as fast as it goes and measures it. Its one job
// is to do the same to every contestant, and to say what it cost.
//
// # Contract
//
// The load is a closed loop: so many operations are outstanding, each worker begins one when its
// last has ended. After a warm-up, what ends within the measured time counts. Any operation that
// fails, or a read that returns what nobody wrote, is in Result.Errors, and makes the run void.
//
// What the process used is read from the kernel around the measured time: the nodes and the client
// are in one process for every contestant, so it is the whole price.
package load
