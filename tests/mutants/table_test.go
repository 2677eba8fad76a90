package mutants

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var rewrite = flag.Bool("rewrite", false, "write the tables into docs/TESTING.md")

const root = "../.."

// declared returns the names of all mutants there are.
func declared(t *testing.T) []string {
	f, err := parser.ParseFile(token.NewFileSet(), root+"/internal/mutant/doc.go", nil, 0)
	require.NoError(t, err)
	var ids []string
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			if name := s.(*ast.ValueSpec).Names[0].Name; name != "None" {
				ids = append(ids, name)
			}
		}
	}
	return ids
}

func TestTableHasEveryMutantOnce(t *testing.T) {
	var listed []string
	for _, m := range Table() {
		listed = append(listed, string(m.ID))
		require.NotEmpty(t, m.Rules, m.ID)
		require.NotEmpty(t, m.Breaks, m.ID)
		require.NotEmpty(t, m.Package, m.ID)
		require.Equal(t, m.world() != "", len(m.Invariants) > 0, m.ID)
		_, err := os.Stat(root + "/tests/sim/testdata/schedules/kills-" + string(m.ID) + ".json")
		require.Equal(t, m.Schedule, err == nil, "%s: is a schedule kept that kills it?", m.ID)
	}
	require.ElementsMatch(t, declared(t), listed)
	require.GreaterOrEqual(t, len(listed), 40)
}

func TestRecordedMediansAreWithinTheirSeeds(t *testing.T) {
	recorded := Medians()
	for _, m := range Table() {
		require.LessOrEqual(t, recorded[m.ID], m.Seeds, "how many seeds kill %s? go test -tags "+
			"'invariants mutant' ./tests/sim -run TestMutantsAreKilled -args -record -mutant=%s",
			m.ID, m.ID)
	}
	require.Equal(t, medians, MediansText(recorded), "every line means something")
}

func TestEveryMutantIsInTheCode(t *testing.T) {
	hook := regexp.MustCompile(`mutant\.On\(mutant\.(\w+)\)`)
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") ||
			strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		for _, m := range hook.FindAllStringSubmatch(string(src), -1) {
			seen[m[1]] = true
		}
		return err
	})
	require.NoError(t, err)
	for _, id := range declared(t) {
		require.True(t, seen[id], "%s breaks nothing", id)
	}
}

func TestKillersExist(t *testing.T) {
	for _, m := range Table() {
		files, err := filepath.Glob(filepath.Join(root, m.Package, "*_test.go"))
		require.NoError(t, err)
		found := false
		for _, file := range files {
			src, err := os.ReadFile(file)
			require.NoError(t, err)
			found = found || strings.Contains(string(src), "\nfunc "+m.Test+"(t *testing.T)")
		}
		require.True(t, found, "%s: there is no %s in %s", m.ID, m.Test, m.Package)
	}
}

// TestEveryInvariantIsSeenToFail finds what invariants the simulator checks: an alarm that never
// rang is none.
func TestEveryInvariantIsSeenToFail(t *testing.T) {
	alarm := regexp.MustCompile(`\.fail\("(\w+)"`)
	files, err := filepath.Glob(root + "/tests/sim/*.go")
	require.NoError(t, err)
	rings := map[string]bool{}
	for _, file := range files {
		src, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range alarm.FindAllStringSubmatch(string(src), -1) {
			rings[m[1]] = true
		}
	}
	require.Greater(t, len(rings), 15)
	for id := range rings {
		require.Contains(t, invariants(), id, "nothing breaks %s", id)
	}
	for _, id := range invariants() {
		require.True(t, rings[id] || id == "assert", "there is no %s", id)
	}
}

// TestEveryRuleHasAMutantOrAReason reads the names of the rules in docs/PROTOCOL.md.
func TestEveryRuleHasAMutantOrAReason(t *testing.T) {
	doc, err := os.ReadFile(root + "/docs/PROTOCOL.md")
	require.NoError(t, err)
	broken := map[string]bool{}
	for _, m := range Table() {
		for _, rule := range m.Rules {
			broken[rule], broken[strings.TrimRight(rule, "abcde")] = true, true
			require.Empty(t, without[rule], "%s has %s", rule, m.ID)
		}
	}
	named := regexp.MustCompile(`(?m)^\*\*([A-Z]\d[a-z]?)\. `).FindAllStringSubmatch(string(doc), -1)
	require.NotEmpty(t, named)
	for _, rule := range named {
		require.True(t, broken[rule[1]] || without[rule[1]] != "", "nothing breaks %s", rule[1])
	}
}

func TestDocumentHasTheTables(t *testing.T) {
	const from, to = "<!-- mutants -->\n", "<!-- end of mutants -->"
	path := root + "/docs/TESTING.md"
	doc, err := os.ReadFile(path)
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(doc), from)
	require.True(t, ok)
	old, tail, ok := strings.Cut(rest, to)
	require.True(t, ok)
	if *rewrite {
		require.NoError(t, os.WriteFile(path, []byte(head+from+text()+to+tail), 0o644))
		return
	}
	require.Equal(t, text(), old, "write it anew: go test ./tests/mutants -args -rewrite")
}

// TestShippedBinariesHaveNoMutants looks for the name of the variable that switches them.
func TestShippedBinariesHaveNoMutants(t *testing.T) {
	const marker = "TANGAROA_MUTANT"
	for _, with := range []bool{false, true} {
		bin := filepath.Join(t.TempDir(), "bftnode")
		args := []string{"build", "-o", bin}
		if with {
			args = append(args, "-tags", "mutant")
		}
		cmd := exec.Command("go", append(args, "./cmd/bftnode")...)
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		code, err := os.ReadFile(bin)
		require.NoError(t, err)
		require.Equal(t, with, strings.Contains(string(code), marker))
	}
}
