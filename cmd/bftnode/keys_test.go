package main

import (
	"crypto/sha256"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft/kv"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
)

// encryptedNet writes a cluster of one node whose store is encrypted, and has it execute ops.
func encryptedNet(t *testing.T, ops ...kv.Op) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "net")
	mustRun(t, "testnet", "--nodes", "1", "--dir", dir, "--base-port", "0", "--encrypt")
	fill(t, dir, ops...)
	return dir
}

func put(key, value string) kv.Op { return kv.Put{Key: []byte(key), Value: []byte(value)} }

// bytesOf is a digest of every file below dir.
func bytesOf(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	all := map[string][32]byte{}
	require.NoError(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(p)
		all[p] = sha256.Sum256(raw)
		return err
	}))
	return all
}

// refusedUnchanged requires that a command ends with the code, one line, and nothing changed.
func refusedUnchanged(t *testing.T, net string, code cli.Code, args ...string) string {
	t.Helper()
	before := bytesOf(t, net)
	got, out, errs := run(t, args...)
	require.Equal(t, code, got, "%q: %s", args, errs)
	require.Empty(t, out)
	require.Equal(t, 1, strings.Count(errs, "\n"), errs)
	require.Equal(t, before, bytesOf(t, net))
	return errs
}

// lockedWith locks node 1 and returns the file with its unlock key.
func lockedWith(t *testing.T, net, name string, command ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	mustRun(t, append(command, "--dir", nodeDir(net, 1), "--out", path)...)
	return path
}

func TestLockedNodeOpensWithItsUnlockKeyOnly(t *testing.T) {
	net := encryptedNet(t, put("k", "v"))
	dir := nodeDir(net, 1)
	errs := refusedUnchanged(t, net, cli.Failed, "unlock-key", "rotate", "--dir", dir)
	require.Contains(t, errs, "bftnode lock")
	refusedUnchanged(t, net, cli.Failed, "unlock", "--for-good", "--dir", dir)

	key := lockedWith(t, net, "first", "lock")
	errs = refusedUnchanged(t, net, cli.Failed, "lock", "--dir", dir, "--unlock-key-file", key)
	require.Contains(t, errs, "unlock-key rotate")
	wrong := filepath.Join(t.TempDir(), "wrong")
	require.NoError(t, os.WriteFile(wrong, []byte("wrong\n"), 0o600))
	for _, command := range [][]string{
		{"start"}, {"inspect"}, {"init"}, {"unlock-key", "rotate"}, {"unlock", "--for-good"},
		{"master-key", "rotate"}, {"data-key", "rotate"},
	} {
		args := append(command, "--dir", dir)
		errs = refusedUnchanged(t, net, cli.Locked, args...)
		require.Contains(t, errs, "--unlock-key-file")
		errs = refusedUnchanged(t, net, cli.Locked, append(args, "--unlock-key-file", wrong)...)
		require.Contains(t, errs, "wrong unlock key")
	}
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	for _, command := range [][]string{
		{"start"}, {"inspect"}, {"unlock-key", "rotate"}, {"data-key", "rotate"},
	} {
		for _, file := range []string{empty, filepath.Join(t.TempDir(), "missing")} {
			errs = refusedUnchanged(t, net, cli.Locked,
				append(command, "--dir", dir, "--unlock-key-file", file)...)
			require.Contains(t, errs, file)
			require.Contains(t, errs, "put its file back")
		}
	}
	out := mustRun(t, "inspect", "--dir", dir, "--unlock-key-file", key)
	require.Contains(t, out, "1 requests")
	p := begin(t, "start", "--dir", dir, "--unlock-key-file", key, "--http", "off")
	await(t, "the node runs", func() bool { return strings.Contains(p.errs.String(), "leader") })
	p.stop()
	<-p.ended
	require.Equal(t, cli.OK, p.code, p.errs.String())

	next := lockedWith(t, net, "second", "unlock-key", "rotate", "--unlock-key-file", key)
	refusedUnchanged(t, net, cli.Locked, "inspect", "--dir", dir, "--unlock-key-file", key)
	mustRun(t, "inspect", "--dir", dir, "--unlock-key-file", next)
	mustRun(t, "unlock", "--for-good", "--dir", dir, "--unlock-key-file", next)
	mustRun(t, "inspect", "--dir", dir)
}

func TestUnlockKeyIsPrintedOrTaken(t *testing.T) {
	net := newTestnet(t, "1")
	dir := nodeDir(net, 1)
	var answer struct {
		KeyFile   string `json:"key_file"`
		UnlockKey string `json:"unlock_key"`
	}
	out := mustRun(t, "lock", "--dir", dir, "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(out), &answer))
	require.Equal(t, settingsOf(t, net, 1).Key, answer.KeyFile)
	t.Setenv(passphraseVariable, answer.UnlockKey)
	mustRun(t, "inspect", "--dir", dir)
	own := filepath.Join(t.TempDir(), "own")
	require.NoError(t, os.WriteFile(own, []byte("of my own choice"), 0o600))
	out = mustRun(t, "unlock-key", "rotate", "--dir", dir, "--new-unlock-key-file", own)
	require.Empty(t, out, "who brings a key knows it")
	refusedUnchanged(t, net, cli.Locked, "inspect", "--dir", dir)
	t.Setenv(passphraseVariable, "")
	mustRun(t, "inspect", "--dir", dir, "--unlock-key-file", own)
	refusedUnchanged(t, net, cli.Usage, "unlock-key", "rotate", "--dir", dir, "--unlock-key-file",
		own, "--new-unlock-key-file", own)
	refusedUnchanged(t, net, cli.Usage, "unlock", "--dir", dir)
	plain := strings.TrimSpace(mustRun(t, "unlock-key", "rotate", "--dir", dir,
		"--unlock-key-file", own))
	t.Setenv(passphraseVariable, plain)
	mustRun(t, "inspect", "--dir", dir)
}

func TestNodeWaitsAtItsSocketForTheUnlockKey(t *testing.T) {
	net := encryptedNet(t)
	dir, socket := nodeDir(net, 1), filepath.Join(t.TempDir(), "s")
	key := lockedWith(t, net, "key", "lock")
	p := begin(t, "start", "--dir", dir, "--unlock-socket", socket, "--http", "off")
	await(t, "it waits", func() bool { return strings.Contains(p.errs.String(), "waiting") })
	wrong := filepath.Join(t.TempDir(), "wrong")
	require.NoError(t, os.WriteFile(wrong, []byte("wrong\n"), 0o600))
	refusedUnchanged(t, net, cli.Locked, "unlock", "--dir", dir, "--unlock-socket", socket,
		"--unlock-key-file", wrong)
	said := mustRun(t, "unlock", "--dir", dir, "--unlock-socket", socket, "--unlock-key-file", key,
		"-o", "json")
	require.JSONEq(t, `{"key_file": "`+settingsOf(t, net, 1).Key+`", "unlock_socket": "`+socket+`"}`,
		said)
	await(t, "the node runs", func() bool { return strings.Contains(p.errs.String(), "leader") })
	p.stop()
	<-p.ended
	require.Equal(t, cli.OK, p.code, p.errs.String())
}

func TestKeysOfAStoreAreChangedAndNothingIsLost(t *testing.T) {
	net := encryptedNet(t, put("k", "v"))
	s, dir := settingsOf(t, net, 1), nodeDir(net, 1)
	before := mustRun(t, "inspect", "--dir", dir)
	t.Setenv(passphraseVariable, "")
	key := lockedWith(t, net, "key", "lock")
	args := func(words ...string) []string {
		return append(words, "--dir", dir, "--unlock-key-file", key)
	}
	old, err := os.ReadFile(s.Key)
	require.NoError(t, err)
	mustRun(t, args("master-key", "rotate")...)
	require.Equal(t, before, mustRun(t, args("inspect")...))
	fresh, err := os.ReadFile(s.Key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.Key, old, 0o600))
	errs := refusedUnchanged(t, net, cli.Locked, args("start")...)
	require.Contains(t, errs, "master-key rotate")
	require.NoError(t, os.WriteFile(s.Key, fresh, 0o600))
	keys := func() int64 {
		info, err := os.Stat(filepath.Join(s.Data, "keys"))
		require.NoError(t, err)
		return info.Size()
	}
	one := keys()
	mustRun(t, args("data-key", "rotate")...)
	require.Equal(t, one+36, keys(), "one key more")
	mustRun(t, args("data-key", "rotate", "--rewrite")...)
	require.Equal(t, one, keys())
	require.Equal(t, before, mustRun(t, args("inspect")...))

	plain := newTestnet(t, "1")
	for _, command := range []string{"master-key", "data-key"} {
		refusedUnchanged(t, plain, cli.Failed, command, "rotate", "--dir", nodeDir(plain, 1))
	}
}

func TestEncryptedStoreIsRefusedWithoutItsKeyFile(t *testing.T) {
	net := encryptedNet(t, put("k", "v"))
	dir, s := nodeDir(net, 1), settingsOf(t, net, 1)
	whole, err := os.ReadFile(s.Key)
	require.NoError(t, err)
	k, err := crypto.ReadKeyFile(s.Key, nil)
	require.NoError(t, err)
	require.NoError(t, os.Remove(s.Key))
	require.NoError(t, crypto.WriteKeyFile(s.Key, k, nil))
	errs := refusedUnchanged(t, net, cli.Locked, "start", "--dir", dir)
	require.Contains(t, errs, "use the key file that the store was made with")
	damaged := append([]byte(nil), whole...)
	damaged[len(damaged)/2] ^= 1
	require.NoError(t, os.WriteFile(s.Key, damaged, 0o600))
	errs = refusedUnchanged(t, net, cli.Failed, "start", "--dir", dir)
	require.Contains(t, errs, "put a copy of it back")
	require.NoError(t, os.WriteFile(s.Key, whole, 0o600))
	require.NoError(t, os.Truncate(filepath.Join(s.Data, "keys"), 100))
	errs = refusedUnchanged(t, net, cli.MustNotSign, "start", "--dir", dir)
	require.Contains(t, errs, "keys")
}

func TestInitEncryptsWhatIsNewOnly(t *testing.T) {
	net := newTestnet(t, "1")
	dir, s := nodeDir(net, 1), settingsOf(t, net, 1)
	refusedUnchanged(t, net, cli.Failed, "init", "--dir", dir, "--encrypt")
	require.NoError(t, os.RemoveAll(s.Data))
	mustRun(t, "init", "--dir", dir, "--encrypt")
	require.FileExists(t, filepath.Join(s.Data, "keys"))
	require.NoError(t, os.RemoveAll(s.Data))
	mustRun(t, "init", "--dir", dir)
	require.FileExists(t, filepath.Join(s.Data, "keys"), "the key file says that it is")
}

func TestPlainStoreIsEncryptedInItsPlace(t *testing.T) {
	net := newTestnet(t, "1")
	fill(t, net, put("k", "canary"))
	dir, s := nodeDir(net, 1), settingsOf(t, net, 1)
	before := mustRun(t, "inspect", "--dir", dir)
	plain := filepath.Join(t.TempDir(), "plain")
	require.NoError(t, os.CopyFS(plain, os.DirFS(s.Data)))
	key := lockedWith(t, net, "key", "lock")
	refusedUnchanged(t, net, cli.Locked, "encrypt", "--dir", dir)
	mustRun(t, "encrypt", "--dir", dir, "--unlock-key-file", key)
	mustRun(t, "encrypt", "--dir", dir, "--unlock-key-file", key)
	require.Equal(t, before, mustRun(t, "inspect", "--dir", dir, "--unlock-key-file", key,
		"--values"))
	require.FileExists(t, filepath.Join(s.Data, "keys"))
	mustRun(t, "unlock", "--for-good", "--dir", dir, "--unlock-key-file", key)
	fill(t, net, put("k", "canary"))
	for path := range bytesOf(t, dir) {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NotContains(t, string(raw), "canary", path)
	}

	require.NoError(t, os.RemoveAll(s.Data))
	require.NoError(t, os.Rename(plain, s.Data))
	errs := refusedUnchanged(t, net, cli.Locked, "start", "--dir", dir)
	require.Contains(t, errs, "bftnode encrypt")
	mustRun(t, "encrypt", "--dir", dir)
	require.Equal(t, before, mustRun(t, "inspect", "--dir", dir, "--values"))
}

func TestInspectHidesTheValuesOfAnEncryptedStore(t *testing.T) {
	net := encryptedNet(t, put("name", "canary"),
		kv.CompareAndSwap([]byte("name"), []byte("canary"), []byte("canary two")))
	dir := nodeDir(net, 1)
	out := mustRun(t, "inspect", "--dir", dir)
	require.Contains(t, out, `put "name" (6 bytes)`)
	require.NotContains(t, out, "canary")
	require.NotContains(t, mustRun(t, "inspect", "--dir", dir, "-o", "json"), "canary")
	out = mustRun(t, "inspect", "--dir", dir, "--values")
	require.Contains(t, out, `put "name" "canary"`)
	require.Contains(t, out, `= "canary" then {put "name" "canary two"}`)
}

// TestKeyCommandsAnswerInJSON: those that print nothing for people, too.
func TestKeyCommandsAnswerInJSON(t *testing.T) {
	net := encryptedNet(t)
	s, out := settingsOf(t, net, 1), t.TempDir()
	first, second := filepath.Join(out, "first"), filepath.Join(out, "second")
	for _, test := range []struct {
		args []string
		want map[string]any
	}{
		{[]string{"data-key", "rotate"}, map[string]any{"data": s.Data, "rewritten": false}},
		{[]string{"data-key", "rotate", "--rewrite"},
			map[string]any{"data": s.Data, "rewritten": true}},
		{[]string{"master-key", "rotate"}, map[string]any{"data": s.Data, "key_file": s.Key}},
		{[]string{"lock", "--out", first},
			map[string]any{"key_file": s.Key, "unlock_key_file": first}},
		{[]string{"unlock-key", "rotate", "--unlock-key-file", first, "--out", second},
			map[string]any{"key_file": s.Key, "unlock_key_file": second}},
		{[]string{"unlock-key", "rotate", "--unlock-key-file", second, "--new-unlock-key-file",
			first}, map[string]any{"key_file": s.Key}},
		{[]string{"encrypt", "--unlock-key-file", first},
			map[string]any{"data": s.Data, "key_file": s.Key}},
		{[]string{"unlock", "--for-good", "--unlock-key-file", first},
			map[string]any{"key_file": s.Key}},
	} {
		said := mustRun(t, append(test.args, "--dir", nodeDir(net, 1), "-o", "json")...)
		var got map[string]any
		require.NoError(t, json.Unmarshal([]byte(said), &got), "%q: %q", test.args, said)
		require.Equal(t, test.want, got, "%q", test.args)
	}
}
