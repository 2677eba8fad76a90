// Package cli is what the commands have in common: flags in any order, output for people or as
// JSON, errors in one line, exit codes, version and shell completion.
//
// # Contract
//
// A command is a urfave/cli App that is run by Run, which returns the exit code and never exits by
// itself. What a command was asked for goes to App.Writer; everything else, errors included, to
// App.ErrWriter. With "-o json", given before or after the command, both are JSON.
//
// # Threads
//
// One goroutine runs an App.
package cli
