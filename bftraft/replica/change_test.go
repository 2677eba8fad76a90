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

func adminKey() crypto.PrivateKey { return crypto.KeyFromSeed([32]byte{3}) }

// change has the client carry a change of what is in force at a replica, and returns its result.
func (a *alone) change(sequence uint64, steps ...bftraft.ChangeStep) (number uint64, why error) {
	m := a.r.Verifier().Members()
	ch := &bftraft.Change{Number: m.Number + 1, Replaces: m.At, Steps: steps}
	ch.Endorse(a.verifier.Cluster(), adminKey())
	return a.carry(sequence, ch)
}

func (a *alone) carry(sequence uint64, ch *bftraft.Change) (number uint64, why error) {
	req := bftraft.SignRequest(a.verifier.Cluster(), a.client, 1, sequence, [][]byte{ch.Op()})
	frames := a.submit(req)
	require.NotEmpty(a.t, frames)
	r, err := bftraft.DecodeBlockReply(frames[0])
	require.NoError(a.t, err)
	require.NoError(a.t, r.Verify(a.verifier.Cluster(), a.r.Verifier().Configurations()))
	return bftraft.DecodeChangeResult(r.Results[0])
}

// TestJ1ChangesCountBehindThem: for what is executed, and for who may have it executed; after a
// restart too. What comes too late, or again, is told so.
func TestJ1ChangesCountBehindThem(t *testing.T) {
	a := newAlone(t)
	other := crypto.KeyFromSeed([32]byte{9, 9})
	enrol := bftraft.ChangeStep{Kind: bftraft.AddClient, Name: "o", Key: other.Public(),
		Role: bftraft.RoleWrite}
	genesis := a.r.Verifier().Members()
	first := &bftraft.Change{Number: 1, Replaces: genesis.At, Steps: []bftraft.ChangeStep{enrol}}
	_, why := a.carry(1, first)
	require.ErrorIs(t, why, bftraft.ErrChangeAuthority)
	first.Endorse(a.verifier.Cluster(), adminKey())
	for sequence := uint64(2); sequence < 4; sequence++ {
		number, why := a.carry(sequence, first)
		require.NoError(t, why, "in force, and then carried again")
		require.Equal(t, uint64(1), number)
	}
	by := func(sequence uint64) [][]byte {
		return a.submit(bftraft.SignRequest(a.verifier.Cluster(), other, 1, sequence, [][]byte{{1}}))
	}
	require.Equal(t, bftraft.FrameReply, by(1)[0][0])
	stale := &bftraft.Change{Number: 1, Replaces: genesis.At, Steps: []bftraft.ChangeStep{
		{Kind: bftraft.RemoveClient, Key: other.Public()},
	}}
	stale.Endorse(a.verifier.Cluster(), adminKey())
	number, why := a.carry(4, stale)
	require.ErrorIs(t, why, bftraft.ErrChangeStale)
	require.Equal(t, uint64(1), number)
	a.start()
	require.Equal(t, uint64(1), a.r.Verifier().Members().Number)
	require.Equal(t, bftraft.FrameReply, by(2)[0][0])
	number, why = a.change(5, bftraft.ChangeStep{
		Kind: bftraft.SetRole, Key: other.Public(), Role: bftraft.RoleRead,
	})
	require.NoError(t, why)
	require.Equal(t, uint64(2), number)
	require.Equal(t, bftraft.RefusedRole, a.refusal(by(3)[0]))
	before := a.tape.lines
	a.start()
	require.Equal(t, before, a.tape.lines, "the log tells the same again")
	require.Equal(t, uint64(2), a.r.gate.Members().Number)
}
