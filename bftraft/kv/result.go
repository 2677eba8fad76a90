package kv

import "errors"

const (
	// PageBytes is how much an answer holds before it ends: it takes one more key
	// or event while it holds less. What is left out is told by More.
	PageBytes = 1 << 20
	// MaxResultBytes bounds every encoded result, of an operation or a query: a
	// page, what may overshoot it (an event with two values), and the heads.
	MaxResultBytes = 4 << 20
	// overheadBytes is what a key or event counts for besides its key and values.
	overheadBytes = 64
)

// Code says how an operation or a query ended. All but CodeOK mean that nothing
// was changed, and come without further contents.
type Code uint8

// The codes. Each but CodeOK stands for the error of the same name.
const (
	CodeOK Code = iota
	CodeMalformed
	CodeEmptyKey
	CodeKeyTooLarge
	CodeValueTooLarge
	CodeOpTooLarge
	CodeTooManyOps
	CodeDuplicateKey
	CodeEmptySpan
	CodeCompacted
	CodeFutureRevision
	CodeTooMuchWork
	codeEnd
)

// codeErrors holds the error of each code, at the code's place.
var codeErrors = [codeEnd]error{
	CodeMalformed:      ErrMalformed,
	CodeEmptyKey:       ErrEmptyKey,
	CodeKeyTooLarge:    ErrKeyTooLarge,
	CodeValueTooLarge:  ErrValueTooLarge,
	CodeOpTooLarge:     ErrOpTooLarge,
	CodeTooManyOps:     ErrTooManyOps,
	CodeDuplicateKey:   ErrDuplicateKey,
	CodeEmptySpan:      ErrEmptySpan,
	CodeCompacted:      ErrCompacted,
	CodeFutureRevision: ErrFutureRevision,
	CodeTooMuchWork:    ErrTooMuchWork,
}

// Err returns the sentinel error of the code, nil for CodeOK.
func (c Code) Err() error {
	if c >= codeEnd {
		return ErrMalformed
	}
	return codeErrors[c]
}

// codeOf returns the code of an error of this package.
func codeOf(err error) Code {
	for code, sentinel := range codeErrors {
		if errors.Is(err, sentinel) {
			return Code(code)
		}
	}
	return CodeMalformed
}

// KV is a key as it is, or was, at some revision.
type KV struct {
	Key   []byte
	Value []byte
	// Create is the revision that created the key, Mod the one that wrote it last.
	Create Revision
	Mod    Revision
	// Version counts the writes since the creation, which is 1.
	Version uint64
}

func (kv KV) pageBytes() int { return len(kv.Key) + len(kv.Value) + overheadBytes }

// Kind is the kind of an operation.
type Kind uint8

// The kinds of operations.
const (
	KindPut Kind = iota + 1
	KindDelete
	KindRange
	KindTxn
	KindCompact
)

// OpResult is the result of a Put, Delete or Range.
type OpResult struct {
	Kind Kind
	// Count is how many keys the operation found: for a put 1 if the key existed,
	// for a delete those it deleted, for a range all in the span.
	Count uint64
	// More says that keys are missing from KVs that were asked for, because of the
	// limit or because the page was full.
	More bool
	// KVs are the keys of a range, or the previous ones of a put or delete that
	// asked for them, ascending.
	KVs []KV
}

// Result is what an operation did. The zero value is not the result of anything.
type Result struct {
	// Code is CodeOK, or the reason why nothing was done; then the rest is empty.
	Code Code
	// Kind is that of the operation.
	Kind Kind
	// Revision is the store's after the operation: the one the operation made, if
	// it changed something. Results are ordered, so all replicas agree on it.
	Revision Revision
	// Succeeded says that the compares of a transaction held.
	Succeeded bool
	// Ops holds the results of a transaction's list, or the one of a Put, Delete
	// or Range. It is empty for a Compact.
	Ops []OpResult
}

// check says whether the result could be that of an operation. It keeps results
// that no replica produces from having an encoding.
func (r Result) check() error {
	if r.Code != CodeOK {
		if r.Code >= codeEnd || r.Kind != 0 || r.Revision != 0 || r.Succeeded || len(r.Ops) != 0 {
			return ErrMalformed
		}
		return nil
	}
	if r.Succeeded && r.Kind != KindTxn {
		return ErrMalformed
	}
	switch r.Kind {
	case KindPut, KindDelete, KindRange:
		if len(r.Ops) != 1 || r.Ops[0].Kind != r.Kind {
			return ErrMalformed
		}
	case KindTxn:
		if len(r.Ops) > MaxTxnOps {
			return ErrMalformed
		}
	case KindCompact:
		if len(r.Ops) != 0 {
			return ErrMalformed
		}
	default:
		return ErrMalformed
	}
	for _, op := range r.Ops {
		if err := op.check(); err != nil {
			return err
		}
	}
	return nil
}

func (o OpResult) check() error {
	if o.Kind < KindPut || o.Kind > KindRange || uint64(len(o.KVs)) > o.Count {
		return ErrMalformed
	}
	return nil
}
