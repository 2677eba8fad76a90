package main

import "math/bits"

// check returns the name of a broken invariant, or "".
func check(x *State) string {
	qc, com := x.qc, x.com
	qc[x.t], com[x.t] = x.qcNow(), x.comNow()
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
	case !inv["later"]:
		return ""
	}
	for t := 1; t <= int(x.t); t++ {
		for k := com[t]; k != 0; k &= k - 1 {
			if bad := x.later(t, bits.TrailingZeros16(k), &qc); bad != "" {
				return bad
			}
		}
	}
	switch {
	case x.by == 3:
		return "Split"
	case inv["reach"] && all&goal != 0:
		return "reached"
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

// later: certificates and bases of later terms extend z, committed in term t.
func (x *State) later(t, z int, qc *[maxT + 1]uint16) string {
	for u := t + 1; u <= int(x.t); u++ {
		if qc[u]&^desc[z]&^anc[z] != 0 {
			return "LaterQC"
		}
	}
	for e := x.ec; e != 0 && t < int(x.t); e &= e - 1 {
		if desc[z]>>(bits.TrailingZeros64(e)%16)&1 == 0 {
			return "LaterEC"
		}
	}
	return ""
}

func mix(h uint64) uint64 {
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 32
	return h
}

// fp is a fingerprint that is the same for states that differ by names of nodes of one class.
func fp(s *State) uint64 {
	x := *s
	x.canon()
	h := mix(uint64(x.t) + 0x9e3779b97f4a7c15)
	for p := range nP {
		h = mix(h*31 + x.n[p].key())
	}
	h = mix(h*31 + x.ec + uint64(x.by)<<62)
	for t := 1; t < int(x.t); t++ {
		h = mix(h*31 + uint64(x.qc[t])<<16 + uint64(x.com[t]))
	}
	return max(h, 1)
}
