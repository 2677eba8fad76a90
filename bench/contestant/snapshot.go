package contestant

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/raft"
)

// hashiSnapshot is a copy of a map. By default one is due after two to four minutes.
type hashiSnapshot struct{ values map[string][]byte }

// Persist implements raft.FSMSnapshot.
func (s hashiSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := gob.NewEncoder(sink).Encode(s.values); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s hashiSnapshot) Release() {}

func readMap(r io.Reader) (map[string][]byte, error) {
	values := map[string][]byte{}
	err := gob.NewDecoder(r).Decode(&values)
	return values, err
}

func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a node's directory: %w", err)
	}
	return nil
}
