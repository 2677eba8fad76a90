package kv

import (
	"bytes"
	"encoding/binary"
	"slices"

	"tangaroa/crypto"
)

const (
	// leafKeys is how many keys a subtree of the image has at most without being
	// divided. More make updates dearer, fewer make more nodes.
	leafKeys = 16
	// pathBits is the length of a key's path, and so the depth of the deepest leaf.
	// Only there may a leaf have more keys: those whose paths are equal, which
	// nobody can make in numbers.
	pathBits = 64
)

// image is a Merkle tree over the keys that exist. A key's path, the first bits of
// its hash, leads from the root to its leaf. A subtree is a leaf if it has at most
// leafKeys keys, and else is divided by the next bit: so the tree's shape follows
// from the set of keys, and not from the order of puts and deletes.
type image struct {
	root *node
}

// node is a subtree of the image.
type node struct {
	// count is the number of keys below.
	count int
	// keys are those of a leaf, ascending. An inner node has none.
	keys []*history
	// halves are the subtrees of an inner node. A leaf has none.
	halves [2]*node
	// digest is that of the subtree, unless stale says that a key was written below
	// since it was computed.
	digest crypto.Digest
	stale  bool
}

func newImage() *image { return &image{root: &node{}} }

// placed is a key with its path beside it, so that who sorts by paths looks up no key.
type placed struct {
	path    uint64
	history *history
}

// imageOf returns the image of keys that are given in ascending order. It takes a fraction of the
// time in which they are inserted one by one.
func imageOf(keys []placed) *image {
	return &image{root: subtree(keys, make([]placed, len(keys)), 0)}
}

// subtree returns the subtree of keys that agree in the first steps of their paths. It reorders
// them, and needs as much space again to do so.
func subtree(keys, spare []placed, depth int) *node {
	n := &node{count: len(keys), stale: true}
	if n.count <= leafKeys || depth == pathBits {
		n.keys = make([]*history, n.count)
		for i, k := range keys {
			n.keys[i] = k.history
		}
		return n
	}
	left, right := 0, 0 // neither half loses its order
	for _, k := range keys {
		if k.path>>(pathBits-1-depth)&1 == 0 {
			keys[left] = k
			left++
		} else {
			spare[right] = k
			right++
		}
	}
	copy(keys[left:], spare[:right])
	n.halves = [2]*node{
		subtree(keys[:left], spare, depth+1), subtree(keys[left:], spare, depth+1),
	}
	return n
}

// pathOf returns a key's path in the image, the first step in the highest bit. It
// is taken from a hash so that keys with common beginnings part.
func pathOf(key []byte) uint64 {
	d := crypto.Hash(crypto.DomainState, tagPath, key)
	return binary.BigEndian.Uint64(d[:8])
}

// update notes that a key was written: whether it existed before, and does now.
func (t *image) update(h *history, existed, exists bool) {
	switch {
	case existed && exists:
		t.touch(h)
	case exists:
		t.root.insert(h, 0)
	case existed:
		t.root.remove(h, 0)
	}
}

func (t *image) touch(h *history) {
	n := t.root
	for depth := 0; n.divided(); depth++ {
		n.stale = true
		n = n.half(h, depth)
	}
	n.stale = true
}

func (n *node) divided() bool { return n.halves[0] != nil }

// half returns the subtree that a key's path leads to from a depth.
func (n *node) half(h *history, depth int) *node {
	return n.halves[h.path>>(pathBits-1-depth)&1]
}

func (n *node) insert(h *history, depth int) {
	n.stale = true
	n.count++
	if n.divided() {
		n.half(h, depth).insert(h, depth+1)
		return
	}
	i, found := n.find(h)
	if found {
		panic("kv: the image has a key twice")
	}
	n.keys = slices.Insert(n.keys, i, h)
	if n.count <= leafKeys || depth == pathBits {
		return
	}
	n.halves = [2]*node{{}, {}}
	for _, h := range n.keys {
		n.half(h, depth).insert(h, depth+1)
	}
	n.keys = nil
}

func (n *node) remove(h *history, depth int) {
	n.stale = true
	n.count--
	if n.divided() {
		n.half(h, depth).remove(h, depth+1)
		if n.count <= leafKeys {
			// Neither half has more keys than that: both are leaves.
			n.keys = slices.Concat(n.halves[0].keys, n.halves[1].keys)
			slices.SortFunc(n.keys, byKey)
			n.halves = [2]*node{}
		}
		return
	}
	i, found := n.find(h)
	if !found {
		panic("kv: the image has lost a key")
	}
	n.keys = slices.Delete(n.keys, i, i+1)
}

// find returns the place of a key in a leaf.
func (n *node) find(h *history) (int, bool) { return slices.BinarySearchFunc(n.keys, h, byKey) }

func byKey(a, b *history) int { return bytes.Compare(a.key, b.key) }

// sum returns the digest of the subtree, and brings it up to date first. That of
// no keys at all is zero. A leaf and an inner node are hashed under tags of their
// own, and a version's digest covers its key.
func (n *node) sum() crypto.Digest {
	if !n.stale {
		return n.digest
	}
	n.stale = false
	switch {
	case n.divided():
		left, right := n.halves[0].sum(), n.halves[1].sum()
		n.digest = crypto.Hash(crypto.DomainState, tagNode, left[:], right[:])
	case n.count == 0:
		n.digest = crypto.Digest{}
	default:
		list := make([]byte, 0, leafKeys*len(n.digest))
		for _, h := range n.keys {
			list = append(list, h.versions[len(h.versions)-1].digest[:]...)
		}
		n.digest = crypto.Hash(crypto.DomainState, tagLeaf, list)
	}
	return n.digest
}
