package client

import (
	"encoding/binary"
	"encoding/pem"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client/judge"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// fullReceipt is the receipt of one of five requests, signed by all seven voters.
func fullReceipt(t *testing.T) (*cluster, *Receipt) {
	c := newCluster(t, 7)
	var block []*bftraft.Request
	for k := range uint64(5) {
		ops := [][]byte{put(t, "k", "v"), put(t, "l", "w")}
		block = append(block, bftraft.SignRequest(c.id, clientKey(), 5+k, 1, ops))
	}
	r := &Receipt{}
	for _, n := range c.nodes {
		n.executed = 5
		reply := n.apply(block)[4]
		if n.id == 1 {
			r = judge.NewReceipt(block[4], &Answer{
				Reply: reply, Proof: quorumcert.Receipt{Reply: reply.Reply},
			})
		}
		r.Proof.Signers = r.Proof.Signers.With(n.id)
		r.Proof.Sigs = append(r.Proof.Sigs, reply.Sig)
	}
	return c, r
}

// FuzzReceiptProves changes the receipt of seven voters. The first byte names who of them signs;
// then come four bytes for each change: a place in the binary form, and what is added there to a
// number of two bytes. What still reads is written again as it was read; and what still verifies
// proves what the unchanged one proves, by f+1 of its signers, because nobody signed anything else.
func FuzzReceiptProves(f *testing.F) {
	var once sync.Once
	var c *cluster
	var full *Receipt
	f.Fuzz(func(t *testing.T, data []byte) {
		once.Do(func() { c, full = fullReceipt(t) })
		if len(data) < 1 || len(data) > 64 {
			return
		}
		start := *full
		start.Proof.Signers, start.Proof.Sigs = 0, nil
		for k, id := range full.Proof.Signers.Members() {
			if data[0]>>k&1 == 1 {
				start.Proof.Signers = start.Proof.Signers.With(id)
				start.Proof.Sigs = append(start.Proof.Sigs, full.Proof.Sigs[k])
			}
		}
		block, _ := pem.Decode(start.Encode())
		for rest := data[1:]; len(rest) >= 4; rest = rest[4:] {
			at := int(binary.BigEndian.Uint16(rest)) % (len(block.Bytes) - 1)
			sum := binary.BigEndian.Uint16(block.Bytes[at:]) + binary.BigEndian.Uint16(rest[2:])
			binary.BigEndian.PutUint16(block.Bytes[at:], sum)
		}
		text := pem.EncodeToMemory(block)
		changed := string(text) != string(start.Encode())
		r, err := DecodeReceipt(text)
		if err != nil {
			require.True(t, changed)
			return
		}
		require.Equal(t, text, r.Encode())
		proven, err := r.Verify(c.genesis)
		require.Equal(t, !changed && start.Proof.Signers.Len() >= 3, err == nil, "%v", err)
		if err != nil {
			require.Nil(t, proven)
			return
		}
		require.Equal(t, full.Request, proven.Request.Raw())
		require.Equal(t, full.Results, proven.Results)
		require.Equal(t, start.Proof.Signers, proven.Signers)
		require.Equal(t, bftraft.Position{Index: 5, Hash: full.Proof.Hash}, proven.Block)
		require.Equal(t, "alice", proven.Client)
	})
}

func TestReceiptWithAnyByteChangedProvesNothing(t *testing.T) {
	c, full := fullReceipt(t)
	_, err := full.Verify(c.genesis)
	require.NoError(t, err)
	block, _ := pem.Decode(full.Encode())
	for at := range block.Bytes {
		block.Bytes[at] ^= 1 << (at % 8)
		if r, err := DecodeReceipt(pem.EncodeToMemory(block)); err == nil {
			_, err = r.Verify(c.genesis)
			require.ErrorIs(t, err, ErrReceipt, "byte %d", at)
		}
		block.Bytes[at] ^= 1 << (at % 8)
	}
}

func TestReceiptOfAnotherPlaceReadsBack(t *testing.T) {
	for _, branch := range []int{0, 1, 32} {
		r := Receipt{Request: []byte{1}, Results: [][]byte{{}, {2}}, Place: 3, Leaves: 4}
		for k := range branch {
			r.Branch = append(r.Branch, crypto.Digest{byte(k)})
		}
		r.Proof.Sigs = []crypto.Signature{}
		again, err := DecodeReceipt(r.Encode())
		require.NoError(t, err, "branch of %d", branch)
		require.Equal(t, r.Encode(), again.Encode())
	}
	tooLong := Receipt{Branch: make([]bftraft.Digest, 33)}
	_, err := DecodeReceipt(tooLong.Encode())
	require.ErrorIs(t, err, ErrReceipt)
	results := Receipt{Results: make([][]byte, bftraft.MaxRequestOps)}
	_, err = DecodeReceipt(results.Encode())
	require.NoError(t, err)
	results.Results = append(results.Results, nil)
	_, err = DecodeReceipt(results.Encode())
	require.ErrorIs(t, err, ErrReceipt)
}
