package crypto

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// goldenRoots has the root of n leaves at position n; leaf i is 32 times the byte i.
// Another program computed them, from the definition in RFC 6962 §2.1.
var goldenRoots = []string{
	"9e7895ff3b261a466f23ea4eedf585dbfcdc99bf690096bdaa0e353f7213d07c",
	"ea2fd04e9fb9661454a05c7503ced03cb2478bd77f3024c0c57d3abd08ebfa44",
	"614cc8cb4b6da6d45c483bc247e6752210737f93c92abcbfb5d1950b88211b94",
	"de3f7887091686de47c0c4fd746c717848bc8f398ce76e3830abf5720879061b",
	"15a285d51e3e07f363476bae70109e582bfd587a64d4c127ba7dbffc488dfea4",
	"d90fe992ec195f11e6fffb757d61f9abd7e11bf2d2f4c63d7fc08d8c7f2ca977",
	"375bc5b3d2b53a3c25694267bfd23f28a449b22398bd433b1bc4df302b70fd16",
	"0bd3bddbb35b45a5224667056732ccd8ec9e0879e5e86aaa965a901414f0f480",
	"dfdb376cf424133a509f61a7410de36d50d1baedae5ab7f51586a6df074eb451",
	"c96331466b335bcf20e5eb7ca844f7d954f948c1d6eee9a82d7fabb11bd8d25b",
	"bd2bf09eb8e03932d6dccbbd29fceb384144293429d832aa47e7cfff1f9e8a15",
	"ba95bbc1525868453e858282f71e3cf09eb29fa470a11d46ea7d9195af616790",
	"c7a656d2965ff3fd3fcee9a3fe690f69d7c77fb5d42efe456a72c1c3b1a75d7f",
	"3f3d6a52cb558ef743bb31fc5e55ead16d6323572d1e8debf4c6d08d52fdafe8",
	"b2f1662fd69fe1406441975f50868950874945d23af3fcd7b37467cf625f639c",
	"8162ae7279072f036de40302f90ef260f83386407300774f16ec3066bc447082",
	"59791961a8e4b755d3603da43790cb436c5c3aea967e0381e8813ce72a6eb72e",
	"8a31406ea63ceb4db4278ee369a6ca2765bf392122aa4aa378b9015fc9b53876",
}

func goldenLeaves(n int) []Digest {
	leaves := make([]Digest, n)
	for i := range leaves {
		for j := range leaves[i] {
			leaves[i][j] = byte(i)
		}
	}
	return leaves
}

func TestMerkleRootIsGolden(t *testing.T) {
	for n, want := range goldenRoots {
		leaves := goldenLeaves(n)
		require.Equal(t, want, MerkleRoot(leaves).String(), "%d leaves", n)
		require.Equal(t, goldenLeaves(n), leaves, "the leaves were changed")
	}
}

// top is the definition in RFC 6962 §2.1, as it is written there.
func top(leaves []Digest) Digest {
	if len(leaves) == 1 {
		return Hash(DomainMerkleLeaf, leaves[0][:])
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	left, right := top(leaves[:k]), top(leaves[k:])
	return Hash(DomainMerkleNode, left[:], right[:])
}

func TestMerkleTreeHasTheShapeOfRFC6962(t *testing.T) {
	for n := 1; n <= 130; n++ {
		leaves := goldenLeaves(n)
		node := top(leaves)
		root := MerkleRoot(leaves)
		require.Equal(t, merkleTop(n, node[:]), root)
		require.Equal(t, root, NewMerkleTree(leaves).Root())
		for i := range leaves {
			branch := NewMerkleTree(leaves).Branch(i)
			require.LessOrEqual(t, len(branch), 8)
			require.True(t, VerifyBranch(root, leaves[i], i, n, branch), "%d of %d", i, n)
		}
	}
}

func TestBranchProvesOneLeafAtOnePlaceOfOneTree(t *testing.T) {
	for n := 1; n <= 17; n++ {
		leaves := goldenLeaves(n)
		root := MerkleRoot(leaves)
		for i := range leaves {
			branch := NewMerkleTree(leaves).Branch(i)
			for m := -1; m <= 2*n+2; m++ {
				for j := -1; j <= 2*n+2; j++ {
					require.Equal(t, i == j && m == n, VerifyBranch(root, leaves[i], j, m, branch),
						"leaf %d of %d as leaf %d of %d", i, n, j, m)
				}
			}
		}
	}
}

func TestTamperedBranchIsRefused(t *testing.T) {
	for n := 1; n <= 17; n++ {
		leaves := goldenLeaves(n)
		root := MerkleRoot(leaves)
		for i, leaf := range leaves {
			branch := NewMerkleTree(leaves).Branch(i)
			for b := range len(leaf) {
				for _, target := range append([]*Digest{&root, &leaf}, pointers(branch)...) {
					target[b] ^= 1 << (b % 8)
					require.False(t, VerifyBranch(root, leaf, i, n, branch))
					target[b] ^= 1 << (b % 8)
				}
			}
			require.True(t, VerifyBranch(root, leaf, i, n, branch))
			require.False(t, VerifyBranch(root, leaf, i, n, append(branch, Digest{})))
			require.False(t, VerifyBranch(root, leaf, i, n, append([]Digest{{}}, branch...)))
			if len(branch) > 0 {
				require.False(t, VerifyBranch(root, leaf, i, n, branch[1:]))
				require.False(t, VerifyBranch(root, leaf, i, n, branch[:len(branch)-1]))
			}
		}
	}
}

func pointers(branch []Digest) []*Digest {
	var out []*Digest
	for i := range branch {
		out = append(out, &branch[i])
	}
	return out
}

// An inner node presented as a leaf must not prove anything.
func TestInnerNodeIsNoLeaf(t *testing.T) {
	leaves := goldenLeaves(4)
	level := leafHashes(leaves)
	node := Hash(DomainMerkleNode, level[0][:], level[1][:])
	branch := NewMerkleTree(leaves).Branch(0)
	require.False(t, VerifyBranch(MerkleRoot(leaves), node, 0, 2, branch[1:]))
	require.False(t, VerifyBranch(MerkleRoot(leaves), node, 0, 4, branch))
}

func TestBranchOfMissingLeafIsOurMistake(t *testing.T) {
	require.Panics(t, func() { NewMerkleTree(nil).Branch(0) })
	require.Panics(t, func() { NewMerkleTree(goldenLeaves(3)).Branch(3) })
	require.Panics(t, func() { NewMerkleTree(goldenLeaves(3)).Branch(-1) })
	require.False(t, VerifyBranch(MerkleRoot(nil), Digest{}, 0, 0, nil))
	require.Equal(t, MerkleRoot(nil), NewMerkleTree(nil).Root())
}
