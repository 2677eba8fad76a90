package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/crypto"
)

// signed returns the flags by which administrators sign at once.
func (c *cluster) signed(admins ...byte) (flags []string) {
	for _, n := range admins {
		flags = append(flags, "--admin", c.adminKey(n))
	}
	return flags
}

// member runs a command about members.
func (c *cluster) member(args ...string) said {
	c.t.Helper()
	return c.do(append([]string{"member"}, args...)...)
}

// TestNodeIsAddedInOneCommandAndListed goes as far as nodes can go that nobody has started.
func TestNodeIsAddedInOneCommandAndListed(t *testing.T) {
	c := startCluster(t, nil)
	five, six := testKey(5).Public().String(), testKey(6).Public().String()
	add := append([]string{"add", "--key", five, "--address", "127.0.0.1:1"}, c.signed(0, 2)...)
	s := c.member(add...)
	require.Equal(t, cli.OK, s.code, s.err)
	require.Regexp(t, `node +5 +learner +`+five+` +127.0.0.1:1\n`, s.out)
	s = c.member(add...)
	require.Equal(t, cli.OK, s.code, s.err)
	require.Contains(t, s.out, "change 1 at index", "it does no harm")

	var list memberList
	c.json(&list, "member", "list", "--changes", c.at("changes.pem"))
	require.Len(t, list.Nodes, 5)
	require.Equal(t, listedNode{5, "learner", testKey(5).Public(), "127.0.0.1:1"}, list.Nodes[4])
	require.Equal(t, "voter", list.Nodes[0].Role)
	require.NotEmpty(t, list.Nodes[0].Address, "the genesis says where")
	require.False(t, list.Joint)
	text, err := os.ReadFile(c.at("changes.pem"))
	require.NoError(t, err)
	proofs, err := clusterfile.DecodeChanges(text)
	require.NoError(t, err)
	g := testGenesis()
	gate, err := bftraft.NewVerifier(crypto.ZIP215(), &g)
	require.NoError(t, err)
	gate, err = gate.Following(proofs)
	require.NoError(t, err)
	require.Equal(t, uint64(1), gate.Members().Number)
	require.Equal(t, cli.Usage, c.member("list", "--changes", c.at("changes.pem")).code)

	s = runWith(t, "", append([]string{"--config", c.config, "--timeout", "2s", "member",
		"promote", "--node", "5"}, c.signed(0, 1)...)...)
	require.Equal(t, cli.NotReady, s.code, s.err)
	require.Contains(t, s.err, "progress: waiting until the new voters are ready: ")
	require.Contains(t, s.err, "node 5: it cannot be reached")
	s = c.member(append([]string{"remove", "--key", five}, c.signed(0, 1)...)...)
	require.Equal(t, cli.OK, s.code, s.err)
	require.NotContains(t, s.out, five)
	for name, about := range map[string]string{
		"--key " + five: "node 5 was taken out", "--node 5": "node 5 was taken out",
		"--key " + six: "there is no node",
	} {
		again := append([]string{"member", "remove"}, strings.Fields(name)...)
		c.fails(cli.NotMet, about, append(again, c.signed(0, 1)...)...)
	}
	s = c.member(add...)
	require.Equal(t, cli.NotMet, s.code, "a key comes once")
	require.Contains(t, s.err, "may not be enrolled: "+five)

	bob := c.at("change")
	c.ok("change", "draft", "--out", bob, "--add", c.identity("bob", "client", testKey(51)))
	c.sign(bob, 0, 1)
	c.ok("change", "apply", bob)
	s = c.by("bob", testKey(51)).member(append([]string{"add", "--key", six, "--address", "x:1"},
		c.signed(0, 1)...)...)
	require.Equal(t, cli.NotAuthorised, s.code, s.err)
}

// TestChangeOfMembersIsSignedElsewhere has too few keys here.
func TestChangeOfMembersIsSignedElsewhere(t *testing.T) {
	c := startCluster(t, nil)
	five, six := testKey(5).Public().String(), testKey(6).Public().String()
	path, text := c.at("plan.json"), `{"nodes": [`
	for id := byte(1); id <= 3; id++ {
		text += `{"key": "` + testKey(id).Public().String() + `"}, `
	}
	text += `{"key": "` + five + `", "address": "127.0.0.1:1"}, {"key": "` + six +
		`", "address": "127.0.0.1:1"}]}` // three of five are there: one less than a quorum
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	c.fails(cli.Usage, "with the keys that are here 1 do", append([]string{"member", "apply", path},
		c.signed(1)...)...)
	var f changeFile
	c.json(&f, append([]string{"member", "apply", path, "--out", c.at("change")}, c.signed(1)...)...)
	require.Equal(t, "add node", f.Steps[0].Do)
	require.Len(t, f.Signatures, 1)
	c.fails(cli.Usage, "exists already", "member", "apply", path, "--out", c.at("change"))
	c.sign(c.at("change"), 0)
	require.Equal(t, "change 1 is in force\n", c.ok("change", "apply", c.at("change")))
	out := c.ok("member", "apply", path, "--out", c.at("next"))
	require.Contains(t, out, "promote node "+five)
	require.Contains(t, out, "then the same command as now again")
	c.sign(c.at("next"), 0, 1)
	s := runWith(t, "", "--config", c.config, "--timeout", "2s", "change", "apply", c.at("next"))
	require.Equal(t, cli.NotReady, s.code, s.err)
	require.Contains(t, s.err, "node 5: it cannot be reached")
	require.Equal(t, cli.OK, c.do("member", "list").code, "the cluster goes on")
}

// TestNodesAreDraftedByIdAndKey draws up changes that administrators may sign one after the other.
func TestNodesAreDraftedByIdAndKey(t *testing.T) {
	c := startCluster(t, nil)
	path, five, two := c.at("change"), testKey(5).Public().String(), testKey(2).Public().String()
	out := c.ok("change", "draft", "--out", path, "--add-node", five+"=five.example:1",
		"--set-address", "3=three.example:1", "--remove-node", two, "--add",
		c.identity("bob", "client", testKey(51)))
	for _, want := range []string{
		"add node at five.example:1 " + five, "remove node " + two,
		"set node address at three.example:1 " + testKey(3).Public().String(), `add client "bob"`,
	} {
		require.Contains(t, out, want)
	}
	for _, bad := range [][]string{
		{"--add-node", five}, {"--add-node", five + "=nowhere"}, {"--add-node", "5=x:1"},
		{"--promote", "1"}, {"--promote", "9"}, {"--promote", "1=x"}, {"--remove-node", five},
		{"--set-address", "1"}, {"--set-address", "9=x:1"}, {"--roll-back"},
		{"--roll-back", "--remove-node", "1"}, {"--add-node", two + "=x:1"},
	} {
		s := c.do(append([]string{"change", "draft", "--out", c.at("bad")}, bad...)...)
		require.Equal(t, cli.Usage, s.code, "%v: %s", bad, s.err)
		require.NoFileExists(t, c.at("bad"))
	}
	for _, bad := range []struct {
		code  cli.Code
		about string
		args  string
	}{
		{cli.NotMet, "nothing to roll back", "rollback"},
		{cli.NotMet, "there is no node", "remove --node 9"},
		{cli.NotMet, "there is no node", "promote --node 9"}, {cli.Usage, "which node", "promote"},
		{cli.Usage, "which node", "remove --node 1 --key " + five},
		{cli.NotMet, "there is no node", "replace --node 9 --key " + five + " --address x:1"},
		{cli.NotMet, "has this key already", "replace --node 2 --address x:1 --key " + two},
		{cli.NotMet, "node 2 has this key already, at 127.0.0.1:", "add --address x:1 --key " + two},
		{cli.NotMet, "--set-address 2=x:1", "add --address x:1 --key " + two},
		{cli.Usage, "needs --address", "replace --node 2 --key " + five},
		{cli.Usage, "HOST:PORT", "add --address :1 --key " + five},
		{cli.Usage, "key", "add --key five --address x:1"},
		{cli.Usage, "no such file", "apply " + c.at("nowhere")},
		{cli.Usage, "no such file", "rollback --admin " + c.at("nowhere")},
	} {
		c.fails(bad.code, bad.about, append([]string{"member"}, strings.Fields(bad.args)...)...)
	}
}

// TestCommandsSayHowTheyAreUsed: an example each.
func TestCommandsSayHowTheyAreUsed(t *testing.T) {
	for _, command := range append(memberCommand().Subcommands, changeCommand().Subcommands...) {
		require.Contains(t, command.Description, "Example:  bftclient ", command.Name)
		require.NotEmpty(t, command.Usage)
	}
}

// TestProgressIsJSONForPrograms: so is every warning.
func TestProgressIsJSONForPrograms(t *testing.T) {
	var out lines
	w := &warner{to: &out, json: true}
	w.progress("it goes on")
	var got map[string]string
	require.NoError(t, json.Unmarshal([]byte(out.String()), &got))
	require.Equal(t, map[string]string{"progress": "it goes on"}, got)
}
