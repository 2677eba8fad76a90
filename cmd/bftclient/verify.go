package main

import (
	"errors"
	"fmt"
	"io"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/bftraft/kv"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
)

// proof is what verify prints as JSON.
type proof struct {
	Cluster   string        `json:"cluster"`
	Client    string        `json:"client"`
	ClientKey string        `json:"client_key"`
	RequestID string        `json:"request_id"`
	Block     bftraft.Index `json:"block"`
	Hash      string        `json:"hash"`
	Nodes     []int         `json:"nodes"`
	// Configuration is the index of the change that made these nodes voters, 0 for the genesis.
	Configuration bftraft.Index `json:"configuration"`
	Ops           []provenOp    `json:"operations"`
}

// provenOp is one operation with its result.
type provenOp struct {
	Op        string      `json:"op"`
	What      string      `json:"what"`
	Revision  kv.Revision `json:"revision"`
	Succeeded *bool       `json:"succeeded,omitempty"`
	Error     string      `json:"error,omitempty"`
}

func verifyCommand() *ucli.Command {
	return &ucli.Command{
		Name: "verify", Usage: "check a receipt, a proof against a node, or changes, offline",
		ArgsUsage: "FILE|-",
		Description: `Example:  bftclient verify receipt --genesis genesis.json
Needs nothing but the genesis, from --genesis or the settings of a client: who had a say later is in
the file. What it prints is proven: that this client asked for these operations, and that the
cluster executed them with these results; that a node has signed two statements that contradict each
other; or, of a file that bftclient member list --changes has written, who was a member behind it.

With --changes, or changes in the settings of a client, it goes by these changes as well. Then keys
that somebody has stolen from nodes that had left prove nothing of a later time.`,
		Flags: []ucli.Flag{
			hexFlag(),
			&ucli.StringFlag{Name: "genesis", Usage: "genesis of the cluster, `FILE` genesis.json"},
			&ucli.StringFlag{Name: "changes",
				Usage: "what is known to have become of the genesis, `FILE` of bftclient member list"},
		},
		Action: verify,
	}
}

// maxProofBytes bounds what verify reads.
const maxProofBytes = max(client.MaxReceiptBytes, client.MaxEvidenceBytes,
	clusterfile.MaxChangesBytes)

func verify(c *ucli.Context) error {
	if err := cli.RequireArgs(c, 1, 1); err != nil {
		return err
	}
	f, gate, err := gateOf(c)
	if err != nil {
		return err
	}
	text, err := readInput(c, c.Args().First(), maxProofBytes)
	if err != nil {
		return err
	}
	switch {
	case client.IsEvidence(text):
		err = verifyEvidence(c, gate, text)
	case clusterfile.IsChanges(text):
		err = verifyChanges(c, f, gate, text)
	default:
		err = verifyReceipt(c, f, gate, text)
	}
	if errors.Is(err, client.ErrNewerConfiguration) {
		return cli.Errorf(cli.BadProof, "%w; give the changes since, with --changes FILE: "+
			"bftclient member list --changes FILE writes them", err)
	}
	return err
}

func verifyReceipt(
	c *ucli.Context, f *clusterfile.File, gate *bftraft.Verifier, text []byte,
) error {
	receipt, err := client.DecodeReceipt(text)
	if err != nil {
		return explain(err)
	}
	proven, err := receipt.VerifyBy(gate)
	if err != nil {
		return explain(err)
	}
	p := newProof(&f.Genesis, proven, c.Bool("hex"))
	return cli.Print(c, p, p.print)
}

// verifyChanges checks a file of changes, which must agree with those that are known.
func verifyChanges(
	c *ucli.Context, f *clusterfile.File, gate *bftraft.Verifier, text []byte,
) error {
	proofs, err := clusterfile.DecodeChanges(text)
	if err != nil {
		return cli.WithCode(cli.BadProof, err)
	}
	if !gate.AgreesWith(proofs) {
		return cli.Errorf(cli.BadProof, "the changes do not verify: these are others than those "+
			"that are known")
	}
	after, err := gate.Genesis().Following(proofs)
	if err != nil {
		return cli.Errorf(cli.BadProof, "the changes do not verify: %w", err)
	}
	list := newMemberList(after.Cluster(), after.Members(), placeIn(f))
	return cli.Print(c, list, list.print)
}

// gateOf returns the genesis that a command goes by, and the gate behind the changes that are
// known, from flags or the settings of a client.
func gateOf(c *ucli.Context) (*clusterfile.File, *bftraft.Verifier, error) {
	f, changes, err := genesisOf(c)
	if err != nil {
		return nil, nil, err
	}
	if c.String("changes") != "" {
		changes = c.String("changes")
	}
	gate, err := f.Gate(changes)
	return f, gate, cli.WithCode(cli.Usage, err)
}

// genesisOf returns the genesis of --genesis or else of the settings of a client, with the path of
// the changes that these name.
func genesisOf(c *ucli.Context) (f *clusterfile.File, changes string, err error) {
	path := c.String("genesis")
	if path == "" {
		s, err := loadSettings(c)
		if err != nil {
			return nil, "", err
		}
		return s.genesis, s.client.Changes, nil
	}
	f, err = clusterfile.LoadGenesis(path)
	return f, "", cli.WithCode(cli.Usage, err)
}

func newProof(g *bftraft.Genesis, proven *client.Proven, asHex bool) *proof {
	req := proven.Request
	p := &proof{
		Cluster: g.Hash().String(), Client: proven.Client, ClientKey: req.Client.String(),
		RequestID: client.RequestID{Session: req.Session, Sequence: req.Sequence}.String(),
		Block:     proven.Block.Index, Hash: proven.Block.Hash.String(),
		Nodes: nodesOf(proven.Signers), Configuration: proven.By,
	}
	for i, op := range req.Ops {
		p.Ops = append(p.Ops, newProvenOp(op, proven.Results[i], asHex))
	}
	return p
}

func newProvenOp(encoded, value []byte, asHex bool) provenOp {
	out := provenOp{Op: "unknown", What: fmt.Sprintf("%d bytes", len(encoded))}
	if ch, err := bftraft.DecodeChange(encoded); err == nil {
		out.Op, out.What = "change", fmt.Sprintf("%d, of %d steps", ch.Number, len(ch.Steps))
		if _, why := bftraft.DecodeChangeResult(value); why != nil {
			out.Error = why.Error()
		}
		return out
	}
	if op, err := kv.DecodeOp(encoded); err == nil {
		out.Op, out.What = describeOp(op, asHex)
	}
	result, err := decodeResult(value)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	out.Revision = result.Revision
	if result.Kind == kv.KindTxn {
		out.Succeeded = &result.Succeeded
	}
	return out
}

// describeOp returns the kind of an operation and what it is about.
func describeOp(op kv.Op, asHex bool) (kind, what string) {
	switch op := op.(type) {
	case kv.Put:
		return "put", shown(op.Key, asHex) + " = " + shown(op.Value, asHex)
	case kv.Delete:
		return "delete", describeSpan(op.Span, asHex)
	case kv.Range:
		return "range", describeSpan(op.Span, asHex)
	case kv.Compact:
		return "compact", fmt.Sprintf("below revision %d", op.Revision)
	case kv.Txn:
		what = fmt.Sprintf("%d compares", len(op.Compares))
		for _, part := range op.Then {
			k, w := describeOp(part, asHex)
			what += "; then " + k + " " + w
		}
		for _, part := range op.Else {
			k, w := describeOp(part, asHex)
			what += "; else " + k + " " + w
		}
		return "txn", what
	}
	return "unknown", ""
}

func describeSpan(s kv.Span, asHex bool) string {
	if len(s.End) == 0 {
		return shown(s.Key, asHex)
	}
	return fmt.Sprintf("from %s to below %s", shown(s.Key, asHex), shown(s.End, asHex))
}

func (p *proof) print(w io.Writer) {
	fmt.Fprintf(w, "proven: client %q, request %s, block %d, vouched for by nodes %s\n", p.Client,
		p.RequestID, p.Block, list(p.Nodes))
	for _, op := range p.Ops {
		fmt.Fprintf(w, "  %s %s: ", op.Op, op.What)
		switch {
		case op.Error != "":
			fmt.Fprintln(w, op.Error)
		case op.Succeeded != nil && !*op.Succeeded:
			fmt.Fprintln(w, "condition not met")
		case op.Op == "change":
			fmt.Fprintln(w, "in force")
		default:
			fmt.Fprintf(w, "revision %d\n", op.Revision)
		}
	}
}
