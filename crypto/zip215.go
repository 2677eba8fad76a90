package crypto

import (
	"crypto/sha512"
	"fmt"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"tangaroa/internal/mutant"
)

// Verifier verifies with one public key, which was judged and expanded once.
type Verifier interface {
	// Verify reports whether sig is valid for SignedBytes(d, msg).
	Verify(d Domain, msg []byte, sig Signature) bool
}

// Check is one signature to be verified, with what it is said to cover.
type Check struct {
	Key    Verifier
	Domain Domain
	Msg    []byte
	Sig    Signature
}

// Scheme is the rule by which signatures are judged. A cluster has one, ZIP215;
// the simulator may use a cheaper one of its own.
type Scheme interface {
	// Expand prepares a key for verification. It returns ErrWeakKey or ErrBadKey
	// for keys that nobody may enrol.
	Expand(pub PublicKey) (Verifier, error)
	// ExpandMember is Expand for the key of a node, of which there are few that sign much: it may
	// take more memory for faster verification. The verdicts are the same.
	ExpandMember(pub PublicKey) (Verifier, error)
	// VerifyAll reports whether every check holds, each by itself. No checks hold.
	VerifyAll(checks []Check) bool
}

// VerifyEach returns the verdict on each check. It costs one VerifyAll when all
// hold, and up to twice the single verifications when they do not.
func VerifyEach(s Scheme, checks []Check) []bool {
	out := make([]bool, len(checks))
	all := s.VerifyAll(checks)
	for i := range checks {
		out[i] = all || checks[i].holds()
	}
	return out
}

func (c Check) holds() bool {
	return c.Key != nil && c.Key.Verify(c.Domain, c.Msg, c.Sig)
}

// ZIP215 returns the signature rule of the cluster, https://zips.z.cash/zip-0215:
// A and R may be any encodings of points, S must be below the group order, and
// [8][S]B = [8]R + [8][k]A decides. Multiplying by the cofactor is what makes the
// batch equation decide the same.
func ZIP215() Scheme { return zip215{} }

type zip215 struct{}

// minBatch is the number of signatures from which on a batch is faster than one
// by one; see BenchmarkVerify and BenchmarkVerifyAll.
const minBatch = 3

func options() *ed25519.Options {
	return &ed25519.Options{Verify: ed25519.VerifyOptionsZIP_215}
}

// Expand refuses more than ZIP-215 does. A small-order key has signatures that
// fit many messages; and a key in a second encoding would look like another key,
// though the same person can sign for both.
func (zip215) Expand(pub PublicKey) (Verifier, error) { return enrolled(pub, expand) }

// ExpandMember adds the multiples that save all doublings, about 40 KiB.
func (zip215) ExpandMember(pub PublicKey) (Verifier, error) { return enrolled(pub, expandMember) }

// enrolled expands a key that may be enrolled.
func enrolled(pub PublicKey, expand func(PublicKey) (*zip215Key, error)) (Verifier, error) {
	var encoded curve.CompressedEdwardsY
	copy(encoded[:], pub[:])
	var point curve.EdwardsPoint
	if _, err := point.SetCompressedY(&encoded); err != nil {
		return nil, fmt.Errorf("expand %v: %w", pub, ErrBadKey)
	}
	if point.IsSmallOrder() {
		return nil, fmt.Errorf("expand %v: %w", pub, ErrWeakKey)
	}
	if !encoded.IsCanonicalVartime() {
		return nil, fmt.Errorf("expand %v: %w: not canonical", pub, ErrBadKey)
	}
	k, err := expand(pub)
	if err != nil {
		return nil, err
	}
	return k, nil
}

// VerifyAll believes the batch equation only when it says that all hold (which it
// says wrongly once in 2^128); anything else is decided one by one.
func (zip215) VerifyAll(checks []Check) bool {
	if len(checks) >= minBatch && (mutant.On(mutant.M09b) || batchHolds(checks)) {
		return true
	}
	for i := range checks {
		if !checks[i].holds() {
			return false
		}
	}
	return true
}

// zip215Key is a public key with the multiples that make verification fast, about
// 1.5 KiB each for one signature and for many.
type zip215Key struct {
	public    PublicKey
	expanded  *ed25519.ExpandedPublicKey
	multiples *curve.ExpandedEdwardsPoint
	// negatives are of a member's key: those of -A by which a scalar is multiplied with it without
	// a doubling; nil for others.
	negatives *curve.EdwardsBasepointTable
}

// expand decodes any key that ZIP-215 knows, also those nobody may enrol.
func expand(pub PublicKey) (*zip215Key, error) {
	expanded, err := ed25519.NewExpandedPublicKey(pub[:])
	if err != nil {
		return nil, fmt.Errorf("expand %v: %w", pub, ErrBadKey)
	}
	encoded := expanded.CompressedY()
	var point curve.EdwardsPoint
	if _, err := point.SetCompressedY(&encoded); err != nil {
		return nil, fmt.Errorf("expand %v: %w", pub, ErrBadKey)
	}
	return &zip215Key{
		public: pub, expanded: expanded, multiples: curve.NewExpandedEdwardsPoint(&point),
	}, nil
}

// expandMember is expand for the key of a member.
func expandMember(pub PublicKey) (*zip215Key, error) {
	k, err := expand(pub)
	if err != nil {
		return nil, err
	}
	var point curve.EdwardsPoint
	point.SetExpanded(k.multiples)
	k.negatives = curve.NewEdwardsBasepointTable(point.Neg(&point))
	return k, nil
}

// Verify reports whether sig is valid for SignedBytes(d, msg) under ZIP-215.
func (k *zip215Key) Verify(d Domain, msg []byte, sig Signature) bool {
	if k.negatives != nil {
		return k.verifyMember(d, msg, sig)
	}
	return ed25519.VerifyExpandedWithOptions(k.expanded, SignedBytes(d, msg), sig[:], options())
}

// verifyMember decides [8]([S]B - [k]A - R) = 0 with what was computed of B and A beforehand.
func (k *zip215Key) verifyMember(d Domain, msg []byte, sig Signature) bool {
	var p parts
	if !p.read(k, d, msg, sig) {
		return false
	}
	var sum, term curve.EdwardsPoint
	sum.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, &p.s)
	sum.Add(&sum, term.MulBasepoint(k.negatives, &p.k))
	sum.Sub(&sum, &p.r)
	return sum.IsSmallOrder()
}

// parts are those of a signature that stand in the equation, and the hash that RFC 8032 section
// 5.1.7 prescribes as k, before and after it is taken modulo the order of the group.
type parts struct {
	r    curve.EdwardsPoint
	s, k scalar.Scalar
	hash [sha512.Size]byte
}

// read takes a signature apart. It is false for one that cannot be valid.
func (p *parts) read(key *zip215Key, d Domain, msg []byte, sig Signature) bool {
	var encoded curve.CompressedEdwardsY
	copy(encoded[:], sig[:32])
	if _, err := p.r.SetCompressedY(&encoded); err != nil {
		return false
	}
	if _, err := p.s.SetCanonicalBytes(sig[32:]); err != nil {
		return false
	}
	h := sha512.New()
	h.Write(encoded[:])
	h.Write(key.public[:])
	h.Write(SignedBytes(d, msg))
	h.Sum(p.hash[:0])
	_, err := p.k.SetBytesModOrderWide(p.hash[:])
	return err == nil
}
