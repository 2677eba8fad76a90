package quorumcert

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"

	"tangaroa/crypto"
)

// FuzzCertificateVerification holds every certificate's verifier to the naive one: both take the
// same. The first byte names the kind, the second the voters who sign, the third what is signed
// again after the changes that the rest makes to the encoding: four bytes each, a place and what
// is added there to a number of two bytes. So what is wrong in a single field, but signed as it
// stands, is reached as well as what nobody signed.
func FuzzCertificateVerification(f *testing.F) {
	fix := newFixture(f)
	judge := newNaive(fix.cluster, fix.config)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 3 || len(data) > 64 {
			return
		}
		var ids []crypto.NodeID
		for id := range 7 {
			if data[1]>>id&1 == 1 {
				ids = append(ids, crypto.NodeID(id+1))
			}
		}
		kinds := []string{"TC", "EC", "QC", "Commit", "Receipt", "Evidence", "Evidence", "Stable"}
		kind := int(data[0]) % len(kinds)
		raw := fix.ofKind(kind, ids).AppendTo(nil)
		for rest := data[3:]; len(rest) >= 4; rest = rest[4:] {
			at := int(binary.BigEndian.Uint16(rest)) % (len(raw) - 1)
			sum := binary.BigEndian.Uint16(raw[at:]) + binary.BigEndian.Uint16(rest[2:])
			binary.BigEndian.PutUint16(raw[at:], sum)
		}
		s := cryptobyte.String(raw)
		v, ok := decoders[kinds[kind]](&s)
		if !ok {
			return
		}
		c := v.(certificate)
		if data[2]&1 == 1 {
			fix.resign(c)
		}
		require.Equal(t, judge.holds(c), c.Verify(fix.cluster, fix.config) == nil,
			"%s: %v", kinds[kind], c.Verify(fix.cluster, fix.config))
	})
}

// ofKind returns a certificate of the k-th kind, signed by the given voters.
func (f *fixture) ofKind(k int, ids []crypto.NodeID) certificate {
	switch k {
	case 0:
		return f.tc(ids...)
	case 1:
		return f.ec(ids...)
	case 2:
		return f.qc(ids...)
	case 3:
		return f.commit(ids...)
	case 4:
		return f.receipt(ids...)
	case 5:
		return &Evidence{Acks: f.ackConflict()}
	case 7:
		return f.stable(ids...)
	}
	return &Evidence{Votes: f.voteConflict()}
}

// resign puts in the place of every signature the one that its signer's key gives.
func (f *fixture) resign(c certificate) {
	switch c := c.(type) {
	case *TC:
		f.resignAll(&c.Signatures, always(Suspicion{f.cluster, c.Term}))
	case *EC:
		f.resignAll(&c.Signatures, always(f.voteOf(c)))
	case *QC:
		f.resignAll(&c.Signatures, func(k int) Statement { return f.ackOf(c, k) })
	case *Commit:
		at := map[Index]crypto.Digest{c.Index: c.Hash}
		for _, h := range c.Headers {
			at[h.Last] = h.Hash()
		}
		f.resignAll(&c.Signatures, func(k int) Statement {
			a := c.Acks[k]
			return Ack{f.cluster, c.Term, a.Index, at[a.Index], a.Certified}
		})
	case *Receipt:
		f.resignAll(&c.Signatures, always(c.Reply))
	case *Stable:
		f.resignAll(&c.Signatures, always(c.Checkpoint))
	case *Evidence:
		f.resignEvidence(c)
	}
}

func (f *fixture) resignAll(s *Signatures, statement func(k int) Statement) {
	k := 0
	for _, id := range s.Signers.Members() {
		if k < len(s.Sigs) {
			s.Sigs[k] = Sign(f.signer(id), statement(k))
		}
		k++
	}
}

func (f *fixture) resignEvidence(e *Evidence) {
	if e.Acks != nil {
		e.Acks.A, e.Acks.B = f.resignAck(e.Acks.A), f.resignAck(e.Acks.B)
	}
	if e.Votes != nil {
		e.Votes.A, e.Votes.B = f.resignVote(e.Votes.A), f.resignVote(e.Votes.B)
	}
}

func TestReadersTakeTheLastVoter(t *testing.T) {
	f := newFixture(t)
	ack := f.ackConflict().A
	ack.Signer = MaxVoters
	vote := f.voteConflict().A
	vote.Signer, vote.Candidate = MaxVoters, MaxVoters
	ec := f.ec(1)
	ec.Leader = MaxVoters
	s := cryptobyte.String(ack.AppendTo(nil))
	require.True(t, ReadSignedAck(&s, &SignedAck{}))
	s = vote.AppendTo(nil)
	require.True(t, ReadSignedVote(&s, &SignedVote{}))
	s = ec.AppendTo(nil)
	require.True(t, ReadEC(&s, &EC{}))
}
