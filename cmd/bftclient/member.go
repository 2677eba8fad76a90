package main

import (
	"fmt"
	"io"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
)

// memberList is who may do what, proven by the genesis and the changes since.
type memberList struct {
	Cluster     crypto.Digest  `json:"cluster"`
	Change      uint64         `json:"change"`
	Index       bftraft.Index  `json:"index"`
	Nodes       []listedNode   `json:"nodes"`
	Clients     []listedClient `json:"clients"`
	Admins      []listedClient `json:"admins"`
	AdminQuorum int            `json:"admin_quorum"`
}

type listedNode struct {
	ID  crypto.NodeID    `json:"id"`
	Key crypto.PublicKey `json:"key"`
}

type listedClient struct {
	Name string           `json:"name"`
	Role string           `json:"role,omitempty"`
	Key  crypto.PublicKey `json:"key"`
}

func memberCommand() *ucli.Command {
	return &ucli.Command{
		Name: "member", Usage: "who is in the cluster, and who may do what",
		Subcommands: []*ucli.Command{{
			Name: "list", Usage: "list nodes, clients and administrators",
			Description: `The list is proven: by the genesis, and by the changes since, each of which
a quorum has committed. That it is the newest, a quorum of nodes says.`,
			Action: func(c *ucli.Context) error {
				if err := cli.RequireArgs(c, 0, 0); err != nil {
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
				list := newMemberList(s.Verifier().Cluster(), members)
				return cli.Print(c, list, list.print)
			},
		}},
	}
}

func newMemberList(cluster crypto.Digest, m *bftraft.Membership) *memberList {
	list := &memberList{
		Cluster: cluster, Change: m.Number, Index: m.At.Index, AdminQuorum: m.Quorum,
		Clients: []listedClient{}, Admins: []listedClient{},
	}
	for _, v := range m.Voters {
		list.Nodes = append(list.Nodes, listedNode{v.ID, v.Key})
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
	fmt.Fprintf(w, "cluster %s, change %d at index %d\n", l.Cluster.Short(), l.Change, l.Index)
	var rows [][]string
	for _, n := range l.Nodes {
		rows = append(rows, []string{"node", fmt.Sprint(n.ID), "", n.Key.String()})
	}
	for _, c := range l.Clients {
		rows = append(rows, []string{"client", c.Name, c.Role, c.Key.String()})
	}
	for _, a := range l.Admins {
		rows = append(rows, []string{"admin", a.Name, "", a.Key.String()})
	}
	_ = cli.WriteTable(w, []string{"WHAT", "NAME", "ROLE", "KEY"}, rows)
	if len(l.Admins) > 0 {
		fmt.Fprintf(w, "%d of %d administrators decide\n", l.AdminQuorum, len(l.Admins))
	}
}
