package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/cmd/internal/cli"
	"tangaroa/quorumcert"
)

// clusterStatus is what status prints as JSON.
type clusterStatus struct {
	Name   string         `json:"name"`
	Term   bftraft.Term   `json:"term"`   // the newest that f+1 nodes are in
	Leader bftraft.NodeID `json:"leader"` // of that term, as f+1 nodes have it; 0 for none
	Commit bftraft.Index  `json:"commit"` // the highest that f+1 nodes have reached
	// Healthy voters answer, are not behind and not proven faulty. CanLose is how many of them may
	// fail before writes stop; it is negative when too few are left.
	Voters  int          `json:"voters"`
	Healthy int          `json:"healthy"`
	Quorum  int          `json:"quorum"`
	CanLose int          `json:"can_lose"`
	Joint   bool         `json:"joint"` // the voters are being changed
	Nodes   []nodeStatus `json:"nodes"` // all members
}

// nodeStatus is of a member in one of the roles of listedNode.
type nodeStatus struct {
	ID       bftraft.NodeID `json:"id"`
	Role     string         `json:"role"`
	Answers  bool           `json:"answers"`
	Term     bftraft.Term   `json:"term"`
	Leader   bftraft.NodeID `json:"leader"`
	Lock     bftraft.Index  `json:"lock"`
	Tip      bftraft.Index  `json:"tip"`
	Commit   bftraft.Index  `json:"commit"`
	Executed bftraft.Index  `json:"executed"`
	State    string         `json:"state,omitempty"` // digest of the state at executed
	Behind   bftraft.Index  `json:"behind"`          // entries that f+1 have committed and it has not
	// Suspects is why the node wants its term to end, "none" if it does not.
	Suspects string `json:"suspects,omitempty"`
	// What voters say of it: that they hold proof against it, hear nothing of it, or see that
	// it wants the term to end.
	FaultyBy  []int `json:"faulty_by"`
	SilentTo  []int `json:"silent_to"`
	AccusedTo []int `json:"accusing_seen_by"`
}

func statusCommand() *ucli.Command {
	return &ucli.Command{
		Name: "status", Usage: "ask every node how it is and what it thinks of the others",
		Description: `Each line is one member's own word: a voter's, or that of one that follows the log
and has no say yet. What is said about the cluster as a whole is what f+1 voters say alike. It waits
at most two seconds for nodes that do not answer, or as long as --timeout says.`,
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 0, 0); err != nil {
				return err
			}
			var name string
			s, err := connect(c, func(cfg *client.Config) { name = cfg.Genesis.Name })
			if err != nil {
				return err
			}
			defer s.close()
			ctx, cancel := context.WithTimeout(s.ctx, surveyTime(c))
			defer cancel()
			members, reports := s.Status(ctx)
			sum := summarize(name, members, reports)
			if err := cli.Print(c, sum, sum.print); err != nil {
				return err
			}
			if sum.answering() == 0 && len(members.Admins) > 0 {
				return cli.Errorf(cli.NoQuorum, "none of %d voters answered in time: they are down, "+
					"were replaced, or let this client in no more. %s", sum.Voters, whereTold)
			}
			if sum.answering() <= quorumcert.ForNodes(sum.Voters).F {
				return cli.Errorf(cli.NoQuorum, "only %d of %d voters answered in time",
					sum.answering(), sum.Voters)
			}
			return nil
		},
	}
}

// surveyTime is how long to wait for nodes that do not answer: somebody is waiting for the table.
func surveyTime(c *ucli.Context) time.Duration {
	if isSet(c, "timeout") {
		return timeoutOf(c)
	}
	return 2 * time.Second
}

// summarize puts the words of all voters together, and those of the other members beside them.
func summarize(
	name string, members *bftraft.Membership, reports []client.NodeReport,
) *clusterStatus {
	voters := slices.DeleteFunc(slices.Clone(reports), func(r client.NodeReport) bool {
		return !slices.ContainsFunc(members.Voters, func(v quorumcert.Voter) bool {
			return v.ID == r.ID
		})
	})
	size := quorumcert.ForNodes(len(voters))
	sum := &clusterStatus{
		Name: name, Voters: len(voters), Quorum: size.Q, Joint: members.Joint(),
	}
	var terms []bftraft.Term
	var commits []bftraft.Index
	for _, r := range voters {
		if r.Status != nil {
			terms = append(terms, r.Status.Term)
			commits = append(commits, r.Status.Commit.Index)
		}
	}
	// At least one of the f+1 with the highest values is honest, so the lowest of these is true.
	slices.Sort(terms)
	slices.Sort(commits)
	if n := len(terms); n > size.F {
		sum.Term, sum.Commit = terms[n-1-size.F], commits[n-1-size.F]
	}
	for i, r := range reports {
		node := describe(r, voters, sum.Commit)
		node.Role = roleOfNode(members, members.Nodes[i])
		sum.Nodes = append(sum.Nodes, node)
	}
	sum.judge(size)
	return sum
}

// judge says who leads and how much may go wrong, by the words of the voters.
func (sum *clusterStatus) judge(size quorumcert.Size) {
	for _, led := range sum.Nodes {
		n := 0
		for _, node := range sum.Nodes {
			if node.votes() && node.Answers && node.Leader == led.ID && node.Term == sum.Term {
				n++
			}
		}
		if n > size.F {
			sum.Leader = led.ID
		}
	}
	for _, node := range sum.Nodes {
		if node.votes() && node.Answers && node.Behind <= tolerableLag &&
			len(node.FaultyBy) <= size.F {
			sum.Healthy++
		}
	}
	sum.CanLose = sum.Healthy - size.Q
}

// votes says whether the node has a say: who is leaving still has, who is incoming not yet.
func (n *nodeStatus) votes() bool { return n.Role == "voter" || n.Role == "leaving" }

// tolerableLag is by how many entries a node may be behind that answered a moment before others.
const tolerableLag = 4096

// describe puts a node's word about itself beside what the others say of it.
func describe(
	r client.NodeReport, all []client.NodeReport, commit bftraft.Index,
) nodeStatus {
	out := nodeStatus{ID: r.ID, Answers: r.Status != nil}
	if s := r.Status; s != nil {
		out.Term, out.Leader, out.Lock, out.Tip = s.Term, s.Leader, s.Lock.Index, s.Tip.Index
		out.Commit, out.Executed, out.Suspects = s.Commit.Index, s.Executed, s.Suspects.String()
		out.State = s.State.String()
		out.Behind = max(commit, out.Commit) - out.Commit
	}
	out.FaultyBy = sayers(all, func(s *bftraft.NodeStatus) bool { return s.Faulty.Has(r.ID) })
	out.SilentTo = sayers(all, func(s *bftraft.NodeStatus) bool { return s.Silent.Has(r.ID) })
	out.AccusedTo = sayers(all, func(s *bftraft.NodeStatus) bool { return s.Accuses.Has(r.ID) })
	return out
}

func sayers(all []client.NodeReport, says func(*bftraft.NodeStatus) bool) []int {
	out := []int{}
	for _, r := range all {
		if r.Status != nil && says(r.Status) {
			out = append(out, int(r.ID))
		}
	}
	return out
}

func (sum *clusterStatus) answering() int {
	n := 0
	for _, node := range sum.Nodes {
		if node.votes() && node.Answers {
			n++
		}
	}
	return n
}

func (sum *clusterStatus) print(w io.Writer) {
	var rows [][]string
	for _, n := range sum.Nodes {
		if !n.Answers {
			rows = append(rows, []string{
				fmt.Sprint(n.ID), n.Role, "-", "-", "-", "-", "-", n.remarks(),
			})
			continue
		}
		leader := "-"
		if n.Leader != 0 {
			leader = fmt.Sprint(n.Leader)
		}
		rows = append(rows, []string{
			fmt.Sprint(n.ID), n.Role, fmt.Sprint(n.Term), leader, fmt.Sprint(n.Lock),
			fmt.Sprint(n.Commit), fmt.Sprint(n.Executed), n.remarks(),
		})
	}
	header := []string{"NODE", "ROLE", "TERM", "LEADER", "LOCK", "COMMIT", "EXECUTED", "REMARKS"}
	_ = cli.WriteTable(w, header, rows)
	leader := "no leader"
	if sum.Leader != 0 {
		leader = fmt.Sprintf("leader %d", sum.Leader)
	}
	if sum.Joint {
		fmt.Fprintln(w, jointly)
	}
	fmt.Fprintf(w, "%s: %s in term %d, %d of %d voters healthy, %s\n", sum.Name, leader, sum.Term,
		sum.Healthy, sum.Voters, sum.outlook())
}

// outlook says how much more may go wrong.
func (sum *clusterStatus) outlook() string {
	if sum.CanLose < 0 {
		return fmt.Sprintf("%d too few for a quorum of %d", -sum.CanLose, sum.Quorum)
	}
	return fmt.Sprintf("can lose %d more", sum.CanLose)
}

// remarks says what is not as it should be.
func (n *nodeStatus) remarks() string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if !n.Answers {
		add("does not answer")
	}
	if n.Behind > 0 {
		add("behind by %d", n.Behind)
	}
	if n.Suspects != "" && n.Suspects != bftraft.CauseNone.String() {
		add("suspects its leader (%s)", n.Suspects)
	}
	if len(n.FaultyBy) > 0 {
		add("PROVEN FAULTY to %s", list(n.FaultyBy))
	}
	if len(n.SilentTo) > 0 {
		add("silent to %s", list(n.SilentTo))
	}
	if len(out) == 0 {
		return "ok"
	}
	return strings.Join(out, ", ")
}

func list(nodes []int) string {
	var out []string
	for _, id := range nodes {
		out = append(out, fmt.Sprint(id))
	}
	return strings.Join(out, " ")
}
