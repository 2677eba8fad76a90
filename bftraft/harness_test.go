package bftraft

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// fakeScheme is a signature scheme for tests: a signature is a hash over key, domain and message.
// Whoever has a key's public half could forge, so the tests keep to their signers.
type fakeScheme struct{}

type fakeKey crypto.PublicKey

type fakeSigner struct{ id NodeID }

func (fakeScheme) Expand(k crypto.PublicKey) (crypto.Verifier, error) { return fakeKey(k), nil }

func (s fakeScheme) ExpandMember(k crypto.PublicKey) (crypto.Verifier, error) { return s.Expand(k) }

func (fakeScheme) VerifyAll(checks []crypto.Check) bool {
	for _, c := range checks {
		if c.Key == nil || !c.Key.Verify(c.Domain, c.Msg, c.Sig) {
			return false
		}
	}
	return true
}

func (k fakeKey) Verify(d crypto.Domain, msg []byte, sig crypto.Signature) bool {
	return sig == k.sign(d, msg)
}

func (k fakeKey) sign(d crypto.Domain, msg []byte) crypto.Signature {
	h := sha256.New()
	h.Write(k[:])
	h.Write([]byte(d))
	h.Write(msg)
	var sig crypto.Signature
	h.Sum(sig[:0])
	return sig
}

func fakePublic(n byte) crypto.PublicKey { return crypto.PublicKey{0: n, 1: 0xfa} }

func (s fakeSigner) ID() NodeID               { return s.id }
func (s fakeSigner) Public() crypto.PublicKey { return fakePublic(byte(s.id)) }
func (s fakeSigner) Sign(d crypto.Domain, msg []byte) crypto.Signature {
	return fakeKey(s.Public()).sign(d, msg)
}

// fakeClient is the number of the only enrolled client.
const fakeClient = 200

// reader shows a core the image of its disk that is current.
type reader struct{ m *member }

func (r reader) Block(i Index) (*Block, bool)              { return r.m.disk.Block(i) }
func (r reader) Commit(i Index) (*quorumcert.Commit, bool) { return r.m.disk.Commit(i) }

// member is one core with its disk. Disk is what it reads, synced what a power cut leaves for
// certain, unsynced what leads from one to the other.
type member struct {
	id       NodeID
	cfg      Config
	core     *Core // nil while it is down
	disk     *disk
	synced   *disk
	unsynced []Ready
	applied  Position   // since the last start
	acked    []ackClaim // every ack that left, ever
	voted    []VoteRecord
	floor    Term // no ack of a lower term may leave
	found    []*quorumcert.Stable
	forgot   bool // it was told to stop, as it had forgotten something
	honest   bool
}

type ackClaim struct {
	term      Term
	at        Position
	certified Index
}

// frame is a message on its way.
type frame struct {
	from, to NodeID
	msg      Message
	raw      []byte
	due      uint64
	twin     bool // for the second core under the receiver's key
}

// received is what became of a delivered frame.
type received struct {
	frame
	drop Drop
}

// harness is a cluster of cores, with a network that the test controls.
type harness struct {
	t       testing.TB
	genesis *Genesis
	cluster Digest
	gate    *Verifier
	members []*member // ascending by id
	flying  []frame
	now     uint64
	seq     uint64
	chain   []*Block // what any honest node committed
	twin    *member  // a second core under a dishonest node's key, with a disk of its own

	// mayStop says that more than f voters lie, so that honest nodes may stop (A5).
	mayStop bool
	// route decides about a frame that an honest or dishonest node sends: it may queue it any
	// number of times, by put. Nil puts it once.
	route func(f frame)
	// heard sees what became of each delivered frame; may be nil.
	heard func(r received)
	// committed sees each block that a node applies; may be nil.
	committed func(m *member, b *Block)
	// cut says where in a Ready a node loses power: cutNever, or one of the points below.
	cut func(m *member) cutPoint
}

// cutPoint is a moment in the work that a Ready asks for.
type cutPoint int

const (
	cutNever cutPoint = iota
	cutBeforeSave
	cutAfterSave
	cutWhileSending
)

func testConfig() Config {
	c := DefaultConfig()
	c.HeartbeatTicks, c.ElectionTicks, c.WindowTicks, c.MaxBackoff = 5, 40, 12, 3
	return c
}

func fakeGenesis(n int) *Genesis {
	g := &Genesis{Name: "harness", Nonce: Digest{9}}
	for id := NodeID(1); int(id) <= n; id++ {
		g.Voters = append(g.Voters, quorumcert.Voter{ID: id, Key: fakePublic(byte(id))})
	}
	g.Clients = []Enrolled{{"client", fakePublic(fakeClient)}}
	return g
}

// newHarness starts n honest nodes.
func newHarness(t testing.TB, n int, tune func(*Config)) *harness {
	return newHarnessOf(t, fakeGenesis(n), tune)
}

func newHarnessOf(t testing.TB, g *Genesis, tune func(*Config)) *harness {
	h := foundHarness(t, g)
	for id := NodeID(1); int(id) <= len(g.Voters); id++ {
		h.members = append(h.members, h.newMember(id, tune))
	}
	for _, m := range h.members {
		h.start(m)
	}
	return h
}

// foundHarness returns a cluster without members.
func foundHarness(t testing.TB, g *Genesis) *harness {
	gate, err := NewVerifier(fakeScheme{}, g)
	require.NoError(t, err)
	return &harness{t: t, genesis: g, cluster: g.Hash(), gate: gate}
}

func (h *harness) newMember(id NodeID, tune func(*Config)) *member {
	cfg := testConfig()
	cfg.Cluster, cfg.Verifier = h.cluster, h.gate
	cfg.Signer, cfg.Seed = fakeSigner{id}, uint64(id)
	if tune != nil {
		tune(&cfg)
	}
	return &member{id: id, cfg: cfg, disk: &disk{}, synced: &disk{}, honest: true}
}

func (h *harness) node(id NodeID) *member { return h.members[id-1] }

func (h *harness) core(id NodeID) *Core { return h.members[id-1].core }

func (h *harness) start(m *member) {
	r := Restored{HardState: m.disk.hard, Base: m.disk.base,
		Tip: m.disk.tip(Position{0, h.cluster}), Evidence: m.disk.evidence,
		Changes: m.disk.changes}
	if n := len(m.disk.commits); n > 0 {
		r.Commit = m.disk.commits[n-1]
	}
	core, err := NewCore(m.cfg, r, reader{m})
	require.NoError(h.t, err)
	m.core, m.applied = core, core.Commit()
	for _, b := range m.disk.blocks {
		if m.honest && b.Last() <= m.applied.Index {
			h.agree(m, b)
		}
	}
	h.work(m)
}

// crash stops a node. Of what was not flushed, the first keep steps survive.
func (h *harness) crash(m *member, keep int) {
	for k := range m.unsynced[:min(keep, len(m.unsynced))] {
		m.synced.apply(&m.unsynced[k])
	}
	m.core, m.disk, m.unsynced = nil, m.synced.clone(), nil
}

// work does what a core wants done until it wants nothing.
func (h *harness) work(m *member) {
	for m.core != nil {
		r, some := m.core.Ready()
		if !some {
			return
		}
		point := cutNever
		if h.cut != nil {
			point = h.cut(m)
		}
		if point == cutBeforeSave {
			h.crash(m, 0)
			return
		}
		h.persist(m, &r)
		for k, out := range r.Messages {
			if point == cutAfterSave || point == cutWhileSending && k > 0 {
				break
			}
			h.sent(m, out)
		}
		if point != cutNever {
			h.crash(m, len(m.unsynced))
			return
		}
		for _, b := range r.Committed {
			h.apply(m, b)
			if h.committed != nil {
				h.committed(m, b)
			}
		}
		m.found = append(m.found, r.Stable...)
		m.forgot = m.forgot || r.Forgot
		m.core.Advance(r)
	}
}

// persist does step 1 of a Ready.
func (h *harness) persist(m *member, r *Ready) {
	for _, cc := range r.Commits {
		at := m.core.configs().For(cc.Index)
		require.NoError(h.t, cc.Verify(h.cluster, at), "what node %d gives others as proof", m.id)
	}
	m.disk.apply(r)
	m.unsynced = append(m.unsynced, *r)
	if !r.MustSync {
		return
	}
	for k := range m.unsynced {
		m.synced.apply(&m.unsynced[k])
	}
	m.unsynced = m.unsynced[:0]
}

// apply checks that all honest nodes commit one chain, in order, each block once.
func (h *harness) apply(m *member, b *Block) {
	if !m.honest {
		return
	}
	require.Equal(h.t, m.applied, b.Before(), "node %d applies in order", m.id)
	m.applied = b.End()
	h.agree(m, b)
}

// agree checks that a block that a node took for committed is on the one committed chain.
func (h *harness) agree(m *member, b *Block) {
	if h.mayStop {
		return // with more than f liars, a commit that was not flushed may be forgotten
	}
	k := len(h.chain)
	for k > 0 && h.chain[k-1].Last() >= b.Last() {
		k--
	}
	if k < len(h.chain) {
		require.Equal(h.t, h.chain[k].Hash().Short(), b.Hash().Short(),
			"node %d commits another block ending at %d", m.id, b.Last())
		return
	}
	if k > 0 {
		require.Equal(h.t, h.chain[k-1].End(), b.Before(), "node %d commits another chain", m.id)
	}
	h.chain = append(h.chain, b)
}

// sent checks what an honest node signs against its disk and puts it on the network.
func (h *harness) sent(m *member, out Outbound) {
	if m.honest {
		switch msg := out.Msg.(type) {
		case *AppendEntries:
			h.checkAck(m, &msg.Ack)
		case *AppendEntriesResponse:
			h.checkAck(m, &msg.Ack)
		case *RequestVoteResponse:
			h.checkVote(m, &msg.Vote)
		}
	}
	raw := Encode(out.Msg)
	for to := out.To.Next(0); to != 0; to = out.To.Next(to) {
		h.post(frame{from: m.id, to: to, msg: out.Msg, raw: raw, due: h.now + 1})
	}
}

func (h *harness) post(f frame) {
	if f.raw == nil {
		f.raw = Encode(f.msg)
	}
	if h.route == nil {
		h.put(f)
		return
	}
	h.route(f)
}

func (h *harness) put(f frame) { h.flying = append(h.flying, f) }

// checkAck holds an honest node to N2: entries, mark and lock are on disk before the ack leaves,
// and no two acks of a term conflict.
func (h *harness) checkAck(m *member, a *quorumcert.SignedAck) {
	at := Position{a.Index, a.Hash}
	claim := ackClaim{a.Term, at, a.Certified}
	if slices.Contains(m.acked, claim) {
		return // repeated
	}
	hs, name := &m.synced.hard, fmt.Sprintf("ack %d:(%d,%s) c=%d of node %d", a.Term, a.Index,
		a.Hash.Short(), a.Certified, m.id)
	require.GreaterOrEqual(h.t, a.Term, m.floor, "%s: the node is beyond that term", name)
	require.Equal(h.t, a.Term, hs.Term, "%s: term on disk", name)
	require.True(h.t, a.Index == 0 || m.synced.contains(at), "%s: entries on disk", name)
	require.Equal(h.t, a.Term, hs.Mark.Term, "%s: mark on disk", name)
	require.GreaterOrEqual(h.t, hs.Mark.Index, a.Index, "%s: mark on disk", name)
	if a.Certified > 0 {
		require.Equal(h.t, a.Term, hs.Lock.Term, "%s: lock on disk", name)
		require.GreaterOrEqual(h.t, hs.Lock.Index, a.Certified, "%s: lock on disk", name)
		lock := Position{hs.Lock.Index, hs.Lock.Hash}
		require.True(h.t, m.synced.contains(lock) || lock.Index < m.synced.base.Index,
			"%s: the lock's entries on disk", name)
	}
	for _, c := range m.acked {
		if c.term == a.Term && c.at.Index == a.Index {
			require.Equal(h.t, c.at.Hash, a.Hash, "%s: acked another there before", name)
		}
		if c.term == a.Term && c.at.Index < a.Index && c.at.Index > m.synced.base.Index {
			require.True(h.t, m.synced.contains(c.at), "%s: not on the chain of (%d,%s)", name,
				c.at.Index, c.at.Hash.Short())
		}
	}
	m.acked = append(m.acked, claim)
	m.floor = max(m.floor, a.Term)
	if len(m.acked) > 64 {
		m.acked = m.acked[len(m.acked)-48:]
	}
}

// checkVote holds an honest node to E4: the vote is on disk, one candidate a term, locks rise.
func (h *harness) checkVote(m *member, v *quorumcert.SignedVote) {
	for len(m.voted) < int(v.Term)+1 {
		m.voted = append(m.voted, VoteRecord{})
	}
	before, record := m.voted[v.Term], VoteRecord{v.Candidate, v.Lock}
	if before == record {
		return // repeated
	}
	hs := &m.synced.hard
	require.LessOrEqual(h.t, v.Term, hs.Term, "node %d votes: term on disk", m.id)
	if v.Term == hs.Term { // else it has left the term meanwhile, and votes in it no more
		require.Equal(h.t, v.Candidate, hs.Vote.Candidate, "node %d votes: on disk", m.id)
		require.False(h.t, v.Lock.Higher(hs.Vote.Lock), "node %d votes: lock on disk", m.id)
	}
	require.GreaterOrEqual(h.t, v.Term, m.floor, "node %d votes in an old term", m.id)
	m.floor = v.Term
	if before.Candidate != 0 {
		require.Equal(h.t, before.Candidate, v.Candidate, "node %d votes twice", m.id)
		require.False(h.t, before.Lock.Higher(v.Lock), "node %d votes for a lower lock", m.id)
	}
	m.voted[v.Term] = record
}

// hand gives a frame to its receiver, through the gate.
func (h *harness) hand(f frame) Drop {
	m := h.receiver(f)
	if m.core == nil {
		return Unserved
	}
	v, drop := m.core.Verifier().Verify(f.from, f.raw)
	if drop == Accepted {
		drop = m.core.Step(v)
	}
	if m.honest && !h.mayStop {
		require.NoError(h.t, m.core.Err(), "node %d stops", m.id)
	}
	if h.heard != nil {
		h.heard(received{f, drop})
	}
	return drop
}

func (h *harness) receiver(f frame) *member {
	if f.twin {
		return h.twin
	}
	return h.node(f.to)
}

// deliver hands over every frame that is due, until no more is.
func (h *harness) deliver() {
	for {
		var due, later []frame
		for _, f := range h.flying {
			if f.due <= h.now {
				due = append(due, f)
			} else {
				later = append(later, f)
			}
		}
		if len(due) == 0 {
			return
		}
		h.flying = later
		for _, f := range due {
			h.hand(f)
			h.work(h.receiver(f))
		}
	}
}

// tick lets one tick pass everywhere and delivers what is due.
func (h *harness) tick() {
	h.now++
	h.deliver()
	for _, m := range h.members {
		if m.core != nil {
			m.core.Tick()
			h.work(m)
		}
	}
}

// ticks lets time pass until done says so, at most limit ticks; it says whether done did.
func (h *harness) ticks(limit int, done func() bool) bool {
	for range limit {
		if done != nil && done() {
			return true
		}
		h.tick()
	}
	return done != nil && done()
}

// entry returns a valid request of the enrolled client.
func (h *harness) entry(op string) Entry {
	h.seq++
	r := &Request{Client: fakePublic(fakeClient), Session: 1, Sequence: h.seq,
		Ops: [][]byte{[]byte(op)}}
	body := r.appendBody(nil)
	digest := requestDigest(h.cluster, body)
	r.Sig = fakeKey(r.Client).sign(crypto.DomainRequest, digest[:])
	return Entry{Kind: EntryRequest, Data: append(body, r.Sig[:]...)}
}

// propose lets a node that leads and has room propose one block of ops.
func (h *harness) propose(id NodeID, ops ...string) bool {
	m := h.node(id)
	if m.core == nil || !m.core.Room() {
		return false
	}
	var entries []Entry
	for _, op := range ops {
		entries = append(entries, h.entry(op))
	}
	m.core.Propose(entries)
	h.work(m)
	return true
}

// leader returns the node that a quorum of running honest nodes takes for the leader of one term.
func (h *harness) leader() NodeID {
	for _, m := range h.members {
		if m.core == nil || !m.core.leading() {
			continue
		}
		n := 0
		for _, o := range h.members {
			if o.core != nil && o.core.Term() == m.core.Term() && o.core.Leader() == m.id {
				n++
			}
		}
		if n >= quorumcert.ForNodes(len(h.members)).Q {
			return m.id
		}
	}
	return 0
}

// picture says where everybody is.
func (h *harness) picture() string {
	out := fmt.Sprintf("tick %d\n", h.now)
	for _, m := range h.members {
		if m.core == nil {
			out += fmt.Sprintf("%d down\n", m.id)
			continue
		}
		s := m.core.State()
		out += fmt.Sprintf("%d: term %d leader %d vote %d/%s lock %s mark %s tip (%d,%s) commit %d "+
			"backoff %d suspects %v faulty %v gather %v pending %v\n", s.ID, s.Term, s.Leader,
			s.Vote.Candidate, certified(s.Vote.Lock), certified(s.Lock), certified(s.Mark), s.Tip.Index,
			s.Tip.Hash.Short(), s.Commit.Index, s.Backoff, s.Suspects, s.Faulty,
			m.core.gather != nil, m.core.pending != nil)
	}
	return out
}

// seededRand returns a generator and its seed, which a failing test shows.
func seededRand(t *testing.T) (*rand.Rand, uint64) {
	seed := flag.Lookup("seed").Value.(flag.Getter).Get().(uint64)
	if seed == 0 {
		seed = 1
	}
	t.Logf("repeat with -seed %d", seed)
	return rand.New(rand.NewPCG(seed, 3)), seed
}
