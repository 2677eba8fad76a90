package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/node"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// TestInspectTellsWhyTheLeaderChanged stops a leader and looks at a store of those who went on. It
// still tells of that term when there have been others.
func TestInspectTellsWhyTheLeaderChanged(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	net := newTestnet(t, "4")
	term, leader, witness := leaderStops(t, net, 4)
	toldOf := func(term quorumcert.Term) termText {
		var r report
		out := mustRun(t, "inspect", "--dir", nodeDir(net, witness), "-o", "json")
		require.NoError(t, json.Unmarshal([]byte(out), &r))
		i := slices.IndexFunc(r.Terms, func(t termText) bool { return t.Term == term })
		require.GreaterOrEqual(t, i, 0, out)
		return r.Terms[i]
	}
	first := toldOf(term)
	require.Equal(t, leader, first.Leader)
	require.GreaterOrEqual(t, len(first.Elected), 3)
	require.Contains(t, first.Reason, "elected node")
	require.Contains(t, mustRun(t, "inspect", "--dir", nodeDir(net, witness)), first.Reason)
	later, _, _ := leaderStops(t, net, witness)
	require.Greater(t, later, term)
	require.Equal(t, first.Reason, toldOf(term).Reason, "later terms do not take its place")
}

// leaderStops starts a cluster, stops the leader that a node names, waits until another leads, and
// stops all. It returns the term of the new leader, who it is, and a node that saw it.
func leaderStops(t *testing.T, net string, asked crypto.NodeID) (
	term quorumcert.Term, leader, witness crypto.NodeID,
) {
	all := map[crypto.NodeID]*process{}
	for id := crypto.NodeID(1); id <= 4; id++ {
		all[id] = begin(t, "start", "--dir", nodeDir(net, id))
	}
	var old crypto.NodeID
	statusIs(t, net, asked, func(s *node.Status) bool { old = s.Leader; return s.Ready && old != 0 })
	all[old].stop()
	<-all[old].ended
	witness = old%4 + 1
	statusIs(t, net, witness, func(s *node.Status) bool {
		term, leader = s.Term, s.Leader
		return s.Ready && leader != old && leader != 0
	})
	for _, p := range all {
		p.stop()
		<-p.ended
		require.Equal(t, cli.OK, p.code, p.errs.String())
	}
	return term, leader, witness
}

// TestTermsAreToldFromTheirCertificates: as far as there are any.
func TestTermsAreToldFromTheirCertificates(t *testing.T) {
	x := examiner{report: &report{}}
	for _, c := range []quorumcert.Commit{
		{Term: 1, Index: 1}, {Term: 1, Index: 5}, {Term: 4, Index: 6}, {Term: 4, Index: 9},
	} {
		x.committed(&c)
	}
	x.began(1, &bftraft.TermProof{})
	require.Equal(t, "the first term", x.report.Terms[0].Reason)
	x.began(1, &bftraft.TermProof{EC: &quorumcert.EC{Term: 1, Leader: 2,
		Signatures: quorumcert.Signatures{Signers: quorumcert.Set(0).With(1)},
	}})
	x.began(4, &bftraft.TermProof{})
	require.Len(t, x.report.Terms, 2)
	x.began(3, &bftraft.TermProof{TC: &quorumcert.TC{Term: 2, Signatures: quorumcert.Signatures{
		Signers: quorumcert.Set(0).With(3),
	}}})
	x.began(7, &bftraft.TermProof{
		TC: &quorumcert.TC{Term: 6, Signatures: quorumcert.Signatures{
			Signers: quorumcert.Set(0).With(1).With(2).With(4),
		}},
		EC: &quorumcert.EC{Term: 7, Leader: 2, Signatures: quorumcert.Signatures{
			Signers: quorumcert.Set(0).With(2),
		}},
	})
	require.Equal(t, []termText{
		{Term: 1, First: 1, Last: 5, Leader: 2, Elected: []int{1},
			Reason: "the first term; node 1 elected node 2"},
		{Term: 3, Ended: []int{3}, Reason: "node 3 suspected the leader of term 2"},
		{Term: 4, First: 6, Last: 9, Reason: "a certificate of the term, which others had entered"},
		{Term: 7, Leader: 2, Ended: []int{1, 2, 4}, Elected: []int{2},
			Reason: "nodes 1, 2, 4 suspected the leader of term 6; node 2 elected node 2"},
	}, x.report.Terms)
}

// TestTermsListNodesAsNumbersInJSON: of a list of bytes, which identities are, it makes base64.
func TestTermsListNodesAsNumbersInJSON(t *testing.T) {
	x := examiner{report: &report{}}
	x.began(7, &bftraft.TermProof{
		TC: &quorumcert.TC{Term: 6, Signatures: quorumcert.Signatures{
			Signers: quorumcert.SetOf(1, 2, 4),
		}},
		EC: &quorumcert.EC{Term: 7, Leader: 2, Signatures: quorumcert.Signatures{
			Signers: quorumcert.SetOf(2, 3, 4),
		}},
	})
	text, err := json.Marshal(x.report.Terms)
	require.NoError(t, err)
	require.Contains(t, string(text), `"suspected_the_term_before":[1,2,4],"voted":[2,3,4]`)
}
