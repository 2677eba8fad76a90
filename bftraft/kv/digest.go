package kv

import (
	"bytes"
	"encoding/binary"
	"slices"

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
//   - The image: a Merkle tree over 1,024 buckets of keys. A key that exists is in
//     the bucket that its hash names; a bucket's digest is the hash of the digests
//     of its keys' current versions in ascending order of keys; an empty bucket's,
//     and that of a subtree of empty buckets, is zero. So the tree's root is a
//     function of the set of existing keys with all their attributes, whatever
//     the order in which they came. Only buckets written since the last call are
//     computed again.
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
// hashing the history anew, is what makes a compaction cost no more than what it
// drops.

// bucketBits is how many bits of a key's hash choose its bucket.
const bucketBits = 10

// buckets is the number of buckets, the leaves of the image's tree.
const buckets = 1 << bucketBits

// image is the Merkle tree over the keys that exist.
type image struct {
	keys [buckets][]*history
	// nodes is the tree: the root at 1, the children of i at 2i and 2i+1, the
	// buckets from the place buckets on. A node that is dirty, or has a dirty
	// bucket below, is out of date.
	nodes [2 * buckets]crypto.Digest
	dirty [2 * buckets]bool
}

// Digest returns a digest of the whole state, history included: replicas with
// equal digests answer every operation and query alike. It costs the hashing of
// the buckets written since the last call. The comment above this file's code says
// what it covers and why that is sound.
func (m *Machine) Digest() crypto.Digest {
	var revisions [16]byte
	binary.BigEndian.PutUint64(revisions[:8], uint64(m.revision))
	binary.BigEndian.PutUint64(revisions[8:], uint64(m.compacted))
	root := m.image.root()
	return crypto.Hash(crypto.DomainState, tagState, revisions[:], root[:], m.chain[:])
}

// The tags keep the kinds of hashes in the state's domain apart.
var (
	tagState    = []byte("kv")
	tagVersion  = []byte("kv version")
	tagRevision = []byte("kv revision")
	tagBucket   = []byte("kv bucket")
	tagNode     = []byte("kv node")
	tagPlace    = []byte("kv place")
)

// bucketOf returns the bucket of a key. The choice is by hash so that keys with
// common beginnings spread.
func bucketOf(key []byte) int {
	d := crypto.Hash(crypto.DomainState, tagPlace, key)
	return int(binary.BigEndian.Uint16(d[:2]) >> (16 - bucketBits))
}

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

// update notes that a key was written: whether it existed before, and does now.
func (t *image) update(h *history, existed, exists bool) {
	if existed || exists {
		t.dirty[buckets+h.bucket] = true
	}
	if existed == exists {
		return
	}
	bucket := &t.keys[h.bucket]
	i, found := slices.BinarySearchFunc(*bucket, h, func(a, b *history) int {
		return bytes.Compare(a.key, b.key)
	})
	if found != existed {
		panic("kv: the image has lost a key")
	}
	if exists {
		*bucket = slices.Insert(*bucket, i, h)
	} else {
		*bucket = slices.Delete(*bucket, i, i+1)
	}
}

// root brings the tree up to date, from the buckets upwards, and returns its root.
func (t *image) root() crypto.Digest {
	for i := 2*buckets - 1; i > 0; i-- {
		if !t.dirty[i] {
			continue
		}
		t.dirty[i] = false
		t.dirty[i/2] = true
		if i >= buckets {
			t.nodes[i] = bucketDigest(t.keys[i-buckets])
		} else {
			t.nodes[i] = nodeDigest(t.nodes[2*i], t.nodes[2*i+1])
		}
	}
	t.dirty[0] = false
	return t.nodes[1]
}

func bucketDigest(keys []*history) crypto.Digest {
	if len(keys) == 0 {
		return crypto.Digest{}
	}
	list := make([]byte, 0, len(crypto.Digest{})*len(keys))
	for _, h := range keys {
		list = append(list, h.versions[len(h.versions)-1].digest[:]...)
	}
	return crypto.Hash(crypto.DomainState, tagBucket, list)
}

func nodeDigest(left, right crypto.Digest) crypto.Digest {
	if left.IsZero() && right.IsZero() {
		return crypto.Digest{}
	}
	return crypto.Hash(crypto.DomainState, tagNode, left[:], right[:])
}
