package crypto

import (
	"encoding/binary"
	"fmt"
)

// MerkleRoot returns the root over the leaves. The tree has the shape of RFC 6962
// §2.1 (the left subtree of a node is the greatest full one), leaves and inner
// nodes have domains of their own, and the root also covers the number of leaves,
// so that a branch proves the position among exactly that many. No leaves is a
// tree too.
func MerkleRoot(leaves []Digest) Digest {
	if len(leaves) == 0 {
		return merkleTop(0, nil)
	}
	level := leafHashes(leaves)
	for len(level) > 1 {
		level = parents(level[:0], level)
	}
	return merkleTop(len(leaves), level[0][:])
}

// MerkleTree is the tree of MerkleRoot with all its nodes, for who wants many branches of it.
type MerkleTree struct {
	leaves int
	levels [][]Digest // from the hashes of the leaves up to the topmost node
}

// NewMerkleTree returns the tree over the leaves.
func NewMerkleTree(leaves []Digest) *MerkleTree {
	t := &MerkleTree{leaves: len(leaves), levels: [][]Digest{leafHashes(leaves)}}
	for level := t.levels[0]; len(level) > 1; {
		level = parents(make([]Digest, 0, (len(level)+1)/2), level)
		t.levels = append(t.levels, level)
	}
	return t
}

// Root returns what MerkleRoot returns for the leaves.
func (t *MerkleTree) Root() Digest {
	if t.leaves == 0 {
		return merkleTop(0, nil)
	}
	return merkleTop(t.leaves, t.levels[len(t.levels)-1][0][:])
}

// Branch returns the siblings on the way from leaf i (from zero) up to the root, lowest first. It
// panics when there is no such leaf.
func (t *MerkleTree) Branch(i int) []Digest {
	if i < 0 || i >= t.leaves {
		panic(fmt.Sprintf("crypto: branch of leaf %d of %d", i, t.leaves))
	}
	branch := make([]Digest, 0, len(t.levels)-1)
	for _, level := range t.levels {
		if sibling := i ^ 1; sibling < len(level) {
			branch = append(branch, level[sibling])
		}
		i /= 2
	}
	return branch
}

// VerifyBranch reports whether the branch proves that leaf stands at position i
// (from zero) of the n leaves under root. The branch must have exactly the length
// that i and n demand.
func VerifyBranch(root, leaf Digest, i, n int, branch []Digest) bool {
	if i < 0 || i >= n {
		return false
	}
	node, used := Hash(DomainMerkleLeaf, leaf[:]), 0
	for width := n; width > 1; width = width/2 + width%2 {
		if sibling := i ^ 1; sibling < width {
			if used == len(branch) {
				return false
			}
			if sibling < i {
				node = Hash(DomainMerkleNode, branch[used][:], node[:])
			} else {
				node = Hash(DomainMerkleNode, node[:], branch[used][:])
			}
			used++
		}
		i /= 2
	}
	return used == len(branch) && merkleTop(n, node[:]) == root
}

// merkleTop binds the topmost node to the number of leaves under it.
func merkleTop(n int, top []byte) Digest {
	var count [8]byte
	binary.BigEndian.PutUint64(count[:], uint64(n))
	return Hash(DomainMerkleRoot, count[:], top)
}

func leafHashes(leaves []Digest) []Digest {
	level := make([]Digest, len(leaves))
	for i := range leaves {
		level[i] = Hash(DomainMerkleLeaf, leaves[i][:])
	}
	return level
}

// parents appends the level above a level to up, which may begin where the level does. A last node
// without a sibling moves up as it is; that is what gives the shape of RFC 6962.
func parents(up, level []Digest) []Digest {
	for i := 0; i < len(level); i += 2 {
		if i+1 == len(level) {
			up = append(up, level[i])
			break
		}
		up = append(up, Hash(DomainMerkleNode, level[i][:], level[i+1][:]))
	}
	return up
}
