package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"tangaroa/bench/contestant"
	"tangaroa/bench/plan"
	"tangaroa/bench/report"
	"tangaroa/bench/run"
)

// errHelp is returned when help was asked for and given.
var errHelp = errors.New("help was given")

// settings are the flags of the comparison.
type settings struct {
	names   []string
	axes    plan.Axes
	byHand  bool // a flag of the axes was given
	quick   bool
	rounds  int
	times   plan.Times
	data    string
	out     string
	profile string
	cost    bool
	syncs   bool
}

// list is a flag of several values with commas.
type list[T any] struct {
	to    *[]T
	parse func(string) (T, error)
}

// String implements flag.Value; the defaults stand in the words of each flag.
func (l list[T]) String() string { return "" }

// Set implements flag.Value.
func (l list[T]) Set(text string) error {
	*l.to = nil
	for word := range strings.SplitSeq(text, ",") {
		v, err := l.parse(strings.TrimSpace(word))
		if err != nil {
			return err
		}
		*l.to = append(*l.to, v)
	}
	return nil
}

func known(name string) (string, error) {
	c, err := contestant.Find(name)
	return c.Name, err
}

// handFlags are those that make a comparison by hand.
var handFlags = []string{
	"sizes", "outstanding", "nodes", "reads", "mix", "dead", "kill-leader", "adversary", "as-leader",
}

func parseSettings(args []string) (*settings, error) {
	s := &settings{axes: plan.Axes{
		Nodes: []int{4}, Sizes: []int{128}, Outstanding: []int{1, 64, 1024},
	}}
	for _, c := range contestant.All() {
		s.names = append(s.names, c.Name)
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.Usage = func() { usage(f) }
	text := func(word string) (string, error) { return word, nil }
	f.Var(list[string]{&s.names, known}, "contestants", "only these, as `a,b`")
	f.Var(list[int]{&s.axes.Sizes, strconv.Atoi}, "sizes", "value sizes in bytes, as `128,1024`")
	f.Var(list[int]{&s.axes.Outstanding, strconv.Atoi}, "outstanding",
		"operations under way at the same time, as `1,64,1024`")
	f.Var(list[int]{&s.axes.Nodes, strconv.Atoi}, "nodes", "cluster sizes, as `4,7,10`")
	reads := f.Bool("reads", false, "linearizable reads instead of puts")
	mix := f.Bool("mix", false, "90 % reads, 10 % puts")
	f.IntVar(&s.axes.Dead, "dead", 0, "kill so many followers before measuring")
	f.BoolVar(&s.axes.KillLeader, "kill-leader", false, "kill the leader when measuring begins")
	f.Var(list[string]{&s.axes.Adversaries, text}, "adversary",
		"let one node of ours lie, as `silent,slow`")
	f.BoolVar(&s.axes.AsLeader, "as-leader", false, "the liar leads at first")
	f.BoolVar(&s.quick, "quick", false, "the heart of it, in under two minutes")
	f.IntVar(&s.rounds, "rounds", 0, "rounds, 3 by default and 1 with --quick")
	seconds := f.Float64("seconds", 0, "measured time of a run, 3 by default and 1 with --quick")
	warm := f.Float64("warmup", 0, "seconds before that, by default a third of it")
	f.IntVar(&s.times.Keys, "keys", 1000, "keys that are written")
	f.StringVar(&s.data, "data", "", "`DIR` on a real disk for the nodes' files")
	f.StringVar(&s.out, "out", "", "write JSON, CSV, charts into `DIR`")
	f.StringVar(&s.profile, "profile", "", "write CPU profiles of all runs into `DIR`")
	f.BoolVar(&s.cost, "cost", false, "profile one more run of each, and divide the cost")
	f.BoolVar(&s.syncs, "syncs", false, "count flushes in one more run of each, with strace")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil, errHelp
	case err != nil:
		return nil, err
	case f.NArg() > 0:
		return nil, fmt.Errorf("what is %q? Commands come first; see --help", f.Arg(0))
	}
	f.Visit(func(one *flag.Flag) {
		s.byHand = s.byHand || slices.Contains(handFlags, one.Name)
	})
	s.fillIn(*reads, *mix, *seconds, *warm)
	return s, s.check()
}

// fillIn sets what was left to us.
func (s *settings) fillIn(reads, mix bool, seconds, warm float64) {
	switch {
	case reads && mix:
		s.axes.Reads = []float64{1, 0.9}
	case reads:
		s.axes.Reads = []float64{1}
	case mix:
		s.axes.Reads = []float64{0.9}
	default:
		s.axes.Reads = []float64{0}
	}
	if s.rounds == 0 {
		s.rounds = 3
		if s.quick {
			s.rounds = 1
		}
	}
	if seconds == 0 {
		seconds = 3
		if s.quick {
			seconds = 1
		}
	}
	if warm == 0 {
		warm = seconds / 3
	}
	s.times.Measure = time.Duration(seconds * float64(time.Second))
	s.times.WarmUp = time.Duration(warm * float64(time.Second))
}

// resultsDir is where the whole comparison goes.
const resultsDir = "results"

func (s *settings) check() error {
	if s.out == "" && !s.byHand && !s.quick {
		s.out = resultsDir
	}
	w := plan.Workload{Nodes: 4, ValueBytes: 128, Outstanding: 1}
	job := w.Job("ours", s.times)
	if err := job.Workload.Validate(); err != nil {
		return err
	}
	if s.rounds < 1 {
		return fmt.Errorf("--rounds: %d is not positive", s.rounds)
	}
	for _, dir := range []string{s.data, s.out, s.profile} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func usage(f *flag.FlagSet) {
	w := f.Output()
	fmt.Fprintln(w, "usage: bench [flags]   compare; without flags, everything")
	fmt.Fprintln(w, "\ncontestants:")
	for _, c := range contestant.All() {
		fmt.Fprintf(w, "  %-7s %s: %s\n", c.Name, c.Title, c.Does)
	}
	fmt.Fprintln(w, "\nflags:")
	f.PrintDefaults()
}

// comparisons returns what is to be done.
func (s *settings) comparisons() []plan.Comparison {
	switch {
	case s.byHand:
		return s.axes.Product(s.names, s.rounds)
	case s.quick:
		return plan.Quick(s.names, s.rounds)
	default:
		return plan.Full(s.names, s.rounds)
	}
}

// compare does all runs and reports them.
func compare(ctx context.Context, args []string) error {
	s, err := parseSettings(args)
	if err != nil {
		return err
	}
	todo := s.comparisons()
	if len(todo) == 0 {
		return errors.New("none of the contestants can do that")
	}
	for i := range todo {
		todo[i].Cost = todo[i].Cost || s.cost
		todo[i].Syncs = todo[i].Syncs || s.syncs
	}
	r := &report.Report{
		Began: time.Now().UTC().Truncate(time.Second), Machine: report.ThisMachine(),
		Commit: report.Commit(), Command: strings.Join(append([]string{"bench"}, args...), " "),
	}
	bar := newProgress(todo)
	defer bar.end()
	for _, c := range todo {
		g, err := s.group(ctx, c, bar)
		if err != nil {
			return err
		}
		r.Groups = append(r.Groups, *g)
		bar.clear()
		if err := report.WriteGroup(os.Stdout, g); err != nil {
			return err
		}
	}
	r.Took = time.Since(r.Began).Seconds()
	if err := r.WriteBars(os.Stdout); err != nil {
		return err
	}
	if s.out != "" {
		return r.Write(s.out)
	}
	return nil
}

// group lets the contestants take turns.
func (s *settings) group(
	ctx context.Context, c plan.Comparison, bar *progress,
) (*report.Group, error) {
	g := &report.Group{Workload: c.Workload}
	for _, name := range c.Contestants {
		g.Rows = append(g.Rows, report.Row{Contestant: name})
	}
	for round := range c.Rounds {
		for i := range g.Rows {
			job := c.Workload.Job(g.Rows[i].Contestant, s.times)
			if s.profile != "" {
				job.CPUProfile = profileName(s.profile, &job, round)
			}
			bar.describe(job.String())
			o, err := run.Start(ctx, s.data, job)
			if err != nil {
				return nil, err
			}
			g.Rows[i].Outcomes = append(g.Rows[i].Outcomes, o)
			bar.done()
		}
	}
	var err error
	if c.Syncs && run.CanCountSyncs() {
		err = s.addSyncs(ctx, g, bar)
	}
	if err == nil && c.Cost {
		err = s.addCost(ctx, g, bar)
	}
	return g, err
}

// addSyncs counts flushes in one more run of each contestant.
func (s *settings) addSyncs(ctx context.Context, g *report.Group, bar *progress) error {
	for i := range g.Rows {
		job := g.Workload.Job(g.Rows[i].Contestant, s.times)
		job.Syncs = true
		bar.describe(job.String() + " counted")
		o, err := run.Start(ctx, s.data, job)
		if err != nil {
			return err
		}
		bar.done()
		g.Rows[i].CountSyncs(g.Workload, o)
	}
	return nil
}

// addCost profiles one more run of each contestant.
func (s *settings) addCost(ctx context.Context, g *report.Group, bar *progress) error {
	dir, err := os.MkdirTemp("", "bench-profiles-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for i := range g.Rows {
		job := g.Workload.Job(g.Rows[i].Contestant, s.times)
		job.CPUProfile = profileName(dir, &job, 0)
		bar.describe(job.String() + " profiled")
		o, err := run.Start(ctx, s.data, job)
		if err != nil {
			return err
		}
		bar.done()
		if !o.Valid() {
			continue
		}
		if g.Rows[i].Cost, err = report.Divide(job.CPUProfile, o); err != nil {
			return err
		}
	}
	return nil
}
