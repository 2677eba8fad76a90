package main

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
