package quorumcert

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0 takes a fixed one")

// seeded returns a generator whose seed is printed when the test fails.
func seeded(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = 20260101
	}
	t.Logf("repeat with -seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// testSigner returns the signer whose key is made from the number. Two numbers give two keys.
func testSigner(id crypto.NodeID, key int) crypto.Signer {
	seed := [32]byte{0: byte(key), 1: byte(key >> 8), 31: 7}
	return crypto.NewSigner(id, crypto.KeyFromSeed(seed))
}

func digestOf(s string) crypto.Digest { return crypto.Hash(crypto.DomainState, []byte(s)) }

// voters returns n voters with the given ids in order; voter id has key number id+offset.
func votersOf(offset int, ids ...crypto.NodeID) []Voter {
	var out []Voter
	for _, id := range ids {
		out = append(out, Voter{ID: id, Key: testSigner(id, int(id)+offset).Public()})
	}
	return out
}

func idsUpTo(n int) []crypto.NodeID {
	var ids []crypto.NodeID
	for i := 1; i <= n; i++ {
		ids = append(ids, crypto.NodeID(i))
	}
	return ids
}

func configOf(t testing.TB, entry Index, voters []Voter) *Configuration {
	t.Helper()
	c, err := NewConfiguration(crypto.ZIP215(), entry, voters)
	require.NoError(t, err)
	return c
}

// fixture is a cluster of seven (F=2, Q=5) in which the certificates under test are made, and
// configurations by which they must not hold.
type fixture struct {
	cluster  crypto.Digest
	config   *Configuration
	rekeyed  *Configuration // the same voters with other keys
	shifted  *Configuration // voter 1 has left, voter 8 is in its place
	larger   *Configuration // thirteen voters, the seven among them (F=4, Q=9)
	later    *Configuration // the same voters, from entry 3 on
	outsider crypto.Signer  // no voter anywhere
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	return &fixture{
		cluster:  digestOf("cluster"),
		config:   configOf(t, 0, votersOf(0, idsUpTo(7)...)),
		rekeyed:  configOf(t, 0, votersOf(300, idsUpTo(7)...)),
		shifted:  configOf(t, 0, votersOf(0, 2, 3, 4, 5, 6, 7, 8)),
		larger:   configOf(t, 0, votersOf(0, idsUpTo(13)...)),
		later:    configOf(t, 3, votersOf(0, idsUpTo(7)...)),
		outsider: testSigner(40, 40),
	}
}

// signer returns voter id's signer.
func (f *fixture) signer(id crypto.NodeID) crypto.Signer { return testSigner(id, int(id)) }

// quorum are the signers of the certificates under test: the first five of seven.
func (f *fixture) quorum() []crypto.NodeID { return idsUpTo(f.config.Size().Q) }

// collect lets each of ids sign what statement returns for it.
func (f *fixture) collect(ids []crypto.NodeID, statement func(k int) Statement) Signatures {
	var c Collector
	for k, id := range ids {
		c.Add(id, Sign(f.signer(id), statement(k)))
	}
	return c.Take(SetOf(ids...))
}

func always(st Statement) func(int) Statement { return func(int) Statement { return st } }

// chainOf returns the headers of blocks that follow (i, prev), one for each given length. The
// label makes two chains differ.
func chainOf(label string, i Index, prev crypto.Digest, lengths ...int) []Header {
	var out []Header
	for k, n := range lengths {
		h := Header{Prev: prev, First: i + 1, Last: i + Index(n)}
		h.Root = digestOf(fmt.Sprintf("%s %d", label, k))
		out = append(out, h)
		i, prev = h.Last, h.Hash()
	}
	return out
}

func (f *fixture) tc(ids ...crypto.NodeID) *TC {
	return &TC{Term: 9, Signatures: f.collect(ids, always(Suspicion{f.cluster, 9}))}
}

func (f *fixture) ec(ids ...crypto.NodeID) *EC {
	ec := &EC{Term: 9, Leader: 3, Base: Lock{Term: 6, Index: 40, Hash: digestOf("base")}}
	ec.Signatures = f.collect(ids, always(f.voteOf(ec)))
	return ec
}

func (f *fixture) voteOf(ec *EC) Vote {
	return Vote{Cluster: f.cluster, Term: ec.Term, Candidate: ec.Leader, Lock: ec.Base}
}

func (f *fixture) qc(ids ...crypto.NodeID) *QC {
	qc := &QC{Lock: Lock{Term: 9, Index: 44, Hash: digestOf("block")}}
	for k := range ids {
		qc.Certified = append(qc.Certified, Index(40+k))
	}
	qc.Signatures = f.collect(ids, func(k int) Statement { return f.ackOf(qc, k) })
	return qc
}

func (f *fixture) ackOf(qc *QC, k int) Ack {
	return Ack{Cluster: f.cluster, Term: qc.Term, Index: qc.Index, Hash: qc.Hash,
		Certified: qc.Certified[k]}
}

// commit returns a proof that index 42 is committed: three blocks behind it, and acks that stand
// at different ends of them.
func (f *fixture) commit(ids ...crypto.NodeID) *Commit {
	cc := &Commit{Term: 9, Index: 42, Hash: digestOf("committed")}
	cc.Headers = chainOf("commit", cc.Index, cc.Hash, 2, 1, 3) // ends: 44, 45, 48
	ends := []AckedAt{{42, 42}, {44, 42}, {45, 44}, {48, 45}, {48, 42}, {44, 44}, {42, 42}}
	cc.Acks = append(cc.Acks, ends[:len(ids)]...)
	cc.Signatures = f.collect(ids, func(k int) Statement { return f.ackAt(cc, k) })
	return cc
}

func (f *fixture) ackAt(cc *Commit, k int) Ack {
	hash, ok := cc.hashAt(cc.Acks[k].Index)
	if !ok {
		panic("fixture: an ack beside the headers")
	}
	return Ack{Cluster: f.cluster, Term: cc.Term, Index: cc.Acks[k].Index, Hash: hash,
		Certified: cc.Acks[k].Certified}
}

func (f *fixture) receipt(ids ...crypto.NodeID) *Receipt {
	r := &Receipt{Reply: Reply{
		Cluster: f.cluster, Index: 44, Hash: digestOf("block"), Results: digestOf("results"),
	}}
	r.Signatures = f.collect(ids, always(r.Reply))
	return r
}

func (f *fixture) stable(ids ...crypto.NodeID) *Stable {
	st := &Stable{Checkpoint: Checkpoint{
		Cluster: f.cluster, Index: 44, Hash: digestOf("block"), State: digestOf("state"),
		Sessions: digestOf("sessions"),
	}}
	st.Signatures = f.collect(ids, always(st.Checkpoint))
	return st
}

func (f *fixture) signedCheckpoint(id crypto.NodeID) SignedCheckpoint {
	cp := f.stable().Checkpoint
	return SignedCheckpoint{Checkpoint: cp, Signer: id, Sig: Sign(f.signer(id), cp)}
}

// ack returns an ack of voter id in term 9.
func (f *fixture) ack(id crypto.NodeID, i Index, h crypto.Digest, certified Index) SignedAck {
	return f.resignAck(SignedAck{
		Ack:    Ack{Cluster: f.cluster, Term: 9, Index: i, Hash: h, Certified: certified},
		Signer: id,
	})
}

func (f *fixture) resignAck(a SignedAck) SignedAck {
	a.Sig = Sign(f.signer(a.Signer), a.Ack)
	return a
}

func (f *fixture) resignVote(v SignedVote) SignedVote {
	v.Sig = Sign(f.signer(v.Signer), v.Vote)
	return v
}

// ackConflict returns a proof against voter 1: its first ack stands at 43, where the chain of its
// second, which ends at 48, has another block.
func (f *fixture) ackConflict() *AckConflict {
	fork := digestOf("fork")
	mine := chainOf("a", 40, fork, 3)
	other := chainOf("b", 40, fork, 3, 2, 3)
	return &AckConflict{
		A:       f.ack(1, 43, mine[0].Hash(), 0),
		B:       f.ack(1, 48, other[2].Hash(), 43),
		Headers: other,
	}
}

func (f *fixture) voteConflict() *VoteConflict {
	vote := func(candidate crypto.NodeID) SignedVote {
		lock := Lock{Term: 6, Index: 40, Hash: digestOf("base")}
		return f.resignVote(SignedVote{
			Vote:   Vote{Cluster: f.cluster, Term: 9, Candidate: candidate, Lock: lock},
			Signer: 1,
		})
	}
	return &VoteConflict{A: vote(3), B: vote(4)}
}
