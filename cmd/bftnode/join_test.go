package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/node"
	"tangaroa/bftraft/store"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/cmd/internal/unlock"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// change has the only node of a cluster carry a change that its administrator has signed.
func change(t *testing.T, net string, m *member, ch *bftraft.Change) {
	t.Helper()
	admin, err := crypto.ReadKeyFile(filepath.Join(net, "admin1", clusterfile.KeyName), nil)
	require.NoError(t, err)
	ch.Endorse(m.file.Genesis.Hash(), admin)
	results, err := m.node.Submit(t.Context(), ch.Op())
	require.NoError(t, err)
	number, why := bftraft.DecodeChangeResult(results[0])
	require.NoError(t, why)
	require.Equal(t, ch.Number, number)
}

// changesOf returns what a node that does not run has kept.
func changesOf(t *testing.T, net string) []*bftraft.ChangeProof {
	t.Helper()
	s := settingsOf(t, net, 1)
	m, err := identify(t.Context(), &unlock.Sources{}, s)
	require.NoError(t, err)
	disk, err := store.Open(s.Data, store.Options{Identity: m.identity()})
	require.NoError(t, err)
	loaded, err := disk.Load()
	require.NoError(t, err)
	require.NoError(t, disk.Close())
	return loaded.Changes
}

// newcomer writes the folder of a second node, which is told of changes, on ports that are free.
func newcomer(t *testing.T, net string) (key crypto.PublicKey, address string) {
	t.Helper()
	free, dir := settingsOf(t, newTestnet(t, "1"), 1), nodeDir(net, 2)
	require.NoError(t, os.Mkdir(dir, 0o700))
	private := crypto.GenerateKey()
	require.NoError(t, crypto.WriteKeyFile(filepath.Join(dir, clusterfile.KeyName), private, nil))
	require.NoError(t, clusterfile.SaveNode(filepath.Join(dir, clusterfile.NodeName),
		&clusterfile.Node{
			ID: 2, Genesis: filepath.Join("..", clusterfile.GenesisName), Changes: "changes",
			Key: clusterfile.KeyName, Data: clusterfile.DataName, HTTP: free.HTTP,
		}))
	return private.Public(), free.Listen
}

func writeChanges(t *testing.T, net string, proofs []*bftraft.ChangeProof) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(nodeDir(net, 2), "changes"),
		clusterfile.EncodeChanges(proofs), 0o600))
}

// TestNodeJoinsByItsChangesAndIsTakenOut is the life of a learner as its operator sees it.
func TestNodeJoinsByItsChangesAndIsTakenOut(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	net := newTestnet(t, "1")
	key, address := newcomer(t, net)
	m, stop := serve(t, net)
	at := m.members.At
	change(t, net, m, &bftraft.Change{Number: 1, Replaces: at, Steps: []bftraft.ChangeStep{
		{Kind: bftraft.AddNode, Key: key, Name: address},
	}})
	stop()
	proofs := changesOf(t, net)
	require.Len(t, proofs, 1)
	dir := nodeDir(net, 2)
	code, _, errs := run(t, "init", "--dir", dir)
	require.Equal(t, cli.Usage, code, "there is no such file: %s", errs)
	writeChanges(t, net, nil)
	code, _, errs = run(t, "init", "--dir", dir)
	require.Equal(t, cli.MustNotSign, code, errs)
	require.Contains(t, errs, "not that of node 2")
	writeChanges(t, net, proofs)
	mustRun(t, "init", "--dir", dir)

	joined := begin(t, "start", "--dir", dir)
	m, stop = serve(t, net)
	statusIs(t, net, 2, func(s *node.Status) bool { return s.Ready && s.Commit > at.Index+1 })
	out := mustRun(t, "status", "--dir", dir)
	require.Regexp(t, `role +learner, keeps up`, out)
	require.Regexp(t, `members +since change 1`, out)
	require.Regexp(t, `1 +voter`, out)
	change(t, net, m, &bftraft.Change{Number: 2, Replaces: proofs[0].At(),
		Steps: []bftraft.ChangeStep{{Kind: bftraft.RemoveNode, Key: key}}})
	<-joined.ended
	said := "node was taken out of the cluster by change 2 at entry 3: its key is of no more use"
	require.Equal(t, cli.TakenOut, joined.code, joined.errs.String())
	require.Contains(t, joined.errs.String(), said)
	stop()
	code, _, errs = run(t, "start", "--dir", dir)
	require.Equal(t, cli.TakenOut, code, errs)
	require.Contains(t, errs, said)
	require.Equal(t, 1, strings.Count(errs, "\n"))
	writeChanges(t, net, changesOf(t, net))
	code, _, errs = run(t, "start", "--dir", dir)
	require.Equal(t, cli.TakenOut, code, errs)
	require.Contains(t, errs, said)
	require.Contains(t, mustRun(t, "inspect", "--dir", dir), "change 2")
	require.NoError(t, os.RemoveAll(filepath.Join(dir, clusterfile.DataName)))
	code, _, errs = run(t, "init", "--dir", dir)
	require.Equal(t, cli.TakenOut, code, errs)
}

// TestLearnerIsBehindWhatAnHonestVoterHas: one liar cannot make it look worse.
func TestLearnerIsBehindWhatAnHonestVoterHas(t *testing.T) {
	s := &node.Status{Role: node.RoleLearner, Commit: 10}
	for id, commit := range []quorumcert.Index{1, 1 << 60, 12, 11} {
		s.Peers = append(s.Peers, node.PeerStatus{
			Node: crypto.NodeID(id + 1), Role: node.RoleVoter, Commit: commit,
		})
	}
	s.Peers = append(s.Peers, node.PeerStatus{Node: 6, Role: node.RoleLearner, Commit: 99})
	require.Equal(t, "learner, behind by 2", ownRole(s))
	s.Commit = 12
	require.Equal(t, "learner, keeps up", ownRole(s))
	require.Equal(t, "learner, keeps up", ownRole(&node.Status{Role: node.RoleLearner}))
	require.Equal(t, node.RoleVoter, ownRole(&node.Status{Role: node.RoleVoter}))
}
