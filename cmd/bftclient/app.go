package main

import (
	"errors"
	"time"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/bftraft/kv"
	"tangaroa/cmd/internal/cli"
	"tangaroa/p2p"
)

const appDescription = `Every answer is checked: f+1 nodes must have signed the same. A node that
says something else is named on standard error and does not disturb the result.

Flags may stand before or after the arguments; "--" ends them, for keys that begin with "-".
A VALUE of "-" is read from standard input. With --hex, keys and values are hexadecimal, going in
and coming out. With -o json, a key or value that is no UTF-8 text is in "key_hex" or "value_hex".

EXIT CODES
   0  ok
   1  failed, for a reason that none of the others fits
   2  the command line, a settings file, or the size of a key or value is wrong
   3  the key was not found
   4  the condition of cas or txn was not met, or a change did not come into force, as when
      there is no such member, or nothing to roll back
   5  no quorum answered in time. A write may or may not have happened: repeating the
      same command with the --request-id that the message names is safe
   6  the proof does not verify
   7  this client is not authorised (any more), or its role does not allow it
  12  too few of the nodes that would vote are ready: the members stay as they are`

func newApp(s streams) *ucli.App {
	app := &ucli.App{
		Name: "bftclient", HelpName: "bftclient",
		Usage:       "read and write the key-value store of a Tangaroa cluster",
		Description: appDescription,
		Reader:      s.in, Writer: s.out, ErrWriter: s.err,
		Flags: globalFlags(),
		Commands: []*ucli.Command{
			putCommand(), getCommand(), delCommand(), rangeCommand(), casCommand(), txnCommand(),
			watchCommand(), statusCommand(), loadCommand(), verifyCommand(),
			evidenceCommand(), attackCommand(), sealKeygenCommand(),
			memberCommand(), changeCommand(), signChangeCommand(), leaderCommand(),
		},
	}
	takeGlobals(app.Commands)
	return app
}

// takeGlobals lets the same flags be taken after the command. The environment counts for the first
// ones only: what was typed before the command counts more.
func takeGlobals(commands []*ucli.Command) {
	for _, command := range commands {
		takeGlobals(command.Subcommands)
		for _, f := range globalFlags() {
			if text, ok := f.(*ucli.StringFlag); ok {
				text.EnvVars, text.Hidden = nil, true
			}
			if limit, ok := f.(*ucli.DurationFlag); ok {
				limit.Hidden = true
			}
			command.Flags = append(command.Flags, f)
		}
	}
}

func globalFlags() []ucli.Flag {
	return []ucli.Flag{
		&ucli.StringFlag{
			Name: "config", Aliases: []string{"c"}, EnvVars: []string{"BFTCLIENT_CONFIG"},
			Usage: "settings of this client, `FILE` client.yaml",
		},
		&ucli.StringFlag{
			Name: "passphrase-file", EnvVars: []string{"BFTCLIENT_PASSPHRASE_FILE"},
			Usage: "`FILE` with the passphrase of an encrypted key",
		},
		&ucli.DurationFlag{
			Name: "timeout", Value: 10 * time.Second,
			Usage: "`TIME` to wait for the cluster",
		},
	}
}

// stringOf returns a global flag, from the place nearest to the command.
func stringOf(c *ucli.Context, name string) string {
	for _, level := range c.Lineage() {
		if level.Command != nil && level.IsSet(name) {
			return level.String(name)
		}
	}
	return ""
}

// timeoutOf returns --timeout, from the place nearest to the command.
func timeoutOf(c *ucli.Context) time.Duration {
	for _, level := range c.Lineage() {
		if level.Command != nil && level.IsSet("timeout") {
			return level.Duration("timeout")
		}
	}
	return c.Duration("timeout")
}

// isSet says whether a global flag was given anywhere.
func isSet(c *ucli.Context, name string) bool {
	for _, level := range c.Lineage() {
		if level.Command != nil && level.IsSet(name) {
			return true
		}
	}
	return false
}

// exitCodes says which code an error of the libraries has. The first that fits counts.
var exitCodes = []struct {
	err  error
	code cli.Code
}{
	{client.ErrNotAuthorised, cli.NotAuthorised},
	{client.ErrMayOnlyRead, cli.NotAuthorised},
	{client.ErrMayNotAdminister, cli.NotAuthorised},
	{client.ErrUnknownOutcome, cli.NoQuorum},
	{client.ErrNotSent, cli.NoQuorum},
	{client.ErrNoQuorum, cli.NoQuorum},
	{client.ErrResultForgotten, cli.NoQuorum},
	{client.ErrReceipt, cli.BadProof},
	{bftraft.ErrChangeNotReady, cli.NotReady},
	{client.ErrRequestID, cli.Usage},
	{client.ErrConfig, cli.Usage},
	{p2p.ErrConfig, cli.Usage},
	{client.ErrTooLarge, cli.Usage},
	{kv.ErrEmptyKey, cli.Usage},
	{kv.ErrKeyTooLarge, cli.Usage},
	{kv.ErrValueTooLarge, cli.Usage},
	{kv.ErrOpTooLarge, cli.Usage},
	{kv.ErrTooManyOps, cli.Usage},
	{kv.ErrDuplicateKey, cli.Usage},
	{kv.ErrEmptySpan, cli.Usage},
}

// whereTold says how a client learns of what nobody tells it whom it knows.
const whereTold = `If they are not down, tell it what has changed with "changes: FILE" in ` +
	"client.yaml: any client that works writes that file with bftclient member list --changes FILE"

// explain gives an error its exit code and, where the outcome is unknown, says what to do.
func explain(err error) error {
	if err == nil || cli.CodeOf(err) != cli.Failed {
		return err
	}
	for _, e := range exitCodes {
		if !errors.Is(err, e.err) {
			continue
		}
		var unknown *client.UnknownOutcomeError
		switch {
		case errors.As(err, &unknown):
			return cli.Errorf(e.code, "no quorum answered in time (%w): the write may or may not "+
				"have happened; repeating the same command with --request-id %v is safe",
				unknown.Cause, unknown.ID)
		case errors.Is(err, client.ErrNotSent) && errors.Is(err, client.ErrOutdated):
			return cli.Errorf(e.code, "%w: it did not happen. %s", err, whereTold)
		case errors.Is(err, client.ErrOutdated):
			return cli.Errorf(e.code, "%w. %s", err, whereTold)
		case errors.Is(err, client.ErrNotSent):
			return cli.Errorf(e.code, "%w: it did not happen. Are the nodes up, and is this client "+
				"enrolled?", err)
		}
		return cli.WithCode(e.code, err)
	}
	return err
}
