// Package adversary makes members that lie, to show that a cluster stands it. A liar is wrapped
// round an honest core from outside: it sees what the core sees, changes what it says, and signs
// with its own key only. Honest code does not know it. Each attack has a file that opens with its
// three sentences: what it does, what a naive protocol would lose, and which Drop or evidence must
// rise where it is met.
//
// # Contract
//
// Deterministic, like what it is wrapped around. It may run only in a cluster whose genesis says
// that it is a testnet; that is for the caller to check.
//
// # Threads
//
// A Liar belongs to the goroutine that owns the replica.
package adversary
