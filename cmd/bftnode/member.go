package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/bftraft/node"
	"tangaroa/bftraft/replica"
	"tangaroa/bftraft/store"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/cmd/internal/unlock"
	"tangaroa/crypto"
)

// member is a node with all that is handed to it.
type member struct {
	settings *clusterfile.Node
	file     *clusterfile.File
	told     []*bftraft.ChangeProof // what the settings say that became of the genesis,
	members  *bftraft.Membership    // and who is a member by that
	key      crypto.PrivateKey
	master   crypto.SecretKey // of the store; zero if it is not encrypted
	unlocked []byte           // the unlock key of the key file; none if it is not locked
	log      *slog.Logger
	store    *store.Badger
	node     *node.Node
	leak     *leak // nil unless it is an adversary that hands out what it hears
}

// identify reads genesis, changes and key and makes sure that they belong together. A key that has
// left the cluster does: the store that was made with it can still be looked at.
func identify(ctx context.Context, from *unlock.Sources, s *clusterfile.Node) (*member, error) {
	file, err := clusterfile.LoadGenesis(s.Genesis)
	if err != nil {
		return nil, cli.WithCode(cli.Usage, err)
	}
	m := &member{settings: s, file: file}
	if err := m.readChanges(); err != nil {
		return nil, cli.WithCode(cli.Usage, err)
	}
	keys, err := openKeys(ctx, from, s.Key)
	if err != nil {
		return nil, err
	}
	m.key, m.master, m.unlocked = keys.Signing, keys.Master, keys.Passphrase
	if n, is := m.members.Node(m.key.Public()); is && n.ID == s.ID ||
		m.members.Left(m.key.Public()) {
		return m, nil
	}
	by := s.Genesis
	if s.Changes != "" {
		by += " with " + s.Changes
	}
	return nil, cli.Errorf(cli.MustNotSign,
		"must not sign: the key %s is not that of node %d in %s; check id, key, genesis and changes",
		s.Key, s.ID, by)
}

// readChanges reads what became of the genesis, if the settings say where.
func (m *member) readChanges() error {
	gate, err := m.file.Gate(m.settings.Changes)
	if err != nil {
		return err
	}
	m.told, m.members = gate.Changes(), gate.Members()
	return nil
}

func (m *member) identity() store.Identity {
	return store.Identity{
		Cluster: m.file.Genesis.Hash(), Node: m.settings.ID, Key: m.key.Public(),
	}
}

// open opens the store and prepares the node. The caller runs it, which closes the store.
func (m *member) open(log *slog.Logger) error {
	m.log = log
	corrupt, err := m.corrupt()
	if err != nil {
		return err
	}
	log = log.With("node", m.settings.ID)
	o := m.storeOptions(log.Handler())
	o.Progress = func(at, last bftraft.Index) {
		log.Debug("checking the store", "index", at, "of", last)
	}
	if m.store, err = store.Open(m.settings.Data, o); err != nil {
		return storeError(m.settings, err)
	}
	if err := m.countStart(); err != nil {
		return errors.Join(err, m.store.Close())
	}
	cfg := m.config()
	cfg.Corrupt = corrupt
	if m.node, err = node.New(cfg); err != nil {
		if !errors.Is(err, replica.ErrLeft) {
			err = cli.WithCode(cli.Usage, err)
		}
		return errors.Join(storeError(m.settings, err), m.store.Close())
	}
	return nil
}

func (m *member) config() node.Config {
	s := m.settings
	cfg := node.DefaultConfig()
	cfg.Genesis, cfg.Changes, cfg.ID, cfg.Key = &m.file.Genesis, m.told, s.ID, m.key
	cfg.Storage, cfg.Machine, cfg.CheckOp = m.store,
		kv.NewRetaining(m.file.Genesis.Upkeep.History), kv.CheckOp
	cfg.Network.Security, cfg.Network.Transport = s.Security, s.Transport
	cfg.Network.Peers, cfg.Addresses = m.file.Peers(s.ID), s.Nodes
	own, _ := m.members.Node(m.key.Public())
	if listen := cmp.Or(s.Listen, own.Address, m.file.Address(s.ID)); listen != "" {
		cfg.Network.Listen = []string{listen}
	}
	if s.HTTP != "off" {
		cfg.HTTP = s.HTTP
	}
	cfg.Pprof, cfg.Logger = s.Pprof, m.log
	return cfg
}

// run is the node's life, until ctx ends or something fails.
func (m *member) run(ctx context.Context) error {
	err := m.node.Run(ctx)
	if m.leak != nil {
		m.leak.end()
	}
	if err != nil {
		err = storeError(m.settings, err)
	}
	if closing := m.store.Close(); err == nil && closing != nil {
		err = fmt.Errorf("close store: %w", closing)
	}
	return err
}

// newKey says how a node is enrolled again whose key must not be used any more.
func newKey(s *clusterfile.Node) string {
	return fmt.Sprintf("bftnode keygen a new key, then bftclient member replace --node %d "+
		"--key NEWKEY --address HOST:PORT", s.ID)
}

// storeError gives an error of the store, or of what is in it, its exit code and says what to do.
func storeError(s *clusterfile.Node, err error) error {
	advice := ""
	left := &node.LeftError{}
	switch {
	case errors.As(err, &left):
		return cli.Errorf(cli.TakenOut, "%w: %s", left, s.Key)
	case errors.Is(err, store.ErrNeedsKey), errors.Is(err, store.ErrWrongKey):
		return cli.Errorf(cli.Locked, "%w: %s: use the key file that the store was made with, or "+
			"its copy of after the last bftnode master-key rotate, not %s", err, s.Data, s.Key)
	case errors.Is(err, store.ErrNotEncrypted):
		return cli.Errorf(cli.Locked, "%w: %s: %s has a master key, so either bftnode encrypt was "+
			"stopped and must be given again, or another store was put there", err, s.Data, s.Key)
	case errors.Is(err, store.ErrLocked):
		return cli.Errorf(cli.InUse, "data directory %s is in use: %w", s.Data, err)
	case errors.Is(err, store.ErrMissing):
		advice = "if this node has never run, make its store with bftnode init; " +
			"if it has, it needs a new key: " + newKey(s)
	case errors.Is(err, store.ErrWrongIdentity):
		advice = "check data, id, key and genesis"
	case errors.Is(err, replica.ErrOrigin):
		return cli.Errorf(cli.Usage, "%w: %s: bftnode snapshot restore puts it there", err, s.Data)
	case errors.Is(err, replica.ErrAccused):
		return cli.Errorf(cli.MustNotSign, "must not sign: %w: another process uses its key, or its "+
			"disk was set back, so it needs a new key: %s", err, newKey(s))
	case errors.Is(err, replica.ErrForgot):
		return cli.Errorf(cli.MustNotSign, "must not sign: %w: its disk was set back, or another "+
			"process uses its key, so it needs a new key: %s", err, newKey(s))
	case store.MustNotSign(err):
		advice = "its disk has lost what it may have signed, so it needs a new key: " + newKey(s)
	default:
		return err
	}
	return cli.Errorf(cli.MustNotSign, "must not sign: %w: %s: %s", err, s.Data, advice)
}

// newLogger returns what the settings ask for.
func newLogger(s *clusterfile.Node, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		return nil, cli.Errorf(cli.Usage, "log-level: %w", err)
	}
	options := &slog.HandlerOptions{Level: level}
	switch s.LogFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, cli.Errorf(cli.Usage, "log-format: %q is neither text nor json", s.LogFormat)
}

// genesisSize warns where a cluster tolerates no more faults than a smaller one would.
func genesisSize(g *bftraft.Genesis) string {
	n := len(g.Voters)
	f := (n - 1) / 3
	switch {
	case n < 4:
		return fmt.Sprintf("%d nodes tolerate crashes of a minority but no liar; "+
			"4 would tolerate one", n)
	case n != 3*f+1:
		return fmt.Sprintf("%d nodes tolerate %d faulty ones, as %d do; the next step is %d",
			n, f, 3*f+1, 3*f+4)
	}
	return ""
}
