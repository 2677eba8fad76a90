package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
)

// at returns a path in the cluster's folder.
func (c *cluster) at(name string) string { return filepath.Join(c.dir, name) }

// identity writes the public identity of a key, as bftnode keygen prints it.
func (c *cluster) identity(name, role string, key crypto.PrivateKey) string {
	text := fmt.Sprintf(`{"name": %q, "role": %q, "key": %q}`, name, role, key.Public())
	require.NoError(c.t, os.WriteFile(c.at(name+".json"), []byte(text), 0o600))
	return c.at(name + ".json")
}

// adminKey returns the file with the key of an administrator, from 0.
func (c *cluster) adminKey(n byte) string {
	path := c.at(fmt.Sprintf("admin%d.key", n))
	if _, err := os.Stat(path); err != nil {
		require.NoError(c.t, crypto.WriteKeyFile(path, testKey(adminSeed+n), nil))
	}
	return path
}

func (c *cluster) sign(path string, admins ...byte) {
	for _, n := range admins {
		s := runWith(c.t, "", "sign-change", "--genesis", c.at("genesis.json"), "--key",
			c.adminKey(n), path)
		require.Equal(c.t, cli.OK, s.code, s.err)
		require.Contains(c.t, s.out, "signed by "+testKey(adminSeed+n).Public().String())
	}
}

// by returns the cluster as another client sees it.
func (c *cluster) by(name string, key crypto.PrivateKey) *cluster {
	other := *c
	other.config = c.addClient(name, key)
	return &other
}

// TestClientsComeAndGoByChangesThatAdministratorsSign is what an operator does.
func TestClientsComeAndGoByChangesThatAdministratorsSign(t *testing.T) {
	c := startCluster(t, nil)
	draft := func(name string, args ...string) string {
		c.ok(append([]string{"change", "draft", "--out", c.at(name)}, args...)...)
		return c.at(name)
	}
	first := draft("first", "--add", c.identity("bob", "client", testKey(51)), "--add",
		c.identity("root", "admin", testKey(53)))
	readers := draft("readers", "--add", c.identity("eve", "client", testKey(52)), "--role", "read")
	c.fails(cli.NotMet, "2 of 3 signatures are needed, there is none", "change", "apply", first)
	c.sign(first, 2)
	c.fails(cli.NotMet, "2 of 3 signatures are needed, there is 1", "change", "apply", first)
	c.sign(first, 0)
	require.Equal(t, "change 1 is in force\n",
		c.ok("change", "apply", first, "--receipt", c.at("r0")))
	require.Contains(t, c.ok("verify", c.at("r0")), "change 1, of 2 steps: in force")
	require.Equal(t, "change 1 is in force\n", c.ok("change", "apply", first), "it does no harm")
	var again changeAnswer
	var inForce memberList
	c.json(&again, "change", "apply", first)
	c.json(&inForce, "member", "list")
	require.Equal(t, changeAnswer{1, inForce.Index}, again, "where it came into force")
	c.sign(readers, 0, 1)
	c.fails(cli.NotMet, "does not follow", "change", "apply", readers)
	require.NoError(t, os.Remove(readers))
	readers = draft("readers", "--add", c.at("eve.json"), "--role", "read")
	c.sign(readers, 0, 1)
	c.ok("change", "apply", readers)

	bob, eve := c.by("bob", testKey(51)), c.by("eve", testKey(52))
	bob.ok("put", "change/bob", "1", "--receipt", c.at("r1"))
	require.Equal(t, "1\n", eve.ok("get", "change/bob"))
	eve.fails(cli.NotAuthorised, "may only read", "put", "change/eve", "1")

	var list memberList
	c.json(&list, "member", "list")
	require.Equal(t, uint64(2), list.Change)
	require.Len(t, list.Nodes, 4)
	require.Len(t, list.Admins, 4)
	roles := map[string]string{}
	for _, l := range list.Clients {
		roles[l.Name] = l.Role
	}
	require.Equal(t, map[string]string{"client1": "admin", "bob": "write", "eve": "read"}, roles)

	last := draft("last", "--remove", "bob", "--set-role", "eve=write", "--remove-admin", "admin1")
	c.sign(last, 0, 1)
	c.ok("change", "apply", last)
	c.allGoBy(3)
	s := runWith(t, "", "--config", bob.config, "--timeout", "1s", "put", "change/bob", "2")
	require.Equal(t, cli.NotAuthorised, s.code, s.err)
	eve.ok("put", "change/eve", "2")
	require.Contains(t, c.ok("verify", c.at("r1")), `client "bob"`, "what it proved it still proves")
	c.fails(cli.Usage, "may not be enrolled: "+testKey(51).Public().String(), "change", "draft",
		"--out", c.at("again"), "--add", c.at("bob.json"))
	c.insists("again", 1, 2, bftraft.ChangeStep{
		Kind: bftraft.AddClient, Name: "bob", Role: bftraft.RoleWrite, Key: testKey(51).Public(),
	})
	c.fails(cli.NotMet, "may not be enrolled: "+testKey(51).Public().String()+"; change 3",
		"change", "apply", c.at("again"))
	late := draft("late", "--admin-quorum", "1")
	c.sign(late, 0, 1)
	c.fails(cli.NotMet, "nobody in office", "change", "apply", late)
}

// insists signs a change that bftclient would not draft.
func (c *cluster) insists(name string, a, b byte, steps ...bftraft.ChangeStep) {
	c.t.Helper()
	path := c.at(name)
	c.ok("change", "draft", "--out", path, "--admin-quorum", "1")
	cluster := c.nodes[0].Status().Cluster
	ch, err := readChangeFile(path, cluster)
	require.NoError(c.t, err)
	ch.Steps = steps
	require.NoError(c.t, writeChangeFile(path, cluster, ch))
	c.sign(path, a, b)
}

// allGoBy waits until a change is in force at all nodes: one that is a little behind still lets in
// whom the change has removed.
func (c *cluster) allGoBy(change uint64) {
	require.Eventually(c.t, func() bool {
		for _, m := range c.nodes {
			if m.Status().Change < change {
				return false
			}
		}
		return true
	}, 10*time.Second, 5*time.Millisecond)
}

// TestChangeFilesAreReadWithCare: who signs must know what.
func TestChangeFilesAreReadWithCare(t *testing.T) {
	c := startCluster(t, nil)
	path := c.at("change")
	for _, bad := range [][]string{
		{}, {"--add", c.at("nowhere")}, {"--remove", "nobody"}, {"--set-role", "client1=king"},
		{"--set-role", "client1"}, {"--remove-admin", "client1"}, {"--admin-quorum", "9"},
		{"--add", c.identity("x", "king", testKey(55))},
		{"--add", c.identity("y", "client", testKey(55)), "--role", "king"},
		{"--add", c.identity("client1", "client", testKey(55))},
	} {
		s := c.do(append([]string{"change", "draft", "--out", path}, bad...)...)
		require.Equal(t, cli.Usage, s.code, "%v: %s", bad, s.err)
		require.NoFileExists(t, path)
	}
	c.ok("change", "draft", "--out", path, "--remove", "client1")
	require.Equal(t, cli.Usage, c.do("change", "draft", "--out", path, "--remove", "client1").code)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	var f changeFile
	require.NoError(t, json.Unmarshal(whole, &f))
	with := func(old, other string) string { return strings.Replace(string(whole), old, other, 1) }
	for name, text := range map[string]string{
		"half":            string(whole[:len(whole)/2]),
		"more":            string(whole) + "{}",
		"unknown field":   with(`"number"`, `"numbers"`),
		"another cluster": with(f.Cluster.String(), crypto.Digest{1}.String()),
		"unknown step":    with("remove client", "praise client"),
		"half a step":     with("remove client", "add client"),
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		for _, args := range [][]string{{"change", "apply", path},
			{"sign-change", "--key", c.adminKey(0), path}} {
			s := c.do(args...)
			require.Equal(t, cli.Usage, s.code, "%s: %s", name, s.err)
		}
	}
	require.NoError(t, os.WriteFile(path, whole, 0o600))
	stranger := c.at("stranger.key")
	require.NoError(t, crypto.WriteKeyFile(stranger, testKey(59), nil))
	c.sign(path, 0)
	signed, err := os.ReadFile(path)
	require.NoError(t, err)
	c.fails(cli.Usage, testKey(59).Public().String()+" is not that of an administrator",
		"sign-change", "--key", stranger, path)
	c.fails(cli.Usage, "--changes", "sign-change", "--key", c.at("client1/key"), path)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, signed, after, "nobody else spoils it")

	cluster := f.Cluster
	ch, err := readChangeFile(path, cluster)
	require.NoError(t, err)
	ch.Endorse(cluster, testKey(59))
	require.NoError(t, writeChangeFile(path, cluster, ch))
	c.fails(cli.NotMet, testKey(59).Public().String()+" has signed, and is of nobody in office",
		"change", "apply", path)
	altered := strings.Replace(string(signed), "remove client", "remove admin", 1)
	require.NoError(t, os.WriteFile(path, []byte(altered), 0o600))
	c.fails(cli.NotMet, "altered after it was signed", "change", "apply", path)
}

// TestAdministratorOfLaterThanTheGenesisSigns shows with the changes that it is one.
func TestAdministratorOfLaterThanTheGenesisSigns(t *testing.T) {
	c := startCluster(t, nil)
	path, key := c.at("change"), c.at("root.key")
	require.NoError(t, crypto.WriteKeyFile(key, testKey(53), nil))
	c.ok("change", "draft", "--out", path, "--add", c.identity("root", "admin", testKey(53)))
	c.fails(cli.Usage, "not that of an administrator", "sign-change", "--key", key, path)
	c.sign(path, 0, 1)
	c.ok("change", "apply", path)
	c.ok("member", "list", "--changes", c.at("changes.pem"))
	next := c.at("next")
	c.ok("change", "draft", "--out", next, "--admin-quorum", "1")
	c.fails(cli.Usage, "--changes", "sign-change", "--key", key, next)
	c.ok("sign-change", "--key", key, "--changes", c.at("changes.pem"), next)
	c.sign(next, 0)
	c.ok("change", "apply", next)
}

// TestLeadershipMovesWhenAnAdministratorAsks: whoever else asks is refused.
func TestLeadershipMovesWhenAnAdministratorAsks(t *testing.T) {
	c := startCluster(t, nil)
	var before, moved, after leaderAnswer
	c.json(&before, "leader", "show")
	c.json(&moved, "leader", "transfer")
	require.Equal(t, before, *moved.Before)
	require.NotEqual(t, before.Leader, moved.Leader)
	require.Greater(t, moved.Term, before.Term)
	require.Regexp(t, `^node \d leads term \d+\n$`, c.ok("leader", "show"))
	path := c.at("change")
	c.ok("change", "draft", "--out", path, "--add", c.identity("bob", "client", testKey(51)))
	c.sign(path, 0, 1)
	c.ok("change", "apply", path)
	bob := c.by("bob", testKey(51))
	c.json(&before, "leader", "show")
	s := bob.fails(cli.NotAuthorised, "role is not admin, which a transfer needs, but write",
		"leader", "transfer")
	require.NotContains(t, s.err, "not enrolled", "that is not the reason")
	bob.json(&after, "leader", "show")
	require.Equal(t, before, after)
}
