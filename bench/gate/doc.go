// Package gate counts what our protocol does in fixed workloads: messages, bytes, signatures made
// and verified, flushes and allocations per operation. Its one job is to notice when a change makes
// the protocol do more, which times on a shared machine cannot show.
//
// # Contract
//
// Replicas with their verifiers stand in a world without threads and clock: what is sent arrives at
// once and in order, a node takes in all that waits for it before it flushes, and ticks pass only
// when nothing is under way. So every count but that of allocations is the same in each run, on
// each machine.
//
// # Threads
//
// A World belongs to one goroutine.
package gate
