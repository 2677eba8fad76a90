package kv

import (
	"bytes"
	"errors"
)

// Limits on operations. They are part of the state machine: replicas that differ
// in them would differ in their results.
const (
	// MaxKeyBytes is the length of the longest key. The shortest is one byte.
	MaxKeyBytes = 4096
	// MaxValueBytes is the length of the longest value. Values may be empty.
	MaxValueBytes = 1 << 20
	// MaxTxnOps bounds the compares, the then list and the else list of a
	// transaction, each for itself.
	MaxTxnOps = 128
	// MaxOpBytes is the length of the longest encoded operation.
	MaxOpBytes = 2 << 20
)

// What is wrong with an operation, a query or its encoding. Apply and Query
// report them as the code of the same name.
var (
	// ErrMalformed is returned when bytes are not the encoding of anything, or a
	// Go value has none (a nil operation, a transaction within a transaction).
	ErrMalformed = errors.New("kv: malformed")
	// ErrEmptyKey is returned when a key has no bytes.
	ErrEmptyKey = errors.New("kv: key is empty")
	// ErrKeyTooLarge is returned when a key, or the end of a span, is longer than
	// MaxKeyBytes.
	ErrKeyTooLarge = errors.New("kv: key is longer than 4096 bytes")
	// ErrValueTooLarge is returned when a value is longer than MaxValueBytes.
	ErrValueTooLarge = errors.New("kv: value is longer than 1 MiB")
	// ErrOpTooLarge is returned when the encoding of an operation is longer than
	// MaxOpBytes.
	ErrOpTooLarge = errors.New("kv: operation is longer than 2 MiB")
	// ErrTooManyOps is returned when a list of a transaction is longer than
	// MaxTxnOps.
	ErrTooManyOps = errors.New("kv: transaction has a list of more than 128 elements")
	// ErrDuplicateKey is returned when one list of a transaction puts a key twice,
	// or puts a key that it deletes.
	ErrDuplicateKey = errors.New("kv: transaction writes a key twice")
	// ErrEmptySpan is returned when the end of a span is not above its key.
	ErrEmptySpan = errors.New("kv: span ends before it begins")
	// ErrCompacted is returned when what was asked for has been given up by a
	// compaction.
	ErrCompacted = errors.New("kv: revision was compacted")
	// ErrFutureRevision is returned when a revision is above the store's.
	ErrFutureRevision = errors.New("kv: revision is in the future")
	// ErrTooMuchWork is returned for an operation that was not executed, because
	// those under the same signature before it had to look at too many keys.
	ErrTooMuchWork = errors.New("kv: operations signed together are too much work: divide them")
)

// Revision counts the operations that changed the store. The empty store has
// revision 0, and no change ever has it: reads take it to mean the current one.
type Revision uint64

// Span names the keys an operation is about. With an empty End it is the one key
// Key; with the End "\x00" it is every key from Key on; else it is every key k
// with Key <= k < End. Key is never empty.
type Span struct {
	Key []byte
	End []byte
}

// One returns the span of a single key.
func One(key []byte) Span { return Span{Key: key} }

// All returns the span of every key.
func All() Span { return Span{Key: []byte{0}, End: []byte{0}} }

// Prefix returns the span of the keys that begin with the prefix; an empty prefix
// gives all keys. A prefix of nothing but 0xff bytes has no key above it, so its
// span runs to the last key.
func Prefix(prefix []byte) Span {
	if len(prefix) == 0 {
		return All()
	}
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] == 0xff {
			continue
		}
		end := bytes.Clone(prefix[:i+1])
		end[i]++
		return Span{Key: prefix, End: end}
	}
	return Span{Key: prefix, End: []byte{0}}
}

// toLast says that the span has no upper end.
func (s Span) toLast() bool { return len(s.End) == 1 && s.End[0] == 0 }

// single says that the span is one key.
func (s Span) single() bool { return len(s.End) == 0 }

// Contains says whether the key lies in the span.
func (s Span) Contains(key []byte) bool {
	if s.single() {
		return bytes.Equal(key, s.Key)
	}
	return bytes.Compare(key, s.Key) >= 0 && !s.endsBefore(key)
}

// endsBefore says that the span, one of more than a single key, holds neither
// this key nor any above it.
func (s Span) endsBefore(key []byte) bool {
	return !s.toLast() && bytes.Compare(key, s.End) >= 0
}

// check says which limit the span exceeds.
func (s Span) check() error {
	switch {
	case len(s.Key) == 0:
		return ErrEmptyKey
	case len(s.Key) > MaxKeyBytes || len(s.End) > MaxKeyBytes:
		return ErrKeyTooLarge
	case !s.single() && !s.toLast() && bytes.Compare(s.End, s.Key) <= 0:
		return ErrEmptySpan
	}
	return nil
}

// Op is an operation on the store: a Put, Delete, Range, Txn or Compact.
type Op interface {
	// check says which limit the operation exceeds.
	check() error
}

// Put sets a key to a value. Its result tells in Count whether the key existed,
// and holds what it was if PrevKV is set.
type Put struct {
	Key    []byte
	Value  []byte
	PrevKV bool
}

// Delete removes the keys of a span. Its result tells in Count how many there
// were, and holds them if PrevKV is set. Deleting nothing is no change.
type Delete struct {
	Span
	PrevKV bool
}

// Range reads the keys of a span in ascending order. It is an operation, alone or
// in a transaction, when it must see a place in the order of operations; it is a
// query when it need not be in the log.
type Range struct {
	Span
	// Revision is the state that is read; 0 is the current one. Inside a
	// transaction the current one includes the writes before it in its list.
	Revision Revision
	// Limit is the greatest number of keys in the answer; 0 is no limit. The
	// answer's Count is that of all keys in the span nevertheless.
	Limit uint32
	// CountOnly leaves the keys out of the answer.
	CountOnly bool
}

// Txn does one of two lists of operations, atomically and as one revision: Then
// if all compares hold (with none, always), else Else. The lists consist of Put,
// Delete and Range, done in order; each sees the writes before it. No list may
// put a key twice, nor put a key that it deletes.
type Txn struct {
	Compares []Compare
	Then     []Op
	Else     []Op
}

// Compact gives up the states before a revision and the events up to it; the state
// at that revision stays. It does not change the store's revision. It fails with
// CodeCompacted when they are gone already, and with CodeFutureRevision when the
// store has not got there.
type Compact struct {
	Revision Revision
}

// Target is the attribute of a key that a compare looks at.
type Target uint8

// The attributes that can be compared. A key that does not exist has create
// revision, mod revision and version 0, and no value: every compare of its value
// fails, whatever the relation.
const (
	TargetValue Target = iota + 1
	TargetVersion
	TargetCreate
	TargetMod
)

// Relation is what a compare asserts: that the attribute is equal to, unlike,
// above or below the operand. Values are ordered as byte strings.
type Relation uint8

// The relations.
const (
	Equal Relation = iota + 1
	NotEqual
	Greater
	Less
)

// Compare is a condition of a transaction on one key. The operand is Value for
// TargetValue and Number for the others; the one not used must be empty.
type Compare struct {
	Key      []byte
	Target   Target
	Relation Relation
	Value    []byte
	Number   uint64
}

// CompareAndSwap returns the transaction that sets the key to value if it now
// holds old. Else it reads the key, so that the result tells what it holds.
func CompareAndSwap(key, old, value []byte) Txn {
	holds := Compare{Key: key, Target: TargetValue, Relation: Equal, Value: old}
	return swap(key, value, holds)
}

// CompareVersionAndSwap returns the transaction that sets the key to value if the
// key was last written by the given revision, 0 meaning that it does not exist.
// Else it reads the key, so that the result tells what it holds.
func CompareVersionAndSwap(key []byte, mod Revision, value []byte) Txn {
	same := Compare{Key: key, Target: TargetMod, Relation: Equal, Number: uint64(mod)}
	return swap(key, value, same)
}

// swap returns the transaction that puts the value under the condition.
func swap(key, value []byte, condition Compare) Txn {
	return Txn{
		Compares: []Compare{condition},
		Then:     []Op{Put{Key: key, Value: value}},
		Else:     []Op{Range{Span: One(key)}},
	}
}

func checkKey(key []byte) error { return One(key).check() }

func checkValue(value []byte) error {
	if len(value) > MaxValueBytes {
		return ErrValueTooLarge
	}
	return nil
}

func (o Put) check() error {
	if err := checkKey(o.Key); err != nil {
		return err
	}
	return checkValue(o.Value)
}

func (o Delete) check() error { return o.Span.check() }

func (o Range) check() error { return o.Span.check() }

func (o Compact) check() error { return nil }

func (o Txn) check() error {
	if max(len(o.Compares), len(o.Then), len(o.Else)) > MaxTxnOps {
		return ErrTooManyOps
	}
	for _, c := range o.Compares {
		if err := c.check(); err != nil {
			return err
		}
	}
	if err := checkList(o.Then); err != nil {
		return err
	}
	return checkList(o.Else)
}

func (c Compare) check() error {
	if err := checkKey(c.Key); err != nil {
		return err
	}
	switch {
	case c.Target < TargetValue || c.Target > TargetMod:
		return ErrMalformed
	case c.Relation < Equal || c.Relation > Less:
		return ErrMalformed
	case c.Target == TargetValue && c.Number != 0:
		return ErrMalformed
	case c.Target != TargetValue && len(c.Value) != 0:
		return ErrMalformed
	}
	return checkValue(c.Value)
}

// checkList checks a branch of a transaction. That no key is written twice is
// judged by what the operations say, not by what they would find: a list is good
// or bad for every state. The lists are short, so every pair is looked at.
func checkList(list []Op) error {
	for i, op := range list {
		switch op.(type) {
		case Put, Delete, Range:
		default:
			return ErrMalformed
		}
		if err := op.check(); err != nil {
			return err
		}
		for _, earlier := range list[:i] {
			if writeSame(earlier, op) {
				return ErrDuplicateKey
			}
		}
	}
	return nil
}

// writeSame says that two operations of a list would write one key twice. Two
// deletes may overlap: the second finds nothing.
func writeSame(a, b Op) bool {
	switch a := a.(type) {
	case Put:
		switch b := b.(type) {
		case Put:
			return bytes.Equal(a.Key, b.Key)
		case Delete:
			return b.Contains(a.Key)
		}
	case Delete:
		if b, ok := b.(Put); ok {
			return a.Contains(b.Key)
		}
	}
	return false
}
