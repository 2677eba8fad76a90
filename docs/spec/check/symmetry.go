package main

func mix(h uint64) uint64 {
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 32
	return h
}

var perms = [6][4]int{
	{0, 1, 2, 3}, {0, 2, 1, 3}, {1, 0, 2, 3}, {1, 2, 0, 3}, {2, 0, 1, 3}, {2, 1, 0, 3},
}

// labels returns, for each position, what does not depend on names, and what node p has there.
func (x *State) labels() (base [maxS]uint64, node [3][maxS]uint64) {
	for s := range nS {
		var v uint64
		for t := 1; t <= terms; t++ {
			v |= uint64(x.qc[t]>>s&1)<<(2*t) | uint64(x.com[t]>>s&1)<<(2*t+1) |
				uint64(x.own[t]>>s&1)<<(20+t)
		}
		base[s] = mix(v + 0x9e3779b97f4a7c15)
	}
	for p := range 3 {
		for s := range nS {
			v := uint64(x.ack[p][s])
			if int(x.log[p]) == s {
				v |= 8
			}
			if int(x.lockS[p]) == s {
				v |= uint64(x.lockT[p]+1) << 4
			}
			v |= uint64(x.claimed[p]>>s&1) << 8
			if m2 && s == 0 {
				v |= uint64(x.ackT[p]) << 9
			}
			for bt := 0; bt <= terms; bt++ {
				v |= (x.ec[p] >> (bt*16 + s) & 1) << (12 + bt)
			}
			node[p][s] = v
		}
	}
	return base, node
}

// fp is a fingerprint that is the same for symmetric states: the least over the renamings of nodes
// of the hash of the tree of positions, children in order of their hashes.
func fp(x *State) uint64 {
	base, node := x.labels()
	least := ^uint64(0)
	for _, pi := range perms {
		var h [2*maxS + 2]uint64
		for s := nS - 1; s >= 0; s-- {
			var eb uint64
			for bt := 0; bt <= terms; bt++ {
				eb |= (x.ec[byz] >> (bt*16 + s) & 1) << bt
			}
			lab := node[pi[0]][s] | node[pi[1]][s]<<20 | node[pi[2]][s]<<40
			v := mix(lab^base[s]) + eb*0x9e3779b97f4a7c15
			if l := 2*s + 1; l < nS {
				a, b := min(h[l], h[l+1]), max(h[l], h[l+1])
				v = mix(v^mix(a+0x1234567)) + mix(b^0x7654321)*3
			}
			h[s] = mix(v)
		}
		least = min(least, mix(h[0]+uint64(x.t)))
	}
	return max(least, 1)
}

// set is an open-addressing set of fingerprints.
type set struct {
	tab []uint64
	n   int
}

func (s *set) add(h uint64) bool {
	if s.n*10 >= len(s.tab)*7 {
		s.grow()
	}
	for i := h & uint64(len(s.tab)-1); ; i = (i + 1) & uint64(len(s.tab)-1) {
		if s.tab[i] == h {
			return false
		}
		if s.tab[i] == 0 {
			s.tab[i] = h
			s.n++
			return true
		}
	}
}

func (s *set) grow() {
	old := s.tab
	s.tab = make([]uint64, max(1<<20, 2*len(old)))
	for _, v := range old {
		if v == 0 {
			continue
		}
		i := v & uint64(len(s.tab)-1)
		for s.tab[i] != 0 {
			i = (i + 1) & uint64(len(s.tab)-1)
		}
		s.tab[i] = v
	}
}
