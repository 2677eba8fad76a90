package clusterfile

import (
	"bytes"
	"encoding/pem"
	"fmt"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
)

// changesType is the type of the PEM block in which changes are kept.
const changesType = "TANGAROA CHANGES"

// EncodeChanges returns the text of a file of changes: what whoever joins later, or has only the
// genesis, needs in order to know who is in the cluster now. The proofs prove themselves.
func EncodeChanges(proofs []*bftraft.ChangeProof) []byte {
	return pem.EncodeToMemory(&pem.Block{
		Type: changesType, Bytes: bftraft.AppendChangeProofs(nil, proofs),
	})
}

// DecodeChanges reads what EncodeChanges wrote. It verifies nothing: see bftraft's
// Verifier.Following. The error is ErrInvalid.
func DecodeChanges(text []byte) ([]*bftraft.ChangeProof, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != changesType {
		return nil, fmt.Errorf("%w: there is no PEM block of type %s", ErrInvalid, changesType)
	}
	if len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%w: there is more in it than changes", ErrInvalid)
	}
	s := cryptobyte.String(block.Bytes)
	proofs, ok := bftraft.ReadChangeProofs(&s)
	if !ok || !s.Empty() {
		return nil, fmt.Errorf("%w: the changes are damaged", ErrInvalid)
	}
	return proofs, nil
}
