package cli

import (
	"context"
	"os"
	"slices"
	"strings"

	ucli "github.com/urfave/cli/v2"
)

// completionFlag is what the completion scripts append; it must stay the last argument.
const completionFlag = "--generate-bash-completion"

// Run runs an App with the arguments of the process, the name of the program first, and returns
// the exit code. It adds -o, the commands version and completion, and errors in one line.
// Flags may stand before, between and after the arguments of a command; "--" ends them.
func Run(ctx context.Context, app *ucli.App, args []string) Code {
	prepare(app)
	args = arrange(app, args)
	err := app.RunContext(ctx, args)
	if err != nil {
		WriteError(app.ErrWriter, formatOfArgs(args), err)
	}
	return CodeOf(err)
}

func prepare(app *ucli.App) {
	if app.Writer == nil {
		app.Writer = os.Stdout
	}
	if app.ErrWriter == nil {
		app.ErrWriter = os.Stderr
	}
	app.DisableSliceFlagSeparator = true // values may have commas of their own
	app.EnableBashCompletion = true
	app.HideVersion = true
	app.Version = ReadVersion().Version
	app.ExitErrHandler = func(*ucli.Context, error) {}
	app.OnUsageError = usageError
	app.Suggest = true
	app.Flags = append(app.Flags, OutputFlag())
	app.CommandNotFound = nil
	if app.Action == nil {
		app.Action = needsCommand
	}
	app.Commands = append(app.Commands, VersionCommand(), CompletionCommand(app.Name))
	for _, command := range app.Commands {
		prepareCommand(command)
	}
}

func prepareCommand(command *ucli.Command) {
	command.OnUsageError = usageError
	for _, sub := range command.Subcommands {
		prepareCommand(sub)
	}
	if len(command.Subcommands) == 0 {
		requireFlags(command)
		command.Flags = append(command.Flags, OutputFlag())
	} else if command.Action == nil {
		command.Action = needsCommand
	}
}

// requireFlags takes the check of required text flags over from the library, which would print its
// help in front of the message.
func requireFlags(command *ucli.Command) {
	var names []string
	for _, f := range command.Flags {
		if text, ok := f.(*ucli.StringFlag); ok && text.Required {
			text.Required = false
			names = append(names, text.Name)
		}
	}
	if action := command.Action; len(names) > 0 && action != nil {
		command.Action = func(c *ucli.Context) error {
			for _, name := range names {
				if !c.IsSet(name) {
					return Errorf(Usage, "%s needs --%s; see %s --help", command.Name, name,
						c.Command.HelpName)
				}
			}
			return action(c)
		}
	}
}

// usageError keeps the library from printing its help over the message.
func usageError(_ *ucli.Context, err error, _ bool) error { return WithCode(Usage, err) }

// needsCommand is what an App does when no command fits: help when there was none to fit.
func needsCommand(c *ucli.Context) error {
	if c.NArg() > 0 {
		return Errorf(Usage, "there is no command %q; see %s --help", c.Args().First(),
			c.App.HelpName)
	}
	if c.Command != nil && len(c.Lineage()) > 2 {
		return ucli.ShowSubcommandHelp(c)
	}
	return ucli.ShowAppHelp(c)
}

// RequireArgs returns a usage error unless the command got between least and most arguments.
func RequireArgs(c *ucli.Context, least, most int) error {
	if n := c.NArg(); n < least || n > most {
		return Errorf(Usage, "%s takes %s %s; see %s --help", c.Command.Name,
			plural(least, most), c.Command.ArgsUsage, c.Command.HelpName)
	}
	return nil
}

func plural(least, most int) string {
	switch {
	case most == 0:
		return "no arguments"
	case least == most && most == 1:
		return "one argument:"
	}
	return "the arguments"
}

// arrange moves the flags of a command before its arguments, because the library stops looking for
// flags at the first argument. It does not judge: what it does not know it treats as a flag
// without a value, so that the library names it.
func arrange(app *ucli.App, args []string) []string {
	if len(args) < 2 || args[len(args)-1] == completionFlag {
		return args
	}
	out, rest := []string{args[0]}, args[1:]
	flags, commands := app.Flags, app.Commands
	for {
		var taken int
		out, taken = takeFlags(out, rest, flags)
		rest = rest[taken:]
		if len(rest) == 0 || rest[0] == "--" {
			return append(out, rest...)
		}
		command := find(commands, rest[0])
		if command == nil {
			return append(out, rest...)
		}
		out, rest = append(out, rest[0]), rest[1:]
		flags, commands = command.Flags, command.Subcommands
		if len(commands) == 0 {
			return append(out, flagsFirst(rest, flags)...)
		}
	}
}

func find(commands []*ucli.Command, name string) *ucli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// takeFlags appends the flags at the start of args, with their values, and says how many arguments
// that took.
func takeFlags(out, args []string, flags []ucli.Flag) ([]string, int) {
	i := 0
	for i < len(args) && isFlag(args[i]) {
		n := min(1+valuesOf(args[i], flags), len(args)-i)
		out = append(out, args[i:i+n]...)
		i += n
	}
	return out, i
}

func flagsFirst(args []string, flags []ucli.Flag) []string {
	var front, back []string
	for len(args) > 0 {
		if args[0] == "--" {
			back = append(back, args[1:]...)
			break
		}
		var taken int
		if front, taken = takeFlags(front, args, flags); taken == 0 {
			back, taken = append(back, args[0]), 1
		}
		args = args[taken:]
	}
	if slices.Contains(front, "--help") || slices.Contains(front, "-h") {
		return []string{"--help"} // with arguments the library would take them for topics
	}
	if len(back) == 0 {
		return front
	}
	return slices.Concat(front, []string{"--"}, back)
}

// isFlag reports whether an argument looks like a flag; "-" alone is standard input.
func isFlag(arg string) bool {
	return len(arg) > 1 && arg[0] == '-' && arg != "--"
}

// valuesOf returns how many arguments after this one belong to the flag.
func valuesOf(arg string, flags []ucli.Flag) int {
	name := strings.TrimLeft(arg, "-")
	if strings.Contains(name, "=") {
		return 0
	}
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			if doc, ok := f.(ucli.DocGenerationFlag); ok && doc.TakesValue() {
				return 1
			}
			return 0
		}
	}
	return 0
}

// formatOfArgs finds the format for an error that came before, or because, the flags were not
// understood.
func formatOfArgs(args []string) Format {
	format := Table
	for i, arg := range args {
		name, value, joined := strings.Cut(arg, "=")
		if name == "--" {
			break
		}
		if name != "-o" && name != "--o" && name != "-output" && name != "--output" {
			continue
		}
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		format = Format(value)
	}
	return format
}
