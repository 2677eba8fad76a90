//go:build linux

package processes

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Exit codes of bftclient.
const (
	ok            = 0
	failed        = 1
	wrongUsage    = 2
	notFound      = 3
	notMet        = 4
	noQuorum      = 5
	badProof      = 6
	notAuthorised = 7
)

// shell runs bftclient as one of the clients.
type shell struct {
	*cluster
	t      *testing.T
	config string
}

// do runs a command, requires an exit code, and returns what it printed. Errors are one line.
func (s shell) do(code int, args ...string) string {
	s.t.Helper()
	got := s.try(args...)
	require.Equal(s.t, code, got.code, "%q: %s%s", args, got.out, got.err)
	if code != ok {
		require.Equal(s.t, 1, strings.Count(got.err, "\n"), "%q: one line: %q", args, got.err)
	}
	return got.out
}

func (s shell) try(args ...string) said {
	s.t.Helper()
	return run(s.t, "", "bftclient", append([]string{"--config", s.config}, args...)...)
}

// json runs a command with -o json and decodes what it printed.
func (s shell) json(code int, args ...string) map[string]any {
	s.t.Helper()
	var out map[string]any
	text := s.do(code, append(args, "-o", "json")...)
	require.NoError(s.t, json.Unmarshal([]byte(text), &out), text)
	return out
}

func TestClientCommandsTellByExitCode(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.startAll()
	for _, part := range []struct {
		name string
		test func(s shell)
	}{
		{"reads and writes", readsAndWrites}, {"conditions", conditions}, {"watch", watches},
		{"receipts", receipts}, {"usage", usage}, {"key that is not enrolled", notEnrolled},
		{"status and load", statusAndLoad},
		{"three nodes away", threeNodesAway}, // the last: it leaves one node
	} {
		t.Run(part.name, func(t *testing.T) {
			mine := *c
			mine.t = t
			part.test(shell{&mine, t, c.config(1)})
		})
	}
}

func readsAndWrites(s shell) {
	s.do(ok, "put", "rw/a", "1")
	require.Equal(s.t, "1\n", s.do(ok, "get", "rw/a"))
	var late said // the word of one node, which may be behind
	require.Eventually(s.t, func() bool {
		late = s.try("get", "rw/a", "--read", "stale")
		return late.code != notFound
	}, 30*time.Second, time.Millisecond)
	require.Equal(s.t, "1\n", late.out, late.err)
	s.do(ok, "put", "rw/b", "2")
	require.Regexp(s.t, `(?s)rw/a.*rw/b`, s.do(ok, "range", "rw/"))
	require.EqualValues(s.t, 2, s.json(ok, "range", "rw/")["count"])
	require.Equal(s.t, "1", s.json(ok, "get", "rw/a")["value"])
	s.do(ok, "del", "rw/a")
	s.do(notFound, "get", "rw/a")
	s.do(notFound, "del", "rw/a")
	got := s.try("-o", "json", "get", "rw/a")
	require.JSONEq(s.t, `{"error":{"code":3,"message":"key not found: rw/a"}}`, got.err)
}

func conditions(s shell) {
	s.do(ok, "put", "cas", "1")
	s.do(ok, "cas", "cas", "1", "2")
	s.do(notMet, "cas", "cas", "1", "3")
	require.Equal(s.t, false, s.json(notMet, "cas", "cas", "1", "3")["succeeded"])
	require.Equal(s.t, "2\n", s.do(ok, "get", "cas"))
	file := s.path("txn.json")
	require.NoError(s.t, os.WriteFile(file, []byte(`{
		"compare": [{"key": "cas", "target": "value", "relation": "=", "value": "2"}],
		"then": [{"put": {"key": "cas", "value": "4"}}, {"put": {"key": "txn", "value": "5"}}],
		"else": [{"range": {"key": "cas"}}]
	}`), 0o644))
	require.Equal(s.t, true, s.json(ok, "txn", file)["succeeded"])
	require.Equal(s.t, "5\n", s.do(ok, "get", "txn"))
	s.do(notMet, "txn", file)
	require.Equal(s.t, "4\n", s.do(ok, "get", "cas"))
}

func watches(s shell) {
	first := uint64(s.json(ok, "put", "watch/a", "1")["revision"].(float64))
	s.do(ok, "put", "aside", "x")
	s.do(ok, "put", "watch/a", "2")
	s.do(ok, "del", "watch/a")
	out := s.do(ok, "watch", "watch/", "--from", fmt.Sprint(first), "--count", "3", "-o", "json")
	var kinds []string
	for line := range strings.Lines(out) {
		var e struct {
			Type string
			Key  string
		}
		require.NoError(s.t, json.Unmarshal([]byte(line), &e), line)
		require.Equal(s.t, "watch/a", e.Key)
		kinds = append(kinds, e.Type)
	}
	require.Equal(s.t, []string{"put", "put", "delete"}, kinds)
}

func receipts(s shell) {
	receipt := s.path("receipt")
	s.do(ok, "put", "proven", "yes", "--receipt", receipt)
	// Offline, and with nothing but the genesis.
	got := run(s.t, "", "bftclient", "verify", "--genesis", s.path(genesisName), receipt)
	require.Zero(s.t, got.code, got.err)
	require.Contains(s.t, got.out, "proven = yes")
	require.Len(s.t, s.json(ok, "verify", receipt)["operations"], 1)
	s.do(failed, "put", "proven", "again", "--receipt", receipt)
	require.Equal(s.t, "yes\n", s.do(ok, "get", "proven"), "no write without its receipt")

	text, err := os.ReadFile(receipt)
	require.NoError(s.t, err)
	for _, at := range []int{len(text) / 4, len(text) / 2, len(text) * 3 / 4} {
		bad := []byte(string(text))
		if bad[at]++; bad[at] == '[' || bad[at] == '{' {
			bad[at] = 'A' // it shall stay a letter
		}
		forged := s.path("forged")
		require.NoError(s.t, os.WriteFile(forged, bad, 0o644))
		s.do(badProof, "verify", forged)
	}
	other := readGenesis(s.t, s.path(genesisName))
	other.Nonce = strings.Repeat("ef", 32)
	other.write(s.t, s.path("elsewhere.json"))
	s.do(badProof, "verify", "--genesis", s.path("elsewhere.json"), receipt)
}

func usage(s shell) {
	s.do(wrongUsage, "put", "only-a-key")
	s.do(wrongUsage, "put", "k", "v", "--colour")
	s.do(wrongUsage, "paint", "k")
	s.do(wrongUsage, "get", "")
	s.do(wrongUsage, "get", "k", "-o", "xml")
	s.do(wrongUsage, "put", strings.Repeat("k", 4097), "v")
	s.do(wrongUsage, "put", "k", "v", "--request-id", "seven")
	s.do(wrongUsage, "--config", s.path("nowhere.yaml"), "get", "k")
}

func notEnrolled(s shell) {
	folder := s.path("mallory")
	require.NoError(s.t, os.Mkdir(folder, 0o700))
	made := run(s.t, "", "bftnode", "keygen", "--name", "mallory", "--out", folder+"/"+keyName)
	require.Zero(s.t, made.code, made.err)
	settings := folder + "/" + clientName
	text := []byte("genesis: ../genesis.json\nkey: key\n")
	require.NoError(s.t, os.WriteFile(settings, text, 0o600))
	mallory := shell{s.cluster, s.t, settings}
	mallory.do(notAuthorised, "put", "k", "v", "--timeout", "1s")
	mallory.do(notAuthorised, "get", "k", "--timeout", "1s")
}

func statusAndLoad(s shell) {
	status := s.json(ok, "status")
	require.Len(s.t, status["nodes"], 4)
	require.EqualValues(s.t, 4, status["healthy"])
	require.EqualValues(s.t, 1, status["can_lose"])
	load := s.json(ok, "load", "--duration", "500ms", "--outstanding", "8", "--size", "16")
	require.NotZero(s.t, load["ops"])
	require.Zero(s.t, load["errors"])
	latency := load["latency_ms"].(map[string]any)
	require.NotZero(s.t, latency["p50"])
	require.LessOrEqual(s.t, latency["p50"], latency["p99"])
	for _, name := range []string{"bftnode", "bftclient"} {
		require.Zero(s.t, run(s.t, "", name, "version").code)
		require.Zero(s.t, run(s.t, "", name, "completion", "bash").code)
	}
	local := run(s.t, "", "bftnode", "status", "--dir", s.folder(1), "-o", "json")
	require.Zero(s.t, local.code, local.err)
	require.True(s.t, json.Valid([]byte(local.out)), local.out)
}

func threeNodesAway(s shell) {
	for _, id := range s.but(1) {
		s.nodes[id].kill()
	}
	got := s.try("put", "late", "1", "--timeout", "2s")
	require.Equal(s.t, noQuorum, got.code, got.err)
	require.Contains(s.t, got.err, "may or may not have happened")
	id := regexp.MustCompile(`--request-id (\S+)`).FindStringSubmatch(got.err)
	require.Len(s.t, id, 2, got.err)
	s.do(noQuorum, "get", "late", "--timeout", "1s")
	s.do(ok, "get", "cas", "--read", "stale")
	require.EqualValues(s.t, -2, s.json(noQuorum, "status")["can_lose"])
	for _, id := range s.but(1) {
		s.start(id)
	}
	s.awaitReady(s.all()...)
	for range 2 { // repeating is safe, and repeating it again
		s.do(ok, "put", "late", "1", "--request-id", strings.TrimSuffix(id[1], ":"))
	}
	require.EqualValues(s.t, 1, s.json(ok, "get", "late")["version"])
}
