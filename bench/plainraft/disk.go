package plainraft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"golang.org/x/crypto/cryptobyte"
	"google.golang.org/protobuf/proto"

	"tangaroa/bftraft/store"
	"tangaroa/bftraft/store/journal"
)

// disk keeps hard state and entries as our own store does: what is small in a journal, which is
// flushed once, until Badger, with the settings of that store, takes all of it at once.
type disk struct {
	db      *badger.DB
	journal *journal.Journal
	path    string // of the journal
	last    uint64 // the highest index stored
	batch   uint64 // of what Badger has
	waiting []op   // in the journal and not in Badger
	bytes   int    // of them
	// saves counts what was flushed, in the journal or in Badger.
	saves uint64
}

// op sets a key, or deletes it when there is no value.
type op struct{ key, value []byte }

// hardKey is where the hard state lies, and batchKey which batch Badger has; entries lie at their
// index.
var hardKey, batchKey = []byte("hard"), []byte("batch")

// The limits are those of our store. An operation takes opOverhead in a transaction beyond its
// value, and more.
const (
	opOverhead     = 64
	maxWaiting     = 1024
	maxWaitingSize = 1 << 20
)

func openDisk(dir string) (*disk, error) {
	path := filepath.Join(dir, "journal")
	if err := journal.Create(path); err != nil {
		return nil, err
	}
	j, err := journal.Open(path, journal.ID{})
	if err != nil {
		return nil, err
	}
	db, err := badger.Open(store.BadgerOptions(filepath.Join(dir, "store"), store.Options{}))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open badger: %w", err), j.Close())
	}
	return &disk{db: db, journal: j, path: path}, nil
}

func (d *disk) close() error { return errors.Join(d.journal.Close(), d.db.Close()) }

func entryKey(i uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'e'}, i) }

// save makes a Ready durable.
func (d *disk) save(rd *raft.Ready) error {
	if len(rd.Entries) == 0 && (!rd.MustSync || raft.IsEmptyHardState(rd.HardState)) {
		return nil // a commit index is learned again
	}
	ops, err := d.opsOf(rd)
	if err != nil {
		return err
	}
	d.saves++
	record := encodeOps(ops)
	d.waiting = append(d.waiting, ops...)
	d.bytes += len(record)
	if d.bytes >= maxWaitingSize || len(d.waiting) >= maxWaiting || !d.journal.Fits(len(record)) {
		return d.settle()
	}
	return errors.Join(d.journal.Write(record), d.journal.Sync())
}

// opsOf returns what a Ready changes, entries first and in their order.
func (d *disk) opsOf(rd *raft.Ready) ([]op, error) {
	var ops []op
	if n := len(rd.Entries); n > 0 {
		for i := rd.Entries[n-1].GetIndex() + 1; i <= d.last; i++ {
			ops = append(ops, op{key: entryKey(i)})
		}
		d.last = rd.Entries[n-1].GetIndex()
	}
	put := func(key []byte, m proto.Message) error {
		value, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		if int64(len(value)) >= d.db.Opts().ValueThreshold-opOverhead {
			return errors.New("an entry would go to the value log")
		}
		ops = append(ops, op{key, value})
		return nil
	}
	for _, e := range rd.Entries {
		if err := put(entryKey(e.GetIndex()), e); err != nil {
			return nil, fmt.Errorf("write an entry: %w", err)
		}
	}
	if !raft.IsEmptyHardState(rd.HardState) {
		if err := put(hardKey, rd.HardState); err != nil {
			return nil, fmt.Errorf("write the hard state: %w", err)
		}
	}
	return ops, nil
}

// settle hands to Badger what waits, and lets the journal begin anew. Of what does not fit into one
// transaction the first comes first, so that a crash leaves a shorter log.
func (d *disk) settle() error {
	d.batch++
	txn := d.db.NewTransaction(true)
	defer func() { txn.Discard() }()
	put := func(o op) error {
		if o.value == nil {
			return txn.Delete(o.key)
		}
		return txn.Set(o.key, o.value)
	}
	batch := op{batchKey, binary.BigEndian.AppendUint64(nil, d.batch)}
	for _, o := range append(d.waiting, batch) {
		err := put(o)
		if errors.Is(err, badger.ErrTxnTooBig) {
			if err = txn.Commit(); err == nil {
				txn = d.db.NewTransaction(true)
				err = put(o)
			}
		}
		if err != nil {
			return fmt.Errorf("write to badger: %w", err)
		}
	}
	if err := txn.Commit(); err != nil {
		return fmt.Errorf("write to badger: %w", err)
	}
	d.journal.Restart(d.batch)
	d.waiting, d.bytes = d.waiting[:0], 0
	return nil
}

func encodeOps(ops []op) []byte {
	var b []byte
	for _, o := range ops {
		for _, part := range [][]byte{o.key, o.value} {
			b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
			b = append(b, part...)
		}
	}
	return b
}

// decodeOps calls fn with each operation of a record.
func decodeOps(record []byte, fn func(op)) error {
	for s := cryptobyte.String(record); !s.Empty(); {
		var o op
		for _, part := range []*[]byte{&o.key, &o.value} {
			var n uint32
			if !s.ReadUint32(&n) || !s.ReadBytes(part, int(n)) {
				return errMalformed
			}
		}
		fn(o)
	}
	return nil
}

// entries returns what the disk holds, which a test compares with the log in memory.
func (d *disk) entries() ([]*pb.Entry, error) {
	found := map[string][]byte{}
	err := d.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{'e'}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			value, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			found[string(it.Item().Key())] = value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	j, err := journal.Open(d.path, journal.ID{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = j.Close() }()
	records, err := j.Records(d.batch)
	if err != nil {
		return nil, err
	}
	for _, record := range records {
		err := decodeOps(record, func(o op) {
			if found[string(o.key)] = o.value; len(o.value) == 0 {
				delete(found, string(o.key))
			}
		})
		if err != nil {
			return nil, err
		}
	}
	delete(found, string(hardKey))
	var out []*pb.Entry
	for _, key := range slices.Sorted(maps.Keys(found)) {
		e := &pb.Entry{}
		if err := proto.Unmarshal(found[key], e); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}
