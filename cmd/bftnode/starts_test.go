package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/cmd/internal/cli"
)

// startedOnce runs node 1 of a test cluster once, and returns the cluster's folder.
func startedOnce(t *testing.T) string {
	t.Helper()
	net := newTestnet(t, "1")
	restarted(t, net)
	return net
}

func restarted(t *testing.T, net string) {
	t.Helper()
	p := begin(t, "start", "--dir", nodeDir(net, 1))
	await(t, "it has started", func() bool {
		return strings.Contains(p.errs.String(), "node has started")
	})
	p.stop()
	<-p.ended
	require.Zero(t, p.code, p.errs.String())
}

// requireQuarantine sees that a command is refused with the one that enrols the node anew.
func requireQuarantine(t *testing.T, args ...string) {
	t.Helper()
	code, _, errs := run(t, args...)
	require.Equal(t, cli.MustNotSign, code, errs)
	require.Contains(t, errs, "must not sign")
	require.Contains(t, errs, "bftclient member replace --node 1")
}

// TestNodeWhoseDataIsLostGetsNoEmptyStore under the key that it has signed with.
func TestNodeWhoseDataIsLostGetsNoEmptyStore(t *testing.T) {
	net := startedOnce(t)
	data := settingsOf(t, net, 1).Data
	require.NoError(t, os.RemoveAll(data))
	requireQuarantine(t, "init", "--dir", nodeDir(net, 1))
	require.NoDirExists(t, data)
	require.NoError(t, os.Remove(data+".starts"))
	mustRun(t, "init", "--dir", nodeDir(net, 1))
}

// TestNodeWhoseDataWasPutBackDoesNotStart: guard and store are as they were, and agree.
func TestNodeWhoseDataWasPutBackDoesNotStart(t *testing.T) {
	net := startedOnce(t)
	data, earlier := settingsOf(t, net, 1).Data, t.TempDir()
	require.NoError(t, os.CopyFS(earlier, os.DirFS(data)))
	restarted(t, net)
	require.NoError(t, os.RemoveAll(data))
	require.NoError(t, os.CopyFS(data, os.DirFS(earlier)))
	requireQuarantine(t, "start", "--dir", nodeDir(net, 1))
	requireQuarantine(t, "start", "--dir", nodeDir(net, 1))
}

// TestStartsAreCountedInTheDataFirst: a crash in between leaves the count beside it behind, and a
// node that was moved without that starts.
func TestStartsAreCountedInTheDataFirst(t *testing.T) {
	net := startedOnce(t)
	beside := settingsOf(t, net, 1).Data + ".starts"
	first, err := os.ReadFile(beside)
	require.NoError(t, err)
	restarted(t, net)
	require.NoError(t, os.WriteFile(beside, first, 0o600))
	restarted(t, net)
	require.NoError(t, os.Remove(beside))
	restarted(t, net)
	require.NoError(t, os.WriteFile(beside, []byte("?"), 0o600))
	code, _, errs := run(t, "start", "--dir", nodeDir(net, 1))
	require.Equal(t, cli.Failed, code)
	require.Contains(t, errs, "is damaged")
	require.Contains(t, errs, "remove the counts of starts")
}
