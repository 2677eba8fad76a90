package main

import (
	"fmt"
	"io"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/cmd/internal/cli"
)

// leaderAnswer is what leader prints as JSON.
type leaderAnswer struct {
	Term   bftraft.Term   `json:"term"`
	Leader bftraft.NodeID `json:"leader"`
	// Before is who led before a transfer.
	Before *leaderAnswer `json:"before,omitempty"`
}

func leaderCommand() *ucli.Command {
	return &ucli.Command{
		Name: "leader", Usage: "who leads, and let another lead",
		Subcommands: []*ucli.Command{
			{
				Name: "show", Usage: "show who leads, as f+1 nodes say",
				Action: func(c *ucli.Context) error {
					return leader(c, func(s *session) (leaderAnswer, error) {
						l, err := s.Leadership(s.ctx)
						return newLeaderAnswer(l), err
					})
				},
			},
			{
				Name: "transfer", Usage: "have the leader hand over to another node",
				Description: `For maintenance: writes wait for as long as an election takes. The client
needs the role admin. A node that is stopped with SIGTERM hands over by itself.`,
				Action: func(c *ucli.Context) error {
					return leader(c, func(s *session) (leaderAnswer, error) {
						from, to, err := s.Transfer(s.ctx)
						answer, before := newLeaderAnswer(to), newLeaderAnswer(from)
						answer.Before = &before
						return answer, err
					})
				},
			},
		},
	}
}

func newLeaderAnswer(l client.Leadership) leaderAnswer {
	return leaderAnswer{Term: l.Term, Leader: l.Leader}
}

func leader(c *ucli.Context, ask func(*session) (leaderAnswer, error)) error {
	if err := cli.RequireArgs(c, 0, 0); err != nil {
		return err
	}
	s, err := connect(c, nil)
	if err != nil {
		return err
	}
	defer s.close()
	answer, err := ask(s)
	if err != nil {
		return explain(err)
	}
	return cli.Print(c, answer, func(w io.Writer) {
		if b := answer.Before; b != nil {
			fmt.Fprintf(w, "node %d led term %d\n", b.Leader, b.Term)
		}
		fmt.Fprintf(w, "node %d leads term %d\n", answer.Leader, answer.Term)
	})
}
