package main

import (
	"fmt"
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

// change has the first node of a cluster carry a change that its administrator has signed, and
// those who are to vote behind it.
func change(
	t *testing.T, net string, m *member, ch *bftraft.Change, voters ...crypto.PrivateKey,
) {
	t.Helper()
	for _, key := range voters {
		ch.AddReady(bftraft.SignReady(m.file.Genesis.Hash(), ch, key))
	}
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
func newcomer(t *testing.T, net string) (key crypto.PrivateKey, address string) {
	t.Helper()
	free, dir := settingsOf(t, newTestnet(t, "1"), 1), nodeDir(net, 2)
	require.NoError(t, os.Mkdir(dir, 0o700))
	key = crypto.GenerateKey()
	require.NoError(t, crypto.WriteKeyFile(filepath.Join(dir, clusterfile.KeyName), key, nil))
	require.NoError(t, clusterfile.SaveNode(filepath.Join(dir, clusterfile.NodeName),
		&clusterfile.Node{
			ID: 2, Genesis: filepath.Join("..", clusterfile.GenesisName), Changes: "changes",
			Key: clusterfile.KeyName, Data: clusterfile.DataName, HTTP: free.HTTP,
		}))
	return key, free.Listen
}

func writeChanges(t *testing.T, net string, proofs []*bftraft.ChangeProof) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(nodeDir(net, 2), "changes"),
		clusterfile.EncodeChanges(proofs), 0o600))
}

// admitted returns a cluster of one node, with the folder of a second one beside it that a change
// has let in, and has told of it.
func admitted(t *testing.T) (net, address string, key crypto.PrivateKey) {
	t.Helper()
	net = newTestnet(t, "1")
	key, address = newcomer(t, net)
	m, stop := serve(t, net)
	change(t, net, m, &bftraft.Change{
		Number: 1, Replaces: m.members.At, Steps: []bftraft.ChangeStep{
			{Kind: bftraft.AddNode, Key: key.Public(), Name: address},
		},
	})
	stop()
	return net, address, key
}

func TestNodeIsIdentifiedByItsChanges(t *testing.T) {
	net, address, _ := admitted(t)
	dir := nodeDir(net, 2)
	code, _, errs := run(t, "init", "--dir", dir)
	require.Equal(t, cli.Usage, code, "there is no such file: %s", errs)
	writeChanges(t, net, nil)
	code, _, errs = run(t, "init", "--dir", dir)
	require.Equal(t, cli.MustNotSign, code, errs)
	require.Contains(t, errs, "not that of node 2")
	proofs := changesOf(t, net)
	require.Len(t, proofs, 1)
	writeChanges(t, net, proofs)
	m, err := identify(t.Context(), &unlock.Sources{}, settingsOf(t, net, 2))
	require.NoError(t, err)
	cfg := m.config()
	require.Equal(t, []string{address}, cfg.Network.Listen)
	require.Equal(t, m.file.Peers(2), cfg.Network.Peers)
	s := settingsOf(t, net, 1)
	s.Listen, s.Nodes = "", map[crypto.NodeID]string{2: "two:1"}
	m, err = identify(t.Context(), &unlock.Sources{}, s)
	require.NoError(t, err)
	cfg = m.config()
	require.Equal(t, []string{m.file.Address(1)}, cfg.Network.Listen)
	require.Equal(t, s.Nodes, cfg.Addresses, "though it is not told of the other")
	m.members = &bftraft.Membership{Nodes: []bftraft.Node{
		{ID: 1, Key: m.key.Public(), Address: "moved:1"},
	}}
	require.Equal(t, []string{"moved:1"}, m.config().Network.Listen, "a change goes first")
	writeChanges(t, net, append(proofs, &bftraft.ChangeProof{Header: proofs[0].Header}))
	code, _, errs = run(t, "init", "--dir", dir)
	require.Equal(t, cli.Usage, code, "a list that no cluster has: %s", errs)
	proofs[0].Commit.Sigs = nil
	writeChanges(t, net, proofs)
	code, _, errs = run(t, "init", "--dir", dir)
	require.Equal(t, cli.Usage, code, "they prove nothing: %s", errs)
}

// TestNodeJoinsVotesAndIsTakenOut is the life of a node as its operator sees it.
func TestNodeJoinsVotesAndIsTakenOut(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	net, _, key := admitted(t)
	dir, proofs := nodeDir(net, 2), changesOf(t, net)
	writeChanges(t, net, proofs)
	mustRun(t, "init", "--dir", dir)
	joined := begin(t, "start", "--dir", dir)
	m, stop := serve(t, net)
	statusIs(t, net, 2, func(s *node.Status) bool { return s.Ready && s.Commit > 1 })
	out := mustRun(t, "status", "--dir", dir)
	require.Regexp(t, `role +learner, keeps up`, out)
	require.Regexp(t, `members +since change 1`, out)
	require.Regexp(t, `1 +voter`, out)
	change(t, net, m, &bftraft.Change{Number: 2, Replaces: proofs[0].At(),
		Steps: []bftraft.ChangeStep{{Kind: bftraft.Promote, Key: key.Public()}}}, m.key, key)
	statusIs(t, net, 2, func(s *node.Status) bool {
		return s.Role == node.RoleVoter && s.Ready && !s.Joint
	})
	joined.stop()
	<-joined.ended
	require.Equal(t, cli.OK, joined.code, joined.errs.String())
	for _, logged := range []string{"role=learner", "role=incoming before=learner number=2",
		"role=voter before=incoming number=3"} {
		require.Contains(t, joined.errs.String(), logged)
	}
	stop()
	for id := crypto.NodeID(1); id <= 2; id++ {
		require.Contains(t, mustRun(t, "inspect", "--dir", nodeDir(net, id)), "closes the change")
	}

	proofs = changesOf(t, net)
	require.Len(t, proofs, 3)
	writeChanges(t, net, proofs)
	stolenState(t, net, m.key, filepath.Join(dir, "changes"))
	writeChanges(t, net, proofs[:1])
	joined = begin(t, "start", "--dir", dir)
	m, stop = serve(t, net)
	change(t, net, m, &bftraft.Change{Number: 4, Replaces: proofs[2].At(),
		Steps: []bftraft.ChangeStep{{Kind: bftraft.RemoveNode, Key: key.Public()}}}, m.key)
	<-joined.ended
	stop()
	require.Equal(t, cli.TakenOut, joined.code, joined.errs.String())
	proofs = changesOf(t, net)
	said := fmt.Sprintf("this node was taken out of the cluster by change 5 at entry %d: its key is "+
		"of no more use and should be erased: %s", proofs[4].At().Index, settingsOf(t, net, 2).Key)
	require.Contains(t, joined.errs.String(), said)
	require.Contains(t, joined.errs.String(), "role=leaving before=voter number=4")
	require.Contains(t, joined.errs.String(),
		`msg="this node was taken out of the cluster" node=2 number=5`)
	doesNotComeBack(t, net, proofs, said)
	accuse(t, net, key)
	out = mustRun(t, "inspect", "--dir", nodeDir(net, 1))
	require.Contains(t, out, "node 2 is proven faulty", "though it has left")
	inspectedAfterVotersLeft(t, net, proofs[4], key)
}

// accuse puts a proof against the second node into the store of the first: votes for two.
func accuse(t *testing.T, net string, key crypto.PrivateKey) {
	t.Helper()
	s := settingsOf(t, net, 1)
	m, err := identify(t.Context(), &unlock.Sources{}, s)
	require.NoError(t, err)
	vote := func(candidate crypto.NodeID) quorumcert.SignedVote {
		v := quorumcert.Vote{Cluster: m.file.Genesis.Hash(), Term: 9, Candidate: candidate}
		return quorumcert.SignedVote{
			Vote: v, Signer: 2, Sig: quorumcert.Sign(crypto.NewSigner(2, key), v),
		}
	}
	disk, err := store.Open(s.Data, store.Options{Identity: m.identity()})
	require.NoError(t, err)
	_, err = disk.Load()
	require.NoError(t, err)
	require.NoError(t, disk.Save(&bftraft.Ready{MustSync: true, Evidence: []quorumcert.Evidence{
		{Votes: &quorumcert.VoteConflict{A: vote(1), B: vote(2)}},
	}}))
	require.NoError(t, disk.Close())
}

// doesNotComeBack starts a node that has left, without and with being told, and has it begin anew.
func doesNotComeBack(t *testing.T, net string, proofs []*bftraft.ChangeProof, said string) {
	dir := nodeDir(net, 2)
	for range 2 {
		code, _, errs := run(t, "start", "--dir", dir)
		require.Equal(t, cli.TakenOut, code, errs)
		require.Contains(t, errs, said)
		require.Equal(t, 1, strings.Count(errs, "\n"))
		writeChanges(t, net, proofs)
	}
	require.Contains(t, mustRun(t, "inspect", "--dir", dir), "change 4")
	require.NoError(t, os.RemoveAll(filepath.Join(dir, clusterfile.DataName)))
	code, _, errs := run(t, "init", "--dir", dir)
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
