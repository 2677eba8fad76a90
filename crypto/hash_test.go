package crypto

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// domains reads the constants from the source, so that none can be forgotten.
func domains(t *testing.T) map[string]Domain {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "hash.go", nil, 0)
	require.NoError(t, err)
	out := map[string]Domain{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Domain" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			out[spec.Names[0].Name] = Domain(value)
		}
		return true
	})
	return out
}

func TestDomainsAreDistinct(t *testing.T) {
	all := domains(t)
	require.GreaterOrEqual(t, len(all), 20)
	require.Equal(t, DomainAck, all["DomainAck"])
	form := regexp.MustCompile(`^tangaroa/[a-z]+(-[a-z]+)*/v[1-9][0-9]*$`)
	seen := map[Domain]string{}
	for name, value := range all {
		require.Regexp(t, form, string(value))
		require.Empty(t, seen[value], "%s and %s are one domain", name, seen[value])
		seen[value] = name
	}
}

// The digests were computed by another program from the documented layout.
func TestHashHasItsLayout(t *testing.T) {
	cases := []struct {
		domain Domain
		parts  []string
		want   string
	}{
		{DomainAck, nil,
			"38086f6e189b24b9c398b24871e26be724d5ebb05f111a407e84b8bc0d78c7f1"},
		{DomainAck, []string{""},
			"5fe46432219288e2c476d77242dbcf9e830802708d8625f6b7b9f6b8fd9d9a16"},
		{DomainAck, []string{"ab", "c"},
			"4f47ff491938cf77900799b4e10e005653606a1b40e493416db69fd8189da7c6"},
		{DomainVote, []string{"a", "bc"},
			"4d4e57322d44dde22d07fabe82c2c25611723236e4c52080003985f5f62011ce"},
	}
	for _, c := range cases {
		var parts [][]byte
		for _, p := range c.parts {
			parts = append(parts, []byte(p))
		}
		require.Equal(t, c.want, Hash(c.domain, parts...).String())
	}
}

func TestHashHasItsLayoutAtAnyLength(t *testing.T) {
	front, back := make([]byte, 2*gathered), []byte("back")
	for i := range front {
		front[i] = byte(i * 7)
	}
	for n := range len(front) {
		var all []byte
		for _, part := range [][]byte{[]byte(DomainEntry), front[:n], back} {
			all = append(binary.BigEndian.AppendUint64(all, uint64(len(part))), part...)
		}
		require.Equal(t, Digest(sha256.Sum256(all)), Hash(DomainEntry, front[:n], back), "%d bytes", n)
	}
}

func TestHashTellsPartsApart(t *testing.T) {
	inputs := [][][]byte{
		nil, {nil}, {nil, nil},
		{[]byte("ab")}, {[]byte("a"), []byte("b")}, {[]byte("ab"), nil}, {nil, []byte("ab")},
	}
	seen := map[Digest]bool{}
	for _, parts := range inputs {
		for _, domain := range []Domain{DomainAck, DomainVote} {
			d := Hash(domain, parts...)
			require.False(t, seen[d], "%s %q", domain, parts)
			seen[d] = true
		}
	}
}

func TestSignedBytesHasItsLayout(t *testing.T) {
	require.Equal(t, "000000000000000f"+hex.EncodeToString([]byte("tangaroa/ack/v1message")),
		hex.EncodeToString(SignedBytes(DomainAck, []byte("message"))))
}

func TestHashDoesNotAllocate(t *testing.T) {
	part := make([]byte, 32)
	require.Zero(t, testing.AllocsPerRun(100, func() { Hash(DomainMerkleNode, part, part) }))
}

// RFC 8032 gives one signature for a key and message, so the standard library is a
// second opinion about signing (not about verifying).
func TestSignIsRFC8032(t *testing.T) {
	for i := range byte(20) {
		seed := [32]byte{i, 7}
		k := KeyFromSeed(seed)
		std := ed25519.NewKeyFromSeed(seed[:])
		require.Equal(t, seed, k.Seed())
		require.Equal(t, []byte(std.Public().(ed25519.PublicKey)), bytesOf(k.Public()))
		msg := make([]byte, int(i)*13)
		want := ed25519.Sign(std, SignedBytes(DomainVote, msg))
		sig := k.Sign(DomainVote, msg)
		require.Equal(t, want, sig[:])
		require.Equal(t, hex.EncodeToString(want), sig.String())
	}
}

func TestSignerSignsUnderItsOneKey(t *testing.T) {
	k := KeyFromSeed([32]byte{1})
	s := NewSigner(7, k)
	require.Equal(t, NodeID(7), s.ID())
	require.Equal(t, k.Public(), s.Public())
	require.Equal(t, k.Sign(DomainAck, []byte("m")), s.Sign(DomainAck, []byte("m")))
	require.Panics(t, func() { NewSigner(0, k) })
	require.Panics(t, func() { NewSigner(65, k) })
	require.Panics(t, func() { NewSigner(1, PrivateKey{}) })
}
