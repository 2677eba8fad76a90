package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// TestE5RepliesOfOthersEndTheTimer has a node that is behind: it holds a request for executed once
// f+1 others say so, each counted once, and only if they say the same.
func TestE5RepliesOfOthersEndTheTimer(t *testing.T) {
	core := &stuckCore{}
	r := &Replica{
		id: 1, core: core, sessions: newSessions(MaxResults), pool: newPool(Limits{}.orDefault()),
		gate: fourNodes(), leader: 2, term: 1,
		// With such a heartbeat the wait is starvation before it is slack.
		cfg: Config{Transport: &outbox{}, Core: bftraft.Config{HeartbeatTicks: 10}},
	}
	req := bftraft.SignRequest(crypto.Digest{1}, crypto.KeyFromSeed([32]byte{9}), 1, 1,
		[][]byte{{1}})
	r.Request(ClientID{Key: req.Client}, 0, req)
	for range core.patience() + 1 {
		r.Tick()
	}
	require.True(t, core.starving)
	says := func(from bftraft.NodeID, results byte) {
		reply := &bftraft.BlockReply{
			Client: req.Client, Session: 1, Sequence: 1, Signer: from,
			Reply: quorumcert.Reply{Index: 1, Results: crypto.Digest{results}},
		}
		require.Equal(t, bftraft.Accepted, r.StepReply(from, reply))
		r.Tick()
	}
	says(3, 1)
	says(3, 1)
	require.True(t, core.starving, "one node says it twice")
	says(4, 2)
	require.True(t, core.starving, "two nodes do not say the same")
	says(4, 1)
	require.False(t, core.starving)
	require.Equal(t, bftraft.Unasked, r.StepReply(2, &bftraft.BlockReply{
		Client: req.Client, Session: 1, Sequence: 1, Signer: 2,
	}))
}
