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
type stride struct {
	bits int
	due  bftraft.Index // where the newest checkpoint was due
}

// takes takes notice of where a checkpoint is due, and says whether it is one to take.
func (s *stride) takes(due bftraft.Index) bool {
	before := s.due
	s.due = due
	return before>>s.bits != due>>s.bits
}

// widen doubles the stride, at least, because a checkpoint is not certified so many entries later
// and it is the turn of the next.
func (s *stride) widen(entries bftraft.Index) {
	if !mutant.On(mutant.M169) {
		s.bits = min(max(s.bits+1, bits.Len64(uint64(entries))), 63)
	}
}

// narrow lets the stride be at most eight times the entries from a checkpoint to its certificate.
func (s *stride) narrow(entries bftraft.Index) {
	s.bits = min(s.bits, 2+bits.Len64(uint64(entries)))
}
