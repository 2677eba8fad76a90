package main

import "math/bits"

// check returns the name of a broken invariant, or "".
func check(x *State, inv map[string]bool) string {
	qc, com := x.qc, x.com
	qc[x.t] = x.qcNow()
	com[x.t] = x.comNow()
	var all uint16
	for t := 1; t <= int(x.t); t++ {
		all |= com[t]
		if !oneChain(qc[t]) {
			return "QCUnique"
		}
	}
	switch {
	case !oneChain(all):
		return "Agreement"
	case inv["strong"] && !x.laterQC(&qc, &com):
		return "LaterQC"
	case inv["strong"] && !x.laterEC(&com):
		return "LaterEC"
	case inv["oneec"] && x.elections() > 1:
		return "OneEC"
	case inv["oneleader"] && x.leaders() > 1:
		return "OneLeader"
	case inv["lockdata"] && !x.lockData(&com):
		return "LockData"
	case inv["avail"] && !x.available():
		return "DataAvail"
	case avail2 && x.ec == [4]uint64{} && !x.electable():
		return "Deadlock"
	case inv["honest"] && !x.honest(qc[x.t]):
		return "Honest"
	case inv["nostop"] && !x.nobodyStops(all):
		return "NoStop"
	case inv["nocommit"] && com[x.t] != 0 && int(x.t) == terms:
		return "NoCommit"
	case inv["nohidden"] && int(x.t) == terms && x.hidden(&qc):
		return "NoHiddenLock"
	case inv["nofloor"] && x.floor():
		return "NoFloor"
	case inv["nosilence"] && (x.silenced(0) || x.silenced(1) || x.silenced(2)):
		return "NoSilence"
	}
	return ""
}

// oneChain says whether all positions of a set are on one chain.
func oneChain(set uint16) bool {
	for k := set; k != 0; k &= k - 1 {
		if set&^compat[bits.TrailingZeros16(k)] != 0 {
			return false
		}
	}
	return true
}

// laterQC: certificates of later terms extend what is committed.
func (x *State) laterQC(qc, com *[maxT + 1]uint16) bool {
	for t := 1; t <= int(x.t); t++ {
		for k := com[t]; k != 0; k &= k - 1 {
			for u := t + 1; u <= int(x.t); u++ {
				if qc[u]&^desc[bits.TrailingZeros16(k)] != 0 {
					return false
				}
			}
		}
	}
	return true
}

// laterEC: bases of this term's elections extend what earlier terms committed.
func (x *State) laterEC(com *[maxT + 1]uint16) bool {
	for t := 1; t < int(x.t); t++ {
		for k := com[t]; k != 0; k &= k - 1 {
			z := bits.TrailingZeros16(k)
			for c := range 4 {
				for e := x.ec[c]; e != 0; e &= e - 1 {
					if desc[z]>>(bits.TrailingZeros64(e)%16)&1 == 0 {
						return false
					}
				}
			}
		}
	}
	return true
}

func (x *State) elections() (n int) {
	for c := range 4 {
		n += bits.OnesCount64(x.ec[c])
	}
	return n
}

func (x *State) leaders() (n int) {
	for c := range 4 {
		if x.ec[c] != 0 {
			n++
		}
	}
	return n
}

// lockData: who has a lock has its entries, unless, with catch-up, a commit of a later term than
// the lock's has taken them (14).
func (x *State) lockData(com *[maxT + 1]uint16) bool {
	for p := range 3 {
		if prefix(x.lockS[p], x.log[p]) {
			continue
		}
		excused := false
		for t := int(x.lockT[p]) + 1; catchup && t <= int(x.t); t++ {
			excused = excused || com[t]&anc[x.log[p]]&^compat[x.lockS[p]] != 0
		}
		if !excused {
			return false
		}
	}
	return true
}

// available: with the faulty node silent from now on, all three honest must vote for one candidate:
// it has to show the highest honest lock, and to have its entries, which must be in somebody's log.
// A fresh term has no acks and no votes, so nothing else is in the way of a commit.
func (x *State) available() bool {
	b := 0
	for p := 1; p < 3; p++ {
		if higher(x.lockT[p], x.lockS[p], x.lockT[b], x.lockS[b]) {
			b = p
		}
	}
	return x.inSomeLog(x.lockS[b])
}

func (x *State) inSomeLog(s uint8) bool {
	return prefix(s, x.log[0]) || prefix(s, x.log[1]) || prefix(s, x.log[2])
}

// electable is the same at the start of a term, to the letter: some lock that an honest node holds,
// or that honest nodes can still make of what they have signed, is both high enough for all three
// of them and of entries that one of them has.
func (x *State) electable() bool {
	for p := range 3 {
		if x.wins(x.lockT[p], x.lockS[p]) {
			return true
		}
	}
	for t := uint8(1); t < x.t; t++ {
		for k := x.own[t]; k != 0; k &= k - 1 {
			if x.wins(t, uint8(bits.TrailingZeros16(k))) {
				return true
			}
		}
	}
	return false
}

func (x *State) wins(t, s uint8) bool {
	for p := range 3 {
		if higher(x.lockT[p], x.lockS[p], t, s) {
			return false
		}
	}
	return x.inSomeLog(s)
}

// honest: what an honest node acks in a term is one chain, and what it claims is certified there.
// An honest node that breaks this can be accused, and proven, to lie.
func (x *State) honest(qn uint16) bool {
	for p := range 3 {
		if !oneChain(x.acked(p)) {
			return false
		}
		for s := range nS {
			c := int(x.ack[p][s]) - 1
			for k := anc[s] &^ 1; c > 0 && k != 0; k &= k - 1 {
				z := bits.TrailingZeros16(k)
				if slen[z] == c && qn>>z&1 == 0 {
					return false
				}
			}
		}
	}
	return true
}

// nobodyStops: no honest node would have to replace what it counts as committed. A faulty leader of
// the same term can bring that about, unless committed entries are simply not replaced.
func (x *State) nobodyStops(all uint16) bool {
	for p := range 3 {
		for c := range 4 {
			for e := x.ec[c]; e != 0; e &= e - 1 {
				bs := uint8(bits.TrailingZeros64(e) % 16)
				for s := range uint8(nS) {
					if c == p || c < 3 && x.ack[c][s] == 0 || !x.accepts(p, s, bs) {
						continue
					}
					if all&anc[x.log[p]]&^compat[s] != 0 {
						return false
					}
				}
			}
		}
	}
	return true
}

// hidden: some certificate of an earlier term is of entries that no honest log has.
func (x *State) hidden(qc *[maxT + 1]uint16) bool {
	for t := 1; t < terms; t++ {
		for k := qc[t]; k != 0; k &= k - 1 {
			if !x.inSomeLog(uint8(bits.TrailingZeros16(k))) {
				return true
			}
		}
	}
	return false
}

// floor: some lock is without its entries (14).
func (x *State) floor() bool {
	for p := range 3 {
		if !prefix(x.lockS[p], x.log[p]) {
			return true
		}
	}
	return false
}
