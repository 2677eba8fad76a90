package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	ucli "github.com/urfave/cli/v2"
)

// Format is how a command prints its answer.
type Format string

// The formats of the flag -o.
const (
	Table Format = "table" // aligned text, for people
	JSON  Format = "json"  // one JSON value, for programs
)

// OutputFlag is -o. It belongs on the App and on every Command; Run puts it there.
func OutputFlag() ucli.Flag {
	return &ucli.StringFlag{
		Name: "output", Aliases: []string{"o"}, Value: string(Table),
		Usage: "print as `FORMAT`: table or json",
	}
}

// FormatOf returns the format asked for, after the command or before it. The one nearest to the
// command counts.
func FormatOf(c *ucli.Context) (Format, error) {
	for _, level := range c.Lineage() {
		if level.Command == nil || !level.IsSet("output") {
			continue
		}
		switch f := Format(level.String("output")); f {
		case Table, JSON:
			return f, nil
		default:
			return Table, Errorf(Usage, "output format %q is neither table nor json", f)
		}
	}
	return Table, nil
}

// Print writes the answer of a command: value as JSON, or what table writes.
func Print(c *ucli.Context, value any, table func(w io.Writer)) error {
	format, err := FormatOf(c)
	if err != nil {
		return err
	}
	if format == JSON {
		return WriteJSON(c.App.Writer, value)
	}
	table(c.App.Writer)
	return nil
}

// WriteJSON writes one value, indented, with a newline. Text that looks like HTML stays as it is.
func WriteJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

// WriteTable writes rows in aligned columns under a header; a nil header is left out.
func WriteTable(w io.Writer, header []string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	if header != nil {
		fmt.Fprintln(t, strings.Join(header, "\t"))
	}
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// errorText is the JSON form of an error.
type errorText struct {
	Error struct {
		Code    Code   `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// WriteError writes an error in one line: "error: ..." or as JSON.
func WriteError(w io.Writer, format Format, err error) {
	message := strings.Join(strings.Fields(err.Error()), " ")
	if format != JSON {
		fmt.Fprintf(w, "error: %s\n", message)
		return
	}
	var text errorText
	text.Error.Code, text.Error.Message = CodeOf(err), message
	line, _ := json.Marshal(text)
	fmt.Fprintf(w, "%s\n", line)
}
