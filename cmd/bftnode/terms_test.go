package main

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/node"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// TestInspectTellsWhyTheLeaderChanged stops a leader and looks at a store of those who went on.
func TestInspectTellsWhyTheLeaderChanged(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	net := newTestnet(t, "4")
	all := map[crypto.NodeID]*process{}
	for id := crypto.NodeID(1); id <= 4; id++ {
		all[id] = begin(t, "start", "--dir", nodeDir(net, id))
	}
	var old crypto.NodeID
	statusIs(t, net, 4, func(s *node.Status) bool { old = s.Leader; return s.Ready })
	all[old].stop()
	<-all[old].ended
	witness := old%4 + 1
	var term quorumcert.Term
	var leader crypto.NodeID
	statusIs(t, net, witness, func(s *node.Status) bool {
		term, leader = s.Term, s.Leader
		return s.Ready && leader != old && leader != 0
	})
	for _, p := range all {
		p.stop()
		<-p.ended
		require.Equal(t, cli.OK, p.code, p.errs.String())
	}
	var r report
	out := mustRun(t, "inspect", "--dir", nodeDir(net, witness), "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.NotEmpty(t, r.Terms)
	newest := r.Terms[len(r.Terms)-1]
	require.GreaterOrEqual(t, newest.Term, term)
	if newest.Term == term {
		require.Equal(t, leader, newest.Leader, out)
		require.GreaterOrEqual(t, len(newest.Elected), 3)
		require.Contains(t, newest.Reason, "elected node")
	} else { // they suspected it when it, too, was stopped
		require.Contains(t, newest.Reason, "suspected the leader of term")
	}
	require.Contains(t, mustRun(t, "inspect", "--dir", nodeDir(net, witness)), newest.Reason)
}

// TestTermsAreToldFromTheirCertificates: as far as there are any.
func TestTermsAreToldFromTheirCertificates(t *testing.T) {
	x := examiner{report: &report{}}
	for _, c := range []quorumcert.Commit{
		{Term: 1, Index: 1}, {Term: 1, Index: 5}, {Term: 4, Index: 6}, {Term: 4, Index: 9},
	} {
		x.committed(&c)
	}
	x.newestTerm(&bftraft.HardState{Term: 4})
	require.Len(t, x.report.Terms, 2)
	x.newestTerm(&bftraft.HardState{Term: 7, Proof: bftraft.TermProof{
		TC: &quorumcert.TC{Term: 6, Signatures: quorumcert.Signatures{
			Signers: quorumcert.Set(0).With(1).With(2).With(4),
		}},
		EC: &quorumcert.EC{Term: 7, Leader: 2, Signatures: quorumcert.Signatures{
			Signers: quorumcert.Set(0).With(2),
		}},
	}})
	require.Equal(t, []termText{
		{Term: 1, First: 1, Last: 5, Reason: "the first term"},
		{Term: 4, First: 6, Last: 9, Reason: "a certificate of the term, which others had entered"},
		{Term: 7, Leader: 2, Ended: []crypto.NodeID{1, 2, 4}, Elected: []crypto.NodeID{2},
			Reason: "nodes 1, 2, 4 suspected the leader of term 6; node 2 elected node 2"},
	}, x.report.Terms)
}
