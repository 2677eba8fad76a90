package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	ucli "github.com/urfave/cli/v2"
)

// tool is a small App that answers with what it understood.
func tool() *ucli.App {
	answer := func(c *ucli.Context) error {
		return Print(c, map[string]any{"args": c.Args().Slice(), "file": c.String("file")},
			func(w io.Writer) { fmt.Fprintf(w, "%q %q", c.Args().Slice(), c.String("file")) })
	}
	put := &ucli.Command{Name: "put", Aliases: []string{"p"}, Action: answer, Flags: []ucli.Flag{
		&ucli.StringFlag{Name: "file", Aliases: []string{"f"}}, &ucli.BoolFlag{Name: "hex"},
	}}
	fail := &ucli.Command{Name: "fail", Action: func(c *ucli.Context) error {
		if err := RequireArgs(c, 1, 1); err != nil {
			return err
		}
		return WithCode(NoQuorum, errors.New("nobody\nanswered"))
	}}
	strict := &ucli.Command{Name: "strict", Action: answer, Flags: []ucli.Flag{
		&ucli.StringFlag{Name: "dir", Required: true}, &ucli.StringFlag{Name: "key", Required: true},
	}}
	group := &ucli.Command{Name: "group", Subcommands: []*ucli.Command{
		{Name: "inner", Action: answer, Flags: []ucli.Flag{&ucli.StringFlag{Name: "file"}}},
	}}
	return &ucli.App{
		Name: "tool", Commands: []*ucli.Command{put, fail, strict, group},
		Flags: []ucli.Flag{&ucli.StringFlag{Name: "config"}},
	}
}

func run(args ...string) (code Code, stdout, stderr string) {
	var out, errs bytes.Buffer
	app := tool()
	app.Writer, app.ErrWriter = &out, &errs
	code = Run(context.Background(), app, append([]string{"tool"}, args...))
	return code, out.String(), errs.String()
}

func TestFlagsMayStandAnywhere(t *testing.T) {
	for _, args := range [][]string{
		{"put", "--file", "F", "K", "V"},
		{"put", "K", "--file", "F", "V"},
		{"put", "K", "V", "-f", "F"},
		{"p", "K", "V", "--file=F"},
		{"put", "--hex", "K", "V", "--file=F"},
		{"--config", "put", "put", "K", "V", "-f=F"},
		{"group", "inner", "K", "V", "--file", "F"},
	} {
		code, out, errs := run(args...)
		require.Equal(t, OK, code, "%q: %s", args, errs)
		require.Equal(t, `["K" "V"] "F"`, out, "%q", args)
	}
}

func TestDoubleDashEndsFlags(t *testing.T) {
	code, out, _ := run("put", "-f", "F", "--", "-x", "--file")
	require.Equal(t, OK, code)
	require.Equal(t, `["-x" "--file"] "F"`, out)
	_, out, _ = run("put", "K", "-")
	require.Equal(t, `["K" "-"] ""`, out)
}

func TestOutputFormatIsTakenBeforeAndAfterTheCommand(t *testing.T) {
	for _, args := range [][]string{
		{"-o", "json", "put", "K"}, {"put", "K", "-o", "json"}, {"put", "-o=json", "K"},
		{"--output", "json", "put", "K"}, {"-o", "table", "put", "K", "--output=json"},
	} {
		code, out, errs := run(args...)
		require.Equal(t, OK, code, "%q: %s", args, errs)
		require.JSONEq(t, `{"args":["K"],"file":""}`, out, "%q", args)
	}
	code, out, errs := run("put", "K", "-o", "xml")
	require.Equal(t, Usage, code)
	require.Empty(t, out)
	require.Contains(t, errs, `"xml" is neither`)
}

func TestErrorsAreOneLineAndKeepTheirCode(t *testing.T) {
	code, out, errs := run("fail", "x")
	require.Equal(t, NoQuorum, code)
	require.Empty(t, out)
	require.Equal(t, "error: nobody answered\n", errs)

	code, _, errs = run("fail", "x", "-o", "json")
	require.Equal(t, NoQuorum, code)
	require.JSONEq(t, `{"error":{"code":5,"message":"nobody answered"}}`, errs)
}

func TestWrongUseIsExitCodeTwo(t *testing.T) {
	for _, args := range [][]string{
		{"nothing"}, {"put", "--unknown"}, {"put", "--file"}, {"fail"}, {"fail", "a", "b"},
		{"--unknown"}, {"completion", "tcsh"}, {"completion"}, {"group", "nothing"},
		{"version", "--unknown"}, {"strict"}, {"strict", "--dir", "x"},
	} {
		code, out, errs := run(args...)
		require.Equal(t, Usage, code, "%q: %s", args, errs)
		require.Regexp(t, `^error: [^\n]+\n$`, errs, "%q", args)
		require.Empty(t, out, "%q", args)
		code, _, errs = run(append([]string{"-o", "json"}, args...)...)
		require.Equal(t, Usage, code, "%q", args)
		require.True(t, json.Valid([]byte(errs)), "%q: %s", args, errs)
	}
}

func TestHelpAndVersionAreNotErrors(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"put", "--help"}, {"put", "K", "-h"},
		{"group"}, {"version"}, {"help"}} {
		code, out, errs := run(args...)
		require.Equal(t, OK, code, "%q: %s", args, errs)
		require.NotEmpty(t, out, "%q", args)
	}
	_, out, _ := run("version", "-o", "json")
	var v Version
	require.NoError(t, json.Unmarshal([]byte(out), &v))
	require.NotEmpty(t, v.Go)
}

func TestCodeOfTakesTheOutermostCode(t *testing.T) {
	inner := WithCode(NotFound, errors.New("x"))
	require.Equal(t, NotFound, CodeOf(fmt.Errorf("doing: %w", inner)))
	require.Equal(t, NotMet, CodeOf(WithCode(NotMet, inner)))
	require.Equal(t, Failed, CodeOf(errors.New("x")))
	require.Equal(t, OK, CodeOf(WithCode(Failed, nil)))
}

func TestProgramAnswersForItsCompletion(t *testing.T) {
	old := os.Args
	t.Cleanup(func() { os.Args = old })
	complete := func(args ...string) string {
		args = append(args, completionFlag)
		os.Args = append([]string{"tool"}, args...) // the library looks there
		_, out, _ := run(args...)
		return out
	}
	require.Contains(t, complete(), "put\n")
	require.Contains(t, complete("put", "--fi"), "--file")
	require.Equal(t, "bash\nzsh\nfish\n", complete("completion"))
}

func TestCompletionScriptsAreAcceptedByTheirShells(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		code, script, _ := run("completion", shell)
		require.Equal(t, OK, code)
		require.NotContains(t, script, "PROG")
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		check := exec.Command(path, "-n")
		check.Stdin = bytes.NewBufferString(script)
		said, err := check.CombinedOutput()
		require.NoError(t, err, "%s: %s", shell, said)
	}
}
