package clusterfile

import (
	"bytes"
	"encoding/pem"
	"fmt"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
	"tangaroa/crypto"
)

// changesType is the type of the PEM block in which changes are kept.
const changesType = "TANGAROA CHANGES"

// MaxChangesBytes bounds a file of as many changes as a cluster can have, each with a certificate
// of 64 nodes.
const MaxChangesBytes = 32 << 20

// LoadChanges reads a file that EncodeChanges' text was written to. It verifies nothing: see Gate.
func LoadChanges(path string) ([]*bftraft.ChangeProof, error) {
	text, err := readBounded(path, MaxChangesBytes)
	if err != nil {
		return nil, fmt.Errorf("read changes: %w", err)
	}
	proofs, err := DecodeChanges(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return proofs, nil
}

// Gate returns the gate of the genesis behind the changes in a file, all of which it has verified;
// with no path, that of the genesis alone.
func (f *File) Gate(path string) (*bftraft.Verifier, error) {
	gate, err := bftraft.NewVerifier(crypto.ZIP215(), &f.Genesis)
	if err != nil || path == "" {
		return gate, err
	}
	proofs, err := LoadChanges(path)
	if err != nil {
		return nil, err
	}
	if gate, err = gate.Following(proofs); err != nil {
		return nil, fmt.Errorf("%s, under the genesis of %q: %w", path, f.Genesis.Name, err)
	}
	return gate, nil
}

// IsChanges says whether a text claims to be one of changes, as EncodeChanges writes it.
func IsChanges(text []byte) bool { return bytes.HasPrefix(text, []byte("-----BEGIN "+changesType)) }

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
	for i := 1; i < len(proofs); i++ {
		if proofs[i].Header.First <= proofs[i-1].Header.Last {
			return nil, fmt.Errorf("%w: the changes are not in order", ErrInvalid)
		}
	}
	return proofs, nil
}
