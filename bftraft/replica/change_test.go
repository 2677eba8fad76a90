package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
)

// kinds are the kinds of the frames that went to clients.
type kinds struct {
	toNodes
	frames [][]byte
}

func (k *kinds) Reply(_ ClientID, frame []byte) { k.frames = append(k.frames, frame) }

// TestC1WhoMayNotWriteAnyMoreHasItsOldResults: what was executed was, whatever changed since.
func TestC1WhoMayNotWriteAnyMoreHasItsOldResults(t *testing.T) {
	out := &kinds{toNodes: toNodes{nodes: sentFrames{}}}
	r := follower(t, &stuckCore{}, out)
	r.cfg.Core.Signer = crypto.NewSigner(1, crypto.KeyFromSeed([32]byte{1}))
	gone := crypto.KeyFromSeed([32]byte{1, 2, 3})
	ask := func(sequence uint64) *bftraft.Request {
		return bftraft.SignRequest(crypto.Digest{}, gone, 1, sequence, [][]byte{{1}})
	}
	done := ask(1)
	require.Equal(t, bftraft.Executed, r.sessions.admit(done))
	r.sessions.remember(done, result{sequence: 1})
	r.Request(ClientID{}, 0, done)
	require.Len(t, out.frames, 1)
	require.Equal(t, bftraft.FrameReply, out.frames[0][0])
	r.Request(ClientID{}, 0, ask(2))
	require.Len(t, out.frames, 2)
	refusal, err := bftraft.DecodeRefusal(out.frames[1])
	require.NoError(t, err)
	require.Equal(t, bftraft.RefusedRole, refusal.Code)
	require.Empty(t, r.pool.clients)
}

// TestRequestsOfWhoHasLeftAreForgotten: a leader that proposed them would be proven faulty.
func TestRequestsOfWhoHasLeftAreForgotten(t *testing.T) {
	r, core := leadingReplica(1)
	stays, gone := crypto.KeyFromSeed([32]byte{7}), crypto.KeyFromSeed([32]byte{1, 2, 3})
	for _, k := range []crypto.PrivateKey{stays, gone} {
		r.pool.add(bftraft.SignRequest(crypto.Digest{}, k, 1, 1, [][]byte{{1}}), 0, 0)
	}
	r.proposeNext()
	require.Len(t, core.blocks, 1)
	require.Len(t, core.blocks[0], 1)
	req, err := bftraft.DecodeRequest(core.blocks[0][0].Data)
	require.NoError(t, err)
	require.Equal(t, stays.Public(), req.Client)
}
