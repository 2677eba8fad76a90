package main

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// write puts bytes into a new file of the cluster's folder and returns its path.
func (c *cluster) write(name string, text []byte) string {
	c.t.Helper()
	require.NoError(c.t, os.WriteFile(c.at(name), text, 0o600))
	return c.at(name)
}

// alone runs a command that knows nothing but what its arguments say.
func (c *cluster) alone(args ...string) said { return runWith(c.t, "", args...) }

// refusesAlone runs such a command, which must fail with one line.
func (c *cluster) refusesAlone(code cli.Code, about string, args ...string) {
	c.t.Helper()
	s := c.alone(args...)
	require.Equal(c.t, code, s.code, "%q: %s%s", args, s.out, s.err)
	require.Contains(c.t, s.err, about, "%q", args)
	require.Equal(c.t, 1, strings.Count(s.err, "\n"), "one line: %q", s.err)
	require.Empty(c.t, s.out)
}

// changes writes what the cluster knows of its changes, and returns the path and the changes.
func (c *cluster) changes(name string) (string, []*bftraft.ChangeProof) {
	c.t.Helper()
	c.ok("member", "list", "--changes", c.at(name))
	list, err := clusterfile.LoadChanges(c.at(name))
	require.NoError(c.t, err)
	return c.at(name), list
}

// proofsVerifyOffline is what an auditor does with receipts, proofs and changes of a cluster whose
// voters were replaced, and that runs no more.
func (c *cluster) proofsVerifyOffline(receipts []string, changes string) {
	t := c.t
	genesis := []string{"--genesis", c.at("genesis.json")}
	known := append(genesis, "--changes", changes)
	for _, with := range [][]string{genesis, known} {
		for _, path := range receipts {
			s := c.alone(append([]string{"verify", path}, with...)...)
			require.Equal(t, cli.OK, s.code, s.err)
		}
	}
	var p proof
	s := c.alone(append([]string{"verify", receipts[len(receipts)-1], "-o", "json"}, genesis...)...)
	require.NoError(t, json.Unmarshal([]byte(s.out), &p), s.err)
	require.Positive(t, p.Configuration)
	s = c.alone(append([]string{"verify", changes}, genesis...)...)
	require.Equal(t, cli.OK, s.code, s.err)
	require.Equal(t, c.ok("member", "list"), s.out, "who is a member is proven offline")
	c.accusesOffline(changes)
}

// accusesOffline has a voter that came later sign two votes.
func (c *cluster) accusesOffline(changes string) {
	t := c.t
	g := testGenesis()
	f, err := clusterfile.LoadGenesis(c.at("genesis.json"))
	require.NoError(t, err)
	gate, err := f.Gate(changes)
	require.NoError(t, err)
	vote := func(candidate bftraft.NodeID) quorumcert.SignedVote {
		v := quorumcert.Vote{Cluster: g.Hash(), Term: 9, Candidate: candidate}
		return quorumcert.SignedVote{Vote: v, Signer: 6,
			Sig: quorumcert.Sign(crypto.NewSigner(6, testKey(6)), v)}
	}
	e := &quorumcert.Evidence{Votes: &quorumcert.VoteConflict{A: vote(1), B: vote(2)}}
	s := c.alone("verify", c.write("proof", client.EncodeEvidence(e, gate)), "-o", "json",
		"--genesis", c.at("genesis.json"))
	require.Equal(t, cli.OK, s.code, s.err)
	var f6 fault
	require.NoError(t, json.Unmarshal([]byte(s.out), &f6))
	require.Equal(t, testKey(6).Public(), f6.Key)
	bare := c.write("bare", client.EncodeEvidence(e, gate.Genesis()))
	c.refusesAlone(cli.BadProof, "node 6 has never had a say", "verify", bare, "--genesis",
		c.at("genesis.json"))
	c.refusesAlone(cli.BadProof, "bftclient member list --changes FILE writes them", "verify", bare,
		"--genesis", c.at("genesis.json"))
	s = c.alone("verify", bare, "--genesis", c.at("genesis.json"), "--changes", changes)
	require.Equal(t, cli.OK, s.code, s.err)
	settings := c.write("settings.yaml", []byte("genesis: genesis.json\nchanges: "+changes+"\n"))
	s = c.alone("-c", settings, "verify", bare)
	require.Equal(t, cli.OK, s.code, "the settings say: %s", s.err)
}

// TestChangesThatAreWrongAreRefused gives verify, and a client, changes that they cannot use.
func TestChangesThatAreWrongAreRefused(t *testing.T) {
	c := startCluster(t, nil)
	for k, add := range []string{"5", "6"} {
		key := testKey(5 + byte(k)).Public().String()
		s := c.member(append([]string{"add", "--key", key, "--address", "127.0.0.1:" + add},
			c.signed(0, 1)...)...)
		require.Equal(t, cli.OK, s.code, s.err)
	}
	c.ok("put", "a", "1", "--receipt", c.at("receipt"))
	path, list := c.changes("changes")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	forged := *list[1]
	forged.Entry = bytes.Clone(forged.Entry)
	forged.Entry[len(forged.Entry)-70] ^= 1
	another := testGenesis()
	another.Nonce[0]++
	require.NoError(t, clusterfile.SaveGenesis(c.at("another.json"),
		&clusterfile.File{Genesis: another}))
	encode := func(list ...*bftraft.ChangeProof) []byte { return clusterfile.EncodeChanges(list) }
	for name, bad := range map[string]struct {
		text  []byte
		about string
	}{
		"nothing":        {nil, "no PEM block of type TANGAROA CHANGES"},
		"a receipt":      {[]byte("-----BEGIN TANGAROA RECEIPT V1-----"), "no PEM block"},
		"cut":            {text[:len(text)/2], "no PEM block"},
		"more behind it": {slices.Concat(text, text), "more in it than changes"},
		"forged":         {encode(list[0], &forged), "change 2: changes do not prove themselves"},
		"a gap":          {encode(list[1]), "change 1: changes do not prove themselves"},
		"out of order":   {encode(list[1], list[0]), "not in order"},
		"one twice":      {encode(list[0], list[0], list[1]), "not in order"},
	} {
		file := c.write("bad "+name, bad.text)
		c.refusesAlone(cli.Usage, bad.about, "verify", c.at("receipt"), "--genesis",
			c.at("genesis.json"), "--changes", file)
		if clusterfile.IsChanges(bad.text) {
			c.refusesAlone(cli.BadProof, bad.about, "verify", file, "--genesis", c.at("genesis.json"))
		}
		settings := c.write("bad.yaml", []byte("key: client1/key\ngenesis: genesis.json\nchanges: "+
			"\""+file+"\"\n"))
		c.refusesAlone(cli.Usage, bad.about, "-c", settings, "get", "a")
		c.refusesAlone(cli.Usage, bad.about, "-c", settings, "verify", c.at("receipt"))
	}
	c.refusesAlone(cli.Usage, "no such file", "verify", c.at("receipt"), "--genesis",
		c.at("genesis.json"), "--changes", c.at("nowhere"))
	c.refusesAlone(cli.Usage, `under the genesis of "demo": change 1: changes do not prove`,
		"verify", c.at("receipt"), "--genesis", c.at("another.json"), "--changes", path)
	c.refusesAlone(cli.BadProof, "change 1", "verify", path, "--genesis", c.at("another.json"))
	older := c.write("older", encode(list[0]))
	for _, known := range []string{older, path} { // an older list is a list
		s := c.alone("verify", c.at("receipt"), "--genesis", c.at("genesis.json"), "--changes", known)
		require.Equal(t, cli.OK, s.code, s.err)
	}
}
