package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/schollz/progressbar/v3"

	"tangaroa/bench/plan"
	"tangaroa/bench/run"
)

// progress is the bar on the terminal, if standard error is one.
type progress struct{ bar *progressbar.ProgressBar }

func newProgress(todo []plan.Comparison) *progress {
	runs := 0
	for _, c := range todo {
		runs += (c.Rounds + c.Extra()) * len(c.Contestants)
	}
	info, err := os.Stderr.Stat()
	visible := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &progress{progressbar.NewOptions(runs,
		progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetVisibility(visible),
		progressbar.OptionSetWidth(30), progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())}
}

func (p *progress) describe(what string) { p.bar.Describe(fmt.Sprintf("%-40s", what)) }

func (p *progress) done() { _ = p.bar.Add(1) }

func (p *progress) clear() { _ = p.bar.Clear() }

func (p *progress) end() { _ = p.bar.Finish() }

// profileName names the profile of a run.
func profileName(dir string, job *run.Job, round int) string {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" %=,/", r) {
			return '-'
		}
		return r
	}, fmt.Sprintf("%s-%d.pprof", job, round+1))
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return filepath.Join(dir, name)
	}
	return path
}
