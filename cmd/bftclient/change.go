package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
)

func changeCommand() *ucli.Command {
	return &ucli.Command{
		Name: "change", Usage: "enrol and remove clients, administrators and nodes, and set roles",
		Description: `A change is drafted, signed by as many administrators as the genesis demands (see
sign-change, which needs no network), and applied:

  bftclient change draft --add bob.json --remove alice --out change.json
  bftclient sign-change --key root.key change.json
  bftclient change apply change.json

Each change follows the one before: of two that were drafted at once, one must be drafted anew.
For nodes alone the commands of bftclient member are shorter.`,
		Subcommands: []*ucli.Command{draftCommand(), applyCommand()},
	}
}

func draftCommand() *ucli.Command {
	return &ucli.Command{
		Name: "draft", Usage: "write down a change of what is in force now, for administrators to sign",
		Description: `Example:  bftclient change draft --out change.json --promote 5 --remove-node 2
Identities are what bftnode keygen prints. A NAME may also be a public key, and so may the ID of a
node. A change that promotes learners or removes voters comes into force as soon as those that would
vote are ready, and is closed by the leader.`,
		Flags: []ucli.Flag{
			&ucli.StringFlag{Name: "out", Required: true, Usage: "a new `FILE`"},
			&ucli.StringSliceFlag{Name: "add", Usage: "enrol a client or administrator, `IDENTITY.json`"},
			&ucli.StringFlag{Name: "role", Value: bftraft.RoleWrite.String(),
				Usage: "of clients that are added: read, write or admin, `ROLE`"},
			&ucli.StringSliceFlag{Name: "remove", Usage: "take a client away for ever, `NAME`"},
			&ucli.StringSliceFlag{Name: "remove-admin", Usage: "take an administrator away, `NAME`"},
			&ucli.StringSliceFlag{Name: "set-role", Usage: "give a client another role, `NAME=ROLE`"},
			&ucli.UintFlag{Name: "admin-quorum",
				Usage: "how many administrators decide from then on, `M`"},
			&ucli.StringSliceFlag{Name: "add-node",
				Usage: "let a node follow the log as a learner, `PUB=HOST:PORT`"},
			&ucli.StringSliceFlag{Name: "set-address",
				Usage: "say where a node is to be reached now, `ID=HOST:PORT`"},
			&ucli.StringSliceFlag{Name: "promote", Usage: "make a learner a voter, `ID`"},
			&ucli.StringSliceFlag{Name: "remove-node", Usage: "take a node away for ever, `ID`"},
			&ucli.BoolFlag{Name: "roll-back",
				Usage: "give up the change of the voters that is not closed yet, and nothing else"},
		},
		Action: draft,
	}
}

// refuseOld refuses to write over a file, before anything is done.
func refuseOld(path string) error {
	if _, err := os.Stat(path); path != "" && err == nil {
		return cli.Errorf(cli.Usage, "%s exists already", path)
	}
	return nil
}

func draft(c *ucli.Context) error {
	if err := cli.RequireArgs(c, 0, 0); err != nil {
		return err
	}
	if err := refuseOld(c.String("out")); err != nil {
		return err
	}
	s, err := connect(c, nil)
	if err != nil {
		return err
	}
	defer s.close()
	members, err := s.Follow(s.ctx)
	if err != nil {
		return explain(err)
	}
	ch := &bftraft.Change{Number: members.Number + 1, Replaces: members.At}
	if ch.Steps, err = stepsOf(c, members); err != nil {
		return cli.WithCode(cli.Usage, err)
	}
	if _, err := members.After(ch); err != nil {
		return cli.WithCode(cli.Usage, err)
	}
	cluster := s.Verifier().Cluster()
	if err := writeChangeFile(c.String("out"), cluster, ch); err != nil {
		return err
	}
	f := newChangeFile(cluster, ch)
	return cli.Print(c, f, func(w io.Writer) {
		f.print(w)
		fmt.Fprintf(w, "%d of %d administrators must sign: bftclient sign-change --key FILE %s\n",
			members.Quorum, len(members.Admins), c.String("out"))
	})
}

// stepsOf returns the steps that flags ask for. Removals come first, so that names become free.
func stepsOf(c *ucli.Context, m *bftraft.Membership) ([]bftraft.ChangeStep, error) {
	var steps []bftraft.ChangeStep
	for _, name := range c.StringSlice("remove") {
		key, err := keyOfClient(m, name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, bftraft.ChangeStep{Kind: bftraft.RemoveClient, Key: key})
	}
	for _, name := range c.StringSlice("remove-admin") {
		key, err := keyOf("administrator", m.Admins, name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, bftraft.ChangeStep{Kind: bftraft.RemoveAdmin, Key: key})
	}
	for _, text := range c.StringSlice("set-role") {
		name, role, _ := strings.Cut(text, "=")
		key, err := keyOfClient(m, name)
		if err != nil {
			return nil, err
		}
		step := bftraft.ChangeStep{Kind: bftraft.SetRole, Key: key}
		if step.Role, err = roleOf(role); err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	for _, path := range c.StringSlice("add") {
		step, err := stepToAdd(path, c.String("role"))
		if err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	if quorum := c.Uint("admin-quorum"); quorum > 0 {
		if quorum > bftraft.MaxChanges {
			return nil, fmt.Errorf("--admin-quorum %d is too high", quorum)
		}
		steps = append(steps,
			bftraft.ChangeStep{Kind: bftraft.SetQuorum, Quorum: uint16(quorum)})
	}
	nodes, err := stepsOfNodes(c, m)
	if err != nil {
		return nil, err
	}
	steps = append(steps, nodes...)
	if c.Bool("roll-back") {
		if len(steps) > 0 {
			return nil, errors.New("--roll-back is a change of its own")
		}
		steps = []bftraft.ChangeStep{{Kind: bftraft.RollBack}}
	}
	if len(steps) == 0 {
		return nil, errors.New("change what? see bftclient change draft --help")
	}
	return steps, nil
}

// stepsOfNodes returns the steps about nodes that flags ask for. Nodes come before those that were
// there are promoted, and go last.
func stepsOfNodes(c *ucli.Context, m *bftraft.Membership) ([]bftraft.ChangeStep, error) {
	var steps []bftraft.ChangeStep
	for _, text := range c.StringSlice("add-node") {
		key, address, _ := strings.Cut(text, "=")
		step := bftraft.ChangeStep{Kind: bftraft.AddNode, Name: address}
		var err error
		if step.Key, err = crypto.ParsePublicKey(key); err == nil {
			err = checkNode(step.Key, address, false)
		}
		if err != nil {
			return nil, fmt.Errorf("--add-node %s: %w", text, err)
		}
		steps = append(steps, step)
	}
	for _, of := range []struct {
		flag string
		kind bftraft.StepKind
	}{
		{"set-address", bftraft.SetAddress}, {"promote", bftraft.Promote},
		{"remove-node", bftraft.RemoveNode},
	} {
		for _, text := range c.StringSlice(of.flag) {
			name, address := text, ""
			if of.kind == bftraft.SetAddress {
				name, address, _ = strings.Cut(text, "=")
			}
			n, err := nodeNamed(m, name)
			if err == nil && of.kind == bftraft.SetAddress {
				err = checkNode(n.Key, address, false)
			}
			if err != nil {
				return nil, fmt.Errorf("--%s %s: %w", of.flag, text, err)
			}
			steps = append(steps, bftraft.ChangeStep{Kind: of.kind, Key: n.Key, Name: address})
		}
	}
	return steps, nil
}

func roleOf(text string) (bftraft.Role, error) {
	role, ok := bftraft.ParseRole(text)
	if !ok {
		return 0, fmt.Errorf("role %q is none of read, write, admin", text)
	}
	return role, nil
}

func keyOfClient(m *bftraft.Membership, name string) (crypto.PublicKey, error) {
	list := make([]bftraft.Enrolled, len(m.Clients))
	for i := range m.Clients {
		list[i] = m.Clients[i].Enrolled
	}
	return keyOf("client", list, name)
}

// keyOf returns the key of who is called so, or has this key.
func keyOf(what string, list []bftraft.Enrolled, name string) (crypto.PublicKey, error) {
	for _, e := range list {
		if e.Name == name || e.Key.String() == name {
			return e.Key, nil
		}
	}
	return crypto.PublicKey{}, fmt.Errorf("there is no %s %q: see bftclient member list", what, name)
}

// stepToAdd reads an identity as bftnode keygen prints it.
func stepToAdd(path, role string) (bftraft.ChangeStep, error) {
	var id struct {
		Name string           `json:"name"`
		Role string           `json:"role"`
		Key  crypto.PublicKey `json:"key"`
	}
	var step bftraft.ChangeStep
	text, err := os.ReadFile(path)
	if err != nil {
		return step, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&id); err != nil {
		return step, fmt.Errorf("%s: it is no identity of a client or administrator: %w", path, err)
	}
	step.Name, step.Key = id.Name, id.Key
	switch id.Role {
	case "admin":
		step.Kind = bftraft.AddAdmin
		return step, nil
	case "client":
		step.Kind = bftraft.AddClient
		step.Role, err = roleOf(role)
		return step, err
	}
	return step, fmt.Errorf("%s: role %q is neither client nor admin", path, id.Role)
}

func applyCommand() *ucli.Command {
	return &ucli.Command{
		Name: "apply", Usage: "bring a signed change into force", ArgsUsage: "FILE",
		Description: `Example:  bftclient change apply change.json
The client that applies it must have the role admin. To apply a change that is in force already does
no harm. One that changes the voters comes into force once a quorum of those that would vote says
that it is ready, which is waited for as long as --timeout says. The leader closes it then:
bftclient member list shows when.`,
		Flags: writeFlags(),
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 1, 1); err != nil {
				return err
			}
			return applyChange(c, c.Args().First())
		},
	}
}

// changeAnswer is what apply prints as JSON.
type changeAnswer struct {
	Number uint64        `json:"number"`
	Index  bftraft.Index `json:"index"`
}

func applyChange(c *ucli.Context, path string) error {
	s, err := connectToWrite(c)
	if err != nil {
		return err
	}
	defer s.close()
	cluster := s.Verifier().Cluster()
	ch, err := readChangeFile(path, cluster)
	if err != nil {
		return err
	}
	members, err := s.Follow(s.ctx)
	if err != nil {
		return explain(err)
	}
	if err = checkSigned(cluster, members, ch); err == nil {
		err = s.addReady(members, ch)
	}
	if err != nil {
		return err
	}
	receipt, err := createReceipt(c.String("receipt"))
	if err != nil {
		return err
	}
	got, err := s.Wait(s.ctx, s.GoAlone(ch.Op()))
	if errors.Is(err, client.ErrUnknownOutcome) && len(ch.Ready) > 0 {
		receipt.drop()
		return unknownChange(err) // the same request id would stand for other words of the nodes
	}
	if err != nil {
		receipt.drop()
		return explain(err)
	}
	if err := receipt.keep(got.Receipt); err != nil {
		return err
	}
	number, why := bftraft.DecodeChangeResult(got.Value)
	if why != nil {
		if _, err := members.After(ch); errors.Is(err, why) {
			why = err // says which key it is about
		}
		return cli.Errorf(cli.NotMet, "%w; change %d is in force", why, number)
	}
	answer := changeAnswer{number, got.Index}
	if members.Digest == ch.Digest(cluster) {
		answer.Index = members.At.Index // it was in force: only its repetition stands at got.Index
	}
	return cli.Print(c, answer, func(w io.Writer) {
		fmt.Fprintf(w, "change %d is in force\n", number)
	})
}

// addReady adds the words of those that are ready, if a change of the voters needs them.
func (s *session) addReady(m *bftraft.Membership, ch *bftraft.Change) error {
	if !slices.ContainsFunc(ch.Steps, func(step bftraft.ChangeStep) bool {
		return step.Kind == bftraft.Promote || step.Kind == bftraft.RemoveNode
	}) {
		return nil
	}
	next, err := m.After(ch)
	if err != nil || !next.Joint() {
		return nil // the cluster says why it cannot come into force, or that it is
	}
	r := &rollout{electorate: s, progress: s.warn.progress}
	return r.collect(s.ctx, ch, nil)
}

func signChangeCommand() *ucli.Command {
	return &ucli.Command{
		Name: "sign-change", Usage: "sign a change as administrator, offline", ArgsUsage: "FILE",
		Description: `Shows what is signed, and adds the signature to the file. Needs the genesis, from
--genesis or the settings of a client, the key, and no network. An administrator of later than the
genesis gives --changes too, which bftclient member list --changes writes.`,
		Flags: []ucli.Flag{
			&ucli.StringFlag{Name: "key", Required: true, Usage: "the administrator's private `FILE`"},
			&ucli.StringFlag{Name: "genesis", Usage: "genesis of the cluster, `FILE` genesis.json"},
			&ucli.StringFlag{Name: "changes", Usage: "what proves the changes since then, `FILE`"},
		},
		Action: signChange,
	}
}

func signChange(c *ucli.Context) error {
	if err := cli.RequireArgs(c, 1, 1); err != nil {
		return err
	}
	f, changes, err := genesisOf(c)
	if err != nil {
		return err
	}
	if c.IsSet("changes") {
		changes = c.String("changes")
	}
	gate, err := f.Gate(changes)
	if err != nil {
		return cli.WithCode(cli.Usage, err)
	}
	path, cluster := c.Args().First(), f.Genesis.Hash()
	ch, err := readChangeFile(path, cluster)
	if err != nil {
		return err
	}
	key, err := crypto.ReadKeyFile(c.String("key"), passphrase(stringOf(c, "passphrase-file")))
	if err != nil {
		return err
	}
	if !holdsOffice(gate.Members(), key.Public()) {
		return cli.Errorf(cli.Usage, "the key %v is not that of an administrator: sign with that of "+
			"one, or show with --changes that it became one (bftclient member list --changes)",
			key.Public())
	}
	ch.Endorse(cluster, key)
	if _, err := bftraft.DecodeChange(ch.Op()); err != nil {
		return cli.Errorf(cli.Usage, "%s: with another signature it would be too large", path)
	}
	if err := writeChangeFile(path, cluster, ch); err != nil {
		return err
	}
	text := newChangeFile(cluster, ch)
	return cli.Print(c, text, text.print)
}
