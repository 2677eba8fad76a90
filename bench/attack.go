package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"tangaroa/bench/attack"
	"tangaroa/bench/contestant"
	"tangaroa/bench/report"
	"tangaroa/bench/run"
)

// The clusters that are attacked.
var attacked = []string{"plain", "ours"}

// writers is how many write at the same time while a cluster is attacked.
const writers = 64

// showAttacks lets each of the three faults at plain Raft and at ours, and says what each loses.
func showAttacks(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench attack", flag.ContinueOnError)
	seconds := f.Float64("seconds", 5, "how long the liar lies")
	data := f.String("data", "", "`DIR` on a real disk for the nodes' files")
	out := f.String("out", "", "write attack.json into `DIR`")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return errHelp
		}
		return err
	}
	if *seconds <= 0 {
		return errors.New("--seconds must be positive")
	}
	load := attack.Load{
		Writers: writers, Calm: time.Second, Lying: time.Duration(*seconds * float64(time.Second)),
		Settle: 10 * time.Second, Timeout: 5 * time.Second,
	}
	all := &report.Attacks{
		Began: time.Now().UTC().Truncate(time.Second), Machine: report.ThisMachine(),
		Commit: report.Commit(),
	}
	faults := append([]contestant.Fault{{Name: "", Does: "nobody lies"}}, contestant.Faults()...)
	for _, fault := range faults {
		g := report.AttackGroup{Fault: fault.Name, Does: fault.Does}
		for _, name := range attacked {
			o, err := run.Start(ctx, *data, attackJob(name, fault, load))
			if err != nil {
				return err
			}
			g.Rows = append(g.Rows, report.AttackRow{Contestant: name, Outcome: o})
		}
		all.Groups = append(all.Groups, g)
		if err := writeAttack(&g); err != nil {
			return err
		}
	}
	if *out == "" {
		return nil
	}
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(*out, report.AttackName), append(text, '\n'), 0o644)
}

func attackJob(name string, fault contestant.Fault, load attack.Load) run.Job {
	adversary := fault.Name
	if name == "ours" {
		adversary = fault.Ours
	}
	return run.Job{
		Contestant: name, Attack: &load,
		Options: contestant.Options{Nodes: 4, Adversary: adversary, AsLeader: fault.Leads},
	}
}

// writeAttack writes the table of one fault.
func writeAttack(g *report.AttackGroup) error {
	fmt.Printf("\n%s\n", g.Does)
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, title := range report.AttackColumns() {
		fmt.Fprint(t, title, "\t")
	}
	fmt.Fprintln(t)
	for i := range g.Rows {
		for _, cell := range g.Rows[i].Cells() {
			fmt.Fprint(t, cell, "\t")
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
