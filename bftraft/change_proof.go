package bftraft

import (
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// ErrChangeProof is returned when a list of changes does not lead on from the configuration one
// knows.
var ErrChangeProof = errors.New("changes do not prove themselves")

// ChangeProof shows that a change is committed to whoever knows the configuration before it (J5).
type ChangeProof struct {
	Header quorumcert.Header // of the block that ends with its entry
	Entry  []byte            // the data of the entry: none if it closes a joint configuration
	Branch []Digest          // from the entry to the root of the block's entries
	Commit quorumcert.Commit // of the end of that block
}

// maxChangeBranch bounds a branch: no block has more entries than MaxBlockEntries.
const maxChangeBranch = 16

// MaxChangeProofsBytes bounds the wire form of a list of proofs: of as many changes as there can
// be, in requests, each with a header, a branch, and a certificate of 64 voters.
const MaxChangeProofsBytes = MaxChangesBytes + MaxChanges*(6<<10)

// At returns the end of the change's block.
func (p *ChangeProof) At() Position { return Position{p.Header.Last, p.Header.Hash()} }

// newChangeProof returns the proof for a block that ends with a configuration entry.
func newChangeProof(b *Block, cc *quorumcert.Commit) *ChangeProof {
	leaves := make([]Digest, len(b.entries))
	for i, e := range b.entries {
		leaves[i] = e.Digest()
	}
	last := len(leaves) - 1
	return &ChangeProof{
		Header: b.header, Entry: b.entries[last].Data,
		Branch: crypto.NewMerkleTree(leaves).Branch(last), Commit: *cc,
	}
}

// atItsEnd says whether a commit certificate has the form that those of changes have: as nothing
// stands beyond a change before it is committed, all acks are of its very end. A liar could else
// make one of later acks that is hundreds of times as large.
func atItsEnd(cc *quorumcert.Commit) bool { return len(cc.Headers) == 0 }

// holds says whether entry, block and certificate belong together, judged by configuration by.
func (p *ChangeProof) holds(cluster Digest, by *quorumcert.Configuration) bool {
	at, h := p.At(), &p.Header
	if h.First == 0 || h.Last < h.First || h.Last-h.First >= MaxBlockEntries ||
		at != (Position{p.Commit.Index, p.Commit.Hash}) || !atItsEnd(&p.Commit) {
		return false
	}
	n := int(h.Last-h.First) + 1
	leaf := Entry{EntryConfiguration, p.Entry}
	if p.closes() {
		leaf.Kind = EntryClosing
	}
	return crypto.VerifyBranch(h.Root, leaf.Digest(), n-1, n, p.Branch) &&
		p.Commit.Verify(cluster, by) == nil && (!p.closes() || by.Closes(p.Commit.Signers))
}

// closes says whether the entry is the one that closes a joint configuration.
func (p *ChangeProof) closes() bool { return len(p.Entry) == 0 }

// AppendTo appends the wire form.
func (p *ChangeProof) AppendTo(b []byte) []byte {
	b = p.Header.AppendTo(b)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(p.Entry))), p.Entry...)
	b = append(b, byte(len(p.Branch)))
	for _, d := range p.Branch {
		b = append(b, d[:]...)
	}
	return p.Commit.AppendTo(b)
}

// ReadChangeProof reads what AppendTo wrote. It verifies nothing.
func ReadChangeProof(s *cryptobyte.String, p *ChangeProof) bool {
	var size uint32
	var n uint8
	if !quorumcert.ReadHeader(s, &p.Header) || !s.ReadUint32(&size) || size > MaxRequestBytes ||
		!s.ReadBytes(&p.Entry, int(size)) || !s.ReadUint8(&n) || n > maxChangeBranch {
		return false
	}
	if n > 0 {
		p.Branch = make([]Digest, n)
	}
	for i := range p.Branch {
		if !s.CopyBytes(p.Branch[i][:]) {
			return false
		}
	}
	return quorumcert.ReadCommit(s, &p.Commit)
}

// AppendChangeProofs appends a list of proofs behind its length.
func AppendChangeProofs(b []byte, list []*ChangeProof) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(list)))
	for _, p := range list {
		b = p.AppendTo(b)
	}
	return b
}

// ReadChangeProofs reads what AppendChangeProofs wrote. It verifies nothing.
func ReadChangeProofs(s *cryptobyte.String) ([]*ChangeProof, bool) {
	var n uint32
	if !s.ReadUint32(&n) || n > MaxChanges {
		return nil, false
	}
	var list []*ChangeProof
	for range n {
		p := &ChangeProof{}
		if !ReadChangeProof(s, p) {
			return nil, false
		}
		list = append(list, p)
	}
	return list, true
}

// maxChangesAnswer bounds the proofs in one answer; the first one always fits.
const maxChangesAnswer = 1 << 20

// fitting returns the first of the proofs, as many as fit into one answer, and their size.
func fitting(list []*ChangeProof) (fit []*ChangeProof, size int) {
	for i, p := range list {
		next := size + len(p.AppendTo(nil))
		if i > 0 && next > maxChangesAnswer {
			return list[:i:i], size
		}
		size = next
	}
	return list, size
}

// ChangesRequest returns the frame that asks a node for the changes behind a number.
func ChangesRequest(number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{FrameChanges}, number)
}

// DecodeChangesRequest reads what ChangesRequest wrote.
func DecodeChangesRequest(frame []byte) (number uint64, err error) {
	s, ok := body(frame, FrameChanges)
	if !ok || !s.ReadUint64(&number) || !s.Empty() {
		return 0, ErrClientMessage
	}
	return number, nil
}

// EncodeChanges returns the frame that answers a request for the changes behind a number: the first
// of them that the gate knows, as many as fit. They prove themselves, so it is not signed.
func (v *Verifier) EncodeChanges(number uint64) []byte {
	list, _ := fitting(v.changes[min(number, uint64(len(v.changes))):])
	b := binary.BigEndian.AppendUint32([]byte{FrameChangesReply}, uint32(len(list)))
	for _, p := range list {
		b = p.AppendTo(b)
	}
	return b
}

// DecodeChanges reads what EncodeChanges wrote. It verifies nothing: see Verifier.Following.
func DecodeChanges(frame []byte) ([]*ChangeProof, error) {
	s, ok := body(frame, FrameChangesReply)
	if !ok {
		return nil, ErrClientMessage
	}
	list, ok := ReadChangeProofs(&s)
	if !ok || !s.Empty() {
		return nil, ErrClientMessage
	}
	return list, nil
}
