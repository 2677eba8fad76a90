package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft/node"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/quorumcert"
)

func statusCommand() *ucli.Command {
	return &ucli.Command{
		Name: "status", Usage: "ask a running node how it is",
		Description: `Example:  bftnode status --dir /tmp/net/node1
It reads the node's own address for status; what it shows is that node's word alone.`,
		Flags: append(placeFlags(),
			&ucli.StringFlag{Name: "http", EnvVars: []string{env("http")},
				Usage: "the node's address for status, `HOST:PORT`"},
			&ucli.DurationFlag{Name: "timeout", Value: 5 * time.Second,
				Usage: "give up after `DURATION`"}),
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 0, 0); err != nil {
				return err
			}
			address, err := statusAddress(c)
			if err != nil {
				return err
			}
			s, err := fetchStatus(c.Context, address, c.Duration("timeout"))
			if err != nil {
				return err
			}
			return cli.Print(c, s, func(w io.Writer) { printStatus(w, s) })
		},
	}
}

func statusAddress(c *ucli.Context) (string, error) {
	if c.IsSet("http") {
		return c.String("http"), nil
	}
	file := c.String("config")
	if file == "" && c.String("dir") != "" {
		file = filepath.Join(c.String("dir"), clusterfile.NodeName)
	}
	if file == "" {
		return defaultHTTP, nil
	}
	n, err := clusterfile.LoadNode(file)
	switch {
	case err != nil:
		return "", cli.WithCode(cli.Usage, err)
	case n.HTTP == "off":
		return "", cli.Errorf(cli.Usage, "%s turns the status off", file)
	case n.HTTP == "":
		return defaultHTTP, nil
	}
	return n.HTTP, nil
}

// maxStatusBytes bounds the answer of 64 nodes.
const maxStatusBytes = 1 << 20

func fetchStatus(ctx context.Context, address string, limit time.Duration) (*node.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"http://"+address+"/status", nil)
	if err != nil {
		return nil, cli.WithCode(cli.Usage, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the node for its status: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the node for its status: %s", response.Status)
	}
	var s node.Status
	if err := json.NewDecoder(io.LimitReader(response.Body, maxStatusBytes)).Decode(&s); err != nil {
		return nil, fmt.Errorf("read the node's status: %w", err)
	}
	return &s, nil
}

func printStatus(w io.Writer, s *node.Status) {
	ready := "yes"
	if !s.Ready {
		ready = "no: " + s.NotReady
	}
	rows := [][]string{
		{"cluster", s.Name + " " + s.Cluster.Short()},
		{"node", fmt.Sprint(s.Node)},
		{"role", ownRole(s)},
		{"members", membersLine(s)},
		{"ready", ready},
		{"term", fmt.Sprint(s.Term)},
		{"leader", leaderName(s)},
		{"index", fmt.Sprintf("tip %d, locked %d, committed %d, applied %d",
			s.Tip, s.Locked, s.Commit, s.Applied)},
		{"log", fmt.Sprintf("begins behind %d, checkpoint at %d", s.Base, s.Checkpoint)},
		{"uptime", (time.Duration(s.Uptime) * time.Second).String()},
	}
	if s.Fetching != nil {
		rows = append(rows, []string{"fetching", transferLine(s.Fetching)})
	}
	_ = cli.WriteTable(w, nil, rows)
	rows = nil
	for i := range s.Peers {
		p := &s.Peers[i]
		rows = append(rows, []string{
			fmt.Sprint(p.Node), p.Role, fmt.Sprint(p.Term), fmt.Sprint(p.Commit), peerState(s, p),
		})
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
		_ = cli.WriteTable(w, []string{"PEER", "ROLE", "TERM", "COMMIT", "STATE"}, rows)
	}
	for _, e := range s.Evidence {
		fmt.Fprintf(w, "\nnode %d is proven faulty: %s\n", e.Culprit, explain(e))
	}
}

// ownRole shows a node's role, and of a learner how far it is behind: once it is not, it can be
// made a voter.
func ownRole(s *node.Status) string {
	if s.Role != node.RoleLearner {
		return s.Role
	}
	if behind := lag(s); behind > 0 {
		return fmt.Sprintf("%s, behind by %d", s.Role, behind)
	}
	return s.Role + ", keeps up"
}

// lag is how far a node is behind what at least one honest voter has committed, if no more of them
// lie than may.
func lag(s *node.Status) quorumcert.Index {
	var commits []quorumcert.Index
	for i := range s.Peers {
		if p := &s.Peers[i]; p.Role == node.RoleVoter || p.Role == node.RoleLeaving {
			commits = append(commits, p.Commit)
		}
	}
	if len(commits) == 0 {
		return 0
	}
	slices.Sort(commits)
	f := quorumcert.ForNodes(len(commits)).F
	return max(commits[len(commits)-1-f], s.Commit) - s.Commit
}

func membersLine(s *node.Status) string {
	line := "as at the genesis"
	if s.Change > 0 {
		line = fmt.Sprintf("since change %d", s.Change)
	}
	if s.Joint {
		line += "; the voters are being changed"
	}
	return line
}

// barWidth is how many characters a bar of progress has.
const barWidth = 24

// transferLine shows how far a state has come.
func transferLine(f *node.Fetching) string {
	if f.Chunks == 0 {
		return "looking for a state"
	}
	full := barWidth * f.Done / f.Chunks
	line := fmt.Sprintf("[%s%s] %d of %d chunks of the state at %d from nodes %v",
		strings.Repeat("#", full), strings.Repeat(".", barWidth-full), f.Done, f.Chunks,
		f.Checkpoint, f.From)
	if f.Kept > 0 {
		line += fmt.Sprintf("; %d were here before it was started", f.Kept)
	}
	if len(f.Poisoned) > 0 {
		line += fmt.Sprintf("; served poison: %v", f.Poisoned)
	}
	return line
}

func leaderName(s *node.Status) string {
	switch s.Leader {
	case 0:
		return "none is known"
	case s.Node:
		return strconv.Itoa(int(s.Leader)) + " (this node)"
	}
	return strconv.Itoa(int(s.Leader))
}

func peerState(s *node.Status, p *node.PeerStatus) string {
	state := "up"
	switch {
	case p.Silent:
		state = "silent"
	case p.Commit < s.Commit:
		state = "behind by " + strconv.FormatUint(uint64(s.Commit-p.Commit), 10)
	}
	if p.Suspects {
		state += ", suspects the term"
	}
	if slices.Contains(s.Faulty, int(p.Node)) {
		state += ", FAULTY"
	}
	return state
}

// explain puts a proof into words.
func explain(e node.EvidenceStatus) string {
	if e.Kind == "two_votes" {
		return fmt.Sprintf("it signed votes for two candidates in term %d", e.Term)
	}
	return fmt.Sprintf("it signed two conflicting chains in term %d, parting at or before "+
		"index %d", e.Term, e.Index)
}

// sortVoters puts voters into the order of their identities.
func sortVoters(list []quorumcert.Voter) {
	slices.SortFunc(list, func(a, b quorumcert.Voter) int { return int(a.ID) - int(b.ID) })
}
