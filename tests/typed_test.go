package tests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// typed is a file whose package has been type-checked.
type typed struct {
	source
	info *types.Info
}

// listed is what the go command says about a package.
type listed struct {
	ImportPath string
	Dir        string
	Export     string // file with the export data of the compiled package
	GoFiles    []string
	Module     *struct{ Path string }
	Error      *struct{ Err string }
}

// buildTags are the ways in which the module is built.
var buildTags = []string{"", "invariants"}

// typeCheck type-checks those of the given packages that exist, as they are built
// with the tag. Imported packages are read from the compiler's export data, which
// is what keeps this fast.
func typeCheck(t *testing.T, tr tree, tag string, patterns []string) []typed {
	t.Helper()
	if len(patterns) == 0 {
		return nil
	}
	exports := map[string]string{}
	var roots []listed
	for _, p := range goList(t, tr, tag, patterns) {
		exports[p.ImportPath] = p.Export
		if p.Module != nil && p.Module.Path == module {
			require.Nil(t, p.Error, "%s", p.ImportPath)
			roots = append(roots, p)
		}
	}
	from := importer.ForCompiler(tr.fset, "gc", func(p string) (io.ReadCloser, error) {
		if exports[p] == "" {
			return nil, fmt.Errorf("no export data of %s", p)
		}
		return os.Open(exports[p])
	})
	byName := map[string]source{}
	for _, s := range tr.files {
		byName[s.name] = s
	}
	var out []typed
	for _, p := range roots {
		var files []source
		for _, name := range p.GoFiles {
			rel, err := filepath.Rel(tr.root, filepath.Join(p.Dir, name))
			require.NoError(t, err)
			s, ok := byName[filepath.ToSlash(rel)]
			require.True(t, ok, "%s was not parsed", rel)
			files = append(files, s)
		}
		out = append(out, checkPackage(t, p.ImportPath, from, files)...)
	}
	return out
}

// goList asks the go command for the packages and all they import, compiled.
func goList(t *testing.T, tr tree, tag string, patterns []string) []listed {
	t.Helper()
	args := append([]string{"list", "-e", "-export", "-deps", "-tags", tag,
		"-json=ImportPath,Dir,Export,GoFiles,Module,Error"}, patterns...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = tr.root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	require.NoError(t, err, "%s", stderr.String())
	var out []listed
	for decoder := json.NewDecoder(bytes.NewReader(text)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return out
		} else {
			require.NoError(t, err)
		}
		out = append(out, p)
	}
}

// checkPackage type-checks the files of one package.
func checkPackage(
	t *testing.T, importPath string, from types.Importer, files []source,
) []typed {
	t.Helper()
	if len(files) == 0 {
		return nil
	}
	info := &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{},
		Uses:  map[*ast.Ident]types.Object{},
	}
	var syntax []*ast.File
	for _, s := range files {
		syntax = append(syntax, s.syntax)
	}
	_, err := (&types.Config{Importer: from}).Check(importPath, files[0].fset, syntax, info)
	require.NoError(t, err)
	var out []typed
	for _, s := range files {
		out = append(out, typed{source: s, info: info})
	}
	return out
}

// madeUpImports serves packages written for a test, keyed by import path.
type madeUpImports map[string]string

func (m madeUpImports) Import(p string) (*types.Package, error) {
	text, ok := m[p]
	if !ok {
		return nil, fmt.Errorf("no package %s was made up", p)
	}
	fset := token.NewFileSet()
	s, err := parseSource(fset, p+"/a.go", text)
	if err != nil {
		return nil, err
	}
	return (&types.Config{}).Check(p, fset, []*ast.File{s.syntax}, nil)
}

// madeUpTyped type-checks a file made up to break a rule.
func madeUpTyped(t *testing.T, name, text string, imports madeUpImports) typed {
	t.Helper()
	s := madeUp(t, name, text)
	return checkPackage(t, module+"/"+s.dir(), imports, []source{s})[0]
}

// patterns turns package directories into arguments of the go command.
func patterns(dirs []string) []string {
	var out []string
	for _, dir := range dirs {
		out = append(out, "./"+strings.TrimPrefix(dir, "./"))
	}
	return out
}
