package plainraft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"tangaroa/bftraft/store"
)

// disk keeps hard state and entries in Badger, with the settings of our own store.
type disk struct {
	db   *badger.DB
	last uint64 // the highest index stored
	// saves counts the transactions, each of which is synced.
	saves uint64
}

// hardKey is where the hard state lies; entries lie at their index.
var hardKey = []byte("hard")

// opOverhead is what an operation takes in a transaction beyond its value, and more.
const opOverhead = 64

func openDisk(dir string) (*disk, error) {
	db, err := badger.Open(store.BadgerOptions(dir, store.Options{}))
	if err != nil {
		return nil, fmt.Errorf("open badger: %w", err)
	}
	return &disk{db: db}, nil
}

func entryKey(i uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'e'}, i) }

// save makes a Ready durable. Of what does not fit into one transaction the entries come first, in
// their order, so that a crash leaves a shorter log.
func (d *disk) save(rd *raft.Ready) error {
	if len(rd.Entries) == 0 && (!rd.MustSync || raft.IsEmptyHardState(rd.HardState)) {
		return nil // a commit index is learned again
	}
	txn := d.db.NewTransaction(true)
	defer func() { txn.Discard() }()
	put := func(key []byte, m proto.Message) error {
		value, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		if int64(len(value)) >= d.db.Opts().ValueThreshold-opOverhead {
			return errors.New("an entry would go to the value log")
		}
		err = txn.Set(key, value)
		if errors.Is(err, badger.ErrTxnTooBig) {
			if err = d.commit(txn); err == nil {
				txn = d.db.NewTransaction(true)
				err = txn.Set(key, value)
			}
		}
		return err
	}
	if n := len(rd.Entries); n > 0 {
		for i := rd.Entries[n-1].GetIndex() + 1; i <= d.last; i++ {
			if err := txn.Delete(entryKey(i)); err != nil {
				return fmt.Errorf("cut the log: %w", err)
			}
		}
		d.last = rd.Entries[n-1].GetIndex()
	}
	for _, e := range rd.Entries {
		if err := put(entryKey(e.GetIndex()), e); err != nil {
			return fmt.Errorf("write an entry: %w", err)
		}
	}
	if !raft.IsEmptyHardState(rd.HardState) {
		if err := put(hardKey, rd.HardState); err != nil {
			return fmt.Errorf("write the hard state: %w", err)
		}
	}
	return d.commit(txn)
}

func (d *disk) commit(txn *badger.Txn) error {
	d.saves++
	if err := txn.Commit(); err != nil {
		return fmt.Errorf("write to badger: %w", err)
	}
	return nil
}

// entries returns what the disk holds, which a test compares with the log in memory.
func (d *disk) entries() ([]*pb.Entry, error) {
	var out []*pb.Entry
	err := d.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{'e'}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			e := &pb.Entry{}
			err := it.Item().Value(func(v []byte) error { return proto.Unmarshal(v, e) })
			if err != nil {
				return err
			}
			out = append(out, e)
		}
		return nil
	})
	return out, err
}
