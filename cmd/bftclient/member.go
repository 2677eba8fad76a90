package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// memberList is who may do what, proven by the genesis and the changes since.
type memberList struct {
	Cluster     crypto.Digest  `json:"cluster"`
	Joint       bool           `json:"joint"` // the voters are being changed
	Change      uint64         `json:"change"`
	Index       bftraft.Index  `json:"index"`
	Nodes       []listedNode   `json:"nodes"`
	Clients     []listedClient `json:"clients"`
	Admins      []listedClient `json:"admins"`
	AdminQuorum int            `json:"admin_quorum"`
}

// listedNode is a member. Its role is voter, learner, incoming (it is about to be a voter) or
// leaving (it is one, and about to be none).
type listedNode struct {
	ID      crypto.NodeID    `json:"id"`
	Role    string           `json:"role"`
	Key     crypto.PublicKey `json:"key"`
	Address string           `json:"address,omitempty"`
}

type listedClient struct {
	Name string           `json:"name"`
	Role string           `json:"role,omitempty"`
	Key  crypto.PublicKey `json:"key"`
}

func memberCommand() *ucli.Command {
	return &ucli.Command{
		Name: "member", Usage: "who is in the cluster, and who may do what",
		Description: `Nodes come as learners, which follow the log, and become voters by a second
change, for which a quorum of the voters that there will be must be ready. A change is signed by as
many administrators as the genesis demands: whose keys are here signs at once, with --admin; for the
others the change goes to a file, with --out, as bftclient change draft writes it.`,
		Subcommands: append([]*ucli.Command{listCommand()}, reformCommands()...),
	}
}

func listCommand() *ucli.Command {
	return &ucli.Command{
		Name: "list", Usage: "list nodes, clients and administrators",
		Description: `Example:  bftclient member list --changes changes.pem
The list is proven: by the genesis, and by the changes since, each of which a quorum has committed.
That it is the newest, a quorum of nodes says. A node that joins is given the file of changes.`,
		Flags: []ucli.Flag{&ucli.StringFlag{
			Name: "changes", Usage: "write what proves the changes since the genesis to a new `FILE`",
		}},
		Action: listMembers,
	}
}

func listMembers(c *ucli.Context) error {
	if err := cli.RequireArgs(c, 0, 0); err != nil {
		return err
	}
	if err := refuseOld(c.String("changes")); err != nil {
		return err
	}
	known, err := loadSettings(c)
	if err != nil {
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
	if path := c.String("changes"); path != "" {
		// The gate may know more than what was returned, and never less.
		text := clusterfile.EncodeChanges(s.Verifier().Changes())
		if err := writeNew(path, 0o644, strings.TrimSuffix(string(text), "\n")); err != nil {
			return err
		}
	}
	list := newMemberList(s.Verifier().Cluster(), members, placeIn(known.genesis))
	return cli.Print(c, list, list.print)
}

// placeIn returns what says where a member is thought to be: where the changes say, or the genesis.
func placeIn(g *clusterfile.File) func(bftraft.Node) string {
	return func(n bftraft.Node) string {
		if n.Address != "" {
			return n.Address
		}
		for _, v := range g.Genesis.Voters {
			if v.Key == n.Key {
				return g.Address(v.ID)
			}
		}
		return ""
	}
}

// roleOfNode returns the word for what a member is.
func roleOfNode(m *bftraft.Membership, n bftraft.Node) string {
	is := func(v quorumcert.Voter) bool { return v.ID == n.ID }
	votes, will := slices.ContainsFunc(m.Voters, is), slices.ContainsFunc(m.Incoming, is)
	switch {
	case votes && m.Joint() && !will:
		return "leaving"
	case votes:
		return "voter"
	case will:
		return "incoming"
	}
	return "learner"
}

func newMemberList(
	cluster crypto.Digest, m *bftraft.Membership, where func(bftraft.Node) string,
) *memberList {
	list := &memberList{
		Cluster: cluster, Change: m.Number, Index: m.At.Index, Joint: m.Joint(),
		AdminQuorum: m.Quorum, Clients: []listedClient{}, Admins: []listedClient{},
	}
	for _, n := range m.Nodes {
		list.Nodes = append(list.Nodes, listedNode{n.ID, roleOfNode(m, n), n.Key, where(n)})
	}
	for _, c := range m.Clients {
		list.Clients = append(list.Clients, listedClient{c.Name, c.Role.String(), c.Key})
	}
	for _, a := range m.Admins {
		list.Admins = append(list.Admins, listedClient{Name: a.Name, Key: a.Key})
	}
	return list
}

func (l *memberList) print(w io.Writer) {
	rows := l.printNodes(w)
	for _, c := range l.Clients {
		rows = append(rows, []string{"client", c.Name, c.Role, c.Key.String()})
	}
	for _, a := range l.Admins {
		rows = append(rows, []string{"admin", a.Name, "", a.Key.String()})
	}
	_ = cli.WriteTable(w, memberHeader, rows)
	if len(l.Admins) > 0 {
		fmt.Fprintf(w, "%d of %d administrators decide\n", l.AdminQuorum, len(l.Admins))
	}
}

var memberHeader = []string{"WHAT", "NAME", "ROLE", "KEY", "ADDRESS"}

// jointly says what roles mean while the voters are being changed.
const jointly = "the voters are being changed: those incoming take over from those leaving"

// printNodes writes the head of the list and returns the rows of the nodes.
func (l *memberList) printNodes(w io.Writer) (rows [][]string) {
	fmt.Fprintf(w, "cluster %s, change %d at index %d\n", l.Cluster.Short(), l.Change, l.Index)
	if l.Joint {
		fmt.Fprintln(w, jointly)
	}
	for _, n := range l.Nodes {
		rows = append(rows, []string{"node", fmt.Sprint(n.ID), n.Role, n.Key.String(), n.Address})
	}
	return rows
}
