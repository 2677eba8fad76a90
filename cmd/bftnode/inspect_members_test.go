package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/bftraft/store"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/cmd/internal/statefile"
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
	require.Regexp(t, `nodes 1, 2 suspected the leader of term 8\n +nodes 1, 2 elected node 2`, out)
	remember(m.key, crypto.GenerateKey())
	code, _, errs := run(t, "inspect", "--dir", nodeDir(net, 1))
	require.Equal(t, cli.BadProof, code, errs)
	require.Contains(t, errs, "proof that term 8 ended")
}

// stolenState has the first node's key certify a state of long after changes gave it company, as if
// nobody had ever come: who has the genesis alone cannot know, who has the changes does.
func stolenState(t *testing.T, net string, key crypto.PrivateKey, changes string) {
	t.Helper()
	genesis := filepath.Join(net, clusterfile.GenesisName)
	f, err := clusterfile.LoadGenesis(genesis)
	require.NoError(t, err)
	var state bytes.Buffer
	require.NoError(t, kv.New().Snapshot(&state))
	at := bftraft.Position{Index: 1000, Hash: crypto.Digest{1}}
	m := &bftraft.Manifest{State: []bftraft.Digest{bftraft.StateChunk(state.Bytes())}}
	cp := quorumcert.Checkpoint{Cluster: f.Genesis.Hash(), Index: at.Index, Hash: at.Hash}
	cp.State, cp.Sessions = m.Roots()
	ack := quorumcert.Ack{Cluster: f.Genesis.Hash(), Term: 99, Index: at.Index, Hash: at.Hash,
		Certified: at.Index}
	signed := func(st quorumcert.Statement) quorumcert.Signatures {
		return quorumcert.Signatures{Signers: quorumcert.SetOf(1),
			Sigs: []crypto.Signature{quorumcert.Sign(crypto.NewSigner(1, key), st)}}
	}
	m.Stable = quorumcert.Stable{Checkpoint: cp, Signatures: signed(cp)}
	m.Commit = quorumcert.Commit{Term: 99, Index: at.Index, Hash: at.Hash,
		Acks:       []quorumcert.AckedAt{{Index: at.Index, Certified: at.Index}},
		Signatures: signed(ack)}
	path := filepath.Join(net, "stolen")
	require.NoError(t, statefile.Write(path, m, func(int) ([]byte, error) {
		return state.Bytes(), nil
	}))
	mustRun(t, "snapshot", "verify", path, "--genesis", genesis)
	identity := filepath.Join(net, "identity.json")
	require.NoError(t, os.WriteFile(identity, []byte(mustRun(t, "keygen", "--id", "1", "--out",
		filepath.Join(net, "fresh"), "-o", "json")), 0o600))
	for _, args := range [][]string{
		{"snapshot", "verify", path, "--genesis", genesis, "--changes", changes},
		{"snapshot", "restore", path, "--dir", nodeDir(net, 1), "--state-genesis", genesis,
			"--state-changes", changes},
		{"genesis", "--name", "next", "--out", filepath.Join(net, "next"), "--state", path,
			"--state-genesis", genesis, "--state-changes", changes, identity},
	} {
		code, _, errs := run(t, args...)
		require.Equal(t, cli.BadProof, code, "%v: %s", args, errs)
		require.Contains(t, errs, "not a state that this cluster has certified")
	}
	code, _, errs := run(t, "snapshot", "verify", path, "--genesis", genesis, "--changes", path)
	require.Equal(t, cli.Usage, code, errs)
	require.Contains(t, errs, "no PEM block")
}
