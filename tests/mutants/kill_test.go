//go:build mutant

package mutants

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/internal/mutant"
)

// patience is far more than any of the tests takes.
const patience = 2 * time.Minute

// binary builds the tests of a package, with the mutants in them.
func binary(t *testing.T, pkg string) string {
	path := filepath.Join(t.TempDir(), "tests")
	cmd := exec.Command("go", "test", "-c", "-tags", "invariants mutant", "-o", path, "./"+pkg)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// run runs tests of a package under one mutant, and says what they print and whether they pass.
func run(t *testing.T, bin, pkg, tests string, id mutant.ID) (string, bool) {
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	cmd := exec.CommandContext(ctx, bin, "-test.run", "^("+tests+")$", "-test.v")
	cmd.Dir = filepath.Join(root, pkg)
	cmd.Env = append(os.Environ(), mutant.Variable+"="+string(id))
	out, err := cmd.CombinedOutput()
	require.NoError(t, ctx.Err(), "%s: %s does not end", id, tests)
	return string(out), err == nil
}

// TestMutantsAreKilledByTheTestsOfTheirRules runs the killer of every mutant: it fails with the
// mutant, for the right cause, and passes without.
func TestMutantsAreKilledByTheTestsOfTheirRules(t *testing.T) {
	byPackage := map[string][]Mutant{}
	var pkgs []string
	for _, m := range Table() {
		if byPackage[m.Package] == nil {
			pkgs = append(pkgs, m.Package)
		}
		byPackage[m.Package] = append(byPackage[m.Package], m)
	}
	for _, pkg := range pkgs {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			bin := binary(t, pkg)
			var tests []string
			for _, m := range byPackage[pkg] {
				tests = append(tests, m.Test)
			}
			slices.Sort(tests)
			tests = slices.Compact(tests)
			out, pass := run(t, bin, pkg, strings.Join(tests, "|"), mutant.None)
			require.True(t, pass, "%s", out)
			for _, test := range tests {
				require.Contains(t, out, "--- PASS: "+test)
			}
			for _, m := range byPackage[pkg] {
				t.Run(string(m.ID), func(t *testing.T) { requireKilled(t, bin, m) })
			}
		})
	}
}

func requireKilled(t *testing.T, bin string, m Mutant) {
	out, pass := run(t, bin, m.Package, m.Test, m.ID)
	require.False(t, pass, "%s survives %s", m.ID, m.Test)
	require.Contains(t, out, "--- FAIL: "+m.Test)
	require.Contains(t, out, m.Cause)
	if !strings.Contains(m.Cause, "panic: ") {
		require.NotContains(t, out, "panic: ")
	}
}
