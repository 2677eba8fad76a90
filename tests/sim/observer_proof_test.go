package sim

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// prover signs for the nodes of a world.
type prover struct{ w *World }

func (p prover) ack(id bftraft.NodeID, t bftraft.Term, b bftraft.Position) quorumcert.SignedAck {
	a := quorumcert.Ack{Cluster: p.w.cluster, Term: t, Index: b.Index, Hash: b.Hash}
	return quorumcert.SignedAck{
		Ack: a, Signer: id, Sig: quorumcert.Sign(p.w.nodes[id-1].signer, a),
	}
}

func (p prover) vote(
	id bftraft.NodeID, t bftraft.Term, candidate bftraft.NodeID,
) quorumcert.SignedVote {
	v := quorumcert.Vote{
		Cluster: p.w.cluster, Term: t, Candidate: candidate, Lock: bftraft.Lock{Hash: p.w.cluster},
	}
	return quorumcert.SignedVote{
		Vote: v, Signer: id, Sig: quorumcert.Sign(p.w.nodes[id-1].signer, v),
	}
}

// proofs are acks and votes that contradict each other, or seem to, by what is the matter.
func (p prover) proofs() map[string]quorumcert.Evidence {
	block := func(at bftraft.Position, text string) *bftraft.Block {
		return bftraft.NewBlock(at, []bftraft.Entry{
			{Kind: bftraft.EntryRequest, Data: []byte(text)},
		})
	}
	one := block(bftraft.Position{Hash: p.w.cluster}, "x")
	other, next := block(one.Before(), "y"), block(one.End(), "z")
	chain := []quorumcert.Header{one.Header(), next.Header()}
	acks := func(a, b quorumcert.SignedAck, hs ...quorumcert.Header) quorumcert.Evidence {
		return quorumcert.Evidence{Acks: &quorumcert.AckConflict{A: a, B: b, Headers: hs}}
	}
	votes := func(a, b quorumcert.SignedVote) quorumcert.Evidence {
		return quorumcert.Evidence{Votes: &quorumcert.VoteConflict{A: a, B: b}}
	}
	forged, foreign := p.ack(2, 1, one.End()), p.vote(2, 1, 3)
	forged.Sig[7] ^= 1
	foreign.Cluster[0] ^= 1
	return map[string]quorumcert.Evidence{
		"two blocks":    acks(p.ack(2, 1, one.End()), p.ack(2, 1, other.End()), other.Header()),
		"a fork higher": acks(p.ack(2, 1, other.End()), p.ack(2, 1, next.End()), chain...),
		"two votes":     votes(p.vote(2, 1, 3), p.vote(2, 1, 4)),
		"one chain":     acks(p.ack(2, 1, one.End()), p.ack(2, 1, next.End()), chain...),
		"other terms":   acks(p.ack(2, 1, one.End()), p.ack(2, 2, other.End()), other.Header()),
		"other signers": acks(p.ack(2, 1, one.End()), p.ack(3, 1, other.End()), other.Header()),
		"no headers":    acks(p.ack(2, 1, one.End()), p.ack(2, 1, other.End())),
		"a gap":         acks(p.ack(2, 1, other.End()), p.ack(2, 1, next.End()), next.Header()),
		"wrong header":  acks(p.ack(2, 1, one.End()), p.ack(2, 1, other.End()), one.Header()),
		"forged":        acks(forged, p.ack(2, 1, other.End()), other.Header()),
		"one vote":      votes(p.vote(2, 1, 3), p.vote(2, 1, 3)),
		"foreign":       votes(foreign, p.vote(2, 1, 4)),
		"nothing":       {},
	}
}

// TestSecondVerifierJudgesProofsAsTheFirstDoes is the control of B7 for evidence.
func TestSecondVerifierJudgesProofsAsTheFirstDoes(t *testing.T) {
	good := map[string]bool{"two blocks": true, "a fork higher": true, "two votes": true}
	for _, n := range []int{4, 7} {
		o := quiet(1)
		o.Nodes = n
		w := NewWorld(o)
		second := newNaive(w)
		for name, e := range (prover{w}).proofs() {
			require.Equal(t, good[name], second.evidence(&e), name)
			first := e.Verify(w.cluster, w.verifier.Configurations().Latest())
			require.Equal(t, good[name], first == nil, "%s: %v", name, first)
		}
	}
}

// TestObserverSeesAProofThatAccusesWrongly is the control of B7 and B13 for the log.
func TestObserverSeesAProofThatAccusesWrongly(t *testing.T) {
	for _, c := range []struct {
		proof     string
		liars     []Liar
		invariant string
	}{
		{"two votes", []Liar{{2, []string{"equivocate"}}}, ""},
		{"two votes", []Liar{{3, []string{"equivocate"}}}, "B13"},
		{"forged", []Liar{{2, []string{"equivocate"}}}, "B7"},
		{"one chain", nil, "B7"},
	} {
		w := NewWorld(quiet(1, c.liars...))
		e := prover{w}.proofs()[c.proof]
		b := bftraft.NewBlock(bftraft.Position{Hash: crypto.Digest{1}},
			[]bftraft.Entry{bftraft.EvidenceEntry(&e)})
		w.watch.proves(w.nodes[0], b)
		if c.invariant == "" {
			require.Nil(t, w.watch.err)
			continue
		}
		require.NotNil(t, w.watch.err, c.proof)
		require.Equal(t, c.invariant, w.watch.err.Invariant)
	}
}
