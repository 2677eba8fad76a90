package crypto

import (
	"fmt"
	"testing"
)

// benchMsg has about the length of an acknowledgement.
var benchMsg = make([]byte, 120)

func benchChecks(b *testing.B, n int) []Check {
	b.Helper()
	checks := make([]Check, n)
	for i := range checks {
		k := KeyFromSeed([32]byte{byte(i), 1})
		verifier, err := ZIP215().Expand(k.Public())
		if err != nil {
			b.Fatal(err)
		}
		checks[i] = Check{verifier, DomainAck, benchMsg, k.Sign(DomainAck, benchMsg)}
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
	c := benchChecks(b, 1)[0]
	b.ReportAllocs()
	for b.Loop() {
		if !c.holds() {
			b.Fatal("not valid")
		}
	}
}

// BenchmarkVerifyAll reports the time for one signature, to be compared with
// BenchmarkVerify.
func BenchmarkVerifyAll(b *testing.B) {
	for _, n := range []int{1, 2, 3, 4, 5, 8, 16, 43, 128} {
		checks := benchChecks(b, n)
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
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
