package crypto

import (
	"crypto/ed25519"
	"crypto/sha512"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"github.com/stretchr/testify/require"
)

// vector is a crafted signature and the verdict ZIP-215 demands.
type vector struct {
	name string
	key  PublicKey
	sig  Signature
	want bool
	// odd: the standard library, which is not ZIP-215, gives another verdict.
	odd bool
}

// forger signs by the equation S = r + k·a, with any R and A that are claimed.
type forger struct {
	t *testing.T
	a *scalar.Scalar // the secret of public
	r *scalar.Scalar // the nonce
}

var (
	vectorDomain = DomainAck
	vectorMsg    = []byte("the message of all vectors")
)

func newForger(t *testing.T) forger {
	wide := sha512.Sum512([]byte("nonce"))
	r, err := scalar.NewFromBytesModOrderWide(wide[:])
	require.NoError(t, err)
	wide = sha512.Sum512([]byte("secret"))
	a, err := scalar.NewFromBytesModOrderWide(wide[:])
	require.NoError(t, err)
	return forger{t: t, a: a, r: r}
}

// base returns [s]B.
func base(s *scalar.Scalar) *curve.EdwardsPoint {
	return curve.NewEdwardsPoint().MulBasepoint(curve.ED25519_BASEPOINT_TABLE, s)
}

func encode(p *curve.EdwardsPoint) [32]byte {
	var y curve.CompressedEdwardsY
	return [32]byte(*y.SetEdwardsPoint(p))
}

func plus(p, q *curve.EdwardsPoint) *curve.EdwardsPoint {
	return curve.NewEdwardsPoint().Add(p, q)
}

// sign returns the signature with the encoded R for the encoded A, where r and a
// are what R and A are multiples of, torsion aside.
func (f forger) sign(encR, encA [32]byte, r, a *scalar.Scalar) Signature {
	h := sha512.New()
	h.Write(encR[:])
	h.Write(encA[:])
	h.Write(SignedBytes(vectorDomain, vectorMsg))
	k, err := scalar.NewFromBytesModOrderWide(h.Sum(nil))
	require.NoError(f.t, err)
	s := scalar.New().Add(r, scalar.New().Mul(k, a))
	var sig Signature
	copy(sig[:32], encR[:])
	require.NoError(f.t, s.ToBytes(sig[32:]))
	return sig
}

var (
	fieldOrder, _ = new(big.Int).SetString(
		"57896044618658097711785492504343953926634992332820282019728792003956564819949", 10)
	groupOrder, _ = new(big.Int).SetString(
		"7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
)

// littleEndian writes a number below 2^256.
func littleEndian(n *big.Int) [32]byte {
	var out [32]byte
	n.FillBytes(out[:])
	slices.Reverse(out[:])
	return out
}

func decode(enc [32]byte) (*curve.EdwardsPoint, error) {
	y := curve.CompressedEdwardsY(enc)
	return curve.NewEdwardsPoint().SetCompressedY(&y)
}

// torsion returns the eight points of small order, the identity first.
func torsion(t *testing.T) []*curve.EdwardsPoint {
	last, err := scalar.NewFromCanonicalBytes(bytesOf(littleEndian(
		new(big.Int).Sub(groupOrder, big.NewInt(1)))))
	require.NoError(t, err)
	for y := int64(2); ; y++ {
		p, err := decode(littleEndian(big.NewInt(y)))
		if err != nil {
			continue
		}
		// [L]P is what is left of P outside the prime-order group.
		generator := plus(curve.NewEdwardsPoint().Mul(p, last), p)
		points := []*curve.EdwardsPoint{curve.NewEdwardsPoint().Identity()}
		for next := generator; !next.IsIdentity(); next = plus(next, generator) {
			points = append(points, next)
		}
		if len(points) == 8 {
			return points
		}
	}
}

func bytesOf(b [32]byte) []byte { return b[:] }

// smallOrder returns all 14 encodings of the eight points of small order; six of
// them are not canonical.
func smallOrder(t *testing.T) [][32]byte {
	var out [][32]byte
	add := func(enc [32]byte) {
		if p, err := decode(enc); err == nil && p.IsSmallOrder() && !slices.Contains(out, enc) {
			out = append(out, enc)
		}
	}
	for _, p := range torsion(t) {
		enc := encode(p)
		add(enc)
		enc[31] ^= 0x80 // -0 = 0: a second encoding where x is zero
		add(enc)
	}
	for y := int64(0); y < 2; y++ {
		enc := littleEndian(new(big.Int).Add(fieldOrder, big.NewInt(y)))
		add(enc)
		enc[31] ^= 0x80
		add(enc)
	}
	require.Len(t, out, 14)
	return out
}

// vectors returns the signatures on which verifiers are known to differ.
func vectors(t *testing.T) []vector {
	f := newForger(t)
	zero := scalar.New().Zero()
	A, R := encode(base(f.a)), encode(base(f.r))
	out := []vector{{name: "honest", key: A, sig: f.sign(R, A, f.r, f.a), want: true}}
	for i, p := range torsion(t)[1:] {
		shifted := encode(plus(base(f.r), p))
		out = append(out, vector{name: fmt.Sprintf("R plus %d times torsion", i+1), key: A,
			sig: f.sign(shifted, A, f.r, f.a), want: true, odd: true})
		mixed := encode(plus(base(f.a), p))
		out = append(out, vector{name: fmt.Sprintf("A plus %d times torsion", i+1), key: mixed,
			sig: f.sign(R, mixed, f.r, f.a), want: true})
	}
	for i, small := range smallOrder(t) {
		out = append(out, vector{name: fmt.Sprintf("small-order R %d", i), key: A,
			sig: f.sign(small, A, zero, f.a), want: true})
		for j, key := range smallOrder(t) {
			out = append(out, vector{name: fmt.Sprintf("small-order R %d and A %d", i, j),
				key: key, sig: f.sign(small, key, zero, zero), want: true})
		}
	}
	for _, v := range slices.Clone(out) {
		v.name, v.want, v.odd = v.name+", S plus L", false, false
		v.sig = plusOrder(v.sig)
		out = append(out, v)
	}
	return append(out, wrongVectors(t, f, A, R)...)
}

// plusOrder adds L to S, which changes nothing in the equation.
func plusOrder(sig Signature) Signature {
	s := sig[32:]
	slices.Reverse(s)
	n := new(big.Int).Add(new(big.Int).SetBytes(s), groupOrder)
	enc := littleEndian(n)
	copy(sig[32:], enc[:])
	return sig
}

// wrongVectors are signatures that no verifier may accept.
func wrongVectors(t *testing.T, f forger, A, R [32]byte) []vector {
	good := f.sign(R, A, f.r, f.a)
	high := good
	high[63] |= 0x80
	noPoint := good
	for y := int64(2); ; y++ {
		enc := littleEndian(big.NewInt(y))
		if _, err := decode(enc); err != nil {
			noPoint = f.sign(enc, A, f.r, f.a)
			break
		}
	}
	otherA := encode(base(f.r))
	flipped := good
	flipped[40] ^= 1
	one := scalar.One()
	return []vector{
		{name: "S with its top bit set", key: A, sig: high},
		{name: "R that is no point", key: A, sig: noPoint},
		{name: "one bit of S", key: A, sig: flipped},
		{name: "another key", key: otherA, sig: good},
		{name: "S off by one", key: A, sig: f.sign(R, A, scalar.New().Add(f.r, one), f.a)},
		{name: "zero", key: A, sig: Signature{}},
	}
}

// check expands the key even if nobody could enrol it.
func (v vector) check(t *testing.T, expand func(PublicKey) (*zip215Key, error)) Check {
	key, err := expand(v.key)
	require.NoError(t, err, v.name)
	return Check{Key: key, Domain: vectorDomain, Msg: vectorMsg, Sig: v.sig}
}

func TestSingleAndBatchGiveOneVerdict(t *testing.T) {
	all := vectors(t)
	honest := all[0].check(t, expand)
	require.True(t, honest.holds())
	for _, v := range all {
		member := v.check(t, expandMember)
		require.Equal(t, v.want, member.holds(), "%s, of a member", v.name)
		require.Equal(t, v.want, batchHolds([]Check{honest, member}), "%s, with another's", v.name)
		c := v.check(t, expand)
		require.Equal(t, v.want, c.holds(), "%s, alone", v.name)
		require.Equal(t, v.want, batchHolds([]Check{c}), "%s, batch of one", v.name)
		require.Equal(t, v.want, batchHolds([]Check{c, c, c, c, c}), "%s, five times", v.name)
		for position := range 5 {
			batch := []Check{honest, honest, honest, honest, honest}
			batch[position] = c
			require.Equal(t, v.want, batchHolds(batch), "%s, at %d of five", v.name, position)
			require.Equal(t, v.want, ZIP215().VerifyAll(batch), "%s, at %d", v.name, position)
		}
	}
}

func TestVerifyEachFindsTheWrongOnes(t *testing.T) {
	var checks, right []Check
	var want []bool
	for _, v := range vectors(t) {
		checks, want = append(checks, v.check(t, expand)), append(want, v.want)
		if v.want {
			right = append(right, v.check(t, expand))
		}
	}
	require.Equal(t, want, VerifyEach(ZIP215(), checks))
	require.False(t, ZIP215().VerifyAll(checks))
	require.True(t, ZIP215().VerifyAll(right), "mixed torsion must not add up to an error")
	require.NotContains(t, VerifyEach(ZIP215(), right), false)
	require.True(t, ZIP215().VerifyAll(nil))
	require.Empty(t, VerifyEach(ZIP215(), nil))
}

// Two wrong signatures whose errors cancel in a plain sum pass a batch without
// random factors.
func TestBatchRefusesErrorsThatCancel(t *testing.T) {
	f := newForger(t)
	A, R := encode(base(f.a)), encode(base(f.r))
	up := f.sign(R, A, scalar.New().Add(f.r, scalar.One()), f.a)
	down := f.sign(R, A, scalar.New().Sub(f.r, scalar.One()), f.a)
	var batch []Check
	for _, sig := range []Signature{up, down, up, down} {
		batch = append(batch, vector{key: A, sig: sig}.check(t, expand))
	}
	require.False(t, batchHolds(batch))
	require.False(t, ZIP215().VerifyAll(batch))
}

// Of several keys, each with several signatures, every single fault is noticed: also a signature
// under another of the keys, or of another of the messages.
func TestBatchKeepsKeysApart(t *testing.T) {
	const keys, each = 3, 4
	var checks []Check
	for i := range keys * each {
		k := KeyFromSeed([32]byte{byte(i % keys), 1})
		msg := []byte{byte(i)}
		if i < keys {
			verifier, err := ZIP215().Expand(k.Public())
			require.NoError(t, err)
			checks = append(checks, Check{verifier, DomainAck, msg, k.Sign(DomainAck, msg)})
			continue
		}
		checks = append(checks, Check{checks[i-keys].Key, DomainAck, msg, k.Sign(DomainAck, msg)})
	}
	require.True(t, batchHolds(checks))
	for i := range checks {
		for name, spoil := range map[string]func(c, next *Check){
			"key":      func(c, next *Check) { c.Key = next.Key },
			"message":  func(c, next *Check) { c.Msg = next.Msg },
			"domain":   func(c, _ *Check) { c.Domain = DomainVote },
			"R":        func(c, next *Check) { copy(c.Sig[:32], next.Sig[:32]) },
			"S":        func(c, next *Check) { copy(c.Sig[32:], next.Sig[32:]) },
			"exchange": func(c, next *Check) { c.Sig, next.Sig = next.Sig, c.Sig },
		} {
			spoiled := slices.Clone(checks)
			spoil(&spoiled[i], &spoiled[(i+1)%len(spoiled)])
			require.False(t, batchHolds(spoiled), "%s of %d", name, i)
		}
	}
}

// Who could keep the factors and still choose S would make errors that cancel.
func TestFactorsOfABatchChangeWithEverySignature(t *testing.T) {
	f := newForger(t)
	A, R := encode(base(f.a)), encode(base(f.r))
	honest := vector{key: A, sig: f.sign(R, A, f.r, f.a)}.check(t, expand)
	checks := []Check{honest, honest}
	equation := newBatch(checks)
	require.NotNil(t, equation)
	var factors [12]scalar.Scalar
	z := equation.factors()
	for i := range factors {
		z.next(&factors[i])
		for j := range i {
			require.Zero(t, factors[i].Equal(&factors[j]), "%d and %d", i, j)
		}
	}
	first, second := &factors[0], &factors[1]
	for i, other := range []*scalar.Scalar{second, scalar.New().Neg(first)} {
		s, err := scalar.NewFromCanonicalBytes(honest.Sig[32:])
		require.NoError(t, err)
		require.NoError(t, s.Add(s, other).ToBytes(checks[i].Sig[32:]))
	}
	require.False(t, batchHolds(checks))
}

// This shows that the vectors are what they claim to be, and why the standard
// library must not be mixed in.
func TestStandardLibraryDisagrees(t *testing.T) {
	for _, v := range vectors(t) {
		if !v.odd {
			continue
		}
		signed := SignedBytes(vectorDomain, vectorMsg)
		require.False(t, ed25519.Verify(v.key[:], signed, v.sig[:]), v.name)
		require.True(t, v.check(t, expand).holds(), v.name)
	}
}

func TestExpandRefusesSmallOrder(t *testing.T) {
	for _, enc := range smallOrder(t) {
		_, err := ZIP215().Expand(enc)
		require.ErrorIs(t, err, ErrWeakKey)
		_, err = ZIP215().ExpandMember(enc)
		require.ErrorIs(t, err, ErrWeakKey)
	}
}

func TestExpandRefusesSecondEncodings(t *testing.T) {
	found := 0
	for y := int64(2); y < 19; y++ {
		once := littleEndian(big.NewInt(y))
		if _, err := decode(once); err != nil {
			continue
		}
		found++
		again := littleEndian(new(big.Int).Add(fieldOrder, big.NewInt(y)))
		_, err := decode(again)
		require.NoError(t, err)
		_, err = ZIP215().Expand(once)
		require.NoError(t, err)
		_, err = ZIP215().Expand(again)
		require.ErrorIs(t, err, ErrBadKey)
		_, err = ZIP215().ExpandMember(again)
		require.ErrorIs(t, err, ErrBadKey)
	}
	require.Positive(t, found)
}

func TestExpandRefusesWhatIsNoPoint(t *testing.T) {
	found := 0
	for y := int64(2); y < 19; y++ {
		enc := littleEndian(big.NewInt(y))
		if _, err := decode(enc); err != nil {
			found++
			for _, expand := range []func(PublicKey) (Verifier, error){
				ZIP215().Expand, ZIP215().ExpandMember,
			} {
				verifier, err := expand(enc)
				require.ErrorIs(t, err, ErrBadKey)
				require.Nil(t, verifier)
			}
		}
	}
	require.Positive(t, found)
}

// otherVerifier is a verifier of another scheme.
type otherVerifier bool

func (o otherVerifier) Verify(Domain, []byte, Signature) bool { return bool(o) }

func TestForeignAndMissingVerifiersAreJudgedOneByOne(t *testing.T) {
	yes, no := Check{Key: otherVerifier(true)}, Check{Key: otherVerifier(false)}
	require.True(t, ZIP215().VerifyAll([]Check{yes, yes, yes, yes, yes}))
	require.False(t, ZIP215().VerifyAll([]Check{yes, yes, yes, yes, no}))
	require.False(t, ZIP215().VerifyAll([]Check{yes, yes, yes, yes, {}}))
}
