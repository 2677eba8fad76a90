package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

func sampleVotes(cluster Digest, id NodeID) quorumcert.Evidence {
	signer := crypto.NewSigner(id, crypto.KeyFromSeed([32]byte{byte(id)}))
	vote := func(candidate NodeID) quorumcert.SignedVote {
		v := quorumcert.Vote{
			Cluster: cluster, Term: 3, Candidate: candidate, Lock: Lock{Hash: cluster},
		}
		return quorumcert.SignedVote{Vote: v, Signer: id, Sig: quorumcert.Sign(signer, v)}
	}
	return quorumcert.Evidence{Votes: &quorumcert.VoteConflict{A: vote(1), B: vote(2)}}
}

func TestEvidenceEntryHasOneForm(t *testing.T) {
	e := sampleVotes(Digest{1}, 2)
	entry := EvidenceEntry(&e)
	got, ok := DecodeEvidence(entry.Data)
	require.True(t, ok)
	require.Equal(t, e, *got)
	for i := range entry.Data {
		if _, ok := DecodeEvidence(entry.Data[:i]); ok {
			t.Fatalf("%d of %d bytes are taken", i, len(entry.Data))
		}
	}
	_, ok = DecodeEvidence(append(entry.Data[:len(entry.Data):len(entry.Data)], 0))
	require.False(t, ok)
}

// TestChangedEvidenceIsRefusedOrAnotherProof changes every bit of both kinds of proof: two entries
// that differ are never read as the same proof, or the log would take one culprit's twice.
func TestChangedEvidenceIsRefusedOrAnotherProof(t *testing.T) {
	votes := sampleVotes(Digest{1}, 2)
	signed := quorumcert.SignedAck{
		Ack: quorumcert.Ack{Cluster: Digest{1}, Term: 1, Index: 2, Certified: 1}, Signer: 3,
	}
	acks := quorumcert.Evidence{Acks: &quorumcert.AckConflict{
		A: signed, B: signed, Headers: []quorumcert.Header{{First: 1, Last: 2}, {First: 3, Last: 3}},
	}}
	for _, e := range []quorumcert.Evidence{votes, acks} {
		data := EvidenceEntry(&e).Data
		refused := 0
		for bit := range len(data) * 8 {
			data[bit/8] ^= 1 << (bit % 8)
			if got, ok := DecodeEvidence(data); ok {
				require.Equal(t, data, got.AppendTo(nil), "bit %d", bit)
			} else {
				refused++
			}
			data[bit/8] ^= 1 << (bit % 8)
		}
		require.NotZero(t, refused)
		require.Less(t, refused, len(data), "most changes make another proof")
	}
}

func TestConvictionsTravelWhole(t *testing.T) {
	list := []Conviction{
		{7, sampleVotes(Digest{1}, 2)}, {0, sampleVotes(Digest{1}, 3)},
	}
	frame := EncodeConvictions(list)
	got, err := DecodeConvictions(frame)
	require.NoError(t, err)
	require.Equal(t, list, got)
	for i := range frame {
		_, err := DecodeConvictions(frame[:i])
		require.ErrorIs(t, err, ErrClientMessage)
	}
	_, err = DecodeConvictions(append(frame, 0))
	require.ErrorIs(t, err, ErrClientMessage)
	none, err := DecodeConvictions(EncodeConvictions(nil))
	require.NoError(t, err)
	require.Empty(t, none)
}

// TestA6BlockWithAProofThatProvesNothingIsInvalid judges blocks with evidence in them.
func TestA6BlockWithAProofThatProvesNothingIsInvalid(t *testing.T) {
	g := &Genesis{Name: "evidence", Testnet: true, Nonce: Digest{1}}
	for id := NodeID(1); id <= 4; id++ {
		g.Voters = append(g.Voters, quorumcert.Voter{
			ID: id, Key: crypto.KeyFromSeed([32]byte{byte(id)}).Public(),
		})
	}
	g.Clients = []Enrolled{{Name: "c", Key: crypto.KeyFromSeed([32]byte{99}).Public()}}
	v, err := NewVerifier(crypto.ZIP215(), g)
	require.NoError(t, err)
	good := sampleVotes(v.Cluster(), 2)
	judge := func(e Entry) checkState { return v.checkEntries([]Entry{e}) }
	require.Equal(t, entriesValid, judge(EvidenceEntry(&good)))
	foreign := sampleVotes(Digest{1}, 2)
	require.Equal(t, entriesInvalid, judge(EvidenceEntry(&foreign)))
	forged := *good.Votes
	forged.B.Sig[0] ^= 1
	require.Equal(t, entriesInvalid,
		judge(EvidenceEntry(&quorumcert.Evidence{Votes: &forged})))
	same := quorumcert.Evidence{Votes: &quorumcert.VoteConflict{A: good.Votes.A, B: good.Votes.A}}
	require.Equal(t, entriesInvalid, judge(EvidenceEntry(&same)))
	require.Equal(t, entriesInvalid, judge(Entry{Kind: EntryEvidence, Data: []byte{1}}))
	require.Equal(t, entriesInvalid,
		judge(Entry{Kind: EntryCommit, Data: EvidenceEntry(&good).Data}))
}

// TestA4ProofInTheLogConvictsWithoutAnAccusation: who was away when it was told learns it from the
// log, passes nothing on, and does not vote for the culprit.
func TestA4ProofInTheLogConvictsWithoutAnAccusation(t *testing.T) {
	l := newLab(t, 1)
	require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
	proof := quorumcert.Evidence{Votes: &quorumcert.VoteConflict{
		A: l.vote(4, 3, 1, l.genesisLock()).Vote, B: l.vote(4, 3, 2, l.genesisLock()).Vote,
	}}
	b := NewBlock(l.origin(), []Entry{EvidenceEntry(&proof)})
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), b)))
	require.Empty(t, l.m.core.State().Evidence, "it is not committed yet")
	l.take()
	l.say(3, &Proof{TermProof: TermProof{Commit: l.commit(1, b.End())}})
	s := l.m.core.State()
	require.Equal(t, b.End(), s.Commit)
	require.Equal(t, quorumcert.SetOf(4), s.Faulty)
	require.Len(t, s.Evidence, 1)
	require.Empty(t, messagesOf[*Accusation](l, 3), "all have it from the log")
	// A crash may take both, since neither is flushed, but never one of them.
	l.restart()
	require.Equal(t, Index(0), l.m.core.State().Commit.Index)
	l.say(3, &Proof{TermProof: TermProof{Commit: l.commit(1, b.End())}})
	require.Equal(t, quorumcert.SetOf(4), l.m.core.State().Faulty)
}
