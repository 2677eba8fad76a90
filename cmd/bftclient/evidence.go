package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// fault is a proof against a node as it is printed.
type fault struct {
	Node  int              `json:"node"`
	Key   crypto.PublicKey `json:"key"`  // an id may be another node's later
	Kind  string           `json:"kind"` // two_acks or two_votes
	Term  uint64           `json:"term"`
	Index uint64           `json:"index,omitempty"` // of the lower ack; 0 for votes
	// Entry is where the proof stands in the log, 0 if no node says that it does.
	Entry uint64 `json:"entry"`
	File  string `json:"file,omitempty"` // that it was written to
}

// faults is what evidence prints as JSON.
type faults struct {
	Answered []int   `json:"answered"`
	Faults   []fault `json:"faults"`
}

func evidenceCommand() *ucli.Command {
	return &ucli.Command{
		Name: "evidence", Usage: "show which nodes are proven faulty, and keep the proofs",
		Description: `Example:  bftclient evidence --out proofs && bftclient verify proofs/node2.pem
Each proof is two statements that the node has signed and that contradict each other. It is
verified here, and needs nobody's word: the files can be checked offline by anybody who has the
genesis. Who had a say when, that is the changes up to then, is in them.`,
		Flags: []ucli.Flag{
			&ucli.StringFlag{Name: "out", Usage: "write the proofs to files in `DIR`"},
		},
		Action: evidence,
	}
}

func evidence(c *ucli.Context) error {
	if err := cli.RequireArgs(c, 0, 0); err != nil {
		return err
	}
	s, err := connect(c, nil)
	if err != nil {
		return err
	}
	defer s.close()
	found, heard := s.Evidence(s.ctx)
	if heard == 0 {
		return cli.Errorf(cli.NoQuorum, "no node answered in time")
	}
	out := &faults{Answered: nodesOf(heard), Faults: []fault{}}
	for i := range found {
		text := client.EncodeEvidence(&found[i].Evidence, s.Verifier())
		_, by, err := client.VerifyEvidence(text, s.Verifier())
		if err != nil {
			return err
		}
		f := newFault(&found[i], by)
		if dir := c.String("out"); dir != "" {
			if f.File, err = keepProof(dir, f.Node, text); err != nil {
				return err
			}
		}
		out.Faults = append(out.Faults, f)
	}
	return cli.Print(c, out, out.print)
}

// newFault describes what a proof shows of a voter of a configuration.
func newFault(c *bftraft.Conviction, by *quorumcert.Configuration) fault {
	f := fault{Node: int(c.Evidence.Culprit()), Kind: "two_votes", Entry: uint64(c.Index)}
	f.Key, _ = by.Keyring().Key(c.Evidence.Culprit())
	if a := c.Evidence.Acks; a != nil {
		f.Kind, f.Term, f.Index = "two_acks", uint64(a.A.Term), uint64(a.A.Index)
	} else {
		f.Term = uint64(c.Evidence.Votes.A.Term)
	}
	return f
}

// keepProof writes a proof to a file that does not exist yet, or has it already.
func keepProof(dir string, node int, text []byte) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, fmt.Sprintf("node%d.pem", node))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return path, nil // one proof is enough
	}
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	return path, errors.Join(err, f.Close())
}

func (f *faults) print(w io.Writer) {
	if len(f.Faults) == 0 {
		fmt.Fprintf(w, "no node is proven faulty, say nodes %v\n", f.Answered)
		return
	}
	for _, one := range f.Faults {
		one.print(w)
		switch {
		case one.Entry > 0:
			fmt.Fprintf(w, "   the proof is entry %d of the log\n", one.Entry)
		default:
			fmt.Fprintln(w, "   the proof is not in the log yet")
		}
		if one.File != "" {
			fmt.Fprintf(w, "   the proof is in %s\n", one.File)
		}
	}
}

func (f *fault) print(w io.Writer) {
	fmt.Fprintf(w, "node %d is faulty: ", f.Node)
	if f.Kind == "two_votes" {
		fmt.Fprintf(w, "it signed votes for two candidates in term %d\n", f.Term)
		return
	}
	fmt.Fprintf(w, "it signed two conflicting chains in term %d, parting at or before index %d\n",
		f.Term, f.Index)
}

// verifyEvidence checks a proof of a file.
func verifyEvidence(c *ucli.Context, gate *bftraft.Verifier, text []byte) error {
	e, by, err := client.VerifyEvidence(text, gate)
	if err != nil {
		return cli.WithCode(cli.BadProof, err)
	}
	f := newFault(&bftraft.Conviction{Evidence: *e}, by)
	return cli.Print(c, f, f.print)
}
