package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// twoVotes is a proof against a voter whose key is made of its id.
func twoVotes(cluster crypto.Digest, id bftraft.NodeID, term bftraft.Term) quorumcert.Evidence {
	signer := crypto.NewSigner(id, crypto.KeyFromSeed([32]byte{byte(id)}))
	vote := func(candidate bftraft.NodeID) quorumcert.SignedVote {
		v := quorumcert.Vote{
			Cluster: cluster, Term: term, Candidate: candidate, Lock: quorumcert.Lock{Hash: cluster},
		}
		return quorumcert.SignedVote{Vote: v, Signer: id, Sig: quorumcert.Sign(signer, v)}
	}
	return quorumcert.Evidence{Votes: &quorumcert.VoteConflict{A: vote(1), B: vote(2)}}
}

func TestLeaderProposesEachProofOnce(t *testing.T) {
	r, core := leadingReplica(5)
	r.evidence.known = []quorumcert.Evidence{
		twoVotes(fourNodes().Cluster(), 3, 1), twoVotes(fourNodes().Cluster(), 4, 1),
	}
	for range 5 {
		r.proposeNext()
	}
	require.Len(t, core.blocks, 2, "a block for each")
	for i, culprit := range []bftraft.NodeID{3, 4} {
		require.Len(t, core.blocks[i], 1)
		e, ok := bftraft.DecodeEvidence(core.blocks[i][0].Data)
		require.True(t, ok)
		require.Equal(t, culprit, e.Culprit())
	}
	require.Len(t, r.Convictions(), 2)
	require.Zero(t, r.Convictions()[0].Index, "not in the log yet")
}

func TestProofInTheLogIsStateOfAll(t *testing.T) {
	var e evidence
	first, again := twoVotes(fourNodes().Cluster(), 3, 1), twoVotes(fourNodes().Cluster(), 3, 2)
	beside := crypto.Digest{9}
	require.Equal(t, beside, e.digest(beside))
	one := e.execute(5, bftraft.EvidenceEntry(&first))
	after := e.digest(beside)
	require.NotEqual(t, beside, after)
	two := e.execute(6, bftraft.EvidenceEntry(&again))
	require.NotEqual(t, one, two)
	require.Equal(t, after, e.digest(beside), "one proof of a voter is enough")
	require.Equal(t, []bftraft.Conviction{{Index: 5, Evidence: first}}, e.convicted)
	other := evidence{}
	other.execute(6, bftraft.EvidenceEntry(&first))
	require.NotEqual(t, after, other.digest(beside), "the place counts")
	require.False(t, e.waits(fourNodes()))
	e.known = append(e.known, again)
	require.False(t, e.waits(fourNodes()), "what is in the log need not be proposed")
	require.Panics(t, func() { e.execute(7, bftraft.Entry{Kind: bftraft.EntryEvidence}) })
}

func TestNewLeaderDoesNotProposeWhatStandsInItsLog(t *testing.T) {
	var e evidence
	proof := twoVotes(fourNodes().Cluster(), 3, 1)
	e.known = append(e.known, proof)
	require.True(t, e.waits(fourNodes()))
	e.stands(bftraft.EvidenceEntry(&proof))
	require.False(t, e.waits(fourNodes()))
	e.offered = 0 // the term ends, and with it the block
	require.True(t, e.waits(fourNodes()))
}

// TestNewTermBringsProofsBackUnlessTheyStandInTheLog enters a term as its leader.
func TestNewTermBringsProofsBackUnlessTheyStandInTheLog(t *testing.T) {
	proof := twoVotes(fourNodes().Cluster(), 3, 1)
	enter := func(left ...*bftraft.Block) *Replica {
		r, _ := leadingReplica(1)
		r.core = &leftover{fullCore: fullCore{room: 1}, blocksLeft: left}
		r.evidence.known = []quorumcert.Evidence{proof}
		r.term, r.evidence.offered = 0, quorumcert.SetOf(3) // in a block of the term before
		r.watchLeader()
		return r
	}
	require.True(t, enter().evidence.waits(fourNodes()), "that block may be gone")
	b := bftraft.NewBlock(bftraft.Position{}, []bftraft.Entry{bftraft.EvidenceEntry(&proof)})
	require.False(t, enter(b).evidence.waits(fourNodes()), "that block is still there")
}
