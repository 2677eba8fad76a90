package quorumcert

import (
	"bytes"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"

	"tangaroa/crypto"
)

// encodable is whatever has a wire form.
type encodable interface {
	AppendTo(b []byte) []byte
}

// headerList lets a list of headers be read and written like the rest.
type headerList struct{ list []Header }

// AppendTo appends the wire form.
func (h *headerList) AppendTo(b []byte) []byte { return AppendHeaders(b, h.list) }

// decoders lists every reader of the package.
var decoders = map[string]func(s *cryptobyte.String) (encodable, bool){
	"Lock": func(s *cryptobyte.String) (encodable, bool) {
		v := &Lock{}
		return v, ReadLock(s, v)
	},
	"Header": func(s *cryptobyte.String) (encodable, bool) {
		v := &Header{}
		return v, ReadHeader(s, v)
	},
	"Headers": func(s *cryptobyte.String) (encodable, bool) {
		v := &headerList{}
		return v, ReadHeaders(s, &v.list)
	},
	"TC": func(s *cryptobyte.String) (encodable, bool) {
		v := &TC{}
		return v, ReadTC(s, v)
	},
	"EC": func(s *cryptobyte.String) (encodable, bool) {
		v := &EC{}
		return v, ReadEC(s, v)
	},
	"QC": func(s *cryptobyte.String) (encodable, bool) {
		v := &QC{}
		return v, ReadQC(s, v)
	},
	"Commit": func(s *cryptobyte.String) (encodable, bool) {
		v := &Commit{}
		return v, ReadCommit(s, v)
	},
	"Reply": func(s *cryptobyte.String) (encodable, bool) {
		v := &Reply{}
		return v, ReadReply(s, v)
	},
	"Receipt": func(s *cryptobyte.String) (encodable, bool) {
		v := &Receipt{}
		return v, ReadReceipt(s, v)
	},
	"Checkpoint": func(s *cryptobyte.String) (encodable, bool) {
		v := &Checkpoint{}
		return v, ReadCheckpoint(s, v)
	},
	"SignedCheckpoint": func(s *cryptobyte.String) (encodable, bool) {
		v := &SignedCheckpoint{}
		return v, ReadSignedCheckpoint(s, v)
	},
	"Stable": func(s *cryptobyte.String) (encodable, bool) {
		v := &Stable{}
		return v, ReadStable(s, v)
	},
	"SignedAck": func(s *cryptobyte.String) (encodable, bool) {
		v := &SignedAck{}
		return v, ReadSignedAck(s, v)
	},
	"SignedVote": func(s *cryptobyte.String) (encodable, bool) {
		v := &SignedVote{}
		return v, ReadSignedVote(s, v)
	},
	"Evidence": func(s *cryptobyte.String) (encodable, bool) {
		v := &Evidence{}
		return v, ReadEvidence(s, v)
	},
}

// samples returns values of each kind that has a reader.
func samples(t testing.TB) map[string][]encodable {
	f := newFixture(t)
	qc, ec, acks := f.qc(f.quorum()...), f.ec(f.quorum()...), f.ackConflict()
	votes := f.voteConflict()
	return map[string][]encodable{
		"Lock":             {&qc.Lock, &Lock{}, &ec.Base},
		"Header":           {&acks.Headers[0], &Header{}},
		"Headers":          {&headerList{acks.Headers}, &headerList{}},
		"TC":               {f.tc(f.quorum()...), f.tc(), f.tc(idsUpTo(7)...)},
		"EC":               {ec, f.ec(2)},
		"QC":               {qc, f.qc(6)},
		"Commit":           {f.commit(f.quorum()...), &Commit{Signatures: Signatures{Sigs: none()}}},
		"Reply":            {&f.receipt(1).Reply},
		"Receipt":          {f.receipt(1, 2, 3), f.receipt(7)},
		"Checkpoint":       {&f.stable(1).Checkpoint, &Checkpoint{}},
		"SignedCheckpoint": {f.signedCheckpoint(1), f.signedCheckpoint(7)},
		"Stable":           {f.stable(f.quorum()...), f.stable(7)},
		"SignedAck":        {&acks.A, &acks.B},
		"SignedVote":       {&votes.A},
		"Evidence":         {&Evidence{Acks: acks}, &Evidence{Votes: votes}},
	}
}

func none() []crypto.Signature { return []crypto.Signature{} }

func TestReadersReturnWhatWasWritten(t *testing.T) {
	all := samples(t)
	require.Len(t, all, len(decoders))
	for kind, read := range decoders {
		for _, v := range all[kind] {
			raw := v.AppendTo(nil)
			require.Equal(t, raw, v.AppendTo([]byte("head"))[4:], "%s: AppendTo appends", kind)
			s := cryptobyte.String(raw)
			got, ok := read(&s)
			require.True(t, ok, kind)
			require.True(t, s.Empty(), kind)
			require.Equal(t, raw, got.AppendTo(nil), kind)
			s = append(slices.Clone(raw), 0xee)
			_, ok = read(&s)
			require.True(t, ok, kind)
			require.Equal(t, cryptobyte.String{0xee}, s, "%s: the rest is left", kind)
		}
	}
}

// TestNoHeadersReadBackAsNone: the same proof is the same value, whoever made it.
func TestNoHeadersReadBackAsNone(t *testing.T) {
	s := cryptobyte.String(AppendHeaders(nil, nil))
	var headers []Header
	require.True(t, ReadHeaders(&s, &headers))
	require.Nil(t, headers)
}

func TestReadersRefuseEveryTruncation(t *testing.T) {
	for kind, values := range samples(t) {
		for _, v := range values {
			raw := v.AppendTo(nil)
			for n := range raw {
				s := cryptobyte.String(raw[:n])
				_, ok := decoders[kind](&s)
				require.False(t, ok, "%s cut to %d of %d bytes", kind, n, len(raw))
			}
		}
	}
}

func TestReadersRefuseNodesOutOfRange(t *testing.T) {
	f := newFixture(t)
	ack, vote, ec := f.ackConflict().A, f.voteConflict().A, f.ec(1)
	for _, id := range []byte{0, 65, 128, 255} {
		raw := ack.AppendTo(nil)
		raw[88] = id
		s := cryptobyte.String(raw)
		require.False(t, ReadSignedAck(&s, &SignedAck{}), "signer %d", id)
		for _, at := range []int{40, 89} { // candidate, signer
			raw = vote.AppendTo(nil)
			raw[at] = id
			s = raw
			require.False(t, ReadSignedVote(&s, &SignedVote{}), "byte %d is node %d", at, id)
		}
		raw = f.signedCheckpoint(1).AppendTo(nil)
		raw[144] = id
		s = raw
		require.False(t, ReadSignedCheckpoint(&s, &SignedCheckpoint{}), "signer %d", id)
		raw = ec.AppendTo(nil)
		raw[8] = id
		s = raw
		require.False(t, ReadEC(&s, &EC{}), "leader %d", id)
	}
	for _, kind := range []byte{0, 3, 255} {
		raw := (&Evidence{Votes: f.voteConflict()}).AppendTo(nil)
		raw[0] = kind
		s := cryptobyte.String(raw)
		require.False(t, ReadEvidence(&s, &Evidence{}), "kind %d", kind)
	}
}

func TestHeadersBeyondTheLimitAreRefused(t *testing.T) {
	for n, want := range map[int]bool{MaxHeaders: true, MaxHeaders + 1: false, 65535: false} {
		s := cryptobyte.String(AppendHeaders(nil, make([]Header, n)))
		var out []Header
		require.Equal(t, want, ReadHeaders(&s, &out), "%d headers", n)
	}
}

// allocated returns how many bytes do takes from the heap.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// What is announced costs nothing; only what has arrived may be paid for.
func TestHostileCountsAllocateNothing(t *testing.T) {
	hostile := map[string][]byte{
		"Headers": {0x0f, 0xff},
		"TC":      bytes.Repeat([]byte{0xff}, 16),
		"EC":      append(append(make([]byte, 8), 1), bytes.Repeat([]byte{0xff}, 56)...),
		"QC":      bytes.Repeat([]byte{0xff}, 56),
		"Commit":  append(make([]byte, 48), 0x10, 0x00),
		"Receipt": bytes.Repeat([]byte{0xff}, 120),
		"Stable":  bytes.Repeat([]byte{0xff}, 152),
	}
	for kind, raw := range hostile {
		raw = append(slices.Clone(raw), make([]byte, 20)...)
		grew := allocated(func() {
			for range 100 {
				s := cryptobyte.String(raw)
				_, ok := decoders[kind](&s)
				require.False(t, ok, kind)
			}
		})
		require.Less(t, grew/100, uint64(1024), "%s: bytes for a frame of %d", kind, len(raw))
	}
}

func TestStatementsHaveFixedLayouts(t *testing.T) {
	f := newFixture(t)
	ack, vote := f.ackConflict().A, f.voteConflict().A
	for name, c := range map[string]struct {
		v    encodable
		size int
	}{
		"Ack": {ack.Ack, 88}, "Vote": {vote.Vote, 89}, "Suspicion": {Suspicion{}, 40},
		"Reply": {Reply{}, 112}, "Checkpoint": {Checkpoint{}, 144},
		"Lock": {Lock{}, 48}, "Header": {Header{}, 80},
		"SignedCheckpoint": {f.signedCheckpoint(1), 209}, "SignedAck": {ack, 153},
		"SignedVote": {vote, 154},
	} {
		require.Len(t, c.v.AppendTo(nil), c.size, name)
	}
}

func TestStatementsNameTheClusterFirst(t *testing.T) {
	cluster := digestOf("cluster")
	for _, st := range []Statement{
		Ack{Cluster: cluster}, Vote{Cluster: cluster}, Suspicion{Cluster: cluster},
		Reply{Cluster: cluster}, Checkpoint{Cluster: cluster},
	} {
		require.True(t, bytes.HasPrefix(st.AppendTo(nil), cluster[:]), "%T", st)
	}
}

func TestStatementsHaveDomainsOfTheirOwn(t *testing.T) {
	seen := make(map[crypto.Domain]Statement)
	for _, st := range []Statement{Ack{}, Vote{}, Suspicion{}, Reply{}, Checkpoint{}} {
		require.Nil(t, seen[st.Domain()], "%T", st)
		seen[st.Domain()] = st
	}
}

func TestLocksAreOrderedByTermThenIndex(t *testing.T) {
	ascending := []Lock{{}, {Index: 1}, {Term: 1}, {Term: 1, Index: 7}, {Term: 2, Index: 3},
		{Term: 2, Index: 4}}
	for i, l := range ascending {
		for j, m := range ascending {
			require.Equal(t, i > j, l.Higher(m), "%v above %v", l, m)
		}
	}
	same := ascending[3]
	same.Hash[0] = 1
	require.False(t, same.Higher(ascending[3]), "the hash has no say")
	require.False(t, ascending[3].Higher(same))
}
