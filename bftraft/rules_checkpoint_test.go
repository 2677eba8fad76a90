package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/quorumcert"
)

// checkpoint is what an honest node says of the state at b.
func (l *lab) checkpoint(b *Block) quorumcert.Checkpoint {
	return quorumcert.Checkpoint{
		Cluster: l.cluster, Index: b.Last(), Hash: b.Hash(), State: Digest{1}, Sessions: Digest{2},
	}
}

func (l *lab) checkpointOf(id NodeID, cp quorumcert.Checkpoint) *CheckpointVote {
	sig := quorumcert.Sign(fakeSigner{id}, cp)
	return &CheckpointVote{quorumcert.SignedCheckpoint{Checkpoint: cp, Signer: id, Sig: sig}}
}

// at returns the checkpoint moved to another index, as if the log had grown.
func at(i Index, cp quorumcert.Checkpoint) quorumcert.Checkpoint {
	cp.Index = i
	return cp
}

// certify lets the core say what it has come to, and does what follows.
func (l *lab) certify(cp quorumcert.Checkpoint) {
	l.m.core.Certify(cp)
	l.work(l.m)
}

func (l *lab) certificateOf(cp quorumcert.Checkpoint) *quorumcert.Stable {
	st := &quorumcert.Stable{Checkpoint: cp}
	for id := NodeID(2); id <= 4; id++ {
		st.Signers = st.Signers.With(id)
		st.Sigs = append(st.Sigs, quorumcert.Sign(fakeSigner{id}, cp))
	}
	return st
}

func TestK1CheckpointOfAQuorumIsStable(t *testing.T) {
	l, a := commitOne(t, "a")
	cp := l.checkpoint(a)
	l.take()
	l.certify(cp)
	require.Len(t, messagesOf[*CheckpointVote](l, 4), 1)
	require.Equal(t, Accepted, l.say(2, l.checkpointOf(2, cp)))
	require.Nil(t, l.m.core.stable, "two of four are no quorum")
	gate, _ := l.gate.Verify(4, Encode(l.checkpointOf(4, cp)))
	require.Equal(t, Accepted, l.m.core.Step(gate))
	r, some := l.m.core.Ready()
	require.True(t, some, "who drops the log waits for it")
	require.Len(t, r.Stable, 1)
	require.Equal(t, cp, r.Stable[0].Checkpoint)
	require.Equal(t, quorumcert.SetOf(1, 2, 4), r.Stable[0].Signers)
	require.NoError(t, r.Stable[0].Verify(l.cluster, l.gate.Configurations().For(cp.Index)))
	l.m.core.Advance(r)
	require.Equal(t, Stale, l.say(3, l.checkpointOf(3, cp)), "one more changes nothing")
	r, _ = l.m.core.Ready()
	require.Empty(t, r.Stable)
}

func TestK1CheckpointsThatDifferDoNotAddUp(t *testing.T) {
	for name, change := range map[string]func(cp *quorumcert.Checkpoint){
		"state":    func(cp *quorumcert.Checkpoint) { cp.State[0]++ },
		"sessions": func(cp *quorumcert.Checkpoint) { cp.Sessions[0]++ },
		"hash":     func(cp *quorumcert.Checkpoint) { cp.Hash[0]++ },
		"index":    func(cp *quorumcert.Checkpoint) { cp.Index++ },
	} {
		l, a := commitOne(t, "a")
		cp := l.checkpoint(a)
		other := cp
		change(&other)
		l.certify(cp)
		require.Equal(t, Accepted, l.say(2, l.checkpointOf(2, cp)))
		require.Equal(t, Accepted, l.say(3, l.checkpointOf(3, other)))
		require.Nil(t, l.m.core.stable, name)
		require.Equal(t, Accepted, l.say(4, l.checkpointOf(4, cp)))
		require.NotNil(t, l.m.core.stable, name)
	}
}

func TestK1CheckpointCanBeLearnedByWhoIsBehind(t *testing.T) {
	l, a := commitOne(t, "a")
	cp := at(100, l.checkpoint(a))
	for id := NodeID(2); id <= 4; id++ {
		require.Nil(t, l.m.core.stable)
		require.Equal(t, Accepted, l.say(id, l.checkpointOf(id, cp)))
	}
	require.Equal(t, cp, l.m.core.stable.Checkpoint)
}

func TestK1OwnCheckpointMayCompleteTheQuorum(t *testing.T) {
	l, a := commitOne(t, "a")
	cp := l.checkpoint(a)
	l.say(2, l.checkpointOf(2, cp))
	l.say(3, l.checkpointOf(3, cp))
	require.Nil(t, l.m.core.stable)
	l.certify(cp)
	require.Equal(t, quorumcert.SetOf(1, 2, 3), l.m.core.stable.Signers)
}

func TestK1NodeSaysOneThingOfACheckpoint(t *testing.T) {
	l, a := commitOne(t, "a")
	cp := l.checkpoint(a)
	l.certify(cp)
	other := cp
	other.State[0]++
	l.certify(other)
	l.certify(cp)
	said := messagesOf[*CheckpointVote](l, 2)
	require.Len(t, said, 1)
	require.Equal(t, cp, said[0].Checkpoint.Checkpoint)
}

func TestK1NobodyIsAtACheckpointBeforeItIsCommitted(t *testing.T) {
	l, a := locked(t, "a")
	l.certify(l.checkpoint(a))
	require.Empty(t, messagesOf[*CheckpointVote](l, 2))
	l.m.core.halt()
	l.m.core.commit = a.End()
	l.certify(l.checkpoint(a))
	require.Empty(t, messagesOf[*CheckpointVote](l, 2), "nor when it has stopped")
}

func TestK1FirstCheckpointOfAVoterStays(t *testing.T) {
	l, a := commitOne(t, "a")
	cp := l.checkpoint(a)
	other := cp
	other.State[0]++
	require.Equal(t, Accepted, l.say(2, l.checkpointOf(2, other)))
	require.Equal(t, Conflict, l.say(2, l.checkpointOf(2, cp)))
	require.Equal(t, Duplicate, l.say(2, l.checkpointOf(2, other)))
	l.certify(cp)
	require.Equal(t, Accepted, l.say(3, l.checkpointOf(3, cp)))
	require.Nil(t, l.m.core.stable, "what came second does not count")
}

// A voter may be at the next checkpoint before the others have heard of the last one.
func TestK1ThreeCheckpointsOfAVoterAreKept(t *testing.T) {
	l, a := commitOne(t, "a")
	cp := l.checkpoint(a)
	first, second, third := at(10, cp), at(20, cp), at(30, cp)
	for _, say := range []struct {
		cp   quorumcert.Checkpoint
		want Drop
	}{
		{second, Accepted}, {first, Accepted}, {second, Duplicate}, {first, Duplicate},
		{at(5, cp), Accepted}, {at(4, cp), Stale}, {third, Accepted}, {second, Duplicate},
		{first, Duplicate}, {at(5, cp), Stale},
	} {
		require.Equal(t, say.want, l.say(2, l.checkpointOf(2, say.cp)), "at %d", say.cp.Index)
	}
	require.Equal(t, Accepted, l.say(3, l.checkpointOf(3, second)))
	require.Equal(t, Accepted, l.say(4, l.checkpointOf(4, second)))
	require.Equal(t, second, l.m.core.stable.Checkpoint)
}

// Who is slow to write one comes to it when the others have long forgotten it. They have all said
// the same of it, but for the liar that says it to the fast ones alone.
func TestK1CheckpointThatIsWrittenIsCertifiedThoughOthersHaveGotFurther(t *testing.T) {
	l, a := commitOne(t, "a")
	cp := l.checkpoint(a)
	require.Equal(t, Accepted, l.say(2, l.checkpointOf(2, cp)), "before this node has begun with it")
	l.m.core.Want(cp.Index)
	for i := range Index(4) {
		further := at(100+10*i, cp)
		for id := NodeID(2); id <= 4; id++ {
			require.Equal(t, Accepted, l.say(id, l.checkpointOf(id, further)))
		}
		require.Equal(t, further, l.m.core.stable.Checkpoint)
	}
	require.Equal(t, Accepted, l.say(3, l.checkpointOf(3, cp)))
	l.certify(cp)
	require.Len(t, messagesOf[*CheckpointVote](l, 4), 1, "others may be as slow")
	require.Equal(t, Index(130), l.m.core.stable.Index)
	var found []Index
	for _, st := range l.m.found {
		found = append(found, st.Index)
		require.NoError(t, st.Verify(l.cluster, l.gate.Configurations().For(st.Index)))
	}
	require.Equal(t, []Index{100, 110, 120, 130, cp.Index}, found)
	require.Equal(t, Stale, l.say(4, l.checkpointOf(4, cp)), "one more changes nothing")
}

func TestK1CheckpointIsRepeatedUntilItIsStable(t *testing.T) {
	l, a := commitOne(t, "a")
	cp := l.checkpoint(a)
	l.certify(cp)
	l.take()
	beat := l.m.core.cfg.HeartbeatTicks
	l.wait(3 * beat)
	require.Len(t, messagesOf[*CheckpointVote](l, 3), 3)
	l.say(2, l.checkpointOf(2, cp))
	l.say(4, l.checkpointOf(4, cp))
	l.take()
	l.wait(3 * beat)
	require.Empty(t, messagesOf[*CheckpointVote](l, 3))
}

func TestN6WhoRepeatsACheckpointIsHandedItsCertificate(t *testing.T) {
	l, a := commitOne(t, "a")
	cp := l.checkpoint(a)
	l.certify(cp)
	l.say(2, l.checkpointOf(2, cp))
	l.say(3, l.checkpointOf(3, cp))
	l.wait(1)
	l.take()
	require.Equal(t, Stale, l.say(4, l.checkpointOf(4, cp)))
	require.Empty(t, messagesOf[*StableCheckpoint](l, 4), "it will hear of the others itself")
	for range 3 {
		require.Equal(t, Stale, l.say(4, l.checkpointOf(4, cp)))
	}
	told := messagesOf[*StableCheckpoint](l, 4)
	require.Len(t, told, 1, "once in a tick is enough")
	require.Equal(t, cp, told[0].Stable.Checkpoint)
	l.wait(1)
	l.say(4, l.checkpointOf(4, cp))
	require.Len(t, messagesOf[*StableCheckpoint](l, 4), 1)
}

func TestK1CertificateOfACheckpointIsTakenFromAnybody(t *testing.T) {
	l, a := commitOne(t, "a")
	cp := l.checkpoint(a)
	st := l.certificateOf(at(50, cp))
	require.Equal(t, Accepted, l.say(3, &StableCheckpoint{Stable: st}))
	require.Equal(t, st, l.m.core.stable)
	for _, i := range []Index{1, 49, 50} {
		old := &StableCheckpoint{Stable: l.certificateOf(at(i, cp))}
		require.Equal(t, Stale, l.say(2, old))
		require.Equal(t, Index(50), l.m.core.stable.Index)
	}
	l.take()
	l.certify(cp)
	require.Empty(t, messagesOf[*CheckpointVote](l, 2), "an older one is of no use to anybody")
}

func TestGateRefusesCheckpointsThatNobodyMeans(t *testing.T) {
	l, a := commitOne(t, "a")
	cp := l.checkpoint(a)
	for name, c := range map[string]struct {
		change func(cp *quorumcert.Checkpoint)
		want   Drop
	}{
		"cluster":       {func(cp *quorumcert.Checkpoint) { cp.Cluster[0]++ }, BadSignature},
		"configuration": {func(cp *quorumcert.Checkpoint) { cp.Configuration = 1 }, UnknownChange},
		"no index":      {func(cp *quorumcert.Checkpoint) { cp.Index = 0 }, BadCertificate},
	} {
		bad := cp
		c.change(&bad)
		require.Equal(t, c.want, l.say(2, l.checkpointOf(2, bad)), name)
		st := l.certificateOf(bad)
		certified := BadCertificate
		if c.want == UnknownChange {
			certified = UnknownChange
		}
		require.Equal(t, certified, l.say(2, &StableCheckpoint{Stable: st}), name)
	}
	few := l.certificateOf(cp)
	few.Signers, few.Sigs = few.Signers.Without(2), few.Sigs[1:]
	require.Equal(t, BadCertificate, l.say(2, &StableCheckpoint{Stable: few}))
	require.Nil(t, l.m.core.stable)
}
