package crypto

import (
	"crypto/sha512"
	"encoding/binary"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// batch is one equation that holds for many signatures at once. With a factor z of 128 bits for
// each signature, S and R from it, and k the hash that RFC 8032 section 5.1.7 prescribes,
//
//	[8]([-sum z·S]B + sum [z]R + sum over keys of [sum z·k]A) = 0.
//
// All signatures of one key share a term. That is why this is not left to the library, whose batch
// has a term for each: clients sign much, and half of the work is gone if they do.
type batch struct {
	seed    []byte // everything that the equation is about, hashed per signature
	parts   []parts
	keyOf   []int // index of the key of each signature
	keys    []*zip215Key
	indices map[*zip215Key]int
}

// batchHolds reports whether all signatures are valid under ZIP-215. It says so wrongly once in
// 2^128, and never says no to valid ones.
func batchHolds(checks []Check) bool {
	b := newBatch(checks)
	return b != nil && b.holds()
}

// newBatch returns the equation for all signatures, or nil if one of them cannot be valid.
func newBatch(checks []Check) *batch {
	b := &batch{
		seed:  make([]byte, 0, len(checks)*(sha512.Size+scalar.ScalarSize)),
		parts: make([]parts, len(checks)), keyOf: make([]int, len(checks)),
		indices: make(map[*zip215Key]int),
	}
	for i := range checks {
		if !b.add(i, &checks[i]) {
			return nil
		}
	}
	return b
}

// add takes a signature in, unless it cannot be valid.
func (b *batch) add(i int, c *Check) bool {
	key, ok := c.Key.(*zip215Key)
	if !ok {
		return false
	}
	if !b.parts[i].read(key, c.Domain, c.Msg, c.Sig) {
		return false
	}
	b.seed = append(append(b.seed, b.parts[i].hash[:]...), c.Sig[32:]...)
	if b.keyOf[i], ok = b.indices[key]; !ok {
		b.keyOf[i] = len(b.keys)
		b.indices[key] = len(b.keys)
		b.keys = append(b.keys, key)
	}
	return true
}

// factors returns the factors of the equation. They are hashed from all that was signed and from
// all signatures, so nobody chooses a signature knowing the factor it gets.
func (b *batch) factors() *factors { return &factors{seed: sha512.Sum512(b.seed)} }

// holds decides the equation.
func (b *batch) holds() bool {
	n := len(b.parts)
	terms := make([]scalar.Scalar, len(b.keys)+1+n) // of the keys, of B, of each R
	scalars := make([]*scalar.Scalar, len(terms))
	for i := range terms {
		scalars[i] = &terms[i]
	}
	base, zs := &terms[len(b.keys)], terms[len(b.keys)+1:]
	z := b.factors()
	var product scalar.Scalar
	for i := range zs {
		z.next(&zs[i])
		base.Add(base, product.Mul(&zs[i], &b.parts[i].s))
		sum := &terms[b.keyOf[i]]
		sum.Add(sum, product.Mul(&zs[i], &b.parts[i].k))
	}
	base.Neg(base)
	keys := make([]*curve.ExpandedEdwardsPoint, len(b.keys))
	for i, k := range b.keys {
		keys[i] = k.multiples
	}
	points := make([]*curve.EdwardsPoint, 1+n)
	points[0] = curve.ED25519_BASEPOINT_POINT
	for i := range b.parts {
		points[1+i] = &b.parts[i].r
	}
	var sum curve.EdwardsPoint
	sum.ExpandedMultiscalarMulVartime(scalars[:len(keys)], keys, scalars[len(keys):], points)
	return sum.IsSmallOrder()
}

// factors are numbers of 128 bits, four from each hash of the seed and a counter.
type factors struct {
	seed  [sha512.Size]byte
	count uint64
	block [sha512.Size]byte
}

func (f *factors) next(z *scalar.Scalar) {
	const size, inBlock = 16, sha512.Size / 16
	at := f.count % inBlock * size
	if at == 0 {
		var counted [sha512.Size + 8]byte
		copy(counted[:], f.seed[:])
		binary.BigEndian.PutUint64(counted[sha512.Size:], f.count)
		f.block = sha512.Sum512(counted[:])
	}
	f.count++
	var wide [scalar.ScalarSize]byte
	copy(wide[:], f.block[at:at+size])
	if _, err := z.SetBits(wide[:]); err != nil {
		panic("crypto: a scalar has 32 bytes: " + err.Error())
	}
}
