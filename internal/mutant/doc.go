// Package mutant breaks the protocol on purpose, one rule at a time, so that the checks can be
// seen to fail. It does so only in builds with the tag "mutant"; otherwise On is a constant false
// and the compiler leaves the broken code out. docs/TESTING.md lists what each one must be caught
// by.
package mutant

// ID names a mutant. The numbers are those of docs/TESTING.md and never change.
type ID uint8

// None is the unbroken protocol.
const None ID = 0

// The mutants: what is broken, and the rule it takes away.
const (
	M02 ID = 2  // a quorum is f+1 (section 1)
	M05 ID = 5  // a refusal of a candidate with a lower lock counts as a vote (E4)
	M10 ID = 10 // commit after one round of acks (N4)
	M12 ID = 12 // the longer log wins the vote, whatever its term (E4)
	M13 ID = 13 // a vote is sent before it is durable (section 1)
	M16 ID = 16 // the vote is forgotten in a crash (E4)
	M24 ID = 24 // what is acked, certified or committed may be replaced (A4, A5)
	M29 ID = 29 // the lock is forgotten in a crash (N3)
)

// All returns the mutants in ascending order.
func All() []ID { return []ID{M02, M05, M10, M12, M13, M16, M24, M29} }
