package statefile

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// certified returns a state of some chunks, certified by a cluster of one, and its gate.
func certified(t *testing.T) (*bftraft.Verifier, *bftraft.Manifest, [][]byte) {
	key := crypto.KeyFromSeed([32]byte{1})
	signer := crypto.NewSigner(1, key)
	g := &bftraft.Genesis{
		Name: "test", Nonce: crypto.Digest{1},
		Voters: []quorumcert.Voter{{ID: 1, Key: key.Public()}},
	}
	v, err := bftraft.NewVerifier(crypto.ZIP215(), g)
	require.NoError(t, err)
	chunks := [][]byte{[]byte("sessions"), []byte("state, part one"), []byte("part two")}
	m := &bftraft.Manifest{
		Sessions: []bftraft.Digest{bftraft.SessionsChunk(chunks[0])},
		State:    []bftraft.Digest{bftraft.StateChunk(chunks[1]), bftraft.StateChunk(chunks[2])},
	}
	cp := quorumcert.Checkpoint{Cluster: g.Hash(), Index: 7, Hash: crypto.Digest{7}}
	cp.State, cp.Sessions = m.Roots()
	m.Stable.Checkpoint = cp
	m.Stable.Signatures = quorumcert.Signatures{
		Signers: quorumcert.SetOf(1), Sigs: []crypto.Signature{quorumcert.Sign(signer, cp)},
	}
	ack := quorumcert.Ack{Cluster: g.Hash(), Term: 1, Index: 7, Hash: cp.Hash, Certified: 7}
	m.Commit = quorumcert.Commit{Term: 1, Index: 7, Hash: cp.Hash}
	m.Commit.Acks = []quorumcert.AckedAt{{Index: 7, Certified: 7}}
	m.Commit.Signatures = quorumcert.Signatures{
		Signers: quorumcert.SetOf(1), Sigs: []crypto.Signature{quorumcert.Sign(signer, ack)},
	}
	require.True(t, m.Verify(v))
	return v, m, chunks
}

// saved writes them to a file.
func saved(t *testing.T) (*bftraft.Verifier, string, [][]byte) {
	v, m, chunks := certified(t)
	path := filepath.Join(t.TempDir(), "state")
	require.NoError(t, Write(path, m, func(k int) ([]byte, error) { return chunks[k], nil }))
	return v, path, chunks
}

// readAll reads the state in a file, all of it.
func readAll(path string, v *bftraft.Verifier) ([]byte, error) {
	f, err := Open(path, v)
	if err != nil {
		return nil, err
	}
	state, err := io.ReadAll(f)
	return state, errors.Join(err, f.Close())
}

func TestStateIsReadBack(t *testing.T) {
	v, path, chunks := saved(t)
	state, err := readAll(path, v)
	require.NoError(t, err)
	require.Equal(t, bytes.Join(chunks[1:], nil), state)
	f, err := Open(path, v)
	require.NoError(t, err)
	for k, chunk := range chunks {
		n, data, err := f.Chunk()
		require.NoError(t, err)
		require.Equal(t, k, n)
		require.Equal(t, chunk, data)
	}
	_, _, err = f.Chunk()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, f.Close())
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 1, "nothing is left beside it")
}

func TestStateThatWasChangedIsNotCertified(t *testing.T) {
	v, path, _ := saved(t)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	judge := func(raw []byte) error {
		other := filepath.Join(t.TempDir(), "other")
		require.NoError(t, os.WriteFile(other, raw, 0o600))
		_, err := readAll(other, v)
		return err
	}
	require.NoError(t, judge(raw))
	for at := range raw {
		bad := bytes.Clone(raw)
		bad[at] ^= 1
		require.ErrorIs(t, judge(bad), ErrNotCertified, "byte %d", at)
		require.ErrorIs(t, judge(raw[:at]), ErrNotCertified, "cut to %d bytes", at)
	}
	require.ErrorIs(t, judge(append(bytes.Clone(raw), 0)), ErrNotCertified)
	g := &bftraft.Genesis{
		Name: "other", Nonce: crypto.Digest{2},
		Voters: []quorumcert.Voter{{ID: 1, Key: crypto.KeyFromSeed([32]byte{1}).Public()}},
	}
	other, err := bftraft.NewVerifier(crypto.ZIP215(), g)
	require.NoError(t, err)
	_, err = readAll(path, other)
	require.ErrorIs(t, err, ErrNotCertified, "of another cluster with the same keys")
}

func TestWriteTakesNoOthersPlaceAndLeavesNothingHalfDone(t *testing.T) {
	_, m, chunks := certified(t)
	path := filepath.Join(t.TempDir(), "state")
	failing := errors.New("the disk")
	err := Write(path, m, func(k int) ([]byte, error) {
		if k == 2 {
			return nil, failing
		}
		return chunks[k], nil
	})
	require.ErrorIs(t, err, failing)
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Empty(t, files)
	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
	err = Write(path, m, func(k int) ([]byte, error) { return chunks[k], nil })
	require.ErrorIs(t, err, ErrExists)
	mine, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "mine", string(mine))
}
