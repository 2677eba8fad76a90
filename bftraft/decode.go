package bftraft

import (
	"golang.org/x/crypto/cryptobyte"

	"tangaroa/quorumcert"
)

// decoder reads a frame from front to back; the first failure sticks.
type decoder struct {
	s    cryptobyte.String
	drop Drop
}

func (d *decoder) fail(why Drop) {
	if d.drop == Accepted {
		d.drop = why
	}
	d.s = nil
}

// want turns the verdict of a reader into the decoder's state.
func (d *decoder) want(ok bool) bool {
	if !ok {
		d.fail(Malformed)
	}
	return d.drop == Accepted
}

func (d *decoder) flag() bool {
	var f uint8
	d.want(d.s.ReadUint8(&f) && f <= 1)
	return d.drop == Accepted && f == 1
}

func (d *decoder) node(id *NodeID) {
	d.want(d.s.ReadUint8((*uint8)(id)) && *id <= quorumcert.MaxVoters)
}

func (d *decoder) uint64(v *uint64) { d.want(d.s.ReadUint64(v)) }

func (d *decoder) bytes(to []byte) { d.want(d.s.CopyBytes(to)) }

func (d *decoder) position(p *Position) {
	d.uint64((*uint64)(&p.Index))
	d.bytes(p.Hash[:])
}

func (d *decoder) tc() *quorumcert.TC {
	if !d.flag() {
		return nil
	}
	tc := &quorumcert.TC{}
	d.want(quorumcert.ReadTC(&d.s, tc))
	return tc
}

func (d *decoder) ec() *quorumcert.EC {
	if !d.flag() {
		return nil
	}
	ec := &quorumcert.EC{}
	d.want(quorumcert.ReadEC(&d.s, ec))
	return ec
}

func (d *decoder) qc() *quorumcert.QC {
	if !d.flag() {
		return nil
	}
	qc := &quorumcert.QC{}
	d.want(quorumcert.ReadQC(&d.s, qc))
	return qc
}

func (d *decoder) commit() *quorumcert.Commit {
	if !d.flag() {
		return nil
	}
	cc := &quorumcert.Commit{}
	d.want(quorumcert.ReadCommit(&d.s, cc))
	return cc
}

func (d *decoder) termProof(p *TermProof) {
	p.TC = d.tc()
	p.EC = d.ec()
	p.BaseQC = d.qc()
	p.QC = d.qc()
	p.Commit = d.commit()
}

// ReadTermProof reads what TermProof.AppendTo wrote.
func ReadTermProof(s *cryptobyte.String, p *TermProof) bool {
	d := decoder{s: *s}
	d.termProof(p)
	*s = d.s
	return d.drop == Accepted
}

func (d *decoder) blocks() []*Block {
	var n uint16
	if !d.want(d.s.ReadUint16(&n)) || n == 0 {
		return nil
	}
	if n > maxFrameBlocks {
		d.fail(Oversize)
		return nil
	}
	var blocks []*Block
	for range n {
		var size uint32
		var raw []byte
		if !d.want(d.s.ReadUint32(&size) && d.s.ReadBytes(&raw, int(size))) {
			return nil
		}
		b, drop := DecodeBlock(raw)
		if drop != Accepted {
			d.fail(drop)
			return nil
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// DecodeMessage reads what Encode wrote. Signatures are not judged: see Verifier.
func DecodeMessage(frame []byte) (Message, Drop) {
	if len(frame) > MaxFrameBytes {
		return nil, Oversize
	}
	d := &decoder{s: frame}
	var k uint8
	if !d.want(d.s.ReadUint8(&k)) {
		return nil, d.drop
	}
	m := d.statementMessage(messageKind(k))
	if m == nil {
		m = d.wholeMessage(messageKind(k))
	}
	if m == nil {
		return nil, Malformed
	}
	if e, ok := m.(envelope); ok {
		d.bytes(e.envelope().Sig[:])
	}
	d.want(d.s.Empty())
	if d.drop != Accepted {
		return nil, d.drop
	}
	return m, Accepted
}

// statementMessage reads the messages that carry signed statements.
func (d *decoder) statementMessage(k messageKind) Message {
	switch k {
	case kindAppend:
		m := &AppendEntries{}
		d.want(quorumcert.ReadSignedAck(&d.s, &m.Ack))
		m.Election = d.ec()
		m.BaseQC = d.qc()
		m.Blocks = d.blocks()
		return m
	case kindAck:
		m := &AppendEntriesResponse{}
		d.want(quorumcert.ReadSignedAck(&d.s, &m.Ack))
		return m
	case kindSuspect:
		m := &Suspect{}
		d.uint64((*uint64)(&m.Term))
		d.node(&m.Signer)
		d.bytes(m.Sig[:])
		return m
	case kindVote:
		m := &RequestVoteResponse{}
		d.want(quorumcert.ReadSignedVote(&d.s, &m.Vote))
		return m
	case kindCheckpoint:
		m := &CheckpointVote{}
		d.want(quorumcert.ReadSignedCheckpoint(&d.s, &m.Checkpoint))
		return m
	}
	return nil
}

// wholeMessage reads the messages that are signed as a whole, up to their signature.
func (d *decoder) wholeMessage(k messageKind) Message {
	var m envelope
	switch k {
	case kindRequestVote, kindProof, kindStatus, kindResign:
		m = d.electionMessage(k)
	case kindFetchChain, kindChain, kindFetchCommitted, kindCommitted:
		m = d.transferMessage(k)
	case kindEvidence:
		a := &Accusation{}
		d.node(&a.From)
		d.want(quorumcert.ReadEvidence(&d.s, &a.Evidence))
		m = a
	case kindReminder:
		r := &Reminder{}
		d.node(&r.From)
		d.want(quorumcert.ReadSignedAck(&d.s, &r.Ack))
		m = r
	case kindStable:
		st := &StableCheckpoint{Stable: &quorumcert.Stable{}}
		d.node(&st.From)
		d.want(quorumcert.ReadStable(&d.s, st.Stable))
		m = st
	case kindFetchState, kindStatePart:
		m = d.stateMessage(k)
	case kindChanges:
		c := &Changes{}
		d.node(&c.From)
		list, ok := ReadChangeProofs(&d.s)
		d.want(ok)
		c.List, c.Beyond = list, d.commit()
		m = c
	default:
		return nil
	}
	return m
}

func (d *decoder) stateMessage(k messageKind) envelope {
	if k == kindFetchState {
		m := &FetchState{}
		d.node(&m.From)
		d.uint64((*uint64)(&m.At))
		d.want(d.s.ReadUint32(&m.Part))
		return m
	}
	m := &StatePart{}
	d.node(&m.From)
	d.uint64((*uint64)(&m.At))
	var size uint32
	if !d.want(d.s.ReadUint32(&m.Part) && d.s.ReadUint32(&size)) || size == 0 {
		return m
	}
	if m.Part != ManifestPart && size > MaxChunkBytes || size > MaxManifestBytes {
		d.fail(Oversize)
		return m
	}
	d.want(d.s.ReadBytes(&m.Data, int(size)))
	return m
}

func (d *decoder) electionMessage(k messageKind) envelope {
	switch k {
	case kindRequestVote:
		m := &RequestVote{}
		d.node(&m.From)
		d.uint64((*uint64)(&m.Term))
		d.want(quorumcert.ReadLock(&d.s, &m.Lock))
		m.LockQC = d.qc()
		m.TC = d.tc()
		return m
	case kindProof:
		m := &Proof{}
		d.node(&m.From)
		d.termProof(&m.TermProof)
		return m
	case kindResign:
		m := &Resign{}
		d.node(&m.From)
		d.uint64((*uint64)(&m.Term))
		return m
	}
	m := &Status{}
	d.node(&m.From)
	d.uint64((*uint64)(&m.Term))
	d.node(&m.Leader)
	d.position(&m.Tip)
	d.want(quorumcert.ReadLock(&d.s, &m.Lock))
	d.position(&m.Commit)
	d.uint64((*uint64)(&m.Acked))
	d.uint64((*uint64)(&m.Base))
	m.Behind = d.flag()
	return m
}

func (d *decoder) transferMessage(k messageKind) envelope {
	switch k {
	case kindFetchChain:
		m := &FetchChain{}
		d.node(&m.From)
		d.position(&m.Target)
		d.uint64((*uint64)(&m.Above))
		return m
	case kindChain:
		m := &Chain{}
		d.node(&m.From)
		if d.flag() {
			m.LeaderAck = &quorumcert.SignedAck{}
			d.want(quorumcert.ReadSignedAck(&d.s, m.LeaderAck))
		}
		m.Blocks = d.blocks()
		return m
	case kindFetchCommitted:
		m := &FetchCommitted{}
		d.node(&m.From)
		d.position(&m.After)
		return m
	}
	m := &Committed{}
	d.node(&m.From)
	d.want(quorumcert.ReadHeaders(&d.s, &m.Bridge))
	m.Commit = d.commit()
	m.LockQC = d.qc()
	m.Blocks = d.blocks()
	return m
}
