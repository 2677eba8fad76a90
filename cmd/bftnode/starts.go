package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/crypto"
)

// starts counts how often a node was started, in its data directory and once more beside it: of a
// directory that is lost, or was put back to what it was before, nothing in it tells (J7).
type starts struct {
	key   crypto.PublicKey
	count uint64
}

// startsName is the name of the count in a data directory.
const startsName = "starts"

// errForgets is why a node does not start whose data directory is not the newest.
var errForgets = errors.New("this key was used since with data that is not there any more")

// besideData is where the count is that stays when a data directory goes.
func besideData(s *clusterfile.Node) string { return filepath.Clean(s.Data) + "." + startsName }

// readStarts reads a count, zero for none.
func readStarts(path string) (starts, error) {
	var st starts
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return st, nil
	case err != nil:
		return st, err
	}
	var key string
	if _, err = fmt.Sscanf(string(text), "%s %d\n", &key, &st.count); err == nil {
		st.key, err = crypto.ParsePublicKey(key)
	}
	if err != nil {
		return st, fmt.Errorf("%s is damaged: %w: if the data is the newest there is, remove the "+
			"counts of starts, in it and beside it", path, err)
	}
	return st, nil
}

// write makes a count durable before it returns: the one in the data is never to be the older one.
func (st starts) write(path string) (err error) {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %d\n", st.key, st.count)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// checkUnused says whether a node may begin with empty data: its key has signed nothing that it
// would forget.
func (m *member) checkUnused() error {
	before, err := readStarts(besideData(m.settings))
	if err == nil && before.key == m.key.Public() {
		err = m.forgets()
	}
	return err
}

// recount lets counting begin anew, since other data takes the place of these that is as new.
func (m *member) recount() error {
	err := os.Remove(besideData(m.settings))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (m *member) forgets() error {
	return cli.Errorf(cli.MustNotSign, "must not sign: %w: %s: it may have signed what it would "+
		"forget, so it needs a new key: %s", errForgets, m.settings.Data, newKey(m.settings))
}

// countStart counts one start more, unless there were some that the data does not know of. Where
// the count beside the data cannot be written the node runs without.
func (m *member) countStart() error {
	inside, beside := filepath.Join(m.settings.Data, startsName), besideData(m.settings)
	known, err := readStarts(inside)
	if err != nil {
		return err
	}
	before, err := readStarts(beside)
	switch {
	case err != nil:
		return err
	case before.key == m.key.Public() && before.count > known.count:
		return m.forgets()
	}
	next := starts{key: m.key.Public(), count: known.count + 1}
	if err := next.write(inside); err != nil {
		return err
	}
	if err := next.write(beside); err != nil {
		m.log.Warn("nothing will tell if this node's data is lost or put back", "error", err)
	}
	return nil
}
