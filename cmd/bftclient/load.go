package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/bftraft/kv"
	"tangaroa/cmd/internal/cli"
)

// maxSingle is how many requests of one client a node holds, and singleWindow how many of them one
// session may have outstanding.
const (
	maxSingle    = 256
	singleWindow = 128
)

// loadReport is what load prints as JSON. Latencies are in milliseconds.
type loadReport struct {
	Ops         uint64            `json:"ops"`
	Errors      uint64            `json:"errors"`
	Reasons     map[string]uint64 `json:"reasons,omitempty"`
	Seconds     float64           `json:"seconds"`
	Rate        float64           `json:"ops_per_second"`
	ValueBytes  int               `json:"value_bytes"`
	Outstanding int               `json:"outstanding"`
	Requests    uint64            `json:"requests"`
	Repeated    uint64            `json:"repeated"`
	Busy        uint64            `json:"busy"`
	Latency     latencies         `json:"latency_ms"`
	Dissent     []nodeDissent     `json:"dissent"`
}

type latencies struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

type nodeDissent struct {
	Node     bftraft.NodeID `json:"node"`
	Dissents uint64         `json:"dissents"`
	Invalid  uint64         `json:"invalid"`
}

func loadCommand() *ucli.Command {
	return &ucli.Command{
		Name: "load", Usage: "put random values under load and measure",
		Description: `Writes keys "load/0", "load/1", ... With --rate the time of an operation counts
from when it was due, so that a slow cluster is not flattered. Operations that wait together share a
signature; with --single each has its own, and at most 256 can be outstanding.`,
		Flags: []ucli.Flag{
			&ucli.DurationFlag{Name: "duration", Value: 10 * time.Second, Usage: "`TIME` to run"},
			&ucli.IntFlag{Name: "outstanding", Value: 64, Usage: "`N` operations at the same time"},
			&ucli.IntFlag{Name: "size", Value: 128, Usage: "values of `BYTES`"},
			&ucli.IntFlag{Name: "keys", Value: 1000, Usage: "spread over `N` keys"},
			&ucli.Float64Flag{
				Name: "rate", Usage: "`N` operations per second; 0 is all that is possible",
			},
			&ucli.BoolFlag{Name: "single", Usage: "sign each operation by itself"},
		},
		Action: load,
	}
}

func checkLoad(c *ucli.Context) error {
	if err := cli.RequireArgs(c, 0, 0); err != nil {
		return err
	}
	switch {
	case c.Duration("duration") <= 0:
		return cli.Errorf(cli.Usage, "--duration must be positive")
	case c.Int("outstanding") < 1 || c.Int("outstanding") > 1<<16:
		return cli.Errorf(cli.Usage, "--outstanding must be 1 to 65536")
	case c.Bool("single") && c.Int("outstanding") > maxSingle:
		return cli.Errorf(cli.Usage, "--outstanding must be at most %d with --single", maxSingle)
	case c.Int("size") < 0 || c.Int("size") > kv.MaxValueBytes:
		return cli.Errorf(cli.Usage, "--size must be 0 to %d", kv.MaxValueBytes)
	case c.Int("keys") < 1:
		return cli.Errorf(cli.Usage, "--keys must be positive")
	case c.Float64("rate") < 0:
		return cli.Errorf(cli.Usage, "--rate must not be negative")
	}
	return nil
}

func load(c *ucli.Context) error {
	if err := checkLoad(c); err != nil {
		return err
	}
	sessions, err := loadSessions(c)
	if err != nil {
		return err
	}
	defer func() {
		for _, s := range sessions {
			s.close()
		}
	}()
	// The first operation finds nodes and leader, and is not measured.
	if _, _, err := sessions[0].apply(kv.Put{Key: []byte("load/0")}); err != nil {
		return err
	}
	l := &loader{
		timeout: timeoutOf(c), size: c.Int("size"), keys: c.Int("keys"), rate: c.Float64("rate"),
		reasons: map[string]uint64{}, began: time.Now(), length: c.Duration("duration"),
	}
	stop := l.showProgress(c)
	var workers sync.WaitGroup
	for i := range c.Int("outstanding") {
		workers.Go(func() { l.work(c.Context, sessions[i%len(sessions)]) })
	}
	workers.Wait()
	stop()
	report := l.report(c, sessions)
	if err := cli.Print(c, report, report.print); err != nil {
		return err
	}
	switch {
	case report.Ops == 0:
		return cli.Errorf(cli.NoQuorum, "no operation was answered by a quorum in time")
	case report.Errors > 0:
		return cli.Errorf(cli.Failed, "%d operations failed", report.Errors)
	}
	return nil
}

// loadSessions connects as often as it takes to have so many requests outstanding.
func loadSessions(c *ucli.Context) ([]*session, error) {
	n := 1
	if c.Bool("single") {
		n = (c.Int("outstanding") + singleWindow - 1) / singleWindow
	}
	var sessions []*session
	for range n {
		s, err := connect(c, func(cfg *client.Config) {
			if c.Bool("single") {
				cfg.BundleOps, cfg.Window = 1, singleWindow
			}
			// What is outstanding at the same time may wait together.
			cfg.QueueBytes = max(cfg.QueueBytes, c.Int("outstanding")*(c.Int("size")+64))
			cfg.QueueOps = max(cfg.QueueOps, c.Int("outstanding"))
		})
		if err != nil {
			for _, made := range sessions {
				made.close()
			}
			return nil, err
		}
		sessions = append(sessions, s)
	}
	return sessions, nil
}

// loader hands out operations to its workers and keeps the books.
type loader struct {
	timeout time.Duration
	size    int
	keys    int
	rate    float64
	began   time.Time
	length  time.Duration

	mu      sync.Mutex
	next    uint64 // the next operation's number
	done    uint64
	failed  uint64
	reasons map[string]uint64
	times   histogram
	ended   time.Time // of the last operation
}

// ticket returns the number of the next operation and when it is due; false when time is up.
func (l *loader) ticket() (n uint64, due time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, due = l.next, time.Now()
	if l.rate > 0 {
		due = l.began.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	}
	if due.Sub(l.began) >= l.length || time.Since(l.began) >= l.length {
		return 0, due, false
	}
	l.next++
	return n, due, true
}

// work does one operation after the other.
func (l *loader) work(ctx context.Context, s *session) {
	val := make([]byte, l.size)
	rand.Read(val)
	for {
		n, due, ok := l.ticket()
		if !ok || !pause(ctx, time.Until(due)) {
			return
		}
		key := fmt.Appendf(nil, "load/%d", n%uint64(l.keys))
		op, err := kv.EncodeOp(kv.Put{Key: key, Value: val})
		if err == nil {
			err = l.submit(ctx, s, op)
		}
		l.note(time.Since(due), err)
	}
}

func (l *loader) submit(ctx context.Context, s *session, op []byte) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	got, err := s.Submit(ctx, op)
	if err == nil {
		_, err = decodeResult(got.Value)
	}
	return err
}

func (l *loader) note(took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = time.Now()
	if err == nil {
		l.done++
		l.times.add(took)
		return
	}
	l.failed++
	reason := "failed"
	for _, known := range []error{
		client.ErrUnknownOutcome, client.ErrNotSent, client.ErrRefused, client.ErrQueueFull,
	} {
		if errors.Is(err, known) {
			reason = known.Error()
		}
	}
	l.reasons[reason]++
}

func (l *loader) report(c *ucli.Context, sessions []*session) *loadReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &loadReport{
		Ops: l.done, Errors: l.failed, Reasons: l.reasons, ValueBytes: l.size,
		Outstanding: c.Int("outstanding"), Dissent: []nodeDissent{},
		Latency: latencies{
			P50: l.times.quantile(0.5), P90: l.times.quantile(0.9), P99: l.times.quantile(0.99),
			P999: l.times.quantile(0.999), Max: l.times.quantile(1),
		},
	}
	if r.Seconds = l.ended.Sub(l.began).Seconds(); l.done+l.failed == 0 {
		r.Seconds = time.Since(l.began).Seconds()
	}
	r.Rate = float64(r.Ops) / r.Seconds
	wrong := map[bftraft.NodeID]nodeDissent{}
	for _, s := range sessions {
		stats := s.Stats()
		r.Requests += stats.Requests
		r.Repeated += stats.Repeated
		r.Busy += stats.Busy
		for _, n := range stats.Nodes {
			sum := wrong[n.ID]
			wrong[n.ID] = nodeDissent{n.ID, sum.Dissents + n.Dissents, sum.Invalid + n.Invalid}
		}
	}
	for id := bftraft.NodeID(1); id.Valid(); id++ {
		if d := wrong[id]; d.Dissents+d.Invalid > 0 {
			r.Dissent = append(r.Dissent, d)
		}
	}
	return r
}

func (r *loadReport) print(w io.Writer) {
	fmt.Fprintf(w, "%d operations of %d bytes in %.1f s: %.0f per second, %d outstanding\n", r.Ops,
		r.ValueBytes, r.Seconds, r.Rate, r.Outstanding)
	fmt.Fprintf(w, "%d signed requests, %d repeated as late, %d as nodes were busy, %d errors\n",
		r.Requests, r.Repeated, r.Busy, r.Errors)
	l := r.Latency
	fmt.Fprintf(w, "latency in ms: p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  max %.2f\n", l.P50,
		l.P90, l.P99, l.P999, l.Max)
	for _, reason := range slices.Sorted(maps.Keys(r.Reasons)) {
		fmt.Fprintf(w, "error: %s: %d\n", reason, r.Reasons[reason])
	}
	for _, d := range r.Dissent {
		fmt.Fprintf(w, "node %d: %d answers differ, %d do not verify\n", d.Node, d.Dissents,
			d.Invalid)
	}
}

// progressWidth is how many characters the bar has.
const progressWidth = 30

// showProgress draws a bar if standard error is a terminal, and returns what ends it.
func (l *loader) showProgress(c *ucli.Context) (stop func()) {
	f, ok := c.App.ErrWriter.(*os.File)
	if !ok {
		return func() {}
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(c.Context)
	var drawn sync.WaitGroup
	drawn.Go(func() {
		for pause(ctx, 200*time.Millisecond) {
			fmt.Fprint(f, l.bar())
		}
		fmt.Fprint(f, "\r\x1b[K")
	})
	return func() {
		cancel()
		drawn.Wait()
	}
}

// bar draws how much of the time has gone, over what was there before.
func (l *loader) bar() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	gone := min(time.Since(l.began), l.length)
	full := int(float64(progressWidth) * gone.Seconds() / l.length.Seconds())
	line := make([]byte, progressWidth)
	for i := range line {
		line[i] = '.'
		if i < full {
			line[i] = '#'
		}
	}
	return fmt.Sprintf("\r\x1b[K[%s] %3.0f s  %d operations  %.0f per second  %d errors", line,
		gone.Seconds(), l.done, float64(l.done)/max(gone.Seconds(), 0.001), l.failed)
}
