package sim

import "math/bits"

// stream is a small random generator of its own for each purpose, so that one more draw in one
// place does not shift all others. It is SplitMix64.
type stream struct{ state uint64 }

func newStream(seed uint64, purpose string) *stream {
	h := seed
	for _, c := range []byte(purpose) {
		h = mix(h ^ uint64(c)*0x9e3779b97f4a7c15)
	}
	return &stream{h}
}

func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

func (s *stream) next() uint64 {
	s.state += 0x9e3779b97f4a7c15
	return mix(s.state)
}

// below returns a number in [0, n), n > 0.
func (s *stream) below(n int) int {
	hi, _ := bits.Mul64(s.next(), uint64(n))
	return int(hi)
}

// between returns a number in [lo, hi].
func (s *stream) between(lo, hi int) int { return lo + s.below(hi-lo+1) }

// chance is true in permille cases of a thousand.
func (s *stream) chance(permille int) bool { return s.below(1000) < permille }
