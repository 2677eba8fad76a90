package main

import (
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
	Ops       []provenOp    `json:"operations"`
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
		Name: "verify", Usage: "check a receipt or a proof against a node, offline",
		ArgsUsage: "FILE|-",
		Description: `Needs nothing but the genesis, from --genesis or the settings of a client. What
it prints is proven: that this client asked for these operations, and that the cluster executed
them with these results; or that a node has signed two statements that contradict each other.`,
		Flags: []ucli.Flag{
			hexFlag(),
			&ucli.StringFlag{Name: "genesis", Usage: "genesis of the cluster, `FILE` genesis.json"},
		},
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 1, 1); err != nil {
				return err
			}
			g, err := genesisOf(c)
			if err != nil {
				return err
			}
			text, err := readInput(c, c.Args().First(), client.MaxReceiptBytes)
			if err != nil {
				return err
			}
			if client.IsEvidence(text) {
				return verifyEvidence(c, g, text)
			}
			receipt, err := client.DecodeReceipt(text)
			if err != nil {
				return explain(err)
			}
			proven, err := receipt.Verify(g)
			if err != nil {
				return explain(err)
			}
			p := newProof(g, proven, c.Bool("hex"))
			return cli.Print(c, p, p.print)
		},
	}
}

func genesisOf(c *ucli.Context) (*bftraft.Genesis, error) {
	path := c.String("genesis")
	if path == "" {
		s, err := loadSettings(c)
		if err != nil {
			return nil, err
		}
		return &s.genesis.Genesis, nil
	}
	f, err := clusterfile.LoadGenesis(path)
	if err != nil {
		return nil, cli.WithCode(cli.Usage, err)
	}
	return &f.Genesis, nil
}

func newProof(g *bftraft.Genesis, proven *client.Proven, asHex bool) *proof {
	req := proven.Request
	p := &proof{
		Cluster: g.Hash().String(), Client: proven.Client, ClientKey: req.Client.String(),
		RequestID: client.RequestID{Session: req.Session, Sequence: req.Sequence}.String(),
		Block:     proven.Block.Index, Hash: proven.Block.Hash.String(),
		Nodes: nodesOf(proven.Signers),
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
