package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// stuckCore follows a leader in a term that does not end, and commits nothing.
type stuckCore struct {
	Protocol
	starving bool
}

func (*stuckCore) Tick()                     {}
func (*stuckCore) Term() bftraft.Term        { return 1 }
func (*stuckCore) Leader() bftraft.NodeID    { return 2 }
func (*stuckCore) Timeout() uint64           { return 10 }
func (*stuckCore) Commit() bftraft.Position  { return bftraft.Position{} }
func (c *stuckCore) SetStarving(starve bool) { c.starving = starve }

// sentFrames counts the frames that went to each node.
type sentFrames map[bftraft.NodeID]int

func (s sentFrames) Send(to bftraft.NodeID, _ bftraft.Class, _ []byte) { s[to]++ }
func (s sentFrames) Reply(ClientID, []byte)                            {}

func TestStarvingRequestIsForwardedAgainAndAgain(t *testing.T) {
	var voters []quorumcert.Voter
	for id := byte(1); id <= 4; id++ {
		voters = append(voters, quorumcert.Voter{
			ID: bftraft.NodeID(id), Key: crypto.KeyFromSeed([32]byte{id}).Public(),
		})
	}
	config, err := quorumcert.NewConfiguration(crypto.ZIP215(), 0, voters)
	require.NoError(t, err)
	core, sent := &stuckCore{}, sentFrames{}
	r := &Replica{
		cfg: Config{Transport: sent}, id: 1, configs: quorumcert.NewConfigurations(config),
		core: core, sessions: newSessions(), pool: newPool(), term: 1, leader: 2,
	}
	request := bftraft.SignRequest(crypto.Digest{}, crypto.KeyFromSeed([32]byte{9}), 1, 1,
		[][]byte{{1}})
	r.Request(ClientID{}, 0, request)
	require.Equal(t, sentFrames{2: 1}, sent, "at first the leader alone")
	for range 10 { // the first of them starts the timer
		r.Tick()
	}
	require.Equal(t, sentFrames{2: 1}, sent)
	r.Tick()
	require.Equal(t, sentFrames{2: 2, 3: 1, 4: 1}, sent, "then all, once")
	require.False(t, core.starving)
	for range 10 {
		r.Tick()
	}
	require.True(t, core.starving)
	// All of that may have been lost, while they were away. So it does not end there.
	for range 100 {
		r.Tick()
	}
	require.Equal(t, sentFrames{2: 13, 3: 12, 4: 12}, sent)
	r.pool.executed(request)
	r.Tick()
	require.False(t, core.starving)
}
