package main

import (
	"math/bits"
	"strings"
)

const (
	maxT = 5
	maxS = 16
	maxP = 6
)

// By which configuration something goes; cTwo is both, whatever j2 and j2old make of cBoth.
const (
	cOld = iota
	cNew
	cBoth
	cTwo
)

// The bounds of a run, the tree of positions and the members.
var (
	terms, nS, nP int
	name          []string
	parent        [maxS]int
	slen          [maxS]uint8
	anc           [maxS]uint16
	desc          [maxS]uint16
	compat        [maxS]uint16
	isConf        [maxS]bool
	before        [maxS]int    // configuration by which a position is certified
	after         [maxS]int    // configuration in force behind it
	needs         [maxS]uint16 // configuration entries strictly before it
	inOld, inNew  uint         // honest members, bits
	qOld, qNew    int          // honest signatures that, with B's, are a quorum
	class         [maxP]int
	nodeName      string
	muts          = map[string]bool{}
	inv           = map[string]bool{}
	goal          uint16
	mJ1, mJ4      bool
	fetch         bool
	half          bool
	voters        bool
)

// node is one honest node: its lock's term and position; in this term the last and first position
// acked and the last claimed certified, each +1 (0: none).
type node struct{ lt, ls, ak, lo, cl uint8 }

// State is what the model knows.
type State struct {
	t   uint8
	n   [maxP]node
	by  uint8  // bit 0: one elected by C_old alone, bit 1: one by C_new alone
	ec  uint64 // bases of election certificates of this term: bit term*16+position
	qc  [maxT + 1]uint16
	com [maxT + 1]uint16
}

func prefix(a, b uint8) bool { return anc[b]>>a&1 == 1 }

func higher(t1, s1, t2, s2 uint8) bool {
	return t1 > t2 || t1 == t2 && slen[s1] > slen[s2]
}

// holds says whether these honest nodes, with B, hold a quorum of configuration c.
func holds(set uint, c int) bool {
	o := bits.OnesCount(set&inOld) >= qOld
	n := bits.OnesCount(set&inNew) >= qNew
	switch {
	case c == cOld:
		return o
	case c == cNew:
		return n
	case c == cBoth && muts["j2"]: // the joint phase needs only C_new
		return n
	case c == cBoth && muts["j2old"]: // the joint phase needs only C_old
		return o
	}
	return o && n
}

// member says whether p's signature counts under configuration c.
func member(p, c int) bool {
	return c != cNew && inOld>>p&1 == 1 || c != cOld && inNew>>p&1 == 1
}

// plant makes the tree of positions of their names, parents first.
func plant(tree string) {
	name = append([]string{""}, strings.Fields(tree)...)
	nS = len(name)
	at := map[string]int{}
	for i, n := range name {
		at[n] = i
	}
	for s := 1; s < nS; s++ {
		p, ok := at[name[s][:len(name[s])-1]]
		if !ok || p >= s {
			panic("tree: parents first")
		}
		parent[s] = p
	}
	for s := range nS {
		slen[s] = uint8(len(name[s]))
		for a := s; ; a = parent[a] {
			anc[s] |= 1 << a
			desc[a] |= 1 << s
			if a == 0 {
				break
			}
		}
		if s > 0 {
			configure(s)
		}
	}
	for s := range nS {
		compat[s] = anc[s] | desc[s]
	}
}

// configure says by which configuration s goes, and which is in force behind it.
func configure(s int) {
	p := parent[s]
	cur := after[p]
	before[s] = cur
	needs[s] = needs[p]
	if isConf[p] {
		needs[s] |= 1 << p
	}
	switch name[s][len(name[s])-1] {
	case 'J':
		isConf[s], cur = true, cBoth
	case 'K':
		isConf[s], cur = true, cNew
		if muts["j3n"] {
			before[s] = cNew
		}
		if muts["j2old"] { // the entry that ends the change still needs both
			before[s] = cTwo
		}
	case 'R':
		isConf[s], cur = true, cOld
		if muts["j3"] || muts["j3n"] {
			before[s] = cOld
		}
	case 'D':
		isConf[s], cur = true, cNew
		if muts["j5both"] {
			before[s] = cTwo
		}
	}
	after[s] = cur
}

// enlist makes the members of both configurations, in the order old only, both, new only.
func enlist(oldNames, newNames string) {
	for c := range 3 {
		for r := 'a'; r <= 'z'; r++ {
			o, n := strings.ContainsRune(oldNames, r), strings.ContainsRune(newNames, r)
			if !(c == 0 && o && !n || c == 1 && o && n || c == 2 && n && !o) {
				continue
			}
			class[nP] = c
			if o {
				inOld |= 1 << nP
			}
			if n {
				inNew |= 1 << nP
			}
			nodeName += string(r)
			nP++
		}
	}
	qOld, qNew = needed(len(oldNames)), needed(len(newNames))
}

// needed is how many honest signatures a quorum of so many honest members and B needs.
func needed(honest int) int {
	size := honest + 1
	f := (size - 1) / 3
	if f < 1 {
		panic("a configuration needs three honest members")
	}
	k := (size+f+2)/2 - 1
	if muts["q-1"] {
		k--
	}
	return k
}

func (x *State) qcNow() (m uint16) {
	for s := range nS {
		var set uint
		for p := range nP {
			n := x.n[p]
			if n.ak > 0 && prefix(uint8(s), n.ak-1) && prefix(n.lo-1, uint8(s)) {
				set |= 1 << p
			}
		}
		if set != 0 && holds(set, before[s]) {
			m |= 1 << s
		}
	}
	return m
}

func (x *State) comNow() (m uint16) {
	for s := 1; s < nS; s++ {
		var set uint
		for p := range nP {
			a := x.n[p].cl
			if muts["onephase"] {
				a = x.n[p].ak
			}
			if a > 0 && prefix(uint8(s), a-1) {
				set |= 1 << p
			}
		}
		c := before[s]
		if muts["n4"] { // a commit counted by the configuration in force behind it
			c = after[s]
		}
		if set != 0 && holds(set, c) {
			m |= anc[s] &^ 1
		}
	}
	return m
}

func (x *State) allCom() (m uint16) {
	for t := 1; t < int(x.t); t++ {
		m |= x.com[t]
	}
	return m | x.comNow()
}

func (a node) key() uint64 {
	return uint64(a.lt)<<32 | uint64(a.ls)<<24 | uint64(a.ak)<<16 | uint64(a.lo)<<8 | uint64(a.cl)
}

// canon sorts the nodes that are in the same configurations.
func (x *State) canon() {
	for i := 1; i < nP; i++ {
		for j := i; j > 0 && class[j] == class[j-1]; j-- {
			a, b := x.n[j-1], x.n[j]
			if a.key() <= b.key() {
				break
			}
			x.n[j-1], x.n[j] = b, a
		}
	}
}
