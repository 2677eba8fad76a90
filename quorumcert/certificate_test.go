package quorumcert

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// spoilers lists the generator of each certificate's mutations.
func spoilers(f *fixture) map[string]*spoiler {
	return map[string]*spoiler{
		"TC": spoilTC(f), "EC": spoilEC(f), "QC": spoilQC(f), "Commit": spoilCommit(f),
		"Receipt": spoilReceipt(f), "AckConflict": spoilAckConflict(f),
		"VoteConflict": spoilVoteConflict(f), "Stable": spoilStable(f),
	}
}

func TestEveryMutationOfACertificateIsRefused(t *testing.T) {
	f := newFixture(t)
	for kind, s := range spoilers(f) {
		valid, _ := s.fresh()
		require.NoError(t, valid.Verify(f.cluster, f.config), "%s unmutated", kind)
		raw := valid.AppendTo(nil)
		require.GreaterOrEqual(t, len(s.list), 40, "%s: too few mutations", kind)
		seen := make(map[string]bool, len(s.list))
		for _, m := range s.list {
			require.False(t, seen[m.name], "%s: %q is made twice", kind, m.name)
			seen[m.name] = true
			cluster, config := f.cluster, f.config
			if m.config != nil {
				cluster, config = m.cluster, m.config
			} else {
				require.False(t, bytes.Equal(raw, m.bad.AppendTo(nil)),
					"%s: %q changes nothing", kind, m.name)
			}
			require.ErrorIs(t, m.bad.Verify(cluster, config), m.want, "%s: %s", kind, m.name)
		}
		t.Logf("%s: %d mutations", kind, len(s.list))
	}
}

func spoilTC(f *fixture) *spoiler {
	s := &spoiler{f: f, fresh: func() (certificate, *Signatures) {
		tc := f.tc(f.quorum()...)
		return tc, &tc.Signatures
	}}
	s.signers(nil)
	s.signatures()
	s.context(ErrSignature)
	s.statements("an earlier term", Suspicion{f.cluster, 8})
	s.list = append(s.list, kindMutations(s, always(Suspicion{f.cluster, 9}))...)
	for term, want := range map[Term]error{
		0: ErrShape, 8: ErrSignature, 10: ErrSignature, math.MaxUint64: ErrSignature,
	} {
		s.field("term "+number(uint64(term)), want, func(c certificate) { c.(*TC).Term = term })
	}
	return s
}

func spoilEC(f *fixture) *spoiler {
	s := &spoiler{f: f, fresh: func() (certificate, *Signatures) {
		ec := f.ec(f.quorum()...)
		return ec, &ec.Signatures
	}}
	s.signers(nil)
	s.signatures()
	s.context(ErrSignature)
	vote := f.voteOf(f.ec(1))
	s.list = append(s.list, kindMutations(s, always(vote))...)
	other := vote
	other.Lock.Index++
	s.statements("another lock", other)
	set := func(name string, want error, spoil func(ec *EC)) {
		s.field(name, want, func(c certificate) { spoil(c.(*EC)) })
	}
	set("term 0", ErrShape, func(ec *EC) { ec.Term = 0 })
	set("term of the base", ErrShape, func(ec *EC) { ec.Term = ec.Base.Term })
	set("term below the base", ErrShape, func(ec *EC) { ec.Term = 2 })
	set("term before", ErrSignature, func(ec *EC) { ec.Term-- })
	set("term after", ErrSignature, func(ec *EC) { ec.Term++ })
	set("another leader", ErrSignature, func(ec *EC) { ec.Leader = 4 })
	set("no leader", ErrNotMember, func(ec *EC) { ec.Leader = 0 })
	set("a leader from outside", ErrNotMember, func(ec *EC) { ec.Leader = 8 })
	set("a leader beyond all", ErrNotMember, func(ec *EC) { ec.Leader = 255 })
	set("base of a lower term", ErrSignature, func(ec *EC) { ec.Base.Term-- })
	set("base of the term itself", ErrShape, func(ec *EC) { ec.Base.Term = 9 })
	set("base of a higher term", ErrShape, func(ec *EC) { ec.Base.Term = math.MaxUint64 })
	set("lower base", ErrSignature, func(ec *EC) { ec.Base.Index-- })
	set("higher base", ErrSignature, func(ec *EC) { ec.Base.Index++ })
	set("genesis base", ErrSignature, func(ec *EC) { ec.Base = Lock{Hash: f.cluster} })
	set("another base", ErrSignature, func(ec *EC) { ec.Base.Hash[31] ^= 1 })
	return s
}

func spoilQC(f *fixture) *spoiler {
	s := &spoiler{f: f, fresh: func() (certificate, *Signatures) {
		qc := f.qc(f.quorum()...)
		return qc, &qc.Signatures
	}}
	s.signers(func(c certificate, k int) {
		c.(*QC).Certified = slices.Delete(c.(*QC).Certified, k, k+1)
	})
	s.signatures()
	s.context(ErrSignature)
	right := f.qc(f.quorum()...)
	s.list = append(s.list, kindMutations(s, func(k int) Statement { return f.ackOf(right, k) })...)
	ack := f.ackOf(right, 0)
	ack.Hash = digestOf("another block")
	s.statements("another block", ack)
	set := func(name string, want error, spoil func(qc *QC)) {
		s.field(name, want, func(c certificate) { spoil(c.(*QC)) })
	}
	set("term 0", ErrShape, func(qc *QC) { qc.Term = 0 })
	set("term before", ErrSignature, func(qc *QC) { qc.Term-- })
	set("term after", ErrSignature, func(qc *QC) { qc.Term++ })
	set("index 0", ErrShape, func(qc *QC) { qc.Index = 0 })
	set("index before, certified 0", ErrSignature, func(qc *QC) {
		qc.Index, qc.Certified = 43, make([]Index, 5)
	})
	set("index below what is certified", ErrVoidAck, func(qc *QC) { qc.Index = 43 })
	set("index after", ErrSignature, func(qc *QC) { qc.Index++ })
	set("another block's hash", ErrSignature, func(qc *QC) { qc.Hash[0] ^= 1 })
	for k := range f.quorum() {
		at := number(uint64(k))
		set("void ack "+at, ErrVoidAck, func(qc *QC) { qc.Certified[k] = 45 })
		set("void ack far beyond "+at, ErrVoidAck, func(qc *QC) {
			qc.Certified[k] = math.MaxUint64
		})
		set("other certified index "+at, ErrSignature, func(qc *QC) { qc.Certified[k]-- })
	}
	set("certified indexes missing", ErrShape, func(qc *QC) { qc.Certified = nil })
	set("one certified index less", ErrShape, func(qc *QC) { qc.Certified = qc.Certified[1:] })
	set("one certified index more", ErrShape, func(qc *QC) {
		qc.Certified = append(qc.Certified, 0)
	})
	return s
}

func spoilReceipt(f *fixture) *spoiler {
	s := &spoiler{f: f, fresh: func() (certificate, *Signatures) {
		r := f.receipt(idsUpTo(f.config.Size().F + 1)...)
		return r, &r.Signatures
	}}
	s.signers(nil)
	s.signatures()
	s.context(ErrShape)
	reply := f.receipt(1).Reply
	s.list = append(s.list, kindMutations(s, always(reply))...)
	reply.Results = digestOf("other results")
	s.statements("other results", reply)
	s.judged("a later configuration of the same voters", ErrShape, f.cluster, f.later)
	set := func(name string, want error, spoil func(r *Receipt)) {
		s.field(name, want, func(c certificate) { spoil(c.(*Receipt)) })
	}
	set("another cluster inside", ErrShape, func(r *Receipt) { r.Cluster[0] ^= 1 })
	set("another configuration inside", ErrShape, func(r *Receipt) { r.Configuration = 1 })
	set("index 0", ErrShape, func(r *Receipt) { r.Index = 0 })
	set("index before", ErrSignature, func(r *Receipt) { r.Index-- })
	set("index after", ErrSignature, func(r *Receipt) { r.Index++ })
	set("another block's hash", ErrSignature, func(r *Receipt) { r.Hash[9] ^= 1 })
	set("other results inside", ErrSignature, func(r *Receipt) { r.Results[9] ^= 1 })
	return s
}

func spoilStable(f *fixture) *spoiler {
	s := &spoiler{f: f, fresh: func() (certificate, *Signatures) {
		st := f.stable(f.quorum()...)
		return st, &st.Signatures
	}}
	s.signers(nil)
	s.signatures()
	s.context(ErrShape)
	right := f.stable(1).Checkpoint
	s.list = append(s.list, kindMutations(s, always(right))...)
	other := right
	other.State = digestOf("another state")
	s.statements("another state", other)
	s.judged("a later configuration of the same voters", ErrShape, f.cluster, f.later)
	set := func(name string, want error, spoil func(st *Stable)) {
		s.field(name, want, func(c certificate) { spoil(c.(*Stable)) })
	}
	set("another cluster inside", ErrShape, func(st *Stable) { st.Cluster[0] ^= 1 })
	set("another configuration inside", ErrShape, func(st *Stable) { st.Configuration = 1 })
	set("index 0", ErrShape, func(st *Stable) { st.Index = 0 })
	set("index before", ErrSignature, func(st *Stable) { st.Index-- })
	set("index after", ErrSignature, func(st *Stable) { st.Index++ })
	set("another block's hash", ErrSignature, func(st *Stable) { st.Hash[9] ^= 1 })
	set("another state inside", ErrSignature, func(st *Stable) { st.State[9] ^= 1 })
	set("other sessions inside", ErrSignature, func(st *Stable) { st.Sessions[9] ^= 1 })
	set("roots exchanged", ErrSignature, func(st *Stable) {
		st.State, st.Sessions = st.Sessions, st.State
	})
	return s
}

// kindMutations lets the signers sign the right bytes in the domain of every other kind.
func kindMutations(s *spoiler, right func(k int) Statement) []mutation {
	t := &spoiler{f: s.f, fresh: s.fresh}
	for _, d := range signedDomains {
		if d != right(0).Domain() {
			t.sigs("signed as "+string(d), ErrSignature, func(sg *Signatures) {
				st := func(k int) Statement { return inDomain{right(k), d} }
				sg.Sigs = s.f.collect(sg.Signers.Members(), st).Sigs
			})
		}
	}
	return t.list
}

var signedDomains = []crypto.Domain{
	crypto.DomainAck, crypto.DomainVote, crypto.DomainSuspect, crypto.DomainReply,
	crypto.DomainMessage, crypto.DomainRequest, crypto.DomainReadReply, crypto.DomainCheckpoint,
}

// A surplus of signers is welcome, but each of them is judged.
func TestEverySignerOfALargerSetIsJudged(t *testing.T) {
	f := newFixture(t)
	all := idsUpTo(7)
	certs := make(map[string]signedCertificate)
	tc, ec, r, st := f.tc(all...), f.ec(all...), f.receipt(all...), f.stable(all...)
	qc, cc := f.qc(all[:5]...), f.commit(all...)
	certs["TC"] = signedCertificate{tc, &tc.Signatures}
	certs["EC"] = signedCertificate{ec, &ec.Signatures}
	certs["QC"] = signedCertificate{qc, &qc.Signatures}
	certs["Commit"] = signedCertificate{cc, &cc.Signatures}
	certs["Receipt"] = signedCertificate{r, &r.Signatures}
	certs["Stable"] = signedCertificate{st, &st.Signatures}
	for name, c := range certs {
		require.NoError(t, c.cert.Verify(f.cluster, f.config), name)
		for k := range c.sigs.Sigs {
			c.sigs.Sigs[k][40] ^= 1
			require.ErrorIs(t, c.cert.Verify(f.cluster, f.config), ErrSignature, "%s %d", name, k)
			c.sigs.Sigs[k][40] ^= 1
		}
	}
}

type signedCertificate struct {
	cert certificate
	sigs *Signatures
}

// Who signs is what counts: any Q of the voters will do, and no Q-1.
func TestAnyQuorumMakesACertificateAndNoFewerDo(t *testing.T) {
	f := newFixture(t)
	for set := Set(0); set < 1<<7; set++ {
		for _, c := range []certificate{f.tc(set.Members()...), f.stable(set.Members()...)} {
			err := c.Verify(f.cluster, f.config)
			if set.Len() >= f.config.Size().Q {
				require.NoError(t, err, "%T %v", c, set)
			} else {
				require.ErrorIs(t, err, ErrTooFew, "%T %v", c, set)
			}
		}
		err := f.receipt(set.Members()...).Verify(f.cluster, f.config)
		if set.Len() > f.config.Size().F {
			require.NoError(t, err, "%v", set)
		} else {
			require.ErrorIs(t, err, ErrTooFew, "%v", set)
		}
	}
}
