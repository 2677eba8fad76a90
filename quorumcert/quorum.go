package quorumcert

import (
	"math/bits"
	"strconv"

	"tangaroa/crypto"
	"tangaroa/internal/mutant"
)

// Term is the reign of at most one leader. The first term is 1; 0 stands for "none yet".
type Term uint64

// Index is the position of an entry in the log, from 1; 0 is the position before the first.
type Index uint64

// MaxVoters is the largest number of voters in a configuration: one bit each in a Set.
const MaxVoters = 64

// Size is what follows from the number of voters alone (docs/PROTOCOL.md, section 1).
type Size struct {
	N int // voters
	F int // faulty voters tolerated: ⌊(N-1)/3⌋
	Q int // signers in a quorum: ⌈(N+F+1)/2⌉
}

// ForNodes returns the quorum arithmetic of n voters, 1 <= n <= MaxVoters. Two quorums share at
// least F+1 voters, hence an honest one, and Q <= N-F, hence the honest alone make one.
func ForNodes(n int) Size {
	f := (n - 1) / 3
	switch {
	case mutant.On(mutant.M01):
		return Size{N: n, F: f, Q: max(1, 2*f)}
	case mutant.On(mutant.M02):
		return Size{N: n, F: f, Q: f + 1}
	case mutant.On(mutant.M09):
		return Size{N: n, F: f, Q: 2*f + 1}
	}
	return Size{N: n, F: f, Q: (n + f + 2) / 2}
}

// Set is a set of voters, one bit each: bit id-1 stands for NodeID id.
type Set uint64

// SetOf returns the set of the given nodes.
func SetOf(ids ...crypto.NodeID) Set {
	var s Set
	for _, id := range ids {
		s = s.With(id)
	}
	return s
}

func bit(id crypto.NodeID) Set {
	if id == 0 || id > MaxVoters {
		return 0
	}
	return 1 << (id - 1)
}

// With returns the set with id in it. An id outside 1..64 changes nothing.
func (s Set) With(id crypto.NodeID) Set { return s | bit(id) }

// Without returns the set with id taken out.
func (s Set) Without(id crypto.NodeID) Set { return s &^ bit(id) }

// Has says whether id is in the set.
func (s Set) Has(id crypto.NodeID) bool { return s&bit(id) != 0 }

// Len returns the number of nodes in the set.
func (s Set) Len() int { return bits.OnesCount64(uint64(s)) }

// Members returns the nodes in the set in ascending order.
func (s Set) Members() []crypto.NodeID {
	ids := make([]crypto.NodeID, 0, s.Len())
	for rest := uint64(s); rest != 0; rest &= rest - 1 {
		ids = append(ids, crypto.NodeID(bits.TrailingZeros64(rest)+1))
	}
	return ids
}

// Next returns the smallest member above id, or 0 when there is none. It walks a set without
// allocating: for id := s.Next(0); id != 0; id = s.Next(id).
func (s Set) Next(id crypto.NodeID) crypto.NodeID {
	rest := uint64(s) >> id << id
	if rest == 0 {
		return 0
	}
	return crypto.NodeID(bits.TrailingZeros64(rest) + 1)
}

// String lists the members, as in "{1 3 4}".
func (s Set) String() string {
	b := []byte{'{'}
	for id := s.Next(0); id != 0; id = s.Next(id) {
		if len(b) > 1 {
			b = append(b, ' ')
		}
		b = strconv.AppendUint(b, uint64(id), 10)
	}
	return string(append(b, '}'))
}
