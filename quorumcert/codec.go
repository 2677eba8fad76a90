package quorumcert

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/crypto"
)

// The wire form of every certificate: fixed-width big-endian integers, signers as a 64-bit set,
// then one item for each signer. Lists carry a 16-bit count and are bounded, so a reader allocates
// no more than a small multiple of what it was sent. There is exactly one encoding of a value.

// MaxHeaders is the largest number of headers in a certificate or a proof.
const MaxHeaders = 4096

func readUint64(s *cryptobyte.String, out *uint64) bool { return s.ReadUint64(out) }

func readTerm(s *cryptobyte.String, t *Term) bool { return readUint64(s, (*uint64)(t)) }

func readIndex(s *cryptobyte.String, i *Index) bool { return readUint64(s, (*uint64)(i)) }

func readDigest(s *cryptobyte.String, d *crypto.Digest) bool { return s.CopyBytes(d[:]) }

func readNode(s *cryptobyte.String, id *crypto.NodeID) bool {
	return s.ReadUint8((*uint8)(id)) && *id != 0 && *id <= MaxVoters
}

// ReadLock reads what Lock.AppendTo wrote.
func ReadLock(s *cryptobyte.String, l *Lock) bool {
	return readTerm(s, &l.Term) && readIndex(s, &l.Index) && readDigest(s, &l.Hash)
}

// ReadHeader reads what Header.AppendTo wrote.
func ReadHeader(s *cryptobyte.String, h *Header) bool {
	return readDigest(s, &h.Prev) && readIndex(s, &h.First) && readIndex(s, &h.Last) &&
		readDigest(s, &h.Root)
}

// AppendHeaders appends a 16-bit count and the headers.
func AppendHeaders(b []byte, headers []Header) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(headers)))
	for _, h := range headers {
		b = h.AppendTo(b)
	}
	return b
}

// ReadHeaders reads what AppendHeaders wrote.
func ReadHeaders(s *cryptobyte.String, headers *[]Header) bool {
	var n uint16
	if !s.ReadUint16(&n) || n > MaxHeaders || len(*s) < int(n)*80 {
		return false
	}
	if n > 0 {
		*headers = make([]Header, n)
	}
	for i := range *headers {
		if !ReadHeader(s, &(*headers)[i]) {
			return false
		}
	}
	return true
}

func appendSigs(b []byte, s Signatures) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(s.Signers))
	for _, sig := range s.Sigs {
		b = append(b, sig[:]...)
	}
	return b
}

func readSigs(s *cryptobyte.String, out *Signatures) bool {
	if !readUint64(s, (*uint64)(&out.Signers)) || len(*s) < out.Signers.Len()*64 {
		return false
	}
	out.Sigs = make([]crypto.Signature, out.Signers.Len())
	for i := range out.Sigs {
		if !s.CopyBytes(out.Sigs[i][:]) {
			return false
		}
	}
	return true
}

// AppendTo appends the wire form.
func (tc *TC) AppendTo(b []byte) []byte {
	return appendSigs(binary.BigEndian.AppendUint64(b, uint64(tc.Term)), tc.Signatures)
}

// ReadTC reads what TC.AppendTo wrote.
func ReadTC(s *cryptobyte.String, tc *TC) bool {
	return readTerm(s, &tc.Term) && readSigs(s, &tc.Signatures)
}

// AppendTo appends the wire form.
func (ec *EC) AppendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(ec.Term))
	b = append(b, byte(ec.Leader))
	return appendSigs(ec.Base.AppendTo(b), ec.Signatures)
}

// ReadEC reads what EC.AppendTo wrote.
func ReadEC(s *cryptobyte.String, ec *EC) bool {
	return readTerm(s, &ec.Term) && readNode(s, &ec.Leader) && ReadLock(s, &ec.Base) &&
		readSigs(s, &ec.Signatures)
}

// AppendTo appends the wire form.
func (qc *QC) AppendTo(b []byte) []byte {
	b = appendSigs(qc.Lock.AppendTo(b), qc.Signatures)
	for _, c := range qc.Certified {
		b = binary.BigEndian.AppendUint64(b, uint64(c))
	}
	return b
}

// ReadQC reads what QC.AppendTo wrote.
func ReadQC(s *cryptobyte.String, qc *QC) bool {
	if !ReadLock(s, &qc.Lock) || !readSigs(s, &qc.Signatures) {
		return false
	}
	qc.Certified = make([]Index, len(qc.Sigs))
	for i := range qc.Certified {
		if !readIndex(s, &qc.Certified[i]) {
			return false
		}
	}
	return true
}

// AppendTo appends the wire form.
func (cc *Commit) AppendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(cc.Term))
	b = binary.BigEndian.AppendUint64(b, uint64(cc.Index))
	b = append(b, cc.Hash[:]...)
	b = appendSigs(AppendHeaders(b, cc.Headers), cc.Signatures)
	for _, a := range cc.Acks {
		b = binary.BigEndian.AppendUint64(b, uint64(a.Index))
		b = binary.BigEndian.AppendUint64(b, uint64(a.Certified))
	}
	return b
}

// ReadCommit reads what Commit.AppendTo wrote.
func ReadCommit(s *cryptobyte.String, cc *Commit) bool {
	if !readTerm(s, &cc.Term) || !readIndex(s, &cc.Index) || !readDigest(s, &cc.Hash) ||
		!ReadHeaders(s, &cc.Headers) || !readSigs(s, &cc.Signatures) {
		return false
	}
	cc.Acks = make([]AckedAt, len(cc.Sigs))
	for i := range cc.Acks {
		if !readIndex(s, &cc.Acks[i].Index) || !readIndex(s, &cc.Acks[i].Certified) {
			return false
		}
	}
	return true
}

// AppendTo appends the wire form.
func (r *Receipt) AppendTo(b []byte) []byte {
	return appendSigs(r.Reply.AppendTo(b), r.Signatures)
}

// ReadReply reads what Reply.AppendTo wrote.
func ReadReply(s *cryptobyte.String, r *Reply) bool {
	return readDigest(s, &r.Cluster) && readIndex(s, &r.Configuration) && readIndex(s, &r.Index) &&
		readDigest(s, &r.Hash) && readDigest(s, &r.Results)
}

// ReadReceipt reads what Receipt.AppendTo wrote.
func ReadReceipt(s *cryptobyte.String, r *Receipt) bool {
	return ReadReply(s, &r.Reply) && readSigs(s, &r.Signatures)
}

// AppendTo appends the wire form.
func (st *Stable) AppendTo(b []byte) []byte {
	return appendSigs(st.Checkpoint.AppendTo(b), st.Signatures)
}

// ReadCheckpoint reads what Checkpoint.AppendTo wrote.
func ReadCheckpoint(s *cryptobyte.String, cp *Checkpoint) bool {
	return readDigest(s, &cp.Cluster) && readIndex(s, &cp.Configuration) &&
		readIndex(s, &cp.Index) && readDigest(s, &cp.Hash) && readDigest(s, &cp.State) &&
		readDigest(s, &cp.Sessions)
}

// ReadStable reads what Stable.AppendTo wrote.
func ReadStable(s *cryptobyte.String, st *Stable) bool {
	return ReadCheckpoint(s, &st.Checkpoint) && readSigs(s, &st.Signatures)
}

// AppendTo appends statement, signer, signature: 153 bytes.
func (a SignedAck) AppendTo(b []byte) []byte {
	return append(append(a.Ack.AppendTo(b), byte(a.Signer)), a.Sig[:]...)
}

// ReadSignedAck reads what SignedAck.AppendTo wrote.
func ReadSignedAck(s *cryptobyte.String, a *SignedAck) bool {
	return readDigest(s, &a.Cluster) && readTerm(s, &a.Term) && readIndex(s, &a.Index) &&
		readDigest(s, &a.Hash) && readIndex(s, &a.Certified) && readNode(s, &a.Signer) &&
		s.CopyBytes(a.Sig[:])
}

// AppendTo appends statement, signer, signature: 154 bytes.
func (v SignedVote) AppendTo(b []byte) []byte {
	return append(append(v.Vote.AppendTo(b), byte(v.Signer)), v.Sig[:]...)
}

// ReadSignedVote reads what SignedVote.AppendTo wrote.
func ReadSignedVote(s *cryptobyte.String, v *SignedVote) bool {
	return readDigest(s, &v.Cluster) && readTerm(s, &v.Term) && readNode(s, &v.Candidate) &&
		ReadLock(s, &v.Lock) && readNode(s, &v.Signer) && s.CopyBytes(v.Sig[:])
}

// AppendTo appends statement, signer, signature: 209 bytes.
func (s SignedCheckpoint) AppendTo(b []byte) []byte {
	return append(append(s.Checkpoint.AppendTo(b), byte(s.Signer)), s.Sig[:]...)
}

// ReadSignedCheckpoint reads what SignedCheckpoint.AppendTo wrote.
func ReadSignedCheckpoint(s *cryptobyte.String, c *SignedCheckpoint) bool {
	return ReadCheckpoint(s, &c.Checkpoint) && readNode(s, &c.Signer) && s.CopyBytes(c.Sig[:])
}

const (
	evidenceAcks  = 1
	evidenceVotes = 2
)

// AppendTo appends the wire form.
func (e *Evidence) AppendTo(b []byte) []byte {
	if e.Acks != nil {
		b = append(b, evidenceAcks)
		return AppendHeaders(e.Acks.B.AppendTo(e.Acks.A.AppendTo(b)), e.Acks.Headers)
	}
	if e.Votes != nil {
		b = append(b, evidenceVotes)
		return e.Votes.B.AppendTo(e.Votes.A.AppendTo(b))
	}
	panic("quorumcert: empty evidence has no wire form")
}

// ReadEvidence reads what Evidence.AppendTo wrote.
func ReadEvidence(s *cryptobyte.String, e *Evidence) bool {
	var kind uint8
	if !s.ReadUint8(&kind) {
		return false
	}
	switch kind {
	case evidenceAcks:
		e.Acks = &AckConflict{}
		return ReadSignedAck(s, &e.Acks.A) && ReadSignedAck(s, &e.Acks.B) &&
			ReadHeaders(s, &e.Acks.Headers)
	case evidenceVotes:
		e.Votes = &VoteConflict{}
		return ReadSignedVote(s, &e.Votes.A) && ReadSignedVote(s, &e.Votes.B)
	}
	return false
}
