package clusterfile

import (
	"encoding/pem"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

func exampleProof(i quorumcert.Index) *bftraft.ChangeProof {
	return &bftraft.ChangeProof{
		Header: quorumcert.Header{Prev: crypto.Digest{3}, First: i, Last: i},
		Entry:  []byte("change"), Branch: []crypto.Digest{{1}, {2}},
	}
}

func TestChangesSurviveTheFile(t *testing.T) {
	for _, want := range [][]*bftraft.ChangeProof{nil, {exampleProof(9), exampleProof(10)}} {
		got, err := DecodeChanges(EncodeChanges(want))
		require.NoError(t, err)
		require.Equal(t, bftraft.AppendChangeProofs(nil, want), bftraft.AppendChangeProofs(nil, got))
	}
}

func TestChangesThatAreNoneAreRefused(t *testing.T) {
	good := EncodeChanges([]*bftraft.ChangeProof{exampleProof(9), exampleProof(10)})
	block, _ := pem.Decode(good)
	as := func(kind string, headers map[string]string, content []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: content})
	}
	for name, text := range map[string][]byte{
		"nothing":        nil,
		"no PEM":         block.Bytes,
		"another type":   as("TANGAROA KEY", nil, block.Bytes),
		"headers":        as(changesType, map[string]string{"a": "b"}, block.Bytes),
		"cut off":        as(changesType, nil, block.Bytes[:len(block.Bytes)-1]),
		"a byte more":    as(changesType, nil, slices.Concat(block.Bytes, []byte{0})),
		"no length":      as(changesType, nil, nil),
		"a second block": slices.Concat(good, good),
		"out of order":   EncodeChanges([]*bftraft.ChangeProof{exampleProof(10), exampleProof(9)}),
		"one twice":      EncodeChanges([]*bftraft.ChangeProof{exampleProof(9), exampleProof(9)}),
	} {
		_, err := DecodeChanges(text)
		require.ErrorIs(t, err, ErrInvalid, name)
	}
	_, err := DecodeChanges(append(good, "\n \n"...))
	require.NoError(t, err, "white space is nothing")
	path := write(t, "changes", string(good))
	proofs, err := LoadChanges(path)
	require.NoError(t, err)
	require.Len(t, proofs, 2)
	_, err = LoadChanges(write(t, "changes", "none"))
	require.ErrorIs(t, err, ErrInvalid)
	_, err = LoadChanges(path + "x")
	require.ErrorIs(t, err, os.ErrNotExist)
}
