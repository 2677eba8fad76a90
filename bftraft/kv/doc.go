// Package kv is the reference state machine: a versioned key-value store in the
// terms of etcd. Its one job is to turn an ordered list of operations into state
// and results, the same on every replica.
//
// # What it keeps
//
// The store has a revision. It starts at 0 and rises by one with every operation
// that changes something; a transaction is one operation however many keys it
// writes, and an operation that changes nothing leaves it alone. Every key has
// the revision that created it, the revision that last wrote it, and a version
// that counts the writes since its creation. Deleting a key ends that life: the
// next put creates it anew, with version 1.
//
// What a key held at earlier revisions stays readable, and what happened stays
// watchable, until an ordered Compact gives it up, or the number of revisions that
// NewRetaining was told to keep: nothing is forgotten by time or by size, because
// replicas must forget the same. After a compaction at R the
// state at R and all later ones can be read, and the events after R watched.
//
// # Contract
//
// Machine is deterministic: state and results depend on the operations in their
// order and on nothing else. The index an operation has in the log plays no part,
// so a log may carry several operations at one index and others in between.
//
// Apply and Query take bytes from clients, who may lie. Bytes that are no
// operation, and operations beyond the limits below, give a result with an error
// code and change nothing. CheckOp tells beforehand which those are, except for
// what depends on the state (CodeCompacted, CodeFutureRevision).
//
// There is one encoding for each value: decoding refuses whatever encoding would
// not have produced. Memory used while decoding is bounded by the input's length.
//
// # Snapshots
//
// Snapshot writes the state in one canonical form. Freeze, NextChunk and Thaw give
// the same bytes bit by bit while operations go on, so that a large state need not
// stop them: nothing is copied beforehand, and what a step takes does not grow with
// the state. A compaction takes effect at once, but frees memory with the operations
// that follow it, and what a snapshot under way has still to write only after that
// snapshot's end. No answer, digest or snapshot depends on it. BeginRestore, RestoreChunk
// and FinishRestore take a snapshot in the same way, as it comes.
//
// # Differences from etcd
//
// Events of one revision are ordered by key, not by their order in the
// transaction: a revision is one atomic change. Transactions do not nest, and a
// compare names one key. Answers are cut into pages (PageBytes), also inside a
// transaction, so that no answer exceeds MaxResultBytes. There are no leases and
// no authorisation.
//
// # Threads
//
// A Machine belongs to one owner. No method may run at the same time as another,
// not even two queries: Digest keeps a cache. That goes for NextChunk too: a snapshot
// is taken between operations, not beside them.
package kv
