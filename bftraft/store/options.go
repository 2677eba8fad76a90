package store

import (
	"log/slog"

	"tangaroa/bftraft"
	"tangaroa/crypto"
)

// Identity says whose store it is. It is written when the store is made and checked whenever it
// is opened.
type Identity struct {
	Cluster crypto.Digest
	Node    crypto.NodeID
	Key     crypto.PublicKey
}

// Options say how to open a store.
type Options struct {
	// Identity must be the one the store was made with.
	Identity Identity
	// Master opens the data keys of an encrypted store; zero for a store that is not encrypted.
	Master crypto.SecretKey
	// Logger takes what Badger has to say, its errors as warnings; nil takes nothing.
	Logger *slog.Logger
	// ReadOnly opens the store for looking at it: Save is refused, and a store that is behind its
	// guard opens all the same (see Badger.Verdict). The lock is taken, and files that a killed
	// node left behind are put in order as a start would.
	ReadOnly bool
	// MinFreeBytes is the space on the disk below which Save refuses what Badger is to take. It
	// writes to mapped files, so on a full disk the process would die by a signal. The journal has
	// its space already. Zero means DefaultMinFreeBytes.
	MinFreeBytes uint64
	// MemtableBytes is the size of Badger's tables in memory, of which there are at most three;
	// at least MinMemtableBytes. Zero means DefaultMemtableBytes.
	MemtableBytes int64
	// Progress, if set, is told now and then how far Load has come: of the index last, at.
	Progress func(at, last bftraft.Index)
}

// The defaults of Options.
const (
	// DefaultMinFreeBytes is room for the files that Badger writes ahead in the default profile.
	DefaultMinFreeBytes = 128 << 20
	// DefaultMemtableBytes keeps a node small and lets a block of 1 MiB go in one transaction.
	DefaultMemtableBytes = 8 << 20
	// MinMemtableBytes is the least with which values of 1 MiB stay out of the value log.
	MinMemtableBytes = 8 << 20
)

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MinFreeBytes == 0 {
		o.MinFreeBytes = DefaultMinFreeBytes
	}
	if o.MemtableBytes == 0 {
		o.MemtableBytes = DefaultMemtableBytes
	}
	o.MemtableBytes = max(o.MemtableBytes, MinMemtableBytes)
	return o
}
