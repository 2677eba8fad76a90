package crypto

import (
	"fmt"
	"testing"
)

// benchMsg has about the length of an acknowledgement.
var benchMsg = make([]byte, 120)

func benchChecks(b *testing.B, n, keys int) []Check {
	b.Helper()
	return benchChecksOf(b, n, keys, ZIP215().Expand)
}

func benchChecksOf(
	b *testing.B, n, keys int, expand func(PublicKey) (Verifier, error),
) []Check {
	b.Helper()
	checks := make([]Check, n)
	verifiers := make([]Verifier, keys)
	for i := range checks {
		k := KeyFromSeed([32]byte{byte(i % keys), byte(i % keys >> 8), 1})
		if i < keys {
			var err error
			if verifiers[i], err = expand(k.Public()); err != nil {
				b.Fatal(err)
			}
		}
		checks[i] = Check{verifiers[i%keys], DomainAck, benchMsg, k.Sign(DomainAck, benchMsg)}
	}
	return checks
}

func BenchmarkSign(b *testing.B) {
	k := KeyFromSeed([32]byte{1})
	b.ReportAllocs()
	for b.Loop() {
		k.Sign(DomainAck, benchMsg)
	}
}

func BenchmarkVerify(b *testing.B) {
	b.Run("client", func(b *testing.B) { benchmarkVerify(b, ZIP215().Expand) })
	b.Run("member", func(b *testing.B) { benchmarkVerify(b, ZIP215().ExpandMember) })
}

func benchmarkVerify(b *testing.B, expand func(PublicKey) (Verifier, error)) {
	c := benchChecksOf(b, 1, 1, expand)[0]
	b.ReportAllocs()
	for b.Loop() {
		if !c.holds() {
			b.Fatal("not valid")
		}
	}
}

// BenchmarkVerifyAll reports the time for one signature, to be compared with BenchmarkVerify, where
// so many keys have signed in turn.
func BenchmarkVerifyAll(b *testing.B) {
	for _, n := range []int{2, 3, 4, 5, 8, 16, 43, 128, 256} {
		for _, keys := range []int{n, n / 4, 1} {
			if keys == 0 || n < 16 && keys < n {
				continue
			}
			checks := benchChecks(b, n, keys)
			b.Run(fmt.Sprintf("n=%d/keys=%d", n, keys), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if !batchHolds(checks) {
						b.Fatal("not valid")
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/signature")
			})
		}
	}
}

func BenchmarkExpand(b *testing.B) {
	pub := KeyFromSeed([32]byte{1}).Public()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ZIP215().Expand(pub); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Hash(DomainMerkleNode, benchMsg[:32], benchMsg[32:64])
	}
}

func BenchmarkMerkleRoot(b *testing.B) {
	leaves := make([]Digest, 1024)
	b.ReportAllocs()
	for b.Loop() {
		MerkleRoot(leaves)
	}
}
