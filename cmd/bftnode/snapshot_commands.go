package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/bftraft/store"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/cmd/internal/statefile"
	"tangaroa/crypto"
)

func snapshotCommand() *ucli.Command {
	return &ucli.Command{
		Name: "snapshot", Usage: "save, verify and restore a certified state",
		Description: `Example:  bftnode snapshot save --dir /tmp/net/node1 backup.state`,
		Subcommands: []*ucli.Command{
			{
				Name: "save", ArgsUsage: "FILE",
				Usage: "write the newest certified state of a node that does not run to a new file",
				Description: `Example:  bftnode snapshot save --dir /tmp/net/node1 backup.state
The others go on meanwhile. The file proves itself to who has the genesis, and is not encrypted.`,
				Flags: settingFlags(), Action: snapshotSave,
			},
			{
				Name: "verify", ArgsUsage: "FILE",
				Usage: "judge a saved state, without any node",
				Description: `Example:  bftnode snapshot verify --genesis genesis.json backup.state
What is not a state that the cluster of the genesis has certified is exit code 6. Who had a say when
is in it. With --changes it goes by these changes as well: then keys that somebody has stolen from
nodes that had left prove nothing of a later time.`,
				Flags: []ucli.Flag{
					genesisFlag("genesis", "of the cluster that has certified it"),
					changesFlag("changes"),
				},
				Action: func(c *ucli.Context) error {
					_, text, err := verifyState(c, c.String("genesis"), c.String("changes"))
					if err != nil {
						return err
					}
					return cli.Print(c, text, text.print)
				},
			},
			{
				Name: "restore", ArgsUsage: "FILE",
				Usage: "make the store of a node of a new cluster that begins with a saved state",
				Description: `Example:  bftnode genesis --name prod2 --out new.json \
            --state backup.state --state-genesis old.json node*.json alice.json
          bftnode snapshot restore --dir node1 --state-genesis old.json backup.state
For when a cluster is lost for good. The new one has another genesis, with new keys of its nodes,
and so another name: no receipt, session or certificate of the old one means anything to it, and the
old one must never run again beside it. Every node of the new cluster must be given the state.`,
				Flags: append(settingFlags(), encryptFlag(),
					genesisFlag("state-genesis", "of the old cluster"), changesFlag("state-changes")),
				Action: snapshotRestore,
			},
		},
	}
}

func genesisFlag(name, usage string) ucli.Flag {
	return &ucli.StringFlag{Name: name, Required: true, Usage: usage + ", `FILE`"}
}

func changesFlag(name string) ucli.Flag {
	return &ucli.StringFlag{Name: name,
		Usage: "what is known to have become of that genesis, `FILE` of bftclient member list"}
}

func snapshotSave(c *ucli.Context) error {
	if err := cli.RequireArgs(c, 1, 1); err != nil {
		return err
	}
	m, err := readStore(c, func(m *member) error { return m.saveState(c.Args().First()) })
	if err != nil {
		return err
	}
	// What was written is judged, not what was meant.
	_, text, err := verifyState(c, m.settings.Genesis, m.settings.Changes)
	if err != nil {
		return err
	}
	return cli.Print(c, text, text.print)
}

// saveState writes the newest snapshot of the store to a file.
func (m *member) saveState(path string) error {
	v, err := bftraft.NewVerifier(crypto.ZIP215(), &m.file.Genesis)
	if err != nil {
		return cli.WithCode(cli.Usage, err)
	}
	if _, err := m.store.Load(); err != nil {
		return err
	}
	info, some := m.store.Snapshot()
	if !some || info.At.Index == 0 {
		return cli.Errorf(cli.Usage, "%s has no certified checkpoint yet", m.settings.Data)
	}
	manifest, err := certifiedManifest(v, info.Proof)
	if err != nil {
		return cli.WithCode(cli.BadProof, err)
	}
	err = statefile.Write(path, manifest, func(k int) ([]byte, error) {
		chunk, ok := m.store.SnapshotChunk(k)
		if !ok {
			return nil, errors.Join(errNotCertified, m.store.Err())
		}
		return chunk, nil
	})
	if errors.Is(err, statefile.ErrExists) {
		return cli.WithCode(cli.Usage, err)
	}
	return err
}

// stateText describes a saved state.
type stateText struct {
	snapshotText
	Cluster  crypto.Digest `json:"cluster"`
	Name     string        `json:"name"`
	Revision kv.Revision   `json:"revision"`
	Keys     uint64        `json:"keys"`
}

func (t *stateText) print(w io.Writer) {
	_ = cli.WriteTable(w, nil, [][]string{
		{"cluster", t.Name + " " + t.Cluster.Short()},
		{"state at", t.snapshotText.String()},
		{"holds", fmt.Sprintf("%d keys at revision %d", t.Keys, t.Revision)},
	})
}

// verifyState goes through the file in the first argument and describes it. It returns an error
// with its exit code if a cluster has not certified every byte of it, as far as its genesis and
// changes of it tell that are known.
func verifyState(
	c *ucli.Context, genesis, changes string,
) (*clusterfile.File, *stateText, error) {
	if err := cli.RequireArgs(c, 1, 1); err != nil {
		return nil, nil, err
	}
	file, err := clusterfile.LoadGenesis(genesis)
	if err != nil {
		return nil, nil, cli.WithCode(cli.Usage, err)
	}
	gate, err := file.Gate(changes)
	if err != nil {
		return nil, nil, cli.WithCode(cli.Usage, err)
	}
	text, err := readState(c.Args().First(), gate)
	if errors.Is(err, statefile.ErrNotCertified) || errors.Is(err, kv.ErrDamaged) {
		err = cli.WithCode(cli.BadProof, err)
	}
	if err != nil {
		return nil, nil, err
	}
	text.Name = file.Genesis.Name
	return file, text, nil
}

func readState(path string, v *bftraft.Verifier) (*stateText, error) {
	f, err := statefile.Open(path, v)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text := describeManifest(f.Manifest)
	machine := kv.New()
	if err := machine.Restore(f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	text.Bytes = info.Size()
	keys, err := countKeys(machine)
	return &stateText{
		snapshotText: *text, Cluster: v.Cluster(), Revision: machine.Revision(), Keys: keys,
	}, err
}

func countKeys(m *kv.Machine) (uint64, error) {
	query, err := kv.EncodeQuery(kv.Range{Span: kv.All(), CountOnly: true})
	if err != nil {
		return 0, err
	}
	result, err := kv.DecodeQueryResult(m.Query(query))
	if err != nil {
		return 0, err
	}
	return uint64(result.(kv.RangeResult).Count), nil
}

// origin names the state of a file as that with which a cluster begins.
func (t *stateText) origin() bftraft.Origin {
	return bftraft.Origin{
		Cluster: t.Cluster, At: bftraft.Position{Index: t.Index, Hash: t.Hash}, State: t.State,
	}
}

func snapshotRestore(c *ucli.Context) error {
	old, text, err := verifyState(c, c.String("state-genesis"), c.String("state-changes"))
	if err != nil {
		return err
	}
	m, err := identified(c)
	if err != nil {
		return err
	}
	if m.file.Genesis.Origin != text.origin() {
		return cli.Errorf(cli.Usage, "%s does not begin with the state in %s; make a genesis that "+
			"does with bftnode genesis --state", m.settings.Genesis, c.Args().First())
	}
	if err := m.makeStore(c.Bool("encrypt"), func(dir string) error {
		return m.fillStore(dir, c.Args().First(), old)
	}); err != nil {
		return err
	}
	fmt.Fprintf(c.App.ErrWriter, "A NEW CLUSTER: %s %s begins with the state of %s %s at index %d. "+
		"Receipts, sessions and\ncertificates of the old one mean nothing to it. The old one must "+
		"not run again.\n", m.file.Genesis.Name, m.file.Genesis.Hash().Short(), text.Name,
		text.Cluster.Short(), text.Index)
	return cli.Print(c, text, text.print)
}

// fillStore puts a saved state into a store that was just made.
func (m *member) fillStore(dir, path string, old *clusterfile.File) error {
	v, err := old.Gate("") // it was judged by all that is known
	if err != nil {
		return err
	}
	f, err := statefile.Open(path, v)
	if err != nil {
		return err
	}
	defer f.Close()
	o := m.storeOptions(warnings(io.Discard))
	st, err := store.Open(dir, o)
	if err != nil {
		return err
	}
	if _, err = st.Load(); err == nil {
		err = putState(st, f, bftraft.Position{Hash: m.file.Genesis.Hash()})
	}
	return errors.Join(err, st.Close())
}

// putState makes the state in a file that of a position in a store.
func putState(st *store.Badger, f *statefile.File, at bftraft.Position) error {
	if err := st.BeginSnapshot(at); err != nil {
		return err
	}
	for {
		k, chunk, err := f.Chunk()
		switch {
		case errors.Is(err, io.EOF):
			return st.FinishSnapshot(f.Manifest.Origin().Encode())
		case err != nil:
			return err
		case k < len(f.Manifest.Sessions):
			continue
		}
		if err := st.AddChunk(chunk); err != nil {
			return err
		}
	}
}
