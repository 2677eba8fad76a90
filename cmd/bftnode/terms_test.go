package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/node"
	"tangaroa/bftraft/store"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// TestInspectTellsWhyTheLeaderChanged stops a leader and looks at a store of those who went on. It
// still tells of that term when there have been others.
func TestInspectTellsWhyTheLeaderChanged(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	net := newTestnet(t, "4")
	old, term, leader, witness := leaderStops(t, net, 4)
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
	require.NotNil(t, first.Left)
	require.Less(t, first.Left.Term, term)
	if first.Left.Leader == old { // else more than one term passed
		require.Equal(t, "resigned", first.Left.Cause, "who is stopped in order hands over")
		require.Contains(t, first.Reason, fmt.Sprintf("node %d (leader of term %d) resigned", old,
			first.Left.Term))
	}
	out := mustRun(t, "inspect", "--dir", nodeDir(net, witness))
	for _, words := range strings.Split(first.Reason, reasonBreak) {
		require.Contains(t, out, words)
	}
	_, later, _, _ := leaderStops(t, net, witness)
	require.Greater(t, later, term)
	require.Equal(t, first.Reason, toldOf(term).Reason, "later terms do not take its place")
}

// leaderStops starts a cluster, stops the leader that a node names, waits until another leads, and
// stops all. It returns who led, the term of the new leader, who it is, and a node that saw it.
func leaderStops(t *testing.T, net string, asked crypto.NodeID) (
	old crypto.NodeID, term quorumcert.Term, leader, witness crypto.NodeID,
) {
	all := map[crypto.NodeID]*process{}
	for id := crypto.NodeID(1); id <= 4; id++ {
		all[id] = begin(t, "start", "--dir", nodeDir(net, id))
	}
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
	return old, term, leader, witness
}

// TestTermsAreToldFromTheirCertificates: as far as there are any.
func TestTermsAreToldFromTheirCertificates(t *testing.T) {
	x := examiner{report: &report{}}
	for _, c := range []quorumcert.Commit{
		{Term: 1, Index: 1}, {Term: 1, Index: 5}, {Term: 4, Index: 6}, {Term: 4, Index: 9},
	} {
		x.committed(&c)
	}
	began := func(term quorumcert.Term, proof bftraft.TermProof, end *bftraft.TermEnd) {
		x.began(&store.TermRecord{Term: term, Proof: proof, End: end})
	}
	began(1, bftraft.TermProof{}, nil)
	require.Equal(t, "the first term", x.report.Terms[0].Reason)
	require.Equal(t, notKnown, x.report.Terms[1].Reason)
	began(1, bftraft.TermProof{EC: electionOf(1, 2, 0, 1)}, nil)
	began(4, bftraft.TermProof{}, nil)
	require.Len(t, x.report.Terms, 2)
	began(3, bftraft.TermProof{TC: endedBy(2, 3)}, nil)
	began(7, bftraft.TermProof{TC: endedBy(6, 1, 2, 4), EC: electionOf(7, 2, 9, 2)},
		&bftraft.TermEnd{Term: 6, Leader: 1, Cause: bftraft.CauseSilence, By: bftraft.ProofTC})
	began(8, bftraft.TermProof{EC: electionOf(8, 3, 9, 4)},
		&bftraft.TermEnd{Term: 7, Leader: 2, By: bftraft.ProofEC, Started: true})
	require.Equal(t, []termText{
		{Term: 1, First: 1, Last: 5, Leader: 2, Elected: []int{1},
			Reason: "the first term; node 1 elected node 2"},
		{Term: 3, Ended: []int{3}, Reason: notKept + "; node 3 suspected the leader of term 2"},
		{Term: 4, First: 6, Last: 9, Reason: notShown},
		{Term: 7, Leader: 2, Base: 9, Ended: []int{1, 2, 4}, Elected: []int{2},
			Left: &endText{Term: 6, Leader: 1, Cause: "silence", MovedBy: "suspicions"},
			Reason: "nothing valid came from node 1 (leader of term 6) in time; nodes 1, 2, 4 " +
				"suspected the leader of term 6; node 2 elected node 2, which goes on behind 9"},
		{Term: 8, Leader: 3, Base: 9, Elected: []int{4},
			Left: &endText{Term: 7, Leader: 2, Cause: "none", MovedBy: "election", Started: true},
			Reason: "not known here: this node was started in that term, with nothing against " +
				"node 2 (leader of term 7); who suspected it was not shown to this node, but who " +
				"elected; node 4 elected node 3, which goes on behind 9"},
	}, x.report.Terms)
	var out strings.Builder
	x.report.printTerms(&out)
	for _, line := range []string{
		`(?m)^4 +\? +6 to 9 +not known here`, `(?m)^7 +2 +none +nothing valid came from node 1 \(`,
		`(?m)^ +nodes 1, 2, 4 suspected`, `(?m)^ +node 2 elected node 2, which goes on behind 9`,
	} {
		require.Regexp(t, line, out.String())
	}
}

func endedBy(term quorumcert.Term, ids ...crypto.NodeID) *quorumcert.TC {
	sigs := quorumcert.Signatures{Signers: quorumcert.SetOf(ids...)}
	return &quorumcert.TC{Term: term, Signatures: sigs}
}

func electionOf(
	term quorumcert.Term, leader crypto.NodeID, base quorumcert.Index, ids ...crypto.NodeID,
) *quorumcert.EC {
	sigs := quorumcert.Signatures{Signers: quorumcert.SetOf(ids...)}
	return &quorumcert.EC{
		Term: term, Leader: leader, Base: quorumcert.Lock{Index: base}, Signatures: sigs,
	}
}

// TestEachCauseIsToldInPlainWords, with a leader and without, and where more terms passed.
func TestEachCauseIsToldInPlainWords(t *testing.T) {
	seen := map[string]bool{}
	for _, cause := range append(bftraft.Causes(), bftraft.CauseNone) {
		words := why(&bftraft.TermEnd{Term: 4, Leader: 3, Cause: cause}, 5)
		require.Contains(t, words, "node 3 (leader of term 4)")
		require.NotContains(t, words, "%")
		require.Equal(t, cause == bftraft.CauseNone, strings.HasPrefix(words, "not known here"))
		require.False(t, seen[words], words)
		seen[words] = true
		far := why(&bftraft.TermEnd{Term: 4, Leader: 3, Cause: cause}, 9)
		require.Contains(t, far, "this node went from term 4 to 9 at once")
		none := why(&bftraft.TermEnd{Term: 4, Cause: cause}, 5)
		require.Contains(t, none, "leader of term 4")
		require.NotContains(t, none, "node 0")
	}
	require.Contains(t, why(&bftraft.TermEnd{Term: 4, Cause: 99}, 5), "does not know")
	for kind := bftraft.ProofNone; kind <= bftraft.ProofCommit; kind++ {
		require.Contains(t, unshown[kind], "who suspected it")
	}
}

// TestTermsListNodesAsNumbersInJSON: of a list of bytes, which identities are, it makes base64.
func TestTermsListNodesAsNumbersInJSON(t *testing.T) {
	x := examiner{report: &report{}}
	x.began(&store.TermRecord{Term: 7, Proof: bftraft.TermProof{
		TC: endedBy(6, 1, 2, 4), EC: electionOf(7, 2, 0, 2, 3, 4),
	}})
	text, err := json.Marshal(x.report.Terms)
	require.NoError(t, err)
	require.Contains(t, string(text), `"suspected_the_term_before":[1,2,4],"voted":[2,3,4]`)
}
