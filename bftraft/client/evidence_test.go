package client

import (
	"bytes"
	"encoding/pem"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// twoVotes is a proof against a voter of a test cluster.
func twoVotes(cluster crypto.Digest, id bftraft.NodeID) quorumcert.Evidence {
	signer := crypto.NewSigner(id, testKey(byte(id)))
	vote := func(candidate bftraft.NodeID) quorumcert.SignedVote {
		v := quorumcert.Vote{
			Cluster: cluster, Term: 3, Candidate: candidate, Lock: quorumcert.Lock{Hash: cluster},
		}
		return quorumcert.SignedVote{Vote: v, Signer: id, Sig: quorumcert.Sign(signer, v)}
	}
	return quorumcert.Evidence{Votes: &quorumcert.VoteConflict{A: vote(1), B: vote(2)}}
}

func (s *scene) shows(node int, list ...bftraft.Conviction) {
	n := s.node(node)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.convicted = list
}

func TestEvidenceIsWhatAnyNodeCanProve(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		two, three := twoVotes(s.id, 2), twoVotes(s.id, 3)
		s.shows(1, bftraft.Conviction{Evidence: three}, bftraft.Conviction{Evidence: two})
		s.shows(4, bftraft.Conviction{Index: 9, Evidence: two})
		found, heard := s.client.Evidence(s.within(10 * time.Second))
		require.Equal(t, []bftraft.Conviction{{Index: 9, Evidence: two}, {Evidence: three}}, found,
			"one of each, the one in the log before the other")
		require.Equal(t, quorumcert.SetOf(1, 2, 3, 4), heard)
		require.Empty(t, s.dissents())
	})
}

// TestNodeThatShowsFalseProofIsNotBelieved: neither about the one that is false, nor about the rest
// of what it says.
func TestNodeThatShowsFalseProofIsNotBelieved(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		forged := twoVotes(s.id, 2)
		forged.Votes.B.Sig[0] ^= 1
		s.shows(1, bftraft.Conviction{Index: 1, Evidence: twoVotes(s.id, 3)},
			bftraft.Conviction{Index: 2, Evidence: forged})
		found, heard := s.client.Evidence(s.within(5 * time.Second))
		require.Empty(t, found)
		require.False(t, heard.Has(1))
		require.Contains(t, s.dissents(), Dissent{Node: 1, Kind: DissentInvalid})
	})
}

// TestEvidenceDoesNotWaitForWhoIsAway: a cluster with a proven liar may well have a node that is
// down, and its owner should not have to wait for a timeout.
func TestEvidenceDoesNotWaitForWhoIsAway(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.put("a", "v")
		s.client.Down(4)
		began := time.Now()
		_, heard := s.client.Evidence(s.within(time.Minute))
		require.Equal(t, quorumcert.SetOf(1, 2, 3), heard)
		require.Less(t, time.Since(began), 2*time.Second)
	})
}

func TestProofFileVerifiesAsItWasWrittenOnly(t *testing.T) {
	v := newCluster(t, 4).verifier()
	e := twoVotes(v.Cluster(), 2)
	text := EncodeEvidence(&e, v)
	require.True(t, IsEvidence(text))
	got, by, err := VerifyEvidence(text, v)
	require.NoError(t, err)
	require.Equal(t, e, *got)
	require.Zero(t, by.Entry())
	for i := range text {
		bad := bytes.Clone(text)
		bad[i] ^= 1
		if _, _, err := VerifyEvidence(bad, v); err == nil {
			t.Fatalf("with byte %d turned it still verifies", i)
		}
	}
	for name, bad := range map[string][]byte{
		"one byte more": append(bytes.Clone(text), '\n'), "too long": make([]byte, MaxEvidenceBytes+1),
		"an empty list of changes": encodeBeside(&e, 0, 0, 0, 0), "half a list": encodeBeside(&e, 0),
	} {
		_, _, err = VerifyEvidence(bad, v)
		require.ErrorIs(t, err, ErrEvidence, name)
	}
	_, _, err = VerifyEvidence(text, newCluster(t, 7).verifier())
	require.ErrorIs(t, err, ErrEvidence, "of another cluster")
	same := quorumcert.Evidence{Votes: &quorumcert.VoteConflict{A: e.Votes.A, B: e.Votes.A}}
	_, _, err = VerifyEvidence(EncodeEvidence(&same, v), v)
	require.ErrorIs(t, err, ErrEvidence, "one statement, said twice")
}

// encodeBeside is EncodeEvidence with other bytes where changes stand.
func encodeBeside(e *quorumcert.Evidence, beside ...byte) []byte {
	return pem.EncodeToMemory(&pem.Block{
		Type: evidenceType, Bytes: append(e.AppendTo(nil), beside...),
	})
}

func FuzzVerifyEvidence(f *testing.F) {
	g := changingGenesis(1)
	e := twoVotes(g.Hash(), 1)
	f.Add(encodeEvidence(&e, nil))
	f.Add(encodeBeside(&e, 0, 0, 0, 1))
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := bftraft.NewVerifier(crypto.ZIP215(), g)
		require.NoError(t, err)
		got, by, err := VerifyEvidence(text, v)
		require.Equal(t, err == nil, got != nil && by != nil)
		if err == nil {
			require.Equal(t, text, EncodeEvidence(got, v))
		}
	})
}
