package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	ucli "github.com/urfave/cli/v2"

	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/cmd/internal/unlock"
	"tangaroa/crypto"
)

// read returns what the settings come to with the arguments.
func read(t *testing.T, args ...string) (*clusterfile.Node, error) {
	t.Helper()
	var got *clusterfile.Node
	var failed error
	app := &ucli.App{Name: "test", Commands: []*ucli.Command{{
		Name: "read", Flags: settingFlags(),
		Action: func(c *ucli.Context) error {
			got, failed = readSettings(c)
			return nil
		},
	}}}
	require.NoError(t, app.Run(append([]string{"test", "read"}, args...)))
	return got, failed
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	file := filepath.Join(t.TempDir(), clusterfile.NodeName)
	for _, s := range settings {
		write := clusterfile.Node{ID: 1, Genesis: "g", Key: "k", Data: "d"}
		*s.field(&write) = "/from/file"
		require.NoError(t, clusterfile.SaveNode(file, &write))
		given := []string{"--config", file}

		n, err := read(t, given...)
		require.NoError(t, err)
		require.Equal(t, "/from/file", *s.field(n), s.flag)

		t.Setenv(env(s.flag), "/from/environment")
		n, err = read(t, given...)
		require.NoError(t, err)
		require.Equal(t, "/from/environment", *s.field(n), s.flag)

		n, err = read(t, append(given, "--"+s.flag, "/from/flag")...)
		require.NoError(t, err)
		require.Equal(t, "/from/flag", *s.field(n), s.flag)

		require.NoError(t, os.Unsetenv(env(s.flag)))
		require.NoError(t, os.Remove(file))
		*s.field(&write) = ""
		if s.flag != "genesis" && s.flag != "key" && s.flag != "data" {
			require.NoError(t, clusterfile.SaveNode(file, &write))
			n, err = read(t, given...)
			require.NoError(t, err)
			require.Equal(t, s.fallback, *s.field(n), s.flag)
			require.NoError(t, os.Remove(file))
		}
	}
}

func TestMissingSettingsAreNamed(t *testing.T) {
	all := []string{"--genesis", "g", "--key", "k", "--data", "d", "--id", "1"}
	_, err := read(t, all...)
	require.NoError(t, err)
	for i := 0; i < len(all); i += 2 {
		some := append(append([]string{}, all[:i]...), all[i+2:]...)
		_, err := read(t, some...)
		require.Equal(t, cli.Usage, cli.CodeOf(err))
		require.ErrorContains(t, err, all[i])
	}
	_, err = read(t, "--id", "65")
	require.Equal(t, cli.Usage, cli.CodeOf(err))
	_, err = read(t, "--dir", t.TempDir())
	require.Equal(t, cli.Usage, cli.CodeOf(err))
}

func TestTableOfSettingsInTheDocsIsComplete(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "OPERATIONS.md"))
	require.NoError(t, err)
	rows := 0
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "| `--") {
			rows++
		}
	}
	for _, s := range settings {
		fallback := "none"
		if s.fallback != "" {
			fallback = "`" + s.fallback + "`"
		}
		row := "| `--" + s.flag + "` | `" + env(s.flag) + "` | `" +
			strings.ReplaceAll(s.flag, "-", "_") + "` | " + fallback + " |"
		require.Contains(t, string(text), row)
	}
	require.Equal(t, len(settings)+4, rows, "and dir, config, id and pprof")
}

func TestGenesisIsPutTogetherFromIdentitiesMadeApart(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	identities := []string{}
	keep := func(name, text string) {
		require.NoError(t, os.WriteFile(at(name), []byte(text), 0o600))
		identities = append(identities, at(name))
	}
	for _, id := range []string{"3", "1", "2", "5"} {
		keep("node"+id+".json", mustRun(t, "keygen", "--id", id, "--out", at("key"+id),
			"--address", "10.0.0."+id+":7100"))
	}
	require.NoError(t, os.WriteFile(at("secret"), []byte("open sesame\n"), 0o600))
	keep("alice.json", mustRun(t, "keygen", "--name", "alice", "--out", at("alice.key"),
		"--passphrase-file", at("secret")))
	keep("root.json", mustRun(t, "keygen", "--name", "root", "--role", "admin", "--out",
		at("root.key")))

	out := mustRun(t, append([]string{"genesis", "--name", "prod", "--out", at("genesis.json"),
		"-o", "json"}, identities...)...)
	var answer struct{ Cluster string }
	require.NoError(t, json.Unmarshal([]byte(out), &answer))
	f, err := clusterfile.LoadGenesis(at("genesis.json"))
	require.NoError(t, err)
	require.Equal(t, f.Genesis.Hash().String(), answer.Cluster)
	require.False(t, f.Genesis.Testnet)
	require.Equal(t, 1, f.Genesis.AdminQuorum)
	ids := []crypto.NodeID{}
	for _, v := range f.Genesis.Voters {
		ids = append(ids, v.ID)
	}
	require.Equal(t, []crypto.NodeID{1, 2, 3, 5}, ids)
	require.Equal(t, "10.0.0.5:7100", f.Address(5))

	alice, err := openKeys(t.Context(), &unlock.Sources{File: at("secret")}, at("alice.key"))
	require.NoError(t, err)
	require.Equal(t, f.Genesis.Clients[0].Key, alice.Signing.Public())
	_, err = openKeys(t.Context(), &unlock.Sources{}, at("alice.key"))
	require.ErrorContains(t, err, passphraseVariable)
	require.Equal(t, cli.Locked, cli.CodeOf(err))
	_, err = openKeys(t.Context(), &unlock.Sources{Text: "wrong"}, at("alice.key"))
	require.ErrorIs(t, err, crypto.ErrWrongPassphrase)
	require.Equal(t, cli.Locked, cli.CodeOf(err))
}

func TestKeyOfAnAdministratorIsAskedForInTwoWays(t *testing.T) {
	for n, flags := range [][]string{
		{"--admin"}, {"--role", "admin"}, {"--role", "admin", "--admin"},
	} {
		key := filepath.Join(t.TempDir(), "key")
		var id identity
		out := mustRun(t, append([]string{"keygen", "--name", "root", "--out", key}, flags...)...)
		require.NoError(t, json.Unmarshal([]byte(out), &id))
		require.Equal(t, roleAdmin, id.Role, "%d", n)
	}
}

// genesisOf puts a genesis together, with one administrator or none, and returns what is said.
func genesisOf(t *testing.T, nodes int, admin bool) (out, errs string) {
	t.Helper()
	dir := t.TempDir()
	args := []string{"genesis", "--name", "x", "--out", filepath.Join(dir, "genesis.json")}
	add := func(name string, id identity) {
		id.Key = crypto.GenerateKey().Public().String()
		text, err := json.Marshal(id)
		require.NoError(t, err)
		args = append(args, filepath.Join(dir, name))
		require.NoError(t, os.WriteFile(args[len(args)-1], text, 0o600))
	}
	for k := 1; k <= nodes; k++ {
		add(nodeName(crypto.NodeID(k)), identity{ID: crypto.NodeID(k)})
	}
	if admin {
		add("root.json", identity{Name: "root", Role: roleAdmin})
	}
	code, out, errs := run(t, append(args, "-o", "json")...)
	require.Equal(t, cli.OK, code, errs)
	return out, errs
}

// TestGenesisWarnsWhereNothingCanEverChange: that is noticed when it is too late.
func TestGenesisWarnsWhereNothingCanEverChange(t *testing.T) {
	out, errs := genesisOf(t, 4, false)
	require.Regexp(t, `^warning: it names no administrator: .* can never be changed\n$`, errs)
	var answer struct{ Warning string }
	require.NoError(t, json.Unmarshal([]byte(out), &answer))
	require.Equal(t, "warning: "+answer.Warning+"\n", errs)
	out, errs = genesisOf(t, 5, false)
	require.Regexp(t, `^warning: 5 nodes.*\nwarning: it names no administrator.*\n$`, errs)
	require.NoError(t, json.Unmarshal([]byte(out), &answer))
	require.Contains(t, answer.Warning, "as 4 do")
	require.Contains(t, answer.Warning, "no administrator")
	code, out, errs := run(t, "testnet", "--dir", filepath.Join(t.TempDir(), "net"), "--admins", "0",
		"-o", "json")
	require.Equal(t, cli.OK, code, errs)
	require.Regexp(t, `^warning: it names no administrator: .*\n$`, errs)
	require.NoError(t, json.Unmarshal([]byte(out), &answer))
	require.Equal(t, "warning: "+answer.Warning+"\n", errs)
}

func TestGenesisWarnsWhereANodeBuysNothing(t *testing.T) {
	for n, warns := range map[int]string{
		1: "no liar", 3: "no liar", 4: "", 5: "as 4 do", 6: "as 4 do", 7: "", 8: "as 7 do",
	} {
		_, errs := genesisOf(t, n, true)
		if warns == "" {
			require.Empty(t, errs, "%d nodes", n)
		} else {
			require.Contains(t, errs, warns, "%d nodes", n)
		}
	}
}

func TestKeygenAndGenesisRefuseWhatMakesNoSense(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	bad := filepath.Join(dir, "bad.json")
	require.NoError(t, os.WriteFile(bad, []byte(`{"id":1,"name":"both","key":"`+
		crypto.GenerateKey().Public().String()+`"}`), 0o600))
	for _, args := range [][]string{
		{"keygen"}, {"keygen", "--out", key}, {"keygen", "--out", key, "--id", "65"},
		{"keygen", "--out", key, "--id", "1", "--name", "x"},
		{"keygen", "--out", key, "--name", "x", "--role", "king"},
		{"keygen", "--out", key, "--name", "x", "--role", "client", "--admin"},
		{"keygen", "--out", key, "--id", "1", "--admin"},
		{"genesis", "--name", "x", "--out", key}, {"genesis", "--name", "x", bad},
		{"genesis", "--name", "x", "--out", key, bad},
		{"genesis", "--name", "x", "--out", key, filepath.Join(dir, "none.json")},
	} {
		code, _, errs := run(t, args...)
		require.Equal(t, cli.Usage, code, "%q: %s", args, errs)
		require.NoFileExists(t, key)
	}
	mustRun(t, "keygen", "--out", key, "--id", "1")
	code, _, _ := run(t, "keygen", "--out", key, "--id", "1")
	require.Equal(t, cli.Failed, code, "a key is never written over")
}
