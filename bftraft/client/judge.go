package client

import (
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
