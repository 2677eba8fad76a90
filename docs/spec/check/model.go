package main

import (
	"fmt"
	"math/bits"
)

const (
	maxT  = 4  // most terms
	maxS  = 15 // positions: logs of up to 3 entries
	byz   = 3
	quorN = 3
)

// The bounds of a run, and the tree of positions.
var (
	quor   = quorN
	terms  int
	length int
	nS     int // positions used
	slen   [maxS]int
	anc    [maxS]uint16 // prefixes of s, s included
	desc   [maxS]uint16 // extensions of s, s included
	compat [maxS]uint16
)

// What is broken on purpose, the rules switched on and the invariants that need state of their own.
var (
	m1, m2, m4, m5, m6, m7, m8, m9, m11, m12, m13  bool
	keep, empty, partial, norevote, nolockfreeze   bool
	catchup, d14cert, d14stand, d16acks, d16claims bool
	avail2, half                                   bool
)

// State is what the model knows.
type State struct {
	t          uint8
	log        [3]uint8
	lockT      [3]uint8
	lockS      [3]uint8
	ec         [4]uint64 // per candidate: bases of its elections in t, bit term*16+position
	qc         [maxT + 1]uint16
	com        [maxT + 1]uint16
	ack        [3][maxS]uint8   // acks of the current term: c+1, 0 for none
	claimed    [3]uint16        // m6 only: prefixes the node has claimed in any term
	own        [maxT + 1]uint16 // avail2 only: certificates that need no further word of B
	ackT, last [3]uint8         // m2 only: last term acked in
}

func setup() {
	nS = 1<<(length+1) - 1
	for s := 1; s < nS; s++ {
		slen[s] = slen[(s-1)/2] + 1
	}
	for s := range nS {
		for a := s; ; a = (a - 1) / 2 {
			anc[s] |= 1 << a
			desc[a] |= 1 << s
			if a == 0 {
				break
			}
		}
	}
	for s := range nS {
		compat[s] = anc[s] | desc[s]
	}
}

func prefix(a, b uint8) bool { return anc[b]>>a&1 == 1 }

func higher(t1, s1, t2, s2 uint8) bool {
	return t1 > t2 || t1 == t2 && slen[s1] > slen[s2]
}

// enough says whether so many honest signatures are a quorum with B's.
func enough(n int) bool { return n+1 >= quor }

// ackers counts the honest nodes that have acked s in the current term.
func (x *State) ackers(s int) (n int) {
	for p := range 3 {
		if x.ack[p][s] > 0 {
			n++
		}
	}
	return n
}

// qcNow is the set of positions certified in the current term.
func (x *State) qcNow() (m uint16) {
	for s := range nS {
		if n := x.ackers(s); enough(n) && n > 0 {
			m |= 1 << s
		}
	}
	return m
}

// ownNow is the part of qcNow for which B's signature is not needed, or is out because B led and
// proposed it.
func (x *State) ownNow() (m uint16) {
	for s := range nS {
		if n := x.ackers(s); n >= quor || enough(n) && x.ec[byz] != 0 {
			m |= 1 << s
		}
	}
	return m
}

// comNow is the set of prefixes committed in the current term.
func (x *State) comNow() (m uint16) {
	if m1 {
		return x.qcNow() &^ 1
	}
	var cl [3]uint16
	for p := range 3 {
		cl[p] = x.claims(p)
		if m6 {
			cl[p] |= x.claimed[p]
		}
	}
	m = cl[0]&cl[1] | cl[1]&cl[2] | cl[0]&cl[2]
	if quor == 2 {
		m = cl[0] | cl[1] | cl[2]
	}
	if m8 {
		m |= x.comToTheLetter()
	}
	return m
}

// comToTheLetter counts, where c may exceed i, on each node's present log.
func (x *State) comToTheLetter() (m uint16) {
	for q := range 3 {
		for k := anc[x.log[q]] &^ 1; k != 0; k &= k - 1 {
			z := bits.TrailingZeros16(k)
			n := 0
			for p := range 3 {
				if x.claimsOn(p, x.log[q], slen[z]) {
					n++
				}
			}
			if enough(n) {
				m |= 1 << z
			}
		}
	}
	return m
}

// claimsOn says whether p acked a prefix of log with c >= n.
func (x *State) claimsOn(p int, log uint8, n int) bool {
	for s := range nS {
		if c := x.ack[p][s]; c > 0 && int(c-1) >= n && prefix(uint8(s), log) {
			return true
		}
	}
	return false
}

// claims: prefixes that p has claimed as certified in the current term, by an ack on that chain.
func (x *State) claims(p int) (m uint16) {
	for s := range nS {
		c := x.ack[p][s]
		if c <= 1 {
			continue
		}
		set := anc[s] &^ 1
		if m12 {
			set = 1<<nS - 2
		}
		for k := set; k != 0; k &= k - 1 {
			if z := bits.TrailingZeros16(k); slen[z] <= int(c-1) {
				m |= 1 << z
			}
		}
	}
	return m
}

func (x *State) acked(p int) (m uint16) {
	for s := range nS {
		if x.ack[p][s] > 0 {
			m |= 1 << s
		}
	}
	return m
}

// mark is the highest position that p acked in the current term.
func (x *State) mark(p int) (best uint8) {
	for s := range uint8(nS) {
		if x.ack[p][s] > 0 && slen[s] >= slen[best] {
			best = s
		}
	}
	return best
}

// silenced says whether p has left, by catching up, a chain that it acked in this term (16).
func (x *State) silenced(p int) bool { return catchup && !prefix(x.mark(p), x.log[p]) }

func (x *State) cval(p int, s uint8) uint8 {
	if x.lockT[p] == x.t && (slen[x.lockS[p]] <= slen[s] || m8) {
		return uint8(slen[x.lockS[p]])
	}
	return 0
}

func (x *State) addAck(p int, s uint8) {
	if c := x.cval(p, s) + 1; c > x.ack[p][s] {
		x.ack[p][s] = c
	}
	x.last[p] = 0
	if m2 {
		x.ackT[p] = x.t
	}
}

func name(s uint8) string {
	if s == 0 {
		return "-"
	}
	r := ""
	for s > 0 {
		r = string("vu"[s%2]) + r
		s = (s - 1) / 2
	}
	return r
}

func who(c int) string {
	if c == byz {
		return "B"
	}
	return fmt.Sprintf("n%d", c+1)
}
