package judge

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// countedScheme counts signatures that are judged alone, and certificates.
type countedScheme struct {
	crypto.Scheme
	alone, together int
}

type countedKey struct {
	crypto.Verifier
	scheme *countedScheme
}

func (s *countedScheme) Expand(key crypto.PublicKey) (crypto.Verifier, error) {
	v, err := s.Scheme.Expand(key)
	return countedKey{v, s}, err
}

func (s *countedScheme) ExpandMember(key crypto.PublicKey) (crypto.Verifier, error) {
	v, err := s.Scheme.ExpandMember(key)
	return countedKey{v, s}, err
}

func (k countedKey) Verify(d crypto.Domain, msg []byte, sig crypto.Signature) bool {
	k.scheme.alone++
	return k.Verifier.Verify(d, msg, sig)
}

func (s *countedScheme) VerifyAll(checks []crypto.Check) bool {
	s.together++
	for i := range checks {
		checks[i].Key = checks[i].Key.(countedKey).Verifier
	}
	return s.Scheme.VerifyAll(checks)
}

func signerOf(id bftraft.NodeID) crypto.Signer {
	return crypto.NewSigner(id, crypto.KeyFromSeed(
		crypto.Hash(crypto.DomainMessage, []byte{byte(id)})))
}

func TestStatementIsVerifiedOnceAsLongAsItIsNew(t *testing.T) {
	scheme := &countedScheme{Scheme: crypto.ZIP215()}
	j := NewReplies(bftraft.Digest{1}, fixed{configurationBy(t, scheme)}, 2)
	reply := func(i int) *bftraft.BlockReply {
		r := &bftraft.BlockReply{Signer: 2, Leaves: 1, Reply: quorumcert.Reply{
			Cluster: bftraft.Digest{1}, Index: bftraft.Index(i),
		}}
		r.Reply.Results = crypto.MerkleRoot([]bftraft.Digest{r.Leaf()})
		r.Sig = quorumcert.Sign(signerOf(2), r.Reply)
		return r
	}
	for range 2 {
		for i := range rememberedStatements {
			require.True(t, j.Verify(reply(i)))
		}
		require.Equal(t, rememberedStatements, scheme.alone, "each once")
	}
	moved := reply(3)
	moved.Sig = reply(4).Sig
	require.False(t, j.Verify(moved), "a signature that is remembered of another statement")
	require.True(t, j.Verify(reply(rememberedStatements)))
	scheme.alone = 0
	for i := 1; i <= rememberedStatements; i++ {
		require.True(t, j.Verify(reply(i)))
	}
	require.Zero(t, scheme.alone, "the newest are remembered")
	require.True(t, j.Verify(reply(0)))
	require.Equal(t, 1, scheme.alone, "the oldest was forgotten")
}

func TestNewestLockIsVerifiedOnce(t *testing.T) {
	scheme := &countedScheme{Scheme: crypto.ZIP215()}
	cluster, queries := bftraft.Digest{1}, [][]byte{{1}}
	j := NewReads(cluster, fixed{configurationBy(t, scheme)}, 2)
	answer := func(i bftraft.Index) *bftraft.ReadReply {
		ack := quorumcert.Ack{Cluster: cluster, Term: 1, Index: i, Hash: bftraft.Digest{byte(i)}}
		qc := &quorumcert.QC{Lock: quorumcert.Lock{Term: 1, Index: i, Hash: ack.Hash}}
		for id := bftraft.NodeID(1); id <= 3; id++ {
			qc.Signers = qc.Signers.With(id)
			qc.Sigs = append(qc.Sigs, quorumcert.Sign(signerOf(id), ack))
			qc.Certified = append(qc.Certified, 0)
		}
		r := &bftraft.ReadReply{Lock: qc.Lock, LockQC: qc, Results: [][]byte{{2}}}
		r.Sign(signerOf(2), cluster, queries)
		return r
	}
	for k, c := range []struct {
		index    bftraft.Index
		verified int
	}{{5, 1}, {5, 1}, {6, 2}, {6, 2}, {5, 3}} {
		require.True(t, j.Verify(answer(c.index), queries))
		require.Equal(t, c.verified, scheme.together, "answer %d", k)
		require.Equal(t, k+1, scheme.alone, "its own signature each time")
	}
	for name, spoil := range map[string]func(r *bftraft.ReadReply){
		"another lock":        func(r *bftraft.ReadReply) { r.Lock = quorumcert.Lock{Index: 7} },
		"another certificate": func(r *bftraft.ReadReply) { r.LockQC = answer(6).LockQC },
		"no certificate":      func(r *bftraft.ReadReply) { r.LockQC = nil },
		"a bent certificate":  func(r *bftraft.ReadReply) { r.LockQC.Sigs[0][1] ^= 1 },
	} {
		r := answer(5)
		spoil(r)
		r.Sign(signerOf(2), cluster, queries)
		for range 2 {
			require.False(t, j.Verify(r, queries), name)
		}
	}
}

// TestC2IncomingVotersVouchForNothingYet: they sign along, and f+1 of them may all be liars.
func TestC2IncomingVotersVouchForNothingYet(t *testing.T) {
	var all []quorumcert.Voter
	for id := bftraft.NodeID(1); id <= 8; id++ {
		all = append(all, quorumcert.Voter{ID: id, Key: signerOf(id).Public()})
	}
	cfg, err := quorumcert.NewJoint(crypto.ZIP215(), 0, all[:4], all[3:])
	require.NoError(t, err)
	for id := bftraft.NodeID(1); id <= 8; id++ {
		j := NewReplies(bftraft.Digest{1}, fixed{cfg}, id)
		r := &bftraft.BlockReply{Signer: id, Leaves: 1, Reply: quorumcert.Reply{
			Cluster: bftraft.Digest{1}, Index: 1,
		}}
		r.Reply.Results = crypto.MerkleRoot([]bftraft.Digest{r.Leaf()})
		r.Sig = quorumcert.Sign(signerOf(id), r.Reply)
		require.Equal(t, id <= 4, j.Verify(r), "node %d", id)
	}
}
