package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// TestInspectShowsWhoSignedWhatIsCommitted: in JSON always, to people if they ask.
func TestInspectShowsWhoSignedWhatIsCommitted(t *testing.T) {
	net := newTestnet(t, "1")
	fill(t, net, put("a", "1"), put("b", "2"), put("c", "3"))
	out := mustRun(t, "inspect", "--dir", nodeDir(net, 1))
	require.NotContains(t, out, "SIGNERS")
	out = mustRun(t, "inspect", "--dir", nodeDir(net, 1), "--certificates")
	require.Regexp(t, `CERTIFIED +TERM +HASH +SIGNERS\n1 +1 +\w+ +node 1\n2 +1 +\w+ +node 1\n`, out)

	var r report
	out = mustRun(t, "inspect", "--dir", nodeDir(net, 1), "--from", "2", "--to", "2", "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.Len(t, r.Certificates, 1)
	require.NotEqual(t, crypto.Digest{}, r.Certificates[0].Hash)
	require.EqualValues(t, 1, r.Certificates[0].Term)
	require.EqualValues(t, 2, r.Certificates[0].Index)
	require.Equal(t, []int{1}, r.Certificates[0].Signers)
}

// TestCertificatesAreThoseOfTheEntriesThatAreShown: the first that covers the last one is among
// them, wherever its block ends.
func TestCertificatesAreThoseOfTheEntriesThatAreShown(t *testing.T) {
	for _, test := range []struct {
		from, to quorumcert.Index
		want     []quorumcert.Index
	}{
		{0, 30, []quorumcert.Index{4, 9, 10, 20}},
		{5, 9, []quorumcert.Index{9}},
		{4, 8, []quorumcert.Index{4, 9}},
		{10, 10, []quorumcert.Index{10}},
		{11, 12, []quorumcert.Index{20}},
		{21, 30, nil},
	} {
		x := examiner{report: &report{}, from: test.from, to: test.to}
		for _, index := range []quorumcert.Index{4, 9, 10, 20} {
			x.certified(&quorumcert.Commit{Term: 3, Index: index,
				Signatures: quorumcert.Signatures{Signers: quorumcert.SetOf(1, 3, 4)}})
		}
		var got []quorumcert.Index
		for _, c := range x.report.Certificates {
			require.Equal(t, []int{1, 3, 4}, c.Signers)
			got = append(got, c.Index)
		}
		require.Equal(t, test.want, got, "%d to %d", test.from, test.to)
	}
}
