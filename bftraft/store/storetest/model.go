package storetest

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"slices"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// Model is the naive store: everything in plain lists, copied at every Save.
type Model struct {
	Hard     bftraft.HardState
	Blocks   []*bftraft.Block
	Commits  []*quorumcert.Commit
	Evidence []quorumcert.Evidence
	Changes  []*bftraft.ChangeProof
	// Base is where the blocks begin, the zero value for the genesis.
	Base bftraft.Position
	// Snapshot is the finished one, nil for none. It is never changed.
	Snapshot *Snapshot

	cluster crypto.Digest
}

// Snapshot is what a store was given of one.
type Snapshot struct {
	At     bftraft.Position
	Chunks [][]byte
	Proof  []byte
}

// NewModel returns what a new store of the cluster holds.
func NewModel(cluster crypto.Digest) Model {
	return Model{
		cluster: cluster,
		Hard:    bftraft.HardState{Term: 1, Lock: quorumcert.Lock{Hash: cluster}},
	}
}

// Tip returns the end of the chain.
func (m Model) Tip() bftraft.Position { return m.end(len(m.Blocks)) }

// end returns the position behind the first k blocks.
func (m Model) end(k int) bftraft.Position {
	switch {
	case k == 0 && m.Base.Index == 0:
		return bftraft.Position{Hash: m.cluster}
	case k == 0:
		return m.Base
	}
	return m.Blocks[k-1].End()
}

// floor returns how many blocks must stay: those up to the newest commit.
func (m Model) floor() int {
	for k := range m.Blocks {
		if n := len(m.Commits); n > 0 && m.Blocks[k].Last() == m.Commits[n-1].Index {
			return k + 1
		}
	}
	return 0
}

// After returns the model after r.
func (m Model) After(r *bftraft.Ready) Model {
	n := Model{cluster: m.cluster, Hard: m.Hard, Base: m.Base, Snapshot: m.Snapshot}
	if r.HardState != nil {
		n.Hard = *r.HardState
	}
	for _, b := range m.Blocks {
		if !r.Truncated || b.Last() <= r.Truncate {
			n.Blocks = append(n.Blocks, b)
		}
	}
	n.Blocks = append(n.Blocks, r.Blocks...)
	n.Commits = append(append(n.Commits, m.Commits...), r.Commits...)
	n.Evidence = append(append(n.Evidence, m.Evidence...), r.Evidence...)
	n.Changes = append(append(n.Changes, m.Changes...), r.Changes...)
	return n
}

// With returns the model after a snapshot was finished.
func (m Model) With(snapshot *Snapshot) Model {
	m.Snapshot = snapshot
	return m
}

// Dropped returns the model after the log was dropped up to a block's end.
func (m Model) Dropped(upTo bftraft.Position) Model {
	n := m
	n.Base, n.Blocks, n.Commits = upTo, nil, nil
	for _, b := range m.Blocks {
		if b.Last() > upTo.Index {
			n.Blocks = append(n.Blocks, b)
		}
	}
	for _, c := range m.Commits {
		if c.Index >= upTo.Index {
			n.Commits = append(n.Commits, c)
		}
	}
	return n
}

// Installed returns the model after its snapshot has taken the place of the chain.
func (m Model) Installed(hard bftraft.HardState, commit *quorumcert.Commit) Model {
	n := m
	n.Hard, n.Base, n.Blocks = hard, m.Snapshot.At, nil
	n.Commits = []*quorumcert.Commit{commit}
	return n
}

// Equal says whether what a store loaded is what the model holds, so far as Load shows it.
func (m Model) Equal(r bftraft.Restored) bool {
	if r.Base != m.Base || r.Tip != m.Tip() || (r.Commit == nil) != (len(m.Commits) == 0) {
		return false
	}
	return reflect.DeepEqual(r.HardState, m.Hard) && reflect.DeepEqual(r.Evidence, m.Evidence) &&
		slices.EqualFunc(r.Changes, m.Changes, sameChange) &&
		(r.Commit == nil || reflect.DeepEqual(r.Commit, m.Commits[len(m.Commits)-1]))
}

func sameChange(a, b *bftraft.ChangeProof) bool {
	return bytes.Equal(a.AppendTo(nil), b.AppendTo(nil))
}

// Check compares a store that was loaded with the model, to the last byte.
func (m Model) Check(t require.TestingT, s Store, r bftraft.Restored) {
	require.Equal(t, m.Hard, r.HardState)
	require.Equal(t, m.Base, r.Base)
	require.Equal(t, m.Tip(), r.Tip)
	require.Equal(t, m.Evidence, r.Evidence)
	require.Equal(t, len(m.Changes), len(r.Changes))
	for k, p := range m.Changes {
		require.Equal(t, p.AppendTo(nil), r.Changes[k].AppendTo(nil))
	}
	if len(m.Commits) == 0 {
		require.Nil(t, r.Commit)
	} else {
		require.Equal(t, m.Commits[len(m.Commits)-1], r.Commit)
	}
	m.CheckReads(t, s)
}

// CheckReads compares what is read from an open store with the model; of very long chains, which
// a store checks itself when it loads them, some blocks.
func (m Model) CheckReads(t require.TestingT, s Store) {
	step := 1 + len(m.Blocks)/1000
	for k := (len(m.Blocks) - 1) % step; k < len(m.Blocks); k += step {
		want := m.Blocks[k]
		for _, i := range []bftraft.Index{want.First(), want.Last()} {
			got, ok := s.Block(i)
			require.True(t, ok, "block at %d: %v", i, s.Err())
			require.Equal(t, want.Raw(), got.Raw())
			require.Equal(t, want.Hash(), got.Hash())
		}
	}
	for _, i := range []bftraft.Index{0, m.Base.Index, m.Tip().Index + 1} {
		_, ok := s.Block(i)
		require.False(t, ok, "block at %d", i)
	}
	at := bftraft.Index(0)
	for _, want := range m.Commits {
		for ; at <= want.Index; at++ {
			got, ok := s.Commit(at)
			require.True(t, ok)
			require.Equal(t, want, got)
		}
	}
	_, ok := s.Commit(at)
	require.False(t, ok)
	m.checkSnapshot(t, s)
	require.NoError(t, s.Err())
}

func (m Model) checkSnapshot(t require.TestingT, s Store) {
	info, ok := s.Snapshot()
	require.Equal(t, m.Snapshot != nil, ok)
	if !ok {
		require.Zero(t, info)
		_, ok := s.SnapshotChunk(0)
		require.False(t, ok)
		return
	}
	require.Equal(t, m.Snapshot.At, info.At)
	require.Equal(t, string(m.Snapshot.Proof), string(info.Proof))
	require.Len(t, m.Snapshot.Chunks, info.Chunks)
	bytes := int64(0)
	for k, want := range m.Snapshot.Chunks {
		got, ok := s.SnapshotChunk(k)
		require.True(t, ok, "chunk %d: %v", k, s.Err())
		require.True(t, string(want) == string(got), "chunk %d", k)
		bytes += int64(len(want))
	}
	require.Equal(t, bytes, info.Bytes)
	for _, k := range []int{-1, info.Chunks} {
		_, ok := s.SnapshotChunk(k)
		require.False(t, ok, "chunk %d", k)
	}
}

// Generator makes Readies such as a Core might.
type Generator struct {
	rng *rand.Rand
	// Large lets blocks be larger than one value of a store.
	Large bool

	changes *rand.Rand    // whether there is one, so that the rest of a seed stays what it was
	changed bftraft.Index // of the newest change
}

// NewGenerator returns the generator of a seed.
func NewGenerator(seed uint64) *Generator {
	return &Generator{
		rng: rand.New(rand.NewPCG(seed, 1)), changes: rand.New(rand.NewPCG(seed, 2)),
	}
}

func (g *Generator) chance(percent int) bool { return g.rng.IntN(100) < percent }

// Next returns a Ready that follows m.
func (g *Generator) Next(m Model) *bftraft.Ready {
	r := &bftraft.Ready{MustSync: g.chance(60)}
	keep := len(m.Blocks)
	if g.chance(15) {
		keep = m.floor() + g.rng.IntN(keep-m.floor()+1)
		r.Truncated, r.Truncate = true, m.end(keep).Index
	}
	if g.chance(10) && keep == len(m.Blocks) {
		r.Truncated, r.Truncate = true, m.Tip().Index+bftraft.Index(g.rng.IntN(3))
	}
	tip := m.end(keep)
	for range g.rng.IntN(4) {
		b := bftraft.NewBlock(tip, g.entries())
		r.Blocks = append(r.Blocks, b)
		tip = b.End()
	}
	after := m.After(r)
	if g.chance(50) || r.Truncated {
		hard := g.hardState(after, m)
		r.HardState = &hard
	}
	if k := after.floor(); k < len(after.Blocks) && g.chance(30) {
		k += 1 + g.rng.IntN(len(after.Blocks)-k)
		r.Commits = append(r.Commits, g.commit(after.end(k)))
	}
	if g.chance(10) {
		r.Evidence = append(r.Evidence, g.evidence())
	}
	if g.changes.IntN(10) == 0 {
		r.Changes = append(r.Changes, g.change())
	}
	return r
}

func (g *Generator) entries() []bftraft.Entry {
	var entries []bftraft.Entry
	for range 1 + g.rng.IntN(3) {
		size := g.rng.IntN(2000)
		if g.Large && g.chance(5) {
			size = g.rng.IntN(1 << 20)
		}
		entries = append(entries, bftraft.Entry{Kind: bftraft.EntryRequest, Data: g.bytes(size)})
	}
	return entries
}

func (g *Generator) bytes(n int) []byte {
	b := make([]byte, (n+7)/8*8)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], g.rng.Uint64())
	}
	return b[:n]
}

func (g *Generator) hardState(after, before Model) bftraft.HardState {
	hard := before.Hard
	hard.Term += bftraft.Term(g.rng.IntN(3)) / 2
	at := after.end(after.floor() + g.rng.IntN(len(after.Blocks)-after.floor()+1))
	if at.Index < hard.Lock.Index && hard.Term == before.Hard.Term {
		hard.Term++ // locks only rise
	}
	hard.Lock = quorumcert.Lock{Term: hard.Term, Index: at.Index, Hash: at.Hash}
	if hard.Term > before.Hard.Term || at.Index >= hard.Mark.Index {
		hard.Mark = hard.Lock
	}
	if hard.Term > before.Hard.Term {
		hard.Vote = bftraft.VoteRecord{
			Candidate: bftraft.NodeID(1 + g.rng.IntN(4)), Lock: before.Hard.Lock,
		}
	}
	hard.LockQC = nil
	if at.Index > 0 {
		hard.LockQC = g.qc(hard.Lock)
	}
	hard.Proof = bftraft.TermProof{}
	if hard.Term > 1 {
		hard.Proof.TC = &quorumcert.TC{Term: hard.Term - 1, Signatures: g.signatures()}
	}
	hard.Forgot = hard.Forgot || g.chance(20)
	if g.chance(50) {
		hard.Proof.EC = &quorumcert.EC{
			Term: hard.Term, Leader: 2, Base: hard.Lock, Signatures: g.signatures(),
		}
	}
	return hard
}

func (g *Generator) signatures() quorumcert.Signatures {
	s := quorumcert.Signatures{Signers: quorumcert.Set(1 + g.rng.IntN(15))}
	for range s.Signers.Len() {
		s.Sigs = append(s.Sigs, crypto.Signature(g.bytes(64)))
	}
	return s
}

func (g *Generator) qc(l quorumcert.Lock) *quorumcert.QC {
	qc := &quorumcert.QC{Lock: l, Signatures: g.signatures()}
	for range qc.Sigs {
		qc.Certified = append(qc.Certified, bftraft.Index(g.rng.IntN(int(l.Index)+1)))
	}
	return qc
}

func (g *Generator) commit(at bftraft.Position) *quorumcert.Commit {
	c := &quorumcert.Commit{Term: 1, Index: at.Index, Hash: at.Hash, Signatures: g.signatures()}
	for range c.Sigs {
		c.Acks = append(c.Acks, quorumcert.AckedAt{Index: at.Index, Certified: at.Index})
	}
	return c
}

// change returns the proof of a change of a higher index than those before it.
func (g *Generator) change() *bftraft.ChangeProof {
	g.changed += bftraft.Index(1 + g.changes.IntN(300))
	p := &bftraft.ChangeProof{Entry: make([]byte, 1+g.changes.IntN(500))}
	p.Header = quorumcert.Header{First: g.changed, Last: g.changed}
	p.Header.Root[0] = byte(g.changed)
	for range g.changes.IntN(4) {
		p.Branch = append(p.Branch, crypto.Digest{byte(g.changed)})
	}
	p.Commit = quorumcert.Commit{
		Term: 1, Index: g.changed, Hash: p.At().Hash,
		Acks: []quorumcert.AckedAt{{Index: g.changed, Certified: g.changed}},
		Signatures: quorumcert.Signatures{
			Signers: quorumcert.SetOf(1), Sigs: []crypto.Signature{{byte(g.changed)}},
		},
	}
	return p
}

func (g *Generator) evidence() quorumcert.Evidence {
	vote := func(candidate bftraft.NodeID) quorumcert.SignedVote {
		return quorumcert.SignedVote{
			Vote:   quorumcert.Vote{Term: bftraft.Term(g.rng.IntN(9)), Candidate: candidate},
			Signer: 3, Sig: crypto.Signature(g.bytes(64)),
		}
	}
	return quorumcert.Evidence{Votes: &quorumcert.VoteConflict{A: vote(1), B: vote(2)}}
}
