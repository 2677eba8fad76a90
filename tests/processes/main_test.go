//go:build linux

package processes

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	duration = flag.Duration("duration", 10*time.Second,
		"how long the random history runs that must be linearizable")
	freeze = flag.Duration("freeze", 3*time.Second, "how long a node is frozen")
	idle   = flag.Duration("idle", 10*time.Second, "how long an idle cluster is watched")
	seed   = flag.Uint64("seed", 0, "seed of the random faults; 0 takes the time")
	flags  = flag.String("build", "", "flags for building the commands, such as -race")
)

// patience bounds every wait for something that takes milliseconds on a machine with nothing else
// to do.
const patience = 20 * time.Second

// bin is where the commands are.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

// runTests builds the commands into a folder that is removed at the end.
func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tangaroa-processes-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "BFTNODE_") || strings.HasPrefix(name, "BFTCLIENT_") {
			os.Unsetenv(name) // the tests say what the commands are told
		}
	}
	args := append([]string{"build", "-ldflags=-s -w"}, strings.Fields(*flags)...)
	build := exec.Command("go", append(args, "-o", bin+"/", "./cmd/bftnode", "./cmd/bftclient")...)
	build.Dir = filepath.Join("..", "..")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the commands:", err)
		return 1
	}
	return m.Run()
}

// await polls until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	awaitFor(t, patience, what, holds)
}

// awaitFor polls until a condition holds, for so long at most.
func awaitFor(t *testing.T, longest time.Duration, what string, holds func() bool) {
	t.Helper()
	if !within(longest, holds) {
		require.FailNow(t, "it takes too long", what)
	}
}

// within polls until a condition holds, and says whether it does before so long is over.
func within(longest time.Duration, holds func() bool) bool {
	deadline := time.After(longest)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-deadline:
			return false
		}
	}
	return true
}
