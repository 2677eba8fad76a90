package quorumcert

import (
	"bytes"
	"testing"

	"golang.org/x/crypto/cryptobyte"
)

// The fuzz targets run their seeds with the ordinary tests; "make fuzz" runs them for longer.
// Each holds a reader to one law: what it accepts, the writer writes again byte by byte, so a
// value has one encoding. Certificates are also judged, which must not panic.

func fuzzReader(f *testing.F, kind string) {
	fix := newFixture(f)
	for _, v := range samples(f)[kind] {
		f.Add(v.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := cryptobyte.String(raw)
		v, ok := decoders[kind](&s)
		if !ok {
			return
		}
		read := raw[:len(raw)-len(s)]
		if again := v.AppendTo(nil); !bytes.Equal(read, again) {
			t.Fatalf("read %x, wrote %x", read, again)
		}
		c, ok := v.(certificate)
		if !ok {
			return
		}
		if c.Verify(fix.cluster, fix.config) == nil && !signed(fix, c) {
			t.Fatalf("a certificate nobody signed verifies: %x", read)
		}
	})
}

// signed says whether the fixture's voters signed what the certificate is about. Any quorum of
// them is as good as another, so who signed is not compared.
func signed(f *fixture, c certificate) bool {
	switch c := c.(type) {
	case *TC:
		return c.Term == f.tc().Term
	case *EC:
		want := f.ec()
		return c.Term == want.Term && c.Leader == want.Leader && c.Base == want.Base
	case *QC:
		return c.Lock == f.qc().Lock
	case *Commit:
		want := f.commit()
		return c.Term == want.Term && c.Index == want.Index && c.Hash == want.Hash
	case *Receipt:
		return c.Reply == f.receipt().Reply
	case *Stable:
		return c.Checkpoint == f.stable().Checkpoint
	case *Evidence:
		return c.Culprit() == 1
	}
	return false
}

// FuzzReadLock holds ReadLock to one encoding.
func FuzzReadLock(f *testing.F) { fuzzReader(f, "Lock") }

// FuzzReadHeader holds ReadHeader to one encoding.
func FuzzReadHeader(f *testing.F) { fuzzReader(f, "Header") }

// FuzzReadHeaders holds ReadHeaders to one encoding.
func FuzzReadHeaders(f *testing.F) { fuzzReader(f, "Headers") }

// FuzzReadTC holds ReadTC to one encoding and looks for forgeries.
func FuzzReadTC(f *testing.F) { fuzzReader(f, "TC") }

// FuzzReadEC holds ReadEC to one encoding and looks for forgeries.
func FuzzReadEC(f *testing.F) { fuzzReader(f, "EC") }

// FuzzReadQC holds ReadQC to one encoding and looks for forgeries.
func FuzzReadQC(f *testing.F) { fuzzReader(f, "QC") }

// FuzzReadCommit holds ReadCommit to one encoding and looks for forgeries.
func FuzzReadCommit(f *testing.F) { fuzzReader(f, "Commit") }

// FuzzReadReply holds ReadReply to one encoding.
func FuzzReadReply(f *testing.F) { fuzzReader(f, "Reply") }

// FuzzReadReceipt holds ReadReceipt to one encoding and looks for forgeries.
func FuzzReadReceipt(f *testing.F) { fuzzReader(f, "Receipt") }

// FuzzReadCheckpoint holds ReadCheckpoint to one encoding.
func FuzzReadCheckpoint(f *testing.F) { fuzzReader(f, "Checkpoint") }

// FuzzReadSignedCheckpoint holds ReadSignedCheckpoint to one encoding.
func FuzzReadSignedCheckpoint(f *testing.F) { fuzzReader(f, "SignedCheckpoint") }

// FuzzReadStable holds ReadStable to one encoding and looks for forgeries.
func FuzzReadStable(f *testing.F) { fuzzReader(f, "Stable") }

// FuzzReadSignedAck holds ReadSignedAck to one encoding.
func FuzzReadSignedAck(f *testing.F) { fuzzReader(f, "SignedAck") }

// FuzzReadSignedVote holds ReadSignedVote to one encoding.
func FuzzReadSignedVote(f *testing.F) { fuzzReader(f, "SignedVote") }

// FuzzReadEvidence holds ReadEvidence to one encoding and looks for forgeries.
func FuzzReadEvidence(f *testing.F) { fuzzReader(f, "Evidence") }
