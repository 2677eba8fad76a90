//go:build linux

package processes

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// process is a command that runs.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	log   string        // path of what it says on standard error
	ended chan struct{} // closed when it has ended; then code is set
	code  int           // -1 if a signal ended it
}

// spawn starts a command, ours or one by its path, whose life is that of the test at most. What it
// says on standard error is added to the log.
func spawn(t *testing.T, log, name string, args ...string) *process {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(bin, name)
	}
	out, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	require.NoError(t, err)
	p := &process{
		t: t, cmd: exec.Command(name, args...), log: log, ended: make(chan struct{}),
	}
	p.cmd.Stderr = out
	// If the tests are killed, nobody else ends what they started.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = p.cmd.Start()
	require.NoError(t, errors.Join(err, out.Close()))
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended is in the state
		p.code = p.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() { p.kill() })
	return p
}

// signal sends a signal; one that has ended does not mind.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(p.t, err)
	}
}

// wait waits for the end and returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		require.FailNow(p.t, "process does not end", "%v", p.cmd.Args)
	}
	return p.code
}

func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.wait()
}

// running says whether it has not ended.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// said is what a command said and how it ended.
type said struct {
	code     int
	out, err string
}

// run runs a command to its end.
func run(t *testing.T, stdin, name string, args ...string) said {
	t.Helper()
	return runFor(t, patience, stdin, name, args...)
}

// runFor is run for a command that takes longer.
func runFor(t *testing.T, limit time.Duration, stdin, name string, args ...string) said {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	require.NoError(t, ctx.Err(), "%s %q does not end: %s", name, args, errs.String())
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return said{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}
