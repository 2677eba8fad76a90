package bftraft

import (
	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// The names of the layers below, so that readers of the protocol meet one vocabulary.
type (
	// Term is the reign of at most one leader, from 1.
	Term = quorumcert.Term
	// Index is the position of an entry in the log, from 1.
	Index = quorumcert.Index
	// NodeID names a voter, 1 to 64.
	NodeID = crypto.NodeID
	// Digest is a SHA-256 hash.
	Digest = crypto.Digest
	// Set is a set of voters.
	Set = quorumcert.Set
	// Lock is a certified position: term, index, hash.
	Lock = quorumcert.Lock
)

// Limits that every node must share, because what may stand in a block depends on them (B2), or
// because they bound what a peer can make this node hold.
const (
	// MaxOpBytes is the largest operation in a request: a value of 1 MiB and what surrounds it.
	MaxOpBytes = 1<<20 + 16<<10
	// MaxRequestOps is the largest number of operations under one client signature.
	MaxRequestOps = 4096
	// MaxRequestBytes is the largest encoded request.
	MaxRequestBytes = 2 << 20
	// MaxBlockEntries is the largest number of entries in a block.
	MaxBlockEntries = 4096
	// MaxBlockBytes is the largest encoded block; one largest request always fits.
	MaxBlockBytes = 4 << 20
	// MaxFrameBytes is the largest message between nodes.
	MaxFrameBytes = 8 << 20
)

// Position names a whole prefix of the log: Index is the last index of a block, Hash the chain
// hash there.
type Position struct {
	Index Index
	Hash  Digest
}

// EntryKind says what an entry holds.
type EntryKind uint8

// The kinds of entries. Values are part of the block hash and never change.
const (
	EntryRequest       EntryKind = 1 // a client's signed Request
	EntryConfiguration EntryKind = 2 // a Request whose change comes into force (J1)
	EntryCommit        EntryKind = 3 // the commit certificate of a configuration entry (J1)
	EntryEvidence      EntryKind = 4 // a proof against a voter: see EvidenceEntry
	EntryClosing       EntryKind = 5 // lets the incoming voters take over; it has no data (J2)
)

// Entry is one place of the log. Data must not be changed.
type Entry struct {
	Kind EntryKind
	Data []byte
}

// Digest returns the leaf of the entry in its block's Merkle tree.
func (e Entry) Digest() Digest {
	return crypto.Hash(crypto.DomainEntry, []byte{byte(e.Kind)}, e.Data)
}

// Block is a run of entries that are proposed, hashed, acked and committed together and keep
// their ends for ever (B1). It is immutable; NewBlock and DecodeBlock are the ways to make one.
type Block struct {
	header   quorumcert.Header
	hash     Digest
	entries  []Entry
	raw      []byte
	checked  checkState
	judgedBy *Membership // by what that was found; nil if the block was made here
}

type checkState uint8

const (
	unchecked checkState = iota
	entriesValid
	entriesInvalid
	entriesElsewhere // the block belongs before or behind a change that is not known
)

// NewBlock returns the block of entries (at least one) that follows position prev.
func NewBlock(prev Position, entries []Entry) *Block {
	if len(entries) == 0 {
		panic("bftraft: a block needs an entry")
	}
	b := &Block{entries: entries}
	b.header.Prev, b.header.First = prev.Hash, prev.Index+1
	b.seal()
	b.raw = b.encode()
	b.checked = entriesValid
	return b
}

// EndsChange says whether the last entry is a change of the configuration.
func (b *Block) EndsChange() bool {
	return b.entries[len(b.entries)-1].Kind == EntryConfiguration || b.Closes()
}

// Closes says whether the last entry closes a joint configuration.
func (b *Block) Closes() bool { return b.entries[len(b.entries)-1].Kind == EntryClosing }

// seal fills in what follows from the entries and the place.
func (b *Block) seal() {
	leaves := make([]Digest, len(b.entries))
	for i, e := range b.entries {
		if !mutant.On(mutant.M120) {
			leaves[i] = e.Digest()
		}
	}
	b.header.Last = b.header.First + Index(len(b.entries)) - 1
	b.header.Root = crypto.MerkleRoot(leaves)
	b.hash = b.header.Hash()
}

// Header returns what the block's hash covers.
func (b *Block) Header() quorumcert.Header { return b.header }

// First returns the index of the first entry.
func (b *Block) First() Index { return b.header.First }

// Last returns the index of the last entry.
func (b *Block) Last() Index { return b.header.Last }

// Hash returns the chain hash at the block's end.
func (b *Block) Hash() Digest { return b.hash }

// Entries returns the entries. The caller must not change them.
func (b *Block) Entries() []Entry { return b.entries }

// Raw returns the encoding. The caller must not change it.
func (b *Block) Raw() []byte { return b.raw }

// End returns the position at the block's end.
func (b *Block) End() Position { return Position{b.header.Last, b.hash} }

// Before returns the position the block follows.
func (b *Block) Before() Position { return Position{b.header.First - 1, b.header.Prev} }

// Class says which of a peer's streams a message takes, so that bulk never delays consensus.
type Class uint8

// The classes of messages between nodes.
const (
	ClassConsensus Class = iota
	ClassBulk
)

// Outbound is a message on its way to a set of peers; it is encoded once.
type Outbound struct {
	To    Set
	Class Class
	Msg   Message
}

// VoteRecord is the vote a node gave in its current term; Candidate 0 means none.
type VoteRecord struct {
	Candidate NodeID
	Lock      Lock
}

// HardState is what a node must never forget, besides its log (docs/PROTOCOL.md, section 1).
type HardState struct {
	Term Term
	// Vote is the vote in Term.
	Vote VoteRecord
	// Lock is the node's lock and LockQC its certificate, nil for the genesis lock.
	Lock   Lock
	LockQC *quorumcert.QC
	// Mark is the highest position acked in term Mark.Term, N2.
	Mark Lock
	// Proof shows others why Term is what it is; empty in term 1.
	Proof TermProof
	// Forgot says that this node was shown what it signed and does not know of: it must sign
	// nothing any more (J7).
	Forgot bool
}

// After returns what a node keeps that learns of a commit certificate: it moves to its term, if
// that is higher (E2).
func (h HardState) After(cc *quorumcert.Commit) HardState {
	if cc.Term > h.Term {
		h.Term, h.Vote, h.Proof = cc.Term, VoteRecord{}, TermProof{Commit: cc}
	}
	return h
}

// TermProof shows why a node is in its term: at least one of its fields does. EC and QC are of
// that very term, TC of the one before, Commit of that very term.
type TermProof struct {
	TC     *quorumcert.TC
	EC     *quorumcert.EC
	BaseQC *quorumcert.QC // certifies EC's base; nil when the base is the genesis
	QC     *quorumcert.QC
	Commit *quorumcert.Commit
}

// Ready is what a Core wants done. The order of the fields is the order of the work.
type Ready struct {
	// 1. Make durable, in one atomic step. HardState is nil when it has not changed. Blocks
	// beyond Truncate, where Truncated is set, go before Blocks are appended. Commits, Evidence
	// and Changes ride along, and so does Ended, where HardState has a new term: what was known of
	// the one that was left. MustSync says whether anything in Messages depends on this step.
	HardState *HardState
	Truncated bool
	Truncate  Index
	Blocks    []*Block
	Commits   []*quorumcert.Commit
	Evidence  []quorumcert.Evidence
	Changes   []*ChangeProof
	Ended     *TermEnd
	MustSync  bool

	// Accused says that Evidence, now or in what was restored, proves this node itself faulty: it
	// should stop signing for good, once this is durable.
	Accused bool
	// Forgot says the same of HardState.Forgot.
	Forgot bool

	// Stable are the checkpoints that were found to be certified: the newest, and one that was wanted
	// (K1).
	Stable []*quorumcert.Stable

	// 2. Send.
	Messages []Outbound

	// 3. Apply: committed blocks in log order, each exactly once since the start.
	Committed []*Block
}

// Restored is what a node's storage held when it was opened.
type Restored struct {
	HardState HardState
	// Base is where the durable chain begins: behind the genesis for the zero value, or behind this
	// block's end, where what came before it was dropped for a snapshot.
	Base Position
	// Tip is the end of the durable chain.
	Tip Position
	// Commit is the newest commit certificate, nil for none.
	Commit *quorumcert.Commit
	// Evidence is all that was stored, and Changes all of these, oldest first.
	Evidence []quorumcert.Evidence
	Changes  []*ChangeProof
}

// Reader gives a Core the part of its durable chain that it does not keep in memory. It must
// show everything that an earlier Ready asked to be made durable.
type Reader interface {
	// Block returns the block that covers index i.
	Block(i Index) (*Block, bool)
	// Commit returns the stored commit certificate of the lowest index at or above i.
	Commit(i Index) (*quorumcert.Commit, bool)
}

// SnapshotInfo describes a finished snapshot of the replicated state.
type SnapshotInfo struct {
	// At is the end of the last block that the state holds.
	At Position
	// Chunks is how many there are, numbered from 0, and Bytes what they hold together.
	Chunks int
	Bytes  int64
	// Proof is what shows others that the state is right. It must not be changed.
	Proof []byte
}
