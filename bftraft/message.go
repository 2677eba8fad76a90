package bftraft

import (
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// Message is one of the messages between nodes. Each is signed: those that must convince third
// parties carry signed statements, the others are signed as a whole by their sender. The table is
// in docs/PROTOCOL.md.
type Message interface {
	kind() messageKind
	// appendTo appends the body: all that follows the kind.
	appendTo(b []byte) []byte
}

type messageKind uint8

// The kinds. Values are part of the wire form and never change.
const (
	kindAppend         messageKind = 1
	kindAck            messageKind = 2
	kindSuspect        messageKind = 3
	kindRequestVote    messageKind = 4
	kindVote           messageKind = 5
	kindProof          messageKind = 6
	kindStatus         messageKind = 7
	kindResign         messageKind = 8
	kindFetchChain     messageKind = 9
	kindChain          messageKind = 10
	kindFetchCommitted messageKind = 11
	kindCommitted      messageKind = 12
	kindEvidence       messageKind = 13
	kindCheckpoint     messageKind = 14
	kindStable         messageKind = 15
	kindFetchState     messageKind = 16
	kindStatePart      messageKind = 17
	kindChanges        messageKind = 18
	kindReminder       messageKind = 19
)

// AppendEntries is the leader's proposal: blocks that follow each other, and the leader's own ack
// for the end of the last (N1). Without blocks it proposes the end of the log as it is. The ack
// covers the blocks by their hash. Election and BaseQC come with the first one to each node.
type AppendEntries struct {
	Blocks   []*Block
	Ack      quorumcert.SignedAck
	Election *quorumcert.EC
	BaseQC   *quorumcert.QC
}

// AppendEntriesResponse is a voter's ack, broadcast (N2).
type AppendEntriesResponse struct {
	Ack quorumcert.SignedAck
}

// Suspect wants a term to end (E1).
type Suspect struct {
	Term   Term
	Signer NodeID
	Sig    crypto.Signature
}

// RequestVote asks for votes in Term and shows the candidate's lock with its certificate (E4), and
// TC, the timeout certificate of the term before, except in term 1.
type RequestVote struct {
	signed
	Term   Term
	Lock   Lock
	LockQC *quorumcert.QC
	TC     *quorumcert.TC
}

// RequestVoteResponse is a vote, broadcast so that nobody can vote twice unseen (E4).
type RequestVoteResponse struct {
	Vote quorumcert.SignedVote
}

// Proof hands over certificates: the answer to a message of a lower term, to a candidate whose
// lock is too low, and the content of repair (N6).
type Proof struct {
	signed
	TermProof
}

// Status says where its sender is. It is the heartbeat, and the answer of a follower that cannot
// use what the leader sent (A3).
type Status struct {
	signed
	Term   Term
	Leader NodeID // whose election certificate of Term the sender holds, 0 for none
	Tip    Position
	Lock   Lock
	Commit Position
	Acked  Index // the highest index acked in Term
	Base   Index // the sender's log begins behind it; before, it has a state only (K1)
	Behind bool  // asks for the acks and the lock certificate the sender lacks
}

// Resign says that the leader of Term wants to be replaced (E1e).
type Resign struct {
	signed
	Term Term
}

// FetchChain asks for the blocks that end at Target, as many as fit, back to Above.
type FetchChain struct {
	signed
	Target Position
	Above  Index
}

// Chain answers FetchChain: blocks that follow each other, the last of which ends at the target,
// and the leader's ack for the target if the sender holds it, so that the receiver can ack the
// block as if the leader had sent it (N6).
type Chain struct {
	signed
	Blocks    []*Block
	LeaderAck *quorumcert.SignedAck
}

// FetchCommitted asks for committed blocks that follow After.
type FetchCommitted struct {
	signed
	After Position
}

// Committed answers FetchCommitted: blocks, the headers that lead from the last of them to the
// committed index, and the commit certificate. LockQC is the sender's lock, for a receiver whose
// own lock lies on a chain that these blocks replace.
type Committed struct {
	signed
	Blocks []*Block
	Bridge []quorumcert.Header
	Commit *quorumcert.Commit
	LockQC *quorumcert.QC
}

// Accusation hands over evidence.
type Accusation struct {
	signed
	Evidence quorumcert.Evidence
}

// Reminder shows its receiver an ack of its own that it does not seem to know of (J7).
type Reminder struct {
	signed
	Ack quorumcert.SignedAck
}

// CheckpointVote says what state executing the log has led its signer to; it is broadcast (K1).
type CheckpointVote struct {
	Checkpoint quorumcert.SignedCheckpoint
}

// StableCheckpoint hands over the certificate of a checkpoint, to who asks for signatures of it or
// of an earlier one.
type StableCheckpoint struct {
	signed
	Stable *quorumcert.Stable
}

// Changes hands over changes of the configuration, oldest first, to who has not committed them.
// They prove themselves, and show it whom to listen to (J5, N6). Beyond, if it is there, proves
// that something is committed beyond the newest: whom that took away is needed no more (J4).
type Changes struct {
	signed
	List   []*ChangeProof
	Beyond *quorumcert.Commit
}

// ManifestPart is the number that asks for the manifest of a state, or comes with it.
const ManifestPart = ^uint32(0)

// FrameStatePart is the first byte of a StatePart, which is no message of a Core's.
const FrameStatePart = byte(kindStatePart)

// FetchState asks for a part of the certified state at index At: chunk Part of its manifest, or the
// manifest itself. Who has no such manifest answers with that of the newest state it has.
type FetchState struct {
	signed
	At   Index
	Part uint32
}

// StatePart answers FetchState. Data is the part as the manifest names it, or the manifest. It is
// empty when the sender has no such part; At is then the state that it does have, 0 for none.
type StatePart struct {
	signed
	At   Index
	Part uint32
	Data []byte
}

// signed is the part of a message that is signed as a whole by its sender.
type signed struct {
	From NodeID
	Sig  crypto.Signature
}

func (m *AppendEntries) kind() messageKind         { return kindAppend }
func (m *AppendEntriesResponse) kind() messageKind { return kindAck }
func (m *Suspect) kind() messageKind               { return kindSuspect }
func (m *RequestVote) kind() messageKind           { return kindRequestVote }
func (m *RequestVoteResponse) kind() messageKind   { return kindVote }
func (m *Proof) kind() messageKind                 { return kindProof }
func (m *Status) kind() messageKind                { return kindStatus }
func (m *Resign) kind() messageKind                { return kindResign }
func (m *FetchChain) kind() messageKind            { return kindFetchChain }
func (m *Chain) kind() messageKind                 { return kindChain }
func (m *FetchCommitted) kind() messageKind        { return kindFetchCommitted }
func (m *Committed) kind() messageKind             { return kindCommitted }
func (m *Accusation) kind() messageKind            { return kindEvidence }
func (m *CheckpointVote) kind() messageKind        { return kindCheckpoint }
func (m *StableCheckpoint) kind() messageKind      { return kindStable }
func (m *FetchState) kind() messageKind            { return kindFetchState }
func (m *StatePart) kind() messageKind             { return kindStatePart }
func (m *Changes) kind() messageKind               { return kindChanges }
func (m *Reminder) kind() messageKind              { return kindReminder }

// envelope gives access to the signature of messages that are signed as a whole.
type envelope interface {
	Message
	envelope() *signed
}

func (s *signed) envelope() *signed { return s }

// Encode returns the frame of a message.
func Encode(m Message) []byte {
	b := m.appendTo([]byte{byte(m.kind())})
	if e, ok := m.(envelope); ok {
		b = append(b, e.envelope().Sig[:]...)
	}
	return b
}

// SignMessage sets sender and signature of a message that is signed as a whole.
func SignMessage(s crypto.Signer, cluster Digest, m Message) {
	e, ok := m.(envelope)
	if !ok {
		panic("bftraft: this message carries a signed statement of its own")
	}
	e.envelope().From = s.ID()
	digest := messageDigest(cluster, m.appendTo([]byte{byte(m.kind())}))
	e.envelope().Sig = s.Sign(crypto.DomainMessage, digest[:])
}

func messageDigest(cluster Digest, unsigned []byte) Digest {
	return crypto.Hash(crypto.DomainMessage, cluster[:], unsigned)
}

// MessageName returns the name of a message's type, for traces and metrics.
func MessageName(m Message) string { return messageNames[m.kind()] }

var messageNames = [...]string{
	kindAppend: "AppendEntries", kindAck: "AppendEntriesResponse", kindSuspect: "Suspect",
	kindRequestVote: "RequestVote", kindVote: "RequestVoteResponse", kindProof: "Proof",
	kindStatus: "Status", kindResign: "Resign", kindFetchChain: "FetchChain",
	kindChain: "Chain", kindFetchCommitted: "FetchCommitted", kindCommitted: "Committed",
	kindEvidence: "Accusation", kindCheckpoint: "CheckpointVote",
	kindStable: "StableCheckpoint", kindFetchState: "FetchState", kindStatePart: "StatePart",
	kindChanges: "Changes", kindReminder: "Reminder",
}
