package report

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"tangaroa/bench/contestant"
)

// The names of the files in the directory of results.
const (
	JSONName = "results.json" // everything, as Read reads it
	CSVName  = "results.csv"  // a line for each run
)

// Write writes JSON, CSV and charts into dir.
func (r *Report) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory of results: %w", err)
	}
	return errors.Join(r.writeJSON(dir), r.writeCSV(dir), r.writeCharts(dir))
}

func (r *Report) writeJSON(dir string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode the results: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, JSONName), append(text, '\n'), 0o644)
}

// Read reads what Write wrote.
func Read(dir string) (*Report, error) {
	text, err := os.ReadFile(filepath.Join(dir, JSONName))
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	r := &Report{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	return r, nil
}

var csvHead = []string{
	"contestant", "nodes", "value_bytes", "outstanding", "reads", "dead", "kill_leader", "adversary",
	"round", "trouble", "ops", "seconds", "ops_per_second", "p50_ms", "p99_ms", "p99.9_ms", "max_ms",
	"pause_ms", "cpu_us_per_op", "disk_bytes_per_op", "disk_bytes_at_end", "peak_rss_bytes",
	"allocated_per_op", contestant.Messages, contestant.Bytes, contestant.Signed,
	contestant.Verified, contestant.Flushes, contestant.Blocks,
}

// counters are the last columns, which are totals.
var counters = csvHead[len(csvHead)-6:]

// writeCSV writes a line for each run.
func (r *Report) writeCSV(dir string) (err error) {
	f, err := os.Create(filepath.Join(dir, CSVName))
	if err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := csv.NewWriter(f)
	if err := w.Write(csvHead); err != nil {
		return err
	}
	for i := range r.Groups {
		for _, row := range r.Groups[i].Rows {
			for round := range row.Outcomes {
				if err := w.Write(csvLine(&r.Groups[i], &row, round)); err != nil {
					return err
				}
			}
		}
	}
	w.Flush()
	return w.Error()
}

func csvLine(g *Group, row *Row, round int) []string {
	w, o := g.Workload, row.Outcomes[round]
	line := []string{
		row.Contestant, strconv.Itoa(w.Nodes), strconv.Itoa(w.ValueBytes),
		strconv.Itoa(w.Outstanding), plainNumber(w.Reads), strconv.Itoa(w.Dead),
		strconv.FormatBool(w.KillLeader), w.Adversary, strconv.Itoa(round + 1),
	}
	if !o.Valid() {
		line = append(line, o.NotStarted+o.Void)
		return append(line, make([]string, len(csvHead)-len(line))...)
	}
	l, u := o.Result.Latency, o.Result.Usage
	line = append(line, "", strconv.FormatUint(o.Result.Ops, 10))
	for _, v := range []float64{
		o.Result.Seconds, o.Result.Rate, l.P50, l.P99, l.P999, l.Max, o.Result.LongestMS, CPU(o),
		Written(o), float64(o.DiskBytes), float64(u.PeakRSS),
		float64(u.Allocated) / float64(o.Result.Ops),
	} {
		line = append(line, plainNumber(v))
	}
	for _, name := range counters {
		if n, ok := o.Counts[name]; ok {
			line = append(line, plainNumber(n))
		} else {
			line = append(line, "")
		}
	}
	return line
}

func plainNumber(v float64) string {
	if v != v { // not a number: it was not measured
		return ""
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}
