package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft/store"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/cmd/internal/unlock"
	"tangaroa/crypto"
)

// sources is where the unlock key of a node's key file may come from.
func sources(c *ucli.Context, s *clusterfile.Node) *unlock.Sources {
	file := s.UnlockKeyFile
	if file == "" {
		file = s.PassphraseFile
	}
	return &unlock.Sources{
		File: file, Text: os.Getenv(passphraseVariable),
		Credentials: os.Getenv("CREDENTIALS_DIRECTORY"), Socket: s.UnlockSocket,
		Terminal: os.Stdin, Prompt: c.App.ErrWriter,
	}
}

// keyFileError gives an error about a key file its exit code and says what to do.
func keyFileError(path string, err error) error {
	switch {
	case errors.Is(err, unlock.ErrNone):
		return cli.Errorf(cli.Locked, "%s: %w: give it with --unlock-key-file or %s, as systemd "+
			"credential %s, through --unlock-socket, or at a terminal", path, err,
			passphraseVariable, unlock.CredentialName)
	case errors.Is(err, unlock.ErrUnreadable):
		return cli.Errorf(cli.Locked, "%w: put its file back, or name another with "+
			"--unlock-key-file", err)
	case errors.Is(err, crypto.ErrWrongPassphrase):
		return cli.Errorf(cli.Locked, "wrong unlock key: %w", err)
	case errors.Is(err, crypto.ErrKeyFileDamaged):
		return fmt.Errorf("%w: put a copy of it back, or give the node a new key", err)
	}
	return err
}

// changeKeyFile changes the node's key file, asking for its unlock key if it is locked.
func changeKeyFile(c *ucli.Context, s *clusterfile.Node, change func(*crypto.KeyFile) error) error {
	err := crypto.ChangeKeyFile(s.Key, nil, change)
	if errors.Is(err, crypto.ErrPassphraseNeeded) {
		from := sources(c, s)
		from.Socket = "" // is for a node that starts
		err = from.Try(c.Context, s.Key, func(key []byte) error {
			return crypto.ChangeKeyFile(s.Key, func() ([]byte, error) { return key, nil }, change)
		})
	}
	return keyFileError(s.Key, err)
}

// keyAction is the action of a command that has no arguments and works on a node's keys.
func keyAction(do func(*ucli.Context, *clusterfile.Node) error) ucli.ActionFunc {
	return func(c *ucli.Context) error {
		if err := cli.RequireArgs(c, 0, 0); err != nil {
			return err
		}
		s, err := readSettings(c)
		if err != nil {
			return err
		}
		return do(c, s)
	}
}

func lockFlags() []ucli.Flag {
	return append(settingFlags(),
		&ucli.StringFlag{Name: "out",
			Usage: "write the new unlock key to a new `FILE` instead of printing it"},
		&ucli.StringFlag{Name: "new-unlock-key-file",
			Usage: "take the new unlock key from `FILE` instead of making one"})
}

func lockCommand() *ucli.Command {
	return &ucli.Command{
		Name: "lock", Usage: "encrypt a node's keys, so that it starts with an unlock key only",
		Description: `Example:  bftnode lock --dir /tmp/net/node1
Prints the unlock key, once. From then on whoever has the disk of the stopped node has neither
its signing key nor what is in its encrypted store. A node that runs goes on. The unlock key is
given at the start: see docs/OPERATIONS.md.`,
		Flags:  lockFlags(),
		Action: keyAction(lock),
	}
}

func lock(c *ucli.Context, s *clusterfile.Node) error {
	err := relock(c, s, func(k *crypto.KeyFile) error {
		if len(k.Passphrase) > 0 {
			return cli.Errorf(cli.Failed, "%s is locked already; to change its unlock key: "+
				"bftnode unlock-key rotate", s.Key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.ErrWriter, "%s is locked.\n", s.Key)
	return nil
}

// rotateCommand is the command "KEY rotate", which changes one of a node's keys.
func rotateCommand(key, usage, options string, rotate *ucli.Command) *ucli.Command {
	example := fmt.Sprintf("Example:  bftnode %s rotate --dir /tmp/net/node1%s", key, options)
	rotate.Name, rotate.Description = "rotate", example+"\n"+rotate.Description
	return &ucli.Command{
		Name: key, Usage: usage, Description: example, Subcommands: []*ucli.Command{rotate},
	}
}

func unlockKeyCommand() *ucli.Command {
	return rotateCommand("unlock-key", "change the unlock key of a locked node",
		" --unlock-key-file old", &ucli.Command{
			Usage: "make a new unlock key; the old one opens the key file no more",
			Description: "The node may run. Copies of the key file that were made before still open " +
				"with the old key.",
			Flags: lockFlags(), Action: keyAction(rotateUnlockKey),
		})
}

func rotateUnlockKey(c *ucli.Context, s *clusterfile.Node) error {
	err := relock(c, s, func(k *crypto.KeyFile) error {
		if len(k.Passphrase) == 0 {
			return cli.Errorf(cli.Failed, "%s is not locked: see bftnode lock", s.Key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.ErrWriter, "%s has a new unlock key.\n", s.Key)
	return nil
}

// relock locks the key file with another unlock key, once allowed has nothing against it. The key
// is with its owner before anything is changed.
func relock(c *ucli.Context, s *clusterfile.Node, allowed func(*crypto.KeyFile) error) error {
	key, made, out := unlock.NewKey(), true, c.String("out")
	if path := c.String("new-unlock-key-file"); path != "" {
		made = false
		var err error
		if key, err = unlock.ReadFile(path); err != nil {
			return cli.WithCode(cli.Usage, err)
		}
	}
	answer := map[string]string{"key_file": s.Key}
	if out != "" {
		answer["unlock_key_file"] = out
	}
	shown := made && out == ""
	err := changeKeyFile(c, s, func(k *crypto.KeyFile) error {
		if err := allowed(k); err != nil {
			return err
		}
		if bytes.Equal(k.Passphrase, key) {
			return cli.Errorf(cli.Usage, "the new unlock key is the old one")
		}
		k.Passphrase = key
		if out != "" {
			return unlock.WriteNew(out, key)
		}
		if !shown {
			return nil
		}
		answer["unlock_key"] = string(key)
		return cli.Print(c, answer, func(w io.Writer) {
			fmt.Fprintf(w, "%s\n", key)
		})
	})
	if err != nil || shown {
		return err
	}
	return cli.Print(c, answer, nothing)
}

// nothing is what people read on standard output of a command that answers in JSON only.
func nothing(io.Writer) {}

func unlockCommand() *ucli.Command {
	return &ucli.Command{
		Name: "unlock", Usage: "bring the unlock key to a node that waits for it",
		Description: `Examples: bftnode unlock --dir /tmp/net/node1 --unlock-socket /run/node1.sock
          bftnode unlock --dir /tmp/net/node1 --for-good
The first is for a node that was started with the same --unlock-socket and waits there. With
--for-good the node's keys are written in the clear, and it starts without an unlock key.`,
		Flags: append(settingFlags(), &ucli.BoolFlag{Name: "for-good",
			Usage: "decrypt the key file, the reverse of lock"}),
		Action: keyAction(func(c *ucli.Context, s *clusterfile.Node) error {
			if c.Bool("for-good") {
				return unlockForGood(c, s)
			}
			return bringKey(c, s)
		}),
	}
}

func unlockForGood(c *ucli.Context, s *clusterfile.Node) error {
	err := changeKeyFile(c, s, func(k *crypto.KeyFile) error {
		if len(k.Passphrase) == 0 {
			return cli.Errorf(cli.Failed, "%s is not locked", s.Key)
		}
		k.Passphrase = nil
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.ErrWriter, "%s is not locked any more.\n", s.Key)
	return cli.Print(c, map[string]string{"key_file": s.Key}, nothing)
}

// bringKey finds the key where a node would, but for the socket, and sends it to the one there.
func bringKey(c *ucli.Context, s *clusterfile.Node) error {
	socket := s.UnlockSocket
	if socket == "" {
		return cli.Errorf(cli.Usage, "unlock needs --unlock-socket, where the node waits, "+
			"or --for-good")
	}
	from := sources(c, s)
	from.Socket = ""
	err := from.Try(c.Context, s.Key, func(key []byte) error {
		err := unlock.Send(c.Context, socket, key)
		if errors.Is(err, unlock.ErrRefused) {
			return fmt.Errorf("%w: %w", err, crypto.ErrWrongPassphrase)
		}
		return err
	})
	if err != nil {
		return keyFileError(s.Key, err)
	}
	answer := map[string]string{"key_file": s.Key, "unlock_socket": socket}
	return cli.Print(c, answer, nothing)
}

func masterKeyCommand() *ucli.Command {
	return rotateCommand("master-key", "change the master key of a node's encrypted store", "",
		&ucli.Command{
			Usage: "make a new master key, for a node that does not run",
			Description: `The data keys are wrapped by the new master key; what is stored is
not touched, so this is quick. It can be stopped anywhere. Copies of the key file do not open the
store any more.`,
			Flags: settingFlags(), Action: keyAction(rotateMaster),
		})
}

// encryptedMember identifies a node whose store is encrypted.
func encryptedMember(c *ucli.Context, s *clusterfile.Node) (*member, error) {
	m, err := identify(c.Context, sources(c, s), s)
	if err == nil && m.master.IsZero() {
		err = cli.Errorf(cli.Failed, "%s has no master key: its store is not encrypted", s.Key)
	}
	return m, err
}

func rotateMaster(c *ucli.Context, s *clusterfile.Node) error {
	m, err := encryptedMember(c, s)
	if err != nil {
		return err
	}
	next := crypto.GenerateSecretKey()
	install := func() error {
		ask := func() ([]byte, error) { return m.unlocked, nil }
		return crypto.ChangeKeyFile(s.Key, ask, func(k *crypto.KeyFile) error {
			if k.Master.IsZero() || k.Master.Name() != m.master.Name() {
				return errors.New("another process has changed the key file; try again")
			}
			k.Master = next
			return nil
		})
	}
	o := m.storeOptions(slog.DiscardHandler)
	if err := store.RotateMaster(s.Data, o, next, install); err != nil {
		return storeError(s, err)
	}
	fmt.Fprintf(c.App.ErrWriter, "The store in %s has a new master key, in %s.\n", s.Data, s.Key)
	return cli.Print(c, map[string]string{"data": s.Data, "key_file": s.Key}, nothing)
}

func encryptCommand() *ucli.Command {
	return &ucli.Command{
		Name: "encrypt", Usage: "encrypt the store of a node that does not run",
		Description: `Example:  bftnode encrypt --dir /tmp/net/node1
The store is copied, so there must be room for it twice. It can be stopped anywhere and given
again; until it has ended the node may refuse to start. The master key is added to the key file.`,
		Flags: settingFlags(), Action: keyAction(encrypt),
	}
}

func encrypt(c *ucli.Context, s *clusterfile.Node) error {
	m, err := identify(c.Context, sources(c, s), s)
	if err != nil {
		return err
	}
	o := m.storeOptions(warnings(c.App.ErrWriter))
	if o.Master.IsZero() {
		o.Master = crypto.GenerateSecretKey()
	}
	install := func() error {
		installed, err := addMaster(s.Key, m.unlocked, o.Master)
		if err == nil && installed.Name() != o.Master.Name() {
			err = errors.New("another process has changed the key file; try again")
		}
		if err != nil {
			return err
		}
		return m.recount()
	}
	if err := store.Encrypt(s.Data, o, install); err != nil {
		return storeError(s, err)
	}
	fmt.Fprintf(c.App.ErrWriter, "The store in %s is encrypted. Its keys: bftnode lock\n", s.Data)
	return cli.Print(c, map[string]string{"data": s.Data, "key_file": s.Key}, nothing)
}

func dataKeyCommand() *ucli.Command {
	return rotateCommand("data-key", "change the data key of a node's encrypted store", " --rewrite",
		&ucli.Command{
			Usage: "make a new data key, for a node that does not run",
			Description: `What is stored from then on is encrypted with the new key. With
--rewrite all that is stored is encrypted anew, and the old keys are forgotten. It can be stopped
anywhere.`,
			Flags: append(settingFlags(), &ucli.BoolFlag{Name: "rewrite",
				Usage: "encrypt all that is stored anew"}),
			Action: keyAction(rotateDataKey),
		})
}

func rotateDataKey(c *ucli.Context, s *clusterfile.Node) error {
	m, err := encryptedMember(c, s)
	if err != nil {
		return err
	}
	if m.store, err = store.Open(s.Data, m.storeOptions(warnings(c.App.ErrWriter))); err != nil {
		return storeError(s, err)
	}
	if _, err = m.store.Load(); err == nil {
		err = m.store.RotateDataKey(c.Bool("rewrite"))
	}
	if err = errors.Join(err, m.store.Close()); err != nil {
		return storeError(s, err)
	}
	fmt.Fprintf(c.App.ErrWriter, "The store in %s has a new data key.\n", s.Data)
	answer := map[string]any{"data": s.Data, "rewritten": c.Bool("rewrite")}
	return cli.Print(c, answer, nothing)
}

// warnings hands on what an operator should know.
func warnings(w io.Writer) slog.Handler {
	return slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn})
}

// storeOptions are those that every command opens the node's store with.
func (m *member) storeOptions(log slog.Handler) store.Options {
	return store.Options{Identity: m.identity(), Master: m.master, Logger: slog.New(log)}
}

// keepSecrets keeps the process from leaving its memory, with the keys in it, in a core dump. A
// limit of one byte ends dumps to files and, unlike none, those to programs (core(5)).
func keepSecrets() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{Cur: 1, Max: 1}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return nil
}

// openKeys reads a key file, locked or not.
func openKeys(ctx context.Context, from *unlock.Sources, path string) (crypto.KeyFile, error) {
	k, err := from.Open(ctx, path)
	if err != nil {
		err = fmt.Errorf("read private key: %w", keyFileError(path, err))
	}
	return k, err
}
