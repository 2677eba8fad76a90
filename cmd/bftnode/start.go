package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/bftraft/node"
	"tangaroa/bftraft/store"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/crypto"
	"tangaroa/p2p"
)

func startCommand() *ucli.Command {
	return &ucli.Command{
		Name: "start", Usage: "run a node until it is told to stop",
		Description: `Example:  bftnode start --dir /tmp/net/node1
SIGTERM or SIGINT stop it; a leader hands over first. Every setting can be given as a
flag, in the environment, or in ` + clusterfile.NodeName + `, in this order.

In a cluster whose genesis says "testnet", --adversary makes the node misbehave, in
several ways if given several times; bftnode adversaries lists them.`,
		Flags: settingFlags(),
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 0, 0); err != nil {
				return err
			}
			s, err := readSettings(c)
			if err != nil {
				return err
			}
			return start(c, s)
		},
	}
}

func start(c *ucli.Context, s *clusterfile.Node) error {
	log, err := newLogger(s, c.App.ErrWriter)
	if err != nil {
		return err
	}
	node.TuneProcess(1)
	p2p.LibraryLog(slog.DiscardHandler)
	m, err := identify(c.Context, sources(c, s), s)
	if err != nil {
		return err
	}
	if !m.master.IsZero() || len(m.unlocked) > 0 {
		if err := keepSecrets(); err != nil {
			return err
		}
	}
	if err := m.open(log); err != nil {
		return err
	}
	if s.Adversary != "" {
		log.Warn("this node misbehaves on purpose", "node", s.ID, "adversary", s.Adversary)
	}
	return m.run(c.Context)
}

func initCommand() *ucli.Command {
	return &ucli.Command{
		Name: "init", Usage: "make the empty store of a node that has never run",
		Description: `Example:  bftnode init --dir node1
A node whose store is gone must not be given an empty one under the same key: it would
forget what it signed, and count as a liar. Give it a new key instead. A node that joins a
cluster which runs needs --changes: see bftclient member list.

With --encrypt the store is encrypted; its master key is added to the key file. See
bftnode lock.`,
		Flags: append(settingFlags(), encryptFlag()),
		Action: keyAction(func(c *ucli.Context, s *clusterfile.Node) error {
			m, err := identify(c.Context, sources(c, s), s)
			if err != nil {
				return err
			}
			if m.members.Left(m.key.Public()) {
				return storeError(s, &node.LeftError{})
			}
			if m.file.Genesis.Origin != (bftraft.Origin{}) {
				return cli.Errorf(cli.Usage, "the cluster of %s begins with a saved state: use "+
					"bftnode snapshot restore", s.Genesis)
			}
			return m.makeStore(c.Bool("encrypt"), nil)
		}),
	}
}

// makeStore makes the store of a node that has none, encrypted if the key file has a master key or
// is to get one, and filled by a function, if there is one, before it is in its place.
func (m *member) makeStore(encrypt bool, fill func(dir string) error) error {
	s := m.settings
	if entries, err := os.ReadDir(s.Data); err == nil && len(entries) > 0 {
		return fmt.Errorf("%w: %s", store.ErrExists, s.Data)
	}
	if err := m.checkUnused(); err != nil {
		return err
	}
	if encrypt && m.master.IsZero() {
		var err error
		if m.master, err = addMaster(s.Key, m.unlocked, crypto.GenerateSecretKey()); err != nil {
			return err
		}
	}
	if fill == nil {
		return store.CreateEncrypted(s.Data, m.identity(), m.master)
	}
	fresh := filepath.Clean(s.Data) + ".restoring"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	err := store.CreateEncrypted(fresh, m.identity(), m.master)
	if err == nil {
		err = fill(fresh)
	}
	if err == nil {
		err = os.Remove(s.Data) // it may be there, and is empty then
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err == nil {
		err = os.Rename(fresh, s.Data)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	return nil
}

func encryptFlag() ucli.Flag {
	return &ucli.BoolFlag{Name: "encrypt", Usage: "encrypt what is stored"}
}

// addMaster puts a master key into a key file that has none, and returns the one that is there.
func addMaster(path string, unlocked []byte, fresh crypto.SecretKey) (crypto.SecretKey, error) {
	var master crypto.SecretKey
	err := crypto.ChangeKeyFile(path, func() ([]byte, error) { return unlocked, nil },
		func(k *crypto.KeyFile) error {
			if k.Master.IsZero() {
				k.Master = fresh
			}
			master = k.Master
			return nil
		})
	return master, err
}
