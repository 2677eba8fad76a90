package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/bftraft/kv"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

func TestWrongUseIsExitCodeTwo(t *testing.T) {
	t.Setenv("BFTCLIENT_CONFIG", "")
	for about, args := range map[string][]string{
		"--config":                {"get", "k"},
		"no such file":            {"--config", filepath.Join(t.TempDir(), "none"), "get", "k"},
		"KEY VALUE":               {"put", "k"},
		"KEY":                     {"get"},
		"--duration":              {"load", "--duration", "0s"},
		"--outstanding":           {"load", "--outstanding", "0"},
		"at most 256":             {"load", "--single", "--outstanding", "257"},
		"--size":                  {"load", "--size", "1048577"},
		"--keys":                  {"load", "--keys", "0"},
		"--rate":                  {"load", "--rate", "-1"},
		"neither linearizable":    {"get", "k", "--read", "sometimes"},
		"neither table nor json":  {"get", "k", "-o", "xml"},
		"--timeout":               {"get", "k", "--timeout", "-1s"},
		"not hexadecimal":         {"get", "zz", "--hex"},
		"only one value":          {"cas", "k", "-", "-"},
		"there is no command":     {"nothing"},
		"flag provided but not":   {"get", "k", "--unknown"},
		"target":                  {"txn", "-"},
		"no completion for shell": {"completion", "tcsh"},
	} {
		stdin := `{"compare":[{"key":"k","target":"x","relation":"="}]}`
		s := runWith(t, stdin, args...)
		require.Equal(t, cli.Usage, s.code, "%q: %s", args, s.err)
		require.Contains(t, s.err, about, "%q", args)
		s = runWith(t, stdin, append([]string{"-o", "json"}, args...)...)
		require.Equal(t, cli.Usage, s.code, "%q: %s", args, s.err)
	}
}

func TestHelpTellsExitCodesAndTheFormOfTransactions(t *testing.T) {
	s := runWith(t, "", "--help")
	require.Equal(t, cli.OK, s.code)
	for code := range 8 {
		require.Contains(t, s.out, fmt.Sprintf("   %d  ", code))
	}
	for _, command := range []string{"put", "get", "del", "range", "cas", "txn", "watch", "status",
		"load", "verify", "completion", "version"} {
		require.Contains(t, s.out, "   "+command)
		require.Equal(t, cli.OK, runWith(t, "", command, "--help").code, command)
	}
	require.Contains(t, runWith(t, "", "txn", "--help").out, `"relation": "="`)
	require.Equal(t, cli.OK, runWith(t, "", "completion", "bash").code)
}

func TestConfigComesFromFlagThenEnvironment(t *testing.T) {
	t.Setenv("BFTCLIENT_CONFIG", "/from/environment")
	require.Contains(t, runWith(t, "", "get", "k").err, "/from/environment")
	for _, args := range [][]string{
		{"--config", "/from/flag", "get", "k"}, {"get", "k", "--config", "/from/flag"},
		{"get", "-c=/from/flag", "k"}, {"--config", "/other", "get", "k", "-c", "/from/flag"},
	} {
		require.Contains(t, runWith(t, "", args...).err, "/from/flag", "%q", args)
	}
}

func TestErrorsHaveTheirExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code cli.Code
	}{
		{nil, cli.OK},
		{errors.New("anything"), cli.Failed},
		{client.ErrOtherRequest, cli.Failed},
		{client.ErrRefused, cli.Failed},
		{client.ErrNotAuthorised, cli.NotAuthorised},
		{client.ErrNoQuorum, cli.NoQuorum},
		{client.ErrNotSent, cli.NoQuorum},
		{&client.UnknownOutcomeError{Cause: errors.New("late")}, cli.NoQuorum},
		{client.ErrReceipt, cli.BadProof},
		{kv.ErrValueTooLarge, cli.Usage},
		{cli.Errorf(cli.NotMet, "x"), cli.NotMet},
	} {
		require.Equal(t, c.code, cli.CodeOf(explain(c.err)), "%v", c.err)
		if c.err != nil {
			require.Equal(t, c.code, cli.CodeOf(explain(fmt.Errorf("doing: %w", c.err))))
		}
	}
	unknown := explain(&client.UnknownOutcomeError{
		ID: client.RequestID{Session: 7, Sequence: 1}, Cause: errors.New("late"),
	})
	require.ErrorContains(t, unknown, "may or may not have happened")
	require.ErrorContains(t, unknown, "--request-id 7-1 is safe")
}

func TestTransactionFilesAreReadStrictly(t *testing.T) {
	txn, err := parseTxn([]byte(exampleTxn))
	require.NoError(t, err)
	require.Len(t, txn.Compares, 2)
	require.Equal(t, kv.TargetVersion, txn.Compares[1].Target)
	require.Equal(t, []byte{0}, txn.Then[1].(kv.Put).Value)
	require.Equal(t, kv.Prefix([]byte("txn/")), txn.Else[0].(kv.Range).Span)
	_, err = kv.EncodeOp(txn)
	require.NoError(t, err)

	compare := func(fields string) string { return `{"compare":[{"key":"k",` + fields + `}]}` }
	for text, about := range map[string]string{
		``:                               "EOF",
		`{} {}`:                          "more text",
		`{"if":[]}`:                      `unknown field "if"`,
		`{"then":[{}]}`:                  "then[0]: it must be one of",
		`{"else":[{"put":{"key":"k"}}]}`: "else[0]: put needs a value",
		`{"then":[{"delete":{}}]}`:       "needs a key or a prefix",
		`{"then":[{"range":{"key":"a","prefix":"b"}}]}`:                         "key or a prefix",
		`{"then":[{"delete":{"key":"a","limit":1}}]}`:                           "no limit",
		`{"then":[{"range":{"key":"a","prev":true}}]}`:                          "no prev",
		`{"then":[{"put":{"key":"a","value":"b"},"range":{"key":"a"}}]}`:        "one of",
		`{"then":[{"put":{"key":"a","value":"b","value_hex":"00"}}]}`:           "exclude",
		`{"then":[{"put":{"key_hex":"x","value":"b"}}]}`:                        "key_hex",
		compare(`"target":"value","relation":"=","number":1`):                   "needs a value",
		compare(`"target":"value","relation":"="`):                              "needs a value",
		compare(`"target":"version","relation":"=","value":"1"`):                "needs a number",
		compare(`"target":"mod","relation":"="`):                                "needs a number",
		compare(`"target":"mod","relation":"~","number":1`):                     "relation",
		compare(`"target":"value","relation":"=","value":"a","value_hex":"00"`): "exclude",
	} {
		_, err := parseTxn([]byte(text))
		require.ErrorContains(t, err, about, text)
	}
}

func TestHistogramIsAtMostTwoPercentHigh(t *testing.T) {
	previous := -1
	for us := uint64(0); us < 1<<20; us = us + 1 + us/100 {
		bucket := bucketOf(us)
		require.GreaterOrEqual(t, bucket, previous)
		previous = bucket
		top := topOf(bucket)
		require.GreaterOrEqual(t, top, us)
		require.LessOrEqual(t, float64(top), float64(us)*1.02+1)
		require.Equal(t, bucket, bucketOf(top))
	}
	require.Less(t, bucketOf(1<<63), 64*subBuckets)
	var h histogram
	require.Zero(t, h.quantile(0.5))
	for i := range 1000 {
		h.add(time.Duration(i) * time.Millisecond)
	}
	require.InEpsilon(t, 500, h.quantile(0.5), 0.02)
	require.InEpsilon(t, 990, h.quantile(0.99), 0.02)
	require.InEpsilon(t, 999, h.quantile(1), 0.001)
}

// tale is a page of events of one key, one for each revision.
func tale(upTo kv.Revision, revisions ...kv.Revision) kv.EventsResult {
	page := kv.EventsResult{Revision: upTo}
	for _, r := range revisions {
		page.Events = append(page.Events, kv.Event{KV: kv.KV{
			Key: []byte("k"), Value: fmt.Append(nil, r), Create: 1, Mod: r, Version: uint64(r),
		}})
	}
	return page
}

func revisionsOf(changes []change) []kv.Revision {
	var out []kv.Revision
	for _, c := range changes {
		out = append(out, c.revision)
	}
	return out
}

func (m *merger) tell(t *testing.T, id bftraft.NodeID, page kv.EventsResult) []kv.Revision {
	t.Helper()
	confirmed, err := m.add(id, page)
	require.NoError(t, err)
	return revisionsOf(confirmed)
}

func TestWatchConfirmsWhatFPlusOneTell(t *testing.T) {
	m := newMerger(1, 1)
	require.Empty(t, m.tell(t, 1, tale(5, 2, 4)))
	require.Equal(t, []kv.Revision{2}, m.tell(t, 2, tale(3, 2)))
	require.Equal(t, []kv.Revision{4}, m.tell(t, 3, tale(6, 2, 4, 6)), "6 needs one more")
	require.Empty(t, m.tell(t, 3, tale(7, 7)))
	require.Equal(t, []kv.Revision{6}, m.tell(t, 1, tale(6, 6)))
	require.Equal(t, []kv.Revision{7}, m.tell(t, 1, tale(7, 7)))
}

func TestWatchNamesWhoTellsOtherwise(t *testing.T) {
	m := newMerger(1, 1)
	lie := tale(4, 2, 4)
	lie.Events[0].KV.Value = []byte("lie")
	require.Empty(t, m.tell(t, 4, lie))
	require.Empty(t, m.tell(t, 1, tale(4, 2, 4)))
	require.Empty(t, m.tell(t, 3, tale(4)), "it leaves all out")
	require.Equal(t, []kv.Revision{2, 4}, m.tell(t, 2, tale(4, 2, 4)))
	require.Equal(t, quorumcert.SetOf(3, 4), m.differ)

	late := newMerger(1, 1)
	late.tell(t, 1, tale(4, 2, 4))
	late.tell(t, 2, tale(4, 2, 4))
	late.tell(t, 3, tale(4, 2, 4))
	require.Zero(t, late.differ, "late, but the same")
	late.tell(t, 4, lie)
	require.Equal(t, quorumcert.SetOf(4), late.differ)
}

func TestWatchPutsPagesTogether(t *testing.T) {
	m := newMerger(0, 1)
	first := kv.EventsResult{Revision: 9, More: true, Split: true, Events: []kv.Event{
		{KV: kv.KV{Key: []byte("a"), Create: 3, Mod: 3, Version: 1}},
	}}
	require.Empty(t, m.tell(t, 1, first), "the revision is not complete")
	q, ok := m.question(1, kv.All())
	require.True(t, ok)
	require.Equal(t, kv.Revision(3), q.From)
	require.Equal(t, []byte("a\x00"), q.FromKey)
	second := kv.EventsResult{Revision: 9, More: true, Events: []kv.Event{
		{KV: kv.KV{Key: []byte("b"), Create: 3, Mod: 3, Version: 1}},
	}}
	confirmed, err := m.add(1, second)
	require.NoError(t, err)
	require.Len(t, confirmed, 1)
	require.Len(t, confirmed[0].events, 2)
	q, _ = m.question(1, kv.All())
	require.Equal(t, kv.Revision(4), q.From)
	require.Empty(t, q.FromKey)
	m.tell(t, 1, kv.EventsResult{Revision: 9})
	q, _ = m.question(1, kv.All())
	require.Equal(t, kv.Revision(10), q.From)
}

func TestWatchRefusesPagesThatAreNoAnswer(t *testing.T) {
	m := newMerger(0, 5)
	for _, page := range []kv.EventsResult{
		tale(9, 4), tale(9, 7, 6), {Revision: 9, More: true},
		{Revision: 9, More: true, Split: true},
	} {
		_, err := m.add(1, page)
		require.ErrorIs(t, err, errPage)
	}
}

func TestWatchHoldsNoMoreThanItsShareOfALiar(t *testing.T) {
	m := newMerger(1, 1)
	page := tale(1<<40, 1)
	page.More = true
	page.Events[0].KV.Value = make([]byte, 1<<20)
	n := 0
	for ; n < 100; n++ {
		q, room := m.question(1, kv.All())
		if !room {
			break
		}
		page.Events[0].KV.Mod = q.From
		m.tell(t, 1, page)
	}
	require.Less(t, n, 10)
}

func TestCompactedIsBelievedOfFPlusOne(t *testing.T) {
	m := newMerger(1, 1)
	require.False(t, m.compacted(1))
	require.False(t, m.compacted(1))
	require.True(t, m.compacted(2))
}

func report(id bftraft.NodeID, term bftraft.Term, leader bftraft.NodeID, commit bftraft.Index,
) client.NodeReport {
	s := &bftraft.NodeStatus{Term: term, Leader: leader}
	s.From, s.Commit.Index = id, commit
	return client.NodeReport{ID: id, Up: true, Status: s}
}

func TestStatusBelievesNoSingleNode(t *testing.T) {
	g := testGenesis()
	all := []client.NodeReport{
		report(1, 5, 2, 100), report(2, 5, 2, 100), report(3, 5, 2, 90), report(4, 99, 4, 1<<40),
	}
	gate, err := bftraft.NewVerifier(crypto.ZIP215(), &g)
	require.NoError(t, err)
	sum := summarize(g.Name, gate.Members(), all)
	require.Equal(t, bftraft.Term(5), sum.Term)
	require.Equal(t, bftraft.NodeID(2), sum.Leader)
	require.Equal(t, bftraft.Index(100), sum.Commit)
	require.Equal(t, bftraft.Index(10), sum.Nodes[2].Behind)
	require.Equal(t, 1, sum.CanLose)

	all[0].Status.Faulty = quorumcert.SetOf(4)
	require.Equal(t, 4, summarize(g.Name, gate.Members(), all).Healthy, "one word is no proof here")
	all[1].Status.Faulty = quorumcert.SetOf(4)
	all[2].Status.Suspects, all[2].Status.Commit.Index = bftraft.CauseStarvation, 1
	all[1].Status.Silent = quorumcert.SetOf(3)
	sum = summarize(g.Name, gate.Members(), all)
	require.Equal(t, 3, sum.Healthy)
	require.Equal(t, 0, sum.CanLose)
	require.Contains(t, sum.Nodes[3].remarks(), "PROVEN FAULTY to 1 2")
	require.Equal(t, "behind by 99, suspects its leader (starvation), silent to 2",
		sum.Nodes[2].remarks())
	all[0].Status, all[1].Status = nil, nil
	sum = summarize(g.Name, gate.Members(), all)
	require.Contains(t, sum.outlook(), "too few for a quorum of 3")
	require.Contains(t, sum.Nodes[0].remarks(), "does not answer")
	var b strings.Builder
	sum.print(&b)
	require.Contains(t, b.String(), "no leader in term")
}

// TestStatusShowsWhoHasNoSayBesideThoseWhoHave: learners answer, and count for nothing.
func TestStatusShowsWhoHasNoSayBesideThoseWhoHave(t *testing.T) {
	m := &bftraft.Membership{}
	for id := bftraft.NodeID(1); id <= 7; id++ {
		m.Nodes = append(m.Nodes, bftraft.Node{ID: id})
		if v := (quorumcert.Voter{ID: id}); id <= 4 {
			m.Voters = append(m.Voters, v)
		} else if id > 5 {
			m.Incoming = append(m.Incoming, v)
		}
	}
	m.Incoming = append([]quorumcert.Voter{{ID: 2}, {ID: 3}}, m.Incoming...)
	all := []client.NodeReport{
		report(1, 5, 2, 100), report(2, 5, 2, 100), {ID: 3}, report(4, 5, 2, 100),
		report(5, 9, 5, 900), report(6, 9, 5, 900), report(7, 9, 5, 900),
	}
	all[4].Status.Faulty = quorumcert.SetOf(1, 2)
	all[5].Status.Faulty, all[6].Status.Faulty = all[4].Status.Faulty, all[4].Status.Faulty
	sum := summarize("demo", m, all)
	require.Equal(t, []any{bftraft.Term(5), bftraft.NodeID(2), bftraft.Index(100), 3, 4, 0, true},
		[]any{sum.Term, sum.Leader, sum.Commit, sum.Healthy, sum.Voters, sum.CanLose, sum.Joint})
	require.Equal(t, 3, sum.answering())
	var roles []string
	for _, n := range sum.Nodes {
		require.Empty(t, n.FaultyBy, "node %d: who has no say accuses nobody", n.ID)
		roles = append(roles, n.Role)
	}
	require.Equal(t, []string{
		"leaving", "voter", "voter", "leaving", "learner", "incoming", "incoming",
	}, roles)
	var b strings.Builder
	sum.print(&b)
	require.Contains(t, b.String(), "those incoming take over from those leaving")
	require.Regexp(t, `5 +learner +9 +5`, b.String())
	require.Regexp(t, `3 +voter +- +- .*does not answer`, b.String())
	require.Contains(t, b.String(), "3 of 4 voters healthy, can lose 0 more")
}

func TestEncryptedKeyNeedsItsPassphrase(t *testing.T) {
	require.Nil(t, passphrase(""))
	_, err := passphrase(filepath.Join(t.TempDir(), "none"))()
	require.Error(t, err)
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, crypto.WriteKeyFile(path, testKey(1), []byte("word")))
	_, err = crypto.ReadKeyFile(path, passphrase(""))
	require.ErrorIs(t, err, crypto.ErrPassphraseNeeded)
}
