// Package store keeps what a node must never forget: its hard state, its chain of blocks, the
// commit certificates and the evidence. Badger is the store on disk, Memory the one of the
// simulator, and package storetest the suite that both pass.
//
// # Layout
//
// A store is a directory of its own, made by Create and by nothing else:
//
//	DIR/store/  Badger's files
//	DIR/guard   two slots of 4 KiB: who the node is, and what it may have signed
//
// Open never makes anything. A directory that is missing under an existing key is therefore
// refused, and so is one that lacks either part: a node that starts with nothing in place of what
// it had would sign against its own word. Making a store anew under an old key is a decision of
// the operator, who thereby takes the node for faulty.
//
// # The guard
//
// Badger opens happily after losing synced records to one flipped bit in its write-ahead log, or
// after its MANIFEST is gone. So every synced Save ends with a write of the guard: the number of
// the batch, term, vote, lock, mark, the end of the chain and the digest of the state record that
// went into the batch. The batch is durable first, then the guard, then Save returns, and only
// then may anything be signed. At the start the store must be at least where the guard is. Slots
// take turns, so a torn write spoils only the one that was being written, and its batch is durable.
// Both slots spoiled, or a store behind its guard, mean that the node must not sign: MustNotSign
// tells such errors from those that pass, like a full disk or a second process.
//
// What the guard cannot see is the whole directory put back to an earlier day. Peers can.
//
// # Records in Badger
//
// Each key ends in the number of the batch that wrote it; nothing is ever overwritten but the
// state record, which is written last and alone decides which batches count. So a batch may take
// several of Badger's transactions, which are small in a small memory profile, and yet is atomic.
// Records carry a checksum keyed by the store's instance; blocks are checked against their chain
// hash whenever they are read, and all of them are when the store is loaded. Values stay below
// Badger's threshold for its value log, whose failures it only logs.
//
// # Threads
//
// A store belongs to one goroutine. Err may be called from any.
package store
