package bftraft

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/quorumcert"
)

// The wire form. There is exactly one encoding of a message: integers are fixed width and
// big-endian, a flag is 0 or 1, an absent certificate is a 0 flag, lists carry a count, and
// nothing may follow the end. DecodeMessage accepts no other bytes than Encode makes.

// maxFrameBlocks bounds the blocks in one message.
const maxFrameBlocks = 1024

func (b *Block) encode() []byte {
	size := 32 + 8 + 4
	for _, e := range b.entries {
		size += 5 + len(e.Data)
	}
	out := make([]byte, 0, size)
	out = append(out, b.header.Prev[:]...)
	out = binary.BigEndian.AppendUint64(out, uint64(b.header.First))
	out = binary.BigEndian.AppendUint32(out, uint32(len(b.entries)))
	for _, e := range b.entries {
		out = append(out, byte(e.Kind))
		out = binary.BigEndian.AppendUint32(out, uint32(len(e.Data)))
		out = append(out, e.Data...)
	}
	return out
}

// DecodeBlock reads what Block.Raw returned. The block refers to raw. Its entries are not judged:
// see Verifier.CheckBlock.
func DecodeBlock(raw []byte) (*Block, Drop) {
	if len(raw) > MaxBlockBytes {
		return nil, Oversize
	}
	b := &Block{raw: raw}
	s := cryptobyte.String(raw)
	var n uint32
	if !s.CopyBytes(b.header.Prev[:]) || !s.ReadUint64((*uint64)(&b.header.First)) ||
		!s.ReadUint32(&n) || n == 0 || b.header.First == 0 {
		return nil, Malformed
	}
	if n > MaxBlockEntries {
		return nil, Oversize
	}
	if len(s) < int(n)*5 || b.header.First+Index(n) < b.header.First {
		return nil, Malformed
	}
	b.entries = make([]Entry, n)
	for i := range b.entries {
		var size uint32
		e := &b.entries[i]
		if !s.ReadUint8((*uint8)(&e.Kind)) || !s.ReadUint32(&size) ||
			!s.ReadBytes(&e.Data, int(size)) {
			return nil, Malformed
		}
	}
	if !s.Empty() {
		return nil, Malformed
	}
	b.seal()
	return b, Accepted
}

func appendBlocks(b []byte, blocks []*Block) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(blocks)))
	for _, block := range blocks {
		b = binary.BigEndian.AppendUint32(b, uint32(len(block.raw)))
		b = append(b, block.raw...)
	}
	return b
}

func appendFlag(b []byte, set bool) []byte {
	if set {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendPosition(b []byte, p Position) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(p.Index))
	return append(b, p.Hash[:]...)
}

func appendTC(b []byte, tc *quorumcert.TC) []byte {
	if b = appendFlag(b, tc != nil); tc != nil {
		b = tc.AppendTo(b)
	}
	return b
}

func appendEC(b []byte, ec *quorumcert.EC) []byte {
	if b = appendFlag(b, ec != nil); ec != nil {
		b = ec.AppendTo(b)
	}
	return b
}

func appendQC(b []byte, qc *quorumcert.QC) []byte {
	if b = appendFlag(b, qc != nil); qc != nil {
		b = qc.AppendTo(b)
	}
	return b
}

func appendCommit(b []byte, cc *quorumcert.Commit) []byte {
	if b = appendFlag(b, cc != nil); cc != nil {
		b = cc.AppendTo(b)
	}
	return b
}

func (m *AppendEntries) appendTo(b []byte) []byte {
	b = m.Ack.AppendTo(b)
	b = appendQC(appendEC(b, m.Election), m.BaseQC)
	return appendBlocks(b, m.Blocks)
}

func (m *AppendEntriesResponse) appendTo(b []byte) []byte { return m.Ack.AppendTo(b) }

func (m *Suspect) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(m.Term))
	b = append(b, byte(m.Signer))
	return append(b, m.Sig[:]...)
}

func (m *RequestVote) appendTo(b []byte) []byte {
	b = append(b, byte(m.From))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Term))
	b = appendQC(m.Lock.AppendTo(b), m.LockQC)
	return appendTC(b, m.TC)
}

func (m *RequestVoteResponse) appendTo(b []byte) []byte { return m.Vote.AppendTo(b) }

func (m *Proof) appendTo(b []byte) []byte {
	return m.TermProof.AppendTo(append(b, byte(m.From)))
}

// AppendTo appends the wire form.
func (p *TermProof) AppendTo(b []byte) []byte {
	b = appendEC(appendTC(b, p.TC), p.EC)
	b = appendQC(appendQC(b, p.BaseQC), p.QC)
	return appendCommit(b, p.Commit)
}

func (m *Status) appendTo(b []byte) []byte {
	b = append(b, byte(m.From))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Term))
	b = append(b, byte(m.Leader))
	b = m.Lock.AppendTo(appendPosition(b, m.Tip))
	b = appendPosition(b, m.Commit)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Acked))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Base))
	return appendFlag(b, m.Behind)
}

func (m *Resign) appendTo(b []byte) []byte {
	return binary.BigEndian.AppendUint64(append(b, byte(m.From)), uint64(m.Term))
}

func (m *FetchChain) appendTo(b []byte) []byte {
	b = appendPosition(append(b, byte(m.From)), m.Target)
	return binary.BigEndian.AppendUint64(b, uint64(m.Above))
}

func (m *Chain) appendTo(b []byte) []byte {
	b = append(b, byte(m.From))
	if b = appendFlag(b, m.LeaderAck != nil); m.LeaderAck != nil {
		b = m.LeaderAck.AppendTo(b)
	}
	return appendBlocks(b, m.Blocks)
}

func (m *FetchCommitted) appendTo(b []byte) []byte {
	return appendPosition(append(b, byte(m.From)), m.After)
}

func (m *Committed) appendTo(b []byte) []byte {
	b = quorumcert.AppendHeaders(append(b, byte(m.From)), m.Bridge)
	b = appendQC(appendCommit(b, m.Commit), m.LockQC)
	return appendBlocks(b, m.Blocks)
}

func (m *CheckpointVote) appendTo(b []byte) []byte { return m.Checkpoint.AppendTo(b) }

func (m *StableCheckpoint) appendTo(b []byte) []byte {
	return m.Stable.AppendTo(append(b, byte(m.From)))
}

func (m *Accusation) appendTo(b []byte) []byte {
	return m.Evidence.AppendTo(append(b, byte(m.From)))
}

func (m *Reminder) appendTo(b []byte) []byte { return m.Ack.AppendTo(append(b, byte(m.From))) }

func (m *Changes) appendTo(b []byte) []byte {
	return appendCommit(AppendChangeProofs(append(b, byte(m.From)), m.List), m.Beyond)
}

func (m *FetchState) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, byte(m.From)), uint64(m.At))
	return binary.BigEndian.AppendUint32(b, m.Part)
}

func (m *StatePart) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, byte(m.From)), uint64(m.At))
	b = binary.BigEndian.AppendUint32(b, m.Part)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(m.Data))), m.Data...)
}
