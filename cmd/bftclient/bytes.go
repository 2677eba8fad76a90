package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft/kv"
	"tangaroa/cmd/internal/cli"
)

// argument returns the n-th argument as a key: text, or hexadecimal with --hex.
func argument(c *ucli.Context, n int) ([]byte, error) {
	text := c.Args().Get(n)
	if !c.Bool("hex") {
		return []byte(text), nil
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil, cli.Errorf(cli.Usage, "argument %d is not hexadecimal: %w", n+1, err)
	}
	return b, nil
}

// value returns the n-th argument as a value; "-" is standard input, as it is.
func value(c *ucli.Context, n int) ([]byte, error) {
	if c.Args().Get(n) != "-" {
		return argument(c, n)
	}
	for i := range c.NArg() {
		if i != n && c.Args().Get(i) == "-" {
			return nil, cli.Errorf(cli.Usage, "only one value can come from standard input")
		}
	}
	b, err := io.ReadAll(io.LimitReader(c.App.Reader, kv.MaxValueBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	return b, nil
}

// shown returns bytes as people read them on one line of a table.
func shown(b []byte, asHex bool) string {
	switch {
	case asHex:
		return hex.EncodeToString(b)
	case printable(b):
		return string(b)
	}
	return strconv.Quote(string(b))
}

// shownValue is shown for values, of which sealed ones are not for people.
func shownValue(b []byte, asHex bool) string {
	if isSealed(b) && !asHex {
		return fmt.Sprintf("(sealed, %d bytes)", len(b))
	}
	return shown(b, asHex)
}

// printable says that bytes can stand in a table as they are.
func printable(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, r := range string(b) {
		if !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}

// entry is a key in JSON. Exactly one of Key and KeyHex is set, and of Value and ValueHex unless
// there is no value.
type entry struct {
	Key      *string     `json:"key,omitempty"`
	KeyHex   *string     `json:"key_hex,omitempty"`
	Value    *string     `json:"value,omitempty"`
	ValueHex *string     `json:"value_hex,omitempty"`
	Sealed   bool        `json:"sealed,omitempty"` // the value is encrypted
	Create   kv.Revision `json:"create_revision,omitempty"`
	Mod      kv.Revision `json:"mod_revision,omitempty"`
	Version  uint64      `json:"version,omitempty"`
}

func newEntry(held kv.KV, asHex bool) entry {
	e := entry{
		Create: held.Create, Mod: held.Mod, Version: held.Version, Sealed: isSealed(held.Value),
	}
	e.Key, e.KeyHex = texts(held.Key, asHex)
	e.Value, e.ValueHex = texts(held.Value, asHex)
	return e
}

func newEntries(held []kv.KV, asHex bool) []entry {
	out := []entry{}
	for _, one := range held {
		out = append(out, newEntry(one, asHex))
	}
	return out
}

// texts returns bytes as text or, if they are none, as hexadecimal.
func texts(b []byte, asHex bool) (text, inHex *string) {
	if asHex || !utf8.Valid(b) {
		s := hex.EncodeToString(b)
		return nil, &s
	}
	s := string(b)
	return &s, nil
}

// bytesOf reads a pair of fields of a JSON file that texts could have written.
func bytesOf(field string, text, inHex *string) ([]byte, error) {
	switch {
	case text != nil && inHex != nil:
		return nil, fmt.Errorf("%s and %s_hex exclude each other", field, field)
	case text != nil:
		return []byte(*text), nil
	case inHex != nil:
		b, err := hex.DecodeString(*inHex)
		if err != nil {
			return nil, fmt.Errorf("%s_hex: %w", field, err)
		}
		return b, nil
	}
	return nil, nil
}

// line writes one JSON value to a line, for commands that print one after the other.
func line(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(value)
}
