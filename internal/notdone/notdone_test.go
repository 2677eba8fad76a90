package notdone

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatIsNotDoneIsSkippedAndWrittenDown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	t.Setenv(Variable, path)
	for _, name := range []string{"one", "two"} {
		done := false
		t.Run(name, func(t *testing.T) {
			defer func() { require.True(t, t.Skipped()) }()
			Skip(t, "%s is not installed", name)
			done = true
		})
		require.False(t, done)
	}
	list, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, t.Name()+"/one: one is not installed\n"+
		t.Name()+"/two: two is not installed\n", string(list))
}
