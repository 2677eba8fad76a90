package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Schedule is a run in full: the options and each fault. Unlike a seed it goes on meaning the same
// when the drawing of options changes, so what found a bug is kept as one.
type Schedule struct {
	Why     string // what it once found, or shows
	Kills   string `json:",omitempty"` // the mutant it kills, if it is kept for that
	Breaks  string `json:",omitempty"` // the invariant that was, or is then, broken
	Options Options
	Faults  []Fault
}

// ReadSchedule reads a schedule from a file.
func ReadSchedule(path string) (*Schedule, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &Schedule{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// Encode returns the schedule as it is kept in a file: a line for each fault.
func (s *Schedule) Encode() []byte {
	var b strings.Builder
	field := func(name string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&b, "  %q: %s,\n", name, text)
	}
	b.WriteString("{\n")
	field("Why", s.Why)
	field("Kills", s.Kills)
	field("Breaks", s.Breaks)
	field("Options", s.Options)
	b.WriteString("  \"Faults\": [")
	for i, f := range s.Faults {
		text, err := json.Marshal(f)
		if err != nil {
			panic(err)
		}
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, "\n    %s", text)
	}
	b.WriteString("\n  ]\n}\n")
	return []byte(b.String())
}

// World builds the world of the schedule.
func (s *Schedule) World() *World { return NewWorldOf(s.Options, s.Faults) }

// run returns the invariant that the schedule breaks, nil if none.
func (s *Schedule) run() *Violation {
	var v *Violation
	if err := s.World().Run(); errors.As(err, &v) {
		return v
	}
	return nil
}

// Shrink returns the shortest schedule it can find, within a number of runs, that breaks the same
// invariant as s: without whole classes of faults, then without single ones, without liars, with
// fewer clients, and with no more time than it takes.
func Shrink(s *Schedule, runs int) *Schedule {
	first := s.run()
	if first == nil {
		return s
	}
	sh := &shrinker{best: s.clone(), breaks: first.Invariant, runs: runs, at: first.At}
	sh.best.Breaks = first.Invariant
	for before := -1; before != sh.size() && sh.runs > 0; {
		before = sh.size()
		sh.cut()
		sh.withoutKinds()
		sh.simpler()
		sh.withoutFaults()
	}
	sh.best.Options.Weights = nil
	return sh.best
}

type shrinker struct {
	best   *Schedule
	breaks string
	runs   int
	at     int // when the best one breaks it
}

func (s *Schedule) clone() *Schedule {
	c := *s
	c.Faults = slices.Clone(s.Faults)
	c.Options.Liars = slices.Clone(s.Options.Liars)
	for i := range c.Options.Liars {
		c.Options.Liars[i].Attacks = slices.Clone(c.Options.Liars[i].Attacks)
	}
	return &c
}

func (sh *shrinker) size() int { return len(sh.best.Encode()) }

// try takes a change of the best schedule over if it breaks the same invariant.
func (sh *shrinker) try(change func(*Schedule)) bool {
	if sh.runs <= 0 {
		return false
	}
	c := sh.best.clone()
	change(c)
	if string(c.Encode()) == string(sh.best.Encode()) {
		return false
	}
	sh.runs--
	v := c.run()
	if v == nil || v.Invariant != sh.breaks {
		return false
	}
	sh.best, sh.at = c, v.At
	return true
}

// cut ends the chaos when the invariant breaks, if it does so before the healing.
func (sh *shrinker) cut() {
	if sh.at < sh.best.Options.Chaos {
		sh.try(func(s *Schedule) { s.Options.Chaos = sh.at + 1 })
	}
	sh.try(func(s *Schedule) {
		s.Faults = slices.DeleteFunc(s.Faults, func(f Fault) bool { return f.At > sh.at })
	})
}

func (sh *shrinker) withoutKinds() {
	for _, c := range classes {
		sh.try(func(s *Schedule) {
			s.Faults = slices.DeleteFunc(s.Faults, func(f Fault) bool { return f.Kind == c.kind })
		})
	}
}

// simpler tries options that are easier to think about.
func (sh *shrinker) simpler() {
	for _, change := range []func(*Options){
		func(o *Options) { o.RealKeys = false },
		func(o *Options) { o.DropPermille = 0 },
		func(o *Options) { o.CopyPermille = 0 },
		func(o *Options) { o.TailPermille = 0 },
		func(o *Options) { o.SlowDisk = 0 },
		func(o *Options) { o.Drift = nil },
		func(o *Options) { o.Rogues = nil },
		func(o *Options) { o.Heir = 0 },
		func(o *Options) { o.Liars = nil },
		func(o *Options) { o.Again = false },
		func(o *Options) { o.Settled = 0 },
		func(o *Options) { o.Clients = 1 },
		func(o *Options) { o.Clients = (o.Clients + 1) / 2 },
		func(o *Options) { o.Keys = 1 },
		func(o *Options) { o.MaxDelay = max(2, o.MaxDelay/2) },
	} {
		sh.try(func(s *Schedule) { change(&s.Options) })
	}
	for i := len(sh.best.Options.Liars) - 1; i >= 0; i-- {
		sh.try(func(s *Schedule) {
			s.Options.Liars = slices.Delete(s.Options.Liars, i, i+1)
		})
	}
	for i := range sh.best.Options.Liars {
		if len(sh.best.Options.Liars[i].Attacks) > 1 {
			sh.try(func(s *Schedule) {
				s.Options.Liars[i].Attacks = s.Options.Liars[i].Attacks[:1]
			})
		}
		if len(sh.best.Options.Liars[i].Attacks) > 1 {
			sh.try(func(s *Schedule) {
				s.Options.Liars[i].Attacks = s.Options.Liars[i].Attacks[1:]
			})
		}
	}
}

// withoutFaults leaves out ever smaller runs of faults.
func (sh *shrinker) withoutFaults() {
	for n := (len(sh.best.Faults) + 1) / 2; n > 0; n /= 2 {
		for at := 0; at < len(sh.best.Faults); {
			end := min(at+n, len(sh.best.Faults))
			if !sh.try(func(s *Schedule) { s.Faults = slices.Delete(s.Faults, at, end) }) {
				at = end
			}
		}
		if n == 1 {
			break
		}
	}
}

// Tail runs the schedule and returns the last lines of what happened before it ended.
func (s *Schedule) Tail(lines int) []string {
	w := s.World()
	var log []string
	w.Log = func(format string, args ...any) {
		log = append(log, fmt.Sprintf(format, args...))
		if len(log) > 4*lines {
			log = slices.Delete(log, 0, len(log)-lines)
		}
	}
	if err := w.Run(); err != nil {
		log = append(log, err.Error())
	}
	return log[max(0, len(log)-lines):]
}
