package tests

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// The limits of our style: a function fits a screen. A tab counts as two columns.
const (
	maxFunctionLines = 70
	maxColumns       = 100
	maxFileLines     = 600
	tabColumns       = 2
)

// unfinished finds the words that mark work left over. It is put together from
// parts so as not to find itself.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)

// fileRules are judged file by file.
var fileRules = []struct {
	name  string
	judge func(source) []string
}{
	{"FunctionsFitAScreen", longFunctions},
	{"LinesFitAScreen", longLines},
	{"FilesStayReadable", longFiles},
	{"NothingIsLeftUnfinished", leftOver},
	{"TestsDoNotSleep", sleeps},
	{"ExportedNamesAreDocumented", undocumented},
}

func TestTidy(t *testing.T) {
	tr := theTree(t)
	for _, rule := range fileRules {
		t.Run(rule.name, func(t *testing.T) {
			var complaints []string
			for _, s := range tr.files {
				complaints = append(complaints, rule.judge(s)...)
			}
			requireClean(t, complaints)
		})
	}
	t.Run("PackagesSayWhatTheyAreFor", func(t *testing.T) {
		requireClean(t, unexplainedPackages(tr.files))
	})
}

// longFunctions finds functions of more than maxFunctionLines, from the word func
// to the closing brace.
func longFunctions(s source) []string {
	var out []string
	judge := func(n ast.Node, name string) {
		lines := s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
		if lines > maxFunctionLines {
			out = append(out, s.at(n.Pos(), "%s has %d lines; a function fits a screen (%d)",
				name, lines, maxFunctionLines))
		}
	}
	for _, decl := range s.syntax.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok {
			judgeFunction(f, judge)
			continue
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			if f, ok := n.(*ast.FuncLit); ok {
				judge(f, "a function literal")
				return false
			}
			return true
		})
	}
	return out
}

// judgeFunction leaves the doc comment out of the count: nobody should pay for it.
func judgeFunction(f *ast.FuncDecl, judge func(ast.Node, string)) {
	bare := *f
	bare.Doc = nil
	judge(&bare, f.Name.Name)
}

func longLines(s source) []string {
	var out []string
	for i, line := range strings.Split(string(s.text), "\n") {
		columns := utf8.RuneCountInString(line) + (tabColumns-1)*strings.Count(line, "\t")
		if columns > maxColumns {
			out = append(out, fmt.Sprintf("%s:%d: line has %d columns (tabs are %d); limit %d",
				s.name, i+1, columns, tabColumns, maxColumns))
		}
	}
	return out
}

func longFiles(s source) []string {
	if lines := strings.Count(string(s.text), "\n"); lines > maxFileLines {
		return []string{fmt.Sprintf("%s: file has %d lines; split it by subject (limit %d)",
			s.name, lines, maxFileLines)}
	}
	return nil
}

func leftOver(s source) []string {
	var out []string
	for _, group := range s.syntax.Comments {
		for _, c := range group.List {
			if word := unfinished.FindString(c.Text); word != "" {
				out = append(out, s.at(c.Pos(),
					"comment says %s; finish it, or file an issue", word))
			}
		}
	}
	return out
}

// sleeps finds time.Sleep in tests: a test that sleeps is slow when it passes and
// fails when the machine is busy.
func sleeps(s source) []string {
	if !s.isTest() && !strings.HasPrefix(s.name, "tests/") {
		return nil
	}
	var out []string
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		if e, ok := n.(ast.Expr); ok && s.calls(e, "time", "Sleep") {
			out = append(out, s.at(n.Pos(), "test sleeps; wait for what it waits for"))
		}
		return true
	})
	return out
}

// undocumented finds exported names at the top level without a comment. Methods
// of unexported types implement somebody's interface, which has the comment.
func undocumented(s source) []string {
	if s.isTest() {
		return nil
	}
	var out []string
	missing := func(name *ast.Ident, doc ...*ast.CommentGroup) {
		if !name.IsExported() {
			return
		}
		for _, d := range doc {
			if d != nil && strings.TrimSpace(d.Text()) != "" {
				return
			}
		}
		out = append(out, s.at(name.Pos(), "%s is exported and has no comment", name.Name))
	}
	for _, decl := range s.syntax.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if exportedReceiver(d) {
				missing(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			undocumentedSpecs(d, missing)
		}
	}
	return out
}

// undocumentedSpecs lets the comment of a declaration speak for the names in it
// when there is one name, or when they are the values of an enumeration.
func undocumentedSpecs(d *ast.GenDecl, missing func(*ast.Ident, ...*ast.CommentGroup)) {
	doc := d.Doc
	if d.Lparen != token.NoPos && !isEnumeration(d) {
		doc = nil
	}
	for _, spec := range d.Specs {
		switch sp := spec.(type) {
		case *ast.TypeSpec:
			missing(sp.Name, doc, sp.Doc, sp.Comment)
		case *ast.ValueSpec:
			for _, name := range sp.Names {
				missing(name, doc, sp.Doc, sp.Comment)
			}
		}
	}
}

// isEnumeration reports whether the constants count up from the first one.
func isEnumeration(d *ast.GenDecl) bool {
	if d.Tok != token.CONST || len(d.Specs) == 0 {
		return false
	}
	counts := false
	ast.Inspect(d.Specs[0], func(n ast.Node) bool {
		ident, ok := n.(*ast.Ident)
		counts = counts || ok && ident.Name == "iota"
		return true
	})
	return counts
}

func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	exported := false
	ast.Inspect(f.Recv.List[0].Type, func(n ast.Node) bool {
		if ident, ok := n.(*ast.Ident); ok {
			exported = ident.IsExported()
			return false
		}
		return true
	})
	return exported
}

// unexplainedPackages finds packages of which no file has a package comment.
func unexplainedPackages(files []source) []string {
	explained := map[string]bool{}
	var order []string
	for _, s := range files {
		if _, seen := explained[s.dir()]; !seen {
			order = append(order, s.dir())
			explained[s.dir()] = false
		}
		if s.syntax.Doc != nil && strings.TrimSpace(s.syntax.Doc.Text()) != "" {
			explained[s.dir()] = true
		}
	}
	var out []string
	for _, dir := range order {
		if !explained[dir] {
			out = append(out, fmt.Sprintf(
				"%s: package has no comment; doc.go says its job, contract and thread rule", dir))
		}
	}
	return out
}

func TestTidyRulesCanFail(t *testing.T) {
	body := func(lines int) string {
		return "package p\n\nfunc f() {\n" + strings.Repeat("\t_ = 0\n", lines-2) + "}\n"
	}
	literal := func(lines int) string {
		return "package p\n\nvar f = func() {\n" + strings.Repeat("\t_ = 0\n", lines-2) + "}\n"
	}
	comment := func(columns int) string {
		return "package p\n\n// " + strings.Repeat("é", columns-3) + "\n"
	}
	word := "FIX" + "ME"
	cases := []struct {
		rule            func(source) []string
		name, bad, good string
		about           string
	}{
		{longFunctions, "p/a.go", body(71), "// D.\n" + body(70), "f has 71 lines"},
		{longFunctions, "p/a.go", literal(71), literal(70), "literal has 71 lines"},
		{longLines, "p/a.go", comment(101), comment(100), "101 columns"},
		{longLines, "p/a.go", "package p\n\n\t" + comment(99)[11:],
			"package p\n\n\t" + comment(98)[11:], "101 columns"},
		{longFiles, "p/a.go", "package p\n" + strings.Repeat("\n", 600),
			"package p\n" + strings.Repeat("\n", 599), "601 lines"},
		{leftOver, "p/a.go", "package p\n\n// " + word + ": this.\n",
			"package p\n\n// Pre" + word + "d it.\n", word},
		{sleeps, "p/a_test.go", "package p\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n",
			"package p\n\nimport \"time\"\n\nfunc f() { time.After(1) }\n", "sleeps"},
		{sleeps, "tests/sim/a.go", "package p\n\nimport w \"time\"\n\nvar f = w.Sleep\n",
			"package p\n\nvar f = w.Sleep\n", "sleeps"},
		{sleeps, "p/a_test.go", "package p\n\nimport . \"time\"\n\nfunc f() { Sleep(1) }\n",
			"package p\n\nfunc f() { Sleep(1) }\n", "sleeps"},
		{undocumented, "p/a.go", "package p\n\nfunc F() {}\n",
			"package p\n\n// F is.\nfunc F() {}\n", "F is exported"},
		{undocumented, "p/a.go", "package p\n\n// All.\nconst (\n\tC = 1\n)\n",
			"package p\n\nconst (\n\tC = 1 // C is.\n)\n", "C is exported"},
		{undocumented, "p/a.go", "package p\n\nconst (\n\tC = iota\n)\n",
			"package p\n\n// All.\nconst (\n\tC = iota\n\tD\n)\n", "C is exported"},
		{undocumented, "p/a.go", "package p\n\ntype T struct{}\n",
			"package p\n\n// T is.\ntype T struct{}\n", "T is exported"},
		{undocumented, "p/a.go", "package p\n\nfunc (t *T[K]) M() {}\n",
			"package p\n\nfunc (t *u) M() {}\n", "M is exported"},
	}
	for _, c := range cases {
		requireComplaint(t, c.rule(madeUp(t, c.name, c.bad)), c.about)
		require.Empty(t, c.rule(madeUp(t, c.name, c.good)), c.good)
	}
	bare := madeUp(t, "p/a.go", "package p\n")
	explained := madeUp(t, "p/doc.go", "// Package p is.\npackage p\n")
	requireComplaint(t, unexplainedPackages([]source{bare}), "p: package has no comment")
	require.Empty(t, unexplainedPackages([]source{bare, explained}))
}
