package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"tangaroa/bftraft/kv"
	"tangaroa/cmd/internal/cli"
)

// sealKey makes a key pair and returns the file that opens and the recipient.
func (c *cluster) sealKey(name string, more ...string) (identity, recipient string) {
	identity = filepath.Join(c.t.TempDir(), name)
	return identity, strings.TrimSpace(c.ok(append([]string{"seal-keygen", identity}, more...)...))
}

func sealedValuesStaySealed(t *testing.T, c *cluster) {
	alice, toAlice := c.sealKey("alice")
	bob, toBob := c.sealKey("bob")
	carol, _ := c.sealKey("carol")
	c.ok("put", "seal/a", "canary", "--seal", toAlice, "--seal", bob+".pub")
	c.ok("put", "seal/b", "for bob", "--seal", toBob)
	c.ok("put", "seal/open", "plain")
	require.Equal(t, "canary\n", c.ok("get", "seal/a", "--identity", alice))
	require.Equal(t, "canary\n", c.ok("get", "seal/a", "-i", carol, "-i", bob))
	require.Equal(t, "plain\n", c.ok("get", "seal/open", "-i", alice))
	s := c.fails(cli.NotAuthorised, "is not sealed to any of the given identities",
		"get", "seal/a", "-i", carol)
	require.Empty(t, s.out)

	raw := runWith(t, "", "-c", c.config, "get", "seal/a")
	require.Equal(t, cli.OK, raw.code)
	require.True(t, strings.HasPrefix(raw.out, ageMagic))
	require.NotContains(t, raw.out, "canary")
	require.Contains(t, raw.err, "--identity FILE opens it")
	var e entry
	c.json(&e, "get", "seal/a")
	require.True(t, e.Sealed)
	require.NotNil(t, e.ValueHex)
	var opened entry
	c.json(&opened, "get", "seal/a", "-i", alice)
	require.False(t, opened.Sealed)
	require.Equal(t, "canary", *opened.Value)

	table := c.ok("range", "seal/", "-i", alice)
	require.Regexp(t, `seal/a +\d+ +1 +canary\n`, table)
	require.Regexp(t, `seal/b +\d+ +1 +\(sealed, \d+ bytes\)\n`, table)
	require.Regexp(t, `seal/open +\d+ +1 +plain\n`, table)
	log := c.do("watch", "seal/", "--from", "1", "--count", "3", "-i", bob).out
	require.Contains(t, log, "put seal/a = canary\n")
	require.Contains(t, log, "put seal/b = for bob\n")
	log = c.do("watch", "seal/", "--from", "1", "--count", "2").out
	require.Regexp(t, `put seal/a = \(sealed, \d+ bytes\)\n`, log)

	txn := filepath.Join(t.TempDir(), "txn.json")
	require.NoError(t, os.WriteFile(txn, []byte(
		`{"then": [{"put": {"key": "seal/t", "value": "in a txn"}}, {"range": {"key": "seal/b"}}]}`),
		0o600))
	require.Contains(t, c.ok("txn", txn, "--seal", toAlice), "seal/b = (sealed, ")
	require.Equal(t, "in a txn\n", c.ok("get", "seal/t", "-i", alice))
	require.NotContains(t, c.stale("seal/t").out, "in a txn")
	require.NoError(t, os.WriteFile(txn, []byte(
		`{"compare": [{"key": "seal/t", "target": "version", "relation": "=", "number": 0}],
		"else": [{"put": {"key": "seal/e", "value": "otherwise"}}]}`), 0o600))
	c.fails(cli.NotMet, "", "txn", txn, "--seal", toAlice)
	require.Equal(t, "otherwise\n", c.ok("get", "seal/e", "-i", alice))
	require.NotContains(t, c.do("get", "seal/e").out, "otherwise")
}

func sealedValuesCanBeCompared(t *testing.T, c *cluster) {
	alice, toAlice := c.sealKey("alice", "--post-quantum")
	require.True(t, strings.HasPrefix(toAlice, "age1pq1"))
	c.ok("put", "scas/a", "1", "--seal", toAlice)
	require.NotEmpty(t, c.ok("cas", "scas/a", "1", "2", "-i", alice, "--seal", alice+".pub"))
	var e entry
	c.json(&e, "get", "scas/a", "-i", alice)
	require.Equal(t, "2", *e.Value)
	require.Equal(t, uint64(2), e.Version)
	c.fails(cli.NotMet, "condition not met: scas/a holds something else",
		"cas", "scas/a", "1", "3", "-i", alice, "--seal", toAlice)
	c.fails(cli.NotMet, "condition not met", "cas", "scas/none", "", "3", "--seal", toAlice)
	c.fails(cli.NotMet, "condition not met", "cas", "scas/a", "2", "3") // it holds the seal
	c.fails(cli.Usage, "cannot be repeated under its --request-id",
		"cas", "scas/a", "2", "3", "-i", alice, "--request-id", "7-1")
	c.ok("cas", "scas/a", "2", "open again", "-i", alice)
	require.Equal(t, "open again\n", c.ok("get", "scas/a"))
}

func sealsAreJudged(t *testing.T, c *cluster) {
	alice, toAlice := c.sealKey("alice")
	pq, toPQ := c.sealKey("pq", "--post-quantum")
	none := filepath.Join(t.TempDir(), "none")
	c.fails(cli.Usage, "no such file", "put", "k", "v", "--seal", none)
	c.fails(cli.Usage, "no recipients", "put", "k", "v", "--seal", "age1nonsense")
	c.fails(cli.Usage, "no recipients", "put", "k", "v", "--seal", alice) // the private file
	c.fails(cli.Usage, "--seal", "put", "k", "v", "--seal", toAlice, "--seal", toPQ)
	c.fails(cli.Usage, "no key of seal-keygen", "get", "k", "-i", pq+".pub")
	c.fails(cli.Failed, "file exists", "seal-keygen", alice)
	taken := filepath.Join(t.TempDir(), "taken")
	require.NoError(t, os.WriteFile(taken+".pub", nil, 0o600))
	c.fails(cli.Failed, "file exists", "seal-keygen", taken)
	require.NoFileExists(t, taken, "an identity without its recipient")
	big := strings.Repeat("x", kv.MaxValueBytes)
	s := runWith(t, big, "-c", c.config, "put", "k", "-", "--seal", toAlice)
	require.Equal(t, cli.Usage, s.code)
	require.Regexp(t, `the sealed value has \d+ bytes, \d+ more than fit`, s.err)
	info, err := os.Stat(alice)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	// What cannot be sealed as asked is not written, in a transaction or a cas either.
	small, large := filepath.Join(t.TempDir(), "small"), filepath.Join(t.TempDir(), "large")
	for path, value := range map[string]string{small: "v", large: big} {
		require.NoError(t, os.WriteFile(path,
			[]byte(`{"then": [{"put": {"key": "judged/t", "value": "`+value+`"}}]}`), 0o600))
	}
	carol, _ := c.sealKey("carol")
	c.ok("put", "judged/c", "1", "--seal", toAlice)
	c.fails(cli.Usage, "no such file", "txn", small, "--seal", none)
	c.fails(cli.Usage, "more than fit", "txn", large, "--seal", toAlice)
	c.fails(cli.NotFound, "judged/t", "get", "judged/t")
	c.fails(cli.Usage, "no such file", "cas", "judged/c", "1", "2", "-i", alice, "--seal", none)
	c.fails(cli.Usage, "no such file", "cas", "judged/c", "1", "2", "-i", none)
	c.fails(cli.NotAuthorised, "not sealed to any", "cas", "judged/c", "1", "2", "-i", carol)
	require.Equal(t, "1\n", c.ok("get", "judged/c", "-i", alice))

	// A member that copies a sealed value to another key is found out.
	c.ok("put", "judged/a", "v", "--seal", toAlice)
	sealed := strings.TrimSpace(c.ok("get", hex.EncodeToString([]byte("judged/a")), "--hex"))
	c.ok("put", "--hex", hex.EncodeToString([]byte("judged/b")), sealed)
	require.Equal(t, "v\n", c.ok("get", "judged/a", "-i", alice))
	c.fails(cli.Failed, "sealed for another key", "get", "judged/b", "-i", alice)
}

func TestSealsAndKeyFilesAreAsLargeAsTheyMayBe(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	s := &sealer{[]age.Recipient{key.Recipient()}}
	more := func(n int) int { // what does not fit when n bytes are sealed
		sealed, err := s.seal([]byte("k"), make([]byte, n))
		if err == nil {
			return len(sealed) - kv.MaxValueBytes
		}
		require.Equal(t, cli.Usage, cli.CodeOf(err))
		var size, excess int
		_, scanErr := fmt.Sscanf(err.Error(), "the sealed value has %d bytes, %d more than fit",
			&size, &excess)
		require.NoError(t, scanErr)
		require.Equal(t, kv.MaxValueBytes+excess, size)
		require.Positive(t, excess)
		return excess
	}
	fits := kv.MaxValueBytes - more(kv.MaxValueBytes)
	fits -= more(fits) // which has one chunk less
	require.Zero(t, more(fits), "the largest")
	require.Equal(t, 1, more(fits+1))

	path := filepath.Join(t.TempDir(), "recipients")
	for n, fits := range map[int]bool{maxKeyFile: true, maxKeyFile + 1: false} {
		text := bytes.Repeat([]byte{'#'}, n)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		got, err := readKeyFile(path)
		require.Equal(t, fits, err == nil)
		if fits {
			require.Equal(t, text, got)
		} else {
			require.ErrorContains(t, err, "longer than")
		}
	}
	_, err = readKeyFile(filepath.Dir(path))
	require.ErrorContains(t, err, "is a directory")
}

func TestOnlyOurSealsAreOpened(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	o := &opener{[]age.Identity{key}}
	encrypt := func(plain []byte) []byte {
		var b bytes.Buffer
		w, err := age.Encrypt(&b, key.Recipient())
		require.NoError(t, err)
		_, err = w.Write(plain)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		return b.Bytes()
	}
	head := func(n uint32, rest string) []byte {
		return append(binary.BigEndian.AppendUint32([]byte(sealMagic), n), rest...)
	}
	for name, c := range map[string]struct {
		plain []byte
		want  error
	}{
		"a value":            {head(1, "kv"), nil},
		"an empty value":     {head(1, "k"), nil},
		"not by us":          {[]byte("v"), errNotOurSeal},
		"without our mark":   {[]byte("\x00\x00\x00\x01kv"), errNotOurSeal},
		"no length":          {[]byte(sealMagic + "\x00\x00"), errNotOurSeal},
		"a key cut short":    {head(2, "k"), errNotOurSeal},
		"a length that lies": {head(1<<32-1, "k"), errNotOurSeal},
		"another key":        {head(1, "xv"), errOtherKey},
		"a longer key":       {head(2, "kv"), errOtherKey},
		"a shorter key":      {head(0, "kv"), errOtherKey},
	} {
		plain, opened, err := o.open([]byte("k"), encrypt(c.plain))
		require.ErrorIs(t, err, c.want, name)
		require.Equal(t, c.want == nil, opened, name)
		if c.want == nil {
			require.Equal(t, string(c.plain[len(sealMagic)+5:]), string(plain))
		}
	}
	sealed, err := (&sealer{[]age.Recipient{key.Recipient()}}).seal([]byte("k"), []byte("v"))
	require.NoError(t, err)
	for i := range sealed { // a member cannot change what is sealed
		bent := bytes.Clone(sealed)
		bent[i] ^= 1
		plain, opened, err := o.open([]byte("k"), bent)
		if isSealed(bent) {
			require.Error(t, err, "byte %d", i)
		} else {
			require.False(t, opened)
			require.Equal(t, bent, plain)
		}
	}
	again, err := (&sealer{[]age.Recipient{key.Recipient()}}).seal([]byte("k"), []byte("v"))
	require.NoError(t, err)
	require.NotEqual(t, sealed, again, "equal values do not look equal")
}

func TestSealsThatAreCutOrCopiedSpoilWhatTheyStandIn(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	o := &opener{[]age.Identity{key}}
	mine, err := (&sealer{[]age.Recipient{key.Recipient()}}).seal([]byte("k"), []byte("v"))
	require.NoError(t, err)
	long, err := (&sealer{[]age.Recipient{key.Recipient()}}).seal([]byte("k"), make([]byte, 150_000))
	require.NoError(t, err)
	bent := bytes.Clone(long)
	bent[len(bent)-1] ^= 1
	for _, bad := range [][]byte{bent, long[:len(long)-1], long[:100_000]} {
		plain, _, err := o.open([]byte("k"), bad)
		require.Error(t, err, "its beginning is not the value")
		require.Nil(t, plain)
	}
	other, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	toOther, err := (&sealer{[]age.Recipient{other.Recipient()}}).seal([]byte("a"), []byte("v"))
	require.NoError(t, err)
	held := []kv.KV{{Key: []byte("a"), Value: toOther}, {Key: []byte("k"), Value: mine}}
	require.NoError(t, o.openAll(held), "what is sealed to others stays sealed")
	require.Equal(t, []string{string(toOther), "v"},
		[]string{string(held[0].Value), string(held[1].Value)})
	held = append(held, kv.KV{Key: []byte("copied"), Value: mine})
	require.ErrorIs(t, o.openAll(held), errOtherKey)
}
