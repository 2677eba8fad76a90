package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/adversary"
	"tangaroa/bftraft/replica"
	"tangaroa/cmd/internal/cli"
)

func adversariesCommand() *ucli.Command {
	return &ucli.Command{
		Name: "adversaries", Usage: "list the ways in which a node of a testnet can misbehave",
		Description: `Example:  bftnode start --dir /tmp/net/node2 --adversary slow,permille=900
They hold the key of their own node and no other. Several may be given; what one lets out
goes into the next.`,
		Action: func(c *ucli.Context) error {
			if err := cli.RequireArgs(c, 0, 0); err != nil {
				return err
			}
			all := adversary.All()
			return cli.Print(c, all, func(w io.Writer) { printAdversaries(w, all) })
		},
	}
}

func printAdversaries(w io.Writer, all []adversary.Attack) {
	for _, a := range all {
		fmt.Fprintf(w, "%s\n   does    %s\n   caught  %s\n", a.Name, a.Does, a.Caught)
		for _, o := range a.Options {
			values := "any text"
			switch {
			case len(o.Words) > 0:
				values = strings.Join(o.Words, ", ")
			case !o.Free:
				values = fmt.Sprintf("%d to %d", o.Least, o.Most)
			}
			if o.Default != "" {
				values += "; else " + o.Default
			}
			fmt.Fprintf(w, "   %s=…  %s (%s)\n", o.Name, o.Does, values)
		}
	}
}

// corrupt returns what makes the node the adversary asked for, nil for an honest node.
func (m *member) corrupt() (func(*replica.Config) error, error) {
	s := m.settings
	if s.Adversary == "" {
		return nil, nil
	}
	if !m.file.Genesis.Testnet {
		return nil, cli.Errorf(cli.Usage,
			"adversary %q: %s is not the genesis of a testnet, and only there nodes may misbehave",
			s.Adversary, s.Genesis)
	}
	var specs []adversary.Spec
	var sink io.Writer
	for text := range strings.FieldsSeq(s.Adversary) {
		spec, err := adversary.Parse(text)
		if err != nil {
			return nil, cli.WithCode(cli.Usage, err)
		}
		if to := spec.Get("to"); to != "" {
			if m.leak != nil {
				return nil, cli.Errorf(cli.Usage, "adversary %s: there is one leak to a node", spec)
			}
			if m.leak, err = openLeak(to, m.log); err != nil {
				return nil, err
			}
			sink = m.leak
		}
		specs = append(specs, spec)
	}
	return adversary.Corrupt(specs, uint64(s.ID), sink), nil
}

// leak hands what it is given to a third party, without making the node wait for that.
type leak struct {
	to   io.WriteCloser
	what chan []byte
	done chan struct{}
	log  *slog.Logger
}

// leakBacklog is how many lines may wait for the third party before some are lost, and leakWait
// how long the rest is waited for at the end.
const (
	leakBacklog = 10_000
	leakWait    = 5 * time.Second
)

// openLeak opens a file to append to, or a connection: tcp:HOST:PORT.
func openLeak(to string, log *slog.Logger) (*leak, error) {
	l := &leak{what: make(chan []byte, leakBacklog), done: make(chan struct{}), log: log}
	var err error
	if address, ok := strings.CutPrefix(to, "tcp:"); ok {
		l.to, err = net.DialTimeout("tcp", address, leakWait)
	} else {
		l.to, err = os.OpenFile(to, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	}
	if err != nil {
		return nil, cli.WithCode(cli.Usage, fmt.Errorf("adversary leaky: %w", err))
	}
	go l.work()
	return l, nil
}

// Write implements io.Writer. It never waits, and never fails.
func (l *leak) Write(line []byte) (int, error) {
	select {
	case l.what <- append([]byte(nil), line...):
	default:
	}
	return len(line), nil
}

func (l *leak) work() {
	defer close(l.done)
	failed := false
	for line := range l.what {
		if _, err := l.to.Write(line); err != nil && !failed {
			failed = true
			l.log.Warn("the third party is gone", "error", err)
		}
	}
}

// end writes what is left and closes. Nothing may be written any more.
func (l *leak) end() {
	close(l.what)
	select {
	case <-l.done:
	case <-time.After(leakWait):
	}
	if err := l.to.Close(); err != nil {
		l.log.Warn("the third party is gone", "error", err)
	}
}
