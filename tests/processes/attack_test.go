//go:build linux

package processes

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/adversary"
	"tangaroa/adversary/rogue"
	"tangaroa/crypto"
)

// TestWritesGoOnBesideDishonestClients lets one client attack while another writes, all ways in
// turn on one cluster.
func TestWritesGoOnBesideDishonestClients(t *testing.T) {
	c := newCluster(t, 2)
	c.startAll()
	u := c.user(1)
	w := u.write(t, "w")
	w.more(50)
	for _, attack := range rogue.Names() {
		done := make(chan said)
		go func() {
			done <- run(t, "", "bftclient", "--config", c.config(2), "attack", attack,
				"--duration", "1s", "--rate", "400", "-o", "json")
		}()
		w.more(100)
		var report struct {
			Sent     uint64
			Refusals map[string]uint64
		}
		got := <-done
		require.Equal(t, ok, got.code, "%s: %s", attack, got.err)
		require.NoError(t, json.Unmarshal([]byte(got.out), &report))
		require.Positive(t, report.Sent, attack)
		t.Logf("%s sent %d frames, refused: %v", attack, report.Sent, report.Refusals)
		switch attack {
		case "flood":
			require.Positive(t, report.Refusals["busy"])
		case "jumper":
			require.Positive(t, report.Refusals["out_of_window"])
		}
	}
	w.check()
	u.awaitSame(t, c.all()...)
}

func TestClientAttackIsRefusedWhereItCannotBe(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	s := shell{c, t, c.config(1)}
	require.Contains(t, s.try("attack", "harmless").err, "only equivocator, flood")
	s.do(wrongUsage, "attack", "harmless")
	s.do(wrongUsage, "attack", "flood", "--duration", "0s")
	s.do(wrongUsage, "attack")
	genesis := c.path("genesis.json")
	text, err := os.ReadFile(genesis)
	require.NoError(t, err)
	serious := strings.Replace(string(text), `"testnet": true`, `"testnet": false`, 1)
	require.NoError(t, os.WriteFile(genesis, []byte(serious), 0o600))
	require.Contains(t, s.try("attack", "flood").err, "only there clients may misbehave")
}

// TestLeakyMemberLeaksToAFileAndToASocket shows what no protocol can keep a member from: a third
// party reads along. It says that in nobody's name.
func TestLeakyMemberLeaksToAFileAndToASocket(t *testing.T) {
	c := newCluster(t, 1)
	third, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer third.Close()
	heard := make(chan string, 1)
	go func() {
		conn, err := third.Accept()
		if err != nil {
			return
		}
		line, _ := bufio.NewReader(conn).ReadString('\n')
		heard <- line
		conn.Close() // gone: the member does not mind
	}()
	file := filepath.Join(t.TempDir(), "leak")
	c.start(1, "--adversary", "leaky,to="+file)
	c.start(2, "--adversary", "leaky,to=tcp:"+third.Addr().String(), "--adversary", "garbage")
	for _, id := range []crypto.NodeID{3, 4} {
		c.start(id)
	}
	c.awaitReady(c.all()...)
	u := c.user(1)
	w := u.write(t, "w")
	w.more(100)
	w.check()
	require.Regexp(t, `^(from|to|client) \S+ [0-9a-f]+\n$`, <-heard)
	c.nodes[1].signal(syscall.SIGTERM)
	require.Zero(t, c.nodes[1].wait())
	leaked, err := os.ReadFile(file)
	require.NoError(t, err)
	for line := range strings.Lines(string(leaked)) {
		require.Regexp(t, `^(from \d+|to \d+|client [0-9a-f]+) [0-9a-f]+\n$`, line)
	}
	require.Greater(t, strings.Count(string(leaked), "\n"), 300)
}

func TestAdversariesAreListed(t *testing.T) {
	t.Parallel()
	got := run(t, "", "bftnode", "adversaries", "-o", "json")
	require.Zero(t, got.code)
	var all []adversary.Attack
	require.NoError(t, json.Unmarshal([]byte(got.out), &all))
	require.Len(t, all, len(adversary.All()))
	got = run(t, "", "bftnode", "adversaries")
	require.Zero(t, got.code)
	for _, name := range adversary.Names() {
		require.Contains(t, got.out, name+"\n   does ")
	}
}
