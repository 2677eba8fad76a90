package quorumcert

import (
	"fmt"
	"slices"
	"strconv"

	"tangaroa/crypto"
)

// certificate is what all certificates have in common.
type certificate interface {
	Verify(cluster crypto.Digest, c *Configuration) error
	AppendTo(b []byte) []byte
}

// mutation is one way to spoil a certificate, and why it must be refused.
type mutation struct {
	name string
	want error
	bad  certificate
	// cluster and config replace what the certificate is judged by, where they are set.
	cluster crypto.Digest
	config  *Configuration
}

// spoiler makes mutations of one kind of certificate. Each starts from a fresh copy.
type spoiler struct {
	f *fixture
	// fresh returns a new valid certificate of the first few voters.
	fresh func() (certificate, *Signatures)
	list  []mutation
}

func (s *spoiler) add(name string, want error, spoil func(c certificate, sigs *Signatures)) {
	c, sigs := s.fresh()
	spoil(c, sigs)
	s.list = append(s.list, mutation{name: name, want: want, bad: c})
}

// sigs adds a mutation that needs to know nothing but the signatures.
func (s *spoiler) sigs(name string, want error, spoil func(sigs *Signatures)) {
	s.add(name, want, func(_ certificate, sigs *Signatures) { spoil(sigs) })
}

// judged adds the unspoilt certificate, judged by something else.
func (s *spoiler) judged(name string, want error, cluster crypto.Digest, c *Configuration) {
	valid, _ := s.fresh()
	s.list = append(s.list, mutation{name, want, valid, cluster, c})
}

// signers spoils who signed. trim removes what stands beside the k-th signature, so that the
// shape stays right; it may be nil.
func (s *spoiler) signers(trim func(c certificate, k int)) {
	_, valid := s.fresh()
	for k, id := range valid.Signers.Members() {
		s.add(fmt.Sprintf("without voter %d", id), ErrTooFew, func(c certificate, sg *Signatures) {
			sg.Signers = sg.Signers.Without(id)
			sg.Sigs = slices.Delete(sg.Sigs, k, k+1)
			if trim != nil {
				trim(c, k)
			}
		})
		s.sigs(fmt.Sprintf("bit of voter %d only", id), ErrShape, func(sg *Signatures) {
			sg.Signers = sg.Signers.Without(id)
		})
		s.sigs(fmt.Sprintf("voter %d stands for non-member", id), ErrNotMember,
			func(sg *Signatures) { sg.Signers = sg.Signers.Without(id).With(8) })
		s.sigs(fmt.Sprintf("voter %d replaced by one who did not sign", id), ErrSignature,
			func(sg *Signatures) { sg.Signers = sg.Signers.Without(id).With(7) })
	}
	s.sigs("non-member added", ErrShape, func(sg *Signatures) { sg.Signers = sg.Signers.With(64) })
	s.sigs("all bits set", ErrShape, func(sg *Signatures) { sg.Signers = ^Set(0) })
	s.sigs("no signers", ErrShape, func(sg *Signatures) { sg.Signers = 0 })
	s.sigs("a voter who did not sign added", ErrShape, func(sg *Signatures) {
		sg.Signers = sg.Signers.With(7)
	})
}

// signatures spoils what was signed.
func (s *spoiler) signatures() {
	_, valid := s.fresh()
	n := len(valid.Sigs)
	for k := range n {
		s.sigs(fmt.Sprintf("signature %d zero", k), ErrSignature, func(sg *Signatures) {
			sg.Sigs[k] = crypto.Signature{}
		})
		s.sigs(fmt.Sprintf("signature %d taken twice", k), ErrSignature, func(sg *Signatures) {
			sg.Sigs[k] = sg.Sigs[(k+1)%n]
		})
		for _, at := range []int{0, 31, 32, 63} {
			s.sigs(fmt.Sprintf("signature %d flipped in byte %d", k, at), ErrSignature,
				func(sg *Signatures) { sg.Sigs[k][at] ^= 0x10 })
		}
	}
	s.sigs("order reversed", ErrSignature, func(sg *Signatures) { slices.Reverse(sg.Sigs) })
	s.sigs("first two swapped", ErrSignature, func(sg *Signatures) {
		sg.Sigs[0], sg.Sigs[1] = sg.Sigs[1], sg.Sigs[0]
	})
}

// context judges the valid certificate by what it was not made for.
func (s *spoiler) context(wrongCluster error) {
	s.judged("other cluster", wrongCluster, digestOf("other cluster"), s.f.config)
	s.judged("no cluster", wrongCluster, crypto.Digest{}, s.f.config)
	s.judged("same voters, other keys", ErrSignature, s.f.cluster, s.f.rekeyed)
	s.judged("a signer has left", ErrNotMember, s.f.cluster, s.f.shifted)
	s.judged("more voters", ErrTooFew, s.f.cluster, s.f.larger)
}

// statements replaces each signature by its signer's signature of something else.
func (s *spoiler) statements(name string, other Statement) {
	_, valid := s.fresh()
	for k, id := range valid.Signers.Members() {
		s.sigs(fmt.Sprintf("voter %d signed %s", id, name), ErrSignature, func(sg *Signatures) {
			sg.Sigs[k] = Sign(s.f.signer(id), other)
		})
	}
	s.sigs("all signed "+name, ErrSignature, func(sg *Signatures) {
		sg.Sigs = s.f.collect(sg.Signers.Members(), always(other)).Sigs
	})
	s.sigs("an outsider signed for a voter", ErrSignature, func(sg *Signatures) {
		sg.Sigs[0] = Sign(s.f.outsider, other)
	})
}

func (s *spoiler) field(name string, want error, spoil func(c certificate)) {
	s.add(name, want, func(c certificate, _ *Signatures) { spoil(c) })
}

// inDomain signs the bytes of one statement as if they were another kind.
type inDomain struct {
	Statement
	domain crypto.Domain
}

// Domain returns the domain put in.
func (d inDomain) Domain() crypto.Domain { return d.domain }

func number(n uint64) string { return strconv.FormatUint(n, 10) }
