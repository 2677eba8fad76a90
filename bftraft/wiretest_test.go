package bftraft

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// The flags may also be defined by a library or another test of this package.
func init() {
	if flag.Lookup("rewrite") == nil {
		flag.Bool("rewrite", false, "write the golden files anew")
	}
	if flag.Lookup("seed") == nil {
		flag.Uint64("seed", 0, "seed of the random tests; 0 takes a fixed one")
	}
}

func wireFlag(name string) any { return flag.Lookup(name).Value.(flag.Getter).Get() }

// wireRand returns a generator whose seed is printed when the test fails.
func wireRand(t *testing.T) *rand.Rand {
	seed := fmt.Sprint(wireFlag("seed"))
	if seed == "0" {
		seed = "20260101"
	}
	t.Logf("repeat with -seed %s", seed)
	var n uint64
	_, err := fmt.Sscan(seed, &n)
	require.NoError(t, err)
	return rand.New(rand.NewPCG(n, 2))
}

// wireCluster is a cluster of four in term 3: its leader is voter 2, the base is the end of the
// first block, certified in term 1.
type wireCluster struct {
	genesis    *Genesis
	id         Digest
	gate       *Verifier
	b1, b2, b3 *Block
}

// wireKey returns the n-th test key: 1 to 4 are the voters', 11 and 12 the clients', 21 the
// administrator's; all others are strangers'.
func wireKey(n int) crypto.PrivateKey {
	return crypto.KeyFromSeed([32]byte{0: byte(n), 31: 9})
}

func wireGenesis() *Genesis {
	g := &Genesis{Name: "wire", Nonce: Digest{1}, AdminQuorum: 1}
	for id := NodeID(1); id <= 4; id++ {
		voter := quorumcert.Voter{ID: id, Key: wireKey(int(id)).Public()}
		g.Voters = append(g.Voters, voter)
	}
	g.Clients = []Enrolled{{"alice", wireKey(11).Public()}, {"bob", wireKey(12).Public()}}
	g.Admins = []Enrolled{{"root", wireKey(21).Public()}}
	return g
}

func newWireCluster(t testing.TB) *wireCluster {
	t.Helper()
	c := &wireCluster{genesis: wireGenesis()}
	c.id = c.genesis.Hash()
	gate, err := NewVerifier(crypto.ZIP215(), c.genesis)
	require.NoError(t, err)
	c.gate = gate
	c.b1 = c.block(Position{Hash: c.id}, "one", "two")
	c.b2 = c.block(c.b1.End(), "three")
	c.b3 = c.block(c.b2.End(), "four", "five", "")
	return c
}

func (c *wireCluster) signer(id NodeID) crypto.Signer {
	return crypto.NewSigner(id, wireKey(int(id)))
}

func (c *wireCluster) request(key int, seq uint64, ops ...string) *Request {
	var raw [][]byte
	for _, op := range ops {
		raw = append(raw, []byte(op))
	}
	return SignRequest(c.id, wireKey(key), 1, seq, raw)
}

// block returns a block with one request for each operation, by either client in turn.
func (c *wireCluster) block(prev Position, ops ...string) *Block {
	var entries []Entry
	for i, op := range ops {
		entries = append(entries, c.request(11+i%2, uint64(prev.Index)+1, op).Entry())
	}
	return NewBlock(prev, entries)
}

func (c *wireCluster) ack(id NodeID, t Term, at Position, certified Index) quorumcert.SignedAck {
	a := quorumcert.Ack{Cluster: c.id, Term: t, Index: at.Index, Hash: at.Hash}
	a.Certified = certified
	return quorumcert.SignedAck{Ack: a, Signer: id, Sig: quorumcert.Sign(c.signer(id), a)}
}

func (c *wireCluster) vote(id, candidate NodeID, t Term, l Lock) quorumcert.SignedVote {
	v := quorumcert.Vote{Cluster: c.id, Term: t, Candidate: candidate, Lock: l}
	return quorumcert.SignedVote{Vote: v, Signer: id, Sig: quorumcert.Sign(c.signer(id), v)}
}

func (c *wireCluster) suspect(id NodeID, t Term) *Suspect {
	st := quorumcert.Suspicion{Cluster: c.id, Term: t}
	return &Suspect{Term: t, Signer: id, Sig: quorumcert.Sign(c.signer(id), st)}
}

func (c *wireCluster) tc(t Term, ids ...NodeID) *quorumcert.TC {
	var sigs quorumcert.Collector
	for _, id := range ids {
		sigs.Add(id, c.suspect(id, t).Sig)
	}
	return &quorumcert.TC{Term: t, Signatures: sigs.Take(^Set(0))}
}

func (c *wireCluster) ec(t Term, leader NodeID, base Lock, ids ...NodeID) *quorumcert.EC {
	var sigs quorumcert.Collector
	for _, id := range ids {
		sigs.Add(id, c.vote(id, leader, t, base).Sig)
	}
	return &quorumcert.EC{Term: t, Leader: leader, Base: base, Signatures: sigs.Take(^Set(0))}
}

// qc returns a certificate of three voters; each had another index certified.
func (c *wireCluster) qc(t Term, at Position, ids ...NodeID) *quorumcert.QC {
	qc := &quorumcert.QC{Lock: Lock{Term: t, Index: at.Index, Hash: at.Hash}}
	var sigs quorumcert.Collector
	for k, id := range ids {
		certified := Index(k) % (at.Index + 1)
		qc.Certified = append(qc.Certified, certified)
		sigs.Add(id, c.ack(id, t, at, certified).Sig)
	}
	qc.Signatures = sigs.Take(^Set(0))
	return qc
}

// commit proves that the second block is committed: two acks at its end, one at the third's.
func (c *wireCluster) commit() *quorumcert.Commit {
	at, beyond := c.b2.End(), c.b3.End()
	cc := &quorumcert.Commit{Term: 3, Index: at.Index, Hash: at.Hash}
	cc.Headers = []quorumcert.Header{c.b3.Header()}
	cc.Acks = []quorumcert.AckedAt{{Index: 3, Certified: 3}, {Index: 6, Certified: 3},
		{Index: 3, Certified: 3}}
	cc.Signers = quorumcert.SetOf(1, 2, 4)
	cc.Sigs = []crypto.Signature{
		c.ack(1, 3, at, 3).Sig, c.ack(2, 3, beyond, 3).Sig, c.ack(4, 3, at, 3).Sig,
	}
	return cc
}

// base returns the lock behind the first block and its certificate.
func (c *wireCluster) base() (Lock, *quorumcert.QC) {
	qc := c.qc(1, c.b1.End(), 1, 2, 4)
	return qc.Lock, qc
}

// fresh returns the blocks as they come from the network, not judged yet.
func fresh(blocks ...*Block) []*Block {
	var out []*Block
	for _, b := range blocks {
		decoded, drop := DecodeBlock(b.Raw())
		if drop != Accepted {
			panic("fixture: a block does not decode")
		}
		out = append(out, decoded)
	}
	return out
}

func (c *wireCluster) ackConflict() *quorumcert.AckConflict {
	other := c.block(c.b1.End(), "another", "world")
	return &quorumcert.AckConflict{
		A:       c.ack(3, 3, c.b2.End(), 0),
		B:       c.ack(3, 3, other.End(), 2),
		Headers: []quorumcert.Header{other.Header()},
	}
}

// sealed signs a message that is signed as a whole.
func (c *wireCluster) sealed(id NodeID, m Message) Message {
	SignMessage(c.signer(id), c.id, m)
	return m
}

// instance is a message as an honest sender makes it.
type instance struct {
	name string
	from NodeID
	msg  Message
}

// instances returns at least one of every message type, with all of its optional parts, and some
// without.
func (c *wireCluster) instances() []instance {
	base, baseQC := c.base()
	b2, b3 := c.b2.End(), c.b3.End()
	leaderAck := c.ack(2, 3, b3, 3)
	lockQC := c.qc(3, b2, 1, 2, 3)
	ec := c.ec(3, 2, base, 1, 2, 3)
	list := []instance{
		{"append_first", 2, &AppendEntries{fresh(c.b2, c.b3), leaderAck, ec, baseQC}},
		{"append", 2, &AppendEntries{fresh(c.b3), leaderAck, nil, nil}},
		{"append_empty", 2, &AppendEntries{nil, leaderAck, nil, nil}},
		{"append_response", 3, &AppendEntriesResponse{c.ack(3, 3, b3, 3)}},
		{"suspect", 4, c.suspect(4, 3)},
		{"request_vote", 2, &RequestVote{Term: 3, Lock: base, LockQC: baseQC,
			TC: c.tc(2, 1, 2, 3)}},
		{"request_vote_first", 3, &RequestVote{Term: 1, Lock: Lock{Hash: c.id}}},
		{"request_vote_response", 1, &RequestVoteResponse{c.vote(1, 2, 3, base)}},
		{"proof", 3, &Proof{TermProof: c.proof()}},
		{"proof_empty", 3, &Proof{}},
		{"status", 4, &Status{Term: 3, Leader: 2, Tip: b3, Lock: lockQC.Lock, Commit: b2, Acked: 6,
			Base: 2, Behind: true}},
		{"resign", 2, &Resign{Term: 3}},
		{"fetch_chain", 1, &FetchChain{Target: b3, Above: 2}},
		{"chain", 3, &Chain{Blocks: fresh(c.b2, c.b3), LeaderAck: &leaderAck}},
		{"chain_unasked", 3, &Chain{Blocks: fresh(c.b2)}},
		{"fetch_committed", 4, &FetchCommitted{After: c.b1.End()}},
		{"committed", 1, &Committed{Blocks: fresh(c.b1), Bridge: []quorumcert.Header{c.b2.Header()},
			Commit: c.commit(), LockQC: lockQC}},
		{"accusation_acks", 4, &Accusation{Evidence: quorumcert.Evidence{Acks: c.ackConflict()}}},
		{"accusation_votes", 4, &Accusation{Evidence: quorumcert.Evidence{
			Votes: &quorumcert.VoteConflict{A: c.vote(3, 1, 3, base), B: c.vote(3, 2, 3, base)}}}},
		{"reminder", 2, &Reminder{Ack: leaderAck}},
		{"checkpoint", 3, &CheckpointVote{c.checkpoint(3, b3)}},
		{"stable_checkpoint", 2, &StableCheckpoint{
			Stable: c.certified(c.checkpoint(2, b3).Checkpoint, 1, 2, 4)}},
		{"fetch_state", 4, &FetchState{At: 6, Part: 3}},
		{"fetch_manifest", 4, &FetchState{Part: ManifestPart}},
		{"state_part", 2, &StatePart{At: 6, Part: 3, Data: []byte("chunk")}},
		{"state_part_none", 2, &StatePart{At: 9, Part: 3}},
		{"changes_none", 1, &Changes{}},
		{"changes_beyond", 1, &Changes{Beyond: c.commit()}},
	}
	for _, i := range list {
		if _, ok := i.msg.(envelope); ok {
			c.sealed(i.from, i.msg)
		}
	}
	return list
}

// checkpoint returns what a voter says of the state at a position.
func (c *wireCluster) checkpoint(id NodeID, at Position) quorumcert.SignedCheckpoint {
	cp := quorumcert.Checkpoint{
		Cluster: c.id, Index: at.Index, Hash: at.Hash, State: Digest{1}, Sessions: Digest{2},
	}
	sig := quorumcert.Sign(c.signer(id), cp)
	return quorumcert.SignedCheckpoint{Checkpoint: cp, Signer: id, Sig: sig}
}

func (c *wireCluster) certified(cp quorumcert.Checkpoint, ids ...NodeID) *quorumcert.Stable {
	st := &quorumcert.Stable{Checkpoint: cp}
	for _, id := range ids {
		st.Signers = st.Signers.With(id)
		st.Sigs = append(st.Sigs, quorumcert.Sign(c.signer(id), cp))
	}
	return st
}

func (c *wireCluster) proof() TermProof {
	base, baseQC := c.base()
	return TermProof{TC: c.tc(2, 1, 3, 4), EC: c.ec(3, 2, base, 1, 2, 3, 4), BaseQC: baseQC,
		QC: c.qc(3, c.b2.End(), 2, 3, 4), Commit: c.commit()}
}
