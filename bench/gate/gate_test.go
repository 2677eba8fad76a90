package gate

import (
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table anew")

const tablePath = "testdata/counts.txt"

// columns are the figures of the table; each may differ by so much of itself before it counts as
// another. All but allocations are the same in every run; they may still be written a bit shorter
// or longer by a change that is meant to do something else.
var columns = []struct {
	name      string
	tolerance float64
	pick      func(Counts) uint64
}{
	{"messages", 0.01, func(c Counts) uint64 { return c.Messages }},
	{"bytes", 0.02, func(c Counts) uint64 { return c.Bytes }},
	{"signed", 0.01, func(c Counts) uint64 { return c.Signed }},
	{"verified", 0.01, func(c Counts) uint64 { return c.Verified }},
	{"flushes", 0.01, func(c Counts) uint64 { return c.Flushes }},
	{"stored", 0.02, func(c Counts) uint64 { return c.Stored }},
	{"allocations", 0.1, func(c Counts) uint64 { return c.Allocations }},
}

// figures are the columns of one workload, per operation.
type figures []float64

// measure counts all workloads. Nothing else runs, so that allocations are ours.
func measure(t *testing.T) map[string]figures {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	out := map[string]figures{}
	for _, w := range Workloads() {
		counts, ops, err := w.Count()
		require.NoError(t, err, w.Name)
		var f figures
		for _, c := range columns {
			f = append(f, float64(c.pick(counts))/float64(ops))
		}
		out[w.Name] = f
		runtime.GC()
	}
	return out
}

func writeTable(measured map[string]figures) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-13s", "per-operation")
	for _, c := range columns {
		fmt.Fprintf(&b, " %12s", c.name)
	}
	for _, w := range Workloads() {
		fmt.Fprintf(&b, "\n%-13s", w.Name)
		for _, v := range measured[w.Name] {
			fmt.Fprintf(&b, " %12.4f", v)
		}
	}
	return b.String() + "\n"
}

func readTable(text string) (map[string]figures, error) {
	out := map[string]figures{}
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		words := strings.Fields(line)
		if len(words) != 1+len(columns) {
			return nil, fmt.Errorf("line %d has %d columns", i+1, len(words))
		}
		if i == 0 {
			continue
		}
		f := make(figures, len(columns))
		for k := range f {
			if _, err := fmt.Sscanf(words[1+k], "%g", &f[k]); err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
		}
		out[words[0]] = f
	}
	return out, nil
}

// differences says where counts are not those of the table.
func differences(table, measured map[string]figures) []string {
	var out []string
	for _, w := range Workloads() {
		want, ok := table[w.Name]
		if !ok {
			out = append(out, w.Name+" is not in the table")
			continue
		}
		for i, c := range columns {
			got := measured[w.Name][i]
			if math.Abs(got-want[i]) <= c.tolerance*want[i]+1e-4 {
				continue
			}
			verdict := "less: write the table anew, so that it stays so"
			if got > want[i] {
				verdict = "MORE"
			}
			out = append(out, fmt.Sprintf("%s, %s per operation: %.4f, the table has %.4f: %s", w.Name,
				c.name, got, want[i], verdict))
		}
	}
	return out
}

func TestCountsAreThoseOfTheTable(t *testing.T) {
	measured := measure(t)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(tablePath, []byte(writeTable(measured)), 0o644))
	}
	text, err := os.ReadFile(tablePath)
	require.NoError(t, err)
	table, err := readTable(string(text))
	require.NoError(t, err)
	for _, line := range differences(table, measured) {
		t.Error(line)
	}
	if t.Failed() {
		t.Log("if it is meant, \"make bench-gate UPDATE=-update\" writes the table anew")
	}
	t.Logf("\n%s", writeTable(measured))
}

func TestCountsAreTheSameEachTime(t *testing.T) {
	for _, w := range Workloads() {
		first, _, err := w.Count()
		require.NoError(t, err)
		second, _, err := w.Count()
		require.NoError(t, err)
		first.Allocations, second.Allocations = 0, 0
		require.Equal(t, first, second, w.Name)
	}
}

func TestTableNoticesMoreAndLess(t *testing.T) {
	table := map[string]figures{}
	for _, w := range Workloads() {
		table[w.Name] = figures{100, 100, 100, 100, 100, 100, 100}
	}
	again, err := readTable(writeTable(table))
	require.NoError(t, err)
	require.Equal(t, table, again)
	for i, c := range columns {
		for _, by := range []float64{0.99, -0.99} {
			measured, err := readTable(writeTable(table))
			require.NoError(t, err)
			measured["put-64"][i] *= 1 + by*c.tolerance
			require.Empty(t, differences(table, measured), c.name)
			measured["put-64"][i] = 100 * (1 + 1.1*by*c.tolerance)
			require.Len(t, differences(table, measured), 1, c.name)
		}
	}
	delete(table, "put-1")
	require.Contains(t, differences(table, again)[0], "put-1 is not in the table")
}
