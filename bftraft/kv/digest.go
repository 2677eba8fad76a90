package kv

import (
	"encoding/binary"

	"tangaroa/crypto"
)

// The digest of the state
//
// Two replicas must have the same digest exactly if they will give the same
// answers from here on. What answers depend on is the current and the compacted
// revision, the keys that exist, and the history above the compacted revision
// (events, and reads of old revisions). The digest covers all of it by two parts,
// each of which is cheap to keep:
//
//   - The image: a Merkle tree over the keys that exist, with the digests of their
//     current versions at its leaves. Its shape follows from the set of keys alone,
//     so its root is a function of the keys with all their attributes, whatever the
//     order in which they came. Only what was written since the last call is
//     computed again, with the path above it.
//
//   - The chain: each revision hashes the chain before it together with, for each
//     key that it wrote, the digest of the version it made and of the version it
//     replaced. The chain at the compacted revision is the anchor.
//
// Every version that is left is the current one of its key, which the image covers,
// or was replaced by a change above the compacted revision, which the chain covers.
// The chain cannot be led to the same end from another anchor or by other changes
// without a collision: the digest fixes how many revisions lie between. The anchor
// itself stands for the changes that are forgotten. It is state like the rest,
// carried by snapshots, and the same on all replicas, because all have forgotten
// the same changes: compaction is an ordered operation. Keeping it, rather than
// hashing the history that is left anew, is what keeps a compaction cheap.

// Digest returns a digest of the whole state, history included: replicas with
// equal digests answer every operation and query alike. Its cost is that of a few
// hashes for each key written since the last call. The comment at the head of this
// file says what it covers and why that is sound.
func (m *Machine) Digest() crypto.Digest {
	var revisions [16]byte
	binary.BigEndian.PutUint64(revisions[:8], uint64(m.revision))
	binary.BigEndian.PutUint64(revisions[8:], uint64(m.compacted))
	root := m.image.root.sum()
	return crypto.Hash(crypto.DomainState, tagState, revisions[:], root[:], m.chain[:])
}

// The tags keep the kinds of hashes in the state's domain apart.
var (
	tagState    = []byte("kv")
	tagVersion  = []byte("kv version")
	tagRevision = []byte("kv revision")
	tagLeaf     = []byte("kv leaf")
	tagNode     = []byte("kv node")
	tagPath     = []byte("kv path")
)

// versionDigest covers a version with its key.
func versionDigest(key []byte, v version) crypto.Digest {
	var numbers [24]byte
	binary.BigEndian.PutUint64(numbers[:8], uint64(v.mod))
	binary.BigEndian.PutUint64(numbers[8:16], uint64(v.create))
	binary.BigEndian.PutUint64(numbers[16:], v.number)
	return crypto.Hash(crypto.DomainState, tagVersion, key, numbers[:], v.value)
}

// extend returns the chain after the changes of one revision, given in ascending
// order of keys. What did not exist before counts as zero.
func extend(chain crypto.Digest, changes []change) crypto.Digest {
	list := make([]byte, 0, 2*len(chain)*len(changes))
	for _, c := range changes {
		now, before, _ := c.versions()
		list = append(list, now.digest[:]...)
		list = append(list, before.digest[:]...)
	}
	return crypto.Hash(crypto.DomainState, tagRevision, chain[:], list)
}
