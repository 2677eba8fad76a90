package client

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// by returns a receipt as other voters would have signed it, without changes.
func by(r *Receipt, configuration bftraft.Index, voters ...byte) *Receipt {
	out := *r
	out.Changes, out.Proof.Signatures = nil, quorumcert.Signatures{}
	out.Proof.Configuration = configuration
	for _, n := range voters {
		signer := crypto.NewSigner(bftraft.NodeID(n), testKey(n))
		out.Proof.Signers = out.Proof.Signers.With(signer.ID())
		out.Proof.Sigs = append(out.Proof.Sigs, quorumcert.Sign(signer, out.Proof.Reply))
	}
	return &out
}

// TestReceiptOfAnyTimeVerifiesByTheGenesis takes receipts before the first change of the voters,
// while they are changed, by those that have been replaced since, and after all of the genesis are
// gone. Each proves itself to who has the genesis, and to who knows of all changes.
func TestReceiptOfAnyTimeVerifiesByTheGenesis(t *testing.T) {
	playChanging(t, 4, func(s *scene) {
		genesis := s.verifier()
		var receipts []*Receipt
		keep := func(key string) { receipts = append(receipts, s.put(key, "v").Receipt) }
		keep("before")
		s.change(joins(5), joins(6), joins(7), joins(8))
		keep("with learners")
		s.change(promotes(5), promotes(6), promotes(7), leaves(1), leaves(2), leaves(3))
		keep("joint")
		s.close()
		s.setLeader(4)
		keep("replaced")
		s.change(promotes(8), leaves(4))
		s.close()
		s.setLeader(5)
		keep("nobody of the genesis")
		known := s.verifier()
		for _, r := range receipts {
			text := r.Encode()
			r, err := DecodeReceipt(text)
			require.NoError(t, err)
			for _, v := range []*bftraft.Verifier{genesis, known} {
				proven, err := r.VerifyBy(v)
				require.NoError(t, err, "block %d", r.Proof.Index)
				require.Equal(t, "alice", proven.Client)
				require.Equal(t, r.Proof.Configuration, proven.By)
			}
		}
		last := receipts[len(receipts)-1]
		entry := last.Proof.Configuration
		require.Zero(t, last.Proof.Signers&quorumcert.SetOf(1, 2, 3, 4))

		bare := by(last, entry, 5, 6)
		_, err := bare.VerifyBy(genesis)
		require.ErrorIs(t, err, ErrNewerConfiguration)
		_, err = bare.VerifyBy(known)
		require.NoError(t, err, "what is known counts as what the receipt says")

		stolen := by(last, 0, 1, 2)
		_, err = stolen.VerifyBy(genesis)
		require.NoError(t, err, "who has the genesis alone cannot know")
		_, err = stolen.VerifyBy(known)
		require.ErrorContains(t, err, "who had no say at index")
		require.NotErrorIs(t, err, ErrNewerConfiguration)
	})
}

// TestProofsOfAnotherHistoryAreRefused: those whose keys were stolen tell of changes that are none
// to who knows of those that are.
func TestProofsOfAnotherHistoryAreRefused(t *testing.T) {
	g := changingGenesis(4)
	ours, theirs := newClusterOf(t, g), newClusterOf(t, g)
	ours.replaceAll()
	theirs.change(joins(5), joins(6), joins(7), joins(8), joins(9))
	theirs.change(promotes(5), promotes(6), promotes(7), promotes(8), promotes(9))
	theirs.close()
	req, rs := replies(t, theirs, put(t, "k", "v"))
	rs[0].Reply.Index = theirs.verifier().Members().At.Index + 1
	forged := by(&Receipt{
		Request: req.Raw(), Results: rs[0].Results, Place: rs[0].Place, Leaves: rs[0].Leaves,
		Branch: rs[0].Branch, Proof: quorumcert.Receipt{Reply: rs[0].Reply},
	}, rs[0].Reply.Configuration, 7, 8, 9)
	forged.Changes = theirs.verifier().Changes()
	_, err := forged.Verify(g)
	require.NoError(t, err, "who has the genesis alone cannot know")
	_, err = forged.VerifyBy(ours.verifier())
	require.ErrorIs(t, err, ErrReceipt)
	require.ErrorContains(t, err, "other changes than those that are known")
	e := twoVotes(theirs.id, 9)
	_, _, err = VerifyEvidence(EncodeEvidence(&e, theirs.verifier()), ours.verifier())
	require.ErrorIs(t, err, ErrEvidence)
	require.ErrorContains(t, err, "other changes than those that are known")
}

// TestEvidenceOfAnyTimeVerifiesByTheGenesis is against a voter of the genesis that was replaced,
// one that came later, and one that came and left.
func TestEvidenceOfAnyTimeVerifiesByTheGenesis(t *testing.T) {
	c := newClusterOf(t, changingGenesis(4))
	genesis := c.verifier()
	c.replaceAll()
	c.change(promotes(8), leaves(5))
	c.close()
	known := c.verifier()
	for id, changes := range map[bftraft.NodeID]int{1: 0, 4: 0, 5: 2, 6: 2, 8: 4} {
		e := twoVotes(c.id, id)
		text := EncodeEvidence(&e, known)
		require.Equal(t, encodeEvidence(&e, known.Changes()[:changes]), text, "no more than needed")
		for _, v := range []*bftraft.Verifier{genesis, known} {
			got, by, err := VerifyEvidence(text, v)
			require.NoError(t, err, "node %d", id)
			require.Equal(t, e, *got)
			require.Len(t, known.ChangesUpTo(by.Entry()), changes)
		}
		bare := encodeEvidence(&e, nil)
		_, _, err := VerifyEvidence(bare, known)
		require.NoError(t, err, "what is known counts as what is beside the proof")
		_, _, err = VerifyEvidence(bare, genesis)
		if changes > 0 {
			require.ErrorIs(t, err, ErrEvidence)
			require.ErrorIs(t, err, ErrNewerConfiguration)
			require.ErrorContains(t, err, "has never had a say")
		} else {
			require.NoError(t, err)
		}
	}
	never := twoVotes(c.id, 9)
	_, _, err := VerifyEvidence(EncodeEvidence(&never, known), known)
	require.ErrorIs(t, err, ErrNewerConfiguration)
	forged := twoVotes(c.id, 8)
	forged.Votes.A.Sig[0] ^= 1
	_, _, err = VerifyEvidence(encodeEvidence(&forged, known.Changes()), genesis)
	require.ErrorIs(t, err, crypto.ErrBadSignature)
	e := twoVotes(c.id, 8)
	_, _, err = VerifyEvidence(encodeEvidence(&e, known.Changes()[1:]), genesis)
	require.ErrorIs(t, err, bftraft.ErrChangeProof)
}

// TestProofsHaveRoomForAllChanges: a cluster is not to outlive what can be proven of it.
func TestProofsHaveRoomForAllChanges(t *testing.T) {
	largest := &bftraft.ChangeProof{
		Entry:  make([]byte, bftraft.MaxChangesBytes/bftraft.MaxChanges+200),
		Branch: make([]bftraft.Digest, 16),
	}
	for range quorumcert.MaxVoters {
		largest.Commit.Acks = append(largest.Commit.Acks, quorumcert.AckedAt{})
		largest.Commit.Sigs = append(largest.Commit.Sigs, crypto.Signature{})
	}
	largest.Commit.Signers = ^quorumcert.Set(0)
	var all []*bftraft.ChangeProof
	for range bftraft.MaxChanges {
		all = append(all, largest)
	}
	require.Less(t, len(bftraft.AppendChangeProofs(nil, all)), bftraft.MaxChangeProofsBytes)
	r := &Receipt{
		Request: make([]byte, bftraft.MaxRequestBytes),
		Results: [][]byte{make([]byte, bftraft.MaxResultBytes)}, Changes: all,
	}
	require.Less(t, len(r.Encode()), MaxReceiptBytes)
	_, err := DecodeReceipt(r.Encode())
	require.NoError(t, err)
	e := twoVotes(crypto.Digest{1}, 2)
	require.Less(t, len(encodeEvidence(&e, all)), MaxEvidenceBytes)
}
