package tests

import (
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pure lists the packages that only compute: the same inputs in the same order
// give the same outputs, in the simulator and in a data centre.
var pure = []string{
	"internal/chance", "internal/mutant",
	"adversary", "adversary/rogue",
	"bftraft", "bftraft/client/judge", "bftraft/kv", "bftraft/replica", "crypto", "quorumcert",
}

// impure are the imports a pure package may not have, each standing for all below
// it too.
var impure = []struct{ path, why string }{
	{"context", "it exists to be waited for"},
	{"crypto/rand", "the same seed must give the same run"},
	{"hash/maphash", "its hashes differ from process to process"},
	{"log", "the core emits trace values; the edges log"},
	{"math/rand", "the same seed must give the same run"},
	{"net", "bytes are brought to it and taken from it"},
	{"os", "the world sits at the edges"},
	{"reflect", "it looks into maps in random order"},
	{"runtime", "what the scheduler and collector do must not matter"},
	{"sync", "one goroutine owns the state, so there is nothing to lock"},
	{"syscall", "the world sits at the edges"},
	{"testing", "products carry no tests"},
	{"time", "time is ticks that somebody else counts"},
	{"unsafe", "what it reads may differ from run to run"},
}

// excused are the only exceptions: making and keeping keys needs the world.
var excused = []struct{ dir, file, imported string }{
	{"crypto", "keyfile*.go", "os"},
	{"crypto", "keyfile*.go", "crypto/rand"},
	{"crypto", "keyfile*.go", "syscall"}, // its locks on files
	{"internal/mutant", "on.go", "os"},   // in builds for tests
}

func TestPurePackagesOnlyCompute(t *testing.T) {
	tr := theTree(t)
	var complaints, present []string
	for _, s := range tr.own() {
		if !slices.Contains(pure, s.dir()) || s.isTest() {
			continue
		}
		complaints = append(complaints, impureSyntax(s)...)
		if !slices.Contains(present, s.dir()) {
			present = append(present, s.dir())
		}
	}
	for _, tag := range buildTags {
		for _, s := range typeCheck(t, tr, tag, patterns(present)) {
			if slices.Contains(pure, s.dir()) {
				complaints = append(complaints, impureTypes(s)...)
			}
		}
	}
	slices.Sort(complaints)
	requireClean(t, slices.Compact(complaints))
}

// impureSyntax finds what can be seen without types.
func impureSyntax(s source) []string {
	var out []string
	for _, p := range s.imports() {
		for _, rule := range impure {
			if under(p, rule.path) && !isExcused(s, p) {
				out = append(out, s.at(s.syntax.Pos(), "pure package imports %s: %s", p, rule.why))
			}
		}
	}
	sorted := sortedKeys(s)
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			out = append(out, s.at(n.Pos(), "pure package starts a goroutine: "+
				"the order of its steps would no longer be given"))
		case *ast.SelectStmt:
			out = append(out, s.at(n.Pos(), "pure package selects: the choice is random"))
		case ast.Expr:
			if prints(s, n) {
				out = append(out, s.at(n.Pos(), "pure package prints: "+
					"the core emits trace values; the edges log"))
			}
			if iterates(s, n) && !sorted[n] {
				out = append(out, s.at(n.Pos(), "pure package walks a map in random order: "+
					"pass it through slices.Sorted at once"))
			}
		}
		return true
	})
	return out
}

func isExcused(s source, imported string) bool {
	for _, e := range excused {
		if fits, err := path.Match(e.file, path.Base(s.name)); err == nil && fits &&
			s.dir() == e.dir && imported == e.imported {
			return true
		}
	}
	return false
}

// prints reports whether the expression is a function that writes to standard
// output or error without a writer in sight.
func prints(s source, e ast.Expr) bool {
	if call, ok := e.(*ast.CallExpr); ok {
		ident, ok := call.Fun.(*ast.Ident)
		return ok && (ident.Name == "print" || ident.Name == "println")
	}
	return s.calls(e, "fmt", "Print") || s.calls(e, "fmt", "Println") ||
		s.calls(e, "fmt", "Printf")
}

// iterates reports whether the expression is a function that walks a map.
func iterates(s source, e ast.Expr) bool {
	return s.calls(e, "maps", "Keys") || s.calls(e, "maps", "Values") || s.calls(e, "maps", "All")
}

// sortedKeys returns the map walks whose result goes straight into a sort.
func sortedKeys(s source) map[ast.Expr]bool {
	out := map[ast.Expr]bool{}
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 || !s.calls(call.Fun, "slices", "Sorted") {
			return true
		}
		if walk, ok := call.Args[0].(*ast.CallExpr); ok {
			out[walk.Fun] = true
		}
		return true
	})
	return out
}

// impureTypes finds what takes types to see.
func impureTypes(s typed) []string {
	var out []string
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		if loop, ok := n.(*ast.RangeStmt); ok && isMap(s.info.TypeOf(loop.X)) {
			out = append(out, s.at(n.Pos(), "pure package ranges over a map: "+
				"the order is random; keep a sorted slice or an array beside it"))
		}
		e, ok := n.(ast.Expr)
		if !ok {
			return true
		}
		switch kind := s.info.TypeOf(e); {
		case kind == nil:
		case isFloat(kind):
			out = append(out, s.at(n.Pos(), "pure package has a float: "+
				"machines round differently; count in integers"))
			return false
		case isChannel(kind):
			out = append(out, s.at(n.Pos(), "pure package has a channel: "+
				"what arrives first would be up to the scheduler"))
			return false
		}
		return true
	})
	return out
}

func isFloat(t types.Type) bool {
	basic, ok := t.Underlying().(*types.Basic)
	return ok && basic.Info()&(types.IsFloat|types.IsComplex) != 0
}

func isChannel(t types.Type) bool {
	_, ok := t.Underlying().(*types.Chan)
	return ok
}

// isMap reports whether the type is a map or a type parameter that may be one.
func isMap(t types.Type) bool {
	if t == nil {
		return false
	}
	if param, ok := types.Unalias(t).(*types.TypeParam); ok {
		constraint, ok := param.Constraint().Underlying().(*types.Interface)
		return ok && mayHoldMap(constraint)
	}
	_, ok := t.Underlying().(*types.Map)
	return ok
}

func mayHoldMap(constraint *types.Interface) bool {
	for i := range constraint.NumEmbeddeds() {
		switch e := types.Unalias(constraint.EmbeddedType(i)).(type) {
		case *types.Union:
			for j := range e.Len() {
				if isMap(e.Term(j).Type()) {
					return true
				}
			}
		default:
			if isMap(e) {
				return true
			}
		}
	}
	return false
}

// verifiers are packages that can judge a signature by a rule of their own.
var verifiers = []string{
	"crypto", "filippo.io", "github.com/libp2p/go-libp2p/core/crypto",
	"github.com/libp2p/go-libp2p/core/record", "github.com/oasisprotocol",
	"golang.org/x/crypto",
}

func TestOnlyCryptoJudgesSignatures(t *testing.T) {
	tr := theTree(t)
	var complaints, present []string
	for _, s := range tr.own() {
		if !s.isTest() && !slices.Contains(present, s.dir()) {
			present = append(present, s.dir())
		}
	}
	for _, s := range typeCheck(t, tr, "", patterns(present)) {
		complaints = append(complaints, foreignVerdicts(s)...)
	}
	slices.Sort(complaints)
	requireClean(t, complaints)
}

// foreignVerdicts finds every use of somebody else's function or method called
// Verify-something, and every import of an Ed25519 library, outside our crypto.
func foreignVerdicts(s typed) []string {
	if s.dir() == "crypto" {
		return nil
	}
	var out []string
	complain := func(pos token.Pos, what string) {
		out = append(out, s.at(pos, "%s: half the cluster could believe what the other half "+
			"does not; there is one rule, crypto.ZIP215", what))
	}
	for _, spec := range s.syntax.Imports {
		if p := strings.Trim(spec.Path.Value, `"`); strings.Contains(p, "ed25519") {
			complain(spec.Pos(), "imports "+p)
		}
	}
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		ident, ok := n.(*ast.Ident)
		if !ok {
			return true
		}
		f, ok := s.info.Uses[ident].(*types.Func)
		if !ok || f.Pkg() == nil || !strings.HasPrefix(f.Name(), "Verify") {
			return true
		}
		for _, v := range verifiers {
			if under(f.Pkg().Path(), v) {
				complain(n.Pos(), "calls "+f.FullName())
			}
		}
		return true
	})
	return out
}

func TestPuritySyntaxRulesCanFail(t *testing.T) {
	for _, rule := range impure {
		bad := madeUp(t, "bftraft/a.go", "package p\n\nimport _ \""+rule.path+"\"\n")
		requireComplaint(t, impureSyntax(bad), "imports "+rule.path+": "+rule.why)
	}
	bad := []struct{ name, text, about string }{
		{"bftraft/a.go", "import _ \"math/rand/v2\"", "imports math/rand/v2"},
		{"bftraft/a.go", "import _ \"sync/atomic\"", "imports sync/atomic"},
		{"bftraft/a.go", "import _ \"log/slog\"", "imports log/slog"},
		{"crypto/sign.go", "import _ \"os\"", "imports os"},
		{"bftraft/keyfile.go", "import _ \"os\"", "imports os"},
		{"crypto/keyfile.go", "import _ \"time\"", "imports time"},
		{"bftraft/a.go", "func f() { go f() }", "starts a goroutine"},
		{"bftraft/a.go", "func f() { select {} }", "selects"},
		{"bftraft/a.go", "import \"fmt\"\n\nfunc f() { fmt.Println() }", "prints"},
		{"bftraft/a.go", "func f() { println() }", "prints"},
		{"bftraft/a.go", "import \"maps\"\n\nvar f = maps.Keys(m)", "random order"},
	}
	for _, c := range bad {
		requireComplaint(t, impureSyntax(madeUp(t, c.name, "package p\n\n"+c.text+"\n")), c.about)
	}
	good := []struct{ name, text string }{
		{"crypto/keyfile_format.go", "import _ \"os\""},
		{"crypto/keyfile.go", "import _ \"crypto/rand\""},
		{"bftraft/a.go", "import \"fmt\"\n\nvar f = fmt.Sprint(1)"},
		{"bftraft/a.go", "import (\n\t\"maps\"\n\t\"slices\"\n)\n\n" +
			"var f = slices.Sorted(maps.Keys(m))"},
	}
	for _, c := range good {
		require.Empty(t, impureSyntax(madeUp(t, c.name, "package p\n\n"+c.text+"\n")), c.text)
	}
}

func TestPurityTypeRulesCanFail(t *testing.T) {
	bad := []struct{ text, about string }{
		{"func f(m map[int]int) { for range m {\n} }", "ranges over a map"},
		{"type set map[int]int\n\nfunc f(m set) { for range m {\n} }", "ranges over a map"},
		{"func f[M ~map[int]int](m M) { for range m {\n} }", "ranges over a map"},
		{"var x = 1.5", "a float"},
		{"var x float32", "a float"},
		{"type t struct{ x complex128 }", "a float"},
		{"const c = 1e9", "a float"},
		{"var c chan int", "a channel"},
		{"type c <-chan int", "a channel"},
		{"type t interface{ f() chan int }", "a channel"},
	}
	for _, c := range bad {
		s := madeUpTyped(t, "bftraft/a.go", "package p\n\n"+c.text+"\n", nil)
		complaints := impureTypes(s)
		require.NotEmpty(t, complaints, c.text)
		require.Contains(t, complaints[0], c.about)
	}
	good := "package p\n\nfunc f(s []int, m map[int]int) int {\n" +
		"\tfor i := range s {\n\t\ts[i] = m[i]\n\t}\n\treturn 7 / 2\n}\n"
	require.Empty(t, impureTypes(madeUpTyped(t, "bftraft/a.go", good, nil)))
}

func TestVerdictRuleCanFail(t *testing.T) {
	const peer = "github.com/libp2p/go-libp2p/core/crypto"
	imports := madeUpImports{
		"crypto/ed25519":   "package ed25519\n\nfunc Verify() bool { return true }\n",
		peer:               "package crypto\n\ntype PubKey interface{ Verify() bool }\n",
		module + "/crypto": "package crypto\n\ntype Key struct{}\n\nfunc (Key) Verify() {}\n",
	}
	bad := []struct{ text, about string }{
		{"import \"crypto/ed25519\"\n\nvar x = ed25519.Verify", "imports crypto/ed25519"},
		{"import q \"" + peer + "\"\n\nfunc f(k q.PubKey) { k.Verify() }", "PubKey).Verify"},
		{"import q \"" + peer + "\"\n\nvar x = q.PubKey.Verify", "PubKey).Verify"},
	}
	for _, c := range bad {
		s := madeUpTyped(t, "p2p/a.go", "package p\n\n"+c.text+"\n", imports)
		complaints := foreignVerdicts(s)
		require.NotEmpty(t, complaints, c.text)
		require.Contains(t, complaints[0], c.about)
	}
	ours := "package p\n\nimport \"" + module + "/crypto\"\n\n" +
		"func f(k crypto.Key) { k.Verify() }\n"
	require.Empty(t, foreignVerdicts(madeUpTyped(t, "p2p/a.go", ours, imports)))
	theirs := "package p\n\nimport \"crypto/ed25519\"\n\nvar x = ed25519.Verify\n"
	require.Empty(t, foreignVerdicts(madeUpTyped(t, "crypto/a.go", theirs, imports)))
}
