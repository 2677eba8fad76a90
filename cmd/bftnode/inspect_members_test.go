package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/unlock"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// inspectedAfterVotersLeft has the first node of a cluster keep what it and the second one signed
// together, before that was taken out: that a term ended, and who was elected behind the entry that
// closes the change which took it out, by a quorum of each side. Then somebody else signs instead.
func inspectedAfterVotersLeft(
	t *testing.T, net string, closing *bftraft.ChangeProof, second crypto.PrivateKey,
) {
	t.Helper()
	s := settingsOf(t, net, 1)
	m, err := identify(t.Context(), &unlock.Sources{}, s)
	require.NoError(t, err)
	cluster := m.file.Genesis.Hash()
	signed := func(st quorumcert.Statement, keys ...crypto.PrivateKey) (sigs quorumcert.Signatures) {
		for i, key := range keys {
			signer := crypto.NewSigner(crypto.NodeID(i+1), key)
			sigs.Signers = sigs.Signers.With(signer.ID())
			sigs.Sigs = append(sigs.Sigs, quorumcert.Sign(signer, st))
		}
		return sigs
	}
	remember := func(keys ...crypto.PrivateKey) {
		at := closing.At()
		tc := &quorumcert.TC{Term: 8}
		tc.Signatures = signed(quorumcert.Suspicion{Cluster: cluster, Term: 8}, keys...)
		ec := &quorumcert.EC{Term: 9, Leader: 2, Base: quorumcert.Lock{
			Term: closing.Commit.Term, Index: at.Index, Hash: at.Hash,
		}}
		ec.Signatures = signed(quorumcert.Vote{
			Cluster: cluster, Term: 9, Candidate: 2, Lock: ec.Base,
		}, m.key, second)
		disk, err := store.Open(s.Data, store.Options{Identity: m.identity()})
		require.NoError(t, err)
		loaded, err := disk.Load()
		require.NoError(t, err)
		hs := loaded.HardState
		hs.Term, hs.Vote, hs.Proof = 9, bftraft.VoteRecord{}, bftraft.TermProof{TC: tc, EC: ec}
		require.NoError(t, disk.Save(&bftraft.Ready{HardState: &hs, MustSync: true}))
		require.NoError(t, disk.Close())
	}
	remember(m.key, second)
	out := mustRun(t, "inspect", "--dir", nodeDir(net, 1))
	require.Contains(t, out, "nodes 1, 2 suspected the leader of term 8; nodes 1, 2 elected node 2")
	remember(m.key, crypto.GenerateKey())
	code, _, errs := run(t, "inspect", "--dir", nodeDir(net, 1))
	require.Equal(t, cli.BadProof, code, errs)
	require.Contains(t, errs, "proof that term 8 ended")
}
