package store

import "errors"

// Why a store cannot be opened or does not go on.
var (
	// ErrMissing is returned when the directory, the store, its journal or the guard is not there.
	ErrMissing = errors.New("store or guard is missing under an existing identity")
	// ErrBehindGuard is returned when the store holds less than the node may have signed.
	ErrBehindGuard = errors.New("store is behind its guard")
	// ErrGuardDamaged is returned when neither slot of the guard can be read.
	ErrGuardDamaged = errors.New("both slots of the guard are damaged")
	// ErrWrongIdentity is returned when the store is of another cluster, node, key or instance.
	ErrWrongIdentity = errors.New("store is of another identity")
	// ErrDamaged is returned when a record is missing, fails its checksum or breaks the chain.
	ErrDamaged = errors.New("store is damaged")

	// ErrNeedsKey is returned when the store is encrypted and Options.Master is not set.
	ErrNeedsKey = errors.New("store is encrypted, and there is no master key")
	// ErrWrongKey is returned when the store is encrypted under another master key.
	ErrWrongKey = errors.New("store is encrypted under another master key")
	// ErrNotEncrypted is returned when Options.Master is set and the store is not encrypted: it is
	// not the one that was made with the key.
	ErrNotEncrypted = errors.New("store is not encrypted")
	// ErrManyKeys is returned when a store has no room for another data key.
	ErrManyKeys = errors.New("store has too many data keys")

	// ErrLocked is returned when another process has the store open.
	ErrLocked = errors.New("store is in use by another process")
	// ErrDiskFull is returned when less than Options.MinFreeBytes are free.
	ErrDiskFull = errors.New("too little space on the disk")
	// ErrExists is returned by Create when something is there already.
	ErrExists = errors.New("store exists already")
	// ErrReadOnly is returned by Save of a store that was opened for reading.
	ErrReadOnly = errors.New("store is open for reading only")
	// ErrUnlinked is returned when a Ready, or what is asked about a snapshot, does not follow from
	// what is stored. It shows a fault of this program; nothing is saved.
	ErrUnlinked = errors.New("it does not follow from what is stored")
	// ErrNoSnapshot is returned when a snapshot is continued that was not begun, or one is to be
	// installed and none is finished.
	ErrNoSnapshot = errors.New("there is no such snapshot")
	// ErrSnapshotSize is returned when a chunk is empty, or a chunk, a proof or a snapshot is too
	// large.
	ErrSnapshotSize = errors.New("part of a snapshot is of a size that is not stored")
	// ErrClosed is returned by Save after Close.
	ErrClosed = errors.New("store is closed")
)

// MustNotSign says whether err means that the node may have signed what its disk no longer
// explains, so that it must not sign again until an operator has decided what it is.
func MustNotSign(err error) bool {
	for _, target := range []error{
		ErrMissing, ErrBehindGuard, ErrGuardDamaged, ErrWrongIdentity, ErrDamaged,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
