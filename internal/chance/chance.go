// Package chance is a source of randomness that is a function of its seed alone, for attacks that
// must do the same each time.
//
// # Contract
//
// Deterministic; not for secrets.
//
// # Threads
//
// A Stream has one owner.
package chance

// Stream is a source of chance that is a function of its seed alone (SplitMix64).
type Stream struct{ state uint64 }

// NewStream returns the stream of a seed.
func NewStream(seed uint64) *Stream { return &Stream{seed} }

// Next returns 64 bits.
func (s *Stream) Next() uint64 {
	s.state += 0x9e3779b97f4a7c15
	z := s.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Below returns a number below n, which must be positive.
func (s *Stream) Below(n int) int { return int(s.Next() % uint64(n)) }

// Bytes returns n bytes.
func (s *Stream) Bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.Next())
	}
	return b
}
