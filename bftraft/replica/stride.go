package replica

import (
	"math/bits"

	"tangaroa/bftraft"
	"tangaroa/internal/mutant"
)

// stride thins out the checkpoints of a node where the next is due before one is certified, so that
// nodes that are not equally fast, or did not begin at the same, come to take the same. Of those
// that are due, a stride of so many bits takes the first behind each multiple of 2^bits entries:
// all that one with more bits takes, one with fewer takes, too. So once nobody's stride is less
// than it takes all to be ready, there is always one that all have begun with and wait for.
//
// Entries are what nodes can agree on; what counts is how many checkpoints are left out. So a
// stride narrows where it leaves out many more than it has to, be it for the load of before, or for
// what could not be certified before.
type stride struct {
	bits  int
	due   bftraft.Index // where the newest checkpoint was due
	left  int           // how many were due and left out since the newest that was not
	since int           // how many were due since the newest that is kept
	took  int           // how many were due while one was written, or until it was certified
}

// takes says whether a checkpoint that is due now is one to take. Each is asked for once, in order.
func (s *stride) takes(due bftraft.Index) bool {
	before := s.due
	s.due = due
	s.since++
	if before>>s.bits != due>>s.bits {
		s.left = 0
		return true
	}
	s.left++
	if s.left > max(8*(s.took+1), s.since/2) && !mutant.On(mutant.M172) {
		s.bits = min(s.bits, bits.Len64(uint64(s.left)*uint64(due-before)))
	}
	return false
}

// widen doubles the stride, at least, because a checkpoint is not certified so many entries later
// and it is the turn of the next.
func (s *stride) widen(entries bftraft.Index) {
	if !mutant.On(mutant.M169) {
		s.bits = min(max(s.bits+1, bits.Len64(uint64(entries))), 63)
	}
}

// wrote is told how many were due while a checkpoint was written, certified or not: so many are
// left out for a reason.
func (s *stride) wrote(dues int) { s.took = max(s.took, dues) }

// kept lets the stride be at most eight times the entries from a checkpoint to its certificate: the
// log is the longer for more, and less will do. So many were due meanwhile.
func (s *stride) kept(entries bftraft.Index, dues int) {
	s.since, s.took = dues, dues
	s.bits = min(s.bits, 2+bits.Len64(uint64(entries)))
}
