// Package crypto says who may sign, what a signature covers and what a hash
// means. It has one job: turn bytes into digests and statements into signatures
// in exactly one way, so that no two nodes can disagree about either.
//
// # Contract
//
// Whatever is hashed or signed goes in under a [Domain], so that bytes made for
// one purpose are never valid for another. [Hash] length-prefixes the domain and
// every part, [SignedBytes] length-prefixes the domain: no two different inputs
// give the same bytes.
//
// Whether a signature is valid is decided by one rule, ZIP-215, behind [Scheme].
// The standard library and batch verifiers disagree on crafted signatures, and a
// cluster that mixes them can be split by one liar: half of it believes a
// statement, half does not. So all verification in this module goes through this
// package (tests/purity_test.go forbids other calls), and a batch has the verdict
// that its signatures would have one by one. Small-order keys, for which one
// signature fits many messages, are refused when they are enrolled.
//
// Signatures are not unique: whoever holds the key can make many for the same
// message, and under ZIP-215 even a third party can change the encoding of some.
// Nothing may be deduplicated, ordered or chained by signature bytes.
//
// What is kept at rest is hidden and proven by one cipher too, XChaCha20-Poly1305, behind [Sealer]
// and the key files.
//
// # Threads
//
// The package has no state and starts no goroutine. Values are immutable once
// made: a [Verifier], [Keyring], [PrivateKey] or [Scheme] may be used by any
// number of goroutines at once.
//
// It is pure except for the key files (keyfile*.go), which read the system's
// randomness and the disk.
package crypto
