package client

import (
	"bytes"
	"sync"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// rememberedStatements is how many verified statements are remembered for each node. The replies
// of one block carry one statement and one signature, however many requests are in it.
const rememberedStatements = 16

// judge verifies replies, each statement once. Nodes are judged concurrently.
type judge struct {
	cluster bftraft.Digest
	configs *quorumcert.Configurations
	nodes   [quorumcert.MaxVoters + 1]recentStatements
	locks   [quorumcert.MaxVoters + 1]recentLock
}

// recentLock remembers the newest lock that a node has proven, with its certificate, bytes for
// bytes.
type recentLock struct {
	mu     sync.Mutex
	proven []byte
}

// recentStatements remembers the newest statements of a node that were found valid, bytes for
// bytes, so that the verdict is the same as that of verifying again.
type recentStatements struct {
	mu   sync.Mutex
	list [rememberedStatements]signedStatement
	next int
}

type signedStatement struct {
	reply quorumcert.Reply
	sig   crypto.Signature
}

// reply says whether a reply is the word of the node whose link it came over, and its branch leads
// to the root that the node signed.
func (j *judge) reply(from bftraft.NodeID, r *bftraft.BlockReply) bool {
	cfg := j.configs.For(r.Reply.Index)
	if r.Signer != from || !cfg.Has(from) || r.Reply.Cluster != j.cluster ||
		r.Reply.Configuration != cfg.Entry() || !crypto.VerifyBranch(
		r.Reply.Results, r.Leaf(), int(r.Place), int(r.Leaves), r.Branch) {
		return false
	}
	return j.nodes[from].verify(cfg, from, signedStatement{r.Reply, r.Sig})
}

func (k *recentStatements) verify(
	cfg *quorumcert.Configuration, from bftraft.NodeID, s signedStatement,
) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.list {
		if k.list[i] == s {
			return true
		}
	}
	if cfg.VerifyOne(from, s.reply, s.sig) != nil {
		return false
	}
	k.list[k.next] = s
	k.next = (k.next + 1) % len(k.list)
	return true
}

// read says whether the answer to a read is the word of the node, and its lock is proven.
func (j *judge) read(from bftraft.NodeID, r *bftraft.ReadReply, query []byte) bool {
	return j.locks[from].verify(j, r) && r.VerifyStatement(j.cluster, j.configs, query) == nil
}

func (k *recentLock) verify(j *judge, r *bftraft.ReadReply) bool {
	if r.LockQC == nil {
		return r.VerifyLock(j.cluster, j.configs) == nil
	}
	shown := r.LockQC.AppendTo(r.Lock.AppendTo(nil))
	k.mu.Lock()
	defer k.mu.Unlock()
	if bytes.Equal(shown, k.proven) {
		return true
	}
	if r.VerifyLock(j.cluster, j.configs) != nil {
		return false
	}
	k.proven = shown
	return true
}
