package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft/kv"
	"tangaroa/cmd/internal/cli"
)

const txnDescription = `FILE is JSON, "-" standard input. If all compares hold, the operations under
"then" are done, otherwise those under "else" (and the exit code is 4), all at once or not at all.

   {
     "compare": [
       {"key": "stock", "target": "value", "relation": "=", "value": "3"},
       {"key": "order/7", "target": "version", "relation": "=", "number": 0}
     ],
     "then": [
       {"put": {"key": "stock", "value": "2"}},
       {"put": {"key": "order/7", "value": "alice"}},
       {"delete": {"prefix": "cart/alice/"}}
     ],
     "else": [
       {"range": {"prefix": "order/", "limit": 10}}
     ]
   }

A target is value, version, create or mod (the last three are numbers, 0 for a key that does not
exist); a relation is =, !=, > or <. A delete or range names a key or a prefix; with "prev": true a
put or delete tells what was before. Instead of key, prefix and value there may be key_hex,
prefix_hex and value_hex. With --seal the values of all puts are sealed; compare sealed values by
version or mod, since each sealing of the same value looks different.`

// maxTxnFile bounds the text of a transaction: its operations in hexadecimal, and what surrounds
// them.
const maxTxnFile = 8 << 20

// txnText, compareText and opText are the JSON form of a transaction.
type txnText struct {
	Compare []compareText `json:"compare"`
	Then    []opText      `json:"then"`
	Else    []opText      `json:"else"`
}

type compareText struct {
	Key      *string `json:"key"`
	KeyHex   *string `json:"key_hex"`
	Target   string  `json:"target"`
	Relation string  `json:"relation"`
	Value    *string `json:"value"`
	ValueHex *string `json:"value_hex"`
	Number   *uint64 `json:"number"`
}

type opText struct {
	Put    *putText  `json:"put"`
	Delete *spanText `json:"delete"`
	Range  *spanText `json:"range"`
}

type putText struct {
	Key      *string `json:"key"`
	KeyHex   *string `json:"key_hex"`
	Value    *string `json:"value"`
	ValueHex *string `json:"value_hex"`
	Prev     bool    `json:"prev"`
}

type spanText struct {
	Key       *string `json:"key"`
	KeyHex    *string `json:"key_hex"`
	Prefix    *string `json:"prefix"`
	PrefixHex *string `json:"prefix_hex"`
	Prev      bool    `json:"prev"`
	Limit     uint32  `json:"limit"`
	CountOnly bool    `json:"count_only"`
}

var targets = map[string]kv.Target{
	"value": kv.TargetValue, "version": kv.TargetVersion, "create": kv.TargetCreate,
	"mod": kv.TargetMod,
}

var relations = map[string]kv.Relation{
	"=": kv.Equal, "!=": kv.NotEqual, ">": kv.Greater, "<": kv.Less,
}

func txnCommand() *ucli.Command {
	return &ucli.Command{
		Name: "txn", Usage: "do several operations at once, under conditions",
		ArgsUsage: "FILE|-", Description: txnDescription,
		Flags: append(writeFlags(), hexFlag(), sealFlag()),
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 1, 1); err != nil {
				return err
			}
			text, err := readInput(c, c.Args().First(), maxTxnFile)
			if err != nil {
				return err
			}
			txn, err := parseTxn(text)
			if err != nil {
				return cli.Errorf(cli.Usage, "transaction: %w", err)
			}
			if err := sealPuts(c, txn); err != nil {
				return err
			}
			result, got, err := write(c, txn)
			if err != nil {
				return err
			}
			if !result.Succeeded {
				return notMet(c, result, got)
			}
			return printWritten(c, result, got, func(out io.Writer) {
				printOps(out, result.Ops, c.Bool("hex"))
			})
		},
	}
}

// readInput reads a file, or standard input for "-".
func readInput(c *ucli.Context, path string, limit int64) ([]byte, error) {
	from := c.App.Reader
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(text)) > limit {
		return nil, cli.Errorf(cli.Usage, "%s is longer than %d bytes", path, limit)
	}
	return text, nil
}

func parseTxn(text []byte) (kv.Txn, error) {
	var raw txnText
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&raw); err != nil {
		return kv.Txn{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return kv.Txn{}, errors.New("there is more text after the end")
	}
	var txn kv.Txn
	for i, c := range raw.Compare {
		compare, err := c.parse()
		if err != nil {
			return kv.Txn{}, fmt.Errorf("compare[%d]: %w", i, err)
		}
		txn.Compares = append(txn.Compares, compare)
	}
	var err error
	if txn.Then, err = parseList("then", raw.Then); err != nil {
		return kv.Txn{}, err
	}
	txn.Else, err = parseList("else", raw.Else)
	return txn, err
}

func (c compareText) parse() (kv.Compare, error) {
	out := kv.Compare{Target: targets[c.Target], Relation: relations[c.Relation]}
	var err error
	if out.Key, err = bytesOf("key", c.Key, c.KeyHex); err != nil {
		return out, err
	}
	if out.Value, err = bytesOf("value", c.Value, c.ValueHex); err != nil {
		return out, err
	}
	hasValue := c.Value != nil || c.ValueHex != nil
	switch {
	case out.Target == 0:
		return out, fmt.Errorf("target %q is none of value, version, create, mod", c.Target)
	case out.Relation == 0:
		return out, fmt.Errorf("relation %q is none of =, !=, >, <", c.Relation)
	case out.Target == kv.TargetValue && (!hasValue || c.Number != nil):
		return out, errors.New("target value needs a value, and no number")
	case out.Target != kv.TargetValue && (hasValue || c.Number == nil):
		return out, fmt.Errorf("target %s needs a number, and no value", c.Target)
	}
	if c.Number != nil {
		out.Number = *c.Number
	}
	return out, nil
}

func parseList(field string, list []opText) ([]kv.Op, error) {
	var out []kv.Op
	for i, text := range list {
		op, err := text.parse()
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", field, i, err)
		}
		out = append(out, op)
	}
	return out, nil
}

func (o opText) parse() (kv.Op, error) {
	switch {
	case o.Put != nil && o.Delete == nil && o.Range == nil:
		key, err := bytesOf("key", o.Put.Key, o.Put.KeyHex)
		if err != nil {
			return nil, err
		}
		val, err := bytesOf("value", o.Put.Value, o.Put.ValueHex)
		if err == nil && o.Put.Value == nil && o.Put.ValueHex == nil {
			err = errors.New("put needs a value")
		}
		return kv.Put{Key: key, Value: val, PrevKV: o.Put.Prev}, err
	case o.Delete != nil && o.Put == nil && o.Range == nil:
		span, err := o.Delete.span()
		if err == nil && (o.Delete.Limit != 0 || o.Delete.CountOnly) {
			err = errors.New("delete has no limit and no count_only")
		}
		return kv.Delete{Span: span, PrevKV: o.Delete.Prev}, err
	case o.Range != nil && o.Put == nil && o.Delete == nil:
		span, err := o.Range.span()
		if err == nil && o.Range.Prev {
			err = errors.New("range has no prev")
		}
		return kv.Range{Span: span, Limit: o.Range.Limit, CountOnly: o.Range.CountOnly}, err
	}
	return nil, errors.New("it must be one of put, delete, range")
}

func (s *spanText) span() (kv.Span, error) {
	key, err := bytesOf("key", s.Key, s.KeyHex)
	if err != nil {
		return kv.Span{}, err
	}
	prefix, err := bytesOf("prefix", s.Prefix, s.PrefixHex)
	if err != nil {
		return kv.Span{}, err
	}
	hasKey := s.Key != nil || s.KeyHex != nil
	hasPrefix := s.Prefix != nil || s.PrefixHex != nil
	if hasKey == hasPrefix {
		return kv.Span{}, errors.New("it needs a key or a prefix")
	}
	if hasPrefix {
		return kv.Prefix(prefix), nil
	}
	return kv.One(key), nil
}
