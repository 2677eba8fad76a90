package judge

import (
	"bytes"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// rememberedStatements is how many verified statements are remembered for each node. The replies
// of one block carry one statement and one signature, however many requests are in it.
const rememberedStatements = 16

// Known is what one knows of the configurations of a cluster. It may grow: a bftraft.Verifier is
// one that does not.
type Known interface {
	Configurations() *quorumcert.Configurations
	// ChangesUpTo returns the proofs of the changes up to an index.
	ChangesUpTo(bftraft.Index) []*bftraft.ChangeProof
}

// Replies judges what one node says about requests, each statement once: the newest that were
// found valid are remembered, bytes for bytes, so that the verdict is the same as that of verifying
// again.
type Replies struct {
	cluster bftraft.Digest
	known   Known
	node    bftraft.NodeID
	list    [rememberedStatements]signedStatement
	next    int
}

type signedStatement struct {
	reply quorumcert.Reply
	sig   crypto.Signature
}

// NewReplies returns the judge of the replies of one node of a cluster.
func NewReplies(
	cluster bftraft.Digest, known Known, node bftraft.NodeID,
) Replies {
	return Replies{cluster: cluster, known: known, node: node}
}

// Verify says whether a reply is the word of the node, over whose link it came, and its branch
// leads to the root that the node signed.
func (j *Replies) Verify(r *bftraft.BlockReply) bool {
	cfg := j.known.Configurations().ForReply(r.Reply.Index, r.Reply.Configuration)
	if cfg == nil || r.Signer != j.node || !cfg.Has(j.node) && !mutant.On(mutant.M164) ||
		r.Reply.Cluster != j.cluster || !crypto.VerifyBranch(
		r.Reply.Results, r.Leaf(), int(r.Place), int(r.Leaves), r.Branch) {
		return false
	}
	s := signedStatement{r.Reply, r.Sig}
	for i := range j.list {
		if j.list[i] == s {
			return true
		}
	}
	if cfg.VerifyOne(j.node, s.reply, s.sig) != nil {
		return false
	}
	j.list[j.next] = s
	j.next = (j.next + 1) % len(j.list)
	return true
}

// Reads judges the answers of one node to reads. It remembers the newest lock that the node has
// proven, with its certificate, bytes for bytes.
type Reads struct {
	cluster bftraft.Digest
	known   Known
	node    bftraft.NodeID
	proven  []byte
}

// NewReads returns the judge of the answers of one node of a cluster.
func NewReads(
	cluster bftraft.Digest, known Known, node bftraft.NodeID,
) Reads {
	return Reads{cluster: cluster, known: known, node: node}
}

// Verify says whether the answer to a read is the word of the node, over whose link it came, and
// its lock is proven.
func (j *Reads) Verify(r *bftraft.ReadReply, queries [][]byte) bool {
	return r.Signer == j.node && j.provesLock(r) &&
		r.VerifyStatement(j.cluster, j.known.Configurations(), queries) == nil
}

func (j *Reads) provesLock(r *bftraft.ReadReply) bool {
	if r.LockQC == nil {
		return r.VerifyLock(j.cluster, j.known.Configurations()) == nil
	}
	shown := r.LockQC.AppendTo(r.Lock.AppendTo(nil))
	if bytes.Equal(shown, j.proven) {
		return true
	}
	if r.VerifyLock(j.cluster, j.known.Configurations()) != nil {
		return false
	}
	j.proven = shown
	return true
}
