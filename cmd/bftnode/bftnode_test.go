package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/bftraft/node"
	"tangaroa/bftraft/store"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/cmd/internal/unlock"
	"tangaroa/crypto"
)

func TestTestnetIsReadyToStart(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	net := newTestnet(t, "4")
	var all []*process
	for id := crypto.NodeID(1); id <= 4; id++ {
		all = append(all, begin(t, "start", "--dir", nodeDir(net, id)))
	}
	for id := crypto.NodeID(1); id <= 4; id++ {
		statusIs(t, net, id, func(s *node.Status) bool { return s.Ready })
	}
	out := mustRun(t, "status", "--dir", nodeDir(net, 3))
	require.Contains(t, out, "ready    yes")
	require.Contains(t, out, "PEER")
	var s node.Status
	out = mustRun(t, "status", "--dir", nodeDir(net, 3), "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(out), &s))
	require.EqualValues(t, 3, s.Node)

	for _, command := range []string{"start", "inspect"} {
		code, _, errs := run(t, command, "--dir", nodeDir(net, 1))
		require.Equal(t, cli.InUse, code, "two processes on one store: %s", errs)
		require.Equal(t, 1, strings.Count(errs, "\n"))
	}
	for _, p := range all {
		p.stop()
	}
	for _, p := range all {
		<-p.ended
		require.Equal(t, cli.OK, p.code, p.errs.String())
		require.NotContains(t, p.errs.String(), "WARN")
	}
	code, _, _ := run(t, "status", "--dir", nodeDir(net, 1), "--timeout", "1s")
	require.Equal(t, cli.Failed, code, "nobody answers")
}

func TestTestnetPrintsWhatToRunNext(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	out := mustRun(t, "testnet", "--nodes", "5", "--clients", "2", "--dir", dir, "-o", "json")
	var list commandList
	require.NoError(t, json.Unmarshal([]byte(out), &list))
	require.Len(t, list.Start, 5)
	require.Equal(t, "bftnode start --dir "+nodeDir(dir, 5), list.Start[4])
	require.NotEmpty(t, list.Try)
	require.Equal(t, "127.0.0.1:7105", settingsOf(t, dir, 5).Listen)
	require.Equal(t, "127.0.0.1:7205", settingsOf(t, dir, 5).HTTP)
	f, err := clusterfile.LoadGenesis(list.Genesis)
	require.NoError(t, err)
	require.True(t, f.Genesis.Testnet)
	require.Len(t, f.Genesis.Clients, 2)

	for _, wrong := range [][]string{
		{"--dir", dir}, {"--dir", dir + "x", "--nodes", "0"}, {"--dir", dir + "x", "--nodes", "65"},
		{"--dir", dir + "x", "--base-port", "65500"}, {"--dir", dir + "x", "--clients", "-1"},
		{"--dir", dir + "x", "extra"}, {},
	} {
		code, _, errs := run(t, append([]string{"testnet"}, wrong...)...)
		require.Equal(t, cli.Usage, code, "%q: %s", wrong, errs)
	}
	require.NoDirExists(t, dir+"x")
}

func TestNodeThatMustNotSignSaysWhyInOneLineAndWhatToDo(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(t *testing.T, net string)
		about []string
	}{
		{"data gone", func(t *testing.T, net string) {
			require.NoError(t, os.RemoveAll(settingsOf(t, net, 1).Data))
		}, []string{"missing", "bftnode init", "new key", "keygen"}},
		{"guard gone", func(t *testing.T, net string) {
			require.NoError(t, os.Remove(filepath.Join(settingsOf(t, net, 1).Data, "guard")))
		}, []string{"missing"}},
		{"guard damaged", func(t *testing.T, net string) {
			path := filepath.Join(settingsOf(t, net, 1).Data, "guard")
			require.NoError(t, os.WriteFile(path, make([]byte, 8192), 0o600))
		}, []string{"guard", "new key: bftnode keygen a new key, then bftclient member replace " +
			"--node 1 --key NEWKEY --address HOST:PORT"}},
		{"another node's data", func(t *testing.T, net string) {
			data := settingsOf(t, net, 1).Data
			require.NoError(t, os.RemoveAll(data))
			require.NoError(t, os.Rename(settingsOf(t, net, 2).Data, data))
		}, []string{"another identity", "node 2"}},
		{"another node's key", func(t *testing.T, net string) {
			key := settingsOf(t, net, 1).Key
			require.NoError(t, os.Remove(key))
			require.NoError(t, os.Rename(settingsOf(t, net, 2).Key, key))
		}, []string{"not that of node 1"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			net := newTestnet(t, "2")
			c.spoil(t, net)
			code, out, errs := run(t, "start", "--dir", nodeDir(net, 1))
			require.Equal(t, cli.MustNotSign, code, errs)
			require.Empty(t, out)
			require.Equal(t, 1, strings.Count(errs, "\n"), errs)
			require.Contains(t, errs, "must not sign")
			for _, word := range c.about {
				require.Contains(t, errs, word)
			}
		})
	}
}

func TestInitMakesTheStoreOfANewNodeOnly(t *testing.T) {
	net := newTestnet(t, "1")
	code, _, _ := run(t, "init", "--dir", nodeDir(net, 1))
	require.Equal(t, cli.Failed, code, "there is a store already")
	require.NoError(t, os.RemoveAll(settingsOf(t, net, 1).Data))
	mustRun(t, "init", "--dir", nodeDir(net, 1))
	fill(t, net)
}

func TestKeyThatOthersCanReadIsRefusedWithTheCommandToRun(t *testing.T) {
	net := newTestnet(t, "1")
	key := settingsOf(t, net, 1).Key
	require.NoError(t, os.Chmod(key, 0o644))
	code, _, errs := run(t, "start", "--dir", nodeDir(net, 1))
	require.Equal(t, cli.Failed, code)
	require.Contains(t, errs, "chmod 600 "+key)
}

func TestAdversaryRunsOnlyInATestnet(t *testing.T) {
	net := newTestnet(t, "1")
	code, _, errs := run(t, "start", "--dir", nodeDir(net, 1), "--adversary", "harmless")
	require.Equal(t, cli.Usage, code)
	require.Contains(t, errs, "silent, slow")

	p := begin(t, "start", "--dir", nodeDir(net, 1), "--adversary", "silent")
	await(t, "it says so", func() bool {
		return strings.Contains(p.errs.String(), "misbehaves on purpose")
	})
	p.stop()
	<-p.ended

	genesis := filepath.Join(net, clusterfile.GenesisName)
	text, err := os.ReadFile(genesis)
	require.NoError(t, err)
	serious := strings.Replace(string(text), `"testnet": true`, `"testnet": false`, 1)
	require.NoError(t, os.WriteFile(genesis, []byte(serious), 0o600))
	code, _, errs = run(t, "start", "--dir", nodeDir(net, 1), "--adversary", "silent")
	require.Equal(t, cli.Usage, code)
	require.Contains(t, errs, "not the genesis of a testnet")
}

func TestDevRunsAClusterAndLeavesNothingBehind(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	t.Setenv("TMPDIR", t.TempDir())
	p := begin(t, "dev", "--nodes", "4", "--log-level", "warn")
	await(t, "it prints what to paste", func() bool {
		return strings.Contains(p.out.String(), "bftclient --config ")
	})
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), "bftnode-dev-*"))
	require.NoError(t, err)
	require.Len(t, dirs, 1)
	statusIs(t, dirs[0], 4, func(s *node.Status) bool { return s.Ready })
	p.stop()
	<-p.ended
	require.Equal(t, cli.OK, p.code, p.errs.String())
	require.Empty(t, p.errs.String(), "a healthy cluster is quiet")
	require.NoDirExists(t, dirs[0])
}

func TestDevGoesOnInAGivenFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dev")
	for range 2 {
		p := begin(t, "dev", "--nodes", "1", "--dir", dir)
		await(t, "it runs", func() bool { return strings.Contains(p.out.String(), "Stop with") })
		p.stop()
		<-p.ended
		require.Equal(t, cli.OK, p.code, p.errs.String())
	}
	code, _, errs := run(t, "dev", "--nodes", "0")
	require.Equal(t, cli.Usage, code, errs)
}

func TestInspectVerifiesAndShowsTheLog(t *testing.T) {
	net := newTestnet(t, "1")
	fill(t, net, kv.Put{Key: []byte("k"), Value: []byte("v")},
		kv.CompareAndSwap([]byte("k"), []byte("v"), []byte("w")),
		kv.Delete{Span: kv.Prefix([]byte("k"))})
	out := mustRun(t, "inspect", "--dir", nodeDir(net, 1))
	require.Contains(t, out, "3 blocks, 3 requests, 3 commit certificates, 0 proofs")
	require.Contains(t, out, `put "k" "v"`)
	require.Contains(t, out, `txn if value("k") = "v" then {put "k" "w"} else {range "k"}`)
	require.Contains(t, out, `delete "k" to "l"`)

	var r report
	out = mustRun(t, "inspect", "--dir", nodeDir(net, 1), "--from", "2", "--to", "2", "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.Equal(t, 3, r.Requests)
	require.Len(t, r.Entries, 1)
	require.EqualValues(t, 2, r.Entries[0].Index)
	require.Equal(t, "client1", r.Entries[0].Client)
	require.True(t, r.Entries[0].Committed)

	out = mustRun(t, "inspect", "--dir", nodeDir(net, 1), "--limit", "1", "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.Len(t, r.Entries, 1)
	require.EqualValues(t, 3, r.Entries[0].Index)
}

func TestInspectRefusesWhatDoesNotVerify(t *testing.T) {
	for name, entry := range map[string]bftraft.Entry{
		"no request": {Kind: bftraft.EntryRequest, Data: []byte("garbage")},
		"a stranger's request": bftraft.SignRequest(crypto.Digest{1}, crypto.GenerateKey(), 1, 1,
			[][]byte{{1}}).Entry(),
		"an unknown kind": {Kind: bftraft.EntryEvidence, Data: []byte{1}},
	} {
		net := newTestnet(t, "1")
		s := settingsOf(t, net, 1)
		m, err := identify(t.Context(), &unlock.Sources{}, s)
		require.NoError(t, err)
		disk, err := store.Open(s.Data, store.Options{Identity: m.identity(), Master: m.master})
		require.NoError(t, err)
		_, err = disk.Load()
		require.NoError(t, err)
		block := bftraft.NewBlock(bftraft.Position{Hash: m.file.Genesis.Hash()},
			[]bftraft.Entry{entry})
		require.NoError(t, disk.Save(&bftraft.Ready{
			Blocks: []*bftraft.Block{block}, MustSync: true,
		}))
		require.NoError(t, disk.Close())
		code, out, errs := run(t, "inspect", "--dir", nodeDir(net, 1))
		require.Equal(t, cli.BadProof, code, "%s: %s", name, errs)
		require.Contains(t, errs, "entry 1")
		require.Empty(t, out)
	}
}

func TestInspectShowsAStoreThatMustNotSign(t *testing.T) {
	net := newTestnet(t, "1")
	data := settingsOf(t, net, 1).Data
	old := filepath.Join(t.TempDir(), "old")
	require.NoError(t, os.CopyFS(old, os.DirFS(data)))
	fill(t, net, kv.Put{Key: []byte("k"), Value: []byte("v")})
	guard, err := os.ReadFile(filepath.Join(data, "guard"))
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(data))
	require.NoError(t, os.CopyFS(data, os.DirFS(old)))
	require.NoError(t, os.WriteFile(filepath.Join(data, "guard"), guard, 0o600))

	code, out, errs := run(t, "inspect", "--dir", nodeDir(net, 1))
	require.Equal(t, cli.MustNotSign, code)
	require.Contains(t, out, "0 blocks")
	require.Contains(t, errs, "behind its guard")
	code, _, errs = run(t, "start", "--dir", nodeDir(net, 1))
	require.Equal(t, cli.MustNotSign, code)
	require.Contains(t, errs, "behind its guard")
}

func TestEveryCommandHasHelp(t *testing.T) {
	for _, command := range newApp().Commands {
		out := mustRun(t, command.Name, "--help")
		require.Contains(t, out, command.Usage)
		require.Contains(t, out, "xample", command.Name)
	}
}
