package bftraft

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// sized returns operations of the given lengths.
func sized(lengths ...int) [][]byte {
	var ops [][]byte
	for _, n := range lengths {
		ops = append(ops, make([]byte, n))
	}
	return ops
}

func TestRequestReadsBackAsSigned(t *testing.T) {
	c := newWireCluster(t)
	r := SignRequest(c.id, wireKey(11), 5, 6, [][]byte{[]byte("a"), {}, []byte("bcd")})
	got, err := c.gate.VerifyRequest(r.Raw())
	require.NoError(t, err)
	require.Equal(t, r, got)
	require.Equal(t, r.Raw(), append(got.appendBody(nil), got.Sig[:]...))
	require.Equal(t, Entry{EntryRequest, r.Raw()}, got.Entry())
}

// fits returns lengths of operations that fill a request of total bytes.
func fits(total int) []int {
	body := total - requestHeadBytes - 64 - 2*4
	return []int{MaxOpBytes, body - MaxOpBytes}
}

func TestRequestLimitsAreExact(t *testing.T) {
	c := newWireCluster(t)
	for name, k := range map[string]struct {
		ops  [][]byte
		want error
	}{
		"one empty operation":  {sized(0), nil},
		"largest operation":    {sized(MaxOpBytes), nil},
		"operation too large":  {sized(MaxOpBytes + 1), ErrRequestTooLarge},
		"most operations":      {make([][]byte, MaxRequestOps), nil},
		"too many operations":  {make([][]byte, MaxRequestOps+1), ErrRequestTooLarge},
		"65535 operations":     {make([][]byte, 65535), ErrRequestTooLarge},
		"largest request":      {sized(fits(MaxRequestBytes)...), nil},
		"request too large":    {sized(fits(MaxRequestBytes + 1)...), ErrRequestTooLarge},
		"no operations":        {nil, ErrRequestMalformed},
		"number that wraps":    {make([][]byte, 65536), ErrRequestMalformed},
		"second one too large": {sized(1, MaxOpBytes+1), ErrRequestTooLarge},
	} {
		r := SignRequest(c.id, wireKey(11), 1, 1, k.ops)
		_, err := c.gate.VerifyRequest(r.Raw())
		require.ErrorIs(t, err, k.want, name)
	}
}

// The largest request must be orderable: it fits a block, and its block a message.
func TestLargestRequestFitsABlockAndAFrame(t *testing.T) {
	c := newWireCluster(t)
	r := SignRequest(c.id, wireKey(11), 1, 1, sized(fits(MaxRequestBytes)...))
	require.Len(t, r.Raw(), MaxRequestBytes)
	b := NewBlock(Position{Hash: c.id}, []Entry{r.Entry()})
	m := &AppendEntries{Blocks: []*Block{b}, Ack: c.ack(2, 3, b.End(), 0)}
	base, qc := c.base()
	m.Election, m.BaseQC = c.ec(3, 2, base, 1, 2, 3, 4), qc
	v, drop := c.gate.Verify(2, Encode(m))
	require.Equal(t, Accepted, drop)
	require.Equal(t, entriesValid, v.Message().(*AppendEntries).Blocks[0].checked)
}

func TestSessionsAndSequencesCountFromOne(t *testing.T) {
	c := newWireCluster(t)
	for _, k := range []struct {
		session, sequence uint64
		want              error
	}{
		{1, 1, nil}, {0, 1, ErrRequestMalformed}, {1, 0, ErrRequestMalformed},
		{0, 0, ErrRequestMalformed}, {1<<64 - 1, 1<<64 - 1, nil},
	} {
		r := SignRequest(c.id, wireKey(11), k.session, k.sequence, sized(1))
		_, err := c.gate.VerifyRequest(r.Raw())
		require.ErrorIs(t, err, k.want, "session %d, sequence %d", k.session, k.sequence)
	}
}

func TestRequestsCutOrPaddedAreRefused(t *testing.T) {
	c := newWireCluster(t)
	raw := c.request(11, 1, "put", "", "get").Raw()
	for n := range raw {
		_, err := c.gate.VerifyRequest(raw[:n])
		require.ErrorIs(t, err, ErrRequestMalformed, "cut to %d of %d", n, len(raw))
	}
	_, err := c.gate.VerifyRequest(append(slices.Clone(raw), 0))
	require.ErrorIs(t, err, ErrRequestMalformed)
}

func TestNoByteOfARequestCanBeChanged(t *testing.T) {
	c, rng := newWireCluster(t), wireRand(t)
	raw := c.request(11, 1, "put", "", "get").Raw()
	for at := range raw {
		for range 3 {
			bad := slices.Clone(raw)
			bad[at] ^= byte(1 + rng.IntN(255))
			r, err := c.gate.VerifyRequest(bad)
			require.Nil(t, r)
			switch {
			case at < 32:
				require.ErrorIs(t, err, ErrUnknownClient, "byte %d", at)
			case at >= len(raw)-64:
				require.ErrorIs(t, err, ErrRequestSignature, "byte %d", at)
			default:
				require.Error(t, err, "byte %d", at)
			}
		}
	}
}

func TestRequestsAreWorthNothingInAnotherName(t *testing.T) {
	c := newWireCluster(t)
	good := c.request(11, 1, "put")
	resigned := func(key int) []byte {
		d := good.Digest(c.id)
		sig := wireKey(key).Sign(crypto.DomainRequest, d[:])
		return append(good.appendBody(nil), sig[:]...)
	}
	renamed := slices.Clone(good.Raw())
	bob := wireKey(12).Public()
	copy(renamed, bob[:])
	d := good.Digest(c.id)
	asMessage := wireKey(11).Sign(crypto.DomainMessage, d[:])
	for name, k := range map[string]struct {
		raw  []byte
		want error
	}{
		"as signed":            {resigned(11), nil},
		"signed by a client":   {resigned(12), ErrRequestSignature},
		"signed by a stranger": {resigned(60), ErrRequestSignature},
		"in another's name":    {renamed, ErrRequestSignature},
		"of a stranger":        {c.request(60, 1, "put").Raw(), ErrUnknownClient},
		"of a voter":           {c.request(1, 1, "put").Raw(), ErrUnknownClient},
		"of an administrator":  {c.request(21, 1, "put").Raw(), ErrUnknownClient},
		"of another cluster": {SignRequest(Digest{3}, wireKey(11), 1, 1, sized(1)).Raw(),
			ErrRequestSignature},
		"signed as a message": {append(good.appendBody(nil), asMessage[:]...), ErrRequestSignature},
	} {
		_, err := c.gate.VerifyRequest(k.raw)
		require.ErrorIs(t, err, k.want, name)
	}
}

func TestRequestDigestNamesRequestAndCluster(t *testing.T) {
	c := newWireCluster(t)
	seen := make(map[Digest]bool)
	for _, r := range []*Request{
		c.request(11, 1, "a", "b"), c.request(12, 1, "a", "b"), c.request(11, 2, "a", "b"),
		c.request(11, 1, "b", "a"), c.request(11, 1, "ab"), c.request(11, 1, "a", "b", ""),
		SignRequest(c.id, wireKey(11), 2, 1, [][]byte{[]byte("a"), []byte("b")}),
	} {
		for _, cluster := range []Digest{c.id, {1}} {
			d := r.Digest(cluster)
			require.False(t, seen[d])
			seen[d] = true
		}
	}
	again := c.request(11, 1, "a", "b")
	require.True(t, seen[again.Digest(c.id)])
}

func TestHostileRequestCountsAllocateNextToNothing(t *testing.T) {
	head := func(n uint16, rest ...byte) []byte {
		b := make([]byte, 48)
		b[39], b[47] = 1, 1
		return append(binary.BigEndian.AppendUint16(b, n), rest...)
	}
	for name, raw := range map[string][]byte{
		"65535 operations":      head(65535, make([]byte, 50)...),
		"4096 operations":       head(4096, make([]byte, 50)...),
		"an operation of 4 GiB": head(1, 0xff, 0xff, 0xff, 0xff),
		"one of 1 MiB":          head(1, 0, 0x10, 0, 0),
	} {
		grew := allocatedBytes(func() {
			_, err := DecodeRequest(raw)
			require.Error(t, err, name)
		})
		require.Less(t, grew, uint64(4096), name)
	}
}

// Statements of voters and requests of clients cannot stand in for each other even where one key
// should be used for both.
func TestRequestSignatureIsNoStatement(t *testing.T) {
	c := newWireCluster(t)
	ring := c.gate.Configurations().Latest().Keyring()
	ack := c.ack(1, 3, c.b3.End(), 0)
	msg := ack.Ack.AppendTo(nil)
	require.NoError(t, ring.Verify(1, crypto.DomainAck, msg, ack.Sig))
	for _, st := range []quorumcert.Statement{
		quorumcert.Vote{}, quorumcert.Suspicion{}, quorumcert.Reply{},
	} {
		require.Error(t, ring.Verify(1, st.Domain(), msg, ack.Sig))
	}
	require.Error(t, ring.Verify(1, crypto.DomainRequest, msg, ack.Sig))
}

func TestClientsAreFoundByKey(t *testing.T) {
	g := wireGenesis()
	for n := 30; n < 90; n++ {
		g.Clients = append(g.Clients, Enrolled{fmt.Sprint("client ", n), wireKey(n).Public()})
	}
	gate, err := NewVerifier(crypto.ZIP215(), g)
	require.NoError(t, err)
	for n := range 120 {
		enrolled := n == 11 || n == 12 || n >= 30 && n < 90
		require.Equal(t, enrolled, gate.IsClient(wireKey(n).Public()), "key %d", n)
	}
}
