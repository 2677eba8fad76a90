package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// lab is one core under test. The other voters' keys are the test's: it says in their name what
// it likes, and sees all that the core sends.
type lab struct {
	*harness
	m    *member
	sent []frame // since the last take
}

// newLab returns node id of a cluster of four, just started.
func newLab(t testing.TB, id NodeID) *lab { return newLabWith(t, id, nil) }

func newLabWith(t testing.TB, id NodeID, tune func(*lab, *Config)) *lab {
	return newLabOf(t, id, fakeGenesis(4), tune)
}

func newLabOf(t testing.TB, id NodeID, g *Genesis, tune func(*lab, *Config)) *lab {
	h := foundHarness(t, g)
	l := &lab{harness: h}
	for k := NodeID(1); k <= 4; k++ {
		h.members = append(h.members, h.newMember(k, func(c *Config) {
			if tune != nil {
				tune(l, c)
			}
		}))
	}
	l.m = h.node(id)
	h.route = func(f frame) { l.sent = append(l.sent, f) }
	h.start(l.m)
	return l
}

func (l *lab) origin() Position { return Position{0, l.cluster} }

// say hands a message of voter from to the core, through the gate.
func (l *lab) say(from NodeID, m Message) Drop {
	if _, whole := m.(envelope); whole {
		SignMessage(fakeSigner{from}, l.cluster, m)
	}
	drop := l.hand(frame{from: from, to: l.m.id, msg: m, raw: Encode(m)})
	l.work(l.m)
	return drop
}

// wait lets ticks pass for the core.
func (l *lab) wait(ticks int) {
	for range ticks {
		l.m.core.Tick()
		l.work(l.m)
	}
}

// stand lets time pass until the core stands for election.
func (l *lab) stand() {
	for range 400 {
		if l.m.core.State().Vote.Candidate == l.m.id {
			return
		}
		l.wait(1)
	}
	require.Fail(l.t, "node does not stand for election")
}

// restart takes the power away and gives it back; what was not flushed is gone.
func (l *lab) restart() {
	l.crash(l.m, 0)
	l.start(l.m)
}

// take returns what was sent since the last call.
func (l *lab) take() []frame {
	sent := l.sent
	l.sent = nil
	return sent
}

// acks returns the acks sent to voter to since the last take.
func (l *lab) acks(to NodeID) []quorumcert.Ack {
	var acks []quorumcert.Ack
	for _, f := range l.take() {
		if f.to != to {
			continue
		}
		switch m := f.msg.(type) {
		case *AppendEntriesResponse:
			acks = append(acks, m.Ack.Ack)
		case *AppendEntries:
			acks = append(acks, m.Ack.Ack)
		}
	}
	return acks
}

// messagesOf returns the messages of one type sent to voter to since the last take.
func messagesOf[M Message](l *lab, to NodeID) []M {
	var list []M
	for _, f := range l.take() {
		if m, ok := f.msg.(M); ok && f.to == to {
			list = append(list, m)
		}
	}
	return list
}

func (l *lab) block(prev Position, ops ...string) *Block {
	var entries []Entry
	for _, op := range ops {
		entries = append(entries, l.entry(op))
	}
	return NewBlock(prev, entries)
}

func (l *lab) ack(id NodeID, t Term, at Position, certified Index) quorumcert.SignedAck {
	a := quorumcert.Ack{Cluster: l.cluster, Term: t, Index: at.Index, Hash: at.Hash,
		Certified: certified}
	return quorumcert.SignedAck{Ack: a, Signer: id, Sig: quorumcert.Sign(fakeSigner{id}, a)}
}

func (l *lab) response(id NodeID, t Term, at Position, certified Index) Message {
	return &AppendEntriesResponse{l.ack(id, t, at, certified)}
}

func (l *lab) vote(id NodeID, t Term, candidate NodeID, lock Lock) *RequestVoteResponse {
	v := quorumcert.Vote{Cluster: l.cluster, Term: t, Candidate: candidate, Lock: lock}
	return &RequestVoteResponse{quorumcert.SignedVote{Vote: v, Signer: id,
		Sig: quorumcert.Sign(fakeSigner{id}, v)}}
}

func (l *lab) suspect(id NodeID, t Term) *Suspect {
	st := quorumcert.Suspicion{Cluster: l.cluster, Term: t}
	return &Suspect{Term: t, Signer: id, Sig: quorumcert.Sign(fakeSigner{id}, st)}
}

// others returns the voters that the test speaks for.
func (l *lab) others() []NodeID {
	var ids []NodeID
	for id := NodeID(1); id <= 4; id++ {
		if id != l.m.id {
			ids = append(ids, id)
		}
	}
	return ids
}

func (l *lab) collect(sign func(id NodeID) crypto.Signature) quorumcert.Signatures {
	var sigs quorumcert.Collector
	for _, id := range l.others() {
		sigs.Add(id, sign(id))
	}
	return sigs.Take(^Set(0))
}

// tc is the timeout certificate of t, signed by the others.
func (l *lab) tc(t Term) *quorumcert.TC {
	return &quorumcert.TC{Term: t, Signatures: l.collect(func(id NodeID) crypto.Signature {
		return l.suspect(id, t).Sig
	})}
}

func (l *lab) ec(t Term, leader NodeID, base Lock) *quorumcert.EC {
	return &quorumcert.EC{Term: t, Leader: leader, Base: base,
		Signatures: l.collect(func(id NodeID) crypto.Signature {
			return l.vote(id, t, leader, base).Vote.Sig
		})}
}

// lockAt is the place of a certificate of term t for the end of b.
func lockAt(t Term, b *Block) Lock { return Lock{Term: t, Index: b.Last(), Hash: b.Hash()} }

func (l *lab) genesisLock() Lock { return Lock{Hash: l.cluster} }

func (l *lab) qc(t Term, at Position) *quorumcert.QC {
	return &quorumcert.QC{Lock: Lock{Term: t, Index: at.Index, Hash: at.Hash},
		Certified: make([]Index, 3), Signatures: l.collect(func(id NodeID) crypto.Signature {
			return l.ack(id, t, at, 0).Sig
		})}
}

// commit is the certificate of at by claims made there in term t.
func (l *lab) commit(t Term, at Position) *quorumcert.Commit {
	cc := &quorumcert.Commit{Term: t, Index: at.Index, Hash: at.Hash,
		Signatures: l.collect(func(id NodeID) crypto.Signature {
			return l.ack(id, t, at, at.Index).Sig
		})}
	for range cc.Sigs {
		cc.Acks = append(cc.Acks, quorumcert.AckedAt{Index: at.Index, Certified: at.Index})
	}
	return cc
}

// proposal is a leader's AppendEntries for the end of blocks, or for at if there are none.
func (l *lab) proposal(
	leader NodeID, t Term, at Position, blocks ...*Block,
) *AppendEntries {
	return &AppendEntries{Blocks: blocks, Ack: l.ack(leader, t, at, 0)}
}

// elect makes leader the leader of term t at the core, with base, which qc certifies.
func (l *lab) elect(leader NodeID, t Term, base Lock, qc *quorumcert.QC) Drop {
	return l.say(leader, &Proof{TermProof: TermProof{EC: l.ec(t, leader, base), BaseQC: qc}})
}

// led returns a lab whose core, node 1, follows node 2 in term 1 and has acked block a.
func led(t testing.TB, ops ...string) (*lab, *Block) {
	l := newLab(t, 1)
	require.Equal(t, Accepted, l.elect(2, 1, l.genesisLock(), nil))
	a := l.block(l.origin(), ops...)
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, a.End(), a)))
	require.Len(t, l.acks(3), 1)
	return l, a
}

// locked goes on until block a is certified at the core and it has said so.
func locked(t testing.TB, ops ...string) (*lab, *Block) {
	l, a := led(t, ops...)
	l.say(3, l.response(3, 1, a.End(), 0))
	require.Equal(t, lockAt(1, a), l.m.core.State().Lock)
	acks := l.acks(3)
	require.Len(t, acks, 1)
	require.Equal(t, a.Last(), acks[0].Certified)
	return l, a
}

// commitOne goes on until the core has counted block a as committed.
func commitOne(t testing.TB, ops ...string) (*lab, *Block) {
	l, a := locked(t, ops...)
	l.say(2, l.response(2, 1, a.End(), a.Last()))
	l.say(3, l.response(3, 1, a.End(), a.Last()))
	require.Equal(t, a.End(), l.m.core.Commit())
	return l, a
}

// starve has a client wait for longer than anybody puts up with, or nobody wait.
func (c *Core) starve(on bool) {
	c.SetWaiting(0)
	if on {
		c.SetWaiting(1 << 32)
	}
}
