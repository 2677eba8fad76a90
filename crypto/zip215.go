package crypto

import (
	"fmt"

	"github.com/oasisprotocol/curve25519-voi/curve"
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
func (zip215) Expand(pub PublicKey) (Verifier, error) {
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
	return expand(pub)
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
}

// expand decodes any key that ZIP-215 knows, also those nobody may enrol.
func expand(pub PublicKey) (Verifier, error) {
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

// Verify reports whether sig is valid for SignedBytes(d, msg) under ZIP-215.
func (k *zip215Key) Verify(d Domain, msg []byte, sig Signature) bool {
	return ed25519.VerifyExpandedWithOptions(k.expanded, SignedBytes(d, msg), sig[:], options())
}
