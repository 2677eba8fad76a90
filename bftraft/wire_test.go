package bftraft

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
)

const wireDir = "testdata/wire"

// readGolden returns the bytes of a golden file: hex digits, 32 bytes to the line.
func readGolden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(wireDir, name+".hex"))
	require.NoError(t, err, "make it with -rewrite")
	raw, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	require.NoError(t, err, name)
	return raw
}

func writeGolden(t *testing.T, name string, raw []byte) {
	var text strings.Builder
	for line := range slices.Chunk(raw, 32) {
		text.WriteString(hex.EncodeToString(line) + "\n")
	}
	require.NoError(t, os.MkdirAll(wireDir, 0o755))
	path := filepath.Join(wireDir, name+".hex")
	require.NoError(t, os.WriteFile(path, []byte(text.String()), 0o644))
}

// The golden files pin the wire form. One that changes is a new protocol: nodes of the old one
// would refuse everything. Rewrite them with -rewrite, and only for that.
func TestWireFormIsPinnedByGoldenFiles(t *testing.T) {
	c := newWireCluster(t)
	for _, i := range c.instances() {
		frame := Encode(i.msg)
		if wireFlag("rewrite") == true {
			writeGolden(t, i.name, frame)
		}
		require.Equal(t, hex.EncodeToString(readGolden(t, i.name)), hex.EncodeToString(frame),
			"%s: another frame than in %s", i.name, wireDir)
	}
	files, err := os.ReadDir(wireDir)
	require.NoError(t, err)
	require.Len(t, files, len(c.instances()), "a golden file without a message")
}

func TestGoldenFilesCoverEveryKindOfMessage(t *testing.T) {
	c := newWireCluster(t)
	seen := make([]bool, len(messageNames))
	for _, i := range c.instances() {
		seen[i.msg.kind()] = true
		require.Equal(t, messageNames[i.msg.kind()], MessageName(i.msg))
	}
	for k := kindAppend; int(k) < len(messageNames); k++ {
		require.True(t, seen[k], "no instance of %s", messageNames[k])
	}
}

func TestDecodeReturnsWhatWasEncoded(t *testing.T) {
	for _, i := range newWireCluster(t).instances() {
		frame := Encode(i.msg)
		got, drop := DecodeMessage(frame)
		require.Equal(t, Accepted, drop, i.name)
		require.IsType(t, i.msg, got, i.name)
		require.Equal(t, frame, Encode(got), i.name)
	}
}

func TestTruncatedFramesAreRefused(t *testing.T) {
	for _, i := range newWireCluster(t).instances() {
		frame := Encode(i.msg)
		for n := range frame {
			m, drop := DecodeMessage(frame[:n])
			require.Equal(t, Malformed, drop, "%s cut to %d of %d", i.name, n, len(frame))
			require.Nil(t, m)
		}
	}
}

func TestTrailingBytesAreRefused(t *testing.T) {
	for _, i := range newWireCluster(t).instances() {
		for _, extra := range [][]byte{{0}, {1}, {0xff}, make([]byte, 64)} {
			m, drop := DecodeMessage(append(Encode(i.msg), extra...))
			require.Equal(t, Malformed, drop, "%s with %d more bytes", i.name, len(extra))
			require.Nil(t, m)
		}
	}
}

func TestUnknownKindsAreRefused(t *testing.T) {
	known := make([]bool, 256)
	for _, i := range newWireCluster(t).instances() {
		known[i.msg.kind()] = true
	}
	for k := range 256 {
		for _, size := range []int{0, 1, 200} {
			frame := append([]byte{byte(k)}, make([]byte, size)...)
			m, drop := DecodeMessage(frame)
			if !known[k] || size < 2 {
				require.Equal(t, Malformed, drop, "kind %d, %d bytes", k, size)
				require.Nil(t, m)
			}
		}
	}
}

func TestFlagsAreZeroOrOne(t *testing.T) {
	c := newWireCluster(t)
	status := c.sealed(4, &Status{Term: 3})
	frame := Encode(status)
	at := len(frame) - 64 - 1 // Behind stands before the signature
	for f := range 256 {
		frame[at] = byte(f)
		_, drop := DecodeMessage(frame)
		require.Equal(t, f <= 1, drop == Accepted, "flag %d: %v", f, drop)
	}
}

func TestNodesBeyondTheLastAreMalformed(t *testing.T) {
	c := newWireCluster(t)
	for id := range 256 {
		frame := Encode(c.sealed(4, &Resign{Term: 3}))
		frame[1] = byte(id)
		_, drop := DecodeMessage(frame)
		require.Equal(t, id <= 64, drop == Accepted, "node %d: %v", id, drop)
	}
}

func TestSizeLimitsAreEnforced(t *testing.T) {
	_, drop := DecodeMessage(make([]byte, MaxFrameBytes+1))
	require.Equal(t, Oversize, drop)
	_, drop = DecodeMessage(make([]byte, MaxFrameBytes))
	require.Equal(t, Malformed, drop, "the size itself is allowed, the content is not")

	c := newWireCluster(t)
	var many []*Block
	prev := Position{Hash: c.id}
	for range maxFrameBlocks + 1 {
		b := NewBlock(prev, []Entry{{Kind: EntryRequest}})
		many, prev = append(many, b), b.End()
	}
	frame := Encode(c.sealed(1, &Chain{Blocks: many[:maxFrameBlocks]}))
	_, drop = DecodeMessage(frame)
	require.Equal(t, Accepted, drop)
	frame = Encode(c.sealed(1, &Chain{Blocks: many}))
	_, drop = DecodeMessage(frame)
	require.Equal(t, Oversize, drop)
}

// allocatedBytes returns what one call takes from the heap, on average.
func allocatedBytes(do func()) uint64 {
	const runs = 50
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		do()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / runs
}

// A frame costs memory for what has arrived, not for what it announces.
func TestHostileCountsAllocateNextToNothing(t *testing.T) {
	chain := func(blocks uint16, rest ...byte) []byte {
		b := []byte{byte(kindChain), 1, 0}
		return append(binary.BigEndian.AppendUint16(b, blocks), rest...)
	}
	block := func(entries uint32) []byte {
		b := append(make([]byte, 32), 0, 0, 0, 0, 0, 0, 0, 1)
		return binary.BigEndian.AppendUint32(b, entries)
	}
	inner := func(size uint32, raw []byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, size), raw...)
	}
	bridge := func(high, low byte) []byte {
		return append([]byte{byte(kindCommitted), 1, high, low}, make([]byte, 96)...)
	}
	for name, frame := range map[string][]byte{
		"65535 blocks":         chain(65535, make([]byte, 95)...),
		"1024 blocks":          chain(1024, make([]byte, 95)...),
		"a block of 4 GiB":     chain(1, 0xff, 0xff, 0xff, 0xff),
		"4 billion entries":    chain(1, inner(44, block(1<<32-1))...),
		"4096 entries":         chain(1, inner(44, block(4096))...),
		"4096 bridge headers":  bridge(0x10, 0),
		"65535 bridge headers": bridge(255, 255),
		"64 signers": append([]byte{byte(kindProof), 1, 1},
			slices.Repeat([]byte{0xff}, 97)...),
	} {
		require.LessOrEqual(t, len(frame), 100)
		grew := allocatedBytes(func() {
			_, drop := DecodeMessage(frame)
			require.NotEqual(t, Accepted, drop, name)
		})
		require.Less(t, grew, uint64(4096), "%s: bytes allocated", name)
	}
}

// A frame full of the smallest entries is the dearest there is.
func TestDecodingCostsASmallMultipleOfTheFrame(t *testing.T) {
	c := newWireCluster(t)
	b := NewBlock(Position{Hash: c.id}, make([]Entry, MaxBlockEntries))
	frame := Encode(c.sealed(1, &Chain{Blocks: []*Block{b}}))
	grew := allocatedBytes(func() {
		_, drop := DecodeMessage(frame)
		require.Equal(t, Accepted, drop)
	})
	require.Less(t, grew, uint64(64*len(frame)))
}

func TestOnlyMessagesSignedAsAWholeAreSealed(t *testing.T) {
	c := newWireCluster(t)
	for _, i := range c.instances() {
		if _, ok := i.msg.(envelope); !ok {
			require.Panics(t, func() { SignMessage(c.signer(1), c.id, i.msg) }, i.name)
		}
	}
}

func TestTermProofReadsBackWithAnyPartsMissing(t *testing.T) {
	full := newWireCluster(t).proof()
	for missing := range 32 {
		p := full
		if missing&1 != 0 {
			p.TC = nil
		}
		if missing&2 != 0 {
			p.EC = nil
		}
		if missing&4 != 0 {
			p.BaseQC = nil
		}
		if missing&8 != 0 {
			p.QC = nil
		}
		if missing&16 != 0 {
			p.Commit = nil
		}
		raw := p.AppendTo(nil)
		s := cryptobyte.String(append(slices.Clone(raw), 0xaa))
		var got TermProof
		require.True(t, ReadTermProof(&s, &got))
		require.Equal(t, cryptobyte.String{0xaa}, s)
		require.Equal(t, p, got)
		for n := range raw {
			s = raw[:n]
			require.False(t, ReadTermProof(&s, &got), "cut to %d", n)
		}
	}
}

func TestDropsHaveDistinctWords(t *testing.T) {
	seen := make(map[string]bool)
	for i, d := range Drops() {
		require.Equal(t, Drop(i), d)
		require.Regexp(t, "^[a-z_]+$", d.String(), "drop %d", i)
		require.False(t, seen[d.String()], "%v twice", d)
		seen[d.String()] = true
	}
	require.Equal(t, "accepted", Accepted.String())
	require.Equal(t, "unknown", Drop(255).String())
}
