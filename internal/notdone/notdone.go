// Package notdone is for tests that need a tool, a privilege or a file system that is not there. A
// test that is skipped looks like one that has passed; so these are written down, and "make test"
// says at its end what it did not do.
package notdone

import (
	"fmt"
	"os"
	"testing"
)

// Variable is the environment variable that names the file in which undone tests are written down,
// a line each; without it they are skipped only.
const Variable = "TANGAROA_NOT_DONE"

// Skip ends a test that cannot be done here, and says why.
func Skip(t testing.TB, format string, why ...any) {
	t.Helper()
	text := fmt.Sprintf(format, why...)
	if path := os.Getenv(Variable); path != "" {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatalf("write down what is not done: %v", err)
		}
		_, err = fmt.Fprintf(f, "%s: %s\n", t.Name(), text)
		if err != nil || f.Close() != nil {
			t.Fatalf("write down what is not done: %v", err)
		}
	}
	t.Skip("NOT DONE: " + text)
}
