package main

import (
	"fmt"
	"io"
	"math"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft/kv"
	"tangaroa/cmd/internal/cli"
)

func readFlags() []ucli.Flag {
	return []ucli.Flag{
		hexFlag(), identityFlag(),
		&ucli.StringFlag{
			Name: "read", Value: string(linearizable),
			Usage: "`LEVEL`: linearizable, or stale for one node's word, which may be old or a lie",
		},
		&ucli.Uint64Flag{Name: "rev", Usage: "read as it was at revision `REV`"},
	}
}

func levelOf(c *ucli.Context) (readLevel, error) {
	switch level := readLevel(c.String("read")); level {
	case linearizable, stale:
		return level, nil
	default:
		return "", cli.Errorf(cli.Usage, "read level %q is neither linearizable nor stale", level)
	}
}

func getCommand() *ucli.Command {
	return &ucli.Command{
		Name: "get", Usage: "print the value of a key", ArgsUsage: "KEY",
		Description: `Prints the bytes of the value and a newline; with --hex, hexadecimal. A value
that was put with --seal is printed as it is, encrypted, unless --identity opens it.`,
		Flags: readFlags(),
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 1, 1); err != nil {
				return err
			}
			key, err := argument(c, 0)
			if err != nil {
				return err
			}
			level, err := levelOf(c)
			if err != nil {
				return err
			}
			o, err := openerOf(c)
			if err != nil {
				return err
			}
			s, err := connect(c, nil)
			if err != nil {
				return err
			}
			defer s.close()
			found, err := s.rangeOf(
				kv.Range{Span: kv.One(key), Revision: kv.Revision(c.Uint64("rev"))}, level)
			if err != nil {
				return err
			}
			if len(found.KVs) == 0 {
				return cli.Errorf(cli.NotFound, "key not found: %s", shown(key, c.Bool("hex")))
			}
			if _, err := o.openKV(&found.KVs[0]); err != nil {
				return err
			}
			if isSealed(found.KVs[0].Value) && !s.warn.json && !c.Bool("hex") {
				s.warn.say("the value is sealed: --identity FILE opens it")
			}
			return printValue(c, found.KVs[0])
		},
	}
}

func printValue(c *ucli.Context, held kv.KV) error {
	return cli.Print(c, newEntry(held, c.Bool("hex")), func(out io.Writer) {
		if c.Bool("hex") {
			fmt.Fprintf(out, "%x\n", held.Value)
			return
		}
		fmt.Fprintf(out, "%s\n", held.Value)
	})
}

// found is what range prints as JSON.
type found struct {
	Count    uint64      `json:"count"`
	More     bool        `json:"more"`
	Revision kv.Revision `json:"revision,omitempty"`
	Keys     []entry     `json:"keys"`
}

func rangeCommand() *ucli.Command {
	return &ucli.Command{
		Name: "range", Usage: "list the keys that begin with a prefix", ArgsUsage: "PREFIX",
		Description: `An empty PREFIX ("") lists all keys.`,
		Flags: append(readFlags(),
			&ucli.Uint64Flag{Name: "limit", Usage: "print at most `N` keys; 0 is all"},
			&ucli.BoolFlag{Name: "count", Usage: "print only how many there are"}),
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 1, 1); err != nil {
				return err
			}
			if c.Uint64("limit") > math.MaxUint32 {
				return cli.Errorf(cli.Usage, "--limit is at most %d", uint32(math.MaxUint32))
			}
			prefix, err := argument(c, 0)
			if err != nil {
				return err
			}
			level, err := levelOf(c)
			if err != nil {
				return err
			}
			o, err := openerOf(c)
			if err != nil {
				return err
			}
			s, err := connect(c, nil)
			if err != nil {
				return err
			}
			defer s.close()
			all, at, err := s.rangeAll(kv.Range{
				Span: kv.Prefix(prefix), Revision: kv.Revision(c.Uint64("rev")),
				Limit: uint32(c.Uint64("limit")), CountOnly: c.Bool("count"),
			}, level)
			if err != nil {
				return err
			}
			if err := o.openAll(all.KVs); err != nil {
				return err
			}
			return printRange(c, all, at)
		},
	}
}

// rangeAll reads all pages of a range. If there is more than one, they are all of one revision.
func (s *session) rangeAll(
	r kv.Range, level readLevel,
) (all kv.RangeResult, at kv.Revision, err error) {
	if all, err = s.rangeOf(r, level); err != nil || !all.More || r.CountOnly {
		return all, r.Revision, err
	}
	if r.Limit > 0 && len(all.KVs) >= int(r.Limit) {
		return all, r.Revision, nil
	}
	if r.Revision == 0 {
		if r.Revision, err = s.revision(); err != nil {
			return all, 0, err
		}
		if all, err = s.rangeOf(r, level); err != nil {
			return all, 0, err
		}
	}
	limit := int(r.Limit)
	for all.More && (limit == 0 || len(all.KVs) < limit) {
		// The next key above the last is that key with a zero byte behind it.
		last := all.KVs[len(all.KVs)-1].Key
		r.Key = append(last[:len(last):len(last)], 0)
		if limit > 0 {
			r.Limit = uint32(limit - len(all.KVs))
		}
		page, err := s.rangeOf(r, level)
		if err != nil {
			return all, 0, err
		}
		all.KVs, all.More = append(all.KVs, page.KVs...), page.More
	}
	return all, r.Revision, nil
}

func printRange(c *ucli.Context, all kv.RangeResult, at kv.Revision) error {
	asHex := c.Bool("hex")
	out := found{Count: all.Count, More: all.More, Revision: at, Keys: newEntries(all.KVs, asHex)}
	return cli.Print(c, out, func(w io.Writer) {
		if c.Bool("count") {
			fmt.Fprintln(w, all.Count)
			return
		}
		var rows [][]string
		for _, held := range all.KVs {
			rows = append(rows, []string{
				shown(held.Key, asHex), fmt.Sprint(held.Mod), fmt.Sprint(held.Version),
				shownValue(held.Value, asHex),
			})
		}
		_ = cli.WriteTable(w, []string{"KEY", "REVISION", "VERSION", "VALUE"}, rows)
		if all.More {
			fmt.Fprintf(w, "%d of %d keys\n", len(all.KVs), all.Count)
		}
	})
}
