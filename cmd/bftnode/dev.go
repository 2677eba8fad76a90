package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/bftraft/node"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/p2p"
)

func devCommand() *ucli.Command {
	return &ucli.Command{
		Name: "dev", Usage: "run a whole cluster in this process, to play with",
		Description: `Example:  bftnode dev
Prints the client's commands to paste. Without --dir all is gone afterwards; with it the
cluster goes on where it was.`,
		Flags: []ucli.Flag{
			&ucli.IntFlag{Name: "nodes", Value: 4, Usage: "how many, `N`"},
			&ucli.StringFlag{Name: "dir",
				Usage: "folder of the cluster; a temporary one by default, `DIR`"},
			&ucli.StringFlag{Name: "log-level", Value: defaultLogLevel,
				Usage: "debug, info, warn or error, `LEVEL`"},
		},
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 0, 0); err != nil {
				return err
			}
			dir := c.String("dir")
			if dir == "" {
				var err error
				if dir, err = os.MkdirTemp("", "bftnode-dev-"); err != nil {
					return fmt.Errorf("make a temporary folder: %w", err)
				}
				defer os.RemoveAll(dir)
			}
			return runDev(c, dir)
		},
	}
}

func runDev(c *ucli.Context, dir string) error {
	if _, err := os.Stat(filepath.Join(dir, clusterfile.GenesisName)); err != nil {
		l := layout{
			dir: dir, name: "dev", nodes: c.Int("nodes"), clients: 1, host: "127.0.0.1",
			upkeep: bftraft.DefaultUpkeep(),
		}
		if err := l.choosePorts(0); err != nil {
			return err
		}
		if err := l.write(); err != nil {
			return err
		}
	}
	p2p.LibraryLog(slog.DiscardHandler)
	members, err := openAll(c, dir)
	if err != nil {
		return err
	}
	node.TuneProcess(len(members))
	ctx, cancel := context.WithCancel(c.Context)
	defer cancel()
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			defer cancel() // one that ends, ends all
			errs[i] = m.run(ctx)
		})
	}
	announce(ctx, c, dir, members)
	wg.Wait()
	return errors.Join(errs...)
}

// openAll prepares all members; those that are open are closed if one cannot be.
func openAll(c *ucli.Context, dir string) ([]*member, error) {
	file, err := clusterfile.LoadGenesis(filepath.Join(dir, clusterfile.GenesisName))
	if err != nil {
		return nil, cli.WithCode(cli.Usage, err)
	}
	var members []*member
	for _, v := range file.Genesis.Voters {
		m, err := openOne(c, filepath.Join(dir, nodeName(v.ID), clusterfile.NodeName))
		if err != nil {
			for _, m := range members {
				err = errors.Join(err, m.store.Close())
			}
			return nil, err
		}
		members = append(members, m)
	}
	return members, nil
}

func openOne(c *ucli.Context, path string) (*member, error) {
	s, err := clusterfile.LoadNode(path)
	if err != nil {
		return nil, cli.WithCode(cli.Usage, err)
	}
	for _, known := range settings {
		if field := known.field(s); *field == "" {
			*field = known.fallback
		}
	}
	s.LogLevel = c.String("log-level")
	log, err := newLogger(s, c.App.ErrWriter)
	if err != nil {
		return nil, err
	}
	m, err := identify(c.Context, sources(c, s), s)
	if err != nil {
		return nil, err
	}
	return m, m.open(log)
}

// announce prints the commands once all have started.
func announce(ctx context.Context, c *ucli.Context, dir string, members []*member) {
	for _, m := range members {
		select {
		case <-m.node.Started():
		case <-ctx.Done():
			return
		}
	}
	w := c.App.Writer
	fmt.Fprintf(w, "%d nodes are running. In another terminal:\n", len(members))
	for _, s := range clientCommands(dir) {
		fmt.Fprintln(w, "  "+s)
	}
	fmt.Fprintf(w, "Status and metrics: http://%s/status\nStop with Ctrl-C.\n",
		members[0].node.HTTPAddr())
}
