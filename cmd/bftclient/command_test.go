package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
)

// One cluster serves all subtests: each uses keys of its own.
func TestCommandsAgainstACluster(t *testing.T) {
	c := startCluster(t, nil)
	for name, test := range map[string]func(*testing.T, *cluster){
		"a value that was put is found": valueThatWasPutIsFound,
		"bytes survive":                 bytesSurvive,
		"del removes":                   delRemoves,
		"range lists a prefix":          rangeListsAPrefix,
		"cas compares":                  casCompares,
		"txn does all or nothing":       txnDoesAllOrNothing,
		"old revisions can be read":     oldRevisionsCanBeRead,
		"limits are checked here":       limitsAreCheckedHere,
		"repeating is safe":             repeatingIsSafe,
		"receipts are proof":            receiptsAreProof,
		"watch tells what happens":      watchTellsWhatHappens,
		"watch tells what happened":     watchTellsWhatHappened,
		"sealed values stay sealed":     sealedValuesStaySealed,
		"sealed values can be compared": sealedValuesCanBeCompared,
		"seals are judged":              sealsAreJudged,
		"status of a sound cluster":     statusOfASoundCluster,
		"load measures":                 loadMeasures,
	} {
		t.Run(name, func(t *testing.T) {
			mine := *c
			mine.t = t
			test(t, &mine)
		})
	}
}

func valueThatWasPutIsFound(t *testing.T, c *cluster) {
	require.Regexp(t, `^revision \d+  request \d+-1\n$`, c.ok("put", "found/a", "1"))
	require.Equal(t, "1\n", c.ok("get", "found/a"))
	require.Equal(t, said{out: "1\n"}, c.stale("found/a"))
	c.fails(cli.NotFound, "error: key not found: found/b", "get", "found/b")
	var e entry
	c.json(&e, "get", "found/a")
	require.Equal(t, "found/a", *e.Key)
	require.Equal(t, "1", *e.Value)
	require.Equal(t, uint64(1), e.Version)
	require.Equal(t, e.Create, e.Mod)
	s := c.fails(cli.NotFound, "key not found", "-o", "json", "get", "found/b")
	require.JSONEq(t, `{"error":{"code":3,"message":"key not found: found/b"}}`, s.err)
}

func bytesSurvive(t *testing.T, c *cluster) {
	c.ok("put", "--hex", "62797465732f00ff", "00ff0a")
	require.Equal(t, "00ff0a\n", c.ok("get", "62797465732f00ff", "--hex"))
	require.Equal(t, "\x00\xff\n\n", c.ok("get", "bytes/\x00\xff"))
	var e entry
	c.json(&e, "get", "bytes/\x00\xff")
	require.Nil(t, e.Key)
	require.Equal(t, "62797465732f00ff", *e.KeyHex)
	require.Equal(t, "00ff0a", *e.ValueHex)
	require.Contains(t, c.ok("range", "bytes/"), `"bytes/\x00\xff"`)

	s := runWith(t, "from\nstdin", "-c", c.config, "put", "bytes/in", "-")
	require.Equal(t, cli.OK, s.code, s.err)
	require.Equal(t, "from\nstdin\n", c.ok("get", "bytes/in"))
	c.ok("put", "bytes/empty", "")
	require.Equal(t, "\n", c.ok("get", "bytes/empty"))
	c.ok("put", "--", "--bytes/dash", "-x")
	require.Equal(t, "-x\n", c.ok("get", "--", "--bytes/dash"))
}

func delRemoves(t *testing.T, c *cluster) {
	c.ok("put", "del/a", "1")
	c.ok("put", "del/b", "1")
	c.ok("put", "del/c", "1")
	c.ok("del", "del/a")
	c.fails(cli.NotFound, "key not found", "get", "del/a")
	c.fails(cli.NotFound, "key not found: del/a", "del", "del/a")
	require.Contains(t, c.ok("del", "del/", "--prefix"), "deleted 2")
}

func rangeListsAPrefix(t *testing.T, c *cluster) {
	big := strings.Repeat("x", 700<<10)
	for i := range 4 {
		s := runWith(t, big, "-c", c.config, "put", fmt.Sprintf("range/%d", i), "-")
		require.Equal(t, cli.OK, s.code, s.err)
	}
	var all found
	c.json(&all, "range", "range/")
	require.Equal(t, uint64(4), all.Count)
	require.Len(t, all.Keys, 4, "all pages are put together")
	require.False(t, all.More)
	require.Equal(t, "range/3", *all.Keys[3].Key)
	require.Equal(t, big, *all.Keys[3].Value)
	var some found
	c.json(&some, "range", "range/", "--limit", "3")
	require.Len(t, some.Keys, 3)
	require.True(t, some.More)
	require.Equal(t, "4\n", c.ok("range", "range/", "--count"))
	require.Equal(t, "0\n", c.ok("range", "range/none", "--count"))
	table := c.ok("range", "found/none")
	require.Regexp(t, `^KEY +REVISION +VERSION +VALUE\n$`, table)
}

func casCompares(t *testing.T, c *cluster) {
	c.ok("put", "cas/a", "1")
	c.ok("cas", "cas/a", "1", "2")
	s := c.fails(cli.NotMet, "condition not met", "cas", "cas/a", "1", "3")
	require.Contains(t, s.out, "cas/a = 2")
	s = c.fails(cli.NotMet, "condition not met", "cas", "cas/a", "1", "3", "-o", "json")
	var w written
	require.NoError(t, json.Unmarshal([]byte(s.out), &w))
	require.False(t, *w.Succeeded)
	require.Equal(t, "2", *w.Results[0].Keys[0].Value)
	require.Equal(t, "2\n", c.ok("get", "cas/a"))
	c.fails(cli.NotMet, "condition not met", "cas", "cas/none", "", "3")
}

const exampleTxn = `{
  "compare": [{"key": "txn/stock", "target": "value", "relation": "=", "value": "3"},
              {"key": "txn/order", "target": "version", "relation": "=", "number": 0}],
  "then": [{"put": {"key": "txn/stock", "value": "2", "prev": true}},
           {"put": {"key": "txn/order", "value_hex": "00"}},
           {"delete": {"prefix": "txn/cart/"}}],
  "else": [{"range": {"prefix": "txn/", "limit": 10}}]
}`

func txnDoesAllOrNothing(t *testing.T, c *cluster) {
	c.ok("put", "txn/stock", "3")
	c.ok("put", "txn/cart/1", "x")
	path := filepath.Join(t.TempDir(), "txn.json")
	require.NoError(t, os.WriteFile(path, []byte(exampleTxn), 0o600))
	var w written
	c.json(&w, "txn", path)
	require.True(t, *w.Succeeded)
	require.Len(t, w.Results, 3)
	require.Equal(t, "3", *w.Results[0].Keys[0].Value)
	require.Equal(t, uint64(1), w.Results[2].Count)
	require.Equal(t, "2\n", c.ok("get", "txn/stock"))
	require.Equal(t, "\x00\n", c.ok("get", "txn/order"))

	s := runWith(t, exampleTxn, "-c", c.config, "txn", "-")
	require.Equal(t, cli.NotMet, s.code, s.err)
	require.Contains(t, s.out, "range: 2 found")
	require.Contains(t, s.out, "txn/stock = 2")
}

func oldRevisionsCanBeRead(t *testing.T, c *cluster) {
	var first, second written
	c.json(&first, "put", "old/a", "1")
	c.json(&second, "put", "old/a", "2")
	require.Greater(t, second.Revision, first.Revision)
	rev := fmt.Sprint(first.Revision)
	require.Equal(t, "1\n", c.ok("get", "old/a", "--rev", rev))
	require.Equal(t, "2\n", c.ok("get", "old/a"))
	c.fails(cli.Failed, "revision is in the future", "get", "old/a", "--rev", "99999999")
}

func limitsAreCheckedHere(t *testing.T, c *cluster) {
	c.fails(cli.Usage, "key is longer than 4096 bytes", "put", strings.Repeat("k", 4097), "v")
	s := runWith(t, strings.Repeat("v", 1<<20+1), "-c", c.config, "put", "limit", "-")
	require.Equal(t, cli.Usage, s.code)
	require.Contains(t, s.err, "value is longer than 1 MiB")
	c.fails(cli.Usage, "key is empty", "put", "", "v")
	s = runWith(t, strings.Repeat("v", 1<<20), "-c", c.config, "put", strings.Repeat("k", 4096), "-")
	require.Equal(t, cli.OK, s.code, s.err)
}

func repeatingIsSafe(t *testing.T, c *cluster) {
	var first, again written
	c.json(&first, "put", "repeat/a", "1")
	c.ok("put", "repeat/a", "2")
	c.json(&again, "put", "repeat/a", "1", "--request-id", first.RequestID)
	first.Nodes, again.Nodes = nil, nil // any f+1 do
	require.Equal(t, first, again, "it was not executed again")
	require.Equal(t, "2\n", c.ok("get", "repeat/a"))
	c.fails(cli.Failed, "another request was executed under this request id",
		"put", "repeat/a", "3", "--request-id", first.RequestID)
	c.fails(cli.Usage, "SESSION-SEQUENCE", "put", "repeat/a", "3", "--request-id", "x")
}

func receiptsAreProof(t *testing.T, c *cluster) {
	dir := t.TempDir()
	for name, args := range map[string][]string{
		"put": {"put", "receipt/a", "1"}, "cas": {"cas", "receipt/b", "x", "y"},
		"del": {"del", "receipt/none"},
	} {
		path := filepath.Join(dir, name)
		c.do(append(args, "--receipt", path)...)
		s := runWith(t, "", "verify", path, "--genesis", filepath.Join(c.dir, "genesis.json"))
		require.Equal(t, cli.OK, s.code, s.err)
		require.Contains(t, s.out, `proven: client "client1"`)
	}
	path := filepath.Join(dir, "put")
	var p proof
	c.json(&p, "verify", path)
	require.Equal(t, "client1", p.Client)
	require.GreaterOrEqual(t, len(p.Nodes), 2)
	require.Equal(t, "put", p.Ops[0].Op)
	require.Equal(t, "receipt/a = 1", p.Ops[0].What)
	require.Positive(t, p.Ops[0].Revision)
	c.fails(cli.Failed, "exists", "put", "receipt/a", "2", "--receipt", path)
	require.Equal(t, "1\n", c.ok("get", "receipt/a"), "nothing is sent without its receipt")

	text, err := os.ReadFile(path)
	require.NoError(t, err)
	s := runWith(t, string(text), "-c", c.config, "verify", "-")
	require.Equal(t, cli.OK, s.code, s.err)
	for i := range 40 {
		lines := strings.Split(string(text), "\n")
		k := 1 + i%(len(lines)-3)
		flipped := []byte(lines[k])
		flipped[i%len(flipped)] ^= 1
		lines[k] = string(flipped)
		bent := strings.Join(lines, "\n")
		s = runWith(t, bent, "-c", c.config, "verify", "-")
		require.Equal(t, cli.BadProof, s.code, "%s", s.err)
		require.Contains(t, s.err, "receipt does not verify")
	}
	other := testGenesis()
	other.Nonce[3] = 9
	elsewhere := filepath.Join(dir, "genesis.json")
	require.NoError(t, clusterfile.SaveGenesis(elsewhere, &clusterfile.File{Genesis: other}))
	s = runWith(t, "", "verify", path, "--genesis", elsewhere)
	require.Equal(t, cli.BadProof, s.code)
	require.Contains(t, s.err, "another cluster")
}

func watchTellsWhatHappens(t *testing.T, c *cluster) {
	ctx, cancel := context.WithCancel(t.Context())
	out, errs := &lines{seen: make(chan struct{}, 1)}, &lines{seen: make(chan struct{}, 1)}
	done := make(chan cli.Code, 1)
	go func() {
		done <- run(ctx, []string{"bftclient", "-c", c.config, "watch", "live/", "--prev"},
			streams{out: out, err: errs})
	}()
	require.NoError(t, errs.await("watching"))
	c.ok("put", "live/a", "1")
	c.ok("put", "elsewhere", "1")
	c.ok("put", "live/a", "2")
	c.ok("del", "live/a")
	require.NoError(t, out.await("delete"))
	cancel()
	require.Equal(t, cli.OK, <-done, errs.String())
	require.Regexp(t, `^(\d+) put live/a = 1
(\d+) put live/a = 2 \(was 1\)
(\d+) delete live/a \(was 2\)
$`, out.String())
}

func watchTellsWhatHappened(t *testing.T, c *cluster) {
	var first written
	c.json(&first, "put", "past/a", "1")
	c.ok("put", "past/b", "2")
	c.ok("del", "past/a")
	rev := fmt.Sprint(first.Revision)
	out := c.ok("watch", "past/", "--from", rev, "--count", "3", "-o", "json")
	var kinds []string
	for _, text := range strings.Split(strings.TrimSpace(out), "\n") {
		var e event
		require.NoError(t, json.Unmarshal([]byte(text), &e))
		kinds = append(kinds, e.Type+" "+*e.Key)
	}
	require.Equal(t, []string{"put past/a", "put past/b", "delete past/a"}, kinds)
}

func statusOfASoundCluster(t *testing.T, c *cluster) {
	c.ok("put", "status/a", "1") // whoever serves this has elected a leader
	var s clusterStatus
	c.json(&s, "status")
	require.Equal(t, 4, s.Healthy)
	require.Equal(t, 1, s.CanLose)
	require.NotZero(t, s.Leader)
	require.Len(t, s.Nodes, 4)
	for i, n := range s.Nodes {
		require.Equal(t, bftraft.NodeID(i+1), n.ID)
		require.True(t, n.Answers)
		require.Empty(t, n.FaultyBy)
	}
	table := c.ok("status")
	require.Contains(t, table, "4 of 4 voters healthy, can lose 1 more")
}

func loadMeasures(t *testing.T, c *cluster) {
	for _, args := range [][]string{
		{"--outstanding", "16"}, {"--outstanding", "40", "--single"}, {"--rate", "50"},
	} {
		var r loadReport
		c.json(&r, append([]string{"load", "--duration", "500ms", "--size", "100"}, args...)...)
		require.Positive(t, r.Ops, "%q", args)
		require.Zero(t, r.Errors, "%q: %v", args, r.Reasons)
		require.Positive(t, r.Latency.P50)
		require.GreaterOrEqual(t, r.Latency.P99, r.Latency.P50)
		require.GreaterOrEqual(t, r.Latency.Max, r.Latency.P999)
		require.Empty(t, r.Dissent)
		if args[0] == "--rate" {
			require.LessOrEqual(t, r.Ops, uint64(25))
		}
	}
	require.Contains(t, c.ok("load", "--duration", "100ms", "--outstanding", "2"), "latency in ms")
}

func TestOneLiarAmongFourIsNamedAndChangesNothing(t *testing.T) {
	c := startCluster(t, func(id bftraft.NodeID, frame []byte) []byte {
		r, err := bftraft.DecodeBlockReply(frame)
		if id != 2 || err != nil {
			return frame
		}
		r.Results[0] = []byte("lie")
		return r.Encode()
	})
	s := c.do("load", "--duration", "500ms", "-o", "json")
	require.Equal(t, cli.OK, s.code, s.err)
	var r loadReport
	require.NoError(t, json.Unmarshal([]byte(s.out), &r))
	require.Len(t, r.Dissent, 1)
	require.Equal(t, bftraft.NodeID(2), r.Dissent[0].Node)
	require.JSONEq(t, `{"warning":"node 2 sent something that does not verify"}`, s.err)
}

func TestStoppedNodesAreNamedAndTooManyMeanNoQuorum(t *testing.T) {
	c := startCluster(t, nil)
	c.ok("put", "k", "1")
	c.nodes[3].kill()
	c.ok("put", "k", "2")
	require.Equal(t, "2\n", c.ok("get", "k"))
	var s clusterStatus
	c.json(&s, "status", "--timeout", "1s")
	require.Equal(t, 3, s.Healthy)
	require.Equal(t, 0, s.CanLose)
	require.False(t, s.Nodes[3].Answers)

	c.nodes[2].kill()
	lost := c.fails(cli.NoQuorum, "may or may not have happened", "put", "k", "3", "--timeout", "1s")
	require.Regexp(t, `repeating the same command with --request-id \d+-1 is safe`, lost.err)
	some := c.fails(cli.NoQuorum, "too few nodes answered", "get", "k", "--timeout", "1s")
	require.NotContains(t, some.err, "changes: FILE", "it knows somebody")
	require.Equal(t, "2\n", c.ok("get", "k", "--read", "stale"))
	require.Contains(t, c.ok("status", "--timeout", "1s"), "1 too few for a quorum of 3")

	c.nodes[0].kill()
	c.nodes[1].kill()
	told := `"changes: FILE" in client.yaml`
	lost = c.fails(cli.NoQuorum, told, "put", "k", "4", "--timeout", "1s")
	require.Contains(t, lost.err, "did not happen")
	c.fails(cli.NoQuorum, told, "get", "k", "--timeout", "1s")
	c.fails(cli.NoQuorum, told, "leader", "show", "--timeout", "1s")
	gone := c.fails(cli.NoQuorum, told, "status", "--timeout", "1s")
	require.Contains(t, gone.err, "none of 4 voters answered")
}

// offline writes a genesis whose nodes are at an address, if there is one, and a client's folder.
func offline(t *testing.T, key byte, address string) *cluster {
	c := &cluster{t: t, dir: t.TempDir()}
	file := clusterfile.File{Genesis: testGenesis()}
	if address != "" {
		file.Addresses = []clusterfile.NodeAddress{{ID: 1, Address: address}}
	}
	require.NoError(t, clusterfile.SaveGenesis(filepath.Join(c.dir, "genesis.json"), &file))
	c.config = c.addClient("client1", testKey(key))
	return c
}

func TestClientThatIsNotEnrolledIsNotAuthorised(t *testing.T) {
	c := offline(t, 99, "127.0.0.1:1")
	for _, args := range [][]string{{"put", "k", "v"}, {"get", "k"}, {"member", "list"}} {
		s := runWith(t, "", append([]string{"--config", c.config, "--timeout", "300ms"}, args...)...)
		require.Equal(t, cli.NotAuthorised, s.code, s.err)
		require.Contains(t, s.err, "not enrolled")
	}
}

func TestSettingsThatCannotWorkAreNamed(t *testing.T) {
	c := offline(t, clientSeed, "")
	c.fails(cli.Usage, "no node has an address", "get", "k")
	c = offline(t, clientSeed, "127.0.0.1:1")
	text, err := os.ReadFile(c.config)
	require.NoError(t, err)
	bent := strings.Replace(string(text), "tls", "rot13", 1)
	require.NoError(t, os.WriteFile(c.config, []byte(bent), 0o600))
	c.fails(cli.Usage, "Security", "get", "k")
	require.NoError(t, os.Chmod(filepath.Join(filepath.Dir(c.config), "key"), 0o644))
	c.fails(cli.Failed, "chmod 600", "get", "k")
}
