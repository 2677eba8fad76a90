package clusterfile

import (
	"encoding/pem"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

func exampleProof() *bftraft.ChangeProof {
	return &bftraft.ChangeProof{
		Header: quorumcert.Header{Prev: crypto.Digest{3}, First: 9, Last: 9},
		Entry:  []byte("change"), Branch: []crypto.Digest{{1}, {2}},
	}
}

func TestChangesSurviveTheFile(t *testing.T) {
	for _, want := range [][]*bftraft.ChangeProof{nil, {exampleProof(), exampleProof()}} {
		got, err := DecodeChanges(EncodeChanges(want))
		require.NoError(t, err)
		require.Equal(t, bftraft.AppendChangeProofs(nil, want), bftraft.AppendChangeProofs(nil, got))
	}
}

func TestChangesThatAreNoneAreRefused(t *testing.T) {
	good := EncodeChanges([]*bftraft.ChangeProof{exampleProof()})
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
	} {
		_, err := DecodeChanges(text)
		require.ErrorIs(t, err, ErrInvalid, name)
	}
	_, err := DecodeChanges(append(good, "\n \n"...))
	require.NoError(t, err, "white space is nothing")
}
