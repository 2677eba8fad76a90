package bftraft

import (
	"slices"

	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// ReadyCode says whether a node is ready for a change of the voters, and if not why.
type ReadyCode uint8

// The codes. Values are part of the wire form and never change.
const (
	ReadyYes    ReadyCode = 0 // it is, and says so under its signature
	ReadyBehind ReadyCode = 1 // it does not keep up with the log yet
	ReadyStale  ReadyCode = 2 // the change does not follow the configuration it knows
	ReadyNot    ReadyCode = 3 // it would not be a voter
)

var readyWords = [...]string{
	ReadyYes: "ready", ReadyBehind: "behind", ReadyStale: "stale", ReadyNot: "not_a_voter",
}

// String returns the word for messages.
func (c ReadyCode) String() string {
	if int(c) < len(readyWords) {
		return readyWords[c]
	}
	return "unknown"
}

// Readiness is a node's answer to the question whether it is ready for a change.
type Readiness struct {
	Change Digest // what the administrators sign of it
	Code   ReadyCode
	Word   Endorsement // the node's signature, if it is ready
}

// ReadyRequest returns the frame that asks a node whether it is ready for a change, whose
// signatures do not matter.
func ReadyRequest(c *Change) []byte {
	bare := *c
	bare.Endorsements, bare.Ready = nil, nil
	return append([]byte{FrameReady}, bare.Op()...)
}

// DecodeReadyRequest reads what ReadyRequest wrote.
func DecodeReadyRequest(frame []byte) (*Change, error) {
	s, ok := body(frame, FrameReady)
	if !ok {
		return nil, ErrClientMessage
	}
	c, err := DecodeChange(s)
	if err != nil || len(c.Endorsements)+len(c.Ready) > 0 {
		return nil, ErrClientMessage
	}
	return c, nil
}

// Encode returns the frame.
func (r *Readiness) Encode() []byte {
	b := append([]byte{FrameReadyReply}, r.Change[:]...)
	b = append(b, byte(r.Code))
	return append(append(b, r.Word.Key[:]...), r.Word.Sig[:]...)
}

// DecodeReadiness reads what Encode wrote. It verifies nothing.
func DecodeReadiness(frame []byte) (*Readiness, error) {
	r := &Readiness{}
	s, ok := body(frame, FrameReadyReply)
	if !ok || !s.CopyBytes(r.Change[:]) || !s.ReadUint8((*uint8)(&r.Code)) ||
		!s.CopyBytes(r.Word.Key[:]) || !s.CopyBytes(r.Word.Sig[:]) || !s.Empty() ||
		r.Code > ReadyNot {
		return nil, ErrClientMessage
	}
	return r, nil
}

// ReadyFor answers whether this node is ready for a change.
func (c *Core) ReadyFor(ch *Change) *Readiness {
	r := &Readiness{Change: ch.Digest(c.cluster)}
	next, err := c.gate.members.After(ch)
	is := func(v quorumcert.Voter) bool { return v.ID == c.id }
	switch {
	case err != nil:
		r.Code = ReadyStale
	case !slices.ContainsFunc(next.Incoming, is):
		r.Code = ReadyNot
	case c.commit.Index < c.gate.members.At.Index || !c.KeepsUp():
		r.Code = ReadyBehind
	default:
		r.Word = Endorsement{
			c.cfg.Signer.Public(), c.cfg.Signer.Sign(crypto.DomainReadyToVote, r.Change[:]),
		}
	}
	return r
}
