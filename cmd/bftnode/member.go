package main

import (
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
	key      crypto.PrivateKey
	master   crypto.SecretKey // of the store; zero if it is not encrypted
	unlocked []byte           // the unlock key of the key file; none if it is not locked
	log      *slog.Logger
	store    *store.Badger
	node     *node.Node
	leak     *leak // nil unless it is an adversary that hands out what it hears
}

// identify reads genesis and key and makes sure that the two belong together.
func identify(ctx context.Context, from *unlock.Sources, s *clusterfile.Node) (*member, error) {
	file, err := clusterfile.LoadGenesis(s.Genesis)
	if err != nil {
		return nil, cli.WithCode(cli.Usage, err)
	}
	keys, err := openKeys(ctx, from, s.Key)
	if err != nil {
		return nil, err
	}
	m := &member{
		settings: s, file: file, key: keys.Signing, master: keys.Master, unlocked: keys.Passphrase,
	}
	for _, v := range file.Genesis.Voters {
		if v.ID == s.ID && v.Key == m.key.Public() {
			return m, nil
		}
	}
	return nil, cli.Errorf(cli.MustNotSign,
		"must not sign: the key %s is not that of node %d in %s; check id, key and genesis",
		s.Key, s.ID, s.Genesis)
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
	cfg := m.config()
	cfg.Corrupt = corrupt
	if m.node, err = node.New(cfg); err != nil {
		return cli.WithCode(cli.Usage, errors.Join(err, m.store.Close()))
	}
	return nil
}

func (m *member) config() node.Config {
	s := m.settings
	cfg := node.DefaultConfig()
	cfg.Genesis, cfg.ID, cfg.Key = &m.file.Genesis, s.ID, m.key
	cfg.Storage, cfg.Machine, cfg.CheckOp = m.store,
		kv.NewRetaining(m.file.Genesis.Upkeep.History), kv.CheckOp
	cfg.Network.Security, cfg.Network.Transport = s.Security, s.Transport
	cfg.Network.Peers = m.file.Peers(s.ID, s.Nodes)
	listen := s.Listen
	if listen == "" {
		listen = m.file.Address(s.ID)
	}
	if listen != "" {
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

// storeError gives an error of the store its exit code and says what to do.
func storeError(s *clusterfile.Node, err error) error {
	advice := ""
	switch {
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
			"if it has, it needs a new key"
	case errors.Is(err, store.ErrWrongIdentity):
		advice = "check data, id, key and genesis"
	case errors.Is(err, replica.ErrOrigin):
		return cli.Errorf(cli.Usage, "%w: %s: bftnode snapshot restore puts it there", err, s.Data)
	case errors.Is(err, replica.ErrAccused):
		return cli.Errorf(cli.MustNotSign, "must not sign: %w: another process uses its key, or its "+
			"disk was set back; give node %d a new key", err, s.ID)
	case store.MustNotSign(err):
		advice = "its disk has lost what it may have signed, so it needs a new key"
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
