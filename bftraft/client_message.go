package bftraft

import (
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// ErrClientMessage is returned when bytes between client and node are no canonical message, or
// when what they claim does not hold.
var ErrClientMessage = errors.New("client message is malformed or does not verify")

// Kinds of frames between clients and nodes; FrameRequest and FrameReply also travel between
// nodes: requests on their way to the leader, and replies to a node that is behind (E5). They do
// not overlap with the kinds of Message.
const (
	FrameRequest     byte = 32 // a Request
	FrameReply       byte = 33 // a BlockReply
	FrameRefusal     byte = 34 // a Refusal
	FrameRead        byte = 35 // a ReadRequest
	FrameReadReply   byte = 36 // a ReadReply
	FrameStatus      byte = 37 // asks for a NodeStatus: no body
	FrameStatusReply byte = 38 // a NodeStatus

	FrameEvidence      byte = 39 // asks for all proofs that a voter is faulty: no body
	FrameEvidenceReply byte = 40 // a list of Conviction

	FrameChanges      byte = 41 // asks for the changes behind a number
	FrameChangesReply byte = 42 // a list of ChangeProof

	FrameResign byte = 43 // asks the leader of a term to hand over; no answer

	FrameReady      byte = 44 // asks whether a node is ready for a change of the voters
	FrameReadyReply byte = 45 // a Readiness
)

// MaxResultBytes bounds the results of one request, and those under one answer to reads.
const MaxResultBytes = 4 << 20

// ResignRequest returns the frame that asks a node to hand over if it leads a term.
func ResignRequest(t Term) []byte {
	return binary.BigEndian.AppendUint64([]byte{FrameResign}, uint64(t))
}

// DecodeResignRequest reads what ResignRequest wrote.
func DecodeResignRequest(frame []byte) (t Term, err error) {
	s, ok := body(frame, FrameResign)
	if !ok || !s.ReadUint64((*uint64)(&t)) || !s.Empty() || t == 0 {
		return 0, ErrClientMessage
	}
	return t, nil
}

// RequestFrame returns the frame that carries an encoded request.
func RequestFrame(raw []byte) []byte {
	return append([]byte{FrameRequest}, raw...)
}

// Outcome says what the execution of a request in its block came to (C1).
type Outcome uint8

// The outcomes. Only an executed request has results.
const (
	Executed   Outcome = 1 // it was executed in this block
	Repeated   Outcome = 2 // its sequence had been executed before
	OutOfOrder Outcome = 3 // the sequence before it had not been executed
	Expired    Outcome = 4 // its session is older than those that are remembered
)

// ResultLeaf returns the leaf of a request in the results tree of its block: it binds the results
// to the request by its digest.
func ResultLeaf(request Digest, o Outcome, results [][]byte) Digest {
	parts := make([][]byte, 0, len(results)+2)
	parts = append(append(parts, request[:], []byte{byte(o)}), results...)
	return crypto.Hash(crypto.DomainResult, parts...)
}

// BlockReply is one node's answer to one request (C2): the results, the branch that leads from
// them to the root of the block's results, and the node's signature of that root's Reply.
type BlockReply struct {
	Client   crypto.PublicKey
	Session  uint64
	Sequence uint64
	Request  Digest // digest of the executed request
	Results  [][]byte

	Reply  quorumcert.Reply
	Signer NodeID
	Sig    crypto.Signature
	Place  uint32 // of the leaf
	Leaves uint32
	Branch []Digest
}

// Leaf returns the leaf the branch starts from.
func (r *BlockReply) Leaf() Digest { return ResultLeaf(r.Request, Executed, r.Results) }

// Verify says whether the branch leads from the results to the root and the signature is the
// signer's, a voter of the configuration that the reply names.
func (r *BlockReply) Verify(cluster Digest, cs *quorumcert.Configurations) error {
	cfg := cs.ForReply(r.Reply.Index, r.Reply.Configuration)
	if r.Reply.Cluster != cluster || cfg == nil || !cfg.Has(r.Signer) ||
		!crypto.VerifyBranch(r.Reply.Results, r.Leaf(), int(r.Place), int(r.Leaves), r.Branch) ||
		cfg.VerifyOne(r.Signer, r.Reply, r.Sig) != nil {
		return ErrClientMessage
	}
	return nil
}

// Encode returns the frame.
func (r *BlockReply) Encode() []byte {
	b := append([]byte{FrameReply}, r.Client[:]...)
	b = binary.BigEndian.AppendUint64(b, r.Session)
	b = binary.BigEndian.AppendUint64(b, r.Sequence)
	b = append(b, r.Request[:]...)
	b = appendByteLists(b, r.Results)
	b = append(r.Reply.AppendTo(b), byte(r.Signer))
	b = append(b, r.Sig[:]...)
	b = binary.BigEndian.AppendUint32(b, r.Place)
	b = binary.BigEndian.AppendUint32(b, r.Leaves)
	b = append(b, byte(len(r.Branch)))
	for _, d := range r.Branch {
		b = append(b, d[:]...)
	}
	return b
}

func appendByteLists(b []byte, lists [][]byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(lists)))
	for _, l := range lists {
		b = binary.BigEndian.AppendUint32(b, uint32(len(l)))
		b = append(b, l...)
	}
	return b
}

// ByteLen returns how many bytes the lists hold together.
func ByteLen(lists [][]byte) int {
	n := 0
	for _, l := range lists {
		n += len(l)
	}
	return n
}

func readByteLists(s *cryptobyte.String, lists *[][]byte) bool {
	var n uint16
	if !s.ReadUint16(&n) || n > MaxRequestOps || len(*s) < int(n)*4 {
		return false
	}
	if n > 0 {
		*lists = make([][]byte, n)
	}
	for i := range *lists {
		var size uint32
		if !s.ReadUint32(&size) || !s.ReadBytes(&(*lists)[i], int(size)) {
			return false
		}
	}
	return true
}

// body checks the kind of a frame and returns what follows.
func body(frame []byte, kind byte) (cryptobyte.String, bool) {
	if len(frame) == 0 || len(frame) > MaxFrameBytes || frame[0] != kind {
		return nil, false
	}
	return frame[1:], true
}

// DecodeBlockReply reads what BlockReply.Encode wrote. The result refers to frame.
func DecodeBlockReply(frame []byte) (*BlockReply, error) {
	r := &BlockReply{}
	s, ok := body(frame, FrameReply)
	var n uint8
	ok = ok && s.CopyBytes(r.Client[:]) && s.ReadUint64(&r.Session) && s.ReadUint64(&r.Sequence) &&
		s.CopyBytes(r.Request[:]) && readByteLists(&s, &r.Results) &&
		quorumcert.ReadReply(&s, &r.Reply) && s.ReadUint8((*uint8)(&r.Signer)) &&
		s.CopyBytes(r.Sig[:]) && s.ReadUint32(&r.Place) && s.ReadUint32(&r.Leaves) &&
		s.ReadUint8(&n) && n <= 32
	if !ok {
		return nil, ErrClientMessage
	}
	if n > 0 {
		r.Branch = make([]Digest, n)
	}
	for i := range r.Branch {
		ok = ok && s.CopyBytes(r.Branch[i][:])
	}
	if !ok || !s.Empty() {
		return nil, ErrClientMessage
	}
	return r, nil
}

// RefusalCode says why a node will not order a request. It is one node's word: a client believes
// it only when f+1 nodes say the same.
type RefusalCode uint8

// The refusals.
const (
	RefusedMalformed RefusalCode = 1 // no canonical request, or an operation that makes no sense
	RefusedTooLarge  RefusalCode = 2 // a limit of size or number is exceeded
	RefusedClient    RefusalCode = 3 // the client is not enrolled, or its signature does not verify
	RefusedExpired   RefusalCode = 4 // the session or the result is no longer remembered
	RefusedWindow    RefusalCode = 5 // the sequence is too far ahead of what was executed
	RefusedBusy      RefusalCode = 6 // too much of this client's is outstanding here: try again
	RefusedRole      RefusalCode = 7 // the client may only ask for values
)

var refusalNames = [...]string{
	RefusedMalformed: "malformed", RefusedTooLarge: "too_large", RefusedClient: "not_authorised",
	RefusedExpired: "expired", RefusedWindow: "out_of_window", RefusedBusy: "busy",
	RefusedRole: "may_only_read",
}

// String returns the word for messages and metrics.
func (c RefusalCode) String() string {
	if c > 0 && int(c) < len(refusalNames) {
		return refusalNames[c]
	}
	return "unknown"
}

// Refusal is one node's refusal of a request.
type Refusal struct {
	Session  uint64
	Sequence uint64
	Code     RefusalCode
	Executed uint64 // the highest sequence of the session this node has executed
}

// Encode returns the frame. The link says who sent it; nobody else needs to be convinced.
func (r *Refusal) Encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{FrameRefusal}, r.Session)
	b = binary.BigEndian.AppendUint64(b, r.Sequence)
	return binary.BigEndian.AppendUint64(append(b, byte(r.Code)), r.Executed)
}

// DecodeRefusal reads what Refusal.Encode wrote.
func DecodeRefusal(frame []byte) (*Refusal, error) {
	r := &Refusal{}
	s, ok := body(frame, FrameRefusal)
	if !ok || !s.ReadUint64(&r.Session) || !s.ReadUint64(&r.Sequence) ||
		!s.ReadUint8((*uint8)(&r.Code)) || !s.ReadUint64(&r.Executed) || !s.Empty() {
		return nil, ErrClientMessage
	}
	return r, nil
}

// ReadRequest asks for reads that write nothing to the log (C3), all of one state. The node answers
// once it has executed MinIndex, or with what it has when that takes too long. The link says who
// asks.
type ReadRequest struct {
	Nonce    Digest // fresh: it makes an old answer useless
	MinIndex Index
	Queries  [][]byte // 1 to MaxRequestOps, each of at most MaxOpBytes
}

// Encode returns the frame.
func (r *ReadRequest) Encode() []byte {
	b := append([]byte{FrameRead}, r.Nonce[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.MinIndex))
	return appendByteLists(b, r.Queries)
}

// DecodeReadRequest reads what ReadRequest.Encode wrote. The result refers to frame.
func DecodeReadRequest(frame []byte) (*ReadRequest, error) {
	r := &ReadRequest{}
	s, ok := body(frame, FrameRead)
	if !ok || !s.CopyBytes(r.Nonce[:]) || !s.ReadUint64((*uint64)(&r.MinIndex)) ||
		!readByteLists(&s, &r.Queries) || !s.Empty() || len(r.Queries) == 0 {
		return nil, ErrClientMessage
	}
	for _, q := range r.Queries {
		if len(q) > MaxOpBytes {
			return nil, ErrClientMessage
		}
	}
	return r, nil
}

// ReadReply is one node's signed answer to a ReadRequest: its lock with the certificate, the
// configuration it goes by, how far it has executed, and the results there.
type ReadReply struct {
	Nonce         Digest
	Lock          Lock
	LockQC        *quorumcert.QC // nil for the genesis lock
	Configuration Index
	Executed      Index
	// Results are those of the first queries: as many as fit into MaxResultBytes, and at least one.
	Results [][]byte
	Signer  NodeID
	Sig     crypto.Signature
}

// statement returns what is signed; the certificate needs no signature of the node's.
func (r *ReadReply) statement(cluster Digest, queries [][]byte) []byte {
	asked := crypto.Hash(crypto.DomainRead, queries...)
	results := crypto.Hash(crypto.DomainRead, r.Results...)
	b := append([]byte(nil), cluster[:]...)
	b = r.Lock.AppendTo(append(append(b, r.Nonce[:]...), asked[:]...))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Configuration))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Executed))
	return append(b, results[:]...)
}

// Sign sets signer and signature of the answer to queries.
func (r *ReadReply) Sign(s crypto.Signer, cluster Digest, queries [][]byte) {
	r.Signer = s.ID()
	r.Sig = s.Sign(crypto.DomainReadReply, r.statement(cluster, queries))
}

// Verify says whether the signature over the queries' answer is the signer's and the lock is
// certified.
func (r *ReadReply) Verify(
	cluster Digest, cs *quorumcert.Configurations, queries [][]byte,
) error {
	if err := r.VerifyLock(cluster, cs); err != nil {
		return err
	}
	return r.VerifyStatement(cluster, cs, queries)
}

// VerifyLock is the part of Verify that judges the lock by its certificate. Many answers carry the
// same.
func (r *ReadReply) VerifyLock(cluster Digest, cs *quorumcert.Configurations) error {
	if r.LockQC == nil && r.Lock != (Lock{Hash: cluster}) {
		return ErrClientMessage
	}
	if r.LockQC != nil && (r.LockQC.Lock != r.Lock ||
		r.LockQC.Verify(cluster, cs.For(r.LockQC.Index)) != nil) {
		return ErrClientMessage
	}
	return nil
}

// VerifyStatement is the part of Verify that judges the signature.
func (r *ReadReply) VerifyStatement(
	cluster Digest, cs *quorumcert.Configurations, queries [][]byte,
) error {
	ring := cs.Latest().Keyring()
	if len(r.Results) > len(queries) || !cs.Latest().Has(r.Signer) ||
		ring.Verify(r.Signer, crypto.DomainReadReply, r.statement(cluster, queries), r.Sig) != nil {
		return ErrClientMessage
	}
	return nil
}

// Encode returns the frame.
func (r *ReadReply) Encode() []byte {
	b := append([]byte{FrameReadReply}, r.Nonce[:]...)
	b = appendQC(r.Lock.AppendTo(b), r.LockQC)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Configuration))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Executed))
	b = append(append(b, byte(r.Signer)), r.Sig[:]...)
	return appendByteLists(b, r.Results)
}

// DecodeReadReply reads what ReadReply.Encode wrote. The result refers to frame.
func DecodeReadReply(frame []byte) (*ReadReply, error) {
	r := &ReadReply{}
	s, ok := body(frame, FrameReadReply)
	if !ok || !s.CopyBytes(r.Nonce[:]) || !quorumcert.ReadLock(&s, &r.Lock) {
		return nil, ErrClientMessage
	}
	d := decoder{s: s}
	r.LockQC = d.qc()
	s = d.s
	if d.drop != Accepted || !s.ReadUint64((*uint64)(&r.Configuration)) ||
		!s.ReadUint64((*uint64)(&r.Executed)) || !s.ReadUint8((*uint8)(&r.Signer)) ||
		!s.CopyBytes(r.Sig[:]) || !readByteLists(&s, &r.Results) || !s.Empty() ||
		len(r.Results) == 0 || ByteLen(r.Results) > MaxResultBytes {
		return nil, ErrClientMessage
	}
	return r, nil
}

// NodeStatus is one node's signed word about itself and what it sees of the others. It proves
// nothing; it is for people.
type NodeStatus struct {
	signed
	Term     Term
	Leader   NodeID
	Lock     Lock
	Tip      Position
	Commit   Position
	Executed Index
	Backoff  uint8
	Suspects Cause
	Faulty   Set    // voters it holds proof against
	Accuses  Set    // voters that suspect the term now
	Behind   Set    // voters whose newest status shows a lower commit index
	Silent   Set    // voters not heard of for an election timeout
	State    Digest // digest of the state machine at Executed
}

// SignNodeStatus signs a status.
func SignNodeStatus(s crypto.Signer, cluster Digest, m *NodeStatus) []byte {
	m.From = s.ID()
	unsigned := m.encode()
	digest := messageDigest(cluster, unsigned)
	m.Sig = s.Sign(crypto.DomainMessage, digest[:])
	return append(unsigned, m.Sig[:]...)
}

func (m *NodeStatus) encode() []byte {
	b := append([]byte{FrameStatusReply}, byte(m.From))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Term))
	b = append(b, byte(m.Leader))
	b = appendPosition(appendPosition(m.Lock.AppendTo(b), m.Tip), m.Commit)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Executed))
	b = append(b, m.Backoff, byte(m.Suspects))
	for _, set := range [...]Set{m.Faulty, m.Accuses, m.Behind, m.Silent} {
		b = binary.BigEndian.AppendUint64(b, uint64(set))
	}
	return append(b, m.State[:]...)
}

// DecodeNodeStatus reads what SignNodeStatus returned and verifies it by the keys of those whose
// word is wanted.
func DecodeNodeStatus(
	frame []byte, cluster Digest, keys *crypto.Keyring,
) (*NodeStatus, error) {
	m := &NodeStatus{}
	s, ok := body(frame, FrameStatusReply)
	if !ok {
		return nil, ErrClientMessage
	}
	d := decoder{s: s}
	d.node(&m.From)
	d.uint64((*uint64)(&m.Term))
	d.node(&m.Leader)
	d.want(quorumcert.ReadLock(&d.s, &m.Lock))
	d.position(&m.Tip)
	d.position(&m.Commit)
	d.uint64((*uint64)(&m.Executed))
	d.want(d.s.ReadUint8(&m.Backoff) && d.s.ReadUint8((*uint8)(&m.Suspects)))
	for _, set := range [...]*Set{&m.Faulty, &m.Accuses, &m.Behind, &m.Silent} {
		d.uint64((*uint64)(set))
	}
	d.bytes(m.State[:])
	d.bytes(m.Sig[:])
	if !d.want(d.s.Empty()) {
		return nil, ErrClientMessage
	}
	digest := messageDigest(cluster, frame[:len(frame)-len(m.Sig)])
	if keys.Verify(m.From, crypto.DomainMessage, digest[:], m.Sig) != nil {
		return nil, ErrClientMessage
	}
	return m, nil
}
