package bftraft

import (
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/crypto"
)

// Why a request is refused before it can stand in a block (B2). Clients are told the same.
var (
	// ErrRequestMalformed is returned when the bytes are no canonical request.
	ErrRequestMalformed = errors.New("request is malformed")
	// ErrRequestTooLarge is returned when a limit of size or number is exceeded.
	ErrRequestTooLarge = errors.New("request is too large")
	// ErrUnknownClient is returned when the client's key is not enrolled.
	ErrUnknownClient = errors.New("client is not enrolled in this cluster")
	// ErrClientRole is returned when the client may only ask for values.
	ErrClientRole = errors.New("client may only read")
	// ErrRequestSignature is returned when the client's signature does not verify.
	ErrRequestSignature = errors.New("request signature does not verify")
)

// Request is what a client asks for (C1): operations that are executed one after the other, at
// most once for each (Client, Session, Sequence). Sessions and sequences count from 1.
type Request struct {
	Client   crypto.PublicKey
	Session  uint64
	Sequence uint64
	Ops      [][]byte
	Sig      crypto.Signature

	raw []byte
}

const requestHeadBytes = 32 + 8 + 8 + 2

// RequestSigner is a client's key; crypto.PrivateKey is one.
type RequestSigner interface {
	Public() crypto.PublicKey
	Sign(d crypto.Domain, msg []byte) crypto.Signature
}

// SignRequest returns the signed request. The cluster is part of what is signed.
func SignRequest(cluster Digest, k RequestSigner, session, seq uint64, ops [][]byte) *Request {
	r := &Request{Client: k.Public(), Session: session, Sequence: seq, Ops: ops}
	body := r.appendBody(nil)
	digest := requestDigest(cluster, body)
	r.Sig = k.Sign(crypto.DomainRequest, digest[:])
	r.raw = append(body, r.Sig[:]...)
	return r
}

func requestDigest(cluster Digest, body []byte) Digest {
	return crypto.Hash(crypto.DomainRequest, cluster[:], body)
}

func (r *Request) appendBody(b []byte) []byte {
	b = append(b, r.Client[:]...)
	b = binary.BigEndian.AppendUint64(b, r.Session)
	b = binary.BigEndian.AppendUint64(b, r.Sequence)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Ops)))
	for _, op := range r.Ops {
		b = binary.BigEndian.AppendUint32(b, uint32(len(op)))
		b = append(b, op...)
	}
	return b
}

// Raw returns the encoding: body, then signature. The caller must not change it.
func (r *Request) Raw() []byte { return r.raw }

// Digest returns what the client signed: it names the request and its content.
func (r *Request) Digest(cluster Digest) Digest {
	return requestDigest(cluster, r.raw[:len(r.raw)-len(r.Sig)])
}

// Entry returns the log entry that carries the request.
func (r *Request) Entry() Entry { return Entry{Kind: EntryRequest, Data: r.raw} }

// DecodeRequest reads what Raw returned and enforces the limits. The result refers to raw.
func DecodeRequest(raw []byte) (*Request, error) {
	if len(raw) > MaxRequestBytes {
		return nil, ErrRequestTooLarge
	}
	r := &Request{raw: raw}
	s := cryptobyte.String(raw)
	var n uint16
	if !s.CopyBytes(r.Client[:]) || !s.ReadUint64(&r.Session) || !s.ReadUint64(&r.Sequence) ||
		!s.ReadUint16(&n) {
		return nil, ErrRequestMalformed
	}
	if n == 0 || r.Session == 0 || r.Sequence == 0 || len(s) < int(n)*4 {
		return nil, ErrRequestMalformed
	}
	if n > MaxRequestOps {
		return nil, ErrRequestTooLarge
	}
	r.Ops = make([][]byte, n)
	for i := range r.Ops {
		var size uint32
		if !s.ReadUint32(&size) {
			return nil, ErrRequestMalformed
		}
		if size > MaxOpBytes {
			return nil, ErrRequestTooLarge
		}
		if !s.ReadBytes(&r.Ops[i], int(size)) || IsChange(r.Ops[i]) && n > 1 {
			return nil, ErrRequestMalformed
		}
	}
	if !s.CopyBytes(r.Sig[:]) || !s.Empty() {
		return nil, ErrRequestMalformed
	}
	return r, nil
}
