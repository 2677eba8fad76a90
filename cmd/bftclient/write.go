package main

import (
	"fmt"
	"io"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/bftraft/kv"
	"tangaroa/cmd/internal/cli"
)

// written is what a write prints as JSON.
type written struct {
	Revision  kv.Revision   `json:"revision"`
	RequestID string        `json:"request_id"`
	Block     bftraft.Index `json:"block"`
	Nodes     []int         `json:"nodes"`
	Succeeded *bool         `json:"succeeded,omitempty"`
	Count     *uint64       `json:"count,omitempty"`
	Results   []opResult    `json:"results,omitempty"`
}

// opResult is the result of one operation of a transaction, or what was before a single one.
type opResult struct {
	Op    string  `json:"op"`
	Count uint64  `json:"count"`
	More  bool    `json:"more,omitempty"`
	Keys  []entry `json:"keys"`
}

var kindNames = map[kv.Kind]string{
	kv.KindPut: "put", kv.KindDelete: "delete", kv.KindRange: "range", kv.KindTxn: "txn",
	kv.KindCompact: "compact",
}

func newWritten(result kv.Result, got client.Result, asHex bool) written {
	w := written{
		Revision: result.Revision, RequestID: got.ID.String(), Block: got.Index,
		Nodes: nodesOf(got.Receipt.Proof.Signers),
	}
	if result.Kind == kv.KindTxn {
		w.Succeeded = &result.Succeeded
	}
	for _, op := range result.Ops {
		w.Results = append(w.Results, opResult{
			Op: kindNames[op.Kind], Count: op.Count, More: op.More,
			Keys: newEntries(op.KVs, asHex),
		})
	}
	return w
}

// printWritten says what a write came to: on the first line what to remember of it.
func printWritten(
	c *ucli.Context, result kv.Result, got client.Result, more func(io.Writer),
) error {
	w := newWritten(result, got, c.Bool("hex"))
	return cli.Print(c, w, func(out io.Writer) {
		fmt.Fprintf(out, "revision %d  request %s\n", w.Revision, w.RequestID)
		if more != nil {
			more(out)
		}
	})
}

func putCommand() *ucli.Command {
	return &ucli.Command{
		Name: "put", Usage: "set a key to a value", ArgsUsage: "KEY VALUE",
		Flags: append(writeFlags(), hexFlag(), sealFlag()),
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 2, 2); err != nil {
				return err
			}
			key, err := argument(c, 0)
			if err != nil {
				return err
			}
			val, err := value(c, 1)
			if err != nil {
				return err
			}
			if val, err = sealed(c, key, val); err != nil {
				return err
			}
			result, got, err := write(c, kv.Put{Key: key, Value: val})
			if err != nil {
				return err
			}
			return printWritten(c, result, got, nil)
		},
	}
}

func delCommand() *ucli.Command {
	return &ucli.Command{
		Name: "del", Usage: "delete a key, or all with a prefix", ArgsUsage: "KEY",
		Flags: append(writeFlags(), hexFlag(),
			&ucli.BoolFlag{Name: "prefix", Usage: "delete all keys that begin with KEY"}),
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 1, 1); err != nil {
				return err
			}
			key, err := argument(c, 0)
			if err != nil {
				return err
			}
			span := kv.One(key)
			if c.Bool("prefix") {
				span = kv.Prefix(key)
			}
			result, got, err := write(c, kv.Delete{Span: span})
			if err != nil {
				return err
			}
			if result.Ops[0].Count == 0 {
				return cli.Errorf(cli.NotFound, "key not found: %s (request %v)",
					shown(key, c.Bool("hex")), got.ID)
			}
			return printWritten(c, result, got, func(out io.Writer) {
				if c.Bool("prefix") {
					fmt.Fprintf(out, "deleted %d\n", result.Ops[0].Count)
				}
			})
		},
	}
}

func casCommand() *ucli.Command {
	return &ucli.Command{
		Name: "cas", Usage: "set a key to NEW if it holds OLD", ArgsUsage: "KEY OLD NEW",
		Description: `With --seal or --identity the value is read and opened here, compared with OLD,
and replaced if the key has not been written since.`,
		Flags: append(writeFlags(), hexFlag(), sealFlag(), identityFlag()),
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 3, 3); err != nil {
				return err
			}
			key, err := argument(c, 0)
			if err != nil {
				return err
			}
			old, err := value(c, 1)
			if err != nil {
				return err
			}
			next, err := value(c, 2)
			if err != nil {
				return err
			}
			if c.IsSet("seal") || len(c.StringSlice("identity")) > 0 {
				return casOpened(c, key, old, next)
			}
			result, got, err := write(c, kv.CompareAndSwap(key, old, next))
			if err != nil {
				return err
			}
			if result.Succeeded {
				return printWritten(c, result, got, nil)
			}
			return notMet(c, result, got)
		},
	}
}

// notMet prints what a transaction found instead, and fails with the code that says so.
func notMet(c *ucli.Context, result kv.Result, got client.Result) error {
	err := printWritten(c, result, got, func(out io.Writer) {
		printOps(out, result.Ops, c.Bool("hex"))
	})
	if err != nil {
		return err
	}
	return cli.Errorf(cli.NotMet, "condition not met (request %v)", got.ID)
}

// printOps prints the results of a transaction's operations.
func printOps(out io.Writer, ops []kv.OpResult, asHex bool) {
	for _, op := range ops {
		fmt.Fprintf(out, "%s: %d found\n", kindNames[op.Kind], op.Count)
		for _, held := range op.KVs {
			fmt.Fprintf(out, "  %s = %s\n", shown(held.Key, asHex), shownValue(held.Value, asHex))
		}
	}
}
