package bftraft

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/quorumcert"
)

// EvidenceEntry returns the log entry that carries a proof against a voter (B2).
func EvidenceEntry(e *quorumcert.Evidence) Entry {
	return Entry{Kind: EntryEvidence, Data: e.AppendTo(nil)}
}

// DecodeEvidence reads the data of an evidence entry, all of it; a proof has one form, as every
// byte that is read says something of its own. It verifies nothing; ok is false when the data is
// anything else.
func DecodeEvidence(data []byte) (e *quorumcert.Evidence, ok bool) {
	e = &quorumcert.Evidence{}
	s := cryptobyte.String(data)
	if !quorumcert.ReadEvidence(&s, e) || !s.Empty() {
		return nil, false
	}
	return e, true
}

// Conviction is a proof against a voter and the log index at which it stands, 0 while it is not in
// the log.
type Conviction struct {
	Index    Index
	Evidence quorumcert.Evidence
}

// maxConvictionBytes bounds the proofs in one answer; the first one always fits.
const maxConvictionBytes = 4 << 20

// EncodeConvictions returns the frame that answers FrameEvidence. Proofs speak for themselves, so
// it is not signed.
func EncodeConvictions(list []Conviction) []byte {
	b := []byte{FrameEvidenceReply, 0}
	for i := range list {
		c := &list[i]
		one := c.Evidence.AppendTo(binary.BigEndian.AppendUint64(nil, uint64(c.Index)))
		if b[1] > 0 && len(b)+len(one) > maxConvictionBytes || b[1] == quorumcert.MaxVoters {
			break
		}
		b = append(b, one...)
		b[1]++
	}
	return b
}

// DecodeConvictions reads what EncodeConvictions wrote. It verifies no proof.
func DecodeConvictions(frame []byte) ([]Conviction, error) {
	s, ok := body(frame, FrameEvidenceReply)
	var n uint8
	if !ok || !s.ReadUint8(&n) || n > quorumcert.MaxVoters {
		return nil, ErrClientMessage
	}
	list := make([]Conviction, n)
	for i := range list {
		c := &list[i]
		if !s.ReadUint64((*uint64)(&c.Index)) || !quorumcert.ReadEvidence(&s, &c.Evidence) {
			return nil, ErrClientMessage
		}
	}
	if !s.Empty() {
		return nil, ErrClientMessage
	}
	return list, nil
}

// learnEvidence convicts whom the entries of committed blocks prove faulty.
func (c *Core) learnEvidence(blocks []*Block) {
	for _, b := range blocks {
		for _, entry := range b.Entries() {
			if entry.Kind != EntryEvidence {
				continue
			}
			if e, ok := DecodeEvidence(entry.Data); ok {
				c.hold(*e)
			}
		}
	}
}

// hold keeps the first verified proof against a voter and makes it durable. What proves this node
// itself faulty, it is told of as well: its key is in use elsewhere, or its disk was set back.
func (c *Core) hold(e quorumcert.Evidence) Drop {
	culprit := e.Culprit()
	for i := range c.evidence {
		if c.evidence[i].Culprit() == culprit {
			return Duplicate
		}
	}
	if !c.gate.Accuses(&e) {
		return NoProof
	}
	c.evidence = append(c.evidence, e)
	c.out.Evidence = append(c.out.Evidence, e)
	c.condemn(culprit)
	return Accepted
}

// Accuses says whether a proof verifies, and is against one who has a say now.
func (v *Verifier) Accuses(e *quorumcert.Evidence) bool {
	return e.Verify(v.cluster, v.configs.Latest()) == nil
}

// condemn draws the consequence of a proof: who is proven faulty is not elected, and its reign
// ends.
func (c *Core) condemn(culprit NodeID) {
	if culprit == c.id {
		c.out.Accused = true
		return
	}
	c.faulty = c.faulty.With(culprit)
}
