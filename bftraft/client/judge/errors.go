package judge

import "errors"

// The errors of this package. Compare with errors.Is.
var (
	// ErrNewerConfiguration is returned when the cluster has a newer configuration than the one
	// this client knows, or a receipt names one that the genesis does not prove.
	ErrNewerConfiguration = errors.New("configuration is newer than the one known here")
	// ErrOtherChanges is returned when a proof tells of other changes of the members than those
	// that are known.
	ErrOtherChanges = errors.New("it tells of other changes than those that are known")
	// ErrReceipt is returned when a receipt is malformed or proves nothing; the text says why.
	ErrReceipt = errors.New("receipt does not verify")
)
