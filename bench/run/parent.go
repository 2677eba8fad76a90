package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ChildCommand is the argument with which this program calls itself.
const ChildCommand = "measure-one-run"

// closing is how long a run may take to end once it was told to.
const closing = 20 * time.Second

// Start makes one run in a process of its own, with its files below data. An error means that the
// run could not be made; that a contestant did not start is in the outcome.
func Start(ctx context.Context, data string, job Job) (*Outcome, error) {
	dir, err := os.MkdirTemp(data, "bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the run: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	job.Options.Dir = filepath.Join(dir, "nodes")
	if err := os.Mkdir(job.Options.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a directory for the run: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	text, err := json.Marshal(job)
	if err != nil {
		return nil, fmt.Errorf("write the job: %w", err)
	}
	limit := job.limit()
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var out, said bytes.Buffer
	command := []string{self, ChildCommand}
	if job.Syncs {
		command = append(tracer(dir), command...)
	}
	child := exec.CommandContext(within, command[0], command[1:]...)
	// An interrupt from the terminal is for the parent alone.
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	child.Stdout, child.Stderr = &out, &said
	pipe, err := child.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("reach the run: %w", err)
	}
	child.Cancel, child.WaitDelay = pipe.Close, closing
	if err := child.Start(); err != nil {
		return nil, fmt.Errorf("start the run: %w", err)
	}
	_, err = pipe.Write(text)
	err = errors.Join(err, child.Wait())
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	outcome := &Outcome{}
	if within.Err() != nil {
		outcome.Void = fmt.Sprintf("it was not done after %v", limit)
		return outcome, nil
	}
	if err == nil {
		err = json.Unmarshal(out.Bytes(), outcome)
	}
	if err != nil {
		// It fell over: that is a void run and not the end of the comparison.
		outcome.Void = fmt.Sprintf("the process fell over: %v: %s", err, opening(said.String()))
	}
	if job.Syncs && outcome.Valid() {
		return outcome, countSyncs(dir, outcome)
	}
	return outcome, nil
}

// opening returns the beginning of what a process said before it ended.
func opening(text string) string {
	const most = 2000
	text = strings.TrimSpace(text)
	return text[:min(len(text), most)]
}
