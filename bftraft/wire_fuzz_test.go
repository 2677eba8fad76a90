package bftraft

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
)

// The fuzz targets run their seeds, which come from the golden files, with the ordinary tests;
// "make fuzz" runs them for longer. Each holds a decoder to one law: what it accepts, the encoder
// writes again byte by byte, so that a value has one encoding.

// wireNames lists the golden files.
func wireNames(f *testing.F) []string {
	var names []string
	for _, i := range newWireCluster(f).instances() {
		names = append(names, i.name)
	}
	return names
}

// FuzzDecodeMessage also takes every frame to the gate, on the link of the voter it names and of
// another: whatever the verdict, the gate must not panic.
func FuzzDecodeMessage(f *testing.F) {
	for _, name := range wireNames(f) {
		f.Add(readGolden(f, name))
	}
	c := newWireCluster(f)
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, drop := DecodeMessage(frame)
		if drop != Accepted {
			require.Nil(t, m)
			require.Contains(t, []Drop{Malformed, Oversize}, drop)
			_, again := c.gate.Verify(1, frame)
			require.Equal(t, drop, again, "the gate has another opinion")
			return
		}
		if again := Encode(m); !bytes.Equal(frame, again) {
			t.Fatalf("%s: read %x, wrote %x", MessageName(m), frame, again)
		}
		for from := NodeID(0); from <= 5; from++ {
			v, drop := c.gate.Verify(from, frame)
			if drop != Accepted {
				require.Zero(t, v)
				continue
			}
			require.Equal(t, from, v.From())
			require.Contains(t, c.gate.Configurations().Latest().Members().Members(), from)
		}
	})
}

// FuzzDecodeBlock also judges the entries.
func FuzzDecodeBlock(f *testing.F) {
	c := newWireCluster(f)
	for _, b := range []*Block{c.b1, c.b2, c.b3} {
		f.Add(b.Raw())
	}
	for _, e := range c.badEntries() {
		if len(e.Data) < 1000 {
			f.Add(NewBlock(c.b1.End(), []Entry{e}).Raw())
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, drop := DecodeBlock(raw)
		if drop != Accepted {
			require.Nil(t, b)
			return
		}
		require.Equal(t, raw, b.Raw())
		if again := b.encode(); !bytes.Equal(raw, again) {
			t.Fatalf("read %x, wrote %x", raw, again)
		}
		rebuilt := NewBlock(b.Before(), b.Entries())
		require.Equal(t, b.Hash(), rebuilt.Hash())
		require.LessOrEqual(t, b.First(), b.Last())
		require.Equal(t, unchecked, b.checked)
		c.gate.CheckBlocks([]*Block{b})
		require.NotEqual(t, unchecked, b.checked)
		verdict := b.checked
		c.gate.CheckBlocks([]*Block{b})
		require.Equal(t, verdict, b.checked)
	})
}

// FuzzDecodeRequest also holds the two ways to judge a request against each other: alone, as it
// comes from a client, and as the entry of a block.
func FuzzDecodeRequest(f *testing.F) {
	c := newWireCluster(f)
	f.Add(c.request(11, 1, "put").Raw())
	f.Add(c.request(12, 1, "put", "", "get").Raw())
	for _, e := range c.badEntries() {
		if len(e.Data) < 1000 {
			f.Add(e.Data)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := DecodeRequest(raw)
		_, verdict := c.gate.VerifyRequest(raw)
		state := c.gate.checkEntries([]Entry{{EntryRequest, raw}})
		require.Equal(t, verdict == nil, state == entriesValid, "%v", verdict)
		if err != nil {
			require.Nil(t, r)
			require.Equal(t, err, verdict)
			return
		}
		if again := append(r.appendBody(nil), r.Sig[:]...); !bytes.Equal(raw, again) {
			t.Fatalf("read %x, wrote %x", raw, again)
		}
		require.NotZero(t, r.Session)
		require.NotZero(t, r.Sequence)
		require.NotEmpty(t, r.Ops)
	})
}

// FuzzReadTermProof also judges what it reads.
func FuzzReadTermProof(f *testing.F) {
	c := newWireCluster(f)
	p := c.proof()
	f.Add(p.AppendTo(nil))
	f.Add((&TermProof{}).AppendTo(nil))
	f.Add((&TermProof{TC: p.TC}).AppendTo(nil))
	f.Add((&TermProof{EC: p.EC, BaseQC: p.BaseQC}).AppendTo(nil))
	f.Add((&TermProof{QC: p.QC, Commit: p.Commit}).AppendTo(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := cryptobyte.String(raw)
		var got TermProof
		if !ReadTermProof(&s, &got) {
			return
		}
		read := raw[:len(raw)-len(s)]
		if again := got.AppendTo(nil); !bytes.Equal(read, again) {
			t.Fatalf("read %x, wrote %x", read, again)
		}
		drop := c.gate.verifyTermProof(&got)
		require.Contains(t, []Drop{Accepted, BadCertificate, Malformed}, drop)
	})
}
