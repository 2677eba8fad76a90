package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"tangaroa/bench/report"
	"tangaroa/bench/run"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := dispatch(ctx, os.Args[1:])
	switch {
	case err == nil, errors.Is(err, errHelp):
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "bench: interrupted")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// dispatch does what the first argument says; without one, it compares.
func dispatch(ctx context.Context, args []string) error {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	switch command {
	case run.ChildCommand:
		// The parent's interrupt reaches the child as the end of its input.
		return run.Child(os.Stdin, os.Stdout)
	case "attack":
		return showAttacks(ctx, args[1:])
	case "docs":
		return docs(args[1:])
	default:
		return compare(ctx, args)
	}
}

// docs writes results into the document that people read.
func docs(args []string) error {
	f := flag.NewFlagSet("bench docs", flag.ContinueOnError)
	from := f.String("from", resultsDir, "`DIR` of the results")
	to := f.String("to", filepath.Join("..", "docs", "BENCHMARKS.md"), "`FILE` to write them into")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return errHelp
		}
		return err
	}
	r, err := report.Read(*from)
	if err != nil {
		return err
	}
	attacks, err := report.ReadAttacks(*from)
	if err != nil {
		return err
	}
	return r.WriteDocs(*to, attacks)
}
