package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
)

// reformCommands are those that change the members.
func reformCommands() []*ucli.Command {
	return []*ucli.Command{
		addNodeCommand(), promoteCommand(), removeNodeCommand(), replaceCommand(),
		rollbackCommand(), planCommand(),
	}
}

// Unless --timeout says otherwise, new voters have catchUpTime to catch up and to take over, and
// voters that are there have standTime to say that they are ready.
const (
	catchUpTime = 5 * time.Minute
	standTime   = 30 * time.Second
)

func reformFlags(more ...ucli.Flag) []ucli.Flag {
	return append(more,
		&ucli.StringSliceFlag{Name: "admin",
			Usage: "sign with an administrator's private `KEYFILE`; may be repeated"},
		&ucli.StringFlag{Name: "out",
			Usage: "where a change goes that others have to sign too, a new `FILE`"},
	)
}

func nodeFlag(usage string) ucli.Flag {
	return &ucli.StringFlag{Name: "node", Usage: usage + ", `ID`"}
}

func keyFlag(usage string) ucli.Flag {
	return &ucli.StringFlag{Name: "key", Usage: usage + ", public key `PUB`"}
}

func addressFlag() ucli.Flag {
	return &ucli.StringFlag{Name: "address", Required: true,
		Usage: "where the node is to be reached, `HOST:PORT`"}
}

func addNodeCommand() *ucli.Command {
	key := &ucli.StringFlag{Name: "key", Required: true, Usage: "of the node, public key `PUB`"}
	return &ucli.Command{
		Name: "add", Usage: "let a new node follow the log as a learner",
		Description: `Example:  bftclient member add --key PUB --address host:7000 --admin root.key
The node is started with the genesis and the file that bftclient member list --changes FILE writes
afterwards. It has no say until it is promoted. One that is a member already, at this address, stays
as it is; one that is to move is told by bftclient change draft --set-address.`,
		Flags: reformFlags(key, addressFlag()),
		Action: func(c *ucli.Context) error {
			add, err := nodeToAdd(c)
			if err != nil {
				return err
			}
			return reform(c, standTime, func(ctx context.Context, r *reformer) error {
				return r.once(ctx, func(m *bftraft.Membership) ([]bftraft.ChangeStep, error) {
					if n, is := m.Node(add.Key); is {
						return nil, sameAddress(n, add.Address, r.where(n))
					}
					return []bftraft.ChangeStep{
						{Kind: bftraft.AddNode, Key: add.Key, Name: add.Address},
					}, nil
				})
			})
		},
	}
}

// sameAddress refuses to add a member that is somewhere else.
func sameAddress(n bftraft.Node, wanted, is string) error {
	if wanted == is {
		return nil
	}
	at := ""
	if is != "" {
		at = ", at " + is
	}
	return cli.Errorf(cli.NotMet, "node %d has this key already%s: to have the others look for it "+
		"elsewhere, bftclient change draft --set-address %d=%s --out FILE, to be signed and applied",
		n.ID, at, n.ID, wanted)
}

// nodeToAdd reads --key and --address.
func nodeToAdd(c *ucli.Context) (plannedNode, error) {
	if err := cli.RequireArgs(c, 0, 0); err != nil {
		return plannedNode{}, err
	}
	key, err := crypto.ParsePublicKey(c.String("key"))
	if err == nil {
		err = checkNode(key, c.String("address"), false)
	}
	return plannedNode{key, c.String("address")}, cli.WithCode(cli.Usage, err)
}

func promoteCommand() *ucli.Command {
	return &ucli.Command{
		Name: "promote", Usage: "make a learner a voter, once it is ready",
		Description: `Example:  bftclient member promote --node 5 --admin root.key
Waits until the learner keeps up with the log, for five minutes or as long as --timeout says, and
then until the voters have taken over that there are with it.`,
		Flags: reformFlags(nodeFlag("the learner"), keyFlag("or its")),
		Action: stepAction(catchUpTime, func(m *bftraft.Membership, n bftraft.Node) bftraft.StepKind {
			if m.Votes(n.ID) && !m.Joint() {
				return 0
			}
			return bftraft.Promote
		}),
	}
}

func removeNodeCommand() *ucli.Command {
	return &ucli.Command{
		Name: "remove", Usage: "take a voter or learner away for ever",
		Description: `Example:  bftclient member remove --node 2 --admin root.key
Its key is never enrolled again. Unless a quorum of the voters that are left can be reached and is
ready, within half a minute or as long as --timeout says, nothing is changed. To put another in its
place, see bftclient member replace.`,
		Flags: reformFlags(nodeFlag("the member"), keyFlag("or its")),
		Action: stepAction(standTime, func(*bftraft.Membership, bftraft.Node) bftraft.StepKind {
			return bftraft.RemoveNode
		}),
	}
}

// stepAction returns what does something to the member that --node or --key names: nothing for the
// zero kind.
func stepAction(
	patience time.Duration, kind func(*bftraft.Membership, bftraft.Node) bftraft.StepKind,
) ucli.ActionFunc {
	return func(c *ucli.Context) error {
		if err := cli.RequireArgs(c, 0, 0); err != nil {
			return err
		}
		name := c.String("node")
		if name == "" {
			name = c.String("key")
		}
		if name == "" || c.IsSet("node") && c.IsSet("key") {
			return cli.Errorf(cli.Usage, "which node? give --node ID or --key PUB")
		}
		return reform(c, patience, func(ctx context.Context, r *reformer) error {
			return r.once(ctx, func(m *bftraft.Membership) ([]bftraft.ChangeStep, error) {
				n, err := nodeNamed(m, name)
				if err != nil {
					return nil, err
				}
				if k := kind(m, n); k != 0 {
					return []bftraft.ChangeStep{{Kind: k, Key: n.Key}}, nil
				}
				return nil, nil
			})
		})
	}
}

// nodeNamed returns the member with an id or a public key. There is nothing to be done with one
// that there is not, whatever the command line says.
func nodeNamed(m *bftraft.Membership, name string) (bftraft.Node, error) {
	is := func(n bftraft.Node) bool {
		return strconv.Itoa(int(n.ID)) == name || n.Key.String() == name
	}
	if i := slices.IndexFunc(m.Nodes, is); i >= 0 {
		return m.Nodes[i], nil
	}
	if i := slices.IndexFunc(m.Former, is); i >= 0 {
		return bftraft.Node{}, cli.Errorf(cli.NotMet, "node %d was taken out of the cluster already, "+
			"for ever", m.Former[i].ID)
	}
	return bftraft.Node{}, cli.Errorf(cli.NotMet, "there is no node %q: see bftclient member list",
		name)
}

func replaceCommand() *ucli.Command {
	node := &ucli.StringFlag{Name: "node", Required: true, Usage: "the voter that leaves, `ID`"}
	key := &ucli.StringFlag{Name: "key", Required: true, Usage: "of the new node, public key `PUB`"}
	return &ucli.Command{
		Name: "replace", Usage: "put a new node in the place of a voter",
		Description: `Example:  bftclient member replace --node 2 --key PUB --address host:7000 \
            --admin root.key
Adds the new node as a learner, waits until it keeps up, for five minutes or as long as --timeout
says, and lets it vote and the old one leave in one change. It can be repeated: what has been done
is not done again.`,
		Flags: reformFlags(node, key, addressFlag()),
		Action: func(c *ucli.Context) error {
			add, err := nodeToAdd(c)
			if err != nil {
				return err
			}
			return reform(c, catchUpTime, func(ctx context.Context, r *reformer) error {
				m, err := r.rollout.members(ctx)
				if err != nil {
					return err
				}
				old, err := nodeNamed(m, c.String("node"))
				switch {
				case err == nil && roleOfNode(m, old) == "learner":
					err = cli.Errorf(cli.NotMet, "node %d is a learner: remove it, and add the other",
						old.ID)
				case err == nil && old.Key == add.Key:
					err = cli.Errorf(cli.NotMet, "node %d has this key already", old.ID)
				}
				if err != nil {
					return err
				}
				p := planOf(m).without(old.Key).without(add.Key)
				p.Nodes = append(p.Nodes, add)
				return r.reach(ctx, p)
			})
		},
	}
}

func rollbackCommand() *ucli.Command {
	return &ucli.Command{
		Name: "rollback", Usage: "give up a change of the voters that is not closed yet",
		Description: `Example:  bftclient member rollback --admin root.key
For when those that are to take over do not. The voters stay, and those that were to come are
learners again.`,
		Flags: reformFlags(),
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 0, 0); err != nil {
				return err
			}
			return reform(c, standTime, func(ctx context.Context, r *reformer) error {
				return r.once(ctx, func(m *bftraft.Membership) ([]bftraft.ChangeStep, error) {
					if !m.Joint() {
						return nil, cli.Errorf(cli.NotMet, "the voters are not being changed: there is "+
							"nothing to roll back")
					}
					return []bftraft.ChangeStep{{Kind: bftraft.RollBack}}, nil
				})
			})
		},
	}
}

func planCommand() *ucli.Command {
	return &ucli.Command{
		Name: "apply", Usage: "make the voters those of a plan", ArgsUsage: "FILE",
		Description: `Example:  bftclient member apply plan.json --admin root.key
A plan names all voters that are wanted, and an address at least for those that are new:
  {"nodes": [{"key": "PUB", "address": "host:7000"}, {"key": "PUB"}]}
Adds those that are no members as learners in one change, waits until they keep up, for five minutes
or as long as --timeout says, and lets them vote and all others leave in one more. It can be
repeated: what has been done is not done again.`,
		Flags: reformFlags(),
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 1, 1); err != nil {
				return err
			}
			p, err := readPlan(c.Args().First())
			if err != nil {
				return cli.WithCode(cli.Usage, err)
			}
			return reform(c, catchUpTime, func(ctx context.Context, r *reformer) error {
				return r.reach(ctx, p)
			})
		},
	}
}

// reformer is a rollout with what a command prints about it.
type reformer struct {
	*rollout
	where func(bftraft.Node) string
	then  *bftraft.Membership // who is in the cluster when it is done
	again bool                // what was parked is not all there is to do
}

// once brings one change into force, none if there are no steps.
func (r *reformer) once(
	ctx context.Context, steps func(*bftraft.Membership) ([]bftraft.ChangeStep, error),
) error {
	m, err := r.rollout.members(ctx)
	if err != nil {
		return err
	}
	list, err := steps(m)
	switch {
	case err != nil && cli.CodeOf(err) == cli.Failed:
		return cli.WithCode(cli.Usage, err)
	case err != nil:
		return err
	}
	if r.then = m; len(list) > 0 {
		r.then, err = r.bring(ctx, m, list)
	}
	return err
}

// reach makes the voters those of a plan.
func (r *reformer) reach(ctx context.Context, p *plan) error {
	var err error
	r.again = true
	r.then, err = r.rollout.reach(ctx, p, r.where)
	return err
}

// reform connects, changes the members, and prints who they are then.
func reform(
	c *ucli.Context, patience time.Duration, do func(context.Context, *reformer) error,
) error {
	if err := refuseOld(c.String("out")); err != nil {
		return err
	}
	limit := 2*patience + time.Minute
	if isSet(c, "timeout") {
		limit, patience = timeoutOf(c), timeoutOf(c)
	}
	var keys []crypto.PrivateKey
	for _, path := range c.StringSlice("admin") {
		key, err := crypto.ReadKeyFile(path, passphrase(stringOf(c, "passphrase-file")))
		if err != nil {
			return cli.WithCode(cli.Usage, err)
		}
		keys = append(keys, key)
	}
	known, err := loadSettings(c)
	if err != nil {
		return err
	}
	s, err := connectFor(c, limit, nil)
	if err != nil {
		return err
	}
	defer s.close()
	r := &reformer{where: placeIn(known.genesis)}
	r.rollout = &rollout{
		electorate: s, cluster: s.Verifier().Cluster(), admins: keys, short: timeoutOf(c),
		patience: patience, progress: s.warn.progress,
		park: func(m *bftraft.Membership, ch *bftraft.Change) error { return r.park(c, m, ch) },
	}
	switch err := do(s.ctx, r); {
	case errors.Is(err, errParked):
		return nil // it says so
	case err != nil:
		return explain(err)
	}
	list := newMemberList(r.cluster, r.then, r.where)
	return cli.Print(c, list, func(w io.Writer) {
		_ = cli.WriteTable(w, memberHeader, list.printNodes(w))
	})
}

// park writes a change that too few have signed to a file, and says what is to be done with it.
func (r *reformer) park(c *ucli.Context, m *bftraft.Membership, ch *bftraft.Change) error {
	out := c.String("out")
	if out == "" {
		return cli.Errorf(cli.Usage, "%d of %d administrators must sign, and with the keys that are "+
			"here %d do: give the others with --admin KEYFILE, or --out FILE for a change to be signed "+
			"elsewhere", m.Quorum, len(m.Admins), len(ch.Endorsements))
	}
	if err := writeChangeFile(out, r.cluster, ch); err != nil {
		return err
	}
	f := newChangeFile(r.cluster, ch)
	return cli.Print(c, f, func(w io.Writer) {
		f.print(w)
		fmt.Fprintf(w, "%d of %d administrators must sign: bftclient sign-change --key FILE %s\n",
			m.Quorum, len(m.Admins), out)
		fmt.Fprintf(w, "and then: bftclient change apply %s\n", out)
		if r.again {
			fmt.Fprintln(w, "and then the same command as now again, for what follows")
		}
	})
}

// unknownChange says what to do when nobody knows whether a change has come into force.
func unknownChange(err error) error {
	return cli.Errorf(cli.NoQuorum, "no quorum answered in time (%w): the change may or may not "+
		"come into force, and repeating the same command is safe", err)
}

// Carry brings a change into force, or says why it does not come into force.
func (s *session) Carry(ctx context.Context, ch *bftraft.Change) error {
	if !s.Verifier().MayAdminister(s.key) {
		return cli.WithCode(cli.NotAuthorised, bftraft.ErrChangeCarrier)
	}
	got, err := s.Wait(ctx, s.GoAlone(ch.Op()))
	if errors.Is(err, client.ErrUnknownOutcome) {
		return unknownChange(err)
	}
	if err != nil {
		return explain(err)
	}
	if _, why := bftraft.DecodeChangeResult(got.Value); why != nil {
		return refused(why)
	}
	return nil
}
