package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft/kv"
	"tangaroa/cmd/internal/cli"
)

// A sealed value is an age file (age-encryption.org/v1). What it holds begins with the key it was
// sealed for, so that a value which somebody copies to another key does not open there:
//
//	sealMagic  length of the key, 4 bytes, big-endian  key  value
const (
	ageMagic  = "age-encryption.org/v1\n"
	sealMagic = "tangaroa sealed value v1\n"
)

// maxKeyFile bounds a file of recipients or identities.
const maxKeyFile = 1 << 20

var (
	errOtherKey   = errors.New("it was sealed for another key, and copied here")
	errNotOurSeal = errors.New("it was encrypted with age, but not by put --seal")
)

// isSealed says whether a value is an age file.
func isSealed(value []byte) bool { return bytes.HasPrefix(value, []byte(ageMagic)) }

// sealer seals values to recipients. The nil sealer leaves them as they are.
type sealer struct{ recipients []age.Recipient }

func sealFlag() ucli.Flag {
	return &ucli.StringSliceFlag{
		Name: "seal",
		Usage: "encrypt the value to `RECIPIENT`, age1… or a file of such lines; may be repeated. " +
			"Nodes, receipts and backups hold the encrypted value only",
	}
}

// sealerOf returns the sealer that --seal asks for.
func sealerOf(c *ucli.Context) (*sealer, error) {
	if !c.IsSet("seal") {
		return nil, nil
	}
	s := &sealer{}
	for _, text := range c.StringSlice("seal") {
		var lines io.Reader = strings.NewReader(text)
		if !strings.HasPrefix(text, "age1") {
			file, err := readKeyFile(text)
			if err != nil {
				return nil, cli.Errorf(cli.Usage, "--seal: %w", err)
			}
			lines = bytes.NewReader(file)
		}
		recipients, err := age.ParseRecipients(lines)
		if err != nil {
			return nil, cli.Errorf(cli.Usage, "--seal %s: no recipients: %w", brief(text), err)
		}
		s.recipients = append(s.recipients, recipients...)
	}
	return s, nil
}

// brief shortens a recipient, which may have thousands of characters.
func brief(text string) string {
	if len(text) > 40 {
		return text[:40] + "…"
	}
	return text
}

func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxKeyFile)
	}
	return text, nil
}

// seal encrypts the value of a key.
func (s *sealer) seal(key, value []byte) ([]byte, error) {
	if s == nil {
		return value, nil
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, s.recipients...)
	if err != nil {
		return nil, cli.Errorf(cli.Usage, "--seal: %w", err)
	}
	head := binary.BigEndian.AppendUint32([]byte(sealMagic), uint32(len(key)))
	for _, part := range [][]byte{head, key, value} {
		if _, err := w.Write(part); err != nil {
			return nil, fmt.Errorf("seal: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if sealed.Len() > kv.MaxValueBytes {
		return nil, cli.Errorf(cli.Usage, "the sealed value has %d bytes, %d more than fit",
			sealed.Len(), sealed.Len()-kv.MaxValueBytes)
	}
	return sealed.Bytes(), nil
}

// sealed returns the value of a key as --seal asks for it.
func sealed(c *ucli.Context, key, value []byte) ([]byte, error) {
	s, err := sealerOf(c)
	if err != nil {
		return nil, err
	}
	return s.seal(key, value)
}

// sealPuts seals the values of a transaction's puts, in place.
func sealPuts(c *ucli.Context, txn kv.Txn) error {
	s, err := sealerOf(c)
	if err != nil || s == nil {
		return err
	}
	for _, ops := range [][]kv.Op{txn.Then, txn.Else} {
		for i, op := range ops {
			put, ok := op.(kv.Put)
			if !ok {
				continue
			}
			if put.Value, err = s.seal(put.Key, put.Value); err != nil {
				return err
			}
			ops[i] = put
		}
	}
	return nil
}

// casTries is how often cas reads a value anew that was written while it was being compared.
const casTries = 10

// casOpened is cas for values that only the client can compare: the key is written only if it has
// not been since it was read.
func casOpened(c *ucli.Context, key, old, next []byte) error {
	if c.IsSet("request-id") {
		return cli.Errorf(cli.Usage, "cas with --seal or --identity cannot be repeated under its "+
			"--request-id: it reads the key first; get tells what became of it")
	}
	o, err := openerOf(c)
	if err != nil {
		return err
	}
	if next, err = sealed(c, key, next); err != nil {
		return err
	}
	for range casTries {
		held, err := current(c, key)
		if err != nil {
			return err
		}
		if len(held) == 1 {
			if _, err := o.openKV(&held[0]); err != nil {
				return err
			}
		}
		if len(held) == 0 || !bytes.Equal(held[0].Value, old) {
			return cli.Errorf(cli.NotMet, "condition not met: %s holds something else",
				shown(key, c.Bool("hex")))
		}
		result, got, err := write(c, kv.CompareVersionAndSwap(key, held[0].Mod, next))
		if err != nil {
			return err
		}
		if result.Succeeded {
			return printWritten(c, result, got, nil)
		}
	}
	return cli.Errorf(cli.NotMet, "%s was written by others %d times in a row: try again",
		shown(key, c.Bool("hex")), casTries)
}

// current reads a key; the list is empty if it does not exist.
func current(c *ucli.Context, key []byte) ([]kv.KV, error) {
	s, err := connect(c, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	found, err := s.rangeOf(kv.Range{Span: kv.One(key)}, linearizable)
	return found.KVs, err
}

// opener opens sealed values. The nil opener opens none.
type opener struct{ identities []age.Identity }

func identityFlag() ucli.Flag {
	return &ucli.StringSliceFlag{
		Name: "identity", Aliases: []string{"i"}, EnvVars: []string{"BFTCLIENT_IDENTITY"},
		Usage: "open sealed values with the key in `FILE`; may be repeated",
	}
}

// openerOf returns the opener that --identity asks for.
func openerOf(c *ucli.Context) (*opener, error) {
	files := c.StringSlice("identity")
	if len(files) == 0 {
		return nil, nil
	}
	o := &opener{}
	for _, path := range files {
		text, err := readKeyFile(path)
		if err != nil {
			return nil, cli.Errorf(cli.Usage, "--identity: %w", err)
		}
		identities, err := age.ParseIdentities(bytes.NewReader(text))
		if err != nil {
			return nil, cli.Errorf(cli.Usage, "--identity %s: no key of seal-keygen or age-keygen: %w",
				path, err)
		}
		o.identities = append(o.identities, identities...)
	}
	return o, nil
}

// open returns what is sealed in the value of a key. A value that is not sealed, or any without
// identities, is returned as it is, and false.
func (o *opener) open(key, value []byte) ([]byte, bool, error) {
	if o == nil || !isSealed(value) {
		return value, false, nil
	}
	plain, err := o.decrypt(key, value)
	var noMatch *age.NoIdentityMatchError
	switch {
	case errors.As(err, &noMatch):
		return nil, false, cli.Errorf(cli.NotAuthorised,
			"the value of %s is not sealed to any of the given identities", shown(key, false))
	case err != nil:
		return nil, false, fmt.Errorf("open the value of %s: %w", shown(key, false), err)
	}
	return plain, true, nil
}

func (o *opener) decrypt(key, value []byte) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(value), o.identities...)
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	rest, ok := bytes.CutPrefix(plain, []byte(sealMagic))
	if !ok || len(rest) < 4 || uint64(len(rest)-4) < uint64(binary.BigEndian.Uint32(rest)) {
		return nil, errNotOurSeal
	}
	n := 4 + int(binary.BigEndian.Uint32(rest))
	if !bytes.Equal(rest[4:n], key) {
		return nil, errOtherKey
	}
	return rest[n:], nil
}

// openKV opens what a key holds, in place. It returns whether it was sealed and is open now.
func (o *opener) openKV(held *kv.KV) (bool, error) {
	plain, opened, err := o.open(held.Key, held.Value)
	if err == nil {
		held.Value = plain
	}
	return opened, err
}

// openAll opens what it has the identity for; what is sealed to others stays sealed.
func (o *opener) openAll(held []kv.KV) error {
	for i := range held {
		if _, err := o.openKV(&held[i]); err != nil && cli.CodeOf(err) != cli.NotAuthorised {
			return err
		}
	}
	return nil
}

func sealKeygenCommand() *ucli.Command {
	return &ucli.Command{
		Name: "seal-keygen", Usage: "make a key pair for put --seal and get --identity",
		ArgsUsage: "FILE",
		Description: `Writes the identity, which opens, to FILE, for you alone, and the recipient, to
which others seal, to FILE.pub. They are keys of age (age-encryption.org); those of age-keygen will
do as well. The cluster knows nothing of them: a value whose identities are all lost is lost.`,
		Flags: []ucli.Flag{&ucli.BoolFlag{
			Name: "post-quantum", Usage: "withstands quantum computers; values grow by 2 KB " +
				"for each recipient instead of 200 bytes, and all recipients must be of this kind",
		}},
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 1, 1); err != nil {
				return err
			}
			identity, recipient, err := newSealKey(c.Bool("post-quantum"))
			if err != nil {
				return err
			}
			path := c.Args().First()
			if err := writeNew(path, 0o600, identity); err != nil {
				return err
			}
			if err := writeNew(path+".pub", 0o644, recipient); err != nil {
				return errors.Join(err, os.Remove(path))
			}
			made := struct {
				Identity  string `json:"identity_file"`
				Recipient string `json:"recipient"`
			}{path, recipient}
			return cli.Print(c, made, func(out io.Writer) { fmt.Fprintln(out, recipient) })
		},
	}
}

func newSealKey(postQuantum bool) (identity, recipient string, err error) {
	if postQuantum {
		key, err := age.GenerateHybridIdentity()
		if err != nil {
			return "", "", err
		}
		return key.String(), key.Recipient().String(), nil
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return "", "", err
	}
	return key.String(), key.Recipient().String(), nil
}

// writeNew writes a line to a file that does not exist yet.
func writeNew(path string, mode os.FileMode, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
