// Bftclient reads and writes the key-value store of a cluster, and believes only what f+1 of its
// nodes vouch for.
//
// Its files are those that "bftnode testnet" or an operator made: a client.yaml that names the
// genesis and the client's private key. It takes no other state along, so any number of it may run
// at once. "bftclient --help" lists commands and exit codes.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"tangaroa/cmd/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, streams{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(int(code))
}

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, s streams) cli.Code {
	return cli.Run(ctx, newApp(s), args)
}
