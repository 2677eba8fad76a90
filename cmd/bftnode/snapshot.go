package main

import (
	"errors"
	"fmt"

	"tangaroa/bftraft"
	"tangaroa/crypto"
)

// snapshotText describes a snapshot that verifies: the state at Index, as a quorum certified it.
type snapshotText struct {
	positionText
	State    crypto.Digest `json:"state_root"`
	Sessions crypto.Digest `json:"sessions_root"`
	Signers  []int         `json:"signers"`
	Chunks   int           `json:"chunks"`
	Bytes    int64         `json:"bytes"`
}

// String returns it for people.
func (s *snapshotText) String() string {
	switch {
	case s == nil:
		return "none"
	case s.Index == 0:
		return fmt.Sprintf("of what the cluster begins with, %d bytes in %d chunks", s.Bytes, s.Chunks)
	}
	return fmt.Sprintf("%s, %d bytes in %d chunks, certified by nodes %v", s.positionText,
		s.Bytes, s.Chunks, s.Signers)
}

// errNotCertified says that a snapshot is not what its certificate is of.
var errNotCertified = errors.New("the snapshot is not the one that is certified")

// certifiedManifest returns the manifest of a snapshot, if the cluster has certified it.
func certifiedManifest(v *bftraft.Verifier, proof []byte) (*bftraft.Manifest, error) {
	m, ok := bftraft.DecodeManifest(proof)
	if !ok || !m.Verify(v) {
		return nil, errNotCertified
	}
	return m, nil
}

// describeManifest describes the snapshot of a manifest but for its size.
func describeManifest(m *bftraft.Manifest) *snapshotText {
	return &snapshotText{
		positionText: positionText{0, m.Stable.Index, m.Stable.Hash}, State: m.Stable.State,
		Sessions: m.Stable.Sessions, Signers: numbers(m.Stable.Signers), Chunks: m.Chunks(),
	}
}

// snapshot verifies the snapshot of a store, chunk by chunk.
func (x *examiner) snapshot() error {
	info, some := x.store.Snapshot()
	if !some {
		return nil
	}
	if info.At.Index == 0 {
		return x.origin(info)
	}
	m, err := certifiedManifest(x.verifier, info.Proof)
	if err != nil {
		return err
	}
	if m.At() != info.At {
		return errNotCertified
	}
	return x.chunks(m, describeManifest(m), info)
}

// origin verifies the state that the cluster begins with.
func (x *examiner) origin(info bftraft.SnapshotInfo) error {
	o := &x.file.Genesis.Origin
	m, ok := bftraft.DecodeManifest(info.Proof)
	if !ok || !m.Begins(o) {
		return errNotCertified
	}
	return x.chunks(m, &snapshotText{State: o.State, Chunks: m.Chunks(), Signers: []int{}}, info)
}

func (x *examiner) chunks(
	m *bftraft.Manifest, text *snapshotText, info bftraft.SnapshotInfo,
) error {
	if m.Chunks() != info.Chunks {
		return errNotCertified
	}
	for k := range info.Chunks {
		chunk, ok := x.store.SnapshotChunk(k)
		if !ok || !m.Holds(k, chunk) {
			return fmt.Errorf("%w: chunk %d", errNotCertified, k)
		}
		text.Bytes += int64(len(chunk))
	}
	x.report.Snapshot = text
	return nil
}
