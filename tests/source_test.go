package tests

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// module is the import path of this module.
const module = "tangaroa"

// source is one Go file of the tree.
type source struct {
	name   string // path below the module root, with slashes
	text   []byte
	fset   *token.FileSet
	syntax *ast.File
}

// dir is the file's package as a path below the module root.
func (s source) dir() string { return path.Dir(s.name) }

func (s source) isTest() bool { return strings.HasSuffix(s.name, "_test.go") }

// at prefixes a complaint with the place it is about.
func (s source) at(pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", s.name, s.fset.Position(pos).Line,
		fmt.Sprintf(format, args...))
}

// imports returns the import paths of the file.
func (s source) imports() []string {
	var out []string
	for _, spec := range s.syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			out = append(out, p)
		}
	}
	return out
}

// importName returns the name by which the file calls an imported package, and
// whether it imports it at all.
func (s source) importName(imported string) (string, bool) {
	for _, spec := range s.syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil || p != imported {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name, true
		}
		return path.Base(p), true
	}
	return "", false
}

// calls reports whether the expression is the named function of the imported
// package, under whatever name the file imports it.
func (s source) calls(e ast.Expr, imported, function string) bool {
	name, ok := s.importName(imported)
	if !ok {
		return false
	}
	if name == "." {
		ident, ok := e.(*ast.Ident)
		return ok && ident.Name == function
	}
	sel, ok := e.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != function {
		return false
	}
	ident, ok := sel.X.(*ast.Ident)
	return ok && ident.Name == name
}

// parseSource parses a file, of the tree or made up for a test.
func parseSource(fset *token.FileSet, name, text string) (source, error) {
	syntax, err := parser.ParseFile(fset, name, text, parser.ParseComments)
	return source{name: name, text: []byte(text), fset: fset, syntax: syntax}, err
}

// madeUp parses a file made up to break a rule.
func madeUp(t *testing.T, name, text string) source {
	t.Helper()
	s, err := parseSource(token.NewFileSet(), name, text)
	require.NoError(t, err)
	return s
}

// tree is every Go file below the module root and the directories among them that
// are modules of their own.
type tree struct {
	root    string
	fset    *token.FileSet
	files   []source
	modules []string
}

// own returns the files that belong to this module, not to a module below it.
func (tr tree) own() []source {
	var out []source
	for _, s := range tr.files {
		nested := false
		for _, dir := range tr.modules {
			nested = nested || strings.HasPrefix(s.name, dir+"/")
		}
		if !nested {
			out = append(out, s)
		}
	}
	return out
}

// readTree parses the tree once for all tests.
var readTree = sync.OnceValues(func() (tree, error) {
	root, err := moduleRoot()
	if err != nil {
		return tree{}, err
	}
	tr := tree{root: root, fset: token.NewFileSet()}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		return tr.visit(filepath.ToSlash(rel), p, d)
	})
	return tr, err
})

// visit takes in one entry of the tree. What the go command ignores is ignored.
func (tr *tree) visit(rel, file string, d fs.DirEntry) error {
	base := path.Base(rel)
	if d.IsDir() {
		if rel != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") ||
			base == "testdata" || base == "bin") {
			return filepath.SkipDir
		}
		return nil
	}
	if base == "go.mod" && rel != "go.mod" {
		tr.modules = append(tr.modules, path.Dir(rel))
	}
	if !strings.HasSuffix(base, ".go") {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	s, err := parseSource(tr.fset, rel, string(text))
	tr.files = append(tr.files, s)
	return err
}

// moduleRoot goes up from the working directory to the go.mod of this module.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module "+module+"\n") {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod of module %s above the tests", module)
		}
		dir = up
	}
}

// theTree returns the parsed tree and fails the test when a file does not parse.
func theTree(t *testing.T) tree {
	t.Helper()
	tr, err := readTree()
	require.NoError(t, err)
	require.NotEmpty(t, tr.files)
	return tr
}

// requireClean fails with all complaints of a rule, one to a line.
func requireClean(t *testing.T, complaints []string) {
	t.Helper()
	require.Zero(t, len(complaints), "\n%s", strings.Join(complaints, "\n"))
}

// requireComplaint fails unless the rule found exactly the one thing that is wrong
// in a made-up file.
func requireComplaint(t *testing.T, complaints []string, about string) {
	t.Helper()
	require.Equal(t, 1, len(complaints), "\n%s", strings.Join(complaints, "\n"))
	require.Contains(t, complaints[0], about)
}
