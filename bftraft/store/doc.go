// Package store keeps what a node must never forget: its hard state, its chain of blocks, the
// commit certificates, the evidence, and a snapshot of the state that stands for the blocks before
// the chain's base. Badger is the store on disk, Memory the one of the
// simulator, and package storetest the suite that both pass.
//
// # Layout
//
// A store is a directory of its own, made by Create and by nothing else:
//
//	DIR/store/      Badger's files
//	DIR/journal     4 MiB: small batches that Badger has not taken yet
//	DIR/guard       two slots of 4 KiB: who the node is, and what it may have signed
//	DIR/keys        of an encrypted store: its data keys, wrapped by the master key
//	DIR/snapshots/  once there was one: INDEX.snap, with 20 digits, the finished snapshot,
//	                and INDEX.snap.new with INDEX.snap.parts while another is being written
//
// Open never makes anything. A directory that is missing under an existing key is therefore
// refused, and so is one that lacks either part: a node that starts with nothing in place of what
// it had would sign against its own word. Making a store anew under an old key is a decision of
// the operator, who thereby takes the node for faulty.
//
// # The journal
//
// What is small becomes durable in the journal, with one flush of a page or a few that the disk has
// already; see package journal. It waits in memory too, where reads look first, and Badger takes
// all of it as one batch when that is a MiB or 256 items, when more comes at once than a record
// holds, and when the store is closed. The journal then begins anew, behind that batch. So a start
// takes in again what Save was given since the newest batch, and hands it to Badger.
//
// # The guard
//
// Badger opens happily after losing synced records to one flipped bit in its write-ahead log, or
// after its MANIFEST is gone. So every synced batch ends with a write of the guard: the number of
// the batch, term, vote, lock, mark, the end of the chain and the digest of the state record that
// went into the batch. The batch is durable first, then the guard, then Save returns, and only
// then may anything be signed. At the start the store must be at least where the guard is. Slots
// take turns, so a torn write spoils only the one that was being written, and its batch is durable.
// Both slots spoiled, or a store behind its guard, mean that the node must not sign: MustNotSign
// tells such errors from those that pass, like a full disk or a second process.
//
// Behind a record of the journal the guard is written too, and nobody waits for the disk: it then
// counts the records, and its digest is of all of them. The journal can tell damage from a crash by
// itself, which Badger's log cannot. What is left for the guard to see are records that were put
// back to what stood there before, and it sees them as soon as it is on the disk: within a second
// or two, where the kernel does as it is asked. Notes all go to one slot, so that a power loss
// finds the other whole.
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
// # Snapshots
//
// A snapshot is a file of its own, for it is large, written once, and read in pieces. It is begun
// beside the finished one, filled with chunks, ended with a proof of which the store knows nothing,
// flushed, renamed, and its name flushed; then the older one is removed. So a crash leaves the one
// or the other, and Load takes away what is unfinished or replaced. Each chunk, and the end of the
// file, is sealed like a record, for a place made of whose store it is, the index, a random serial
// number and its own number; the end tells all lengths. So what is cut, changed, exchanged between
// places, files or stores, or mixed, does not open. The kernel is told after each chunk to begin
// writing it, so that little is left for the flush at the end. Load verifies all of a snapshot.
//
// DropLog lets the chain begin behind a block that the snapshot, a commit certificate and the lock
// have reached (K1). The base stands in the state record, so it moves in one step and with the
// guard. From then on nothing below it is read. What is below is deleted in slices of some hundred
// records, and more when more is written, by a goroutine that rests in between, so that nobody
// waits for it; Load takes away what is left. The commit certificate of the base itself stays.
// Badger gives the space back when it next compacts the tables that the deletions reach, which
// takes another ten of its tables in memory: the store is larger than what it holds by what was
// dropped meanwhile, and by 100 to 200 MiB.
//
// InstallSnapshot is the same step for a node that fetched the state of others: its chain becomes
// empty, at the snapshot. A chain that begins at a base does not load without a whole snapshot at
// the base or beyond. An older copy of a snapshot, put back in the place of a newer one, is
// harmless when the log still reaches back to it, and else it is seen by that.
//
// Of the newest terms the store keeps the proof of how they began, and what the node had against
// the term before. No promise depends on these records: they are for who looks into a store later.
// They are written with the hard state of the term, and need no flush of their own.
//
// # Encryption
//
// A store made with CreateEncrypted opens only with its master key, which the caller keeps
// elsewhere. Every value in Badger but the one that says whose store it is, both slots of the
// guard, each record of the journal, and each chunk and the end of a snapshot are sealed with
// XChaCha20-Poly1305: epoch of the data key, random nonce of 24 bytes, what hides the value, proof.
// The key that a record stands under is part of what is proven, so records can be neither changed
// nor exchanged; that an old one is not brought back is what guard and chain are for. The checksums
// of a plain store are thereby replaced. Nonces are random and not counted, as a store that was
// copied or put back would count the same twice.
//
// What stays readable is how much there is, and when it was written: the kinds, indexes and batch
// numbers in the keys of Badger, by which it sorts, the index of a snapshot, the sizes of values
// and chunks, and whose store it is. Badger's own encryption would hide those numbers, but it is
// AES in counter mode, without a proof: who may write the disk may change the bits of his choice.
// It would encrypt everything a second time, with a key registry and a rotation of its own that can
// fail. So it stays off, and whoever adds a kind of record must not put anything into its key that
// is not a number of ours.
//
// Encrypt makes an encrypted copy of a plain store and exchanges the two directories in one step.
// The file of keys is only ever replaced as a whole. Changing the master key wraps the data keys
// under both, lets the caller install the new one, and forgets the old; changing the data key adds
// one, and may encrypt all records anew. A crash between any two steps leaves a store that opens.
// Errors about the key (ErrNeedsKey, ErrWrongKey, ErrNotEncrypted) come before anything is written.
//
// # Threads
//
// A store belongs to one goroutine. Err may be called from any.
package store
