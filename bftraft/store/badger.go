package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store/journal"
	"tangaroa/crypto"
	"tangaroa/internal/mutant"
)

const (
	storeDir  = "store"
	guardFile = "guard"
)

// Badger is the store on disk.
type Badger struct {
	dir     string
	options Options
	logger  *slog.Logger
	meta    meta
	guard   *guard
	journal *journal.Journal
	seals   *sealer
	db      *badger.DB

	written   state         // what the state record says
	digest    crypto.Digest // of that record, and of the records of the journal behind it
	committed bftraft.Index // of the newest commit certificate, pending or written
	pending   pending
	// unrecorded is the end of what is pending, which is not in the journal either.
	unrecorded unrecorded
	base       bftraft.Position // behind what the chain begins; the genesis when zero
	tip        bftraft.Position // the end of the chain, pending blocks included
	sweeper    sweeper
	snaps      snapshots
	loaded     bool
	verdict    error

	dirChanged time.Time // the change of the directory that was last flushed

	err atomic.Pointer[error]
}

// Create makes an empty store for id in dir, which must not exist or be empty. It is made beside
// dir and renamed, so that after a crash there is all of it or nothing.
func Create(dir string, id Identity) error { return CreateEncrypted(dir, id, crypto.SecretKey{}) }

// CreateEncrypted is Create for a store that opens only with the master key.
func CreateEncrypted(dir string, id Identity, master crypto.SecretKey) error {
	dir = filepath.Clean(dir)
	entries, err := os.ReadDir(dir)
	switch {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("%w: %s", ErrExists, dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("create store: %w", err)
	}
	fresh := dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("create store: %w", err)
	}
	if err := fill(fresh, id, master); err != nil {
		return errors.Join(fmt.Errorf("create store: %w", err), os.RemoveAll(fresh))
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create store: %w", err)
	}
	if err := os.Rename(fresh, dir); err != nil {
		return fmt.Errorf("create store: %w", err)
	}
	return syncDirectory(filepath.Dir(dir))
}

func fill(dir string, id Identity, master crypto.SecretKey) error {
	if err := os.MkdirAll(filepath.Join(dir, storeDir), 0o700); err != nil {
		return err
	}
	m := meta{identity: id, encrypted: !master.IsZero()}
	if _, err := rand.Read(m.instance[:]); err != nil {
		return err
	}
	seals := &sealer{id: m.instance}
	if m.encrypted {
		seals.keys = firstKeys()
		w := wrapKeys(m, seals.keys, master)
		if err := writeSynced(filepath.Join(dir, keysFile), w.encode()); err != nil {
			return err
		}
	}
	st := genesisState(id.Cluster)
	record := st.encode()
	db, err := badger.Open(BadgerOptions(filepath.Join(dir, storeDir), Options{}))
	if err != nil {
		return err
	}
	err = db.Update(func(txn *badger.Txn) error {
		if err := txn.Set(key(keyMeta), m.encode()); err != nil {
			return err
		}
		return txn.Set(key(keyState), seals.seal(key(keyState), record))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	err = errors.Join(
		journal.Create(filepath.Join(dir, journalFile)),
		createGuard(filepath.Join(dir, guardFile), seals, promiseOf(m, &st, record)))
	return errors.Join(err, syncDirectory(filepath.Join(dir, storeDir)), syncDirectory(dir))
}

// BadgerOptions returns the settings with which a store opens Badger in dir, for who compares
// another use of Badger with it. It is the small profile: no caches, as nothing is compressed and
// the chain keeps its newest blocks in memory itself; no metrics; blocks in tables no smaller than
// a value, as it doubles those it outgrows. Tables are verified when they are opened. Many are
// merged at once: each merging also rewrites all certificates, whose keys lie between those of the
// blocks. Tables are small, all of one size: Badger sets aside twice the size to build one, builds
// up to 13 side by side, and writes each through a mapping and flushes it. When that was 100 MiB at
// once everything else waited for the processors and the disk.
func BadgerOptions(dir string, o Options) badger.Options {
	o = o.withDefaults()
	b := badger.DefaultOptions(dir)
	b.TableSizeMultiplier = 1
	return b.
		WithSyncWrites(!mutant.On(mutant.M15)).
		WithChecksumVerificationMode(options.OnTableRead).
		WithNumVersionsToKeep(1).
		WithDetectConflicts(false).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithBlockSize(1 << 20).
		WithBaseTableSize(2 << 20).
		WithMemTableSize(o.MemtableBytes).
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithNumLevelZeroTables(10).
		WithNumLevelZeroTablesStall(20).
		WithNumGoroutines(2).
		WithValueThreshold(valueThreshold).
		WithValueLogFileSize(1 << 20).
		WithMetricsEnabled(false).
		WithLogger(badgerLog{o.Logger})
}

// Open opens the store that Create made in dir. Nothing may be signed before Load has returned.
func Open(dir string, o Options) (*Badger, error) {
	o = o.withDefaults()
	s := &Badger{dir: filepath.Clean(dir), options: o, logger: o.Logger}
	s.unrecorded.limit = journal.MaxRecordBytes
	var err error
	if s.guard, err = lockGuard(s.dir, &o); err != nil {
		return nil, err
	}
	s.seals = s.guard.seals
	if err := s.open(); err != nil {
		_ = s.release() // why it cannot be opened says more
		return nil, err
	}
	return s, nil
}

// lockGuard opens the guard of the store in dir, which must be what the options say.
func lockGuard(dir string, o *Options) (*guard, error) {
	g, err := openGuard(filepath.Join(dir, guardFile),
		func() (*wrappedKeys, *dataKeys, error) { return unlock(dir, o) })
	if err != nil {
		return nil, err
	}
	m := g.newest.meta
	err = m.identity.match(o.Identity)
	switch {
	case err != nil:
	case g.wraps != nil && g.wraps.meta != m:
		err = fmt.Errorf("%w: guard and data keys do not belong together", ErrWrongIdentity)
	case g.wraps == nil && !o.Master.IsZero():
		err = ErrNotEncrypted
	}
	if err != nil {
		_ = g.close() // why it is refused says more
		return nil, err
	}
	return g, nil
}

func (s *Badger) open() error {
	s.meta = s.guard.newest.meta
	if s.guard.spoilt {
		s.logger.Warn("one slot of the guard is damaged; going by the other")
	}
	path := filepath.Join(s.dir, storeDir)
	if err := present(path); err != nil {
		return err
	}
	if err := s.checkSpace(); err != nil {
		return err
	}
	if err := s.openBadger(path); err != nil {
		return err
	}
	if err := s.readState(); err != nil {
		return err
	}
	s.base, s.tip, s.pending.base = s.written.base, s.written.tip, s.written.tip.Index
	if s.verdict = s.openJournal(); s.verdict == nil {
		now := s.now()
		s.verdict = s.guard.newest.judge(&now, s.journal.Number(), s.digest)
	}
	if s.verdict != nil && (!s.options.ReadOnly || s.journal == nil) {
		return s.verdict
	}
	return nil
}

func (have Identity) match(want Identity) error {
	switch {
	case have.Cluster != want.Cluster:
		return fmt.Errorf("%w: it is of cluster %s", ErrWrongIdentity, have.Cluster.Short())
	case have.Node != want.Node:
		return fmt.Errorf("%w: it is of node %d", ErrWrongIdentity, have.Node)
	case have.Key != want.Key:
		return fmt.Errorf("%w: it is of key %s", ErrWrongIdentity, have.Key)
	}
	return nil
}

// present refuses directories that Badger would take for new ones, deleting what it finds there.
func present(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return fmt.Errorf("%w: there is nothing in %s", ErrMissing, path)
	}
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	for _, name := range []string{badger.ManifestFilename, "KEYREGISTRY"} {
		if _, err := os.Stat(filepath.Join(path, name)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s is not there", ErrDamaged, name)
		}
	}
	return nil
}

func (s *Badger) openBadger(path string) (err error) {
	defer recoverDamage(&err)
	if err = errors.Join(removeEmptyLogs(path), checkTables(path)); err == nil {
		if s.db, err = badger.Open(BadgerOptions(path, s.options)); err == nil {
			return nil
		}
	}
	s.db = nil
	var errno syscall.Errno
	switch {
	case strings.Contains(err.Error(), "Cannot acquire directory lock"):
		return fmt.Errorf("%w: %w", ErrLocked, err)
	case errors.Is(err, ErrDamaged):
		return err
	case errors.As(err, &errno):
		return fmt.Errorf("open badger: %w", err)
	}
	return fmt.Errorf("%w: open badger: %s", ErrDamaged, oneLine(err))
}

// removeEmptyLogs takes away logs without a byte, write-ahead or of values: Badger makes the file
// first and then gives it its size, and does not open what a crash leaves in between. If there was
// more in one, the guard knows; values are small enough not to be in logs of their own.
func removeEmptyLogs(path string) error {
	logs, err := filepath.Glob(filepath.Join(path, "*.mem"))
	values, valuesErr := filepath.Glob(filepath.Join(path, "*.vlog"))
	if err = errors.Join(err, valuesErr); err != nil {
		return err
	}
	for _, name := range append(logs, values...) {
		info, err := os.Stat(name)
		if err == nil && info.Size() == 0 {
			err = os.Remove(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkTables opens the tables that the MANIFEST names, for their footers and indexes. Badger
// does so in goroutines of its own, where a panic over damaged bytes ends the process without a
// word on what is wrong; it goes on to verify all that the indexes name.
func checkTables(path string) error {
	f, err := os.Open(filepath.Join(path, badger.ManifestFilename))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	manifest, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(path))
	if err != nil {
		return err
	}
	for id := range manifest.Tables {
		name := table.NewFilename(id, path)
		if err := checkTable(name); err != nil {
			return fmt.Errorf("%w: table %s: %s", ErrDamaged, filepath.Base(name), oneLine(err))
		}
	}
	return nil
}

func checkTable(name string) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("its index cannot be read")
		}
	}()
	file, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	t, err := table.OpenTable(file, table.Options{ReadOnly: true})
	if err != nil {
		return errors.Join(err, file.Close(-1))
	}
	return t.Close(-1)
}

// readState reads the records that say whose store it is and how far it has come.
func (s *Badger) readState() error {
	return s.view(func(txn *badger.Txn) error {
		var m meta
		raw, err := get(txn, key(keyMeta))
		if err != nil {
			return fmt.Errorf("%w: it does not say whose it is: %w", ErrBehindGuard, err)
		}
		in := cryptobyte.String(raw)
		if !readMeta(&in, &m) {
			return fmt.Errorf("%w: its identity cannot be read", ErrDamaged)
		}
		if m != s.meta {
			return fmt.Errorf("%w: store and guard do not belong together", ErrWrongIdentity)
		}
		sealed, err := get(txn, key(keyState))
		if err != nil {
			return fmt.Errorf("%w: it has no state: %w", ErrBehindGuard, err)
		}
		record, ok := s.seals.unseal(key(keyState), sealed)
		if ok {
			s.written, ok = decodeState(record)
		}
		if !ok {
			return fmt.Errorf("%w: its state cannot be read", ErrDamaged)
		}
		s.digest = stateDigest(s.meta.instance, record)
		return nil
	})
}

// Verdict returns why the node must not sign, for a store that was opened for reading; nil when
// the store is where its guard is.
func (s *Badger) Verdict() error { return s.verdict }

// Err returns the first failure. After it nothing more is saved, as its outcome is not known.
func (s *Badger) Err() error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *Badger) fail(err error) error {
	if err != nil {
		s.err.CompareAndSwap(nil, &err)
	}
	return err
}

// Close hands to Badger what is still waiting, brings the guard up to it, and closes the files.
func (s *Badger) Close() error {
	if s.db == nil {
		return nil
	}
	s.haltSweeping()
	var err error
	if s.Err() == nil && s.loaded && !s.options.ReadOnly {
		err = s.settle()
	}
	err = errors.Join(err, s.release())
	closed := ErrClosed
	s.err.CompareAndSwap(nil, &closed)
	return err
}

func (s *Badger) release() error {
	s.haltSweeping()
	var err error
	if s.db != nil {
		err = s.db.Close()
		s.db = nil
	}
	if s.journal != nil {
		err = errors.Join(err, s.journal.Close())
		s.journal = nil
	}
	return errors.Join(err, s.snaps.release(), s.guard.close())
}

// view runs fn in a transaction for reading.
func (s *Badger) view(fn func(*badger.Txn) error) (err error) {
	defer recoverDamage(&err)
	return s.db.View(fn)
}

// recoverDamage turns a panic of Badger, which trusts the bytes of its files, into an error.
func recoverDamage(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: badger: %s", ErrDamaged, oneLine(r))
	}
}

// oneLine returns the first line of what Badger says that has something in it: some of its errors
// carry a stack.
func oneLine(what any) string {
	text := strings.TrimSpace(fmt.Sprint(what))
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func get(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}

// badgerLog hands Badger's words to slog.
type badgerLog struct{ logger *slog.Logger }

func (l badgerLog) Errorf(format string, args ...any) {
	l.logger.Warn("badger", "text", strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (l badgerLog) Warningf(format string, args ...any) { l.Errorf(format, args...) }

func (l badgerLog) Infof(format string, args ...any) { l.Debugf(format, args...) }

func (l badgerLog) Debugf(format string, args ...any) {
	if l.logger.Enabled(context.Background(), slog.LevelDebug) {
		l.logger.Debug("badger", "text", strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}
