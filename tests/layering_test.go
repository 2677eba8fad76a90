package tests

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// permission is a row of the layering table.
type permission struct {
	pkg     string   // below the module root; "x/..." stands for every package below x
	level   int      // the layer; imports never go up
	imports []string // packages of this module that shipped code may import
	why     string   // what the package is permitted to do, and so not to know
}

// everything lets a package import whatever its layer is above.
const everything = "*"

// layers is who may know whom. A package that is not in it may not
// exist; one that does not exist yet may be in it.
var layers = []permission{
	{"internal/mutant", 0, nil,
		"it says which rule is broken on purpose, and in shipped builds that none is"},
	{"crypto", 0, []string{"internal/mutant"},
		"it is at the bottom: whatever it knew, everybody would know"},
	{"quorumcert", 1, []string{"crypto", "internal/mutant"},
		"it computes over statements and knows neither protocol nor disk nor network"},
	{"p2p", 1, []string{"crypto", "internal/mutant"},
		"it carries opaque frames between named nodes and never knows what is in them"},
	{"bftraft", 2, []string{"crypto", "internal/mutant", "quorumcert"},
		"the protocol only computes; bytes, disk and clock are brought to it"},
	{"bftraft/kv", 2, []string{"crypto"},
		"a state machine sees ordered operations and nothing of how they were ordered"},
	{"bftraft/replica", 3, []string{"bftraft", "crypto", "internal/mutant", "quorumcert"},
		"it is one member less its threads, clock, disk and state machine: these are handed in"},
	{"bftraft/store", 3,
		[]string{"bftraft", "bftraft/replica", "bftraft/store/journal", "crypto", "internal/mutant",
			"quorumcert"},
		"it keeps what it is given and has no network; it and node do not know each other"},
	{"bftraft/store/journal", 1, []string{"crypto", "internal/mutant"},
		"it keeps records on disk and never knows what is in them"},
	{"bftraft/store/storetest", 3,
		[]string{"bftraft", "bftraft/replica", "bftraft/store", "crypto", "quorumcert"},
		"it judges any Storage and belongs to none of the edges"},
	{"bftraft/client/judge", 3, []string{"bftraft", "crypto", "internal/mutant", "quorumcert"},
		"it decides what a client believes, in the simulator as in a program: no link, no clock"},
	{"bftraft/client", 3,
		[]string{"bftraft", "bftraft/client/judge", "crypto", "p2p", "quorumcert"},
		"a client verifies what nodes say; it shares no disk, state or goroutine with one"},
	{"internal/chance", 0, nil, "chance is a function of a seed"},
	{"internal/notdone", 0, nil, "tests alone import it"},
	{"adversary/rogue", 3, []string{"bftraft", "crypto", "internal/chance"},
		"a dishonest client is no node"},
	{"adversary", 3,
		[]string{"bftraft", "bftraft/replica", "crypto", "internal/chance", "quorumcert"},
		"a liar wraps the core from outside and holds its own key; it owns no disk and socket"},
	{"bftraft/node", 4, []string{"bftraft", "bftraft/replica", "crypto", "p2p", "quorumcert"},
		"storage, state machine and adversary are handed in: honest code knows no liar, " +
			"and the store can be swapped"},
	{"cmd/bftnode", 5, []string{everything},
		"it wires the parts together"},
	{"cmd/bftclient", 5,
		[]string{"adversary/rogue", "bftraft", "bftraft/client", "bftraft/kv", "cmd/internal/cli",
			"cmd/internal/clusterfile", "crypto", "p2p", "quorumcert"},
		"a client must work where no node's code, disk or liar is"},
	{"cmd/...", 5, []string{everything},
		"commands share flags and files, and nothing imports them but commands"},
	{"tests", 5, []string{everything}, "tests see all"},
	{"tests/disk", 5,
		[]string{"bftraft", "bftraft/store", "bftraft/store/storetest", "crypto", "quorumcert"},
		"it compares two stores and needs no node"},
	{"tests/chaos", 5, []string{"bftraft", "crypto", "quorumcert"},
		"its proxy carries bytes that it cannot read, and its oracle asks no node"},
	{"tests/...", 5, []string{everything}, "tests see all"},
}

// outside says who may import what is not ours. The longest prefix counts.
var outside = []struct {
	prefix string
	pkgs   []string
	why    string
}{
	{"github.com/libp2p", []string{"p2p"}, "the socket is swapped in one place"},
	{"github.com/multiformats", []string{"p2p"}, "the socket is swapped in one place"},
	{"github.com/dgraph-io", []string{"bftraft/store"}, "the disk is swapped in one place"},
	{"github.com/oasisprotocol", []string{"crypto"}, "there is one signature rule"},
	{"filippo.io", []string{"crypto"}, "there is one signature rule"},
	{"filippo.io/age", []string{"cmd/bftclient"},
		"values are sealed by users to users, and the cluster knows nothing of it"},
	{"golang.org/x/crypto", []string{"crypto"}, "there is one place for keys and ciphers"},
	{"golang.org/x/crypto/cryptobyte", []string{everything}, "it encodes, and that is all"},
	{"golang.org/x/term", []string{"cmd/..."}, "people sit at commands"},
	{"github.com/urfave/cli", []string{"cmd/..."}, "flags are for commands"},
	{"github.com/prometheus", []string{"bftraft/node", "cmd/..."}, "metrics are an edge"},
	{"gopkg.in/yaml.v3", []string{"cmd/..."}, "what is hashed or signed is never YAML"},
	{"testing", []string{"bftraft/store/storetest", "internal/notdone", "tests/..."},
		"products carry no tests"},
	{"github.com/stretchr/testify", []string{"bftraft/store/storetest", "tests/..."},
		"products carry no tests"},
	{"github.com/anishathalye/porcupine", []string{"tests/..."}, "products carry no tests"},
	{"github.com/cockroachdb/datadriven", []string{"tests/..."}, "products carry no tests"},
	{"go.uber.org/goleak", []string{"tests/..."}, "products carry no tests"},
}

func TestPackagesImportOnlyDownwards(t *testing.T) {
	var complaints []string
	for _, s := range theTree(t).own() {
		complaints = append(complaints, wrongImports(s)...)
	}
	requireClean(t, complaints)
}

// wrongImports holds one file against both tables.
func wrongImports(s source) []string {
	row, ok := rowOf(s.dir())
	if !ok {
		return []string{fmt.Sprintf("%s: package %s is not in the layering table: "+
			"decide what it may know", s.name, s.dir())}
	}
	var out []string
	for _, p := range s.imports() {
		below, ours := strings.CutPrefix(p, module+"/")
		switch {
		case ours && below != s.dir():
			out = append(out, row.judge(s, below)...)
		case !ours && !s.isTest():
			out = append(out, wrongOutside(s, p)...)
		}
	}
	return out
}

// judge returns what is wrong with the file importing the package. Test files may
// use any package of their own layer or below.
func (row permission) judge(s source, imported string) []string {
	say := func(why string) []string {
		return []string{fmt.Sprintf("%s: %s must not import %s: %s",
			s.name, s.dir(), imported, why)}
	}
	target, ok := rowOf(imported)
	switch {
	case !ok:
		return say("it is not in the layering table")
	case under(imported, "tests") && !under(s.dir(), "tests"):
		return say("nothing shipped knows the tests")
	case target.level > row.level:
		return say(fmt.Sprintf("it is in layer %d, above layer %d", target.level, row.level))
	case s.isTest() || slices.Contains(row.imports, everything):
		return nil
	case !slices.Contains(row.imports, imported):
		return say(row.why)
	}
	return nil
}

// wrongOutside returns what is wrong with the file importing somebody else's code.
func wrongOutside(s source, imported string) []string {
	best := -1
	for i, rule := range outside {
		if under(imported, rule.prefix) &&
			(best < 0 || len(rule.prefix) > len(outside[best].prefix)) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	for _, pkg := range outside[best].pkgs {
		if pkg == everything || matches(s.dir(), pkg) {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s: %s must not import %s: %s",
		s.name, s.dir(), imported, outside[best].why)}
}

// rowOf finds the row of a package: its own, else the one with dots.
func rowOf(pkg string) (permission, bool) {
	for _, row := range layers {
		if row.pkg == pkg {
			return row, true
		}
	}
	for _, row := range layers {
		if strings.HasSuffix(row.pkg, "/...") && matches(pkg, row.pkg) {
			return row, true
		}
	}
	return permission{}, false
}

// matches reports whether the pattern, possibly with dots at its end, stands for
// the package. As for the go command, "x/..." also stands for x.
func matches(pkg, pattern string) bool {
	if prefix, dots := strings.CutSuffix(pattern, "/..."); dots {
		return under(pkg, prefix)
	}
	return pkg == pattern
}

// under reports whether a path is the prefix or below it.
func under(p, prefix string) bool { return p == prefix || strings.HasPrefix(p, prefix+"/") }

func TestLayeringTableIsConsistent(t *testing.T) {
	for i, row := range layers {
		require.Equal(t, row.pkg, path.Clean(row.pkg))
		require.NotEmpty(t, row.why, row.pkg)
		for _, other := range layers[:i] {
			require.NotEqual(t, row.pkg, other.pkg, "listed twice")
		}
		for _, imported := range row.imports {
			if imported == everything {
				continue
			}
			target, ok := rowOf(imported)
			require.True(t, ok, "%s may import %s, which is not listed", row.pkg, imported)
			require.LessOrEqual(t, target.level, row.level, "%s imports upwards", row.pkg)
		}
	}
}

func TestLayeringRulesCanFail(t *testing.T) {
	ours := func(name, imported string) source {
		return madeUp(t, name, fmt.Sprintf("package p\n\nimport _ %q\n", imported))
	}
	bad := []struct{ file, imported, about string }{
		{"bftraft/tricks/a.go", "fmt", "not in the layering table"},
		{"bftraft/a.go", module + "/bftraft/tricks", "not in the layering table"},
		{"crypto/a.go", module + "/quorumcert", "above layer 0"},
		{"crypto/a_test.go", module + "/quorumcert", "above layer 0"},
		{"p2p/a.go", module + "/bftraft", "above layer 1"},
		{"p2p/a.go", module + "/quorumcert", "opaque frames"},
		{"bftraft/a.go", module + "/bftraft/kv", "the protocol only computes"},
		{"bftraft/store/a.go", module + "/bftraft/node", "above layer 3"},
		{"bftraft/node/a.go", module + "/bftraft/store", "the store can be swapped"},
		{"bftraft/node/a.go", module + "/adversary", "knows no liar"},
		{"cmd/bftclient/a.go", module + "/adversary", "where no node's code"},
		{"bftraft/node/a.go", module + "/cmd/bftnode", "above layer 4"},
		{"cmd/bftnode/a.go", module + "/tests/sim", "nothing shipped knows the tests"},
		{"cmd/bftnode/a_test.go", module + "/tests/sim", "nothing shipped knows the tests"},
		{"bftraft/node/a.go", "github.com/libp2p/go-libp2p/core/host", "the socket"},
		{"bftraft/a.go", "golang.org/x/crypto/chacha20", "keys and ciphers"},
		{"bftraft/node/a.go", "testing", "no tests"},
	}
	for _, c := range bad {
		requireComplaint(t, wrongImports(ours(c.file, c.imported)), c.about)
	}
	good := []struct{ file, imported string }{
		{"quorumcert/a.go", module + "/crypto"},
		{"bftraft/node/a_test.go", module + "/bftraft/store"},
		{"bftraft/a_test.go", module + "/bftraft"},
		{"tests/sim/a.go", module + "/adversary"},
		{"cmd/internal/flags/a.go", module + "/crypto"},
		{"bftraft/a.go", "golang.org/x/crypto/cryptobyte"},
		{"bftraft/a_test.go", "testing"},
	}
	for _, c := range good {
		require.Empty(t, wrongImports(ours(c.file, c.imported)), "%s %s", c.file, c.imported)
	}
}
