package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/cmd/internal/unlock"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// identity is the public half of a key: what is carried from the machine where it was made to
// the one where the genesis is put together. It has either an ID, for a node, or a Name.
type identity struct {
	ID      crypto.NodeID `json:"id,omitempty"`
	Address string        `json:"address,omitempty"`
	Name    string        `json:"name,omitempty"`
	Role    string        `json:"role,omitempty"` // of a named one: client or admin
	Key     string        `json:"key"`
}

const (
	roleClient = "client"
	roleAdmin  = "admin"
)

func keygenCommand() *ucli.Command {
	return &ucli.Command{
		Name: "keygen", Usage: "make a key, and print its public identity as JSON",
		Description: `Examples: bftnode keygen --id 1 --address 10.0.0.1:7100 --out key > node1.json
          bftnode keygen --name alice --out alice.key > alice.json
          bftnode keygen --name root --admin --out root.key > root.json
The identities of all go to bftnode genesis. The key never leaves its file.`,
		Flags: []ucli.Flag{
			&ucli.StringFlag{Name: "out", Required: true, Usage: "a new private `FILE`"},
			&ucli.UintFlag{Name: "id", Usage: "of a node, 1 to 64, `NUMBER`"},
			&ucli.StringFlag{Name: "address", Usage: "where the node is reached, `HOST:PORT`"},
			&ucli.StringFlag{Name: "name", Usage: "of a client or administrator, `NAME`"},
			&ucli.StringFlag{Name: "role", Value: roleClient,
				Usage: "of a named one: client or admin, `ROLE`"},
			&ucli.BoolFlag{Name: "admin", Usage: "of an administrator: the same as --role admin"},
			&ucli.StringFlag{Name: "passphrase-file", EnvVars: []string{env("passphrase-file")},
				Usage: "encrypt the key with what is in `FILE`"},
		},
		Action: keygen,
	}
}

func keygen(c *ucli.Context) error {
	if err := cli.RequireArgs(c, 0, 0); err != nil {
		return err
	}
	id := identity{Name: c.String("name"), Address: c.String("address")}
	switch number := c.Uint("id"); {
	case (number == 0) == (id.Name == ""):
		return cli.Errorf(cli.Usage, "give either --id, for a node, or --name, for a client")
	case number > uint(crypto.MaxNodeID):
		return cli.Errorf(cli.Usage, "id: %w", crypto.ErrBadID)
	case number > 0:
		id.ID = crypto.NodeID(number)
	default:
		id.Role = c.String("role")
	}
	if c.Bool("admin") {
		if id.ID != 0 || c.IsSet("role") && id.Role != roleAdmin {
			return cli.Errorf(cli.Usage, "--admin is for an administrator: give it with --name, and "+
				"with no other --role")
		}
		id.Role = roleAdmin
	}
	if id.Role != "" && id.Role != roleClient && id.Role != roleAdmin {
		return cli.Errorf(cli.Usage, "role %q is neither client nor admin", id.Role)
	}
	var passphrase []byte
	if file := c.String("passphrase-file"); file != "" {
		var err error
		if passphrase, err = unlock.ReadFile(file); err != nil {
			return cli.WithCode(cli.Usage, err)
		}
	}
	key := crypto.GenerateKey()
	if err := crypto.WriteKeyFile(c.String("out"), key, passphrase); err != nil {
		return err
	}
	id.Key = key.Public().String()
	return cli.WriteJSON(c.App.Writer, id)
}

func genesisCommand() *ucli.Command {
	return &ucli.Command{
		Name: "genesis", Usage: "put public identities together to a genesis",
		ArgsUsage: "IDENTITY.json...",
		Description: `Example:  bftnode genesis --name prod --out genesis.json node*.json alice.json \
            root.json
Everybody must use the same file: its hash is the cluster's id. It is printed. Who is in the cluster
is changed by the administrators that it names: without any, that can never be changed.`,
		Flags: append(upkeepFlags(),
			&ucli.StringFlag{Name: "out", Required: true, Usage: "a new `FILE`"},
			&ucli.StringFlag{Name: "name", Required: true, Usage: "of the cluster, `NAME`"},
			&ucli.BoolFlag{Name: "testnet", Usage: "allow nodes to misbehave on purpose"},
			&ucli.StringFlag{Name: "state", Usage: "begin with a saved state, see bftnode snapshot " +
				"restore, `FILE`"},
			&ucli.StringFlag{Name: "state-genesis",
				Usage: "genesis of the cluster that has certified it, `FILE`"},
			changesFlag("state-changes"),
			&ucli.IntFlag{Name: "admin-quorum",
				Usage: "how many administrators decide; all by default, `M`"}),
		Action: genesis,
	}
}

// upkeepFlags say what keeps the members' disks and memories within bounds.
func upkeepFlags() []ucli.Flag {
	u := bftraft.DefaultUpkeep()
	return []ucli.Flag{
		&ucli.Uint64Flag{Name: "checkpoint-entries", Value: u.CheckpointEntries,
			Usage: "how much log there is from one checkpoint to the next, 0 for no bound, `N`"},
		&ucli.Uint64Flag{Name: "checkpoint-bytes", Value: u.CheckpointBytes,
			Usage: "the same in bytes, whichever comes first; both 0 keep all of the log, `BYTES`"},
		&ucli.Uint64Flag{Name: "history", Value: u.History,
			Usage: "how many revisions of the state stay readable, 0 for all, `N`"},
	}
}

func upkeepOf(c *ucli.Context) bftraft.Upkeep {
	return bftraft.Upkeep{
		CheckpointEntries: c.Uint64("checkpoint-entries"),
		CheckpointBytes:   c.Uint64("checkpoint-bytes"), History: c.Uint64("history"),
	}
}

func genesis(c *ucli.Context) error {
	if c.NArg() == 0 {
		return cli.Errorf(cli.Usage, "genesis needs the identities of its members as arguments")
	}
	f := &clusterfile.File{Genesis: bftraft.Genesis{
		Name: c.String("name"), Testnet: c.Bool("testnet"), Upkeep: upkeepOf(c),
	}}
	g := &f.Genesis
	rand.Read(g.Nonce[:])
	if err := originOf(c, g); err != nil {
		return err
	}
	for _, path := range c.Args().Slice() {
		if err := enrol(f, path); err != nil {
			return cli.Errorf(cli.Usage, "%s: %w", path, err)
		}
	}
	sortVoters(g.Voters)
	if g.AdminQuorum = len(g.Admins); c.IsSet("admin-quorum") {
		g.AdminQuorum = c.Int("admin-quorum")
	}
	if err := clusterfile.SaveGenesis(c.String("out"), f); err != nil {
		return cli.WithCode(cli.Usage, err)
	}
	size := quorumcert.ForNodes(len(g.Voters))
	answer := map[string]any{
		"cluster": g.Hash().String(), "nodes": size.N, "faults": size.F, "quorum": size.Q,
		"clients": len(g.Clients), "admins": len(g.Admins),
	}
	if warning := warn(c, g); warning != "" {
		answer["warning"] = warning
	}
	return cli.Print(c, answer, func(w io.Writer) {
		fmt.Fprintf(w, "cluster %s\n%d nodes, of which %d may lie; quorum %d; %d clients\n",
			g.Hash(), size.N, size.F, size.Q, len(g.Clients))
	})
}

// warn prints the warnings about a genesis, and returns them as one.
func warn(c *ucli.Context, g *bftraft.Genesis) string {
	warnings := genesisWarnings(g)
	for _, warning := range warnings {
		fmt.Fprintln(c.App.ErrWriter, "warning:", warning)
	}
	return strings.Join(warnings, "; ")
}

// genesisWarnings says what is allowed and probably not meant.
func genesisWarnings(g *bftraft.Genesis) (list []string) {
	if size := genesisSize(g); size != "" {
		list = append(list, size)
	}
	if len(g.Admins) == 0 {
		list = append(list, "it names no administrator: nodes, clients and keys can never be changed")
	}
	return list
}

// originOf sets the state that the cluster is to begin with.
func originOf(c *ucli.Context, g *bftraft.Genesis) error {
	switch {
	case c.String("state") == "" && c.String("state-genesis") == "":
		return nil
	case c.String("state") == "" || c.String("state-genesis") == "":
		return cli.Errorf(cli.Usage, "--state needs --state-genesis, and the other way round")
	}
	old, err := clusterfile.LoadGenesis(c.String("state-genesis"))
	if err != nil {
		return cli.WithCode(cli.Usage, err)
	}
	gate, err := old.Gate(c.String("state-changes"))
	if err != nil {
		return cli.WithCode(cli.Usage, err)
	}
	text, err := readState(c.String("state"), gate)
	if err != nil {
		return cli.WithCode(cli.BadProof, err)
	}
	g.Origin = text.origin()
	fmt.Fprintf(c.App.ErrWriter, "A NEW CLUSTER that begins with the state of %s %s at index %d.\n",
		old.Genesis.Name, text.Cluster.Short(), text.Index)
	return nil
}

// enrol adds what an identity file names.
func enrol(f *clusterfile.File, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var id identity
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&id); err != nil {
		return err
	}
	key, err := crypto.ParsePublicKey(id.Key)
	if err != nil {
		return err
	}
	g := &f.Genesis
	switch {
	case id.ID != 0 && id.Name == "":
		g.Voters = append(g.Voters, quorumcert.Voter{ID: id.ID, Key: key})
		if id.Address != "" {
			f.Addresses = append(f.Addresses,
				clusterfile.NodeAddress{ID: id.ID, Address: id.Address})
		}
	case id.Name != "" && id.ID == 0 && id.Role == roleAdmin:
		g.Admins = append(g.Admins, bftraft.Enrolled{Name: id.Name, Key: key})
	case id.Name != "" && id.ID == 0 && id.Role == roleClient:
		g.Clients = append(g.Clients, bftraft.Enrolled{Name: id.Name, Key: key})
	default:
		return fmt.Errorf("an identity has either an id, or a name and a role")
	}
	return nil
}
